"""The short form of each kind of the campaign (benchmarks/faults): a few tries, and the journal from which it goes on."""

import json
import random
import subprocess

import pytest

from benchmarks.faults import campaign, deletions, disks, kills, many_runs, odd, pickles, small_runs
from benchmarks.faults.attempt import Fault, Kind, Try
from benchmarks.faults.kinds import kind_named
from gelora.errors import InputError


@pytest.fixture(scope="module")
def material(tmp_path_factory, libraries_loaded):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GELORA_HOME", "")  # `prepare` sets its own
        folder = tmp_path_factory.mktemp("material")
        small_runs.make(folder, methods=("lora", "reallocated"), seeds=(0,))
        yield folder


@pytest.fixture
def attempt(material, gelora_home):
    """attempt(number=0, seed=0) -> a try in a folder of its own."""
    gelora_home.mkdir()
    return lambda number=0, seed=0: Try(number, random.Random(seed), material, gelora_home)


@pytest.mark.parametrize(("victim", "moment"), [("both", "starting"), ("run", "resume")])
def test_whoever_is_killed_the_readers_are_right_and_the_run_ends_as_if_nothing_had_happened(attempt, victim, moment, monkeypatch):
    monkeypatch.setattr(kills, "LIMIT_SECONDS", 240.0)  # how soon is the benchmark's to say
    found = attempt()
    kills.kill_and_go_on(found, victim, moment, methods=("lora",))
    if victim == "run":
        assert found.facts["said"].startswith("failed: killed")
        assert found.facts["attempts"] == (3 if moment == "resume" else 2)


def test_a_deletion_that_is_killed_leaves_whole_runs_and_no_space_taken(attempt):
    deletions.attempt_deletion(attempt())


@pytest.mark.parametrize("place", ["_checkpoint", "_adapter"])
def test_what_a_hostile_pickle_holds_is_not_run(attempt, place):
    found = attempt()
    pickles.prepare(found.material)
    target = found.folder / "created by a pickle"
    said = getattr(pickles, place)(found, pickles.hostile("zip", "os.system", target))
    assert "Traceback" not in said
    assert not target.exists()


def test_a_campaign_goes_on_where_it_was(tmp_path, monkeypatch):
    (tmp_path / "made-0.jsonl").write_text(json.dumps({"number": 0, "case": "earlier", "fault": None, "seconds": 1.0}) + '\n{"numb')
    asked = []

    def ask(hand, line, seconds):
        asked.append(line)
        return {"fault": None} if line == "prepare" else {"number": int(line), "case": "now", "fault": "lost", "cause": "", "seconds": 0.1}

    monkeypatch.setattr(campaign._Hand, "ask", ask)
    rows = campaign.run(Kind("made", lambda material: None, lambda found: None, 1.0), 0, 3, 2, tmp_path, 1.0)
    assert [(row["case"], row["fault"]) for row in rows] == [("earlier", None), ("now", "lost"), ("now", "lost")]
    assert sorted(asked) == ["1", "2", "prepare"]
    assert len((tmp_path / "made-0.jsonl").read_text().splitlines()) == 3


def test_a_try_without_an_answer_is_a_fault_and_the_next_one_has_a_new_process_that_prepares_itself(tmp_path):
    hand = campaign._Hand(Kind("made", lambda material: None, lambda found: None, 1.0), 0, tmp_path, tmp_path / "home")
    prepared = """read word; test $word = prepare && echo '{"fault": null}'; read number; """
    hand._command = ["/bin/sh", "-c", prepared + "read never"]
    hung = hand.ask("7", 0.01)
    assert (hung["number"], hung["fault"], hung["cause"]) == (7, "wrong", "no answer within 0.01 s")
    hand._command = ["/bin/sh", "-c", prepared + "exit 3"]
    assert hand.ask("8", 60)["cause"] == "the process of the try ended with 3"
    hand._command = ["/bin/sh", "-c", prepared + """echo '{"fault": "lost"}'; read never"""]
    assert hand.ask("9", 60) == {"fault": "lost"}
    hand.end()


def test_the_deed_that_is_not_noticed_would_be_a_fault(attempt, material):
    """A run whose weights are others than the uninterrupted one's is called lost."""
    found = attempt()
    run = small_runs.folder_of_finished(material, "lora-0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GELORA_HOME", str(run.parents[1]))
        kills.go_on(found, run.name, small_runs.uninterrupted(material, "lora-0"))
        with pytest.raises(Fault, match="ends with other weights") as error:
            kills.go_on(found, run.name, small_runs.uninterrupted(material, "reallocated-0"))
    assert error.value.fault == "lost"


@pytest.mark.parametrize("kind", ["records", "data", "adapters", "commands"])
def test_generated_inputs_end_in_a_result_or_a_sentence(kind, material, gelora_home, monkeypatch):
    monkeypatch.setattr(odd, "limit_memory", lambda: None)  # it would hold for the tests after this one
    found = kind_named(kind)
    found.prepare(material)
    for number in range(20):
        folder = gelora_home / str(number)
        folder.mkdir(parents=True)
        monkeypatch.setenv("GELORA_HOME", str(folder))
        found.attempt(Try(number, random.Random(f"8 {kind} {number}"), material, folder))


def test_an_input_that_a_reader_chokes_on_would_be_a_fault():
    with pytest.raises(ZeroDivisionError):
        odd.answered(lambda: 1 / 0)

    def wordless():
        raise InputError("")

    with pytest.raises(Fault, match="InputError says ''"):
        odd.answered(wordless)


def test_many_runs_are_all_listed(attempt, material):
    many_runs.attempt(attempt(), n_runs=12, n_points=2000)


@pytest.mark.parametrize("number", [1, 2])
def test_a_disk_without_room_is_said_to_be_so(attempt, number):
    can_mount = subprocess.run(["unshare", "--mount", "true"], capture_output=True, check=False).returncode == 0
    if not can_mount:
        pytest.skip("needs the right to mount a tmpfs")
    disks.attempt(attempt(number))
