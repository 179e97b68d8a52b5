"""A layer opened on the Layers page: each view shows what the states say, or one sentence why it cannot."""

import json
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import gelora
from app.state import VIEWS
from gelora.errors import DataError
from gelora.measurements import MeasurementSpec
from gelora.records import DataChoice

ENTRY = str(Path(__file__).resolve().parents[2] / "app" / "main.py")


def open_layers(model: str, data: str, **choices: str) -> AppTest:
    """The Layers page after its curve is measured, in the views of `choices`."""
    from app.shared.cache import measurements

    app = AppTest.from_file(ENTRY, default_timeout=120)
    for key, value in ({"estimators": "twonn,mle", "model": model, "data": data, "page": "layers"} | choices).items():
        app.query_params[key] = value
    app.run()
    app.switch_page("../pages/layers.py").run()
    app.button(key="measure").click().run()
    assert all(job.wait(120) for job in measurements().pool.jobs())
    return opened(app)


def opened(app: AppTest) -> AppTest:
    """The page after the layer under way is open, and what its view needs is made."""
    from app.shared.cache import pool

    app = app.run()
    for _ in range(3):  # what a run asks for may end while it looks: the next run shows it, and may ask for more
        assert all(job.wait(120) for job in pool().jobs())
        app.run()
    return app


def said(elements) -> str:
    return " ".join(element.value for element in elements)


def texts_of(path: str) -> dict[str, int]:
    return {row["text"]: row["label"] for row in map(json.loads, Path(path).read_text().splitlines())}


@pytest.fixture
def measured_states(tiny):
    """Texts and states of what `open_layers(*tiny, n="60")` measures, in their order."""
    sample = gelora.load_sample(DataChoice(tiny[1]), 60, 0)
    return sample, gelora.extract_hidden_states(tiny[0], sample).values.astype(np.float64)


def test_nothing_is_opened_before_a_view_is_chosen(tiny):
    from app.layers.opening import OPENING, Opening

    app = open_layers(*tiny, n="70")
    assert not app.exception and not app.error
    assert "opens the layer" in said(app.caption)
    wanted = Opening(MeasurementSpec(tiny[0], DataChoice(tiny[1]), 70, 0, True, "mean", 128), 1)
    assert OPENING.answer(wanted) is None and OPENING.job(wanted) is None
    app.session_state["view"] = "duplicates"
    app = opened(app)
    assert app.query_params["view"] == "duplicates"
    assert OPENING.answer(wanted) is not None


def test_neighbors_are_the_nearest_texts_by_brute_force(tiny, measured_states):
    sample, values = measured_states
    app = open_layers(*tiny, n="60", view="neighbors", layer="2", sentence="5")
    assert not app.exception and not app.error
    (table,) = app.table
    distances = np.linalg.norm(values[2] - values[2][5], axis=1)
    before = np.linalg.norm(values[1] - values[1][5], axis=1)
    nearest = [int(i) for i in np.argsort(distances) if i != 5][:10]
    near_before = [int(i) for i in np.argsort(before) if i != 5][:10]
    assert list(table.value["sentence"]) == [sample.texts[i] for i in nearest]
    assert [float(d) for d in table.value["distance"]] == pytest.approx(distances[nearest], rel=5e-3)
    assert list(table.value["also before"]) == ["yes" if i in near_before else "no" for i in nearest]
    alike = sum(sample.labels[i] == sample.labels[5] for i in nearest)
    assert f"{alike} of 10 have its label" in said(app.markdown)
    assert sample.texts[5] in said(app.markdown)
    pairs = np.argsort(np.linalg.norm(values[2][:, None] - values[2][None], axis=2), axis=1)[:, 1:11]
    labels = np.array(sample.labels)
    share, counts = (labels[pairs] == labels[:, None]).mean(), np.unique(labels, return_counts=True)[1]
    chance = (counts * (counts - 1)).sum() / (60 * 59)
    assert f"**{share:.0%}** of the 10 nearest have the same label; by chance it would be {chance:.0%}" in said(app.markdown)


def test_another_sentence_at_random_is_another_table(tiny):
    app = open_layers(*tiny, n="60", view="neighbors", sentence="9999")
    assert app.session_state["sentence"] == 59  # the last one there is
    first = list(app.table[0].value["sentence"])
    for _ in range(5):
        app.button(key="another_sentence").click().run()
    assert not app.exception
    assert app.session_state["sentence"] < 60
    app.selectbox(key="sentence").set_value(3).run()
    assert list(app.table[0].value["sentence"]) != first and app.query_params["sentence"] == "3"


def test_the_slope_is_the_dimension_of_the_curve(tiny):
    app = open_layers(*tiny, n="80", view="twonn", layer="3")
    assert not app.exception and not app.error
    dimension = app.dataframe[0].value["twonn"][3]
    assert f"The slope is **{dimension:.2f}**" in said(app.markdown)
    assert len(app.get("plotly_chart")) == 3


def test_distances_and_map_are_drawn_and_stepping_opens_the_next_layer(tiny):
    app = open_layers(*tiny, n="80", view="distances", layer="1")
    assert "At block 1 the nearest neighbor is" in said(app.markdown)
    assert len(app.get("plotly_chart")) == 2
    app.button(key="layer_after").click().run()
    app = opened(app)
    assert "At block 2 the nearest neighbor is" in said(app.markdown)
    app.session_state["view"] = "map"
    app = opened(app)
    assert not app.exception and not app.error
    assert "of the variance of block 2" in said(app.markdown)
    assert len(app.get("plotly_chart")) == 2


def test_equal_vectors_are_one_sentence_in_every_view(tiny):
    app = open_layers(*tiny, n="50", pooling="cls", layer="0", view="duplicates")
    assert "All 50 sentences have the same vector at the embeddings" in said(app.markdown)
    assert list(app.table[0].value["times"]) == ["50"]
    sentences = {
        "twonn": "No dimension at the embeddings: 1 distinct vector of 50",
        "distances": "No distances at the embeddings: all vectors are equal",
        "neighbors": "No neighbors at the embeddings: all vectors are equal",
        "map": "No map of the embeddings: all vectors are equal",
    }
    assert {"duplicates", "scale", "spectrum", *sentences} == set(VIEWS)  # the last two are measured when they are asked for
    for view, says in sentences.items():
        app.session_state["view"] = view
        app = opened(app)
        assert not app.exception and not app.error, view
        assert says in said(app.info), view
    app.session_state["layer"], app.session_state["view"] = 1, "neighbors"
    assert "At the embeddings all vectors are equal, so nobody was near anybody there" in said(opened(app).markdown)


def test_rows_of_tokens_and_of_pairs_are_named_as_such(tiny, tmp_path):
    app = open_layers(*tiny, n="90", pooling="tokens", view="neighbors", layer="2")
    assert not app.exception and not app.error
    assert app.selectbox(key="sentence").label == "Token"
    assert all("[" in words for words in app.table[0].value["token"])
    words = [list(texts_of(tiny[1]))[i : i + 2] for i in range(80)]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps({"sentence1": a, "sentence2": b}) + "\n" for a, b in words[::2]))
    app = open_layers(tiny[0], str(path), n="60", view="neighbors", layer="2")
    assert not app.exception and not app.error
    assert "label" not in app.table[0].value.columns
    assert all("↔" in pair for pair in app.table[0].value["pair"])


def test_the_spectrum_of_states_and_weights_is_measured_when_asked_for(tiny):
    from gelora.geometry import covariance_spectrum, weight_spectrum
    from gelora.sources import block_weights

    app = open_layers(*tiny, n="77", view="spectrum", layer="2")
    assert "how many directions reach beyond noise" in said(app.caption) and len(app.get("plotly_chart")) == 1
    app = opened(app.button(key="measure_spectra").click().run())
    assert not app.exception and not app.error
    states = gelora.extract_hidden_states(tiny[0], gelora.load_sample(DataChoice(tiny[1]), 77, 0))
    found, weights = covariance_spectrum(states.values[2]), block_weights(tiny[0], 2)
    assert f"stable rank {found.stable_rank:.1f}; {found.n_beyond} of {len(found.eigenvalues)} eigenvalues" in said(app.markdown)
    table = next(frame.value for frame in app.dataframe if "stable rank" in frame.value)
    assert list(table["matrix"]) == list(weights)
    assert list(table["stable rank"]) == [round(weight_spectrum(weight).stable_rank, 2) for weight in weights.values()]
    assert len(app.get("plotly_chart")) == 3
    last = list(weights)[-1]
    app.selectbox(key="matrix_name").set_value(last).run()
    assert not app.exception and app.query_params["matrix_name"] == last
    app.session_state["layer"] = 0
    app = opened(app.run().button(key="measure_spectra").click().run())
    assert not app.exception and "made by no block's matrices" in said(app.caption)


def test_equal_vectors_have_no_spectrum_and_the_page_says_so(tiny):
    app = open_layers(*tiny, n="52", pooling="cls", layer="0", view="spectrum")
    app = opened(app.button(key="measure_spectra").click().run())
    assert not app.exception and not app.error
    assert "No spectrum of the embeddings. All rows are equal" in said(app.info)


def test_a_changed_choice_closes_the_layer_until_it_is_measured(tiny):
    app = open_layers(*tiny, n="60", view="neighbors")
    app.selectbox(key="pooling").select("last").run()
    assert not app.exception
    assert "Measure the present choices first" in said(app.info)
    assert not app.table


def test_states_that_are_gone_are_computed_again_only_when_asked_for(tiny):
    from app.shared.cache import pool
    from gelora.home import cache_dir

    app = open_layers(*tiny, n="65", seed="3")
    for file in cache_dir("hidden_states").glob("*.npz"):
        file.unlink()
    app.session_state["view"] = "neighbors"
    app = opened(app)
    assert "not on the disk any more" in said(app.info)
    assert not app.table
    app.button(key="open_anew").click().run()
    assert all(job.wait(120) for job in pool().jobs())
    app.run()
    assert not app.exception and len(app.table) == 1


def test_an_error_is_one_sentence_with_a_second_try(tiny, monkeypatch):
    def failing(*_, **__):
        raise DataError("The layer has no inside; take another.")

    app = open_layers(*tiny, n="75")
    with monkeypatch.context() as patch:
        patch.setattr("app.layers.opening.open_layer", failing)
        app.session_state["view"] = "map"
        app = opened(app)
        assert [e.value for e in app.error] == ["The layer has no inside; take another."]
    app = opened(app.button(key="open_again").click().run())
    assert not app.error and "of the variance of" in said(app.markdown)
