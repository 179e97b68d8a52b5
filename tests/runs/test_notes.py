"""Name, notes and tags of a run: kept, looked for, said, and never in the way of the run."""

import json

import pytest
from made_runs import write_run

from gelora.cli import main
from gelora.errors import InputError, RunError, StoreError
from gelora.home import runs_dir
from gelora.runs import RunNotes, delete_run, list_runs, run_info, set_notes


@pytest.fixture
def run_id(gelora_home):
    return write_run(runs_dir(), "20260101-000000-tiny-a").name


def test_they_are_kept_and_taken_away(run_id):
    assert run_info(run_id).notes == RunNotes()
    notes = RunNotes("first try", "line one\nline two, é\U0001f600", ("baseline", "for the paper"))
    set_notes(run_id, notes)
    assert run_info(run_id).notes == notes and [info.notes for info in list_runs()] == [notes]
    set_notes(run_id, RunNotes())
    assert not any(run_info(run_id).notes.words)
    delete_run(run_id)
    with pytest.raises(RunError):
        set_notes(run_id, notes)


def test_tags_as_a_person_writes_them():
    assert RunNotes("a").with_tags(" x , y,,x ") == RunNotes("a", "", ("x", "y"))
    assert RunNotes("a", "", ("x",)).with_tags("").tags == ()


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": "a\nb"}, "one line"),
        ({"name": "a" * 121}, "120 characters; these are 121"),
        ({"text": "a" * 20_001}, "20,000 characters"),
        ({"tags": ("a,b",)}, "is no tag"),
        ({"tags": (" ",)}, "is no tag"),
        ({"tags": tuple(map(str, range(21)))}, "20 tags"),
    ],
)
def test_what_is_no_name_or_tag_is_a_sentence(given, says):
    with pytest.raises(InputError, match=says):
        RunNotes(**given)


@pytest.mark.parametrize("content", ["{", "[]", '{"name": 3}', '{"tags": "abc"}', '{"name": "a\\nb"}', "\x00"])
def test_damaged_notes_say_so_and_the_run_stands(run_id, content):
    (runs_dir() / run_id / "notes.json").write_text(content)
    (info,) = list_runs()
    assert info.state.status == "finished" and info.spec is not None
    assert info.notes.text.startswith("The notes cannot be read: notes.json is damaged")
    set_notes(run_id, RunNotes("mended"))
    assert run_info(run_id).notes == RunNotes("mended")


def test_a_folder_in_their_place_is_said_too(run_id):
    (runs_dir() / run_id / "notes.json").mkdir()
    assert "cannot be read" in run_info(run_id).notes.text
    with pytest.raises(StoreError):
        set_notes(run_id, RunNotes("name"))


def test_the_command_gives_shows_and_lists_them(run_id, capsys):
    assert main(["runs", run_id, "--name", "first try", "--tags", "baseline, x"]) == 0
    assert "first try. baseline, x" in capsys.readouterr().out
    assert main(["runs", run_id, "--notes", "it diverged", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["name"], answer["notes"], answer["tags"]) == ("first try", "it diverged", ["baseline", "x"])
    assert main(["runs"]) == 0
    said = capsys.readouterr().out
    assert "name" in said and "first try" in said
    assert main(["runs", "--csv", "-"]) == 0
    assert "first try,it diverged" in capsys.readouterr().out
    assert main(["runs", run_id, "--name", ""]) == 0
    assert run_info(run_id).notes == RunNotes("", "it diverged", ("baseline", "x"))
    assert main(["runs", "--name", "all"]) == 2 and "need the id of a run" in capsys.readouterr().err
