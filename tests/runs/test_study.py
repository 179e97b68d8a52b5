"""`gelora study`: what a file asks for, a study that goes on where it was, and what it leaves."""

import json
from pathlib import Path

import pytest

from gelora import cli
from gelora.errors import InputError, StoreError
from gelora.records import NotRun, Study
from gelora.runs import list_runs, read_study, study_files, write_study
from gelora.study_findings import verdict

STUDY = """
name = "trial"
budgets = ["uniform:1", "uniform:2"]
[race]
strategies = ["uniform", "random"]
steps = 3
seeds = [0, 1]
batch-size = 4
held-out-rows = 20
n-samples = 60
max-length = 16
learning-rates = [5e-4, 2e-3]
device = "cpu"
[tasks.made]
model = "{model}"
dataset = "{data}"
[arms.twice]
strategy = "uniform"
times = 2.0
"""


def written(tmp_path, text):
    path = tmp_path / "study.toml"
    path.write_text(text)
    return str(path)


def test_a_study_races_every_task_at_every_budget_and_goes_on_where_it_was(tiny_bert, labelled_file, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(Path(labelled_file).parent)
    path = written(tmp_path, STUDY.format(model=tiny_bert, data=Path(labelled_file).name))
    out = tmp_path / "out.json"
    assert cli.main(["study", path, "--json", str(out)]) == 0
    found = Study.from_json(out.read_text())
    assert {(row.task, row.budget) for row in found.rows} == {("made", "uniform:1"), ("made", "uniform:2")}
    assert {row.arm for row in found.rows} == {"uniform", "random", "twice"}
    assert {row.dataset for row in found.rows} == {Path(labelled_file).name}  # as the file names it, not where it lies here
    assert len(found.rows) == 2 * 3 * 2  # budgets, arms, rates
    for budget in ("uniform:1", "uniform:2"):
        rows = [row for row in found.rows if row.budget == budget]
        assert sum(row.is_reference for row in rows) == 1
        assert sum(row.is_best_rate for row in rows) == 3
        assert all(row.eval_loss == pytest.approx(sum(row.losses) / 2) for row in rows)
        reference = next(row for row in rows if row.is_reference)
        twice = next(row for row in rows if row.arm == "twice")
        assert reference.arm == "uniform" and twice.n_adapter_params == 2 * reference.n_adapter_params
        assert all(row.difference == pytest.approx(row.eval_loss - reference.eval_loss) for row in rows if not row.is_reference)
    assert not found.not_run and "transformers" in found.made_with
    assert (
        "trial.json" in [path.name for path in study_files()]
        and read_study(next(path for path in study_files() if path.stem == found.name)) == found
    )
    assert "difference to uniform" in capsys.readouterr().out

    runs = {info.id for info in list_runs()}
    assert cli.main(["study", path, "--json", str(out)]) == 0
    assert {info.id for info in list_runs()} == runs  # nothing was trained again
    assert Study.from_json(out.read_text()) == found


def test_a_study_races_its_blocks_and_measures_what_might_tell(tiny_bert, labelled_file, tmp_path, capsys):
    text = STUDY.format(model=tiny_bert, data=labelled_file).replace('budgets = ["uniform:1", "uniform:2"]', 'budgets = ["uniform:2"]')
    text = text.replace("learning-rates = [5e-4, 2e-3]", "learning-rates = [5e-4]").replace('"uniform", "random"', '"uniform", "gradient"')
    path = written(tmp_path, text + '[blocks]\nchanges = ["alone", "without"]\ngroups = 2\n')
    out = tmp_path / "out.json"
    assert cli.main(["study", path, "--json", str(out)]) == 0
    found = Study.from_json(out.read_text())
    of = {change: [row for row in found.rows if row.change == change] for change in ("", "alone", "without")}
    assert {row.arm for row in of[""]} == {"uniform", "gradient", "twice"}
    for change in ("alone", "without"):
        assert [row.is_reference for row in of[change]] == [True, False, False]
        assert [bool(row.blocks) for row in of[change]] == [False, True, True]
    (first, second), reference = of["alone"][1:], of["alone"][0]
    assert first.n_adapter_params <= reference.n_adapter_params and set(first.blocks) & set(second.blocks) == set()
    assert [sum(bool(rank) for rank in row.block_ranks) for row in of["without"][1:]] == [
        len(reference.block_ranks) - len(row.blocks) for row in of["without"][1:]
    ]
    (table,) = found.predictors
    assert table.task == "made" and {"depth", "rise:twonn", "overlap", "score:gradient"} <= set(table.values)
    assert all(len(values) == len(reference.block_ranks) for values in table.values.values())
    assert verdict(found.rows, "uniform").n_compared == 1  # blocks are no strategies
    assert "blocks alone" in capsys.readouterr().out


def test_a_task_that_cannot_race_takes_no_other_away(tiny_bert, labelled_file, tmp_path):
    text = STUDY.format(model=tiny_bert, data=labelled_file).replace('budgets = ["uniform:1", "uniform:2"]', 'budgets = ["uniform:1"]')
    path = written(tmp_path, text.replace("seeds = [0, 1]", "seeds = [0]") + '[tasks.absent]\ndataset = "no/such.jsonl"\n')
    out = tmp_path / "out.json"
    assert cli.main(["study", path, "--json", str(out)]) == 1
    found = Study.from_json(out.read_text())
    assert {row.task for row in found.rows} == {"made"}
    assert [(one.task, one.budget) for one in found.not_run] == [("absent", "uniform:1")]
    assert "no/such.jsonl" in found.not_run[0].reason


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (('strategies = ["uniform", "random"]', 'strategies = ["uniform", "randm"]'), "randm"),
        (("steps = 3", 'steps = "many"'), "[race]: steps is 'many'; give a whole number"),
        (("steps = 3", "stepps = 3"), "knows no 'stepps'"),
        (("[arms.twice]", "[arms.random]"), "has the name of a strategy"),
        (("times = 2.0", 'times = "two"'), "times as a number"),
        (("times = 2.0", "batch-size = 2"), "knows no 'batch-size'"),
        (('strategy = "uniform"\n', ""), 'give strategy = "..."'),
        (('budgets = ["uniform:1", "uniform:2"]', "budgets = []"), "needs budgets"),
        (("[tasks.made]", "[task.made]"), "knows no 'task'"),
        (('name = "trial"', 'name = "../trial"'), "The study's name"),
        (("[arms.twice]", '[blocks]\nchanges = ["half"]\n[arms.twice]'), "alone, twice, without"),
        (("[arms.twice]", "[blocks]\ngroups = 3\n[arms.twice]"), "changes ="),
        (("[arms.twice]", '[blocks]\nchanges = ["alone"]\ngroups = 0\n[arms.twice]'), "groups"),
        (("[arms.twice]", '[blocks]\nchange = ["alone"]\n[arms.twice]'), "knows no 'change'"),
        (('name = "trial"', 'name = "trial'), "is no TOML"),
    ],
)
def test_a_file_that_asks_for_what_there_is_not_is_refused_before_anything_starts(change, said, tmp_path, capsys):
    before = {info.id for info in list_runs()}
    assert cli.main(["study", written(tmp_path, STUDY.format(model="m", data="d").replace(*change))]) == 2
    assert said in capsys.readouterr().err
    assert {info.id for info in list_runs()} == before


def test_a_study_is_kept_and_read_back_or_said_to_be_none(tmp_path):
    study = Study("one", "uniform", (), (NotRun("task", "uniform:1", "why"),), {"python": "3.11"})
    assert read_study(write_study(study)) == study
    (tmp_path / "bad.json").write_text(json.dumps({"name": 1}))
    with pytest.raises(StoreError, match="no readable study"):
        read_study(tmp_path / "bad.json")
    with pytest.raises(InputError, match="The study's name"):
        write_study(Study("a/b", "uniform", (), (), {}))
