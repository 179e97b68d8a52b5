"""`gelora compare`: two profiles side by side, as tables or JSON."""

import argparse
import dataclasses
import json
from typing import TYPE_CHECKING

from gelora.errors import InputError
from gelora.records import IdProfile, check_choice
from gelora.terminal import print_table, read_text, write_json

if TYPE_CHECKING:
    from gelora.geometry import LayerDifference


def compare(options: argparse.Namespace) -> int:
    """Two files of `gelora measure --json` -> both curves, second - first at every layer, what differs between the two."""
    from gelora.geometry import comparability_notes, compare_profiles, what_differs

    first, second = (IdProfile.from_json(read_text(path, "profile")) for path in (options.first, options.second))
    shared = [name for name in first.estimates if name in second.estimates]
    if not shared:
        raise InputError(
            f"{options.first} holds {', '.join(first.estimates)} and {options.second} holds {', '.join(second.estimates)}; "
            "measure both with one estimator."
        )
    if options.estimator:
        check_choice("--estimator", options.estimator, tuple(shared))
        shared = [options.estimator]
    differences = {name: compare_profiles(first, second, name) for name in shared}
    differing = what_differs(first, second)
    notes = list(dict.fromkeys(note for name in shared for note in comparability_notes(first, second, name)))
    answer = {
        "differs": differing,
        "notes": notes,
        "differences": {name: [dataclasses.asdict(d) for d in found] for name, found in differences.items()},
    }
    write_json(json.dumps(answer, indent=1), options.json)
    if options.json != "-":
        print(
            "A and B differ in " + "; ".join(f"{k}: {a} and {b}" for k, (a, b) in differing.items()) + "."
            if differing
            else "A and B were measured alike."
        )
        for name, found in differences.items():
            _print(name, found)
        for note in notes:
            print(note)
    return 0


def _print(estimator: str, differences: "tuple[LayerDifference, ...]") -> None:
    from gelora.geometry import summarize_differences

    rows = [
        [
            d.layer,
            _number(d.first),
            _number(d.second),
            "undefined" if d.value is None else f"{d.value:+.2f}",
            _interval(d) or (d.note or ""),
        ]
        for d in differences
    ]
    print_table(f"{estimator}: B - A (* significant: 95% CI excludes 0)", ["layer", "A", "B", "B - A", "95% CI"], rows)
    summary = summarize_differences(differences)
    if summary.mean is None:
        print("No layer has a dimension in both.")
    elif not summary.n_with_interval:
        print(f"B - A is {summary.mean:+.2f} on average over {summary.n_defined} layers; there are no intervals to judge it by.")
    elif summary.n_significant:
        of_all = f"{summary.n_significant} of {summary.n_with_interval} layers"
        print(f"B - A is {summary.mean:+.2f} on average; significant (95% CI excludes 0) at {of_all}.")
    else:
        print(f"No difference is significant ({summary.mean:+.2f} on average): the two cannot be told apart.")


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.2f}"


def _interval(difference: "LayerDifference") -> str:
    if difference.ci_low is None:
        return ""
    return f"[{difference.ci_low:+.2f}, {difference.ci_high:+.2f}]" + ("*" if difference.is_significant else "")
