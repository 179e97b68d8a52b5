"""Which linear maps a block has, and what each of them is: query, key, value, fused, output, feed-forward, expert.

Reads names, neighbours and shapes, and PEFT's own table of targets. Does not depend on ranks, or on how blocks are found.
"""

import ast
import functools
import importlib.util
import logging
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from gelora.records import TargetModule

if TYPE_CHECKING:
    from torch import nn

# Names that the families of models give to the projections, by kind. "o" counts only inside an attention module,
# where the same words (dense, c_proj, Wo) do not mean the second feed-forward map.
_PROJECTIONS = {
    "q": {"q", "query", "q_proj", "query_proj", "q_lin", "wq", "to_q", "q_a_proj", "q_b_proj", "linear_q", "project_q", "receptance"},
    "k": {"k", "key", "k_proj", "key_proj", "k_lin", "wk", "to_k", "linear_k", "project_k"},
    "v": {"v", "value", "v_proj", "value_proj", "v_lin", "wv", "to_v", "linear_v", "project_v", "v_proj_current", "v_proj_delayed"},
    "qkv": {
        *("qkv", "c_attn", "qkv_proj", "wqkv", "query_key_value", "query_key", "kv_proj", "kv_a_proj_with_mqa", "kv_b_proj"),
        *("in_proj", "in_proj_qkv", "in_proj_qkvz", "qkv_lin"),
    },
}
_OUTPUTS = {
    *("o", "o_proj", "out_proj", "out_lin", "wo", "c_proj", "dense", "out", "proj", "to_out", "linear_out", "output", "attention_out"),
    *("projection_layer", "post", "o_b_proj"),
}
_ATTENTION = re.compile(r"attn|attention|self_att\b", re.IGNORECASE)
_NORM = re.compile(r"norm", re.IGNORECASE)
_FEED_FORWARD = re.compile(
    r"mlp|ffn|feed_forward|^ff$|^fc\d*$|^lin\d*$|^c_fc$|intermediate|output|expert|^w[123]$|dense|^(gate|up|down)_proj$", re.IGNORECASE
)
_GATES = {"gate", "shared_expert_gate"}
_MAMBA = re.compile(r"[mzb]amba|FalconH1Mixer", re.IGNORECASE)
_CALLED_IN_MAMBA = {"in_proj"}
_INSIDE_OTHERS = {"router", "indexer"}  # what chooses experts or tokens is no projection of the tokens that it chooses


def linear_maps(blocks: "Sequence[nn.Module]", path: str, model_types: Sequence[str]) -> tuple[TargetModule, ...]:
    """Every linear map that LoRA can adapt in the blocks, in the model's order.

    A map that several blocks share has no block of its own and is left out; so are maps whose weights another module reads
    without calling them (in `nn.MultiheadAttention`, and in Mamba's fused kernel), where an adapter would have no effect.
    A mixture of
    experts that keeps one parameter of three dimensions for all experts gives one module of kind `expert`.

    Args:
        blocks: the transformer blocks, in order.
        path: dotted name of their list in the base model.
        model_types: of the config and of its text part, as PEFT's table of targets has them.
    """
    from torch import nn

    places = Counter(id(module) for block in blocks for module in block.modules() if isinstance(module, nn.Linear))
    by_peft = [names for model_type in dict.fromkeys(model_types) if (names := _peft_targets().get(model_type))]
    found: list[TargetModule] = []
    renamed: dict[str, bool] = {}
    for number, block in enumerate(blocks, start=1):
        attention = _attention_modules(block)
        for name, module, shape, n_experts in _adaptable(block):
            if places[id(module)] > 1:
                continue
            full = f"{path}.{number - 1}.{name}"
            kind = "expert" if n_experts > 1 or "experts" in name.split(".") else _kind(name, attention)
            if kind == "other" and _in_attention(name.split(".")[:-1], attention) and any(_names(names, full) for names in by_peft):
                kind = "qkv"  # PEFT adapts it in place of query and value, under a name that no other family uses
            leaf = name.rpartition(".")[2]
            if leaf not in renamed:
                renamed[leaf] = any(_is_taken_for_experts(leaf, model_type) for model_type in dict.fromkeys(model_types))
            found.append(TargetModule(full, number, kind, *shape, n_experts=n_experts, as_parameter=n_experts == 1 and renamed[leaf]))
    return tuple(found)


def _adaptable(block: "nn.Module") -> "Iterator[tuple[str, nn.Module, tuple[int, int], int]]":
    """(name in the block, module, (in_features, out_features), n_experts) of each linear map and parameter of experts."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    closed: tuple[str, ...] = ()
    for name, module in block.named_modules():
        if isinstance(module, nn.MultiheadAttention):
            closed = (*closed, f"{name}.")
        elif hasattr(module, "A_log") and _MAMBA.search(type(module).__name__):
            closed = (*closed, *(f"{name}.{own}" for own, _ in module.named_children() if own not in _CALLED_IN_MAMBA))
        elif name.startswith(closed):
            continue
        elif isinstance(module, nn.Linear):
            if _maps_as_declared(module):
                yield name, module, (module.in_features, module.out_features), 1
        elif isinstance(module, Conv1D):  # GPT-2's linear map, whose weight is stored as [in, out]
            yield name, module, (int(module.weight.shape[0]), int(module.weight.shape[1])), 1
        elif "expert" in name.lower() or "expert" in type(module).__name__.lower():
            for own, parameter in module.named_parameters(recurse=False):
                if parameter.ndim == 3:
                    yield f"{name}.{own}", module, expert_shape(module, parameter), int(parameter.shape[0])


def expert_shape(module: "nn.Module", parameter: Any) -> tuple[int, int]:
    """(in_features, out_features) of one expert's map in a parameter of all experts, as PEFT reads it.

    It is stored as [n_experts, out, in], or as [n_experts, in, out] where the module says `is_transposed` (gpt-oss).
    """
    _, rows, columns = parameter.shape
    return (int(rows), int(columns)) if getattr(module, "is_transposed", False) else (int(columns), int(rows))


def _maps_as_declared(module: "nn.Linear") -> bool:
    """Whether a model's own kind of linear map gives out_features for in_features; grouped maps do not, and PEFT cannot adapt those."""
    import torch
    from torch import nn

    if type(module).forward is nn.Linear.forward or not type(module).__module__.startswith("transformers.models."):
        return True
    try:
        with torch.no_grad():
            given: Any = module(torch.zeros(2, module.in_features, dtype=module.weight.dtype, device=module.weight.device))
    except (RuntimeError, ValueError, IndexError, TypeError) as error:
        logging.getLogger(__name__).info("%s is no plain linear map: %s", type(module).__name__, error)
        return False
    return isinstance(given, torch.Tensor) and given.shape == (2, module.out_features)


def _attention_modules(block: "nn.Module") -> set[str]:
    """Names, in the block, of modules that hold a query beside a key, or a map that fuses them, whatever they are called."""
    children: dict[str, set[str]] = {}
    for name, _ in block.named_modules():
        parent, _, leaf = name.rpartition(".")
        if parent and not any(_FEED_FORWARD.search(part) for part in parent.split(".")):
            children.setdefault(parent, set()).add(leaf.lower())
    fused = _PROJECTIONS["qkv"] - {"in_proj"}  # the name of any first map, a state-space model's too
    return {parent for parent, leaves in children.items() if leaves & fused or (leaves & _PROJECTIONS["q"] and leaves & _PROJECTIONS["k"])}


def _in_attention(parents: Sequence[str], attention: set[str]) -> bool:
    if any(".".join(parents[:depth]) in attention for depth in range(1, len(parents) + 1)):
        return True
    return any(_ATTENTION.search(parent) and not _NORM.search(parent) for parent in parents)


def _kind(name: str, attention: set[str]) -> str:
    """Kind of a linear map from its dotted name inside the block."""
    parts = name.split(".")
    if parts[-1] == "linear" and len(parts) > 1:
        parts.pop()  # a wrapper around the map has its name
    *parents, leaf = parts
    if _INSIDE_OTHERS.intersection(parts):
        return "other"
    in_attention = _in_attention(parents, attention)
    for kind, names in _PROJECTIONS.items():
        if leaf.lower() in names and (in_attention or not parents):
            return kind
    if in_attention:
        return "o" if leaf.lower() in _OUTPUTS else "other"
    if leaf not in _GATES and any(_FEED_FORWARD.search(part) for part in parts):
        return "mlp"
    return "other"


def _names(targets: "tuple[str, ...] | str", name: str) -> bool:
    """PEFT's rule: a text is a regular expression for the whole name, a list has endings."""
    if isinstance(targets, str):
        return re.fullmatch(targets, name) is not None
    return any(name == ending or name.endswith(f".{ending}") for ending in targets)


@functools.cache
def _is_taken_for_experts(leaf: str, model_type: str) -> bool:
    """Whether PEFT takes a module of this name, in a model of this type, for experts that transformers 4 had as modules.

    It then drops the name from target_modules and adapts the fused experts, also where the name is that of a dense block
    or of shared experts. PEFT itself is asked, and imported for the few types of model that transformers converts alone.
    """
    try:
        from transformers.conversion_mapping import get_checkpoint_conversion_mapping

        if get_checkpoint_conversion_mapping(model_type) is None:
            return False
        from peft import LoraConfig
        from peft.utils.transformers_weight_conversion import convert_peft_config_for_transformers
    except ImportError:
        return False  # a PEFT or transformers older than the renaming
    config = LoraConfig(target_modules=[leaf])
    try:
        convert_peft_config_for_transformers(config, SimpleNamespace(config=SimpleNamespace(model_type=model_type)), None)
    except ValueError:
        return True  # one of several names that PEFT fuses into one, without the others
    return leaf not in (config.target_modules or ())


@functools.cache
def _peft_targets() -> "dict[str, tuple[str, ...] | str]":
    """PEFT's own table of default targets by model type, read from its source: importing PEFT takes seconds."""
    spec = importlib.util.find_spec("peft")
    folders = list(spec.submodule_search_locations or ()) if spec else []
    try:
        if not folders:
            raise OSError("peft is not installed")
        tree = ast.parse((Path(folders[0]) / "utils" / "constants.py").read_text(encoding="utf-8"))
        tables = [
            ast.literal_eval(node.value)
            for node in tree.body
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "TRANSFORMERS_MODELS_TO_LORA_TARGET_MODULES_MAPPING"
        ]
    except (OSError, SyntaxError, ValueError) as error:
        tables = [{}]
        logging.getLogger(__name__).warning(
            "PEFT's table of target modules cannot be read (%s); modules are found by structure alone.", error
        )
    table = tables[0] if tables else {}
    return {model_type: names if isinstance(names, str) else tuple(names) for model_type, names in table.items()}
