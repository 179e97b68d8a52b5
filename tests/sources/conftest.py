"""A small stand-in for the hub on this machine, and data files, for tests of the catalog and of samples."""

import hashlib
import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

COMMIT = "c0ffee" + "0" * 34


class FakeHub:
    """Serves the folders that are put into `repositories` by (kind, id); counts the requests."""

    def __init__(self) -> None:
        self.repositories: dict[tuple[str, str], Path] = {}
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}  # repository id -> status, headers, body of any request
        self.requests: list[str] = []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *_: object) -> None:
                pass

            def do_HEAD(self) -> None:
                self._reply()

            def do_GET(self) -> None:
                self._reply()

            def do_POST(self) -> None:
                self._reply(self.rfile.read(int(self.headers.get("Content-Length", 0))))

            def _reply(self, sent: bytes = b"") -> None:
                status, headers, body = hub.reply(self.path, sent)
                self.send_response(status)
                for name, value in {"Content-Length": str(len(body)), **headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(body)

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    def reply(self, target: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        path = unquote(urlsplit(target).path)
        self.requests.append(path)
        for repo_id, answer in self.answers.items():
            if f"/{repo_id}" in path:
                return answer
        for (kind, repo_id), folder in self.repositories.items():
            plain = f"/{repo_id}/resolve/" if kind == "model" else f"/datasets/{repo_id}/resolve/"
            api = f"/api/{kind}s/{repo_id}"
            if path.startswith(plain):
                return self._file(folder, path.removeprefix(plain).partition("/")[2])
            if path == api or path.startswith(f"{api}/"):
                return self._about(repo_id, folder, path.removeprefix(api), sent)
        return 404, {"X-Error-Code": "RepoNotFound"}, b"{}"

    def _file(self, folder: Path, name: str) -> tuple[int, dict[str, str], bytes]:
        if not (folder / name).is_file():
            return 404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": COMMIT}, b""
        content = (folder / name).read_bytes()
        return 200, {"ETag": f'"{hashlib.sha1(content).hexdigest()}"', "X-Repo-Commit": COMMIT}, content

    def _about(self, repo_id: str, folder: Path, rest: str, sent: bytes) -> tuple[int, dict[str, str], bytes]:
        names = sorted(str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file())
        entries = [
            {
                "type": "file",
                "path": name,
                "size": (folder / name).stat().st_size,
                "oid": hashlib.sha1((folder / name).read_bytes()).hexdigest(),
            }
            for name in names
        ]
        if rest.startswith("/tree/"):
            inside = rest.removeprefix("/tree/").partition("/")[2]
            found: object = [entry for entry in entries if str(entry["path"]).startswith(inside)]
        elif rest.startswith("/paths-info/"):
            wanted = json.loads(sent)["paths"]
            found = [entry for entry in entries if entry["path"] in wanted]
        elif rest == "" or rest.startswith("/revision/"):
            found = {"id": repo_id, "sha": COMMIT, "siblings": [{"rfilename": name} for name in names], "private": False, "gated": False}
        else:
            return 404, {"X-Error-Code": "EntryNotFound"}, b"{}"
        return 200, {"Content-Type": "application/json"}, json.dumps(found).encode()


@pytest.fixture
def fake_hub(tmp_path, monkeypatch):
    """The stand-in, switched on for this process: no offline mode, an empty cache, its address as HF_ENDPOINT."""
    from huggingface_hub import constants

    hub = FakeHub()
    for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_ENDPOINT", hub.url)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield hub
    hub.server.shutdown()
    hub.server.server_close()
