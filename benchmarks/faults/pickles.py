"""Hostile pickles where files of tensors are read: nothing that they hold is run, and the answer is a sentence.

Each would create a file when it is loaded, which `prepare` proves by loading every one of them the unsafe way. They take the
place of the files of a checkpoint (under its own seal, as whoever can write the one can write the other), of an adapter's
weights, of a model's weights and of kept states; then the run is resumed, or the command is given that reads them.
"""

import io
import json
import os
import pickle
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults import odd, small_runs
from benchmarks.faults.attempt import Kind, Try, require
from benchmarks.faults.small_runs import EVAL_EVERY, info_of, spec_named, until

_IN_CHECKPOINT = (
    "optimizer.pt", "scheduler.pt", "rng_state.pth", "training_args.bin", "pytorch_model.bin", "adapter_model.bin", "scaler.pt",
)  # fmt: skip
_UNSAFE = """
import contextlib, pathlib, sys, torch
for file in sorted(pathlib.Path(sys.argv[1]).glob("*.pt")):
    with contextlib.suppress(Exception):  # most calls answer what is no tensor
        torch.load(file, weights_only=False)
"""
_TRY_SECONDS = 300.0


class _Calls:
    """Pickled as a call, which unpickling makes."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> Any:
        return self._call


def _touches(how: str, target: Path) -> _Calls:
    code = f"open({str(target)!r}, 'w').close()"
    return {
        "os.system": lambda: _Calls(os.system, f"touch '{target}'"),
        "exec": lambda: _Calls(exec, code),
        "eval": lambda: _Calls(eval, f"__import__('pathlib').Path({str(target)!r}).touch()"),
        "open": lambda: _Calls(open, str(target), "w"),
        "subprocess": lambda: _Calls(subprocess.call, ["touch", str(target)]),
        "Path.touch": lambda: _Calls(Path.touch, target),
        "nested": lambda: _Calls(pickle.loads, pickle.dumps(_Calls(exec, code))),
    }[how]()


CALLS = ("os.system", "exec", "eval", "open", "subprocess", "Path.touch", "nested")
FORMS = ("zip", "legacy", "plain", "beside tensors")


def hostile(form: str, how: str, target: Path) -> bytes:
    """The bytes of a file that creates `target` when it is unpickled.

    Args:
        form: how it is packed: as torch.save does it now or did it before 1.6, as a bare pickle, or within a dict of tensors.
        how: which call it makes, of CALLS.
        target: what the call creates.
    """
    import torch

    call = _touches(how, target)
    if form == "plain":
        return pickle.dumps(call, protocol=2)
    buffer = io.BytesIO()
    content = {"state": {0: {"step": torch.zeros(()), "exp_avg": call}}, "param_groups": []} if form == "beside tensors" else call
    torch.save(content, buffer, _use_new_zipfile_serialization=form != "legacy")
    return buffer.getvalue()


def prepare(material: Path) -> None:
    """Uninterrupted runs, one that was stopped on its way, and the proof that every pickle does what it should not."""
    from gelora.runs import start_run, stop_run

    small_runs.make(material)
    if (material / "stopped.json").is_file():
        return
    proof = material / "proof"
    proof.mkdir(exist_ok=True)
    pickles = [f"{form}, {how}" for form in FORMS for how in CALLS]
    for name in pickles:
        (proof / f"{name}.pt").write_bytes(hostile(*name.split(", "), proof / f"{name} was run"))
    subprocess.run([sys.executable, "-c", _UNSAFE, str(proof)], check=True, capture_output=True)
    harmless = [name for name in pickles if not (proof / f"{name} was run").exists()]
    require(not harmless, "wrong", f"these pickles do nothing, so that they prove nothing: {harmless}")
    os.environ["GELORA_HOME"] = str(material / "home")
    small_runs.ready()
    run_id = start_run(spec_named(material, "lora-0"))
    until(lambda: info_of(run_id).state.step > EVAL_EVERY, "training")
    stop_run(run_id)
    require(info_of(run_id).state.status == "stopped", "wrong", f"the run could not be stopped: {info_of(run_id).state}")
    (material / "stopped.json").write_text(json.dumps(run_id))


def attempt(found: Try) -> None:
    """One hostile file in one place.

    Raises:
        Fault: what the pickle holds was run, or the answer was no sentence.
    """
    places: list[Callable[[Try, bytes], str]] = [_checkpoint, _checkpoint, _adapter, _model, _states]
    how, form = CALLS[found.number % len(CALLS)], FORMS[found.number // len(CALLS) % len(FORMS)]
    target = found.folder / "created by a pickle"
    place = places[found.number % len(places)]
    said = place(found, hostile(form, how, target))
    found.facts |= {"pickle": f"{form}, {how}", "said": said[:300]}
    found.facts |= {"log": lines[-1]} if (lines := [line for line in said.splitlines() if "passed over" in line]) else {}
    require(not target.exists(), "wrong", f"the pickle was run ({form}, {how})")
    require("Traceback" not in said and "unexpected" not in said, "traceback", said[-600:])


def _checkpoint(found: Try, content: bytes) -> str:
    """A stopped run is resumed from a checkpoint that holds the file under a seal of its own."""
    from gelora.runs import resume_run
    from gelora.runs.training.checkpoints import last_whole, seal

    name = _IN_CHECKPOINT[found.number // 3 % len(_IN_CHECKPOINT)]
    found.case = f"checkpoint, {name}"
    small_runs.ready()
    run_id = json.loads((found.material / "stopped.json").read_text())
    folder = shutil.copytree(found.material / "home" / "runs" / run_id, found.folder / "runs" / run_id)
    checkpoint = last_whole(folder / "checkpoints")
    assert checkpoint is not None
    if name in ("pytorch_model.bin", "adapter_model.bin"):
        for weights in checkpoint.glob("*.safetensors"):
            weights.unlink()
    (checkpoint / name).write_bytes(content)
    (checkpoint / "complete.json").unlink()
    seal(checkpoint)
    resume_run(run_id)
    until(lambda: not info_of(run_id).is_live, "the end of the resumed run")
    state = info_of(run_id).state
    return f"{state.status}: {state.reason} {(folder / 'log.txt').read_text()[-20000:]}"


def _adapter(found: Try, content: bytes) -> str:
    found.case = "adapter, adapter_model.bin"
    folder = found.folder / "adapter"
    folder.mkdir()
    config = {"peft_type": "LORA", "r": 2, "lora_alpha": 2, "target_modules": ["query"], "base_model_name_or_path": "x"}
    (folder / "adapter_config.json").write_text(json.dumps(config))
    (folder / "adapter_model.bin").write_bytes(content)
    return odd.command("plan", "--model", str(found.material / "model"), "--adapter", str(folder))


def _model(found: Try, content: bytes) -> str:
    found.case = "model, pytorch_model.bin"
    folder = shutil.copytree(found.material / "model", found.folder / "model")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    return _measured(found, folder)


def _measured(found: Try, model: Path) -> str:
    data = ["--dataset", str(found.material / "rows.jsonl"), "--n-samples", "40", "--n-subsamples", "0", "--estimators", "twonn"]
    return odd.command("measure", "--model", str(model), *data)


def _states(found: Try, content: bytes) -> str:
    """States are kept, their file is replaced, and the same measurement is asked for with another estimator."""
    found.case = "kept states, values.npy in an .npz"
    first = _measured(found, found.material / "model")
    kept = list((found.folder / "cache").rglob("*.npz"))
    require(kept, "wrong", f"no states were kept: {first}")
    for path in kept:
        with zipfile.ZipFile(path, "w") as archive:
            for name in ("values.npy", "tokens.npy", "about.npy"):
                archive.writestr(name, content)
    for profile in (found.folder / "cache").rglob("*.json"):
        profile.unlink()
    return _measured(found, found.material / "model")


KINDS = (Kind("pickles", prepare, attempt, _TRY_SECONDS),)
