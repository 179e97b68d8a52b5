"""Rows come from files and the hub as they are written there; columns are found by name; a wrong file is one sentence."""

import json
import os
import subprocess
import sys

import pytest

from gelora.errors import DataError, HubError, InputError
from gelora.records import DataChoice
from gelora.sources.tables import read_table

ROWS = [{"sentence": f"Sentence number {i}.", "label": i % 2, "idx": i} for i in range(8)]


def jsonl(path, rows):
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def settled(choice):
    used = read_table(choice).choice
    return used.text_column, used.pair_column, used.label_column


# columns


@pytest.mark.parametrize(
    ("dataset", "columns"),
    [
        ("glue/sst2", ("sentence", None, "label")),
        ("glue/cola", ("sentence", None, "label")),
        ("glue/mrpc", ("sentence1", "sentence2", "label")),
        ("glue/rte", ("sentence1", "sentence2", "label")),
        ("glue/stsb", ("sentence1", "sentence2", "label")),
        ("uci-sentiment", ("sentence", None, "label")),
        ("squad", ("question", "context", None)),
        ("alpaca-1k", ("instruction", None, None)),
    ],
)
def test_the_columns_of_real_data_are_found(dataset, columns, shared_data):
    folder = shared_data / dataset
    file = folder / "validation.jsonl"
    assert settled(DataChoice(str(file if file.is_file() else folder / "train.jsonl"))) == columns


@pytest.mark.parametrize(
    ("row", "columns"),
    [
        ({"premise": "a", "hypothesis": "b", "label": 0}, ("premise", "hypothesis", "label")),
        ({"question1": "a", "question2": "b", "is_duplicate": 0}, ("question1", "question2", None)),
        ({"question": "a", "sentence": "b", "label": 0}, ("question", "sentence", "label")),
        ({"Text": "a", "Labels": 1}, ("Text", None, "Labels")),
        ({"id": "x1", "source": "web", "words": "a text", "score": 0.5}, ("words", None, "score")),
        ({"idx": 1, "label": "good", "anything": "a text"}, ("anything", None, "label")),
    ],
)
def test_columns_are_found_by_name(row, columns, tmp_path):
    assert settled(DataChoice(jsonl(tmp_path / "data.jsonl", [row, row]))) == columns


def test_a_choice_of_none_is_kept_so_that_the_same_is_read_again(tmp_path):
    file = jsonl(tmp_path / "data.jsonl", [{"sentence1": "a", "sentence2": "b", "label": 0}] * 2)
    choice = DataChoice(file, pair_column="", label_column="")
    used = read_table(choice).choice
    assert (used.text_column, used.pair_column, used.label_column) == ("sentence1", "", "")
    assert read_table(used).choice == used


@pytest.mark.parametrize("role", ["text_column", "pair_column", "label_column"])
def test_a_missing_column_names_those_there_are(role, tmp_path):
    with pytest.raises(InputError, match=r"no column 'nope'.*sentence, label, idx"):
        read_table(DataChoice(jsonl(tmp_path / "data.jsonl", ROWS), **{role: "nope"}))


def test_one_column_cannot_be_both_texts_of_a_pair(tmp_path):
    with pytest.raises(InputError, match="two columns"):
        read_table(DataChoice(jsonl(tmp_path / "data.jsonl", ROWS), text_column="sentence", pair_column="sentence"))


def test_data_without_a_text_column_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no column with text.*x, y"):
        read_table(DataChoice(jsonl(tmp_path / "data.jsonl", [{"x": 1, "y": 2}])))


def test_the_bundled_data_has_texts_and_labels_and_no_splits():
    table = read_table(DataChoice("docstrings"))
    assert list(table.columns) == ["text", "label"] and table.n_rows > 8_000 and table.splits == ()
    with pytest.raises(InputError, match="no split"):
        read_table(DataChoice("docstrings", split="train"))


# files


def test_the_three_kinds_of_file_hold_the_same_rows(tmp_path):
    import pandas as pd

    frame = pd.DataFrame(ROWS)
    frame.to_csv(tmp_path / "data.csv", index=False)
    frame.to_parquet(tmp_path / "data.parquet")
    expected = {key: [row[key] for row in ROWS] for key in ROWS[0]}
    for file in (jsonl(tmp_path / "data.jsonl", ROWS), tmp_path / "data.parquet"):
        assert read_table(DataChoice(str(file))).columns == expected, file
    cells = {key: [str(value) for value in values] for key, values in expected.items()}
    assert read_table(DataChoice(str(tmp_path / "data.csv"))).columns == cells


def test_the_revision_follows_the_content_of_the_file(tmp_path):
    one, other = jsonl(tmp_path / "one.jsonl", ROWS), jsonl(tmp_path / "other.jsonl", ROWS)
    revision = read_table(DataChoice(one)).revision
    assert len(revision) == 16 and revision == read_table(DataChoice(other)).revision
    assert read_table(DataChoice(jsonl(tmp_path / "other.jsonl", ROWS[1:]))).revision != revision


def test_values_of_a_csv_stay_what_they_are(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text('text;label;score\r\n"NA";1;0.5\r\n"two\r\nlines; and \u201cquotes\u201d";0;1\r\nNone;1;\r\n', encoding="utf-8-sig")
    table = read_table(DataChoice(str(file)))
    assert table.columns["text"][::2] == ["NA", "None"]
    assert table.columns["text"][1].split() == ["two", "lines;", "and", "\u201cquotes\u201d"]
    assert table.columns["label"] == ["1", "0", "1"] and table.columns["score"] == ["0.5", "1", ""]


def test_very_long_texts_are_read(tmp_path):
    file = tmp_path / "data.csv"
    file.write_text("text,label\n" + "word " * 60_000 + ",1\nshort,0\n")
    assert len(read_table(DataChoice(str(file))).columns["text"][0]) == 300_000


def test_a_key_that_some_lines_lack_is_missing_there(tmp_path):
    table = read_table(DataChoice(jsonl(tmp_path / "data.jsonl", [{"text": "a", "label": 1}, {"text": "b", "extra": 2}])))
    assert table.columns == {"text": ["a", "b"], "label": [1, None], "extra": [None, 2]}


def test_class_names_are_read_from_a_parquet_file_of_datasets(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features).to_parquet(tmp_path / "data.parquet")
    assert read_table(DataChoice(str(tmp_path / "data.parquet"))).class_names == {"label": ("bad", "good")}


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("missing.jsonl", None, r"no file .*missing\.jsonl.*\.csv"),
        ("missing.json", None, r"no file .*\.csv, \.tsv, \.jsonl.*\.parquet"),
        ("data.feather", b"text", r"'\.feather'.*\.csv, \.tsv, \.jsonl"),
        ("data.json", b"5", r"line 1 is int"),
        ("noending", b"text", r"'nothing'.*\.jsonl"),
        ("empty.jsonl", b"\n \n", "is empty"),
        ("empty.csv", b"", "is empty"),
        ("empty.parquet", b"", "is empty"),
        ("binary.jsonl", bytes(range(256)), "not UTF-8"),
        ("binary.csv", bytes(range(128, 256)), "not UTF-8"),
        ("wrong.parquet", b"PAR1 but not really", "cannot be read as Parquet"),
        ("wrong.jsonl", b'{"text": "a"}\n\n{"text": \n', "line 3 is not JSON"),
        ("list.jsonl", b'{"text": "a"}\n["b"]\n', "line 2 is list"),
        ("ragged.csv", b"text,label\na,1\nb,1,2,3\n", r"line 3 has 4 cells \('b', '1', '2', '3'\), and the header 2"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(name, content, says, tmp_path):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=says) as caught:
        read_table(DataChoice(str(tmp_path / name)))
    assert "\n" not in str(caught.value)


def test_a_csv_with_its_header_alone_has_no_rows(tmp_path):
    (tmp_path / "data.csv").write_text("text,label\n")
    with pytest.raises(DataError, match="no rows"):
        read_table(DataChoice(str(tmp_path / "data.csv")))


def test_a_folder_is_no_file(tmp_path):
    with pytest.raises(InputError, match="folder"):
        read_table(DataChoice(str(tmp_path)))


@pytest.mark.parametrize("option", ["split", "config"])
def test_a_file_has_no_split_and_no_configuration(option, tmp_path):
    with pytest.raises(InputError, match="no split or configuration"):
        read_table(DataChoice(jsonl(tmp_path / "data.jsonl", ROWS), **{option: "train"}))


def test_a_file_without_permission_is_one_sentence(tmp_path, monkeypatch):
    from pathlib import Path

    def refuse(self):
        raise PermissionError(13, "Permission denied")

    file = jsonl(tmp_path / "data.jsonl", ROWS)
    monkeypatch.setattr(Path, "read_bytes", refuse)
    with pytest.raises(InputError, match="Permission denied"):
        read_table(DataChoice(file))


# the hub; its library reads its switches when it is imported, hence the processes

SCRIPT = """
import sys
from gelora.errors import GeloraError
from gelora.records import DataChoice
from gelora.sources.tables import read_table
for arguments in {choices!r}:
    try:
        table = read_table(DataChoice(**arguments))
        print(table.choice.config, table.choice.split, table.n_rows, table.revision, table.splits, table.class_names, list(table.columns))
    except GeloraError as error:
        print(type(error).__name__, error)
"""


def read_apart(fake_hub, *choices, **environment):
    """What a process of its own reads, one line a choice; it must print nothing else."""
    code = SCRIPT.format(choices=[{"dataset": "org/data"} | choice for choice in choices])
    result = subprocess.run([sys.executable, "-c", code], env=os.environ | environment, capture_output=True, text=True, check=True)
    assert result.stderr == ""
    return result.stdout.splitlines()


@pytest.fixture
def repository(fake_hub, tmp_path):
    folder = tmp_path / "repository"
    for config in ("small", "large"):
        (folder / config).mkdir(parents=True)
        rows = [{"text": f"{config} {i}", "label": i % 2 - (i == 3)} for i in range(4 if config == "small" else 6)]
        jsonl(folder / config / "train.jsonl", rows)
        jsonl(folder / config / "test.jsonl", rows[:2])
    configs = "".join(
        f"- config_name: {config}\n  data_files:\n  - split: train\n    path: {config}/train.jsonl\n"
        f"  - split: test\n    path: {config}/test.jsonl\n"
        for config in ("small", "large")
    )
    (folder / "README.md").write_text(f"---\nconfigs:\n{configs}---\n")
    fake_hub.repositories["dataset", "org/data"] = folder
    return folder


def test_a_hub_dataset_is_read_with_its_configuration_and_split_and_then_works_without_a_network(fake_hub, repository):
    commit = "c0ffee" + "0" * 34
    lines = read_apart(
        fake_hub,
        {"config": "small"},
        {"config": "large", "split": "test"},
        {},
        {"config": "none"},
        {"config": "small", "split": "validation"},
    )
    assert lines[0] == f"small train 4 {commit} ('train', 'test') {{}} ['text', 'label']"
    assert lines[1].startswith(f"large test 2 {commit}")
    assert lines[2].startswith("InputError") and "small" in lines[2] and "large" in lines[2]
    assert lines[3].startswith("InputError") and "small" in lines[3] and "large" in lines[3]
    assert lines[4] == "InputError 'org/data' has no split 'validation'; choose one of: train, test."
    n_requests = len(fake_hub.requests)
    for switch in ({"HF_HUB_OFFLINE": "1"}, {"HF_ENDPOINT": "http://127.0.0.1:9"}):
        assert read_apart(fake_hub, {"config": "small"}, **switch) == lines[:1]
    assert len(fake_hub.requests) == n_requests


def test_an_unknown_dataset_is_one_sentence(fake_hub):
    (line,) = read_apart(fake_hub, {"dataset": "org/unknown"})
    assert line.startswith("HubError The hub has no dataset 'org/unknown'") and "docstrings" in line


def test_files_in_the_hubs_cache_are_read_without_a_network(tmp_path, monkeypatch):
    revision = "ab" * 20
    repository = tmp_path / "hub" / "datasets--org--mine"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    (repository / "snapshots" / revision).mkdir(parents=True)
    jsonl(repository / "snapshots" / revision / "train.jsonl", ROWS)
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    table = read_table(DataChoice("org/mine"))
    assert (table.n_rows, table.revision, table.choice.split) == (8, revision, "train")


def test_classes_of_the_hub_keep_their_names_and_minus_one_is_no_class(tmp_path, monkeypatch):
    from datasets import ClassLabel, Dataset, Features, Value

    revision = "cd" * 20
    repository = tmp_path / "hub" / "datasets--org--named"
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(revision)
    snapshot = repository / "snapshots" / revision
    snapshot.mkdir(parents=True)
    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    data = {"text": ["a", "b", "c"], "label": [1, -1, 0]}
    Dataset.from_dict(data, features=features).to_parquet(snapshot / "train.parquet")
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    table = read_table(DataChoice("org/named"))
    assert table.class_names == {"label": ("bad", "good")}
    assert table.columns["label"] == [1, None, 0]


def test_offline_mode_is_named_as_the_reason(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(HubError, match=r"offline mode is on.*docstrings"):
        read_table(DataChoice("org/not-cached"))
