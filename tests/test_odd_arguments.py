"""Arguments that no file, user, number or seed can be: one sentence each, and status 2."""

import pytest
import torch
from scipy import sparse

from gelora.cli import main
from gelora.errors import InputError
from gelora.geometry import PointCloud, TwoNN, neighbor_graph
from gelora.home import local_path
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import list_runs

NAMES = ["~nosuchuser/x.csv", "x" * 300 + ".csv", "folder/" + "x" * 300 + ".csv", "a\0b.csv", "x/" * 3000 + "x.csv"]


@pytest.mark.parametrize("name", NAMES)
def test_a_name_that_no_file_can_have_is_a_path_where_nothing_is(name):
    assert not local_path(name).exists()
    assert not local_path(name).is_dir()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "arguments",
    [
        ("measure", "--n-samples", "20", "--dataset"),
        ("measure", "--n-samples", "20", "--model"),
        ("plan", "--strategy", "uniform", "--model"),
        ("plan", "--profile"),
        ("plan", "--adapter"),
        ("train", "--rank", "2", "--detach", "--held-out", "x.csv", "--dataset"),
        ("train", "--detach", "--plan"),
        ("train", "--detach", "--spec"),
        ("runs",),
        ("stop",),
        ("preview", "--dataset"),
    ],
    ids=" ".join,
)
def test_it_is_one_sentence_of_every_command(arguments, name, capsys):
    try:
        status = main([*arguments, name])
    except SystemExit as left:  # argparse's own refusal
        status = left.code
    said = capsys.readouterr().err
    if arguments[0] == "train" and arguments[-1] == "--dataset" and status == 0:  # a run that says so itself
        return
    assert status == 2, said
    assert "Traceback" not in said


@pytest.mark.parametrize("rank", ["²", "٣x", "-1", "1.5", "", "1_0"])
def test_a_rank_that_is_no_whole_number_is_named(rank, tmp_path, capsys):
    assert main(["plan", "--strategy", "uniform", "--set-rank", f"3={rank}"]) == 2
    assert "--set-rank" in capsys.readouterr().err


@pytest.mark.parametrize("seed", [-1, 2**32, 1.5, True, "1"])
def test_a_seed_that_no_generator_takes_is_refused_where_it_is_given(seed):
    with pytest.raises(InputError, match=r"The seed is .*; it must be a whole number from 0 to 4294967295"):
        RunSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), None, TrainingConfig(method="head"), seed)


def test_no_run_is_left_by_a_seed_that_is_refused(gelora_home, capsys):
    assert main(["train", "--dataset", "docstrings", "--method", "head", "--seed", "-1", "--detach"]) == 2
    assert "The seed is -1" in capsys.readouterr().err
    assert list_runs() == []


def test_what_no_memory_holds_is_one_sentence(monkeypatch, capsys):
    def full(*_):
        raise MemoryError("Unable to allocate 90. GiB")

    monkeypatch.setattr("gelora.commands.estimators", full)
    assert main(["estimators"]) == 2
    assert capsys.readouterr().err.startswith("gelora: out of memory (Unable to allocate 90. GiB): ask for fewer samples")


@pytest.mark.parametrize(
    ("points", "sentence"),
    [
        (sparse.eye_array(30), "sparse matrix .*X.toarray"),
        (torch.eye(30).to_sparse(), "not a table of numbers"),
        (torch.empty(30, 3, device="meta"), "not a table of numbers"),
        ([[1.0, 2.0], [3.0]], "not a table of numbers"),
        ([["a", "b"]] * 30, "not a table of numbers"),
        (None, "must be two-dimensional"),
    ],
    ids=["scipy sparse", "torch sparse", "meta", "ragged", "words", "None"],
)
def test_points_that_are_no_table_are_one_sentence(points, sentence):
    for use in (PointCloud, TwoNN().fit, lambda X: neighbor_graph(X, 3)):
        with pytest.raises(InputError, match=sentence):
            use(points)


HUGE = 10**30


@pytest.mark.parametrize(
    "arguments",
    [
        ("measure", "--n-subsamples"),
        ("measure", "--n-samples"),
        ("measure", "--n-neighbors"),
        ("measure", "--max-length"),
        ("measure", "--seed"),
        ("preview", "--rows"),
        ("calibrate", "--n-samples"),
        ("calibrate", "--dimension"),
        ("calibrate", "--width"),
        ("calibrate", "--draws"),
        ("calibrate", "--n-neighbors"),
        ("plan", "--strategy", "uniform", "--offset"),
        ("plan", "--strategy", "uniform", "--n-labels"),
        ("train", "--detach", "--rank"),
        ("train", "--detach", "--rank", "2", "--seed"),
        ("train", "--detach", "--rank", "2", "--epochs"),
        ("train", "--detach", "--rank", "2", "--runs-at-once"),
        ("race", "--steps"),
        ("race", "--batch-size"),
        ("race", "--held-out-rows"),
        ("runs", "--log"),
        ("dashboard", "--port"),
    ],
    ids=" ".join,
)
def test_a_number_that_nothing_can_count_is_one_sentence(arguments, gelora_home, tmp_path, capsys):
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(f'{{"text": "the river and the stone number {i}"}}\n' for i in range(40)))
    arguments = [arguments[0], "--dataset", str(data), *arguments[1:]] if arguments[0] == "measure" else arguments
    assert main([*arguments, str(HUGE)]) == 2
    *earlier, sentence = capsys.readouterr().err.splitlines()
    assert sentence.startswith("gelora: ") and len(sentence) < 400
    assert not any(line.startswith(("Traceback", "Reading the model")) for line in earlier)
    assert list_runs() == []


@pytest.mark.parametrize("option", ["--json", "--csv", "--lora-config", "--budget-json"])
@pytest.mark.parametrize("name", ["a\0b", "x" * 300])
def test_a_name_that_no_file_can_have_is_refused_for_what_is_written(option, name, capsys):
    assert main(["plan", "--strategy", "uniform", option, name]) == 2
    said = capsys.readouterr().err
    assert said.startswith("gelora: Cannot write") and "no file can have this name" in said
