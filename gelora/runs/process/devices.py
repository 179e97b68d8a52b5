"""Which devices a run may take: each GPU is one, the processors together are one.

Counts GPUs as the driver's own tool does, without loading PyTorch, so that a run that waits for its turn stays small.
Respects CUDA_VISIBLE_DEVICES. Does not depend on runs.
"""

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

_GPU = re.compile(r"GPU (\d+): .*\(UUID: (GPU-[^)]+)\)")
_PART = re.compile(r"\s+MIG .*Device\s+(\d+): \(UUID: (MIG-[^)]+)\)")
_TOOL_SECONDS = 30.0


@dataclass(frozen=True)
class Slot:
    """One device. name: `cpu`, `cuda:0`, or `cuda:0.1` for a part of a GPU; visible: what CUDA_VISIBLE_DEVICES is then, None = as it is."""

    name: str
    visible: str | None


def slots(device: str, environment: Mapping[str, str] | None = None) -> tuple[Slot, ...]:
    """The devices that a run may take, any of them.

    Args:
        device: `cpu`, `cuda`, or `auto`: a GPU when there is one, else the processors.
        environment: where CUDA_VISIBLE_DEVICES is looked up; this process's unless given.
    """
    if device == "cpu":
        return (Slot("cpu", ""),)
    wanted = (os.environ if environment is None else environment).get("CUDA_VISIBLE_DEVICES")
    there = _gpus()
    if wanted is None:
        found = tuple(there)
    else:
        entries = [entry.strip() for entry in wanted.split(",") if entry.strip()]
        if "-1" in entries:
            entries = entries[: entries.index("-1")]  # as CUDA does: what follows an impossible one does not count
        found = tuple(Slot(_name(entry, there), entry) for entry in entries)
    if found:
        return found
    # `cuda` where none was counted: the run says so itself, or takes a GPU that only PyTorch can see
    return (Slot("cuda" if device == "cuda" else "cpu", None),)


def _name(entry: str, there: list[Slot]) -> str:
    if entry.isdigit():
        return f"cuda:{entry}"
    return next((slot.name for slot in there if slot.visible and slot.visible.startswith(entry)), f"cuda:{entry}")


def _gpus() -> list[Slot]:
    tool = shutil.which("nvidia-smi")
    if tool is not None:
        try:
            listed = subprocess.run([tool, "-L"], capture_output=True, text=True, timeout=_TOOL_SECONDS, check=False)
        except (OSError, subprocess.TimeoutExpired):
            return []  # a driver that does not answer has no GPU to give
        return parse_gpus(listed.stdout) if listed.returncode == 0 else []
    driver = Path("/proc/driver/nvidia/gpus")
    return [Slot(f"cuda:{i}", str(i)) for i in range(len(list(driver.iterdir())))] if driver.is_dir() else []


def parse_gpus(listing: str) -> list[Slot]:
    """The devices in what `nvidia-smi -L` prints; of a GPU that is divided (MIG), its parts.

    They are made visible by UUID, since the tool and CUDA may number GPUs differently.
    """
    found: list[Slot] = []
    whole: Slot | None = None
    for line in listing.splitlines():
        if match := _GPU.match(line):
            whole = Slot(f"cuda:{match[1]}", match[2])
            found.append(whole)
        elif (match := _PART.match(line)) and whole is not None:
            if whole in found:
                found.remove(whole)
            found.append(Slot(f"{whole.name}.{match[1]}", match[2]))
    return found
