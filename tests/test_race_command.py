"""`gelora race`: strategies at one budget, side by side; a table for a person, JSON for a machine, one sentence for what cannot be."""

import json

import pytest
from tiny_models import save_tiny_model

from gelora.cli import main
from gelora.runs import history, list_runs, race, race_result, wait_for


@pytest.fixture(scope="module")
def tiny(tmp_path_factory, libraries_loaded):
    """A model and a file of labelled sentences."""
    folder = tmp_path_factory.mktemp("race")
    save_tiny_model("bert", folder / "model")
    rows = [{"text": f"the film number {i} was {'good' if i % 2 else 'bad'}", "label": i % 2} for i in range(80)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["race", "--model", str(folder / "model"), "--dataset", str(folder / "rows.jsonl"), "--n-samples", "40", "--device", "cpu"]


SHORT = ["--steps", "4", "--batch-size", "8", "--held-out-rows", "16"]


def test_all_that_it_says_is_in_its_json(tiny, tmp_path, capsys):
    out = tmp_path / "race.json"
    arguments = [*tiny, *SHORT, "--strategies", "uniform,random,gelora", "--match", "uniform:2", "--seeds", "0,1", "--json", str(out)]
    assert main(arguments) == 0
    said, answer = capsys.readouterr().out, json.loads(out.read_text())
    assert [arm["arm"] for arm in answer["arms"]] == ["uniform", "random", "gelora"]
    assert all(arm["n_adapter_params"] <= answer["budget"] for arm in answer["arms"])
    assert (answer["reference"], answer["seeds"], answer["n_steps"], answer["task"]) == ("uniform", [0, 1], 4, "classification")
    for arm in answer["arms"]:
        assert f"{arm['eval_loss']:.4f}" in said
        assert len(arm["training_losses"]) == 4
    assert answer["arms"][0]["p_corrected"] is None
    assert "below 0 is better" in said and "Significant at 5% after correction: " in said
    assert "Fewer than three seeds" in said

    assert main(["runs", answer["id"]]) == 0
    shown = capsys.readouterr().out
    table = said[said.index("arm ") :].partition("\nRepeat")[0]
    assert table in shown and "uniform, random, gelora" in shown
    assert main(["runs", answer["id"], "--json"]) == 0
    in_full = json.loads(capsys.readouterr().out)
    assert in_full["race"] == answer
    assert in_full["method"] == "race" and in_full["step"] == in_full["total_steps"] == 8
    assert [step for step, _ in in_full["history"]["loss/gelora/1"]] == [1, 2, 3, 4]
    assert in_full["provenance"]["data_digest"] and in_full["provenance"]["spec_digest"]
    spec = f"{in_full['folder']}/spec.json"
    assert main(["train", "--spec", spec, "--epochs", "2"]) == 2
    assert "is a race and is repeated as it is: leave out --epochs" in capsys.readouterr().err
    assert main(["train", "--spec", spec, "--detach", "--json"]) == 0
    again = json.loads(capsys.readouterr().out)["id"]
    assert wait_for(again).state.status == "finished"
    assert race_result(again) == race_result(answer["id"])
    out = tmp_path / "adapter"
    assert main(["runs", again, "--export-arm", "random", str(out), "--seed", "1"]) == 0
    assert f"Wrote {out}" in capsys.readouterr().out and (out / "adapter_model.safetensors").is_file()
    assert main(["runs", again, answer["id"], "--export-arm", "random", str(tmp_path / "new")]) == 2
    assert "takes one run" in capsys.readouterr().err
    assert main(["runs", again, "--delete"]) == 0
    assert again not in [info.id for info in list_runs()]


def test_json_alone_on_standard_output(tiny, capsys):
    assert main([*tiny, *SHORT, "--strategies", "uniform,random", "--match", "uniform:1", "--learning-rates", "1e-3,1e-4", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [(arm["arm"], arm["learning_rate"]) for arm in answer["arms"]] == [
        ("uniform", 1e-3), ("uniform", 1e-4), ("random", 1e-3), ("random", 1e-4),
    ]  # fmt: skip


def test_strategies_of_the_same_ranks_are_said(tiny, capsys):
    assert main([*tiny, *SHORT, "--strategies", "uniform,depth-increasing", "--match", "uniform:1"]) == 0
    assert "uniform and depth-increasing have the same ranks here" in capsys.readouterr().out


def test_a_race_is_stopped_and_resumed_as_every_run(tiny, capsys):
    steps = ["--steps", "150", "--batch-size", "8", "--held-out-rows", "400", "--strategies", "uniform,random", "--match", "uniform:1"]
    assert main([*tiny, *steps, "--detach", "--json"]) == 0
    run_id = json.loads(capsys.readouterr().out)["id"]

    def stop_once_it_trains(info):
        if info.state.step >= 3 and info.is_live:
            assert main(["stop", run_id]) == 0

    stopped = wait_for(run_id, stop_once_it_trains, poll_seconds=0.05)
    assert stopped.state.status == "stopped" and stopped.state.reason.startswith("stopped at step ")
    assert stopped.can_resume and 0 < stopped.state.step < 150 and race_result(run_id) is None
    capsys.readouterr()
    assert main(["resume", run_id]) == 0
    assert "below 0 is better" in capsys.readouterr().out
    spec, found = stopped.spec, race_result(run_id)
    whole = race(spec, spec.race.plans, spec.race.learning_rates, spec.race.seeds, spec.race.n_steps, lambda *_: None)
    assert found == whole
    assert [step for step, _ in history(run_id)["eval_loss/random/0"]] == [38, 76, 114, 150]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategies", "uniform,nosuch"], "nosuch"),
        (["--strategies", "random,gelora"], "The reference 'uniform' does not race"),
        (["--strategies", "uniform", "--match", "uniform:2"], "two arms or more"),
        (["--learning-rates", "fast"], "'fast' is not a list of numbers"),
        (["--seeds", ","], "Give numbers with commas"),
        (["--steps", "0", "--match", "uniform:2", "--strategies", "uniform,random"], "--steps is 0"),
        (["--task", "question-answering", "--match", "uniform:2", "--strategies", "uniform,random"], "question-answering is trained one"),
    ],
)
def test_what_cannot_race_is_one_sentence(tiny, arguments, said, capsys):
    before = len(list_runs())
    assert main([*tiny, *SHORT, *arguments]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert "Traceback" not in error
    assert len(list_runs()) == before  # nothing has begun


def compared(tiny, folder, *chosen):
    """What a short race of the tiny model answers."""
    assert main([*tiny, *SHORT, *chosen, "--json", str(folder / "race.json")]) == 0
    return json.loads((folder / "race.json").read_text())


def test_beginnings_race_beside_any_strategy(tiny, tmp_path):
    answer = compared(tiny, tmp_path, "--strategies", "uniform,random", "--inits", "default,pissa", "--match", "uniform:2")
    names = ["uniform default", "uniform pissa", "random default", "random pissa"]
    assert [arm["arm"] for arm in answer["arms"]] == names and answer["reference"] == "uniform default"
    by_name = {arm["arm"]: arm for arm in answer["arms"]}
    assert by_name["uniform default"]["block_ranks"] == by_name["uniform pissa"]["block_ranks"]
    assert by_name["uniform default"]["training_losses"][0] == pytest.approx(by_name["uniform pissa"]["training_losses"][0], abs=1e-5)
    assert by_name["uniform default"]["training_losses"][-1] != by_name["uniform pissa"]["training_losses"][-1]


@pytest.mark.parametrize("inits", ["lora-ga", ","])
def test_a_beginning_that_there_is_not_is_one_sentence(tiny, inits, capsys):
    assert main([*tiny, *SHORT, "--strategies", "uniform,random", "--match", "uniform:2", "--inits", inits]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_choices_of_matrices_race_at_one_budget(tiny, tmp_path):
    answer = compared(
        tiny, tmp_path, "--strategies", "uniform,depth-increasing", "--target-modules", "attention/mlp", "--match", "uniform:4"
    )
    wanted = ["uniform attention", "depth-increasing attention", "uniform mlp", "depth-increasing mlp"]
    assert [arm["arm"] for arm in answer["arms"]] == wanted and answer["reference"] == "uniform attention"
    assert all(0.7 * answer["budget"] < arm["n_adapter_params"] <= answer["budget"] for arm in answer["arms"])
