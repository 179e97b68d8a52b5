"""The short form of each kind of the campaign (benchmarks/faults): a few tries, and the journal from which it goes on."""

import json
import random

import pytest

from benchmarks.faults import campaign, deletions, kills, pickles, small_runs
from benchmarks.faults.attempt import Fault, Kind, Try


@pytest.fixture(scope="module")
def material(tmp_path_factory, libraries_loaded):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GELORA_HOME", "")  # `prepare` sets its own
        folder = tmp_path_factory.mktemp("material")
        small_runs.make(folder, methods=("lora",))
        yield folder


@pytest.fixture
def attempt(material, gelora_home):
    """attempt(number=0, seed=0) -> a try in a folder of its own."""
    gelora_home.mkdir()
    return lambda number=0, seed=0: Try(number, random.Random(seed), material, gelora_home)


@pytest.mark.parametrize(("victim", "moment"), [("run", "checkpoint"), ("both", "starting"), ("run", "resume")])
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


def test_a_try_without_an_answer_is_a_fault_and_the_next_one_has_a_new_process(tmp_path):
    kind = Kind("kills", lambda material: None, lambda found: None, 0.01)
    hand = campaign._Hand(kind, 0, tmp_path, tmp_path / "home")
    hung = hand.ask("7", 0.01)
    assert (hung["number"], hung["fault"], hung["cause"]) == (7, "wrong", "no answer within 0.01 s")
    hand._command = ["/bin/sh", "-c", "exit 3"]
    assert hand.ask("8", 60)["cause"] == "the process of the try ended with 3"
    hand._command = ["/bin/sh", "-c", """read number; echo '{"fault": null}'; read never"""]
    assert hand.ask("9", 60) == {"fault": None}
    hand.end()


def test_the_deed_that_is_not_noticed_would_be_a_fault(attempt, material):
    """A run whose weights are others than the uninterrupted one's is called lost."""
    found = attempt()
    run = small_runs.folder_of_finished(material, "lora-0")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GELORA_HOME", str(run.parents[1]))
        kills._go_on(found, run.name, small_runs.uninterrupted(material, "lora-0"))
        with pytest.raises(Fault, match="ends with other weights") as error:
            kills._go_on(found, run.name, small_runs.uninterrupted(material, "lora-1"))
    assert error.value.fault == "lost"
