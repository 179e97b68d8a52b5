"""Adapters as strangers write them: configs changed in any field, damaged safetensors; each is a plan or a sentence."""

import json
import struct
from pathlib import Path
from typing import Any

from benchmarks.faults import odd
from benchmarks.faults.attempt import Kind, Try
from benchmarks.faults.small_runs import folder_of_finished, make

_MORE: dict[str, Any] = {
    "rank_pattern": {"query": 4, "^encoder.layer.0.*": 2}, "alpha_pattern": {"value": 8}, "layers_to_transform": [0, 1],
    "layers_pattern": "layer", "exclude_modules": ["key"], "modules_to_save": ["classifier"], "target_parameters": ["x"],
    "use_rslora": True, "use_dora": True, "bias": "lora_only", "fan_in_fan_out": False, "task_type": "SEQ_CLS",
    "target_modules": ["query", "value"], "megatron_config": None, "init_lora_weights": True, "trainable_token_indices": [1, 2],
}  # fmt: skip
_EXPRESSIONS = ("(a+)+$", ".*", "query|", "(", "[", "all-linear", "((((.*)*)*)*)*x", "(?P<a>.)(?P=a)", "\\", ".*\\.query" * 300)


def attempt(found: Try) -> None:
    """One adapter: its config changed, its weights changed, or both.

    Raises:
        Fault: the answer is neither a plan nor a sentence.
    """
    from gelora.ranks import plan_from_adapter

    odd.limit_memory()
    rng = found.rng
    whole = folder_of_finished(found.material, "lora-0") / "adapter"
    folder = found.folder / "adapter"
    folder.mkdir()
    config = json.loads((whole / "adapter_config.json").read_text())
    config |= {name: _MORE[name] for name in rng.sample(tuple(_MORE), rng.randint(0, 4))}
    if rng.random() < 0.2:
        config["target_modules"] = rng.choice(_EXPRESSIONS)
    if rng.random() < 0.1:
        config["rank_pattern"] = {rng.choice(_EXPRESSIONS): rng.choice(odd.NUMBERS)}
    changes_config, changes_weights = rng.random() < 0.8, rng.random() < 0.5
    text = odd.json_bytes(rng, config) if changes_config else json.dumps(config).encode()
    if rng.random() < 0.95:
        packed = rng.random() < 0.1
        (folder / f"adapter_config.json{'.gz' * packed}").write_bytes(odd.packed(rng, text) if packed else text)
    if rng.random() < 0.7:
        weights = (whole / "adapter_model.safetensors").read_bytes()
        (folder / "adapter_model.safetensors").write_bytes(_weights(rng, weights) if changes_weights else weights)
    found.case = f"config {'changed' if changes_config else 'as it was'}, weights {'changed' if changes_weights else 'as they were'}"
    found.facts["answers"] = {"plan": odd.answered(lambda: plan_from_adapter(folder, _structure(found.material)).to_json())}


def _weights(rng: Any, whole: bytes) -> bytes:
    """Safetensors with another header, or other bytes."""
    (length,) = struct.unpack("<Q", whole[:8])
    if rng.random() < 0.5:
        header = odd.json_bytes(rng, json.loads(whole[8 : 8 + length]))
        return struct.pack("<Q", rng.choice((len(header), len(header), 2**40, 0))) + header + whole[8 + length :]
    return odd.bytes_changed(rng, whole)


_structures: dict[Path, Any] = {}


def _structure(material: Path) -> Any:
    from gelora.sources import model_structure

    if material not in _structures:
        _structures[material] = model_structure(str(material / "model"))
    return _structures[material]


def prepare(material: Path) -> None:
    """An adapter to be changed, and the model that it is for."""
    make(material)
    _structure(material)


KINDS = (Kind("adapters", prepare, attempt, odd.LIMIT_SECONDS),)
