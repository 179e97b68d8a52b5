"""`gelora inspect` and `gelora compress`: which directions a trained adapter used, and the adapter without the others."""

import argparse
import json
import math
from pathlib import Path
from typing import Any

from gelora.commands.options import data_choice
from gelora.commands.run_specs import held_out_choice
from gelora.errors import InputError
from gelora.home import local_path
from gelora.records import RunSpec, TrainingConfig
from gelora.terminal import TerminalProgress, print_table, read_text, say, write_json


def inspect(options: argparse.Namespace) -> int:
    """The spectrum of every module's update."""
    from gelora.ranks import adapter_spectra, read_factors

    folder = adapter_folder(options.adapter)
    read = read_factors(folder)
    spectra, notes = adapter_spectra(read), read.notes
    rows = [
        {"module": s.module, "r": s.r, "in_features": s.in_features, "out_features": s.out_features, "scaling": s.scaling, "norm": s.norm,
         "rank": s.rank, "effective_rank": s.effective_rank, "stable_rank": s.stable_rank, "energy_rank_99": s.energy_rank(),
         "n_above_noise": s.n_above_noise, "singular_values": s.singular_values.tolist()}
        for s in spectra
    ]  # fmt: skip
    write_json(json.dumps({"adapter": str(folder), "notes": notes, "modules": rows}, indent=1), options.json)
    if options.json == "-":
        return 0
    table = [
        [row["module"], str(row["r"]), f"{row['norm']:.4g}", f"{row['effective_rank']:.2f}", f"{row['stable_rank']:.2f}",
         str(row["energy_rank_99"]), str(row["n_above_noise"])]
        for row in rows
    ]  # fmt: skip
    title = f"{folder}: scaled B·A of {len(rows)} modules"
    print_table(title, ["module", "r", "norm", "effective rank", "stable rank", "rank of 99% energy", "above noise"], table)
    n_units, used = sum(s.r for s in spectra), sum(s.energy_rank() for s in spectra)
    total = math.hypot(*(s.norm for s in spectra))
    print(f"{used} of {n_units} units of rank hold 99% of each module's energy; {sum(s.n_above_noise for s in spectra)} stand above noise.")
    print(f"Frobenius norm of all updates {total:.4g}. Noise: a random B·A of the same shape and as many values (gelora.ranks.noise_edge).")
    for note in notes:
        print(note)
    return 0


def compress(options: argparse.Namespace) -> int:
    """The adapter cut to its largest singular values; its score before and after, where there are data."""
    from gelora.ranks import compress_adapter

    folder = adapter_folder(options.adapter)
    budget = options.match if options.params is None else f"params:{options.params}"
    energy = None if budget else 0.95 if options.energy is None else options.energy
    spec = _scored_on(options, folder)
    made = compress_adapter(folder, options.out, energy=energy, budget=budget)
    answer: dict[str, Any] = {"adapter": str(folder), "out": options.out} | made.as_json() | {"metric": None, "before": None, "after": None}
    if spec is not None:
        from gelora.runs import score_adapters

        progress = TerminalProgress()
        answer["metric"], (answer["before"], answer["after"]) = score_adapters(spec, [folder, local_path(options.out)], progress)
        progress.close()
    write_json(json.dumps(answer, indent=1), options.json)
    if options.json == "-":
        return 0
    rows = [
        [m.module, str(m.r), str(m.kept) if m.kept else "left out", f"{m.norm:.4g}", f"{m.dropped:.4g}", f"{m.relative:.2%}"]
        for m in made.modules
    ]
    print_table(f"{folder} -> {options.out}", ["module", "r", "kept", "norm of B·A", "norm of the change", "relative"], rows)
    share = made.n_params / made.n_params_before
    print(f"{made.n_params:,} of {made.n_params_before:,} adapter parameters ({share:.1%}); heads that are saved whole stay as they are.")
    print(f"The function changes by {made.dropped:.4g} of {made.norm:.4g} in Frobenius norm ({made.relative:.2%}).")
    if spec is None:
        print("The score was not measured again: give --dataset.")
    else:
        metric = answer["metric"]
        name, rows_of = metric.removeprefix("eval_"), (spec.held_out or spec.data).dataset
        print(f"Held-out {name}: {answer['before'][metric]:.4f} before, {answer['after'][metric]:.4f} after, on rows of {rows_of}.")
    say(f"Wrote {options.out}", False)
    return 0


def adapter_folder(given: str) -> Path:
    """The folder of an adapter, or that of the adapter of a run by its id.

    Raises:
        InputError: there is neither.
    """
    folder = local_path(given)
    if folder.exists():
        return folder.parent if folder.is_file() else folder
    from gelora.runs import list_runs

    of_run = next((run.folder / "adapter" for run in list_runs() if run.id == given), None)
    if of_run is None or not (of_run / "adapter_config.json").is_file():
        reason = f"The run {given} has left no adapter" if of_run else f"There is no folder and no run {given}"
        raise InputError(f"{reason}; give the folder of a LoRA adapter, or the id of a finished run (gelora runs).")
    return of_run


def _scored_on(options: argparse.Namespace, folder: Path) -> RunSpec | None:
    """The task that the score is of: of --dataset, of the run that left the adapter, or none."""
    from gelora.ranks import read_factors
    from gelora.sources import BUNDLED_MODEL

    own = folder.parent / "spec.json"
    if options.dataset is None:
        return RunSpec.from_json(read_text(str(own), "run spec")) if own.is_file() else None
    data, config = data_choice(options), read_factors(folder).config
    training = TrainingConfig(
        method="head", n_eval=options.held_out_rows, task=options.task, max_length=options.max_length, device=options.device
    )  # fmt: skip
    model = options.model or config.base_model or BUNDLED_MODEL
    held_out = held_out_choice(options.held_out, data) if options.held_out else None
    return RunSpec(model, data, None, training, options.seed, held_out)
