"""The form of a benchmark's answer: command, machine, versions, date and rows, written as JSON."""

import importlib.metadata
import json
import os
import platform
import shlex
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

PACKAGES = ("torch", "transformers", "peft", "numpy", "scipy", "accelerate")


def write(name: str, rows: list[dict[str, Any]], target: str | None) -> None:
    """Print the rows; write the whole record to `target` when given."""
    for row in rows:
        print("  ".join(f"{key}={value}" for key, value in row.items()))
    if target:
        arguments = [a for a in sys.argv[1:] if a not in ("--json", target)]
        record = {
            "benchmark": name,
            "command": shlex.join(["python", "-m", f"benchmarks.{name}", *arguments, "--json", Path(target).name]),
            "machine": machine(),
            "versions": versions(),
            "date": datetime.now(UTC).isoformat(timespec="seconds"),
            "rows": rows,
        }
        Path(target).write_text(json.dumps(record, indent=1) + "\n")


def seconds_since(started: float) -> float:
    """Seconds since a `time.perf_counter()`, to a hundredth."""
    return round(time.perf_counter() - started, 2)


def machine() -> str:
    """Processor, cores and GPU, in words."""
    import torch

    gpu = f", {torch.cuda.get_device_name(0)}" if torch.cuda.is_available() else ""
    return f"{platform.machine()}, {os.cpu_count()} cores{gpu}"


def versions() -> dict[str, str]:
    """Python and the packages that matter."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = "absent"
    return found
