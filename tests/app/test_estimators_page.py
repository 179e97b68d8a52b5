"""The Calibration page: its choices, real small measurements through Streamlit's runner, and the figures of what was measured."""

import sys
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from app.calibration.choices import CHOICES, calibration_spec
from app.charts.anatomy import anatomy
from app.charts.calibration import estimate_against_truth, estimate_by_sample_size, estimates_of_one_case
from gelora.errors import InputError
from gelora.geometry import ESTIMATORS, Case, PointCloud, Trial, calibrate, summarize

ENTRY = str(Path(__file__).resolve().parents[2] / "app" / "main.py")
SMALL = {"cal_n": "120", "cal_seeds": "2", "cal_d": "2", "cal_width": "6", "cal_estimators": "twonn,mle,pca-pr"}


def open_page(**choices):
    app = AppTest.from_file(ENTRY, default_timeout=120)
    for key, value in (SMALL | choices).items():
        app.query_params[key] = value
    app.run()
    return app.switch_page("../pages/estimators.py").run()


def measure(app):
    """Press the button and wait for the thread, as a person waits for the table."""
    from app.shared.cache import pool

    app.button(key="calibrate").click().run()
    assert all(job.wait(120) for job in pool().jobs())
    return app.run()


def sentences(elements):
    return " ".join(element.value for element in elements)


def chosen(**changes):
    return calibration_spec({key: default for key, (default, _) in CHOICES.items()} | changes)


# the choices


def test_a_sweep_of_d_leaves_out_what_does_not_fit_into_the_width():
    cases = chosen(cal_manifold="clifford torus", cal_sweep="d", cal_d=12, cal_width=20).cases()
    assert [case.dimension for case in cases] == [2, 3, 5, 8]  # 12 would need 24 coordinates


def test_a_sweep_of_n_goes_down_in_halves():
    assert [case.n_samples for case in chosen(cal_sweep="n", cal_n=1000).cases()] == [125, 250, 500, 1000]


def test_a_manifold_of_one_dimension_is_not_swept_over_it():
    assert [case.truth for case in chosen(cal_manifold="moebius", cal_sweep="d").cases()] == [2]
    assert [case.truth for case in chosen(cal_manifold="M8_Nonlinear", cal_n=100).cases()] == [12]


def test_what_cannot_be_drawn_is_the_manifolds_own_sentence():
    with pytest.raises(InputError, match="needs at least 51"):
        chosen(cal_d=50).cases()


# the page


def test_the_first_visit_invites_and_names_what_it_would_measure():
    app = open_page(cal_seeds="7")
    assert not app.exception
    assert app.title[0].value == "Calibration"
    assert "Nothing is measured yet" in sentences(app.markdown)
    assert "sphere, d = 2, width 6, N = 120, 7 seeds, 3 estimators" in sentences(app.markdown)


def test_measure_gives_a_finding_a_figure_a_table_and_one_estimator_apart():
    app = measure(open_page())
    assert not app.exception and not app.error
    assert "At d = 2, N = 120" in sentences(app.markdown)
    assert list(app.dataframe[0].value["estimator"]) == ["TwoNN", "MLE", "PCA ratio"]
    assert np.allclose(app.dataframe[0].value["mean"], [2, 2, 3], rtol=0.3)  # a sphere fills one direction more
    assert len(app.get("plotly_chart")) == 2
    app.selectbox(key="cal_focus").select("pca-pr").run()
    assert not app.exception
    assert ESTIMATORS["pca-pr"].idea in sentences(app.markdown)


def test_a_changed_choice_keeps_the_old_answers_marked_stale():
    app = measure(open_page(cal_noise="0.001"))
    app.number_input(key="cal_d").set_value(3).run()
    assert not app.exception
    assert "Measured with sphere, d = 2, width 6, N = 120, noise 0.001" in sentences(app.warning)
    assert len(app.get("plotly_chart")) == 2
    app.number_input(key="cal_d").set_value(2).run()
    assert not app.warning


@pytest.mark.parametrize(("sweep", "rows"), [("d", 2 * 3), ("n", 1 * 3)])
def test_a_sweep_is_measured_case_by_case(sweep, rows):
    app = measure(open_page(cal_sweep=sweep, cal_d="3"))
    assert not app.exception and not app.error
    assert len(app.dataframe[0].value) == rows


def test_too_narrow_a_width_is_one_sentence():
    app = open_page(cal_d="8")
    app.button(key="calibrate").click().run()
    assert not app.exception
    assert "width is 6; this manifold needs at least 9 coordinates." in sentences(app.error)


def test_no_estimator_is_asked_for_in_words():
    app = open_page()
    app.multiselect(key="cal_estimators").set_value([]).run()
    assert not app.exception
    assert "Choose at least one estimator" in sentences(app.info)


def test_an_estimator_without_an_answer_says_why():
    app = measure(open_page(cal_n="20", cal_estimators="twonn,mle", cal_focus="mle"))
    assert not app.exception
    assert "MLE has no answer for the first draw" in sentences(app.info)
    assert "20" in app.dataframe[0].value["note"].iloc[1]


def test_the_choices_are_in_the_url_and_nonsense_is_ignored():
    app = open_page(cal_manifold="banana", cal_interval="none")
    assert (app.session_state["cal_manifold"], app.session_state["cal_interval"]) == ("sphere", "none")
    assert app.session_state["cal_estimators"] == ["twonn", "mle", "pca-pr"]
    app.selectbox(key="cal_manifold").select("affine").run()
    published = {key: "".join(value) for key, value in app.query_params.items()}
    assert published["cal_manifold"] == "affine" and published["cal_estimators"] == "twonn,mle,pca-pr"
    assert "cal_sweep" not in published  # it is at its default


def test_cancel_ends_the_work_and_says_so():
    from app.calibration.parts import CALIBRATION

    wanted = chosen(cal_n=2000, cal_seeds=20)
    job = CALIBRATION.start(wanted)
    job.cancel()
    assert job.wait(120)
    assert "cancelled" in job.error
    assert CALIBRATION.answer(wanted) is None


# the figures


@pytest.fixture(scope="module")
def trials():
    cases = [Case("sphere", n, d, 8) for n, d in ((60, 2), (60, 3), (120, 3))]
    return calibrate(cases, ["twonn", "mle", "pca-pr"], range(2), interval="own")


def hovers(figure):
    return [text for trace in figure.data if trace.hovertext is not None for text in np.atleast_1d(trace.hovertext)]


def test_every_draw_has_a_mark_and_a_sentence(trials):
    of_case = [t for t in trials if (t.n_samples, t.truth) == (60, 2)]
    figure = estimates_of_one_case(of_case, summarize(of_case))
    for trial in of_case:
        assert any(f"says {trial.dimension:.2f}, 95% interval {trial.ci_low:.2f}" in text for text in hovers(figure))
    assert figure.layout.shapes[0].x0 == 2  # the truth


def test_the_diagonal_is_where_an_estimate_is_right(trials):
    summaries = summarize([t for t in trials if t.n_samples == 60])
    figure = estimate_against_truth(summaries)
    diagonal = figure.data[0]
    assert list(diagonal.x) == list(diagonal.y)
    twonn = next(trace for trace in figure.data if trace.name == "TwoNN")
    assert list(twonn.x) == [2, 3]
    assert list(twonn.y) == [s.mean for s in summaries if s.estimator == "twonn"]
    assert list(twonn.error_y.array) == [s.sd for s in summaries if s.estimator == "twonn"]


def test_the_curve_over_n_has_the_truth_beside_it(trials):
    figure = estimate_by_sample_size(summarize([t for t in trials if t.truth == 3]))
    assert set(figure.data[0].y) == {3}
    assert list(next(trace for trace in figure.data if trace.name == "MLE").x) == [60, 120]
    assert figure.layout.xaxis.type == "log"


@pytest.fixture(scope="module")
def points():
    return PointCloud(Case("sphere", 150, 3, 8).points(0))


@pytest.mark.parametrize("name", ESTIMATORS)
def test_every_picture_has_a_caption_and_axes_with_words(points, name):
    if name == "fishers":
        assert anatomy(name, None, points, 3.0) is None
        return
    fitted = ESTIMATORS[name].make(20, 0).estimate(points)
    picture = anatomy(name, fitted, points, 3.0)
    assert picture.caption.startswith("How to read it: ")
    for figure in picture.figures:
        assert figure.layout.xaxis.title.text and figure.layout.yaxis.title.text
        for trace in figure.data:
            assert np.isfinite(np.asarray(trace.y, dtype=float)).all(), trace.name


def test_twonns_picture_is_the_fit_as_it_was_computed(points):
    fitted = ESTIMATORS["twonn"].make(20, 0).estimate(points)
    [figure] = anatomy("twonn", fitted, points, 3.0).figures
    kept, tail = (next(trace for trace in figure.data if trace.name == name) for name in ("kept", "discarded tail"))
    assert len(kept.x) == fitted.kept_ == 135 and len(tail.x) == 14  # the last ratio has no finite height
    assert max(kept.x) <= min(tail.x)
    x, y = np.asarray(kept.x), np.asarray(kept.y)
    assert x @ y / (x @ x) == pytest.approx(fitted.dimension_)
    line = next(trace for trace in figure.data if trace.name == f"slope {fitted.dimension_:.2f}")
    assert line.y[1] / line.x[1] == pytest.approx(fitted.dimension_)


@pytest.mark.parametrize("name", ["mle", "mind", "danco"])
def test_a_fitted_law_holds_all_of_its_mass(points, name):
    fitted = ESTIMATORS[name].make(20, 0).estimate(points)
    figure = anatomy(name, fitted, points, 3.0).figures[0]
    bars, law = figure.data[0], figure.data[-1]
    assert np.sum(np.asarray(bars.y) * np.asarray(bars.width)) == pytest.approx(1)
    assert np.trapezoid(law.y, law.x) == pytest.approx(1, abs=0.03)


def test_the_pages_charts_know_no_streamlit():
    import subprocess

    code = "import app.charts.anatomy, app.charts.calibration, app.calibration.choices, sys; print('streamlit' in sys.modules)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "False"


def of_draws(**means):
    """Summaries of a sphere of dimension 5: three draws each, 0.1 apart; one draw where a single number is given."""
    trials = []
    for name, mean in means.items():
        draws = [mean[0]] if isinstance(mean, tuple) else [mean - 0.1, mean, mean + 0.1]
        trials += [Trial("sphere", 5, 500, 50, 0.0, i, name, d, None, None, 0.1, 0.0, 0.1, None) for i, d in enumerate(draws)]
    return summarize(trials)


def test_an_estimator_is_crowned_only_beyond_its_spread():
    from app.calibration.parts import finding

    assert finding(of_draws(twonn=5.02, danco=6.5)).endswith("TwoNN comes closest with 5.02 (+0.4%), by more than the spread over 3 draws.")
    assert finding(of_draws(twonn=5.02, mle=4.9, danco=6.5)).endswith(
        "the closest, TwoNN and MLE, are within their spread: TwoNN reads 5.02 (+0.4%), MLE 4.90 (−2.0%)."
    )
    assert finding(of_draws(twonn=(5.0,), mle=(4.9,))).endswith("one draw has no spread, so none can be called the closest.")
    assert "comes closest" not in finding(of_draws(twonn=(5.0,), mle=(4.0,)))
