"""What a run was made with and of, so that it can be repeated: versions, commit, digests, device, the command.

Does not depend on training or trackers. What is known only later (the digest of the rows drawn, the model's revision) is
added then.
"""

import importlib.metadata
import os
import platform
import shlex
import subprocess
from pathlib import Path
from typing import Any

from gelora.records import RunSpec
from gelora.runs.records.record_file import read_json, write_json
from gelora.runs.records.state import now

PACKAGES = ("gelora-lab", "torch", "transformers", "peft", "accelerate", "datasets", "tokenizers", "safetensors", "numpy", "scikit-learn")
_FILE = "provenance.json"
_GIT_SECONDS = 20.0


def gather(spec: RunSpec, folder: Path, device: str) -> dict[str, Any]:
    """Write provenance.json of a run that begins or is resumed, and return what it holds.

    A resumed run keeps what earlier attempts were made with, under `earlier`.

    Args:
        spec: what the run does.
        folder: the run's, with its spec.json.
        device: `cpu` or `cuda`; of a GPU the one that this process sees first.

    Raises:
        StoreError: the file cannot be written, or an earlier one is damaged.
    """
    before = read_json(folder / _FILE)
    earlier = [*before.pop("earlier", []), before] if before else []
    record: dict[str, Any] = {
        "run_id": folder.name,
        "gathered_at": now(),
        "command": shlex.join(["gelora", "train", "--spec", str(folder / "spec.json")]),
        "spec_digest": spec.digest(),
        "seed": spec.seed,
        "model": spec.model,
        "dataset": spec.data.dataset,
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
        "git": checkout(),
        "device": device,
        "device_name": _device_name(device),
        "cuda": _cuda_version() if device == "cuda" else None,
        "platform": platform.platform(),
        "n_processors": os.cpu_count(),
    }
    write_json(folder / _FILE, record | ({"earlier": earlier} if earlier else {}))
    return record


def add(folder: Path, **facts: str | int | float | bool | None) -> dict[str, Any]:
    """Add facts that are known only after model and data are loaded (data_digest, model_revision, precision, ...); returns all.

    Raises:
        StoreError: the file cannot be read or written.
    """
    record = (read_json(folder / _FILE) or {}) | facts
    write_json(folder / _FILE, record)
    return record


def tags(record: dict[str, Any]) -> dict[str, str]:
    """The record as a tracker shows it: `version.torch`, `gelora.git_commit`, ...; what is not known is left out."""
    versions = {"python": record["python"]} | record["packages"]
    found = {f"version.{name}": version or "absent" for name, version in versions.items()}
    git = record["git"] or {}
    values = {name: record[name] for name in ("run_id", "command", "seed", "device_name", "platform")}
    values |= {name: record.get(name) for name in ("data_digest", "model_revision")}
    values |= {"fingerprint": record["spec_digest"], "git_commit": git.get("commit"), "git_dirty": git.get("dirty")}
    return found | {f"gelora.{name}": str(value) for name, value in values.items() if value is not None}


def checkout(root: Path | None = None) -> dict[str, Any] | None:
    """Commit and dirty flag of the git checkout that this package runs from; None when it is installed, or git does not answer.

    Args:
        root: the folder that holds the package; where this file is unless given.
    """
    package = Path(__file__).resolve().parents[2]
    root = package.parent if root is None else root
    if _git(root, "ls-files", "--error-unmatch", f"{package.name}/__init__.py") is None:
        return None  # a folder that git does not follow, perhaps within another checkout
    commit, changes = _git(root, "rev-parse", "HEAD"), _git(root, "status", "--porcelain")
    return None if commit is None or changes is None else {"commit": commit, "dirty": bool(changes)}


def _git(root: Path, *arguments: str) -> str | None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        answer = subprocess.run(
            ["git", "--no-optional-locks", "-C", str(root), *arguments],
            capture_output=True, text=True, timeout=_GIT_SECONDS, check=False, env=environment,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None  # no git here, or a file system that does not answer
    return answer.stdout.strip() if answer.returncode == 0 else None


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None  # run from a checkout, or a package that this run does not need


def _device_name(device: str) -> str:
    if device == "cuda":
        import torch

        return str(torch.cuda.get_device_name(0))
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []  # not Linux
    named = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(named, None) or platform.processor() or platform.machine()


def _cuda_version() -> str | None:
    import torch

    return getattr(torch.version, "cuda", None) or getattr(torch.version, "hip", None)
