"""Two curves on one chart: what is drawn, what is said, and the Layers page's way there."""

import json
from dataclasses import asdict, replace

import pytest
from made_profiles import CURVE, make_profile
from made_runs import write_run
from test_pages import measure, open_app, sentences, waited
from tiny_models import save_tiny_model

from app.charts.comparison import finding, of_profiles, of_run, two_curves, undefined_reasons
from app.charts.data import figure_table
from gelora.home import runs_dir
from gelora.records import IdProfile
from gelora.runs import GeometryMeasurement


def higher(by: float, pooling: str = "last", curve=CURVE) -> IdProfile:
    """The made-up profile, every dimension higher by so much; its half-samples the other way round."""
    profile = make_profile([None if v is None else v + by for v in curve])
    return replace(profile, pooling=pooling, subsamples={name: halves[::-1] for name, halves in profile.subsamples.items()})


def compared(by: float):
    return of_profiles(make_profile(), higher(by), "twonn", ("mean", "last token"), "pooling")


def line(step: int, *dimensions: float | None, note: str | None = None) -> GeometryMeasurement:
    return GeometryMeasurement(step, "twonn", ("embeddings", "block 1", "block 2"), dimensions, note=note)


def test_both_curves_and_their_difference_are_drawn_and_named():
    figure = two_curves(compared(3.0))
    first, second = (next(t for t in figure.data if t.name == name) for name in ("mean", "last token"))
    assert list(first.y) == CURVE and list(second.y) == [None, 13.0, 15.4, 14.0]
    assert (first.line.dash, second.line.dash) == ("solid", "dash") and second.marker.symbol == "circle-open" != first.marker.symbol
    words = " ".join(a.text for a in figure.layout.annotations)
    assert "mean" in words and "last token" in words
    (bars,) = [t for t in figure.data if t.type == "bar"]
    assert list(bars.y) == pytest.approx([None, 3.0, 3.0, 3.0])
    assert len([t for t in figure.data if getattr(t, "fill", None) == "toself"]) == 2


def test_the_sentence_counts_the_layers_beyond_the_interval():
    """The same texts with half-samples at -+ 0.1 and +- 0.1: differences of -+ 0.2, a half-width of 1.96 * 0.283 = 0.55."""
    assert finding(compared(3.1)) == (
        "Pooling last token reads 3.1 higher than mean on average, most at block 1 (+3.1); "
        "the difference exceeds its interval at 3 of 3 layers."
    )
    assert finding(compared(-3.0)).startswith("Pooling last token reads 3.0 lower than mean on average")


def test_no_difference_is_said_plainly():
    assert finding(compared(0.3)).startswith("No difference exceeds its interval at the 3 layers that have one: last token")
    bars = next(t for t in two_curves(compared(0.3)).data if t.type == "bar")
    assert {c.rpartition(",")[2] for c in bars.marker.color} == {"0.0)"}  # hollow


def test_a_gap_has_its_reason_and_no_difference():
    comparison = compared(3.0)
    assert undefined_reasons(comparison) == [f"{name}, embeddings: 3 distinct vectors of 100" for name in ("mean", "last token")]
    table = figure_table(two_curves(comparison))
    assert "embeddings: no difference. 3 distinct vectors of 100" in set(table["says"])


def test_models_of_other_depths_share_a_relative_axis_without_a_difference():
    other = make_profile()
    other = replace(
        other,
        layer_names=other.layer_names[:3],
        estimates={name: e[:3] for name, e in other.estimates.items()},
        subsamples={name: h[:, :3] for name, h in other.subsamples.items()},
    )
    comparison = of_profiles(make_profile(), other, "twonn", ("deep", "shallow"), "model")
    figure = two_curves(comparison)
    places = {t.name: list(t.x) for t in figure.data if t.name}
    assert places["shallow"] == [0.0, 0.5, 1.0] and places["deep"][-1] == 1.0
    assert not any(t.type == "bar" for t in figure.data)
    assert finding(comparison) == (
        "Model shallow reads 11.2 on average over the 2 of 3 layers that have a dimension, "
        "deep 11.1 over the 3 of 4 layers that have a dimension."
    )


def test_a_run_is_its_first_measurement_against_its_last():
    comparison = of_run([line(0, 10.0, 12.0, 9.0), line(50, 9.0, 9.0, 9.0), line(100, 9.5, 8.0, None)])
    assert finding(comparison) == (
        "Step 100 reads 2.2 lower than step 0 on average, most at block 1 (-4.0); without intervals nobody can say whether that is noise."
    )
    figure = two_curves(comparison)
    (bars,) = [t for t in figure.data if t.type == "bar"]
    assert list(bars.y) == [-0.5, -4.0, None] and not bars.error_y.visible


def test_an_average_of_nothing_is_no_zero_higher():
    said = finding(of_run([line(0, 10.0, 12.0, 9.0), line(9, 8.0, 13.0, 10.0)]))
    assert said.startswith("Step 9 reads the same as step 0 on average, most apart at embeddings (-2.0)")


def test_nothing_in_common_is_said():
    assert finding(of_run([line(0, None, None, 9.0), line(9, 9.0, 9.0, None)])).startswith("No layer has a dimension on both sides")


# the page


def test_two_poolings_are_compared_when_asked_and_the_link_brings_it_back(tiny):
    choices = {"model": tiny[0], "data": tiny[1], "n": "100", "estimators": "twonn"}
    app = measure(open_app("layers", **choices))
    app = app.selectbox(key="compare").set_value("pooling").run()
    assert app.session_state["compare_to"] == "cls"
    app = app.selectbox(key="compare_to").set_value("last").run()
    assert (app.query_params["compare"], app.query_params["compare_to"]) == ("pooling", "last")
    assert "pooling last" in sentences(app.caption) and "reads" not in sentences(app.markdown)
    app = waited(app.button(key="measure_other").click().run())
    assert not app.exception and not app.error
    assert "last token" in sentences(app.markdown) and "measure_other" not in [b.key for b in app.button]
    app = open_app("layers", **choices, compare="pooling", compare_to="last")
    assert "last token" in sentences(app.markdown)
    app = app.selectbox(key="compare_to").set_value("mean").run()
    assert "That is the present pooling; choose another one." in sentences(app.caption)


def test_a_model_that_is_nowhere_is_one_sentence(tiny):
    app = measure(
        open_app("layers", model=tiny[0], data=tiny[1], n="100", estimators="twonn", compare="model", compare_to="nobody/nothing")
    )
    assert not app.exception
    app = waited(app.button(key="measure_other").click().run())
    assert not app.exception and any("nobody/nothing" in error.value for error in app.error)


def test_before_and_after_says_what_to_do_and_then_shows_a_run(tiny, gelora_home):
    choices = {"model": tiny[0], "data": tiny[1], "n": "100", "estimators": "twonn", "compare": "run"}
    app = measure(open_app("layers", **choices))
    assert "No run has measured its dimension at two steps yet." in sentences(app.caption)
    folder = write_run(runs_dir(), "20260301-100000-tiny-a", probe_size=64)
    lines = [line(0, 10.0, 12.0, 9.0), line(100, 9.5, 8.0, None, note="block 2: too few distinct")]
    (folder / "geometry.jsonl").write_text("".join(json.dumps(asdict(entry)) + "\n" for entry in lines))
    app = app.run()
    assert not app.exception
    assert "Step 100 reads 2.2 lower than step 0 on average" in sentences(app.markdown)
    said = sentences(app.caption)
    assert "up to 64 held-out rows" in said and "step 100: block 2: too few distinct" in said
    assert app.query_params["compare_to"] == folder.name


def test_a_pre_norm_model_beside_a_post_norm_one_is_said_not_to_compare(tiny, tmp_path):
    """Model and dataset are named by hand; a kind that is changed forgets the other kind's name."""
    other = str(save_tiny_model("gpt2", tmp_path / "gpt", n_layer=2))
    app = measure(open_app("layers", model=tiny[0], data=tiny[1], n="100", estimators="twonn", compare="pooling", compare_to="last"))
    app = app.selectbox(key="compare").set_value("model").run()
    assert app.session_state["compare_to"] != "last" and not app.exception
    app = open_app("layers", model=tiny[0], data=tiny[1], n="100", estimators="twonn", compare="model", compare_to=other)
    app = waited(app.button(key="measure_other").click().run())
    assert not app.exception and not app.error
    assert "Not comparable in absolute value" in sentences(app.caption)
    assert "Model gpt reads" in sentences(app.markdown) and "over 3 layers" in sentences(app.markdown)
    assert "no layer can be subtracted" in sentences(app.caption)


def test_stale_choices_are_measured_first(tiny):
    app = measure(open_app("layers", model=tiny[0], data=tiny[1], n="75", estimators="twonn", compare="pooling", compare_to="last"))
    app = app.selectbox(key="pooling").set_value("cls").run()
    assert not app.exception
    assert "Measure the present choices first." in sentences(app.caption) and "measure_other" not in [b.key for b in app.button]
