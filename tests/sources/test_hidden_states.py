"""Pooled states equal those of a plain one-text-at-a-time pass of every family, and the cache neither lies nor loses."""

import errno
import io
import logging
import os
import time
import zipfile

import numpy as np
import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import ARCHITECTURES, EXTRA_ARCHITECTURES, MAX_POSITIONS, N_LAYERS, save_tiny_model, tiny_model, tiny_tokenizer

import gelora.sources.state_cache as state_cache
from gelora.errors import Cancelled, DataError, InputError, ModelError, StoreError
from gelora.home import cache_dir
from gelora.records import POOLINGS, DataChoice, Sample, SampleSource
from gelora.sources import forward_pass
from gelora.sources.hidden_states import extract_hidden_states, states_of
from gelora.sources.pooling import draw_tokens, masked_mean
from gelora.sources.structure import base_model_of, find_blocks, find_final_norm, structure_of

MEASURABLE = ARCHITECTURES + tuple(a for a in EXTRA_ARCHITECTURES if a != "albert")
TEXTS = (
    "The quick brown fox.",
    "A good film needs a story, and this one has a very good story with a bad ending, said the company on Tuesday.",
    "Rain",
    "There are many reasons to believe that the second answer is better than the first one ever was.",
    "I would not go out.",
    "zurück ☀ 12.5%",
    "When the train arrived at the station the people were already waiting.",
)
PAIRS = (
    "Yes.",
    "No, she did not.",
    "Return the mean of the values along the given axis.",
    "x",
    "The end",
    "ü",
    "It was too loud for a talk.",
)


def sample_of(texts=TEXTS, pairs=None, seed=0, n_samples=None):
    source = SampleSource(DataChoice("test"), "r1", seed, n_samples or len(texts), True, "digest")
    return Sample(tuple(texts), None if pairs is None else tuple(pairs), None, None, "unlabeled", source)


def measure(architecture, sample, model=None, **options):
    model = model or tiny_model(architecture)
    options = {"pooling": "mean", "max_length": 128, "batch_size": 4, "dtype": "float32", "final_norm": False} | options
    tokenizer = tiny_tokenizer(architecture)
    return states_of(model, tokenizer, sample, structure_of(model, "tiny", "r1"), progress=lambda *_: None, **options)


def reference(architecture, sample, max_length=128):
    """For each text alone, unpadded: Hugging Face's own hidden_states, with the last one before any final norm."""
    model, tokenizer = tiny_model(architecture), tiny_tokenizer(architecture)
    last = []
    find_blocks(model)[1][-1].register_forward_hook(lambda _, __, out: last.append(out[0] if isinstance(out, tuple) else out))
    for row, text in enumerate(sample.texts):
        pair = None if sample.text_pairs is None else sample.text_pairs[row]
        inputs = tokenizer(text, pair, truncation=True, max_length=max_length, return_tensors="pt", return_special_tokens_mask=True)
        special = inputs.pop("special_tokens_mask")[0].bool()
        with torch.inference_mode():
            output = model(**inputs, output_hidden_states=True)
        states = torch.stack([*output.hidden_states[:-1], last[-1]])[:, 0]
        yield states.numpy(), output.last_hidden_state[0].numpy(), special.numpy()


POOL = {"mean": lambda s: s.mean(axis=-2), "cls": lambda s: s[..., 0, :], "last": lambda s: s[..., -1, :]}


@pytest.mark.parametrize("architecture", MEASURABLE)
def test_batched_states_equal_those_of_each_text_alone(architecture):
    sample = sample_of()
    expected = list(reference(architecture, sample))
    for pooling, pool in POOL.items():
        states = measure(architecture, sample, pooling=pooling)
        assert states.values.shape == (N_LAYERS + 1, len(TEXTS), 32) and states.values.dtype == np.float32
        np.testing.assert_allclose(states.values, np.stack([pool(s) for s, _, _ in expected], axis=1), rtol=1e-5, atol=1e-5)
    assert states.layer_names == ("embeddings", "block 1", "block 2", "block 3")
    layers = measure(architecture, sample).values
    assert all(np.abs(layers[i + 1] - layers[i]).max() > 0.01 for i in range(N_LAYERS)), "layers differ, so that order is tested"


@pytest.mark.parametrize("architecture", MEASURABLE)
def test_final_norm_gives_hugging_faces_last_state_and_changes_no_other(architecture):
    sample = sample_of()
    expected = [last.mean(axis=0) for _, last, _ in reference(architecture, sample)]
    with_norm, without = measure(architecture, sample, final_norm=True), measure(architecture, sample)
    np.testing.assert_allclose(with_norm.values[-1], expected, rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(with_norm.values[:-1], without.values[:-1])
    changed = not np.allclose(with_norm.values[-1], without.values[-1], atol=1e-3)
    assert changed == (find_final_norm(tiny_model(architecture)) is not None) == with_norm.model.has_final_norm


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_pairs_are_one_input_framed_by_the_tokenizer(architecture):
    sample = sample_of(pairs=PAIRS)
    expected = np.stack([s.mean(axis=1) for s, _, _ in reference(architecture, sample)], axis=1)
    np.testing.assert_allclose(measure(architecture, sample).values, expected, rtol=1e-5, atol=1e-5)
    assert np.abs(measure(architecture, sample_of()).values - expected).max() > 0.01


@pytest.mark.parametrize("architecture", ["bert", "gpt2", "llama", "roberta"])
def test_tokens_pooling_draws_content_tokens_at_the_same_places_in_every_layer(architecture):
    expected = [(states, special) for states, _, special in reference(architecture, sample_of())]
    content = np.concatenate([states[:, ~special] for states, special in expected], axis=1)
    everything = measure(architecture, sample_of(n_samples=10_000), pooling="tokens").values
    np.testing.assert_allclose(everything, content, rtol=1e-5, atol=1e-5)
    drawn = [measure(architecture, sample_of(n_samples=20, seed=seed), pooling="tokens").values for seed in (1, 1, 2)]
    np.testing.assert_array_equal(drawn[0], drawn[1])
    assert drawn[0].shape == (N_LAYERS + 1, 20, 32) and not np.array_equal(drawn[0], drawn[2])
    distances = np.abs(drawn[0][:, :, None] - content[:, None]).max(axis=-1)
    assert (distances < 1e-4).all(axis=0).any(axis=-1).all(), "each row is one token's states through all layers"


def test_special_tokens_inside_a_text_are_no_content():
    sample = sample_of(("a [SEP] b", "[CLS] [MASK]"), n_samples=100)
    plain = measure("bert", sample_of(("a  b", " "), n_samples=100), pooling="tokens").values
    assert measure("bert", sample, pooling="tokens").values.shape[1] == plain.shape[1] == 4  # a, two spaces with b, a space


@pytest.mark.parametrize("batch_size", [1, 2, 64])
def test_batch_size_does_not_change_the_order_or_the_values(batch_size):
    one, many = measure("bert", sample_of()).values, measure("bert", sample_of(), batch_size=batch_size).values
    np.testing.assert_allclose(many, one, rtol=1e-5, atol=1e-6)
    backwards = measure("bert", sample_of(TEXTS[::-1]), batch_size=batch_size).values
    np.testing.assert_allclose(backwards[:, ::-1], one, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_long_texts_are_cut_to_what_the_positions_allow(architecture):
    sample = sample_of(("the story of the film " * 200, "Rain"))
    states = measure(architecture, sample, max_length=100_000)
    assert states.max_length == MAX_POSITIONS
    expected = np.stack([s.mean(axis=1) for s, _, _ in reference(architecture, sample, MAX_POSITIONS)], axis=1)
    np.testing.assert_allclose(states.values, expected, rtol=1e-5, atol=1e-5)
    assert measure(architecture, sample_of(pairs=PAIRS), max_length=8).max_length == 8


def test_roberta_positions_count_from_the_padding_place_even_where_the_tokenizer_names_no_limit():
    model, tokenizer = tiny_model("roberta"), tiny_tokenizer("roberta")
    tokenizer.model_max_length = 10**30
    options = {"pooling": "mean", "max_length": 512, "batch_size": 2, "dtype": "float32", "final_norm": False}
    states = states_of(
        model, tokenizer, sample_of(("story " * 500,)), structure_of(model, "tiny", "r1"), progress=lambda *_: None, **options
    )
    assert model.config.max_position_embeddings == 130 and states.max_length == 128


def test_the_convolution_of_deberta_xlarge_is_in_the_states_as_in_hugging_faces():
    model = tiny_model("deberta-v2", conv_kernel_size=3, conv_act="gelu")
    inputs = tiny_tokenizer("deberta-v2")(TEXTS[0], return_tensors="pt")
    with torch.inference_mode():
        expected = torch.stack(model(**inputs, output_hidden_states=True).hidden_states)[:, 0].mean(dim=1)
    np.testing.assert_allclose(measure("deberta-v2", sample_of(TEXTS[:1]), model).values[:, 0], expected, atol=1e-5)


def test_a_head_or_adapters_around_the_model_change_nothing_and_it_stays_as_it_was():
    model = tiny_model("llama")
    plain = measure("llama", sample_of(), model).values
    adapted = get_peft_model(model, LoraConfig(r=2, target_modules=["q_proj"]))
    adapted.train()
    structure = structure_of(tiny_model("llama"), "tiny", "r1")
    options = {"pooling": "mean", "max_length": 128, "batch_size": 4, "dtype": "float32", "final_norm": False}
    states = states_of(adapted, tiny_tokenizer("llama"), sample_of(), structure, progress=lambda *_: None, **options)
    np.testing.assert_allclose(states.values, plain, atol=1e-6)  # a fresh adapter's B is 0
    assert adapted.training and base_model_of(adapted).config.use_cache
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in find_blocks(adapted)[1])


def test_full_states_of_all_layers_are_never_kept(monkeypatch):
    alive = []
    original = forward_pass.Tap._keep

    def keep(self, index, states):
        original(self, index, states)
        alive.append(sum(p.numel() for p in self._pooled if p is not None and p.untyped_storage().nbytes() > p.nbytes))

    monkeypatch.setattr(forward_pass.Tap, "_keep", keep)
    for pooling in POOLINGS:
        measure("bert", sample_of(), pooling=pooling)
    assert alive and not any(alive), "a pooled tensor is no view of the full states"


def test_nan_in_padded_places_does_not_reach_the_mean():
    states = torch.randn(2, 3, 4)
    states[1, 1:] = torch.nan
    np.testing.assert_array_equal(masked_mean(states, torch.tensor([[1, 1, 1], [1, 0, 0]]).bool())[1], states[1, 0])


def test_half_precision_states_are_pooled_in_float32():
    states = torch.full((1, 4096, 2), 100.0, dtype=torch.float16)  # the sum is far above float16's largest number
    pooled = masked_mean(states, torch.ones(1, 4096).bool())
    assert pooled.dtype == torch.float32 and pooled.tolist() == [[100.0, 100.0]]


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_is_near_float32(dtype, tmp_path):
    folder = save_tiny_model("bert", tmp_path)
    exact, half = (extract_hidden_states(str(folder), sample_of(), dtype=d, cache=False) for d in ("float32", dtype))
    assert half.dtype == dtype and half.values.dtype == np.float32
    difference = np.abs(half.values - exact.values).max()
    assert 0 < difference < (0.1 if dtype == "bfloat16" else 0.02)


def test_states_that_are_not_finite_name_the_layer_and_the_way_out():
    model = tiny_model("gpt2")
    model.h[1].mlp.c_proj.bias.data[0] = 70_000
    with pytest.raises(DataError, match=r"block 2's output on, in float16; use dtype float32"):
        measure("gpt2", sample_of(), model.half(), dtype="float16")
    model = tiny_model("gpt2")
    model.wte.weight.data[:] = torch.nan
    with pytest.raises(DataError, match=r"the embeddings' output on, in float32; the checkpoint"):
        measure("gpt2", sample_of(), model)


def test_a_text_without_tokens_is_named_and_one_of_special_tokens_only_is_measured():
    with pytest.raises(DataError, match=r"Text 2 of the sample \(''\) has no tokens"):
        measure("gpt2", sample_of(("a", "")))
    assert measure("bert", sample_of(("a", ""))).values.shape[1] == 2  # [CLS] [SEP]
    assert measure("bert", sample_of(("a", ""), n_samples=5), pooling="tokens").values.shape[1] == 1
    with pytest.raises(DataError, match="special tokens only"):
        measure("bert", sample_of(("", "")), pooling="tokens")


def test_batches_halve_until_the_gpu_memory_holds_them():
    model, sizes = tiny_model("bert"), []
    expected = measure("bert", sample_of()).values

    def only_two(module, args, kwargs):
        sizes.append(len(kwargs["input_ids"]))
        if sizes[-1] > 2:
            raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(only_two, with_kwargs=True)
    np.testing.assert_allclose(measure("bert", sample_of(), model, batch_size=5).values, expected, atol=1e-5)
    assert sizes == [1, 1, 5, 2, 2, 2, 1]  # the first two ask whether padding matters


def test_a_model_too_large_for_a_single_text_is_one_sentence():
    model = tiny_model("bert")

    def never(module, args):
        raise torch.OutOfMemoryError("CUDA out of memory")

    model.register_forward_pre_hook(never)
    with pytest.raises(ModelError, match="free memory; choose dtype 'bfloat16'"):
        measure("bert", sample_of(), model)


def test_states_of_an_unknown_shape_are_refused():
    model = tiny_model("bert")
    model.encoder.layer[1].register_forward_hook(lambda _, __, out: out.flatten(0, 1))
    with pytest.raises(ModelError, match=r"Block 2 of BertModel has states of shape \[\d+, 32\]"):
        measure("bert", sample_of(), model)


@pytest.mark.parametrize(
    "option", [{"pooling": "max"}, {"dtype": "int8"}, {"device": "tpu"}, {"max_length": 3}, {"batch_size": 0}, {"max_length": float("nan")}]
)
def test_illegal_options_are_refused_before_anything_is_read(option):
    with pytest.raises(InputError, match=str(next(iter(option.values())))):
        extract_hidden_states("no such model is even looked for", sample_of(), **option)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
def test_cuda_without_a_gpu_is_refused_and_auto_falls_back(tmp_path):
    folder = save_tiny_model("bert", tmp_path)
    with pytest.raises(InputError, match="choose 'cpu' or 'auto'"):
        extract_hidden_states(str(folder), sample_of(), device="cuda", cache=False)
    assert len(extract_hidden_states(str(folder), sample_of(), device="auto", cache=False).layer_names) == 4


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("architecture", MEASURABLE)
def test_gpu_and_cpu_agree(architecture, tmp_path):
    folder = save_tiny_model(architecture, tmp_path)
    cpu, gpu = (extract_hidden_states(str(folder), sample_of(), device=d, cache=False).values for d in ("cpu", "cuda"))
    np.testing.assert_allclose(gpu, cpu, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_from_a_folder_as_from_memory(architecture, tmp_path):
    folder = save_tiny_model(architecture, tmp_path)
    states = extract_hidden_states(str(folder), sample_of(pairs=PAIRS), cache=False)
    np.testing.assert_allclose(states.values, measure(architecture, sample_of(pairs=PAIRS)).values, atol=1e-5)
    assert states.sample_source == sample_of(pairs=PAIRS).source


def test_the_bundled_model_places_paraphrases_near_each_other():
    texts = ("A man is playing a guitar.", "Someone plays the guitar.", "The stock market fell by ten percent.")
    vectors = extract_hidden_states("all-MiniLM-L6-v2", sample_of(texts), cache=False).values[-1]
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert unit[0] @ unit[1] > 0.7 and unit[0] @ unit[2] < 0.2


def test_the_real_llama_is_measured(shared_data):
    folder = str(shared_data / "models" / "stories260K")
    states = extract_hidden_states(folder, sample_of(("Once upon a time there was a little girl.", "The dog ran.")), cache=False)
    assert states.values.shape == (6, 2, 64) and states.model.is_decoder and states.model.has_final_norm


# --- cache


@pytest.fixture
def folder(tmp_path, gelora_home):
    return str(save_tiny_model("bert", tmp_path / "model"))


def forwards(monkeypatch):
    """Counts forward passes from now on."""
    calls = []
    original = forward_pass.Tap.__call__
    monkeypatch.setattr(forward_pass.Tap, "__call__", lambda self, *args: calls.append(1) or original(self, *args))
    return calls


def test_the_same_question_is_answered_from_disk(folder, monkeypatch):
    first = extract_hidden_states(folder, sample_of())
    calls, stages = forwards(monkeypatch), []
    again = extract_hidden_states(folder, sample_of(), batch_size=3, progress=lambda *a: stages.append(a))
    assert again == first and not calls and stages == [("Hidden states", 7, 7)]
    assert extract_hidden_states(folder, sample_of(), cache=False) == first and calls


@pytest.mark.parametrize(
    "change",
    [
        {"pooling": "cls"},
        {"max_length": 64},
        {"dtype": "bfloat16"},
        {"final_norm": True},
        {"sample": sample_of((*TEXTS[:-1], "another"))},
        {"sample": sample_of(TEXTS[::-1])},
        {"sample": sample_of(pairs=PAIRS)},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_matters_is_computed_anew(folder, monkeypatch, change):
    extract_hidden_states(folder, sample_of())
    calls = forwards(monkeypatch)
    extract_hidden_states(folder, **({"sample": sample_of()} | change))
    assert calls


def test_the_draw_matters_for_tokens_and_the_weights_for_all(folder, monkeypatch, tmp_path):
    extract_hidden_states(folder, sample_of(n_samples=5), pooling="tokens")
    calls = forwards(monkeypatch)
    for source in ({"n_samples": 6}, {"n_samples": 5, "seed": 1}):
        extract_hidden_states(folder, sample_of(**source), pooling="tokens")
    assert len(calls) == 2 * 3  # two of three ask whether padding matters
    extract_hidden_states(folder, sample_of())
    save_tiny_model("bert", tmp_path / "model", seed=1)
    assert not np.array_equal(extract_hidden_states(folder, sample_of()).values, measure("bert", sample_of()).values)


def cached_files():
    return sorted(cache_dir("hidden_states").glob("*"))


def test_a_damaged_file_is_computed_again(folder, monkeypatch, caplog):
    first = extract_hidden_states(folder, sample_of())
    (path,) = cached_files()
    whole = path.read_bytes()
    flipped = bytearray(whole)
    flipped[len(whole) // 3] ^= 0xFF
    strange = io.BytesIO()
    with zipfile.ZipFile(strange, "w") as archive:
        for name in ("values.npy", "tokens.npy", "about.npy"):
            archive.writestr(name, b"no array")
    for damaged in (b"", whole[: len(whole) // 2], bytes(flipped), b"not a zip file", strange.getvalue()):
        path.write_bytes(damaged)
        caplog.clear()
        assert extract_hidden_states(folder, sample_of()) == first
        assert "computed again" in caplog.text
        assert path.read_bytes() == whole


def test_a_full_disk_loses_no_result(folder, monkeypatch, caplog):
    def full(*_):
        raise StoreError("Cannot write: No space left on device.") from OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(state_cache, "write_atomically", full)
    with caplog.at_level(logging.WARNING):
        states = extract_hidden_states(folder, sample_of())
    assert len(states.values) == 4 and "not kept" in caplog.text and "No space left" in caplog.text


def test_the_cache_is_bounded_and_the_least_recently_used_goes_first(folder, monkeypatch):
    samples = [sample_of(TEXTS[:n]) for n in (7, 6, 5)]
    extract_hidden_states(folder, samples[0])
    oldest = cached_files()
    os.utime(oldest[0], (1, 1))
    extract_hidden_states(folder, samples[1])
    middle = [f for f in cached_files() if f not in oldest]
    os.utime(middle[0], (2, 2))
    extract_hidden_states(folder, samples[0])  # used, so no longer the oldest
    monkeypatch.setattr(state_cache, "CACHE_BYTES", sum(f.stat().st_size for f in cached_files()) + 100)
    abandoned, fresh = (cache_dir("hidden_states") / name for name in (".a.npz.tmp", ".b.npz.tmp"))
    for file in (abandoned, fresh):
        file.write_bytes(b"x")
    os.utime(abandoned, (time.time() - 7200,) * 2)
    extract_hidden_states(folder, samples[2])
    assert oldest[0].exists() and not middle[0].exists() and len(cached_files()) == 3
    assert fresh.exists() and not abandoned.exists()


def test_what_is_larger_than_the_cache_is_not_kept(folder, monkeypatch, caplog):
    monkeypatch.setattr(state_cache, "CACHE_BYTES", 100)
    extract_hidden_states(folder, sample_of())
    assert not cached_files() and "the cache holds" in caplog.text


def test_progress_counts_texts_and_cancelling_leaves_nothing_behind(folder):
    calls = []
    extract_hidden_states(folder, sample_of(), batch_size=3, cache=False, progress=lambda *call: calls.append(call))
    assert calls == [("Reading the model", 0, 7), *(("Hidden states", done, 7) for done in (0, 3, 6, 7))]

    def cancel(stage, done, total):
        if done == 3:
            raise Cancelled("stopped")

    with pytest.raises(Cancelled):
        extract_hidden_states(folder, sample_of(), batch_size=3, progress=cancel)
    assert not cached_files()


# --- drawing tokens


def test_drawing_is_without_repetition_even_and_exact():
    content = [np.array(mask, dtype=bool) for mask in ([0, 1, 1, 0], [0, 0], [1] * 6, [0, 1])]
    everything = draw_tokens(content, 9, seed=0)
    assert [p.tolist() for p in everything] == [[1, 2], [], [0, 1, 2, 3, 4, 5], [1]]
    assert [p.tolist() for p in draw_tokens(content, 100, seed=0)] == [p.tolist() for p in everything]
    counts = np.zeros((4, 6))
    for seed in range(2000):
        drawn = draw_tokens(content, 3, seed)
        assert sum(map(len, drawn)) == 3
        for text, positions in enumerate(drawn):
            counts[text, positions] += 1
    hit = counts[counts > 0]
    # Each of 9 tokens is drawn 2000 / 3 times; five standard deviations of that binomial count are 105.
    assert len(hit) == 9 and np.abs(hit - 2000 / 3).max() < 105
