"""`gelora plan`: every strategy, budgets, edits, adapters, files out; one sentence for what cannot be."""

import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tiny_models import save_tiny_model
from transformers import AutoConfig

from gelora.cli import main
from gelora.commands import strategy_names
from gelora.ranks import STRATEGIES, allocate_ranks, edit_ranks, plan_from_adapter, uniform_ranks
from gelora.records import IdProfile, RankPlan
from gelora.sources import model_structure

UNIT = 4 * (32 + 32)  # one unit of rank of a block of the tiny model: q, k, v, o
N_BLOCKS = 3


@pytest.fixture(scope="module")
def bench(tmp_path_factory):
    """A tiny BERT, a labelled file, a profile of both."""
    folder = tmp_path_factory.mktemp("plan")
    model = str(save_tiny_model("bert", folder / "model"))
    words = ["river", "stone", "cloud", "paper", "music", "garden", "window", "letter", "bridge", "forest", "market"]
    rows = [
        {"text": f"the {words[i % 11]} and the {words[i * 7 % 11]} number {i} of the {words[i * 3 % 11]}", "label": i % 2}
        for i in range(60)
    ]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps(row) + "\n" for row in rows))
    profile = folder / "profile.json"
    arguments = ["measure", "--model", model, "--dataset", str(data), "--n-samples", "60", "--estimators", "twonn", "--json", str(profile)]
    assert main(arguments) == 0
    return folder, model, str(data), str(profile)


def planned(capsys, *arguments: str) -> dict | list:
    assert main(["plan", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *arguments: str) -> str:
    assert main(["plan", *arguments]) == 2
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("gelora: ") and "Traceback" not in said
    return said


def test_the_strategies_of_the_command_are_those_of_the_library():
    assert strategy_names() == tuple(STRATEGIES)


def test_all_strategies_at_one_budget_one_row_each(bench, capsys):
    _, model, data, profile = bench
    rows = planned(capsys, "--profile", profile, "--model", model, "--dataset", data, "--strategy", "all", "--match", "uniform:2")
    assert [row["strategy"] for row in rows] == list(STRATEGIES)
    assert rows[-1]["strategy"] == "look-back" and "--adapter" in rows[-1]["reason"]
    for row in rows[:-1]:
        assert row["reason"] is None and row["n_adapter_params"] == row["target_params"] == 2 * N_BLOCKS * UNIT and row["shortfall"] == 0
        plan = RankPlan.from_json(json.dumps(row["plan"]))
        assert plan.n_adapter_params == row["n_adapter_params"] and plan.strategy == row["strategy"]


def test_choices_of_matrices_stand_at_the_budget_of_the_first(bench, capsys):
    _, model, _, _ = bench
    given = ("--model", model, "--strategy", "depth-increasing", "--match", "uniform:4", "--target-modules", "attention/mlp/all-linear")
    rows = planned(capsys, *given)
    assert [row["target_modules"] for row in rows] == ["attention", "mlp", "all-linear"]
    steps = {}
    for row in rows:
        made = RankPlan.from_json(json.dumps(row["plan"]))
        steps[row["target_modules"]] = sum(module.n_params_per_rank for module in made.modules if module.block == 1)
        assert row["target_params"] == 4 * N_BLOCKS * UNIT and made.n_adapter_params == row["n_adapter_params"]
        assert 0 <= row["shortfall"] < steps[row["target_modules"]]
    assert steps["all-linear"] == steps["attention"] + steps["mlp"] and steps["attention"] == UNIT
    assert "take one choice" in refused(capsys, *given, "--set-rank", "1=2")
    assert "an empty choice or one twice" in refused(capsys, "--model", model, "--target-modules", "mlp/")


def test_what_one_strategy_lacks_is_its_reason_and_takes_nothing_from_the_others(bench, capsys, tmp_path):
    _, model, _, profile = bench
    plain = tmp_path / "plain.jsonl"
    plain.write_text("".join(json.dumps({"text": f"a plain text without a label, number {i}"}) + "\n" for i in range(40)))
    rows = planned(capsys, "--profile", profile, "--model", model, "--dataset", str(plain), "--strategy", "all", "--offset", "2")
    lacking = {row["strategy"]: row["reason"] for row in rows if row["plan"] is None}
    assert set(lacking) == {"gradient", "fisher", "look-back"} and "adapter" in lacking.pop("look-back")
    assert all("label" in reason for reason in lacking.values())
    assert len(rows) == len(STRATEGIES)


def test_without_a_profile_the_curve_is_measured_and_the_plan_is_the_same(bench, capsys):
    _, model, data, profile = bench
    arguments = ("--offset", "2", "--scale", "1.5", "--rounding", "round")
    measured = planned(capsys, "--model", model, "--dataset", data, "--n-samples", "60", *arguments)
    given = planned(capsys, "--profile", profile, *arguments)
    assert measured["ranks"] == given["ranks"] and given["scale"] == 1.5
    rule = allocate_ranks(IdProfile.from_json(Path(profile).read_text()), offset=2, rounding="round", scale=1.5)
    assert RankPlan.from_json(json.dumps(given)) == rule


def test_the_structure_alone_is_enough_for_uniform_depth_and_random(bench, capsys):
    _, model, _, _ = bench
    uniform = planned(capsys, "--model", model, "--strategy", "uniform", "--offset", "3")
    assert RankPlan.from_json(json.dumps(uniform)) == uniform_ranks(model_structure(model), 3)
    deeper = planned(capsys, "--model", model, "--strategy", "depth-increasing", "--offset", "4")
    assert deeper["target_params"] == 4 * N_BLOCKS * UNIT  # without a budget, what the rank everywhere would cost
    seeds = [
        planned(capsys, "--model", model, "--strategy", "random", "--offset", "6", "--random-seed", s)["ranks"] for s in ("0", "0", "1")
    ]
    assert seeds[0] == seeds[1] != seeds[2]


def test_budgets_in_parameters_and_megabytes_and_what_stays_unspent_is_said(bench, capsys):
    profile = bench[3]
    assert main(["plan", "--profile", profile, "--match", f"params:{7 * UNIT + 100}"]) == 0
    said = capsys.readouterr().out
    assert "100 of the budget of 1,892 stay unspent" in said and f"{7 * UNIT:,} adapter parameters" in said
    plan = planned(capsys, "--profile", profile, "--match", "mb:0.01")
    assert plan["target_params"] == 2500 and sum(plan["ranks"].values()) * 64 <= 2500


def test_ranks_by_hand_over_the_budget_are_no_rest_of_it(bench, capsys):
    arguments = ["plan", "--profile", bench[3], "--match", f"params:{N_BLOCKS * 2 * UNIT}", "--strategy", "uniform"]
    assert main([*arguments, "--set-rank", "3=4"]) == 0
    said = capsys.readouterr().out
    assert f"{2 * UNIT:,} over the budget of {N_BLOCKS * 2 * UNIT:,}, by your own ranks." in said and "unspent" not in said
    assert main([*arguments, "--set-rank", "3=1"]) == 0
    said = capsys.readouterr().out
    assert f"{UNIT:,} of the budget of {N_BLOCKS * 2 * UNIT:,} stay unspent, with your own ranks." in said and "no unit" not in said


def test_every_file_that_is_written_is_said(bench, capsys, tmp_path):
    files = {name: str(tmp_path / name) for name in ("adapter", "plan.csv", "cost.json", "plan.json")}
    arguments = ["plan", "--profile", bench[3], "--lora-config", files["adapter"], "--csv", files["plan.csv"]]
    arguments += ["--budget-json", files["cost.json"]]
    wrote = [f"Wrote {path}" for path in (str(tmp_path / "adapter" / "adapter_config.json"), files["plan.csv"], files["cost.json"])]
    assert main([*arguments, "--json", files["plan.json"]]) == 0
    assert capsys.readouterr().out.splitlines()[:4] == [*wrote, f"Wrote {files['plan.json']}"]
    assert main([*arguments, "--json"]) == 0
    said = capsys.readouterr()
    assert "ranks" in json.loads(said.out) and [line for line in said.err.splitlines() if "Wrote" in line] == wrote


def test_ranks_by_hand_are_marked_in_every_file(bench, capsys, tmp_path):
    _, model, _, profile = bench
    out = {name: str(tmp_path / name) for name in ("plan.json", "plan.csv", "cost.json", "adapter")}
    arguments = ["--profile", profile, "--offset", "2", "--set-rank", "2=5", "--set-rank", "encoder.layer.0.attention.self.query=0"]
    files = ["--json", out["plan.json"], "--csv", out["plan.csv"], "--budget-json", out["cost.json"], "--lora-config", out["adapter"]]
    assert main(["plan", *arguments, *files, "--n-labels", "3"]) == 0
    assert "by hand" in capsys.readouterr().out
    plan = RankPlan.from_json(Path(out["plan.json"]).read_text())
    assert set(plan.edits) == {"encoder.layer.0.attention.self.query", *(m.name for m in plan.modules if m.block == 2)}
    table = list(csv.DictReader(Path(out["plan.csv"]).read_text().splitlines()))
    assert {row["module"]: int(row["rank"]) for row in table} == plan.ranks
    assert {row["module"]: int(row["rank_before_edit"]) for row in table if row["rank_before_edit"]} == plan.edits
    cost = json.loads(Path(out["cost.json"]).read_text())
    assert cost["budget"]["n_adapter_params"] == plan.n_adapter_params and cost["budget"]["n_head_params"] == 32 * 32 + 32 + 3 * 32 + 3
    assert cost["memory"]["total_bytes"] > cost["memory"]["weights_bytes"] > 0
    assert json.loads((Path(out["adapter"]) / "adapter_config.json").read_text())["base_model_name_or_path"] == plan.model_id
    back = plan_from_adapter(out["adapter"], model_structure(model))
    assert back.ranks == {name: rank for name, rank in plan.ranks.items() if rank}
    from_adapter = planned(capsys, "--model", model, "--adapter", out["adapter"])
    assert from_adapter["strategy"] == "imported" and from_adapter["ranks"] == back.ranks


def test_a_profile_from_before_memory_was_estimated_still_has_its_plan(bench, capsys, tmp_path):
    profile = json.loads(Path(bench[3]).read_text())
    for name in ("traits", "vocab_size", "n_lm_head_params"):
        del profile["model"][name]
    old = tmp_path / "old.json"
    old.write_text(json.dumps(profile))
    assert main(["plan", "--profile", str(old), "--offset", "2"]) == 0
    said = capsys.readouterr().out
    assert "Memory of a training step is not estimated" in said and "adapter parameters" in said


def test_what_an_adapter_trains_beside_its_plan_is_a_line_of_its_own(bench, capsys, tmp_path):
    _, model, _, _ = bench
    config = {"peft_type": "LORA", "r": 40, "target_modules": ["query", "pooler.dense"], "base_model_name_or_path": model}
    path = tmp_path / "adapter_config.json"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(config | {"task_type": "SEQ_CLS"}).encode())
    assert main(["plan", "--model", model, "--adapter", str(path)]) == 0
    said = capsys.readouterr().out
    assert f"{3 * 40 * 64:,} adapter parameters" in said and "ranks above the smaller side (32)" in said
    assert f"Beside these the adapter trains {40 * 64:,} parameters in modules outside the blocks (bert.pooler.dense)." in said
    assert "Beside these the adapter trains 66 parameters in modules trained whole (classifier)." in said
    assert f"In all PEFT trains {4 * 40 * 64 + 66:,} parameters of it." in said
    assert "r = 40.00" in said
    plan = RankPlan.from_json(json.dumps(planned(capsys, "--model", model, "--adapter", str(path))))
    assert plan.n_trained_params == 4 * 40 * 64 + 66
    edited = edit_ranks(plan, {plan.modules[0].name: 3})
    assert edit_ranks(edited, edited.edits).ranks == plan.ranks


def test_modules_that_peft_takes_for_experts_are_a_sentence_under_the_plan(capsys, tmp_path):
    options = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 64}
    options |= {"first_k_dense_replace": 1, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 1, "topk_group": 1}
    options |= {
        "kv_lora_rank": 8,
        "q_lora_rank": 8,
        "moe_intermediate_size": 16,
        "qk_nope_head_dim": 4,
        "qk_rope_head_dim": 4,
        "v_head_dim": 8,
    }
    config = AutoConfig.for_model("deepseek_v3", **options, num_key_value_heads=4)
    config.save_pretrained(tmp_path)
    assert main(["plan", "--model", str(tmp_path), "--strategy", "uniform", "--target-modules", "mlp"]) == 0
    said = capsys.readouterr().out
    assert "PEFT takes gate_proj, up_proj, down_proj of this model for experts by name" in said and "weights of 6 modules" in said
    assert main(["plan", "--model", str(tmp_path), "--strategy", "uniform", "--target-modules", "attention"]) == 0
    assert "for experts by name" not in capsys.readouterr().out


def test_bad_input_is_one_sentence_that_says_what_is_legal(bench, capsys, tmp_path):
    folder, model, _, profile = bench
    other = str(save_tiny_model("llama", tmp_path / "llama"))
    wrong = tmp_path / "adapter_config.json"
    wrong.write_text('{"peft_type": "IA3"}')
    for arguments, words in (
        (["--profile", profile, "--match", "params:10"], "below one rank"),
        (["--profile", profile, "--match", "rank:2"], "uniform:R"),
        (["--profile", profile, "--offset", "-1"], "offset is -1"),
        (["--profile", profile, "--cap", "2"], "gelora has an offset in their place"),
        (["--model", model, "--strategy", "random", "--floor", "3", "--cap", "2"], "cap is 2"),
        (["--profile", profile, "--scale", "-2"], "scale"),
        (["--profile", profile, "--model", other], "which has other matrices than"),
        (["--profile", profile, "--estimator", "danco"], "'danco'"),
        (["--profile", profile, "--set-rank", "2=500"], "from 0 to 32"),
        (["--profile", profile, "--set-rank", "99=2"], "its blocks are 1 to 3"),
        (["--model", model, "--adapter", str(wrong), "--match", "uniform:2"], "--adapter takes the ranks as they are"),
        (["--profile", profile, "--lora-config", profile], "takes a folder"),
        (["--profile", profile, "--set-rank", "two"], "NAME=R"),
        (["--profile", profile, "--target-modules", "conv"], "conv"),
        (["--model", model, "--adapter", str(wrong)], "LoRA"),
        (["--model", model, "--adapter", str(tmp_path / "nowhere")], "There is no file or folder"),
        (["--profile", profile, "--strategy", "all", "--match", "params:10"], "below one rank"),
        (["--profile", profile, "--strategy", "all", "--csv", "x.csv"], "one strategy"),
        (["--profile", str(folder / "rows.jsonl")], "rows.jsonl is no usable profile"),
        (["--profile", profile, "--csv", str(tmp_path / "no" / "such" / "folder.csv")], "does not exist"),
    ):
        assert words in refused(capsys, *arguments), arguments


def test_a_plan_of_uniform_ranks_loads_no_peft(bench):
    """The 70B plan has to be quick: PEFT alone takes longer to import than it may take in all."""
    code = "import sys; from gelora.cli import main; main(sys.argv[1:]); print('peft' in sys.modules, 'datasets' in sys.modules)"
    arguments = [sys.executable, "-c", code, "plan", "--model", bench[1], "--strategy", "uniform", "--offset", "2"]
    result = subprocess.run(arguments, capture_output=True, text=True, env=dict(os.environ), check=True)
    assert result.stdout.strip().splitlines()[-1] == "False False"
