"""The tiny models that other tests stand on: they load offline as hub models do, and the same seed gives the same one."""

import pytest
import torch
from tiny_models import ARCHITECTURES, EXTRA_ARCHITECTURES, MAX_POSITIONS, save_as_hub_cache, save_tiny_model, tiny_model
from transformers import AutoModel, AutoTokenizer


@pytest.mark.parametrize("architecture", ARCHITECTURES + EXTRA_ARCHITECTURES)
def test_saved_model_and_tokenizer_load_offline_without_missing_weights(architecture, tmp_path):
    folder = save_tiny_model(architecture, tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model, report = AutoModel.from_pretrained(folder, output_loading_info=True)
    assert not report["missing_keys"] and not report["unexpected_keys"]
    text = "Zürich is a place, the \t sun 12.5% ☀ there"
    ids = tokenizer(text)["input_ids"]
    assert max(ids) < model.config.vocab_size and tokenizer.decode(ids, skip_special_tokens=True) == text
    assert tokenizer.model_max_length == MAX_POSITIONS
    if tokenizer.pad_token_id is not None:
        assert tokenizer.pad_token_id == model.config.pad_token_id
    long = tokenizer(text * 20, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        assert model(**long).last_hidden_state.shape == (1, MAX_POSITIONS, model.config.hidden_size)


def test_a_seed_gives_the_same_weights_and_leaves_the_global_generator_alone():
    before = torch.get_rng_state()
    first, again, other = (tiny_model("bert", seed).state_dict() for seed in (0, 0, 1))
    assert torch.equal(torch.get_rng_state(), before)
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["encoder.layer.0.output.dense.weight"], other["encoder.layer.0.output.dense.weight"])


def test_hub_cache_layout_is_what_the_hub_library_finds(tmp_path):
    from huggingface_hub import snapshot_download

    snapshot = save_as_hub_cache("deberta-v2", "someone/tiny-deberta", tmp_path)
    found = snapshot_download("someone/tiny-deberta", cache_dir=tmp_path, local_files_only=True)
    assert found == str(snapshot) and (snapshot / "model.safetensors").is_file()
