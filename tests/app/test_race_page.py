"""A race on the pages: what the form means, what a person who watches sees, what is there at its end."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from made_runs import plan_of, write_run
from test_pages import open_app, sentences

from app.charts.look import STRATEGY_COLOURS
from app.charts.race import ArmLook, ForestRow, difference_words, forest, race_curves
from gelora.home import runs_dir
from gelora.records import RaceSpec, RunSpec, race_run
from gelora.runs import Arm, RaceResult, run_info
from gelora.runs.records.race_result import write_result

STRATEGIES = ("gelora", "uniform", "random")


@pytest.fixture
def form(tiny, gelora_home):
    """form(strategies=..., rates=...): the Fine-tune page with a race asked for."""

    def opened(strategies=("uniform", "random", "depth-increasing"), rates=""):
        app = open_app("finetune", model=tiny[0], data=tiny[1], n="100", length="32")
        app.pills(key="train_what").set_value(["race"]).run()
        app.multiselect(key="train_race_strategies").set_value(list(strategies)).run()
        app.text_input(key="train_race_rates").set_value(rates).run()
        assert not app.exception
        return app

    return opened


def test_a_race_is_one_run_of_all_its_arms(form):
    app = form(rates="1e-3, 2e-3")
    assert "A race of 6 arms" in sentences(app.markdown) and "held against uniform" in sentences(app.markdown)
    arms = next(frame.value for frame in app.dataframe if "arm" in frame.value.columns)
    assert list(arms["arm"])[:3] == ["uniform 0.001", "uniform 0.002", "random 0.001"]
    assert "about 14 steps" in sentences(app.caption)
    assert "Arms that do not fit at one time train in waves." in sentences(app.caption)
    app.number_input(key="train_race_steps").set_value(25).run()
    assert "about 25 steps" in sentences(app.caption)
    assert app.button(key="start_run").label == "Start"
    assert any("gelora train --spec run-01-race-seed-0.json" in code.value for code in app.code)


def test_every_strategy_runs_with_each_initial_adapter(form):
    app = form(strategies=("uniform", "random"))
    app.multiselect(key="train_race_inits").set_value(["default", "pissa"]).run()
    arms = next(frame.value for frame in app.dataframe if "arm" in frame.value.columns)
    assert list(arms["arm"]) == ["uniform default", "uniform pissa", "random default", "random pissa"]
    assert "held against uniform default" in sentences(app.markdown)
    app.multiselect(key="train_race_inits").set_value([]).run()
    assert not app.exception and "needs a beginning of its adapters" in sentences([*app.error, *app.warning, *app.info])


@pytest.mark.parametrize(
    ("strategies", "rates", "says"),
    [
        (["uniform"], "", "two strategies or more"),
        (["uniform", "gelora"], "", "needs a measured profile"),
        (["uniform", "gradient"], "", "Gradient needs scores of the matrices"),
        (["uniform", "random"], "fast", "'fast' are no numbers"),
        (["uniform", "random"], "5", "learning_rate is 5"),
    ],
)
def test_what_cannot_race_says_why(form, strategies, rates, says):
    app = form(strategies, rates)
    assert says in sentences(app.info)
    assert "start_run" not in [button.key for button in app.button]


def written_race(name: str, *, seeds: tuple[int, ...] = (0, 1), **state: object) -> Path:
    """The folder of a race of three strategies that has logged two evaluations of its first seed."""
    folder = write_run(runs_dir(), name, state={"metrics": {"loss": 0.5}, **state})
    base = RunSpec.from_json((folder / "spec.json").read_text())
    plans = {strategy: dataclasses.replace(plan_of(2), strategy=strategy) for strategy in STRATEGIES}
    spec = race_run(base, RaceSpec(plans, (1e-3,), seeds, 40, "uniform"))
    (folder / "spec.json").write_text(spec.to_json())
    events = [{"step": step, **{f"loss/{s}/0": 1.0 / step + i for i, s in enumerate(STRATEGIES)}} for step in (1, 10, 20)]
    for step in (10, 20):
        events.append({"step": step} | {f"eval_loss/{s}/0": 1.0 + i for i, s in enumerate(STRATEGIES)})
        events[-1] |= {
            f"{what}/{s}/0": v - step / 100 for s in ("gelora", "random") for what, v in zip(ENDS, (0.1, 0.05, 0.15), strict=True)
        }
    events.append({"step": 20, "loss": 0.5})
    (folder / "metrics.jsonl").write_text("".join(json.dumps(event | {"time": 0.0}) + "\n" for event in events))
    return folder


ENDS = ("difference", "ci_low", "ci_high")


def test_the_latest_evaluation_is_shown_with_what_its_intervals_promise(gelora_home):
    written_race("20260301-100000-tiny-a", status="stopped", step=20)
    app = open_app("finetune", run="20260301-100000-tiny-a")
    assert not app.exception
    assert "Differences to uniform at step 20, seed 0" in sentences(app.markdown)
    assert "hold at all evaluations together" in sentences(app.caption)
    figures = [json.loads(chart.proto.spec) for chart in app.get("plotly_chart")]
    curves, looks = figures[0], figures[1]
    assert [trace["name"] for trace in curves["data"]] == list(STRATEGIES)
    drawn = {trace["name"]: trace["x"][0] for trace in looks["data"]}
    assert drawn == pytest.approx({"gelora": -0.1, "uniform": 0.0, "random": -0.1})


def test_at_its_end_the_table_and_the_intervals_of_the_whole_are_shown(gelora_home):
    folder = written_race("20260301-100000-tiny-a")
    rng = np.random.default_rng(0)
    rows = rng.gamma(2.0, 1.0, 200)
    lost = np.stack([rows + 0.3, rows, rows + rng.normal(0, 0.4, 200)])
    arms = tuple(Arm(name, 1e-3, plan_of(2)) for name in STRATEGIES)
    metrics = (({"accuracy": 0.6}, {"accuracy": 0.7}, {"accuracy": 0.65}),) * 2
    result = RaceResult(
        arms, (0, 1), "classification", "eval_accuracy", True, 40, np.zeros((2, 40, 3)), (lost, lost), (np.ones(200),) * 2, metrics
    )
    write_result(folder, result)
    app = open_app("finetune", run=folder.name)
    assert not app.exception
    assert "Differences to uniform, 2 seeds" in sentences(app.markdown)
    assert "Significant at 5% after Holm's correction: gelora (worse)." in sentences(app.markdown)
    table = next(frame.value for frame in app.dataframe if "p (Holm)" in frame.value.columns)
    assert list(table["arm"]) == list(STRATEGIES) and table["accuracy"].tolist() == [0.6, 0.7, 0.65]
    assert app.selectbox(key=f"arm_{folder.name}").options == list(STRATEGIES)
    assert app.get("download_button")
    runs = open_app("runs")
    assert not runs.exception
    listed = next(frame.value for frame in runs.dataframe if "run" in frame.value.columns)
    assert listed["method"].tolist() == ["race"] and listed["strategy"].tolist() == ["gelora, uniform, random"]
    runs.button(key="tick_all").click().run()
    runs.button(key="repeat_run").click().run()
    assert not runs.exception
    assert runs.session_state["train_race_steps"] == 40
    assert runs.session_state["train_race_inits"] == ["default"]
    assert runs.session_state["train_what"] == ["race"] and runs.session_state["train_seeds"] == "0, 1"
    assert run_info(folder.name).strategy == "gelora, uniform, random"


def test_an_arm_has_its_strategy_s_colour_and_its_rate_s_dash():
    arms = [ArmLook("gelora 0.001", "gelora"), ArmLook("gelora 0.002", "gelora", 1), ArmLook("mine", "mine")]
    figure = race_curves("Held-out loss", [(arm, [(10, 1.0), (20, 0.5)]) for arm in arms], 400, False)
    assert [trace.line.color for trace in figure.data[:2]] == [STRATEGY_COLOURS["gelora"]] * 2
    assert len({trace.line.dash for trace in figure.data[:2]}) == 2
    assert figure.layout.xaxis.range[1] >= 400
    assert sum("mine" in (note.text or "") for note in figure.layout.annotations) == 1
    assert not race_curves("Training loss", [], 400, True).data


def test_the_forest_draws_every_interval_and_leaves_out_what_diverged():
    gelora, uniform, random = (ArmLook(name, name) for name in STRATEGIES)
    rows = [ForestRow(gelora, -0.2, -0.3, 0.1), ForestRow(uniform, 0.0, None, None), ForestRow(random, None, None, None)]
    figure = forest(rows, "uniform")
    assert [trace.name for trace in figure.data] == ["gelora", "uniform"]
    bar = figure.data[0].error_x
    assert (figure.data[0].x[0] - bar.arrayminus[0], figure.data[0].x[0] + bar.array[0]) == pytest.approx((-0.3, 0.1))
    assert list(figure.layout.yaxis.categoryarray) == ["random", "uniform", "gelora"]
    assert difference_words("a", "b", -0.2, -0.3, 0.1) == "a minus b: −0.2000 [−0.3000, +0.1000]."
    assert difference_words("a", "b", None, None, None) == "a diverged."
