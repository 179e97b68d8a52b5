"""What is exported against what PEFT makes of it, and back: `python -m benchmarks.exports [--only NAME ...] [--json FILE]`.

The architectures of `benchmarks.budgets` and five mixtures of experts in their published shapes, on the meta device. A plan
with mixed ranks is written as an adapter_config.json; PEFT reads the file and applies it to the bare model and to the one
with a head. Planned parameters minus made ones, module by module, have to be 0. Then the file is imported again: ranks,
alphas and count have to be those of the plan.
"""

import argparse
import sys
import tempfile
import warnings
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.budgets import TARGETS, mixed_plan
from benchmarks.published_shapes import MIXTURES, SHAPES
from gelora.records import RankPlan


def main() -> None:
    """Export, apply, import, count."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", metavar="NAME", help="these architectures alone")
    parser.add_argument("--jobs", type=int, default=2, metavar="N", help="processes that count at the same time (2)")
    parser.add_argument("--json", metavar="FILE")
    options = parser.parse_args()
    names = options.only or list(SHAPES | MIXTURES)
    rows: list[dict[str, Any]] = []
    with ProcessPoolExecutor(options.jobs, mp_context=get_context("spawn")) as pool:
        for name, found in zip(names, pool.map(rows_of, names), strict=True):
            print(f"{name}: {len(found)} sets of targets", file=sys.stderr, flush=True)
            rows += found
    print(f"{'architecture, targets':48}{'modules':>8}{'planned':>15}{'made':>15}{'differ':>8}  imported again")
    for row in rows:
        again = "the same" if row["comes_back"] else "another plan"
        print(f"{row['case']:48}{row['n_modules']:8}{row['ours']:15,}{row['peer']:15,}{row['n_modules_that_differ']:8}  {again}")
    rows.append(
        {
            "case": "exports of which PEFT makes something else, and that do not come back",
            "ours": sum(bool(row["difference"] or row["n_modules_that_differ"]) for row in rows),
            "not_back": sum(not row["comes_back"] for row in rows),
            "of": len(rows),
        }
    )
    record.write("exports", rows, options.json)


def rows_of(name: str) -> list[dict[str, Any]]:
    """One row for each set of targets that the model has."""
    from transformers import AutoConfig
    from transformers.utils import logging

    from gelora.sources import structure_of, without_weights

    logging.set_verbosity_error()
    warnings.simplefilter("ignore")  # of PEFT and transformers, about configs that nobody trains here
    model_type, shape = (SHAPES | MIXTURES)[name]
    config = AutoConfig.for_model(model_type, **shape)
    structure = structure_of(without_weights(config), name, "published shape")
    kinds = {module.kind for module in structure.modules}
    chosen = [targets for targets in TARGETS if ("experts" not in targets or "expert" in kinds) and (targets != "mlp" or "mlp" in kinds)]
    return [_row(config, mixed_plan(structure, targets), structure) for targets in chosen]


def _row(config: Any, plan: RankPlan, structure: Any) -> dict[str, Any]:
    from gelora.ranks import plan_from_adapter, to_lora_config
    from gelora.sources import is_decoder_type

    head = "AutoModelForCausalLM" if is_decoder_type(str(config.model_type)) else "AutoModelForSequenceClassification"
    with tempfile.TemporaryDirectory() as folder:
        exported = to_lora_config(plan)
        exported.base_model_name_or_path = plan.model_id
        exported.save_pretrained(folder)
        made = {auto_class: made_by_peft(folder, config, auto_class) for auto_class in ("AutoModel", head)}
        back = plan_from_adapter(Path(folder) / "adapter_config.json", structure, config)
    planned = {module.name: plan.ranks[module.name] * module.n_params_per_rank for module in plan.modules}
    differing = {name for found in made.values() for name in _differing(planned, found)}
    totals = {auto_class: sum(found.values()) for auto_class, found in made.items()}
    return {
        "case": f"{plan.model_id}, {plan.target_modules}",
        "ours": plan.n_adapter_params,
        "peer": totals[head],
        "peer_name": f"PEFT, trainable parameters of {head} with the exported adapter_config.json",
        "difference": max((plan.n_adapter_params - total for total in totals.values()), key=abs),
        "n_modules": len(plan.modules),
        "n_modules_that_differ": len(differing),
        "comes_back": back.ranks == plan.ranks and back.alphas == plan.alphas and back.n_trained_params == plan.n_adapter_params,
        "unit": "parameters",
    }


def made_by_peft(folder: str, config: Any, auto_class: str) -> dict[str, int]:
    """{adapted name: trainable parameters} of what PEFT makes of the file, without weights."""
    import torch
    from peft import LoraConfig, get_peft_model

    from gelora.ranks.peft.lora_checks import adapted_layers
    from gelora.sources import without_weights

    loaded = LoraConfig.from_pretrained(folder)
    loaded.init_lora_weights, loaded.inference_mode = False, False
    with torch.device("meta"):
        model = get_peft_model(without_weights(config, auto_class), loaded)
    own = {name: (layer, f"{path}.lora_") for (name, layer), path in zip(adapted_layers(model).items(), _paths(model), strict=True)}
    trained = {name: parameter.numel() for name, parameter in model.get_base_model().named_parameters() if parameter.requires_grad}
    counts = {name: sum(n for full, n in trained.items() if full.startswith(start)) for name, (_, start) in own.items()}
    beside = sum(trained.values()) - sum(counts.values())
    return counts | ({"trained beside the adapters": beside} if beside else {})


def _paths(model: Any) -> list[str]:
    from peft.tuners.lora import LoraLayer

    return [name for name, module in model.get_base_model().named_modules() if isinstance(module, LoraLayer)]


def _differing(planned: dict[str, int], made: dict[str, int]) -> set[str]:
    """Modules of either side that the other lacks or has with another count."""
    found = {next((name for name in planned if full == name or full.endswith(f".{name}")), full): n for full, n in made.items()}
    return {name for name in planned.keys() | found.keys() if planned.get(name) != found.get(name)}


if __name__ == "__main__":
    main()
