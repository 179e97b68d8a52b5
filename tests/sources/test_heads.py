"""A base checkpoint gets its head: seeded, of the right size, and it is known which weights are random."""

import pytest
import torch
from tiny_models import save_tiny_model
from transformers import AutoModel, AutoModelForCausalLM, AutoModelForSequenceClassification

from gelora.errors import InputError, ModelError
from gelora.sources import find_model, load_causal_lm, load_classifier, load_question_answerer, load_tokenizer, longest_input

NAMES = ("no", "maybe", "yes")


@pytest.fixture(autouse=True)
def generator_as_it_was():
    with torch.random.fork_rng(devices=[]):
        yield


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    root = tmp_path_factory.mktemp("models")
    return {name: save_tiny_model(name, root / name) for name in ("bert", "llama", "gpt2")}


def classifier(folder, names=NAMES, seed=0):
    entry = find_model(str(folder))
    return load_classifier(entry, load_tokenizer(entry), names, seed)


def test_the_body_is_the_checkpoint_s_and_the_head_is_named_as_random(folders):
    headed = classifier(folders["bert"])
    assert headed.missing_keys == headed.random_keys == ("classifier.bias", "classifier.weight")
    assert headed.mismatched_keys == ()
    saved = AutoModel.from_pretrained(folders["bert"]).state_dict()
    loaded = headed.model.bert.state_dict()
    assert saved.keys() == loaded.keys()
    assert all(torch.equal(saved[name], loaded[name]) for name in saved)
    assert headed.model.config.id2label == dict(enumerate(NAMES))


def test_the_seed_makes_the_head_and_what_is_drawn_after_it(folders):
    heads, next_draws = [], []
    for seed in (3, 3, 4):
        heads.append(classifier(folders["bert"], seed=seed).model.classifier.weight)
        next_draws.append(torch.rand(4))
    assert torch.equal(heads[0], heads[1])
    assert torch.equal(next_draws[0], next_draws[1])
    assert not torch.equal(heads[0], heads[2])
    assert not torch.equal(next_draws[0], next_draws[2])


def test_regression_has_one_output(folders):
    headed = classifier(folders["bert"], None)
    assert headed.model.classifier.weight.shape == (1, 32)
    assert headed.model.config.problem_type == "regression"


def test_a_head_of_another_size_is_drawn_anew_and_said(folders, tmp_path):
    tuned = AutoModelForSequenceClassification.from_pretrained(folders["bert"], num_labels=2)
    tuned.save_pretrained(tmp_path / "tuned")
    load_tokenizer(find_model(str(folders["bert"]))).save_pretrained(tmp_path / "tuned")
    other = classifier(tmp_path / "tuned")
    assert other.mismatched_keys == other.random_keys == ("classifier.bias", "classifier.weight")
    same = classifier(tmp_path / "tuned", ("no", "yes"))
    assert same.random_keys == ()
    assert torch.equal(same.model.classifier.weight, tuned.classifier.weight)


def test_a_decoder_is_told_its_padding_token_and_keeps_no_key_value_cache(folders):
    headed = classifier(folders["llama"])
    tokenizer = load_tokenizer(find_model(str(folders["llama"])))
    assert headed.model.config.pad_token_id == tokenizer.pad_token_id is not None
    assert headed.model.config.use_cache is False


def test_a_tokenizer_that_cannot_pad_is_one_sentence(folders):
    entry = find_model(str(folders["bert"]))
    tokenizer = load_tokenizer(entry)
    tokenizer.pad_token = None
    with pytest.raises(ModelError, match="no padding token"):
        load_classifier(entry, tokenizer, NAMES, 0)


def test_damaged_weights_are_one_sentence(tmp_path):
    folder = save_tiny_model("bert", tmp_path / "bert")
    (folder / "model.safetensors").write_bytes(b"no weights")
    for load in (lambda: classifier(folder), lambda: load_causal_lm(find_model(str(folder)), 0)):
        with pytest.raises(InputError, match=r"The weights of .* are damaged"):
            load()


def test_a_language_model_without_a_head_gets_a_seeded_one(folders):
    entry = find_model(str(folders["llama"]))
    first, second, other = (load_causal_lm(entry, seed) for seed in (1, 1, 2))
    assert first.random_keys == ("lm_head.weight",)
    assert torch.equal(first.model.lm_head.weight, second.model.lm_head.weight)
    assert not torch.equal(first.model.lm_head.weight, other.model.lm_head.weight)
    assert first.model.config.use_cache is False


def test_a_language_model_that_has_its_head_keeps_it(folders, tmp_path):
    saved = AutoModelForCausalLM.from_pretrained(folders["llama"])
    saved.save_pretrained(tmp_path / "whole")
    headed = load_causal_lm(find_model(str(tmp_path / "whole")), 5)
    assert headed.random_keys == ()
    assert torch.equal(headed.model.lm_head.weight, saved.lm_head.weight)
    tied = load_causal_lm(find_model(str(folders["gpt2"])), 5)  # its head is the table of embeddings
    assert tied.random_keys == ()
    assert torch.equal(tied.model.lm_head.weight, tied.model.transformer.wte.weight)


def test_the_input_is_as_long_as_wanted_or_as_model_and_tokenizer_can_hold(folders):
    entry = find_model(str(folders["bert"]))
    tokenizer, config = load_tokenizer(entry), AutoModel.from_pretrained(folders["bert"]).config
    assert longest_input(16, tokenizer, config) == 16
    assert longest_input(1000, tokenizer, config) == 128
    tokenizer.model_max_length = 40
    assert longest_input(1000, tokenizer, config) == 40
    tokenizer.model_max_length = 10**30  # what a tokenizer says that knows no limit
    assert longest_input(1000, tokenizer, config) == 128


def test_a_question_answerer_has_two_outputs_a_token_and_a_seeded_head(folders):
    entry = find_model(str(folders["bert"]))
    tokenizer = load_tokenizer(entry)
    first, second, other = (load_question_answerer(entry, tokenizer, seed) for seed in (1, 1, 2))
    assert first.random_keys == ("qa_outputs.bias", "qa_outputs.weight")
    assert first.model.qa_outputs.weight.shape == (2, 32)
    assert torch.equal(first.model.qa_outputs.weight, second.model.qa_outputs.weight)
    assert not torch.equal(first.model.qa_outputs.weight, other.model.qa_outputs.weight)
    tokenizer.pad_token = None
    with pytest.raises(ModelError, match="no padding token"):
        load_question_answerer(entry, tokenizer, 0)


@pytest.mark.parametrize("load", [load_classifier, load_question_answerer, load_causal_lm])
def test_blocks_that_the_checkpoint_lacks_are_no_random_numbers(folders, tmp_path, load):
    import shutil

    from safetensors.torch import load_file, save_file

    name = "llama" if load is load_causal_lm else "bert"
    folder = tmp_path / name
    shutil.copytree(folders[name], folder)
    weights = load_file(folder / "model.safetensors")
    gone = next(key for key in weights if "layers.1." in key or "layer.1." in key)
    save_file({key: value for key, value in weights.items() if key != gone}, folder / "model.safetensors", metadata={"format": "pt"})
    entry = find_model(str(folder))
    arguments = {
        load_classifier: (load_tokenizer(entry), NAMES, 0),
        load_question_answerer: (load_tokenizer(entry), 0),
        load_causal_lm: (0,),
    }
    with pytest.raises(ModelError, match=r"do not fit .*: 1 of the model itself are missing or have another size, such as .*1\."):
        load(entry, *arguments[load])


def test_positions_that_are_kept_for_padding_are_no_room_for_text(tmp_path):
    entry = find_model(str(save_tiny_model("roberta", tmp_path / "roberta")))
    tokenizer = load_tokenizer(entry)
    tokenizer.model_max_length = 10**30
    model = load_classifier(entry, tokenizer, NAMES, 0).model
    assert longest_input(1000, tokenizer, model.config) == 130
    assert longest_input(1000, tokenizer, model.config, model) == 128
