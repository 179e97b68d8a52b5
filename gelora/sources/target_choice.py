"""Which of a model's linear maps a choice of targets means: words for kinds, endings of names, or a mix of both.

Pure, on records; does not depend on torch, or on how a map's kind was found.
"""

from collections.abc import Sequence

from gelora.errors import InputError
from gelora.records import ModelStructure, TargetModule

TARGETS = ("attention", "attention-qv", "mlp", "all-linear", "experts")

_KINDS_OF_TARGET = {
    "attention": ("q", "k", "v", "qkv", "o"),
    "attention-qv": ("q", "v", "qkv"),
    "mlp": ("mlp",),
    "all-linear": ("q", "k", "v", "qkv", "o", "mlp", "other"),
    "experts": ("expert",),
}
_WORD_OF_KIND = {"q": "attention", "k": "attention", "v": "attention", "qkv": "attention", "o": "attention", "expert": "experts"}


def select_modules(structure: ModelStructure, target_modules: str | Sequence[str]) -> tuple[TargetModule, ...]:
    """The modules of a structure that a choice of targets means, in the model's order, each once.

    Args:
        structure: from `model_structure`.
        target_modules: any of these, as a list or as one text with commas: "attention" (all attention projections),
            "attention-qv" (query and value; a fused map counts), "mlp", "all-linear" (every linear map but those of the
            experts in a mixture of experts), "experts", or name endings such as "query" or "self_attn.q_proj". An ending
            matches whole parts of the dotted name only, and means experts only if it says so ("experts.down_proj") or
            if nothing else has that name.

    Returns:
        At least one module.

    Raises:
        InputError: one of the words or names matches nothing.
    """
    given = target_modules.split(",") if isinstance(target_modules, str) else list(target_modules)
    words = [word.strip() for word in given]
    chosen: set[str] = set()
    unknown: list[str] = []
    for word in words:
        if word in _KINDS_OF_TARGET:
            meant = [module for module in structure.modules if module.kind in _KINDS_OF_TARGET[word]]
            if not meant:
                raise InputError(
                    f"{structure.model_id} has no {word} module that is a linear map; it has {_what_there_is(structure)}. Choose "
                    f"{' or '.join(map(repr, _words_that_match(structure)))}, or names."
                )
        else:
            meant = _named(structure.modules, word)
            if not meant:
                unknown.append(word)
        chosen.update(module.name for module in meant)
    if unknown or not words:
        names = ", ".join(dict.fromkeys(_leaf(module) for module in structure.modules))
        raise InputError(
            f"No module of {structure.model_id} is called {' or '.join(map(repr, unknown)) or 'by an empty list'}; "
            f"choose among {', '.join(TARGETS)}, or names among: {names}."
        )
    return tuple(module for module in structure.modules if module.name in chosen)


def _named(modules: Sequence[TargetModule], ending: str) -> list[TargetModule]:
    found = [module for module in modules if ending and (module.name == ending or module.name.endswith(f".{ending}"))]
    dense = [module for module in found if module.kind != "expert"]
    return found if "expert" in ending or not dense else dense


def _words_that_match(structure: ModelStructure) -> list[str]:
    kinds = {module.kind for module in structure.modules}
    return [word for word in ("all-linear", "experts") if kinds.intersection(_KINDS_OF_TARGET[word])]


def _what_there_is(structure: ModelStructure) -> str:
    """`mlp (fc1, fc2), experts (down_proj)`: the words that would match, with the names behind them."""
    groups: dict[str, dict[str, None]] = {}
    for module in structure.modules:
        groups.setdefault(_WORD_OF_KIND.get(module.kind, module.kind), {})[_leaf(module)] = None
    return ", ".join(f"{word} ({', '.join(list(names)[:6])})" for word, names in groups.items())


def _leaf(module: TargetModule) -> str:
    return module.name.rpartition(".")[2]
