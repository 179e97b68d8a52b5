"""How a choice is read back from the text that a URL holds: each parser raises ValueError for what is not legal."""

import re
from collections.abc import Callable

from gelora.geometry import ESTIMATORS


def one_of(*legal: str) -> Callable[[str], str]:
    """One of some words."""

    def parse(text: str) -> str:
        if text not in legal:
            raise ValueError(text)
        return text

    return parse


def number_in(low: int, high: int) -> Callable[[str], int]:
    """A whole number from low to high."""

    def parse(text: str) -> int:
        if not low <= int(text) <= high:
            raise ValueError(text)
        return int(text)

    return parse


def real_in(low: float, high: float) -> Callable[[str], float]:
    """A number from low to high."""

    def parse(text: str) -> float:
        if not low <= float(text) <= high:
            raise ValueError(text)
        return float(text)

    return parse


def flag(text: str) -> bool:
    """1 or 0."""
    if text not in ("1", "0"):
        raise ValueError(text)
    return text == "1"


def names_of_estimators(text: str) -> list[str]:
    """Names of estimators between commas, in the order in which there are all."""
    wanted = text.split(",")
    if any(name not in ESTIMATORS for name in wanted):
        raise ValueError(text)
    return [name for name in ESTIMATORS if name in wanted]


def budget(text: str) -> str:
    """A budget in words, as `gelora.ranks.budget_params` reads it; empty for none."""
    if text and not re.fullmatch(r"(uniform|params):[1-9]\d{0,14}|mb:(\d{1,9}\.?\d{0,9}|\.\d{1,9})", text):
        raise ValueError(text)
    return text


def ranks_by_hand(text: str) -> dict[str, int]:
    """Edits such as "3:4;layers.2.mlp.fc1:1": a block number or a module's name, and its rank."""
    edits = {}
    for part in filter(None, text.split(";")):
        name, _, rank = part.rpartition(":")
        if not re.fullmatch(r"[\w.-]+", name) or not 0 <= int(rank) <= 1_000_000:
            raise ValueError(text)
        edits[name] = int(rank)
    return edits


def words(text: str) -> str:
    """Names between commas; not empty."""
    if not re.fullmatch(r"[\w.,\- ]{1,2000}", text):
        raise ValueError(text)
    return text


def answers(text: str) -> dict[str, int]:
    """What a class predicted, such as "1:2;3:0": a step of the tour and which of its answers."""
    found = {}
    for part in filter(None, text.split(";")):
        if not re.fullmatch(r"[1-6]:\d", part):
            raise ValueError(text)
        found[part[0]] = int(part[2])
    return found


def steps(text: str) -> tuple[int, ...]:
    """Steps of the tour between commas."""
    if not re.fullmatch(r"[1-6](,[1-6])*", text):
        raise ValueError(text)
    return tuple(sorted({int(step) for step in text.split(",")}))
