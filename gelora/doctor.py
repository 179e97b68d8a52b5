"""What is on this machine, and whether each part is in order: read by `gelora doctor` and by the dashboard.

Asks the wings; computes nothing itself and changes nothing.
"""

import importlib.metadata
import os
import platform
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from gelora.errors import GeloraError
from gelora.home import home, made, runs_dir

_PACKAGES = ("torch", "transformers", "peft", "datasets", "streamlit", "plotly", "numpy", "scipy")
_TOOL_SECONDS = 10.0


@dataclass(frozen=True)
class Finding:
    """One line of the examination: what was looked at, whether it is in order, what was found or what to do."""

    what: str
    ok: bool
    finding: str


def examine() -> list[Finding]:
    """Look at Python, packages, device, memory, the bundled model, the data folder and the runs."""
    checks: dict[str, Callable[[], str]] = {
        "Python": lambda: f"{platform.python_version()} on {platform.platform()}",
        "packages": _packages,
        "device": device_sentence,
        "memory": _memory,
        "bundled model": _bundled_model,
        "data folder": _data_folder,
        "runs": _runs,
    }
    findings = []
    for what, check in checks.items():
        try:
            findings.append(Finding(what, True, check()))
        except (GeloraError, ImportError) as error:
            findings.append(Finding(what, False, str(error)))
    return findings


@dataclass(frozen=True)
class GpuMemory:
    """The first GPU: its name, and bytes free now and in all."""

    name: str
    free_bytes: int
    total_bytes: int


def gpu_memory() -> GpuMemory | None:
    """The GPU that `auto` takes, or None where there is none."""
    import torch

    if not torch.cuda.is_available():
        return None
    free, total = torch.cuda.mem_get_info(0)
    return GpuMemory(torch.cuda.get_device_name(0), int(free), int(total))


def gpu_of_driver() -> GpuMemory | None:
    """The first GPU that the driver's own tool names, without loading PyTorch; None where there is no tool or no GPU."""
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return None
    command = [tool, "--query-gpu=name,memory.free,memory.total", "--format=csv,noheader,nounits"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=_TOOL_SECONDS, check=True).stdout
        name, free, total = answer.splitlines()[0].rsplit(",", 2)
        return GpuMemory(name.strip(), int(free) * 2**20, int(total) * 2**20)
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return None  # a driver that does not answer is no GPU to train on; PyTorch says more when it is asked


def package_versions() -> dict[str, str]:
    """The versions of Python and of the installed packages that results hang on."""
    return {"Python": platform.python_version()} | {name: importlib.metadata.version(name) for name in _installed(_PACKAGES)}


def device_sentence() -> str:
    """The device that `auto` takes, in words."""
    import torch

    if torch.cuda.is_available():
        properties = torch.cuda.get_device_properties(0)
        return f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB ({torch.cuda.device_count()} GPU)"
    return f"CPU, {torch.get_num_threads()} threads (no CUDA device)"


def _packages() -> str:
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _installed(_PACKAGES))


def _installed(names: tuple[str, ...]) -> list[str]:
    present = {(d.metadata["Name"] or "").lower() for d in importlib.metadata.distributions()}
    return [name for name in names if name in present]


def _memory() -> str:
    import psutil

    memory = psutil.virtual_memory()
    return f"{memory.available / 2**30:.1f} of {memory.total / 2**30:.1f} GiB free"


def _bundled_model() -> str:
    from gelora.sources import bundled_models, find_model

    entries = [find_model(entry.model_id) for entry in bundled_models()]
    return ", ".join(f"{entry.model_id}: checksum right, revision {entry.revision[:8]}, in {entry.path}" for entry in entries)


def _data_folder() -> str:
    folder = made(home())
    if not os.access(folder, os.W_OK):
        raise GeloraError(f"{folder} cannot be written; what is in it is shown, set GELORA_HOME to a writable folder to measure and train.")
    free = shutil.disk_usage(folder).free
    if free < 200e6:
        raise GeloraError(f"{folder} has {free / 1e6:.0f} MB free; a run needs some 200 MB. Free some space or set GELORA_HOME.")
    return f"{folder}, {free / 1e9:.1f} GB free"


def _runs() -> str:
    from gelora.runs import installed_trackers, list_runs

    n = len(list_runs())
    return f"{n} run{'' if n == 1 else 's'} under {runs_dir()}; trackers installed: {', '.join(installed_trackers()) or 'none'}"
