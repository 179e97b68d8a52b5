"""Figures at presentation size: no type under 20 pixels, what the class said is in the picture, nothing is lost."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from made_profiles import make_profile

from app.charts import large, large_runs
from gelora.geometry import TwoNN
from gelora.ranks import allocate_ranks
from gelora.runs import GeometryMeasurement

NAMES = ("embeddings", "block 1", "block 2")
LOSS = [(5, 2.0), (10, 1.6), (15, 1.3)]


def ratio_figure(guess=(5.5, 15.5)):
    fitted = TwoNN().fit(np.random.default_rng(0).random((300, 4)))
    return large.ratio_line(fitted.log_mu_, fitted.minus_log_survival_, fitted.kept_, fitted.dimension_, 384, guess)


def figures():
    profile = make_profile()
    first, last = (GeometryMeasurement(step, "twonn", NAMES, found) for step, found in ((0, (9.0, 8.0, None)), (10, (9.0, 7.0, 5.0))))
    return {
        "ratios": ratio_figure(),
        "curve": large.one_curve(profile, "twonn", "hump"),
        "several": large.several_curves(profile, ["twonn", "mle"], [2]),
        "before and after": large.before_and_after(first, last),
        "units": large_runs.rank_units(allocate_ranks(profile, "attention", 2, "ceil", "twonn")),
        "loss": large_runs.falling_loss(LOSS, 100),
        "no loss yet": large_runs.falling_loss([], 1),
        "score": large_runs.score_over_steps("accuracy", [(5, 0.5), (10, 0.7)], {"head only": 0.6, "majority class": 0.2}, 10),
    }


def sizes(node: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Every font size that a figure names."""
    if isinstance(node, dict):
        for key, value in node.items():
            if key == "size" and "font" in path.rsplit("/", 1)[-1]:
                yield path, value
            else:
                yield from sizes(value, f"{path}/{key}")
    elif isinstance(node, list | tuple):
        for i, value in enumerate(node):
            yield from sizes(value, f"{path}/{i}")


@pytest.mark.parametrize("name", list(figures()))
def test_all_type_is_20_pixels_and_more(name):
    layout = figures()[name].to_plotly_json()["layout"]
    found = dict(sizes(layout))
    axes = [key for key in layout if key.startswith(("xaxis", "yaxis"))]
    assert axes
    for axis in axes:  # said outright, because a theme's own sizes would win over the figure's one font
        assert f"/{axis}/tickfont" in found and f"/{axis}/title/font" in found
    assert "/font" in found and "/hoverlabel/font" in found
    assert all(f"/annotations/{i}/font" in found for i in range(len(layout.get("annotations", ()))))
    assert [(path, size) for path, size in found.items() if size < large.TYPE] == []


def test_the_guess_of_step_1_is_a_wedge_between_its_two_slopes():
    guess = next(trace for trace in ratio_figure((5.5, 15.5)).data if trace.name == "the class's guess")
    slopes = {round(y / x, 3) for x, y in zip(guess.x, guess.y, strict=True) if x > 0}
    assert {5.5, 15.5} <= slopes
    assert all(5.5 <= slope <= 15.5 for slope in slopes)
    assert "the class's guess" not in {trace.name for trace in ratio_figure(None).data}


def test_every_ratio_but_the_far_tail_is_inside_the_axes():
    figure = ratio_figure()
    kept = next(trace for trace in figure.data if trace.name == "fitted")
    assert max(kept.x) <= figure.layout.xaxis.range[1]
    assert max(kept.y) <= figure.layout.yaxis.range[1]


@pytest.mark.parametrize("shape", list(large.SHAPES))
def test_a_guessed_shape_starts_at_the_curve_and_has_its_form(shape):
    guessed = large.guessed_curve([None, 10.0, 12.0, 11.0, 9.0], shape)
    assert guessed[0] == 10.0
    middle, end = guessed[2] - 10.0, guessed[-1] - 10.0
    signs = {"up": (1, 1), "down": (-1, -1), "flat": (0, 0), "hump": (1, 0), "dip": (-1, 0)}[shape]
    assert (np.sign(round(middle, 9)), np.sign(round(end, 9))) == signs


def test_units_are_the_ranks_and_grey_up_to_the_offset():
    plan = allocate_ranks(make_profile(), "attention", 2, "ceil", "twonn")
    figure = large_runs.rank_units(plan)
    counted: dict[int, int] = {}
    for bars in figure.data:
        for block, height in zip(bars.x, bars.y, strict=True):
            counted[block] = counted.get(block, 0) + height
    assert counted == plan.block_ranks()
    assert sum(len(bars.x) for bars in figure.data if bars.name == "of the rise") == sum(r - 2 for r in plan.block_ranks().values())


def test_names_at_the_ends_do_not_cover_each_other():
    figure = large.several_curves(make_profile([10.0, 10.0, 10.0, 10.0]), ["twonn", "mle"], [])
    places = sorted(-note.ay + note.y / figure.layout.yaxis.range[1] * large._PLOT for note in figure.layout.annotations)
    assert all(high - low >= large.TYPE for low, high in itertools.pairwise(places))
