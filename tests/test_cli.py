"""The command line: a person's table, a machine's JSON, one sentence and a failing status on bad input."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest

from gelora.cli import _parser, main
from gelora.records import IdProfile, LayerSimilarity, RankPlan
from gelora.sensitivity import Sensitivity


def run_gelora(*arguments: str, **options) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "gelora", *arguments], capture_output=True, text=True, timeout=300, **options)


@pytest.fixture(scope="module")
def measured(tmp_path_factory, bundled_sentences):
    """`gelora measure` on the bundled model and data, once."""
    out = tmp_path_factory.mktemp("measured") / "m.json"
    result = run_gelora("measure", "--model", "all-MiniLM-L6-v2", "--dataset", "docstrings", "--n-samples", "500", "--json", str(out))
    assert result.returncode == 0, result.stderr
    return result, out


def reference_twonn(x: np.ndarray) -> float:
    """TwoNN `fit` of Facco et al. 2017 in plain float64: all distances, no shortcut."""
    x = np.unique(x.astype(np.float64), axis=0)
    squared = np.array([np.sum((x - row) ** 2, axis=1) for row in x])
    np.fill_diagonal(squared, np.inf)
    nearest = np.sort(np.sqrt(squared), axis=1)[:, :2]
    log_mu = np.sort(np.log(nearest[:, 1] / nearest[:, 0]))
    n = len(log_mu)
    kept = int(np.floor(n * 0.9))
    y = -np.log(1 - np.arange(1, n + 1)[:kept] / n)
    return float(np.sum(log_mu[:kept] * y) / np.sum(log_mu[:kept] ** 2))


def test_measure_agrees_with_a_plain_float64_reference(measured):
    from gelora import extract_hidden_states, load_sample

    profile = IdProfile.from_json(measured[1].read_text())
    assert len(profile.layer_names) == 7
    states = extract_hidden_states("all-MiniLM-L6-v2", load_sample("docstrings", n_samples=500, seed=0), pooling="mean")
    expected = [reference_twonn(layer) for layer in states.values]
    np.testing.assert_allclose(profile.dimensions("twonn"), expected, rtol=1e-6)


def test_measure_prints_a_table_for_a_person(measured):
    output = measured[0].stdout
    assert "embeddings" in output and "block 6" in output and "[" in output


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A file of 120 different lines."""
    path = tmp_path_factory.mktemp("texts") / "texts.jsonl"
    rng = np.random.default_rng(0)
    path.write_text("\n".join(json.dumps({"text": f"{a} and {b} are {c}"}) for a, b, c in rng.integers(0, 10**6, size=(120, 3))))
    return str(path)


def test_measure_with_baselines_and_scale_curves(texts, tmp_path, capsys):
    out = tmp_path / "m.json"
    arguments = ["measure", "--dataset", texts, "--n-samples", "120", "--estimators", "twonn,gride,pca-pr", "--n-neighbors", "8"]
    assert main([*arguments, "--metric", "cosine", "--n-subsamples", "4", "--baselines", "--scale-curves", "--json", str(out)]) == 0
    profile = IdProfile.from_json(out.read_text())
    assert (list(profile.estimates), profile.metric) == (["twonn", "gride", "pca-pr"], "cosine")
    assert set(profile.baselines) == {"shuffled", "gaussian"}
    assert {"decimation:twonn", "decimation:pca-pr", "neighbors:gride"} <= set(profile.scale_curves)
    assert {len(halves) for halves in profile.subsamples.values()} == {4}
    printed = capsys.readouterr().out
    assert "the baseline: shuffled" in printed and "twonn by number of rows" in printed and f"Wrote {out}" in printed
    assert "Sign of each rise (3 estimators; one whose 95% CI includes 0 does not vote): block" in printed


def test_halves_are_measured_planned_and_kept_apart_from_blocks(texts, tmp_path, capsys):
    out, plan_out = tmp_path / "halves.json", tmp_path / "plan.json"
    sample = ["--dataset", texts, "--n-samples", "120", "--n-neighbors", "8"]
    assert main(["measure", *sample, "--estimators", "twonn", "--points", "halves", "--json", str(out)]) == 0
    profile, printed = IdProfile.from_json(out.read_text()), capsys.readouterr().out
    assert len(profile.layer_names) == 13 and "block 6 attention" in printed and "block 6 MLP" in printed
    assert main(["plan", "--profile", str(out), "--target-modules", "all-linear", "--json", str(plan_out)]) == 0
    plan = RankPlan.from_json(plan_out.read_text())
    assert set(plan.block_ranks()) == {1, 2, 3, 4, 5, 6} and plan.profile_digest == profile.digest()
    curve = profile.dimensions("twonn")
    for module in plan.modules:
        start = 2 * (module.block - 1) + (module.kind == "mlp")
        assert plan.ranks[module.name] == max(int(np.ceil(curve[start + 1] - curve[start] - 1e-6)), 0) + 1
    capsys.readouterr()
    asked = ["plan", *sample, "--target-modules", "all-linear", "--strategy", "all", "--match", "uniform:2", "--points", "halves"]
    assert main([*asked, "--json"]) == 0
    rule, uniform, *_ = json.loads(capsys.readouterr().out)
    assert rule["plan"]["profile_digest"] == profile.digest() and set(uniform["block_ranks"].values()) == {2}
    assert main(["plan", *sample, "--json"]) == 0
    assert RankPlan.from_json(capsys.readouterr().out).profile_digest != profile.digest()


@pytest.mark.parametrize("target", ["-", "m.json"])
def test_fewer_texts_than_asked_for_are_said(texts, target, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    arguments = ["measure", "--dataset", texts, "--n-neighbors", "8", "--json", target]
    assert main([*arguments, "--n-samples", "1000"]) == 0
    said = capsys.readouterr()
    sentence = f"1,000 asked for, {texts} has 120 different texts: all of them are measured."
    assert sentence in (said.err if target == "-" else said.out)
    assert main([*arguments, "--n-samples", "120"]) == 0
    said = capsys.readouterr()
    assert "asked for" not in said.out + said.err


def test_estimators_are_listed_with_what_they_count(capsys):
    from gelora.geometry import ESTIMATORS

    assert main(["estimators", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)
    assert [row["name"] for row in listed] == list(ESTIMATORS) and all(row["idea"] and row["source"] for row in listed)
    assert main(["estimators"]) == 0
    assert "danco" in capsys.readouterr().out


def test_calibrate_prints_bias_and_gives_every_draw(capsys):
    arguments = ["calibrate", "--manifold", "sphere", "--dimension", "3", "--width", "6", "--n-samples", "300", "--draws", "2"]
    assert main([*arguments, "--estimators", "twonn,mle", "--json"]) == 0
    trials = json.loads(capsys.readouterr().out)
    assert [(t["estimator"], t["seed"], t["truth"]) for t in trials] == [("twonn", 0, 3), ("mle", 0, 3), ("twonn", 1, 3), ("mle", 1, 3)]
    assert all(abs(t["dimension"] - 3) < 0.9 for t in trials)
    assert main([*arguments, "--estimators", "twonn"]) == 0
    printed = capsys.readouterr().out
    assert "sphere of dimension 3" in printed and "holds d: share of the draws whose 95% interval holds the true dimension, 3." in printed
    assert main(["calibrate", "--manifold", "list"]) == 0
    assert "swiss roll" in capsys.readouterr().out


def test_sensitivity_prints_a_table_a_choice(texts, tmp_path, capsys):
    out = tmp_path / "s.json"
    arguments = ["sensitivity", "--dataset", texts, "--n-samples", "60", "--n-neighbors", "8", "--vary", "metric,discard_fraction"]
    assert main([*arguments, "--json", str(out)]) == 0
    answer = Sensitivity.from_json(out.read_text())
    assert list(answer.curves) == ["metric", "discard_fraction"]
    printed = capsys.readouterr().out
    assert "euclidean (present)" in printed and "moves by up to" in printed


def test_similarity_prints_a_table_and_finds_again_what_it_measured(texts, tmp_path, capsys):
    out = tmp_path / "s.json"
    arguments = ["similarity", "--dataset", texts, "--n-samples", "60", "--n-neighbors", "8", "--seed", "5"]
    assert main([*arguments, "--json", str(out)]) == 0
    found = LayerSimilarity.from_json(out.read_text())
    assert found.overlap.shape == (7, 7) and (found.n_rows, found.n_neighbors, found.label_kind) == (60, 8, "")
    printed = capsys.readouterr().out
    assert f"{found.overlap[0, 1]:.4f} -+ {found.overlap_half_width[0, 1]:.4f}" in printed and f"overlap {8 / 59:.3f}" in printed
    assert main([*arguments, "--json", str(out)]) == 0
    assert "measured here before" in capsys.readouterr().out and LayerSimilarity.from_json(out.read_text()) == found


def test_plan_writes_a_config_whose_trainable_count_is_the_budget(measured, tmp_path):
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from gelora.ranks import plan_budget
    from gelora.sources import find_model

    plan_file, folder = tmp_path / "plan.json", tmp_path / "out"
    arguments = ["plan", "--profile", str(measured[1]), "--offset", "2", "--json", str(plan_file), "--lora-config", str(folder)]
    result = run_gelora(*arguments)
    assert result.returncode == 0, result.stderr
    budget = plan_budget(RankPlan.from_json(plan_file.read_text()))
    model = get_peft_model(AutoModel.from_pretrained(find_model("all-MiniLM-L6-v2").path), LoraConfig.from_pretrained(str(folder)))
    assert model.get_nb_trainable_parameters()[0] == budget.n_adapter_params
    assert f"{budget.n_adapter_params:,} adapter parameters" in result.stdout
    config = json.loads((folder / "adapter_config.json").read_text())
    assert config["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["measure", "--model", "no/such-model-anywhere"], "no/such-model-anywhere"),
        (["measure", "--model", "./not-here"], "not-here"),
        (["measure", "--dataset", "missing.jsonl"], "missing.jsonl"),
        (["measure", "--dataset", "docstrings", "--text-column", "nope"], "nope"),
        (["measure", "--n-samples", "1"], "1"),
        (["measure", "--estimators", "twonn,median"], "median"),
        (["measure", "--estimators", ","], "--estimators is empty"),
        (["sensitivity", "--vary", "weather"], "weather"),
        (["calibrate", "--manifold", "donut"], "donut"),
        (["calibrate", "--manifold", "sphere", "--dimension", "9", "--width", "4"], "at least 10"),
        (["calibrate", "--draws", "0"], "--draws is 0; it must be a whole number of at least 1"),
        (["measure", "--estimators", "magic"], "magic"),
        (["plan", "--profile", "missing.json"], "missing.json"),
        (["train"], "--plan"),
        (["train", "--rank", "2", "--set", "speed=9"], "speed"),
        (["train", "--rank", "2", "--set", "epochs=many"], "many"),
        (["runs", "no-such-run"], "no-such-run"),
        (["runs", "../../etc"], "../../etc"),
        (["stop", "no-such-run"], "no-such-run"),
        (["resume", "no-such-run"], "no-such-run"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input_is_one_sentence_and_status_2(arguments, says, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    error = capsys.readouterr().err
    last = error.strip().splitlines()[-1]
    assert last.startswith("gelora: ") and says in last
    assert "Traceback" not in error
    assert list(tmp_path.iterdir()) == []


def test_a_wrong_profile_is_named_not_half_used(tmp_path, capsys):
    wrong = tmp_path / "wrong.json"
    wrong.write_text('{"record": "RankPlan"}')
    assert main(["plan", "--profile", str(wrong), "--json", str(tmp_path / "plan.json")]) == 2
    assert "IdProfile" in capsys.readouterr().err
    assert not (tmp_path / "plan.json").exists()


def test_fewer_texts_than_neighbors(tmp_path, capsys):
    data = tmp_path / "few.jsonl"
    data.write_text("".join(json.dumps({"text": f"sentence number {i} about something"}) + "\n" for i in range(8)))
    assert main(["measure", "--dataset", str(data), "--json", str(tmp_path / "m.json")]) == 2
    assert "8" in capsys.readouterr().err
    assert not (tmp_path / "m.json").exists()


def test_all_texts_equal(tmp_path, capsys):
    data = tmp_path / "equal.jsonl"
    data.write_text((json.dumps({"text": "the same sentence again"}) + "\n") * 60)
    assert main(["measure", "--dataset", str(data), "--keep-repeats", "--json", str(tmp_path / "m.json")]) in (0, 2)
    captured = capsys.readouterr()
    assert "distinct" in captured.out + captured.err


def test_runs_is_empty_at_first(gelora_home, capsys):
    assert main(["runs", "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == []


def test_doctor_finds_this_machine_in_order(capsys):
    assert main(["doctor", "--json"]) == 0
    findings = json.loads(capsys.readouterr().out)
    assert {"Python", "device", "bundled model", "runs"} <= {f["what"] for f in findings}
    assert all(f["ok"] for f in findings)
    from gelora.sources import find_model

    assert str(find_model("all-MiniLM-L6-v2").path) in next(f["finding"] for f in findings if f["what"] == "bundled model")


def test_doctor_fails_when_the_state_folder_cannot_be_made(tmp_path, monkeypatch, capsys):
    blocker = tmp_path / "file"
    blocker.write_text("not a folder")
    monkeypatch.setenv("GELORA_HOME", str(blocker / "home"))
    assert main(["doctor"]) == 1
    assert "GELORA_HOME" in capsys.readouterr().out


def test_compare_lays_two_profiles_side_by_side(measured, tmp_path, capsys):
    from dataclasses import replace

    profile = IdProfile.from_json(measured[1].read_text())
    raised = tuple(replace(e, dimension=e.dimension + 10, ci_low=e.ci_low + 10, ci_high=e.ci_high + 10) for e in profile.estimates["mle"])
    other = tmp_path / "other.json"
    other.write_text(replace(profile, pooling="cls", estimates={"mle": raised}, subsamples={}).to_json())
    assert main(["compare", str(measured[1]), str(other)]) == 0
    said = capsys.readouterr().out
    assert "A and B differ in pooling: mean and cls." in said
    assert "B - A is +10.00 on average; significant (95% CI excludes 0) at 7 of 7 layers." in said and "twonn" not in said
    assert main(["compare", str(measured[1]), str(other), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert [round(d["value"], 9) for d in answer["differences"]["mle"]] == [10.0] * 7
    assert answer["differs"] == {"pooling": ["mean", "cls"]}


def test_compare_of_a_profile_with_itself_finds_nothing(measured, capsys):
    assert main(["compare", str(measured[1]), str(measured[1]), "--estimator", "twonn"]) == 0
    said = capsys.readouterr().out
    assert "A and B were measured alike." in said and "the two cannot be told apart" in said


def test_compare_says_what_it_cannot_read(measured, tmp_path, capsys):
    assert main(["compare", str(measured[1]), str(tmp_path / "none.json")]) == 2
    assert "Cannot read the profile" in capsys.readouterr().err
    assert main(["compare", str(measured[1]), str(measured[1]), "--estimator", "danco"]) == 2
    assert "--estimator" in capsys.readouterr().err


def test_every_command_is_documented():
    from pathlib import Path

    commands = next(a for a in _parser()._actions if a.choices and "measure" in a.choices).choices
    readme = (Path(__file__).resolve().parents[1] / "README.md").read_text()
    assert set(commands) == {
        "measure",
        "preview",
        "compare",
        "estimators",
        "sensitivity",
        "similarity",
        "calibrate",
        "plan",
        "race",
        "study",
        "inspect",
        "compress",
        "train",
        "runs",
        "stop",
        "resume",
        "dashboard",
        "doctor",
    }
    for command in commands:
        assert f"gelora {command}" in readme, command


def test_a_closed_pipe_is_no_traceback():
    result = subprocess.run(f"{sys.executable} -m gelora doctor | head -1", shell=True, capture_output=True, text=True, env=os.environ)
    assert "Traceback" not in result.stderr
