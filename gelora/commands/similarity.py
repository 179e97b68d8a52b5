"""`gelora similarity`: how alike the layers are, as a table or JSON."""

import argparse

from gelora.commands.measuring import say_what_was_drawn
from gelora.commands.options import data_choice, drawn_sample, measurement_spec
from gelora.records import LayerSimilarity, resolve_device
from gelora.terminal import TerminalProgress, print_table, say, write_json


def similarity(options: argparse.Namespace) -> int:
    """Model and data -> overlap, information imbalance, CKA and label overlap of the layers."""
    from gelora.measurements import measured_similarity

    progress, device = TerminalProgress(), resolve_device(options.device)
    choices = {name: getattr(options, name) for name in ("metric", "n_subsamples")}
    wanted = measurement_spec(options, options.model, data_choice(options), **choices)
    sample = drawn_sample(wanted, progress)
    say_what_was_drawn(sample, options)
    found, was_there = measured_similarity(wanted, sample=sample, again=options.again, device=device, progress=progress)
    if was_there:
        say("It was measured here before, with the same choices and texts; --again measures it again.", options.json == "-")
    progress.close()
    write_json(found.to_json(indent=1), options.json)
    if options.json != "-":
        _print_similarity(found)
    return 0


def _print_similarity(found: LayerSimilarity) -> None:
    columns = ["layer", "overlap with the one before", "CKA with it", "imbalance from it", "imbalance to it"]
    tables = [
        [(table[i - 1, i], width[i - 1, i]) for i in range(1, len(found.layer_names))]
        for table, width in ((found.overlap, found.overlap_half_width), (found.cka, found.cka_half_width))
    ]
    tables += [list(zip(found.forward, found.forward_half_width, strict=True))]
    tables += [list(zip(found.backward, found.backward_half_width, strict=True))]
    rows = [[name, *([""] * 4 if i == 0 else [_cell(*table[i - 1]) for table in tables])] for i, name in enumerate(found.layer_names)]
    if found.label_kind:
        columns.append("label overlap" if found.label_kind == "classification" else "|label difference|")
        for row, value, half_width in zip(rows, found.label_overlap, found.label_overlap_half_width, strict=True):
            row.append(_cell(value, half_width))
    print_table(
        f"Layers of {found.model.model_id} on {found.sample_source.choice.dataset} ({found.n_rows} rows, pooling {found.pooling}, "
        f"{found.metric}, k = {found.n_neighbors}; -+ half the 95% interval)",
        columns,
        rows,
    )
    chance = "" if found.label_chance is None else f"; labels of random pairs {found.label_chance:.3f}"
    print(
        f"By chance: overlap {found.chance_overlap:.3f}, imbalance 1, CKA 0{chance}. A layer with itself: overlap 1, "
        f"imbalance {2 / found.n_rows:.4f}, CKA 1. Every two layers: --json."
    )
    for name, note in found.notes.items():
        print(f"Undefined at {name}: {note}")


def _cell(value: float, half_width: float) -> str:
    if value != value:
        return "undefined"
    return f"{value:.4f}" + (f" -+ {half_width:.4f}" if half_width == half_width else "")
