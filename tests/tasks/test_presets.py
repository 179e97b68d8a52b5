"""Presets: the field's metric of every task, and how a hub id or a folder is recognised."""

import pytest

from gelora.errors import InputError
from gelora.records import DataChoice
from gelora.tasks import PRESETS, apply_preset, preset_of

GLUE_METRICS = {
    "cola": "eval_matthews", "sst2": "eval_accuracy", "mrpc": "eval_f1", "stsb": "eval_pearson", "qqp": "eval_f1",
    "mnli": "eval_accuracy", "qnli": "eval_accuracy", "rte": "eval_accuracy", "wnli": "eval_accuracy",
}  # fmt: skip


def test_every_task_has_its_own_metric():
    assert {name: preset.main_metric for name, preset in PRESETS.items() if name in GLUE_METRICS} == GLUE_METRICS
    others = {name: preset.main_metric for name, preset in PRESETS.items() if name not in GLUE_METRICS}
    assert others == {"squad": "eval_f1", "squad_v2": "eval_f1", "alpaca": "eval_perplexity"}


@pytest.mark.parametrize(
    ("data", "name"),
    [
        (DataChoice("nyu-mll/glue", "cola"), "cola"),
        (DataChoice("glue", "stsb"), "stsb"),
        (DataChoice("glue"), None),
        (DataChoice("glue", "ax"), None),
        (DataChoice("rajpurkar/squad"), "squad"),
        (DataChoice("squad_v2"), "squad_v2"),
        (DataChoice("tatsu-lab/alpaca"), "alpaca"),
        (DataChoice("/data/glue/rte/train.jsonl"), "rte"),
        (DataChoice("/data/GLUE/STS-B/dev.csv"), "stsb"),
        (DataChoice("/data/rte/train.jsonl"), None),
        (DataChoice("/data/squad_v2/train.jsonl"), "squad_v2"),
        (DataChoice("/data/alpaca-1k/train.jsonl"), "alpaca"),
        (DataChoice("/data/glue/rte/notes.txt"), None),
        (DataChoice("docstrings"), None),
        (DataChoice("nyu-mll/glue", "cola", text_column="sentence", pair_column="", label_column="label"), "cola"),
        (DataChoice("nyu-mll/glue", "cola", label_column="idx"), None),
    ],
)
def test_hub_ids_and_folders_are_recognised(data, name):
    found = preset_of(data)
    assert (found.name if found else None) == name


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_a_preset_fills_a_run_from_the_hub(name):
    choice = apply_preset(name)
    assert preset_of(choice.data) is PRESETS[name]
    assert choice.training.task == PRESETS[name].kind
    assert choice.held_out is None or preset_of(choice.held_out) is PRESETS[name]
    assert (choice.held_out is None) == (name == "alpaca")
    if name == "mnli":
        assert choice.held_out.split == "validation_matched"


def test_a_preset_fills_a_run_from_a_folder(tmp_path):
    (tmp_path / "validation.csv").write_text("x")
    with pytest.raises(InputError, match=r"has no train file \(\.csv"):
        apply_preset("rte", tmp_path)
    (tmp_path / "train.jsonl").write_text("x")
    choice = apply_preset("rte", tmp_path)
    assert (choice.data.dataset, choice.held_out.dataset) == (str(tmp_path / "train.jsonl"), str(tmp_path / "validation.csv"))
    with pytest.raises(InputError, match="Unknown preset 'boolq'"):
        apply_preset("boolq")


@pytest.mark.parametrize("name", ["cola", "sst2", "mrpc", "rte", "stsb"])
def test_presets_fit_the_real_files(shared_data, name):
    from gelora.tasks import propose

    choice = apply_preset(name, shared_data / "glue" / name)
    found = propose(choice.data)
    assert found.kind == PRESETS[name].kind
    assert propose(choice.held_out, found.kind).label_column == "label"
    assert preset_of(choice.data) is PRESETS[name]
