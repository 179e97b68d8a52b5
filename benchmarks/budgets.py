"""Parameter budgets against PEFT's own count, and a 70B plan without weights: `python -m benchmarks.budgets [--json [FILE]]`.

Well-known architectures in their published shapes on the meta device: the budget of a plan with mixed ranks minus what
PEFT counts after making its adapters, which has to be 0. Then a fresh process that plans a model of the shape of
Llama 3 70B. With --all, every architecture that transformers can build (tens of minutes). `--json` alone prints JSON.
"""

import argparse
import contextlib
import dataclasses
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.published_shapes import LLAMA_70B, SHAPES
from gelora.ranks import plan_budget, to_lora_config, uniform_ranks
from gelora.records import ModelStructure, RankPlan
from gelora.sources import structure_of, without_weights

TARGETS = ("attention", "attention-qv", "mlp", "all-linear", "experts", "all-linear,experts")
LIMIT_SECONDS, LIMIT_BYTES = 3.0, 2_000_000_000
FRESH_PROCESSES = 5

# What a fresh process does. Torch is there already when one plans in the dashboard; everything else is counted, once with
# the import of transformers and once after it.
PLAN_70B = """
import importlib, json, sys, time
import torch
for name in sys.argv[2:]:
    importlib.import_module(name)
started, cpu_started = time.perf_counter(), time.process_time()
from gelora.sources import model_structure
from gelora.ranks import memory_estimate, plan_budget, uniform_ranks
structure = model_structure(sys.argv[1])
plan = uniform_ranks(structure, 8, "all-linear")
budget = plan_budget(plan)
memory = memory_estimate(plan, structure, batch_size=1, length=2048, dtype="bfloat16", task="causal-lm", gradient_checkpointing=True)
seconds, cpu_seconds = time.perf_counter() - started, time.process_time() - cpu_started
with open("/proc/self/status") as status:  # getrusage's peak would include that of the process that started this one
    peak = next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024
print(json.dumps({
    "seconds": seconds, "cpu_seconds": cpu_seconds, "peak_bytes": peak, "n_params": structure.n_params,
    "n_modules": len(structure.modules), "n_adapter_params": budget.n_adapter_params, "memory_bytes": memory.total_bytes,
    "imported_peft": "peft" in sys.modules,
}))
"""


def main() -> None:
    """Count, plan and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--all", action="store_true", help="every architecture from its default config instead of the published shapes")
    parser.add_argument("--only", nargs="+", metavar="TYPE", help="with --all: these model types alone")
    parser.add_argument("--json", nargs="?", const="-", metavar="FILE")
    options = parser.parse_args()
    _quiet()
    if options.all:
        from benchmarks.architectures import study

        rows = study(options.only)
    else:
        rows = [row for name in SHAPES for row in count_rows(name)]
        rows.append({"case": "counts that differ from PEFT's", "ours": sum(row["difference"] != 0 for row in rows), "of": len(rows)})
        rows.append(plan_70b_row())
        # Of the import of transformers, torch's own compiler and distributed tensors are a third.
        rows.append(plan_70b_row("torch._dynamo", "torch.distributed.tensor"))
        rows.append(plan_70b_row("transformers.models.llama.modeling_llama"))
    if options.json != "-":
        record.write("budgets", rows, options.json)
        return
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "budgets.json"
        with contextlib.redirect_stdout(sys.stderr):
            record.write("budgets", rows, str(file))
        print(file.read_text(), end="")


def count_rows(name: str) -> list[dict[str, Any]]:
    """Our count and PEFT's for each set of targets that the model has."""
    from transformers import AutoConfig

    model_type, options = SHAPES[name]
    config = AutoConfig.for_model(model_type, **options)
    structure = structure_of(without_weights(config), name, "published shape")
    kinds = {module.kind for module in structure.modules}
    rows = []
    for target_modules in TARGETS:
        if ("experts" in target_modules and "expert" not in kinds) or (target_modules == "mlp" and "mlp" not in kinds):
            continue
        plan = mixed_plan(structure, target_modules)
        ours, peer = plan_budget(plan).n_adapter_params, peft_count(config, plan)
        row = {"case": f"{name}, {target_modules}", "ours": ours, "peer": peer, "peer_name": "PEFT get_nb_trainable_parameters"}
        rows.append(
            {**row, "difference": ours - peer, "n_modules": len(plan.modules), "n_params": structure.n_params, "unit": "parameters"}
        )
    return rows


def mixed_plan(structure: ModelStructure, target_modules: str) -> RankPlan:
    """Ranks 1 to 7 in turn over the modules, as far as each is large enough."""
    plan = uniform_ranks(structure, 1, target_modules)
    ranks = {module.name: min(1 + index % 7, module.smaller_side) for index, module in enumerate(plan.modules)}
    return dataclasses.replace(plan, ranks=ranks, alphas={name: 32.0 * r for name, r in ranks.items()})


def peft_count(config: Any, plan: RankPlan) -> int:
    """Trainable parameters of the model of this config with the plan's LoraConfig, as PEFT counts them."""
    import torch
    from peft import get_peft_model

    with torch.device("meta"):
        model: Any = without_weights(config)
        return int(get_peft_model(model, to_lora_config(plan, model)).get_nb_trainable_parameters()[0])


def plan_70b_row(*imported: str) -> dict[str, Any]:
    """Structure, plan, budget and memory of a 70B shape, each time in a fresh process; medians.

    Args:
        imported: modules that are imported before the clock starts, beside torch.
    """
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "config.json").write_text(json.dumps(LLAMA_70B))
        command = [sys.executable, "-c", PLAN_70B, folder, *imported]
        runs = [json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout) for _ in range(FRESH_PROCESSES)]
    seconds = [run.pop("seconds") for run in runs]
    cpu_seconds = [run.pop("cpu_seconds") for run in runs]
    peaks = [run.pop("peak_bytes") for run in runs]
    return {
        "case": "Llama 3 70B's shape, planned from its config in a fresh process",
        "imported_before": ", ".join(("torch", *imported)),
        "seconds": round(statistics.median(seconds), 3),
        "fastest_seconds": round(min(seconds), 3),
        "all_seconds": [round(value, 3) for value in seconds],
        "cpu_seconds": round(statistics.median(cpu_seconds), 3),
        "limit_seconds": LIMIT_SECONDS,
        "peak_bytes": round(statistics.median(peaks)),
        "limit_bytes": LIMIT_BYTES,
        **runs[0],
    }


def _quiet() -> None:
    """Warnings of PEFT and transformers about configs that nobody trains here are left out."""
    import warnings

    from transformers.utils import logging

    logging.set_verbosity_error()
    warnings.simplefilter("ignore")


if __name__ == "__main__":
    main()
