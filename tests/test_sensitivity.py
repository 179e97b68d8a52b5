"""One choice varied, the others held: each curve is what a measurement with that choice would say."""

import json

import numpy as np
import pytest
from tiny_models import save_tiny_model

from gelora.errors import Cancelled, InputError
from gelora.geometry import TwoNN, estimate_profile
from gelora.records import DataChoice
from gelora.sensitivity import VARIATIONS, Sensitivity, measure_sensitivity
from gelora.sources import extract_hidden_states, load_sample


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    words = [
        "red",
        "blue",
        "green",
        "small",
        "large",
        "old",
        "new",
        "cat",
        "dog",
        "house",
        "tree",
        "river",
        "runs",
        "sees",
        "finds",
        "near",
        "under",
        "over",
    ]
    rng = np.random.default_rng(0)
    rows = [{"text": " ".join(rng.choice(words, size=rng.integers(4, 12)))} for _ in range(150)]
    rows += rows[:20]
    path = folder / "texts.jsonl"
    path.write_text("\n".join(json.dumps(row) for row in rows))
    save_tiny_model("bert", folder / "model")
    return str(folder / "model"), DataChoice(str(path))


def test_every_curve_is_the_measurement_with_that_choice(tiny):
    model, data = tiny
    answer = measure_sensitivity(model, data, n_samples=100, n_neighbors=10)
    assert set(answer.curves) == set(VARIATIONS)
    assert list(answer.curves["pooling"]) == ["mean", "cls", "last", "tokens"]
    assert answer.base == {
        "metric": "euclidean", "n_samples": "100", "pooling": "mean", "sinks": "drop", "distinct": "distinct", "discard_fraction": "0.1",
    }  # fmt: skip
    states = extract_hidden_states(model, load_sample(data, 100, 0), pooling="mean")
    present = estimate_profile(states, ["twonn"], n_neighbors=10)
    for variation in VARIATIONS:
        np.testing.assert_allclose(answer.curves[variation][answer.base[variation]], present.dimensions("twonn"), rtol=1e-12)
    by_last = estimate_profile(extract_hidden_states(model, load_sample(data, 100, 0), pooling="last"), ["twonn"], n_neighbors=10)
    np.testing.assert_allclose(answer.curves["pooling"]["last"], by_last.dimensions("twonn"), rtol=1e-12)
    cosine = estimate_profile(states, ["twonn"], n_neighbors=10, metric="cosine")
    np.testing.assert_allclose(answer.curves["metric"]["cosine"], cosine.dimensions("twonn"), rtol=1e-12)
    assert answer.curves["discard_fraction"]["0.4"][1] == pytest.approx(TwoNN(discard_fraction=0.4).fit(states.values[1]).dimension_)
    halved = [e.ci_high - e.ci_low for e in present.estimates["twonn"]]
    np.testing.assert_allclose(2 * answer.half_widths["pooling"]["mean"], halved, rtol=1e-9)
    assert "200: the data hold 1" in answer.notes["n_samples"]  # there are fewer than 200 distinct texts
    assert Sensitivity.from_json(answer.to_json()) == answer


def test_the_span_is_the_largest_gap_at_one_layer():
    curves = {"metric": {"a": np.array([3.0, 5.0, np.nan]), "b": np.array([4.0, 2.5, 9.0])}, "pooling": {"a": np.array([1.0, 2.0, 3.0])}}
    answer = Sensitivity("twonn", ("e", "1", "2"), {"metric": "a", "pooling": "a"}, curves, curves)
    assert answer.span("metric") == 2.5
    assert np.isnan(answer.span("pooling"))


def test_only_twonn_discards(tiny):
    answer = measure_sensitivity(*tiny, n_samples=60, n_neighbors=10, estimator="mle", vary=("discard_fraction",))
    assert answer.curves == {} and "TwoNN" in answer.notes["discard_fraction"]


def test_unknown_names_are_refused_before_any_work(tiny):
    with pytest.raises(InputError, match="metric, n_samples"):
        measure_sensitivity(*tiny, vary=("temperature",))
    with pytest.raises(InputError, match="twonn"):
        measure_sensitivity(*tiny, estimator="median")


def test_progress_says_which_alternative_and_can_stop(tiny):
    stages = []

    def stop(stage, done, total):
        stages.append(stage)
        if stage.startswith("pooling = cls"):
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        measure_sensitivity(*tiny, n_samples=60, n_neighbors=10, vary=("pooling",), progress=stop)
    assert any(stage.startswith("pooling = mean: ") for stage in stages)
