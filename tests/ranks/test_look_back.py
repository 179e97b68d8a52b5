"""Ranks from what a trained adapter used: those of its compression, under the names of the model's structure."""

import json

import pytest
import torch
from peft import LoraConfig, get_peft_model
from tiny_models import save_tiny_model, tiny_model
from transformers import AutoModelForSequenceClassification

from gelora.cli import main
from gelora.errors import GeloraError, InputError
from gelora.ranks import compress_adapter, look_back_scores, plan_at_budget
from gelora.records import ModuleScores, RankPlan
from gelora.sources import model_structure

ATTENTION = ["query", "key", "value", "attention.output.dense"]


def save_adapter(model, folder, **options):
    torch.manual_seed(1)
    adapted = get_peft_model(model, LoraConfig(**{"r": 6, "target_modules": ATTENTION, "init_lora_weights": False} | options))
    adapted.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("look_back")
    save_tiny_model("bert", folder / "model")
    save_adapter(AutoModelForSequenceClassification.from_pretrained(folder / "model"), folder / "adapter")
    return folder, model_structure(str(folder / "model"))


def test_at_one_budget_the_ranks_are_those_of_the_compression(bert, tmp_path):
    folder, structure = bert
    scores = look_back_scores(folder / "adapter", structure)
    assert ModuleScores.from_json(scores.to_json()) == scores and len(scores.scores) == 12
    budget = 3 * 12 * 64 + 64 * 5
    plan = plan_at_budget("look-back", budget, structure, scores=scores)
    cut = compress_adapter(folder / "adapter", tmp_path / "out", budget=f"params:{budget}")
    assert plan.ranks == {module.module.removeprefix("bert."): module.kept for module in cut.modules}
    assert plan.n_adapter_params == budget and len(set(plan.ranks.values())) > 1


def test_every_matrix_keeps_one_and_none_gets_more_than_the_adapter_had(bert):
    folder, structure = bert
    scores = look_back_scores(folder / "adapter", structure)
    assert set(plan_at_budget("look-back", 12 * 64, structure, scores=scores).ranks.values()) == {1}
    rich = plan_at_budget("look-back", 9 * 12 * 64, structure, scores=scores)
    assert set(rich.ranks.values()) == {6} and rich.shortfall == 3 * 12 * 64


def test_the_command_plans_with_it_alone_and_among_all(bert, tmp_path, capsys):
    folder, structure = bert
    given = ["--model", str(folder / "model"), "--adapter", str(folder / "adapter"), "--match", "uniform:2"]
    assert main(["plan", "--strategy", "look-back", *given, "--json", str(tmp_path / "plan.json")]) == 0
    plan = RankPlan.from_json((tmp_path / "plan.json").read_text())
    wanted = plan_at_budget("look-back", 2 * 12 * 64, structure, scores=look_back_scores(folder / "adapter", structure))
    assert plan.ranks == wanted.ranks and plan.strategy == "look-back"
    capsys.readouterr()
    assert main(["plan", "--strategy", "look-back", "--model", str(folder / "model"), "--match", "uniform:2"]) == 2
    assert "look-back needs an adapter trained at a high rank: --adapter" in capsys.readouterr().err


def test_adapters_that_say_nothing_of_this_model_are_one_sentence(bert, tmp_path):
    folder, structure = bert
    scores = look_back_scores(folder / "adapter", structure)
    with pytest.raises(InputError, match="choose the adapter's own target modules"):
        plan_at_budget("look-back", 10_000, structure, "all-linear", scores=scores)
    with pytest.raises(InputError, match="needs a trained adapter of this model"):
        plan_at_budget("look-back", 10_000, structure)
    with pytest.raises(InputError, match="is untrained"):
        look_back_scores(save_adapter(tiny_model("bert"), tmp_path / "fresh", init_lora_weights=True), structure)
    with pytest.raises(InputError, match="trained from PEFT's default beginning"):
        look_back_scores(save_adapter(tiny_model("bert"), tmp_path / "pissa", init_lora_weights="pissa"), structure)
    with pytest.raises(GeloraError, match="does not fit"):
        look_back_scores(save_adapter(tiny_model("llama"), tmp_path / "llama", target_modules=["q_proj"]), structure)
    narrow = json.loads(structure.to_json())
    for module in narrow["modules"]:
        module["in_features"] = 16
    with pytest.raises(GeloraError, match="other shapes"):
        look_back_scores(folder / "adapter", type(structure).from_json(json.dumps(narrow)))
