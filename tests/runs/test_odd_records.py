"""One odd record is one row that says so: every field of every small record, with every wrong value, beside runs that stand."""

import dataclasses
import json

import pytest

from gelora.cli import main
from gelora.errors import StoreError
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import delete_run, examples, geometry, list_runs, provenance
from gelora.runs.process import queue
from gelora.runs.records.record_file import Launch, ProcessExit, StopRequest
from gelora.runs.records.state import RunState, create_folder, write_state

SPEC = RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"))
ODD = [
    None, True, 7, -1, 0.5, 10**400, 1e308, "text", "", "12", "2026-11-29", "2026-11-29T10:00:00",
    "9999-12-31T23:59:59-23:59", "\ud800", [], [1], {}, {"a": 1},
    {"loss": None}, {"loss": "x"}, {"loss": [1]},
]  # fmt: skip
RAW = [
    b"", b"{", b"null", b"[]", b"3", b"\xff\xfe", b"[" * 100_000, b'{"a":' * 100_000, b'{"step": NaN}', b'{"step": 1e999}', 
    b'{"metrics": {"loss": 1e999}}',     b'{"status": "failed", "reason": "\\ud800"}',
]  # fmt: skip
FILES = {
    "state.json": RunState,
    "launch.json": Launch,
    "stop.json": StopRequest,
    "exit.json": ProcessExit,
    "last_words.json": None,
    "spec.json": None,
}


@pytest.fixture
def good(gelora_home):
    folder = create_folder(SPEC, Launch(started_at="2026-01-01T00:00:00+00:00"))
    write_state(folder, RunState(status="finished", step=3, metrics={"loss": 0.5}))
    return folder


@pytest.fixture
def odd(good, monkeypatch):
    monkeypatch.setattr("gelora.runs.process.status._EXIT_SECONDS", 0.0)  # how long the starter may take to say how it ended
    monkeypatch.setattr("gelora.runs.process.status._ORPHAN_SECONDS", 0.0)
    monkeypatch.setattr("gelora.runs.process.processes.of_run", lambda run_id: [])
    folder = create_folder(SPEC, Launch())
    write_state(folder, RunState(status="running", step=3))
    return folder


def rows(good, odd):
    """What the list says of both; the good one is as ever."""
    found = {info.id: info for info in list_runs()}
    assert set(found) == {good.name, odd.name}
    assert (found[good.name].state.status, found[good.name].state.metrics) == ("finished", {"loss": 0.5})
    assert found[odd.name].state.status in ("queued", "running", "finished", "failed", "stopped")
    return found[odd.name].state


@pytest.mark.parametrize("name", [name for name, kind in FILES.items() if kind])
def test_a_field_of_another_kind_is_one_row_that_says_so(good, odd, name):
    usual = (odd / name).read_bytes() if (odd / name).exists() else None
    for field in dataclasses.fields(FILES[name]):
        for value in ODD:
            before = json.loads(usual) if usual else {}
            (odd / name).write_text(json.dumps(before | {field.name: value}))
            state = rows(good, odd)
            assert isinstance(state.metrics, dict)
            assert state.reason is None or isinstance(state.reason, str)
            write_state(odd, RunState(status="running", step=3))
    (odd / name).unlink(missing_ok=True)


@pytest.mark.parametrize("name", FILES)
def test_a_file_of_other_content_is_one_row_that_says_so(good, odd, name):
    for content in RAW:
        (odd / name).write_bytes(content)
        state = rows(good, odd)
        if name in ("state.json", "launch.json"):
            assert (state.status, "is damaged (" in state.reason) == ("failed", True), content[:20]
        write_state(odd, RunState(status="running", step=3))


@pytest.mark.parametrize(
    "changes",
    [{"dimensions": [1.0]}, {"intervals": [[1.0], [1.0, 2.0]]}, {"intervals": ["", None]}, {"layer_names": [1, 2]}, {"wanted": [1]},
     {"dimensions": ["x", None]}, {"step": "x"}, {"estimator": ["twonn"]}, {"note": {}}],
    ids=str,
)  # fmt: skip
def test_a_line_of_geometry_that_is_no_measurement_is_left_out(good, changes):
    line = {"step": 3, "estimator": "twonn", "layer_names": ["a", "b"], "dimensions": [1.0, None], "intervals": [[0.5, 1.5], None]}
    (good / "geometry.jsonl").write_text(
        "\n".join(json.dumps(found) for found in (line, line | {"step": 4} | changes)) + "\n" + "[" * 100_000
    )
    assert [found.step for found in geometry(good.name)] == [3]


@pytest.mark.parametrize(
    ("read", "name", "content"),
    [(examples, "examples.json", {"step": 1, "rows": [{"given": 1}]}), (examples, "examples.json", {"rows": 3}),
     (provenance, "provenance.json", {"command": [1]}), (provenance, "provenance.json", {"torch": "\ud800"})],
)  # fmt: skip
def test_what_else_is_read_of_a_run_is_checked(good, read, name, content):
    (good / name).write_text(json.dumps(content))
    with pytest.raises(StoreError, match=f"{name} is damaged"):
        read(good.name)


def test_the_command_line_lists_the_others(good, odd, capsys):
    (odd / "state.json").write_text('{"status": "running", "metrics": {"loss": null}, "pid": "12"}')
    assert main(["runs"]) == 0
    said = capsys.readouterr().out
    assert good.name in said
    assert odd.name in said


def test_a_time_without_a_zone_is_utc(good, odd):
    (odd / "state.json").write_text('{"status": "finished", "ended_at": "2026-11-29T10:00:00", "heartbeat_at": "2026-11-29T10:00:00"}')
    assert rows(good, odd).ended_at == "2026-11-29T10:00:00+00:00"


def test_a_run_that_is_a_symbolic_link_is_deleted_as_one_and_blocks_no_later_deletion(good, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    good.rename(elsewhere)
    good.symlink_to(elsewhere, target_is_directory=True)
    delete_run(good.name)
    assert (elsewhere / "spec.json").is_file()
    other = create_folder(SPEC)
    write_state(other, RunState(status="finished"))
    (other.parent / ".deleted-a-link").symlink_to(elsewhere, target_is_directory=True)
    (other.parent / ".deleted-cut-short").mkdir()
    delete_run(other.name)
    assert [path.name for path in other.parent.iterdir() if path.name.startswith(".deleted")] == []
    assert (elsewhere / "spec.json").is_file()
    assert list_runs() == []


def test_an_odd_ticket_is_no_place_in_the_queue(gelora_home):
    mine = queue.take("a-run", "cpu", 1)
    folder = gelora_home / "runs" / ".queue"
    for field in dataclasses.fields(queue.Ticket):
        for value in ODD:
            (folder / "odd.json").write_text(json.dumps(dataclasses.asdict(mine) | {"run_id": "odd", "pid": 2**22 + 1, field.name: value}))
            assert mine in queue._tickets(folder)
    for content in RAW:
        (folder / "odd.json").write_bytes(content)
        assert queue._tickets(folder) == [mine]
    queue.drop("a-run")
