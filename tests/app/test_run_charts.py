"""Charts of runs draw what was logged and measured, no less and no more, and say where there is nothing."""

import dataclasses
from typing import Any

import pytest
from made_runs import make_run, plan_of

from app.charts import drift, runs as run_charts, training
from app.runs.compare import front_words, held_to
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import GeometryMeasurement, RunGroup, pareto_front, summarise


def measurement(step: int, dimensions: list, wanted: dict | None = None, installed: dict | None = None, **more: Any) -> GeometryMeasurement:
    names = ("embeddings", *(f"block {i}" for i in range(1, len(dimensions))))
    return GeometryMeasurement(step, "twonn", names, tuple(dimensions), wanted=wanted or {}, installed=installed or {}, **more)


MOVING = [
    measurement(0, [10.0, 11.0, 9.0], {"1": 2, "2": 1}, {"1": 2, "2": 2}),
    measurement(50, [10.5, 12.0, 12.0], {"1": 3, "2": 1}, {"1": 2, "2": 2}),
    measurement(100, [10.0, 13.0, 16.0], {"1": 4, "2": 4}, {"1": 4, "2": 4}, reallocated=True),
]


def named(figure, name: str):
    return next(trace for trace in figure.data if trace.name == name)


def test_smoothing_keeps_a_constant_and_its_first_value():
    assert training.smoothed([2.0, 2.0, 2.0]) == pytest.approx([2.0, 2.0, 2.0])
    assert training.smoothed([5.0, 1.0])[0] == pytest.approx(5.0)


def test_training_curves_draw_every_logged_value():
    loss = [(1, 0.7), (5, 0.6), (10, 0.55)]
    figure = training.training_curves(loss, [(10, 0.6)], "accuracy", [(10, 0.8)], {"majority class": 0.5})
    raw = named(figure, "loss as logged")
    assert list(zip(raw.x, raw.y, strict=True)) == loss
    assert any("majority class 0.500" in (a.text or "") for a in figure.layout.annotations)


def test_the_step_axis_reaches_to_the_end_from_the_start():
    figure = training.training_curves([(1, 0.7)], [], "accuracy", [], {}, total_steps=400)
    assert figure.layout.xaxis.range[1] >= 400 and figure.layout.xaxis2.range[1] >= 400


@pytest.mark.parametrize(
    ("name", "values", "expected"),
    [
        ("accuracy", [0.9], (0, 1.04)),
        ("Matthews correlation", [-0.2, 0.4], (-0.2, 1.04)),
        ("perplexity", [12.0], None),
        ("F1", [88.0], None),
    ],
)
def test_scores_have_the_whole_axis_and_other_metrics_their_own(name, values, expected):
    figure = training.training_curves([(1, 0.7)], [], name, list(enumerate(values)), {})
    assert figure.layout.yaxis2.range == expected


def test_resized_adapters_are_marked():
    figure = training.training_curves([(1, 0.7)], [], "accuracy", [], {}, 100, reallocated=[40])
    assert any(a.x == 40 and "ranks re-allocated" in a.text for a in figure.layout.annotations)


def test_every_panel_has_its_values_and_its_name():
    figure = training.panels({"learning rate": [(1, 1e-4), (2, 5e-5)], "gradient norm": [(1, 2.0)]})
    assert list(named(figure, "learning rate").y) == [1e-4, 5e-5]
    assert named(figure, "learning rate").yaxis != named(figure, "gradient norm").yaxis
    assert ["learning rate" in a.text for a in figure.layout.annotations] == [True, False]


def test_the_moving_curve_shows_one_step_with_the_earlier_ones_behind_it():
    figure = drift.moving_curve(MOVING, 1)
    assert list(named(figure, "step 50").y) == [10.5, 12.0, 12.0]
    assert list(named(figure, "step 0").y) == [10.0, 11.0, 9.0]
    assert "step 100" not in [trace.name for trace in figure.data]
    assert named(figure, "step 0").line.width < named(figure, "step 50").line.width


def test_segments_stand_over_their_block():
    curve = named(drift.moving_curve(MOVING, 0), "step 0")
    assert list(curve.x) == [0.5, 1.5, 2.5]  # block 1 is at 1, between embeddings and block 1's output


def test_ranks_wanted_are_filled_and_those_in_use_outlined():
    figure = drift.moving_curve(MOVING, 1)
    wanted, in_use = named(figure, "the rule would want now"), named(figure, "in use")
    assert (list(wanted.y), list(in_use.y)) == ([3, 1], [2, 2])
    assert in_use.marker.color == "rgba(0,0,0,0)" and in_use.marker.line.width > 0


def test_axes_stay_while_the_step_moves():
    figures = [drift.moving_curve(MOVING, i) for i in range(3)]
    for axis in ("xaxis", "yaxis", "yaxis2"):
        assert len({figure.layout[axis].range for figure in figures}) == 1
    assert figures[0].layout.yaxis.range[1] >= 16


def test_many_measurements_leave_a_few_ghosts_with_the_first():
    many = [measurement(i, [10.0 + i, 11.0]) for i in range(40)]
    steps = [int(trace.name.split()[1]) for trace in drift.moving_curve(many, 39).data if trace.name.startswith("step")]
    assert steps[0] == 0 and steps[-1] == 39 and len(steps) <= 8


def test_a_layer_without_a_dimension_is_a_gap_with_its_reason():
    figure = drift.moving_curve([measurement(0, [None, 11.0, 9.0], note="3 distinct vectors of 256")], 0)
    assert list(named(figure, "step 0").y) == [None, 11.0, 9.0]
    gap = named(figure, "no dimension")
    assert list(gap.x) == [0.5] and "3 distinct vectors" in gap.hovertemplate


def test_methods_without_ranks_have_the_curve_alone():
    figure = drift.moving_curve([measurement(0, [10.0, 11.0])], 0)
    assert all(trace.type == "scatter" for trace in figure.data)


def test_the_drift_map_shows_the_change_since_the_start_and_the_dimension_in_words():
    heat = drift.drift_map(MOVING).data[0]
    assert [list(row) for row in heat.z] == [[0.0, 0.5, 0.0], [0.0, 1.0, 2.0], [0.0, 3.0, 7.0]]
    assert heat.text[2][2] == "16.0" and list(heat.x) == ["0", "50", "100 ↻"]
    assert (heat.zmin, heat.zmax) == (-7.0, 7.0)


WITH_INTERVALS = [
    measurement(step, dims, {"1": 4, "2": 1}, {"1": 2, "2": 2}, intervals=ends, n_samples=256, supported={"1": 2, "2": 1}, resolved=1.5)
    for step, dims, ends in (
        (0, [10.0, 13.0, None], [[9.0, 11.0], [12.5, 13.5], None]),
        (50, [11.0, 15.0, 9.0], [[10.0, 12.0], [14.5, 15.5], [8.0, 10.0]]),
    )
]


def test_a_probe_shows_its_interval_and_its_rows():
    figure = drift.moving_curve(WITH_INTERVALS, 1)
    [band] = [trace for trace in figure.data if trace.type == "scatter" and trace.fill == "toself"]
    assert set(band.y) == {8.0, 10.0, 12.0, 14.5, 15.5}
    curve = named(figure, "step 50")
    assert next(iter(curve.customdata)) == ", 95% interval 10.0 to 12.0"
    assert any("TwoNN at step 50, N = 256" in (a.text or "") for a in figure.layout.annotations)
    assert figure.layout.yaxis.range[1] > 15.5
    assert not [t for t in drift.moving_curve(MOVING, 1).data if t.type == "scatter" and t.fill == "toself"]  # of an earlier version


def test_ranks_within_the_interval_are_hatched_and_no_wish():
    figure = drift.moving_curve(WITH_INTERVALS, 1)
    wish, within = named(figure, "the rule would want now"), named(figure, "within the interval")
    assert (list(wish.y), list(within.base), list(within.y), list(within.customdata)) == ([2, 1], [2, 1], [2, 0], [4, 1])
    assert within.marker.pattern.shape == "/" and within.marker.color == "rgba(0,0,0,0)"
    assert "within the interval" not in [trace.name for trace in drift.moving_curve(MOVING, 1).data]


def test_the_drift_map_tells_changes_beyond_their_interval():
    heat = drift.drift_map(WITH_INTERVALS).data[0]
    assert [list(row) for row in heat.text] == [
        ["10.0", "11.0"],
        ["13.0", "<b>15.0</b>"],
        ["⊘", "9.0"],
    ]  # 1 is within 1.4
    assert "[14.5, 15.5], +2.00 since the start" in heat.hovertext[1][1]
    many = [dataclasses.replace(m, step=10 * i + m.step) for i in range(6) for m in WITH_INTERVALS]
    assert list(drift.drift_map(many).data[0].text[0]) == [""] * 12 and "+" in drift.drift_map(many).data[0].text[1]


def test_two_maps_share_one_scale():
    other = [measurement(0, [10.0, 11.0]), measurement(50, [10.0, 21.0])]
    assert drift.drift_limit([MOVING, other]) == 10.0
    assert drift.drift_map(MOVING, 10.0).data[0].zmax == 10.0


def test_an_undefined_cell_of_the_map_is_a_gap_and_the_change_counts_from_the_first_defined_step():
    figure = drift.drift_map([measurement(0, [None, 11.0]), measurement(50, [5.0, 12.0]), measurement(100, [6.0, None])])
    assert [list(row) for row in figure.data[0].z] == [[None, 0.0, 1.0], [0.0, 1.0, None]]
    assert [(a.x, a.y) for a in figure.layout.annotations] == [("0", "embeddings"), ("100", "block 1")]


def test_an_overlay_lists_its_runs_under_the_figure():
    series = {f"run {i}": [(1, 0.5), (2, 0.4)] for i in range(8)}
    figure = run_charts.compare_runs("loss", series)
    assert [trace.name for trace in figure.data] == list(series)
    looks = {(trace.line.color, trace.line.dash, trace.marker.symbol) for trace in figure.data}
    assert len(looks) == 8
    assert figure.layout.height - figure.layout.margin.b - figure.layout.margin.t == 300


def test_points_carry_mean_spread_and_every_run():
    runs = [make_run(f"{r}-{s}", r=r, seed=s, score=score) for r, s, score in [(1, 0, 0.5), (1, 1, 0.7), (4, 0, 0.65)]]
    groups = summarise(runs, "eval_accuracy")
    figure = run_charts.metric_against_parameters("accuracy", groups, pareto_front(groups))
    point = named(figure, "uniform r = 1")
    assert list(point.x) == [plan_of(1).n_adapter_params] and list(point.y) == pytest.approx([0.6])
    assert list(point.error_y.array) == pytest.approx([0.1414213562])
    assert list(named(figure, "uniform r = 1, single runs").y) == [0.5, 0.7]
    assert named(figure, "uniform r = 4").error_y.array is None
    front = named(figure, "Pareto front")
    assert list(front.y) == pytest.approx([0.6, 0.65])


def test_runs_that_cost_nearly_the_same_stand_side_by_side_under_their_numbers():
    base = summarise([make_run("a", r=1)], "eval_accuracy")[0]
    groups = [dataclasses.replace(base, n_params=n, values=(0.6,), label=str(n)) for n in (147_455, 147_456)]
    figure = run_charts.metric_against_parameters("accuracy", groups, [])
    low, high = figure.layout.xaxis.range
    assert high - low >= 0.2 * 147_456 and low < 147_455 < 147_456 < high
    assert figure.layout.xaxis.tickformat == ",d"
    assert len({named(figure, str(n)).textposition for n in (147_455, 147_456)}) == 2
    apart = [groups[0], dataclasses.replace(groups[1], n_params=300_000)]
    figure = run_charts.metric_against_parameters("accuracy", apart, [])
    assert {named(figure, g.label).textposition for g in apart} == {"top right"}
    assert figure.layout.xaxis.range[0] < 147_455 and figure.layout.xaxis.range[1] > 300_000


def test_what_trains_the_head_alone_is_a_line_across():
    groups = summarise([make_run("a", r=1), make_run("b", r=2)], "eval_accuracy")
    head = dataclasses.replace(groups[0], n_params=0, label="head only", method="head", values=(0.4,))
    figure = run_charts.metric_against_parameters("accuracy", [head, *groups], [])
    assert any("head only 0.400" in (a.text or "") for a in figure.layout.annotations)
    assert "head only" not in [trace.name for trace in figure.data]


def test_the_front_s_words_say_what_seeds_cannot_tell_apart():
    def group(label: str, n_params: int, *values: float) -> RunGroup:
        return RunGroup(label, tuple(map(str, values)), values, n_params, "lora", "uniform")

    low, tie, high = group("r = 1", 10, 0.5, 0.7), group("rule", 10, 0.6, 0.6), group("r = 8", 80, 0.9, 0.9)
    front = pareto_front([high, tie, low])
    assert front_words(front) == (
        "On the Pareto front: r = 1, rule and r = 8. Within the spread over seeds: r = 1 and rule; "
        "there the cheaper or simpler is as good a choice."
    )
    assert front_words(front[1:]) == "On the Pareto front: rule and r = 8."
    assert "One run alone has no spread over seeds (r = 9)" in front_words([low, group("r = 9", 90, 0.95)])


def test_scores_of_other_rows_are_not_on_one_front():
    """Two tasks of one dataset, and held-out parts of other sizes, are other rows; another number of training rows is not."""
    base = RunSpec("m", DataChoice("nyu-mll/glue", config="sst2"), None, TrainingConfig(method="head", n_eval=200), 0)
    assert held_to(base) == "nyu-mll/glue sst2, 200 rows held out"
    for change in (
        {"data": DataChoice("nyu-mll/glue", config="rte")},
        {"held_out": DataChoice("nyu-mll/glue", config="sst2", split="validation")},
        {"training": dataclasses.replace(base.training, n_eval=300)},
    ):
        assert held_to(dataclasses.replace(base, **change)) != held_to(base)
    assert held_to(dataclasses.replace(base, seed=4, training=dataclasses.replace(base.training, learning_rate=1e-3))) == held_to(base)
