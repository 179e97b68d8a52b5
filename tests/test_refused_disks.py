"""A disk that refuses (read-only, full, not ours, failing) is named as what it is, never as a damaged file; what is on it is shown."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest
from made_runs import write_run

from gelora.errors import ModelError, StoreError
from gelora.home import reason_of, runs_dir, write_atomically
from gelora.measurements.store import ResultStore
from gelora.records import DataChoice
from gelora.runs import history, list_runs, log_tail, run_info
from gelora.sources import find_model, load_tokenizer

RUN = "20260301-100000-tiny-a"
READ_ONLY = 'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"'
LOOK = f"""
from streamlit.testing.v1 import AppTest
from gelora.cli import main
from gelora.measurements.store import ResultStore
from gelora.records import DataChoice
from gelora.runs import history, log_tail

assert main(["runs"]) == 0 and main(["runs", {RUN!r}]) == 0
assert history({RUN!r}) == {{"loss": [(1, 0.5)]}} and log_tail({RUN!r}) == "hello"
store = ResultStore("profiles", DataChoice, lambda old, new: new)
store.add("key", DataChoice("rows.csv"))
assert store.find("key") == DataChoice("rows.csv")
for page in ("runs", "home"):
    app = AppTest.from_file("app/main.py", default_timeout=300)
    app.query_params["page"] = page
    app.run()
    assert not app.exception and not app.error, [*app.exception, *app.error]
    if page == "runs":
        assert {RUN!r} in list(app.dataframe[0].value["run"])
"""


def test_a_read_only_home_shows_its_runs_and_pages(gelora_home):
    folder = write_run(runs_dir(), RUN, method="head")
    (folder / "metrics.jsonl").write_text('{"step": 1, "loss": 0.5}\n')
    (folder / "log.txt").write_text("hello\n")
    apart = ["unshare", "--map-root-user", "--mount", "sh", "-c", READ_ONLY, str(gelora_home)]
    if subprocess.run([*apart, "true"], capture_output=True, check=False).returncode:
        pytest.skip("a folder cannot be mounted read-only here (it takes Linux and user namespaces, or root)")
    looked = subprocess.run(
        [*apart, sys.executable, "-c", LOOK], capture_output=True, text=True, cwd=Path(__file__).parents[1], check=False
    )
    assert looked.returncode == 0, looked.stderr
    assert RUN in looked.stdout and sorted(path.name for path in gelora_home.iterdir()) == ["runs"]


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.ENOSPC, "free some space"),
        (errno.EROFS, "mount the disk writable"),
        (errno.EACCES, "whose it is"),
        (errno.EIO, "may be failing"),
        (errno.ENOTDIR, "is there and can be used"),
    ],
)
def test_what_is_refused_is_named_with_its_advice(gelora_home, monkeypatch, number, advice):
    folder = write_run(runs_dir(), RUN, method="head")
    refused = OSError(number, os.strerror(number))

    def refuse(*_args, **_options):
        raise refused

    assert advice in reason_of(refused)
    for method in ("read_bytes", "open", "read_text"):
        monkeypatch.setattr(Path, method, refuse)
    reason = run_info(RUN).state.reason
    assert advice in reason and "damaged" not in reason and len(list_runs()) == 1
    with pytest.raises(StoreError, match=advice):
        log_tail(RUN)
    with pytest.raises(StoreError, match=advice):
        history(RUN)
    monkeypatch.setattr("tempfile.mkstemp", refuse)
    with pytest.raises(StoreError, match=advice):
        write_atomically(folder / "state.json", b"")


def test_a_kept_measurement_that_cannot_be_read_now_is_not_thrown_away(gelora_home, monkeypatch, caplog):
    store = ResultStore("profiles", DataChoice, lambda old, new: new)
    store.add("key", DataChoice("rows.csv"))

    def refuse(*_args, **_options):
        raise PermissionError(errno.EACCES, "Permission denied")

    fresh = ResultStore("profiles", DataChoice, lambda old, new: new)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "read_text", refuse)
        assert fresh.find("key") is None and "damaged" not in caplog.text
    assert fresh.find("key") == DataChoice("rows.csv")


def test_a_missing_package_is_no_damaged_model(monkeypatch):
    def lacks(*_args, **_options):
        raise ImportError("LlamaTokenizer requires the SentencePiece library but it was not found in your environment.")

    monkeypatch.setattr("transformers.AutoTokenizer.from_pretrained", lacks)
    with pytest.raises(ModelError, match=r"SentencePiece library.*Install what is missing"):
        load_tokenizer(find_model("all-MiniLM-L6-v2"))
