"""Attention sinks: found by the exact median whatever the batches, left out or replaced, and nothing else is touched."""

import dataclasses
import functools

import numpy as np
import pytest
import torch
from tiny_models import tiny_model, tiny_tokenizer

from gelora.errors import DataError, InputError
from gelora.geometry import MLE, CorrelationDimension
from gelora.records import DataChoice, IdProfile, Sample, SampleSource, SinkReport, resolved_sinks
from gelora.sources.hidden_states import states_of
from gelora.sources.sink_pooling import SinkPooling
from gelora.sources.structure import structure_of
from gelora.sources.tokenized import TokenizedSample

WORDS = ("film", "story", "garden", "children", "values", "axis", "company", "profit", "train", "people", "table", "river", "answer")
_rng = np.random.default_rng(0)
TEXTS = tuple(" ".join(_rng.choice(WORDS, _rng.integers(2, 14))) for _ in range(40))


def sample_of(texts=TEXTS, n_samples=None):
    return Sample(tuple(texts), None, None, None, "unlabeled", SampleSource(DataChoice("test"), "r", 0, n_samples or len(texts), True, "d"))


def with_planted_sinks(architecture):
    """A model in which one word, wherever it stands, is fifty times as long as the others from the embeddings on."""
    model, tokenizer = tiny_model(architecture), tiny_tokenizer(architecture)
    model.get_input_embeddings().weight.data[tokenizer(" story")["input_ids"][-1]] *= 50
    return model


def measure(architecture, model, sample=None, **options):
    options = {"pooling": "mean", "max_length": 64, "batch_size": 7, "dtype": "float32", "final_norm": False} | options
    return states_of(
        model, tiny_tokenizer(architecture), sample or sample_of(), structure_of(model, "tiny", "r"), progress=lambda *_: None, **options
    )


@functools.cache
def by_hand(architecture, texts=TEXTS):
    """The planted model, for each text alone its states [n_layers + 1, n_tokens, width], and which tokens are sinks, by the definition."""
    model, tokenizer, states = with_planted_sinks(architecture), tiny_tokenizer(architecture), []
    last = []
    blocks = model.h if architecture == "gpt2" else model.layers
    hook = blocks[-1].register_forward_hook(lambda _, __, out: last.append(out[0] if isinstance(out, tuple) else out))
    for text in texts:
        with torch.no_grad():
            out = model.eval()(**tokenizer(text, return_tensors="pt"), output_hidden_states=True)
        states.append(torch.stack([*out.hidden_states[:-1], last[-1]])[:, 0].double().numpy())
    hook.remove()
    norms = [np.linalg.norm(s, axis=-1) for s in states]
    medians = np.median(np.concatenate(norms, axis=1), axis=1)
    return model, states, [n > 5 * medians[:, None] for n in norms]


@pytest.mark.parametrize("architecture", ["qwen2", "gpt2"])
@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_the_mean_leaves_out_exactly_the_sinks_whatever_the_batches(architecture, batch_size):
    model, states, sinks = by_hand(architecture)
    found = measure(architecture, model, batch_size=batch_size)
    assert 0 < np.concatenate(sinks, axis=1).mean() < 0.3
    fine = [i for i, s in enumerate(sinks) if not s.all(axis=1).any()]
    expected = np.stack([[layer[~s].mean(axis=0) for layer, s in zip(states[i], sinks[i], strict=True)] for i in fine], axis=1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(found.sinks.shares, np.concatenate(sinks, axis=1).mean(axis=1), atol=1e-12)
    assert found.row_texts().tolist() == fine and found.sinks.treatment == "drop"


def test_sinks_are_found_by_the_median_of_all_texts_not_of_the_first_batch():
    """The longest texts come first and are all long-normed here, so that the first median is wrong for every later text."""
    width, lengths = 4, np.array([9, 9, 3, 3, 3, 3, 3, 3, 3, 3, 3])
    texts = TokenizedSample({}, lengths, "mean")
    rng = np.random.default_rng(1)
    states = {i: rng.normal(size=(n, width)).astype(np.float32) * (30 if n == 9 else 1) for i, n in enumerate(lengths)}
    for i in range(2, 11):
        states[i][0] *= 60
    answers = []
    for batch_size in (1, 2, 11):
        pooling = SinkPooling(texts, "drop", 5.0, 0, width)
        order = texts.order()
        for todo in (lambda order=order: order, pooling.settle):
            batches = todo()
            for start in range(0, len(batches), batch_size):
                batch = batches[start : start + batch_size]
                table = torch.zeros(len(batch), int(lengths[batch].max()), width)
                for place, i in enumerate(batch):
                    table[place, : lengths[i]] = torch.from_numpy(states[i])
                pooling.put(batch, torch.stack([pooling.take(batch, "cpu")(0, table)]))
        answers.append(pooling.result())
    median = np.median(np.concatenate([np.linalg.norm(s, axis=1) for s in states.values()]))
    kept = {i: s[np.linalg.norm(s, axis=1) <= 5 * median] for i, s in states.items()}
    left = [i for i in kept if len(kept[i])]
    for values, _, report in answers:
        np.testing.assert_allclose(values[0], [kept[i].mean(axis=0) for i in left], rtol=1e-5, atol=1e-5)
        assert report.left_out == tuple(i for i in kept if not len(kept[i]))


@pytest.mark.parametrize("pooling", ["mean", "tokens", "last"])
def test_without_sinks_drop_and_keep_are_the_same_bits(pooling):
    found = {t: measure("bert", tiny_model("bert"), sample_of(n_samples=50), pooling=pooling, sinks=t) for t in ("drop", "keep")}
    assert not found["drop"].sinks.shares.any() and found["drop"].sinks.n_replaced == 0
    assert found["drop"].values.tobytes() == found["keep"].values.tobytes()
    assert found["drop"].tokens.tolist() == found["keep"].tokens.tolist()


def test_drawn_tokens_that_are_sinks_are_replaced_by_others_and_the_rest_stays():
    model, states, sinks = by_hand("gpt2")
    anywhere = [s.any(axis=0) for s in sinks]
    before, after = (measure("gpt2", model, sample_of(n_samples=60), pooling="tokens", sinks=t) for t in ("keep", "drop"))
    old, new = {tuple(t) for t in before.tokens.tolist()}, {tuple(t) for t in after.tokens.tolist()}
    bad = {(text, place) for text, place in old if anywhere[text][place]}
    assert bad and len(new) == 60 and old - new == bad and after.sinks.n_replaced == len(bad)
    assert not any(anywhere[text][place] for text, place in new)
    for row, (text, place) in enumerate(after.tokens.tolist()):
        np.testing.assert_allclose(after.values[:, row], states[text][:, place], rtol=1e-3, atol=1e-3)


def test_the_last_token_gives_way_to_the_nearest_before_it_that_is_no_sink():
    texts = ("film garden story", "film garden river", "film story story", *TEXTS)
    model, states, sinks = by_hand("gpt2", texts)
    kept, found = (measure("gpt2", model, sample_of(texts), pooling="last", sinks=t) for t in (None, "drop"))
    assert kept.sinks.treatment == "keep" and kept.sinks.chosen_is_sink() is not None
    fine = {i: np.flatnonzero(~s.any(axis=0)) for i, s in enumerate(sinks)}
    assert found.tokens.tolist() == [[i, int(p[-1])] for i, p in fine.items() if len(p)]
    assert found.sinks.left_out == tuple(i for i, p in fine.items() if not len(p))
    expected = np.stack([states[i][:, p[-1]] for i, p in fine.items() if len(p)], axis=1)
    np.testing.assert_allclose(found.values, expected, rtol=1e-3, atol=1e-3)


def test_unit_scales_every_token_before_pooling():
    model, states, _ = by_hand("qwen2")
    found = measure("qwen2", model, sinks="unit")
    expected = np.stack([(s / np.linalg.norm(s, axis=-1, keepdims=True)).mean(axis=1) for s in states], axis=1)
    np.testing.assert_allclose(found.values, expected, atol=1e-4)
    rows = measure("qwen2", model, pooling="last", sinks="unit").values
    np.testing.assert_allclose(np.linalg.norm(rows, axis=-1), 1, rtol=1e-5)


def test_a_text_of_sinks_alone_is_left_out_and_named():
    tokenizer = tiny_tokenizer("gpt2")
    sink = tokenizer.decode(tokenizer(" story")["input_ids"][-1:])
    assert len(tokenizer(sink)["input_ids"]) == 1
    found = measure("gpt2", with_planted_sinks("gpt2"), sample_of((*TEXTS[:5], sink, *TEXTS[5:])))
    assert 5 in found.sinks.left_out and 5 not in found.row_texts()
    assert found.values.shape[1] == len(TEXTS) + 1 - len(found.sinks.left_out)


def test_a_state_that_is_infinite_is_an_error_and_no_sink():
    model = with_planted_sinks("gpt2")
    model.get_input_embeddings().weight.data[tiny_tokenizer("gpt2")(" story")["input_ids"][-1]] = torch.inf
    with pytest.raises(DataError, match="gives NaN or infinity from the embeddings' output"):
        measure("gpt2", model)


def test_the_first_token_cannot_be_replaced():
    with pytest.raises(InputError, match="no token lies before it"):
        resolved_sinks("drop", 5.0, "cls")
    with pytest.raises(InputError, match="sink_ratio is 1"):
        resolved_sinks("drop", 1.0, "mean")


@pytest.mark.parametrize("d", [3, 6])
def test_a_planted_sink_hides_the_dimension_and_dropping_it_or_unit_length_shows_it(d):
    """Texts whose mean lies on a d-sphere, beside the same cloud without a sink; the sink is a first token of nearly one vector.

    A sphere has no border: the same 800 points in a cube of 6 sides read 5.0 by both estimators, sinks or not.
    """
    rng = np.random.default_rng(2)
    n, width = 800, d + 2
    points = rng.normal(size=(n, d + 1))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    lengths = rng.integers(12, 40, n)
    texts, order = TokenizedSample({}, lengths, "mean"), np.arange(n)
    table = torch.zeros(n, int(lengths.max()), width)
    for i, length in enumerate(lengths):
        table[i, 1:length, : d + 1] = torch.from_numpy(points[i])
    table[:, 0, -1] = torch.from_numpy(1e5 * rng.uniform(0.8, 1.2, n))
    read = {"alone": (MLE().fit(points).dimension_, CorrelationDimension().fit(points).dimension_)}
    for treatment in ("keep", "drop", "unit"):
        pooling = SinkPooling(texts, treatment, 5.0, 0, width)
        pooling.put(order, torch.stack([pooling.take(order, "cpu")(0, table)]))
        assert not len(pooling.settle())
        values, _, report = pooling.result()
        read[treatment] = (MLE().fit(values[0]).dimension_, CorrelationDimension().fit(values[0]).dimension_)
        if treatment == "drop":
            assert report.first_direction_kept[0] > 0.99 > 0.5 > report.first_direction[0]
    assert read["alone"] == pytest.approx((d, d), rel=0.1)
    assert max(read["keep"]) < 1.3
    assert read["drop"] == pytest.approx(read["alone"], rel=1e-3)
    assert read["unit"] == pytest.approx(read["alone"], rel=0.1)


def report_of(norms, first, chosen=()):
    n = len(norms)
    return SinkReport("drop", 5.0, 100, np.full(n, 0.05), np.array(norms), np.array(first), np.array(first), np.array(chosen))


def test_the_report_names_the_block_where_sinks_emerge_and_layers_of_one_direction():
    report = report_of([2.0, 3.0, 120.0, 140.0], [0.2, 0.3, 0.99, np.nan])
    assert report.emergence_block() == 2 and report.one_direction_layers() == (2,) and report.chosen_is_sink() is None
    assert report_of([2.0, 3.0, 4.9], [0.1] * 3).emergence_block() is None
    assert report_of([np.nan, 3.0, 4.9], [0.1] * 3, [0.0, 0.2, 0.06]).chosen_is_sink() == (1, 0.2)
    assert SinkReport.from_json(report.to_json()) == report
    names = ["e", "1", "2", "3"]
    assert any("emerge in block 2" in sentence for sentence in report.sentences(names))
    assert "at 2: the dimension there says little" in report.sentences(names)[-1]
    assert report_of([2.0] * 2, [0.2, np.nan]).one_direction_sentences(names) == []
    assert report.layer_sentence(2) == (
        "5.0% of the tokens are attention sinks, the largest norm is 120.0 times the median; one direction holds 99% of the variance."
    )
    assert report.layer_sentence(3).endswith("140.0 times the median.")
    none = dataclasses.replace(report, shares=np.zeros(4), first_direction=np.full(4, 0.25))
    assert none.layer_sentence(0).startswith("No token is an attention sink, the largest norm is 2.0 times")
    assert none.layer_sentence(0).endswith("holds 25% of the variance, 20% with all tokens as they are.")


def test_a_profile_of_before_is_still_read(tmp_path):
    from gelora.geometry import estimate_profile

    profile = estimate_profile(measure("bert", tiny_model("bert")), ["twonn"], n_neighbors=5)
    assert profile.sinks is not None and IdProfile.from_json(profile.to_json()) == profile
    import json

    old = json.loads(profile.to_json())
    del old["sinks"]
    assert IdProfile.from_json(json.dumps(old)).sinks is None
