"""The Theory page: its eight cards through Streamlit's runner, their controls, and a real block probed in the background."""

import json
import re
import sys
from pathlib import Path

import numpy as np
import pytest
from made_runs import write_run
from safetensors.numpy import save_file
from streamlit.testing.v1 import AppTest
from test_pages import waited

from app.charts import theory as charts
from app.charts.data import figure_table
from app.theory.block import _TOLERANCE, sink_words
from app.theory.choices import CHOICES, limits, map_choice
from app.theory.maps import bound_words
from gelora.errors import InputError
from gelora.geometry import Bound
from gelora.sources import BlockJacobian

ENTRY = str(Path(__file__).resolve().parents[2] / "app" / "main.py")
TITLES = ["What intrinsic dimension is", "What TwoNN does", "What attention sinks do to it",
          "Why a block that raises the ID needs rank", "The same on a real block", "What a LoRA update of rank r is",
          "Fisher information and local dimensionality", "What the theorem does not say"]  # fmt: skip


def open_page(**choices):
    app = AppTest.from_file(ENTRY, default_timeout=120)
    for key, value in ({"th_n": "200", "th_two_n": "200"} | choices).items():
        app.query_params[key] = value
    app.run()
    return app.switch_page("../pages/theory.py").run()


def bold(app):
    return [text for element in app.markdown for text in re.findall(r"\*\*(.+?)\*\*", element.value)]


def said(app, beginning):
    return next(text for text in bold(app) if text.startswith(beginning))


def chosen(**changes):
    return {key: default for key, (default, _) in CHOICES.items()} | changes


def test_eight_cards_each_with_formula_question_answer_and_source():
    app = open_page()
    assert not app.exception and not app.error
    assert [heading.value for heading in app.subheader] == [f"{i} · {title}" for i, title in enumerate(TITLES, start=1)]
    assert len(app.latex) >= 8
    assert sum(text == "To the class:" for text in bold(app)) == 8
    assert sum(expander.label == "Answer" for expander in app.expander) == 8
    assert not any(expander.proto.expanded for expander in app.expander)
    assert sum(caption.value.startswith("Source: ") for caption in app.caption) == 8


def test_a_sink_draws_the_estimators_apart_and_left_out_they_agree(tiny):
    """The card's own pooling is the library's, and its question's answer what it shows."""
    import torch

    from app.theory import sinks
    from gelora.sources.sink_pooling import SinkPooling
    from gelora.sources.tokenized import TokenizedSample

    texts = sinks.made_texts(10)
    table = torch.zeros(len(texts.lengths), int(texts.lengths.max()), texts.points.shape[1] + 1)
    for i, (point, length) in enumerate(zip(texts.points, texts.lengths, strict=True)):
        table[i, 1:length, :-1] = torch.from_numpy(point)
    table[:, 0, -1] = torch.from_numpy(100 * texts.first_norms)
    batch = np.arange(len(table))
    for treatment in ("keep", "drop", "unit"):
        pooling = SinkPooling(TokenizedSample({}, texts.lengths, "mean"), treatment, 5.0, 0, table.shape[2])
        pooling.put(batch, torch.stack([pooling.take(batch, "cpu")(0, table)]))
        assert not len(pooling.settle())
        np.testing.assert_allclose(pooling.result()[0][0], sinks.pooled(texts, 100, treatment), atol=1e-5)
    found, last = sinks.readings(10), -1
    lost = {name: 1 - found["keep"][name][last] / found["drop"][name][last] for name in sinks.ESTIMATED}
    assert lost["mle"] > 0.5 > lost["gride"] > lost["twonn"] > 0.1
    app = open_page(th_sink_norm="99", th_sink_d="6")
    assert app.session_state["th_sink_norm"] == 100.0 and "for a true 6; one direction holds" in said(app, "With a first token of norm 100")
    app.slider(key="th_sink_d").set_value(10).run()
    assert "one direction holds 99.5% of the variance. Left out above 5 medians: TwoNN 9.0" in said(app, "With a first token of norm 100")


def test_a_rank_below_the_dimension_takes_dimensions_away_and_the_sentence_follows():
    app = open_page(th_rank="2")
    assert "J has rank 2 on the tangent space, 2 in all; r = 2." in said(app, "Measured ID")
    app.number_input(key="th_rank").set_value(9).run()
    assert "J has rank 5 on the tangent space, 9 in all; r = 9." in said(app, "Measured ID")
    assert app.query_params["th_rank"] in ("9", ["9"])


def test_a_context_makes_a_rise_that_the_rank_of_the_update_bounds():
    app = open_page(th_kind="residual", th_manifold="affine", th_d="3", th_rank="4", th_n="1000")
    rise = lambda: float(re.search(r"rise ([+−][\d.]+)", said(app, "Measured ID")).group(1).replace("−", "-"))  # noqa: E731
    assert abs(rise()) < 0.3
    app.number_input(key="th_context").set_value(4).run()
    assert 1.5 < rise() <= 4
    assert "J has rank 7 on manifold and context" in said(app, "Measured ID")


def test_choices_that_bound_each_other_are_kept_legal():
    app = open_page(th_manifold="nonlinear", th_d="20", th_n_in="3", th_rank="50")
    assert not app.exception and not app.error
    assert app.session_state["th_n_in"] == 60 and app.session_state["th_rank"] == 30


def test_an_untrained_update_has_no_rank_and_a_begun_one_has_r():
    app = open_page(th_r="7")
    assert "7 are above 1e-6 of the largest" in said(app, "Of the 96 singular values")
    app.toggle(key="th_begun").set_value(False).run()
    assert "its rank is 0" in said(app, "B is zero")


def test_the_fisher_rank_counts_the_span_and_not_the_dimension():
    app = open_page(th_f_d="3", th_f_classes="3")
    assert said(app, "F has rank").startswith("F has rank 48; 48 =")
    app.toggle(key="th_f_bent").set_value(False).run()
    assert said(app, "F has rank").startswith("F has rank 6; 48 =")


def test_a_rotation_raises_nothing_and_needs_two_ranks_a_plane():
    sentence = next(text for text in bold(open_page(th_planes="4")) if "needs rank" in text)
    assert "the rise asks for rank 0.0. The update needs rank 8" in sentence


def test_a_real_block_is_probed_and_marked_when_the_choices_change(tiny):
    from app.shared.cache import pool

    app = open_page(model=tiny[0], data=tiny[1], n="50", th_probes="32", th_points="2")
    app.button(key="probe_block").click().run()
    assert all(job.wait(120) for job in pool().jobs())
    app.run()
    assert not app.exception and not app.error
    assert "J has rank 30 of 32 at 2 points" in said(app, "Block 1:")
    assert any(caption.value.startswith("No point is an attention sink: on entering the block") for caption in app.caption)
    app.number_input(key="th_block").set_value(2).run()
    assert any("The choices have changed since" in warning.value for warning in app.warning)


def test_a_point_that_is_a_sink_is_named():
    values = np.ones((2, 3))
    ranks = np.array([3, 3])
    found = BlockJacobian(1, 3, 3, values, ranks, values, ranks, ("a", "b"), (4, 7), ("film", "."), np.array([1.2, 93.4]), 40, 0.1)
    assert sink_words(found, 5.0).startswith(
        "Attention sinks among the points, by their norm over the median of the 40 tokens of these texts: '.' at position 7 (93)."
    )
    assert sink_words(found, 100.0).startswith("No point is an attention sink: on entering the block the longest has 93.4 times")


def test_the_sinks_of_the_measured_model_stand_in_the_card(tiny):
    app = open_page(model=tiny[0], data=tiny[1], n="63", estimators="twonn")
    assert any(caption.value.startswith("Measure the curve (the sidebar does) to see how long the tokens") for caption in app.caption)
    app.button(key="measure").click().run()
    waited(app)
    assert any("no token is a sink at any layer; the longest is" in caption.value for caption in app.caption)


def test_a_block_that_is_not_there_is_one_sentence(tiny):
    from app.shared.cache import pool

    app = open_page(model=tiny[0], data=tiny[1], n="50", th_block="9")
    app.button(key="probe_block").click().run()
    assert all(job.wait(120) for job in pool().jobs())
    assert [error.value for error in app.run().error] == ["block is 9; it must be a whole number from 1 to 3."]


def test_the_update_of_a_finished_run_is_that_of_its_adapter(gelora_home):
    app = open_page(th_update="run")
    assert any("No finished run has an adapter yet" in info.value for info in app.info)
    folder = write_run(gelora_home / "runs", "run-a") / "adapter"
    folder.mkdir()
    rng, name = np.random.default_rng(0), "base_model.model.layer.{}.query.lora_{}.weight"
    rows = rng.standard_normal((2, 32)).astype(np.float32)
    tensors = {name.format(0, "A"): rows, name.format(0, "B"): np.outer(np.ones(32), [1, 0]).astype(np.float32)}
    tensors |= {name.format(1, "A"): rows, name.format(1, "B"): rng.standard_normal((32, 2)).astype(np.float32)}
    save_file(tensors, folder / "adapter_model.safetensors")
    (folder / "adapter_config.json").write_text(json.dumps({"peft_type": "LORA", "r": 2, "lora_alpha": 64}))
    app = app.run()
    assert not app.exception and not app.error
    assert "layer.0.query: r = 2, rank 1, effective rank 1.00" in said(app, "layer.0.query")
    app.selectbox(key="th_module").set_value("layer.1.query").run()
    assert "layer.1.query: r = 2, rank 2" in said(app, "layer.1.query")


@pytest.mark.browser
def test_an_answer_unfolds_and_a_control_moves_the_sentence_and_the_url(dashboard, browser):
    from playwright.sync_api import expect

    page = browser.new_page(viewport={"width": 390, "height": 844})
    page.set_default_timeout(120_000)
    page.goto(f"{dashboard.url}/?page=theory&th_n=200")
    card = page.locator(".st-key-card_map")
    expect(card.get_by_text("J has rank 3 on the tangent space, 3 in all; r = 3.")).to_be_visible(timeout=120_000)
    answer = card.get_by_text("One token's state in a transformer")
    expect(answer).to_be_hidden()
    card.get_by_text("Answer", exact=True).click()
    expect(answer).to_be_visible(timeout=120_000)
    field = card.get_by_label("Rank r", exact=True)
    field.fill("8")
    field.press("Enter")
    expect(card.get_by_text("J has rank 5 on the tangent space, 8 in all; r = 8.")).to_be_visible(timeout=120_000)
    expect(page).to_have_url(re.compile("th_rank=8"), timeout=120_000)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.close()


# the choices, words and figures


def test_limits_and_the_map_agree():
    for kind in ("linear", "hidden", "residual"):
        values = chosen(th_kind=kind, th_n_in=12, th_n_out=7)
        low, high = limits(values)["th_rank"]
        map_choice(values | {"th_rank": high, "th_d": 2})
        with pytest.raises(InputError, match="rank"):
            map_choice(values | {"th_rank": high + 1})
        assert low == 1


def test_the_verdict_is_said_as_computed():
    words = bound_words(Bound("measured ID of the output", "rank of J", 5.76, 5.0, "does not hold"))
    assert r"5.76 \> 5. **The bound does not hold, as computed.**" in words


def test_the_tolerance_on_the_page_is_the_librarys():
    from gelora.sources.block_jacobian import RANK_TOLERANCE

    assert _TOLERANCE == RANK_TOLERANCE
    assert "streamlit" in sys.modules


def test_spectra_are_relative_and_zeros_lie_on_the_floor():
    shown = charts.Spectrum("J", np.array([[4.0, 2.0, 0.0], [1.0, 1.0, 1.0]]), charts.BLUE, "solid", "circle")
    figure = charts.spectra([shown], axis="value", tolerance=1e-10, marks=[charts.Mark(2, "r = 2")])
    lines = [trace for trace in figure.data if trace.name and trace.name.startswith("J, point")]
    assert [list(trace.y) for trace in lines] == [[1.0, 0.5, charts.FLOOR], [1.0, 1.0, 1.0]]
    assert "J, point 1: value 2 is 2." in figure_table(figure)["says"].tolist()
    assert [trace.name for trace in figure.data if trace.showlegend is not False] == ["J", "tolerance 1e-10", "r = 2"]


def test_levels_stand_in_the_order_given_with_their_intervals():
    figure = charts.levels([charts.Level("dim M", 5, None, None, False), charts.Level("ID in", 5.0, 4.5, 5.6, True)])
    assert list(figure.layout.yaxis.categoryarray) == ["ID in", "dim M"]
    measured = next(trace for trace in figure.data if trace.name == "measured ID")
    np.testing.assert_allclose([*measured.error_x.array, *measured.error_x.arrayminus], [0.6, 0.5])


def test_the_error_by_rank_marks_what_is_needed():
    figure = charts.error_by_rank(np.array([1.0, 0.4, 0.0, 0.0]), 0.0, 2, 3)
    assert {"needed: 2", "what the rise asks for: 0.0"} <= {trace.name for trace in figure.data}
    assert list(figure.data[0].y) == [1.0, 0.4, 0.0, 0.0]


def test_the_local_dimension_is_read_at_the_radius():
    radii = np.geomspace(0.01, 0.5, 20)
    figure = charts.local_dimension(radii, np.linspace(2, 1, 20), float(radii[4]), 1)
    assert figure.data[1].y[0] == pytest.approx(np.linspace(2, 1, 20)[4])
