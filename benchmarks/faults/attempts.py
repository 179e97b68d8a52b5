"""The process that carries out tries: a number a line comes in, an answer a line goes out.

Started by `campaign` as `python -m benchmarks.faults.attempts KIND SEED MATERIAL HOME`. What a library
prints goes nowhere; every error that is no `Fault` of the kind's is one itself.
"""

import json
import os
import random
import shutil
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from benchmarks.faults.attempt import Fault, Try
from benchmarks.faults.kinds import kind_named


def main() -> None:
    """Answer until the input ends. The word `prepare` in a number's place has the material made."""
    name, seed, material, home = sys.argv[1:]
    answers = os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    for descriptor in (1, 2):
        os.dup2(nowhere, descriptor)
    kind = kind_named(name)
    for line in sys.stdin:
        if line.strip() == "prepare":
            row = _answer(lambda: kind.prepare(Path(material)))
        else:
            folder = Path(home) / line.strip()
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)
            os.environ["GELORA_HOME"] = str(folder)
            found = Try(int(line), random.Random(f"{seed} {name} {line.strip()}"), Path(material), folder)
            row = _answer(lambda found=found: kind.attempt(found))
            row = {"number": found.number, "case": found.case, **row, **found.facts}
            if row["fault"] is None:
                shutil.rmtree(folder, ignore_errors=True)
        answers.write(json.dumps(row) + "\n")
        answers.flush()


def _answer(act: Any) -> dict[str, Any]:
    began = time.perf_counter()
    fault, cause = None, None
    try:
        act()
    except Fault as error:
        fault, cause = error.fault, error.cause
    except Exception as error:  # noqa: BLE001  (whatever a library lets through is what the campaign looks for)
        frames = traceback.extract_tb(error.__traceback__)[-3:]
        where = " < ".join(f"{Path(frame.filename).name}:{frame.lineno}" for frame in reversed(frames))
        fault, cause = "traceback", f"{type(error).__name__}: {str(error)[:300]} ({where})"
    return {"fault": fault, "cause": cause, "seconds": round(time.perf_counter() - began, 3)}


if __name__ == "__main__":
    main()
