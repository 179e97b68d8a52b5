"""What is on this machine already is told from what must be fetched, without any network."""

import pytest
from tiny_models import save_tiny_model

from gelora.records import DataChoice
from gelora.sources import at_hand, data_at_hand, docstrings, hub_facts, load_sample, model_at_hand, models_fetched, states_kept


@pytest.fixture(autouse=True)
def no_network(monkeypatch, tmp_path):
    monkeypatch.setattr("gelora.sources.hub._within", lambda *_: pytest.fail("asked the network"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    monkeypatch.setenv("GELORA_HOME", str(tmp_path / "home"))


def in_hub_cache(tmp_path, model_id: str, revision: str = "abc123"):
    folder = tmp_path / "hub" / f"models--{model_id.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text(revision)
    snapshot = folder / "snapshots" / revision
    snapshot.mkdir(parents=True)
    return snapshot


def test_the_bundled_model_is_here_with_size_and_licence():
    entry = model_at_hand("all-MiniLM-L6-v2")
    assert (entry.origin, entry.size_bytes, entry.licence) == ("bundled", 90_868_376, "Apache-2.0")


def test_a_local_folder_is_here_when_it_has_weights(tmp_path):
    folder = save_tiny_model("bert", tmp_path / "model")
    entry = model_at_hand(str(folder))
    assert entry.origin == "local" and entry.size_bytes == (folder / "model.safetensors").stat().st_size
    (folder / "model.safetensors").unlink()
    assert model_at_hand(str(folder)) is None


def test_a_hub_model_is_here_when_its_weights_are(tmp_path):
    assert model_at_hand("someone/model") is None
    snapshot = in_hub_cache(tmp_path, "someone/model")
    (snapshot / "config.json").write_text("{}")
    assert model_at_hand("someone/model") is None and models_fetched() == ()
    (snapshot / "model.safetensors").write_bytes(b"12345")
    entry = model_at_hand("someone/model")
    assert (entry.origin, entry.revision, entry.size_bytes) == ("hub", "abc123", 5)
    assert models_fetched() == ("someone/model",)


def test_a_damaged_index_is_no_model(tmp_path):
    snapshot = in_hub_cache(tmp_path, "someone/model")
    (snapshot / "config.json").write_text("{}")
    (snapshot / "model-1.safetensors").write_bytes(b"12345")
    (snapshot / "model.safetensors.index.json").write_text("no json")
    assert model_at_hand("someone/model") is None


def test_data_are_here_as_a_file_or_prepared_or_scanned(tmp_path, monkeypatch):
    file = tmp_path / "rows.jsonl"
    assert not data_at_hand(DataChoice(str(file)))
    file.write_text('{"text": "a"}\n')
    assert data_at_hand(DataChoice(str(file)))
    assert not data_at_hand(DataChoice("owner/set"))
    (tmp_path / "datasets" / "owner___set").mkdir(parents=True)
    assert data_at_hand(DataChoice("owner/set"))
    assert not data_at_hand(DataChoice("docstrings"))
    kept = docstrings._path(docstrings._identity()[1])
    kept.parent.mkdir(parents=True)
    kept.write_text("{}")
    assert data_at_hand(DataChoice("docstrings"))


def test_states_are_kept_once_they_were_extracted(tmp_path):
    from gelora.sources import extract_hidden_states

    folder = save_tiny_model("bert", tmp_path / "model")
    file = tmp_path / "rows.jsonl"
    file.write_text("".join(f'{{"text": "the river and the stone number {i}"}}\n' for i in range(30)))
    sample = load_sample(DataChoice(str(file)), 20, 0)
    assert states_kept(str(folder), sample, pooling="mean", max_length=16) is None
    states = extract_hidden_states(str(folder), sample, pooling="mean", max_length=16)
    assert states_kept(str(folder), sample, pooling="mean", max_length=16) > states.values.nbytes
    assert states_kept(str(folder), sample, pooling="cls", max_length=16) is None


def test_the_hubs_facts_are_size_of_the_weights_and_licence(monkeypatch):
    class File:
        def __init__(self, rfilename, size):
            self.rfilename, self.size = rfilename, size

    class Info:
        siblings = (
            File("model.safetensors", 100),
            File("pytorch_model.bin", 90),
            File("onnx/model.safetensors", 80),
            File("config.json", 1),
        )
        tags = ("license:mit", "bert")

    monkeypatch.setattr(at_hand.hub, "ask_hub", lambda repo_id, kind, with_sizes: Info)
    assert hub_facts("someone/model", "model") == at_hand.HubFacts(100, "mit")
    assert hub_facts("someone/set", "dataset") == at_hand.HubFacts(271, "mit")
