"""The short form of benchmarks/kills.py: a run, and then run and dashboard together, killed; both go on and finish."""

import random

import pytest

from benchmarks.kills import StandIn, kill_once


@pytest.mark.parametrize(("victim", "moment"), [("run", "starting"), ("both", "training")])
def test_whoever_is_killed_the_readers_are_right_and_the_run_finishes(make_spec, victim, moment, libraries_loaded, monkeypatch):
    monkeypatch.setattr("benchmarks.kills.LIMIT_SECONDS", 240.0)  # how soon is the benchmark's to say
    spec = make_spec(epochs=80.0, eval_every=24, n_eval=4, probe_size=0)  # long enough not to end before it is killed
    answer = kill_once([spec], victim, moment, random.Random(0), StandIn())
    assert (answer["processes_left"], answer["runs_lost"], answer["all_finished"]) == (0, 0, True)
    if victim != "dashboard":
        assert answer["said"].startswith("failed: killed")
        assert answer["resumed"].endswith("(attempt 2)")
