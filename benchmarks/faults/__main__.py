"""The campaign from the command line: `python -m benchmarks.faults KIND ... [--tries N] [--jobs N] [--minutes M] [--json FILE]`.

Interrupted, or out of its minutes, it goes on where it was when it is started again with the same --work and --seed.
"""

import argparse
import json
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from benchmarks import record
from benchmarks.faults import campaign
from benchmarks.faults.attempt import FAULTS
from benchmarks.faults.kinds import MODULES, kind_named

_SHOWN = 40


def main() -> None:
    """Try every kind that is asked for; a row a kind, and every fault with its cause."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.faults", description=__doc__)
    parser.add_argument("kinds", nargs="+", choices=tuple(MODULES), metavar="KIND", help=", ".join(MODULES))
    parser.add_argument("--tries", type=int, default=20, help="of each kind (default 20)")
    parser.add_argument("--jobs", type=int, default=1, help="tries at once (default 1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=1e6, help="begin no try of a kind after so long")
    parser.add_argument("--work", default=str(Path(tempfile.gettempdir()) / "gelora-faults"), help="folder of journal and homes")
    parser.add_argument("--json")
    options = parser.parse_args()
    rows: list[dict[str, Any]] = []
    for name in options.kinds:
        tried = campaign.run(kind_named(name), options.seed, options.tries, options.jobs, Path(options.work), options.minutes)
        rows += [summary(name, tried), *faults(name, tried)]
    sys.argv = [word for word in sys.argv if word not in ("--work", options.work)]  # where it was done is no part of the result
    record.write("faults", json.loads(json.dumps(rows).replace(options.work, "WORK")), options.json)


def summary(name: str, tried: list[dict[str, Any]]) -> dict[str, Any]:
    """The row of one kind: how many were tried, and how many ended in which fault."""
    found = Counter(row["fault"] for row in tried)
    times = sorted(row["seconds_until_true"] for row in tried if row.get("seconds_until_true") is not None)
    row = {"kind": name, "tried": len(tried)} | {fault: found[fault] for fault in FAULTS}
    row["asked_twice"] = sum(row.get("asked_twice", False) for row in tried)
    row["slowest_try_seconds"] = max((row["seconds"] for row in tried), default=0.0)
    if times:
        row |= {"median_seconds_until_true": times[len(times) // 2], "slowest_seconds_until_true": times[-1]}
    answers = Counter(answer for row in tried for answer in row.get("answers", {}).values())
    row |= {"answers": dict(sorted(answers.items()))} if answers else {}
    cases = Counter(row["case"] for row in tried)
    return row | ({"cases": dict(sorted(cases.items()))} if len(cases) <= _SHOWN else {"n_cases": len(cases)})


def faults(name: str, tried: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for every fault, with its cause."""
    return [{"kind": name, **row} for row in tried if row["fault"] is not None]


if __name__ == "__main__":
    main()
