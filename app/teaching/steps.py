"""The six questions of the tour: what is asked, what can be answered, and which answer the numbers give, in words.

Pure: profiles, plans and a run's harvest in, sentences out; draws nothing and knows no session.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from app.charts.large import SHAPES
from app.charts.look import estimator_style, minus
from app.shared.run_words import metric_word
from app.teaching.recorded_run import Harvest
from gelora.geometry import half_sample_spread, halves_of, rises, sign_agreement
from gelora.ranks import equivalent_uniform_rank
from gelora.records import IdProfile, ModelStructure, RankPlan
from gelora.runs import GeometryMeasurement

N_STEPS = 6
_SIZES = (5, 15, 40, 150)  # upper ends of the answers to step 1
GAINS = ("worse", "0 to 2 points better", "2 to 10 points better", "more than 10 points better")
AGREEMENTS = ("the same numbers", "other numbers, the same shape", "not even the same shape")
SHARES = ("nothing", "up to a quarter", "up to a half", "more than half")
MOVES = ("it rose by more than 1", "it stayed within 1", "it fell by more than 1")


@dataclass(frozen=True)
class Question:
    """One step: its title, what it asks, the answers to choose from, and the word on the button that shows."""

    title: str
    asks: str
    answers: tuple[str, ...]
    button: str = "Show"


def question(step: int, shape: ModelStructure | None, n_estimators: int, n_samples: int) -> Question:
    """The question of a step from 1 to N_STEPS, about this model (None: not read yet) and sample."""
    n_coordinates = "hundreds of" if shape is None else f"{shape.hidden_size:,}"
    blocks = "The blocks" if shape is None else f"{shape.n_layers} blocks"
    return (
        Question(
            "How many numbers describe a sentence?",
            f"The model writes every text as {n_coordinates} coordinates. How many numbers would do?",
            tuple(size_answers(10**6 if shape is None else shape.hidden_size)),
        ),
        Question(
            "What will training bring?",
            "Small adapters in every block learn for a minute or two. Compared with training the head alone, the score will be",
            GAINS,
            "Start the training",
        ),
        Question(
            "What happens on the way through the layers?",
            f"{blocks} work on every text, one after another. What does the dimension do on the way?",
            tuple(SHAPES.values()),
        ),
        Question(
            "Do all ways of measuring agree?",
            f"{n_estimators} estimators look at the same {n_samples:,} texts in the same layers. They will give",
            AGREEMENTS,
        ),
        Question(
            "Where do the ranks come from?",
            "The rank of a block is the rise of the dimension over it, plus an offset. At offset 1, how much of all rank is rise?",
            SHARES,
        ),
        Question("What became of the run?", "What did training do to the dimension of the last layer?", MOVES),
    )[step - 1]


# step 1


def size_answers(n_coordinates: int) -> list[str]:
    """The answers to step 1 that a model of so many coordinates leaves possible."""
    lows = [1, *(high + 1 for high in _SIZES)]
    words = [f"{low} to {high}" for low, high in zip(lows, _SIZES, strict=False)] + [f"more than {_SIZES[-1]}"]
    return [text for low, text in zip(lows, words, strict=True) if low < n_coordinates]


def size_range(answer: int, n_coordinates: int) -> tuple[float, float]:
    """The slopes that an answer to step 1 holds possible; they meet half-way between two answers."""
    lows = [1.0, *(high + 0.5 for high in _SIZES)]
    return lows[answer], float(_SIZES[answer] + 0.5 if answer < len(_SIZES) else max(n_coordinates, lows[answer] + 1))


def size_answer(dimension: float, n_coordinates: int) -> int:
    """Which answer to step 1 holds the dimension."""
    found = sum(dimension > high + 0.5 for high in _SIZES)
    return min(found, len(size_answers(n_coordinates)) - 1)


def size_finding(dimension: float, n_coordinates: int, layer: str) -> str:
    """What step 1 has found."""
    share = dimension / n_coordinates
    return f"{dimension:.0f} numbers tell a text from its neighbors: {share:.0%} of its {n_coordinates:,} coordinates ({layer}, TwoNN)."


# step 3


def shape_of(profile: IdProfile, estimator: str) -> str:
    """The shape of the curve, a key of SHAPES: only changes beyond their paired 95% interval count."""
    curve = profile.dimensions(estimator)
    defined = np.flatnonzero(np.isfinite(curve))
    if len(defined) < 2:
        return "flat"
    first, last = int(defined[0]), int(defined[-1])
    top, bottom = int(defined[np.argmax(curve[defined])]), int(defined[np.argmin(curve[defined])])
    if _sign(profile, estimator, first, top) > 0 > _sign(profile, estimator, top, last):
        return "hump"
    if _sign(profile, estimator, first, bottom) < 0 < _sign(profile, estimator, bottom, last):
        return "dip"
    return {1: "up", -1: "down", 0: "flat"}[_sign(profile, estimator, first, last)]


def change(profile: IdProfile, estimator: str, start: int, end: int) -> tuple[float, float]:
    """The change from one layer to another and the half-width of its 95% interval, paired over the half-samples; inf without them."""
    curve = profile.dimensions(estimator)
    halves = halves_of(profile, estimator)
    moved = float(curve[end] - curve[start])
    spread = None if halves is None else half_sample_spread(halves[:, end] - halves[:, start], profile.halves)
    return moved, float("inf") if spread is None else spread.half_width()


def _sign(profile: IdProfile, estimator: str, start: int, end: int) -> int:
    moved, half_width = change(profile, estimator, start, end)
    return 0 if abs(moved) <= half_width else 1 if moved > 0 else -1


def shape_finding(profile: IdProfile, estimator: str) -> str:
    """What step 3 has found: the change from the first to the last layer, and how many blocks rise beyond their interval."""
    curve = profile.dimensions(estimator)
    defined = np.flatnonzero(np.isfinite(curve))
    if len(defined) < 2:
        return f"Fewer than two layers have a dimension by {estimator_style(estimator)[0]}."
    first, last = int(defined[0]), int(defined[-1])
    moved, half_width = change(profile, estimator, first, last)
    clear = [r for r in rises(profile, estimator) if r.goes_up]
    doubt = f" ± {half_width:.1f}" if np.isfinite(half_width) else ""
    blocks = f"block {clear[0].block} raises" if len(clear) == 1 else f"{len(clear)} blocks raise" if clear else "no single block raises"
    return f"From {curve[first]:.1f} to {curve[last]:.1f}: a change of {signed(moved)}{doubt}; {blocks} it beyond its interval."


# step 4


def disputed_blocks(profile: IdProfile, names: Sequence[str]) -> list[int]:
    """The blocks of which one of the named estimators sees a rise and another a fall, both beyond their intervals."""
    named = set(names)
    return [a.block for a in sign_agreement(profile) if named & set(a.up) and named & set(a.down)]


def agreement_answer(profile: IdProfile, names: Sequence[str]) -> int:
    """Which of AGREEMENTS the profile gives: signs that contradict each other, else intervals that do not overlap, else the same."""
    if disputed_blocks(profile, names):
        return 2
    for estimates in zip(*(profile.estimates[name] for name in names), strict=True):
        ends = [(e.ci_low, e.ci_high) for e in estimates if e.ci_low is not None and e.ci_high is not None]
        if len(ends) > 1 and max(low for low, _ in ends) > min(high for _, high in ends):
            return 1
    return 0


def agreement_finding(profile: IdProfile, names: Sequence[str]) -> str:
    """What step 4 has found: where the answers lie at one end, and where the signs differ."""
    found = []
    for layer, layer_name in enumerate(profile.layer_names):
        values = [e.dimension for e in (profile.estimates[name][layer] for name in names) if e.dimension is not None]
        if len(values) > 1:
            found.append((max(values) / max(min(values), 1e-9), layer_name, min(values), max(values)))
    if not found:
        return "No layer has a dimension by two of them."
    _, where, low, high = max(found)
    said = f"They lie farthest apart at {where}: {low:.0f} to {high:.0f}."
    by_block = {a.block: a for a in sign_agreement(profile)}
    for block in disputed_blocks(profile, names)[:1]:
        up, down = (next(n for n in side if n in names) for side in (by_block[block].up, by_block[block].down))
        said += f" Block {block} rises by {estimator_style(up)[0]} and falls by {estimator_style(down)[0]}."
    return said


def sink_finding(profile: IdProfile) -> str:
    """What was done about attention sinks, which draw estimators apart; empty where that was not recorded."""
    sinks = profile.sinks
    if sinks is None:
        return ""
    longest = float(np.nanmax(sinks.largest_norms, initial=0.0))
    if not sinks.shares.any():
        return f" No token is an attention sink: the longest is {longest:.1f} times its layer's median, so none bends the lines."
    done = {"drop": "left out here", "keep": "kept here, which draws the lines apart", "unit": "scaled to the length of all here"}
    return f" Some tokens are up to {longest:.0f} times as long as the rest: attention sinks, {done[sinks.treatment]}."


# step 5


def rise_units_of(plan: RankPlan) -> tuple[int, int]:
    """Units of rank above the offset, and all, counted once a block."""
    ranks = plan.block_ranks()
    return sum(max(r - (plan.offset or 0), 0) for r in ranks.values()), sum(ranks.values())


def share_answer(plan: RankPlan) -> int:
    """Which of SHARES the plan gives."""
    of_rise, total = rise_units_of(plan)
    share = of_rise / total if total else 0.0
    return sum(share > limit for limit in (0.0, 0.25, 0.5))


def share_finding(plan: RankPlan) -> str:
    """What step 5 has found, of the plan that is drawn."""
    of_rise, total = rise_units_of(plan)
    label = estimator_style(plan.estimator)[0] if plan.estimator else plan.strategy
    cost = f"{plan.n_adapter_params:,} parameters, as rank {equivalent_uniform_rank(plan):.2g} everywhere"
    share = plan.n_adapter_params / plan.n_model_params
    return f"{label}, offset {plan.offset}: {of_rise} of {total} units are rise. {cost}: {share:.2%} of the model."


# steps 2 and 6


def gain_answer(score: float, head_only: float) -> int:
    """Which of GAINS the score gives, in points of 0.01."""
    points = round(100 * (score - head_only), 6)
    return 0 if points < 0 else 1 + sum(points > limit for limit in (2, 10))


def gain_margin(score: float, head_only: float, n_held_out: int) -> float:
    """Half the 95% interval of a difference of two accuracies on `n_held_out` rows each, in points of 0.01.

    Rows are taken for independent between the two, which is too wide for the same rows; the spread of seeds is not in it.
    """
    return float(100 * 1.96 * np.sqrt((score * (1 - score) + head_only * (1 - head_only)) / n_held_out))


def move_answer(measured: Sequence[GeometryMeasurement]) -> int | None:
    """Which of MOVES the last layer made between the first measurement and the last; None where it has no dimension."""
    moved = last_layer_move(measured)
    return None if moved is None else 0 if moved > 1 else 2 if moved < -1 else 1


def last_layer_move(measured: Sequence[GeometryMeasurement]) -> float | None:
    """How far the last layer's dimension moved during training."""
    if len(measured) < 2:
        return None
    before, after = measured[0].dimensions[-1], measured[-1].dimensions[-1]
    return None if before is None or after is None else float(after - before)


def run_finding(harvest: Harvest) -> str:
    """What step 6 has found: the score beside its references, and how far the last layer moved."""
    if harvest.score is None:
        return "The run has not been evaluated."
    said = f"{metric_word(harvest.metric).capitalize()} {harvest.score:.2f}"
    held = [f"{value:.2f} for the {name}" for name, value in harvest.references.items()]
    said += " on rows held out" + (f", {held[0]}" if held else "")
    moved = last_layer_move(harvest.geometry)
    return said + (f"; the last layer's dimension moved by {signed(moved)}." if moved is not None else ".")


def signed(value: float) -> str:
    """A change with its sign, minus as it is printed."""
    return minus(f"{value:+.1f}")


def verdict(answer: int, truth: int | None, answers: Sequence[str]) -> str:
    """Whether the class was right, in one short sentence."""
    if truth is None:
        return f"The class said: {answers[answer]}."
    return f"The class said: {answers[answer]}. " + ("So it is." if answer == truth else f"Measured: {answers[truth]}.")
