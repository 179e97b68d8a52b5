"""Models whose states depend on padding are found and run without any; all others give the numbers that they gave before."""

import json

import numpy as np
import pytest
import torch
from tiny_models import ARCHITECTURES, EXTRA_ARCHITECTURES, PADDING_DEPENDENT, save_tiny_model, tiny_model, tiny_tokenizer

from gelora.errors import ModelError
from gelora.geometry import estimate_profile
from gelora.records import WITHOUT_PADDING, DataChoice, IdProfile, Sample, SampleSource
from gelora.sources import hidden_states, states_of_rows
from gelora.sources.hidden_states import extract_hidden_states, states_of
from gelora.sources.padding import depends_on_padding
from gelora.sources.structure import structure_of
from gelora.sources.tokenized import tokenize

INDEPENDENT = tuple(a for a in ARCHITECTURES + EXTRA_ARCHITECTURES if a != "albert")
TEXTS = tuple(" ".join(["The quick brown fox jumps"] * (1 + i % 7)) + f" over {i} dogs" for i in range(40))


def sample():
    return Sample(TEXTS, None, None, None, "unlabeled", SampleSource(DataChoice("test"), "r1", 0, len(TEXTS), True, "digest"))


def measure(architecture, model=None, **options):
    model = model or tiny_model(architecture)
    options = {"pooling": "mean", "max_length": 128, "batch_size": 8, "dtype": "float32", "final_norm": False} | options
    return states_of(model, tiny_tokenizer(architecture), sample(), structure_of(model, "tiny", "r1"), progress=lambda *_: None, **options)


def depends(architecture, dtype=torch.float32):
    model = tiny_model(architecture).to(dtype)
    texts = tokenize(tiny_tokenizer(architecture), sample(), 128, "mean")
    return depends_on_padding(model, texts, structure_of(model, "tiny", "r1").hidden_size)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("architecture", INDEPENDENT + PADDING_DEPENDENT)
def test_what_depends_on_padding_is_found(architecture, dtype):
    if dtype is torch.bfloat16 and architecture in ("fnet", "convbert"):
        pytest.skip("no Fourier transform in bfloat16; ConvBERT's change is there within the rounding")
    assert depends(architecture, dtype) is (architecture in PADDING_DEPENDENT)


@pytest.mark.parametrize("architecture", PADDING_DEPENDENT)
@pytest.mark.parametrize("pooling", ["mean", "cls", "last", "tokens"])
def test_states_are_those_of_each_text_alone_and_the_record_says_so(architecture, pooling, monkeypatch):
    states = measure(architecture, pooling=pooling)
    alone = measure(architecture, pooling=pooling, batch_size=1)
    np.testing.assert_allclose(states.values, alone.values, atol=1e-5)
    assert states.without_padding
    monkeypatch.setattr(hidden_states, "suited_to", lambda base, texts, width: texts)
    padded = measure(architecture, pooling=pooling)
    assert not padded.without_padding and np.abs(padded.values - alone.values).max() > 0.01


@pytest.mark.parametrize("architecture", INDEPENDENT)
def test_others_give_the_same_bits_as_without_the_check(architecture, monkeypatch):
    states = measure(architecture)
    monkeypatch.setattr(hidden_states, "suited_to", lambda base, texts, width: texts)
    assert not states.without_padding and measure(architecture) == states


def test_texts_that_are_passed_again_for_their_sinks_are_not_padded_either():
    """A ratio so low that many tokens count as sinks, which is known after the first pass alone."""
    model = tiny_model("nystromformer")
    for module in model.modules():
        if isinstance(module, torch.nn.LayerNorm):  # tokens then differ in norm
            torch.nn.init.normal_(module.weight, generator=torch.Generator().manual_seed(0))
    states = measure("nystromformer", model, sink_ratio=1.05)
    np.testing.assert_allclose(states.values, measure("nystromformer", model, sink_ratio=1.05, batch_size=1).values, atol=1e-5)
    assert states.sinks.shares.max() > 0.1


def test_cache_profile_and_methods_keep_what_was_done(tmp_path):
    from app.charts.paper import methods_sentence

    folder = str(save_tiny_model("fnet", tmp_path / "fnet"))
    first, again = (extract_hidden_states(folder, sample()) for _ in range(2))
    assert first.without_padding and again == first
    profile = estimate_profile(first, ["twonn"], n_neighbors=5, n_subsamples=2)
    assert IdProfile.from_json(profile.to_json()).without_padding
    assert WITHOUT_PADDING in methods_sentence(profile, ["twonn"])
    other = estimate_profile(
        extract_hidden_states(str(save_tiny_model("bert", tmp_path / "bert")), sample()), ["twonn"], n_neighbors=5, n_subsamples=2
    )
    assert WITHOUT_PADDING not in methods_sentence(other, ["twonn"])
    old = json.loads(other.to_json())
    del old["without_padding"]
    assert IdProfile.from_json(json.dumps(old)).digest() == other.digest()


def test_the_command_says_it(tmp_path, capsys):
    from gelora.cli import main

    folder = save_tiny_model("fnet", tmp_path / "fnet")
    (tmp_path / "texts.txt").write_text("\n".join(TEXTS))
    assert (
        main(["measure", "--model", str(folder), "--dataset", str(tmp_path / "texts.txt"), "--n-samples", "40", "--estimators", "twonn"])
        == 0
    )
    assert WITHOUT_PADDING in capsys.readouterr().out


def test_a_model_of_one_length_alone_is_one_sentence():
    model = tiny_model("nystromformer", num_landmarks=8, segment_means_seq_len=64)
    with pytest.raises(ModelError, match="NystromformerModel cannot be run on a text of 16 tokens"):
        states_of(
            model, tiny_tokenizer("nystromformer"), sample(), structure_of(model, "tiny", "r1"), pooling="mean", max_length=128,
            batch_size=8, dtype="float32", final_norm=False, progress=lambda *_: None,
        )  # fmt: skip


def test_rows_in_training_are_measured_without_padding_where_it_is_asked_for():
    model, tokenizer = tiny_model("fnet"), tiny_tokenizer("fnet")
    rows = [{"input_ids": ids} for ids in tokenizer(list(TEXTS), truncation=True, max_length=128)["input_ids"]]
    options = {"structure": structure_of(model, "tiny", "r1"), "source": sample().source, "max_length": 128}
    alone = states_of_rows(model, rows, batch_size=1, **options)
    together = states_of_rows(model, rows, without_padding=True, **options)
    np.testing.assert_allclose(together.values, alone.values, atol=1e-5)
    assert together.without_padding


@pytest.mark.parametrize("strategy", ["gradient", "eva"])
def test_module_scores_are_of_rows_without_padding(tmp_path, strategy):
    from gelora.ranks import all_module_scores
    from gelora.sources import model_structure, select_modules

    folder = str(save_tiny_model("nystromformer", tmp_path / "model"))
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(TEXTS)]
    (tmp_path / "rows.jsonl").write_text("\n".join(map(json.dumps, rows)))
    modules = select_modules(model_structure(folder), "attention")
    options = {"data": DataChoice(str(tmp_path / "rows.jsonl")), "modules": modules, "n_rows": 24}
    if strategy == "eva":
        with pytest.raises(ModelError, match="depend on padding, and eva reads padded batches"):
            all_module_scores(["eva"], folder, **options)
        return
    found = [all_module_scores(["gradient"], folder, batch_size=size, **options)["gradient"].scores for size in (1, 16)]
    assert found[1] == pytest.approx(found[0], rel=1e-3)
