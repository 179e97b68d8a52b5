"""A preview says how a dataset was read: first rows under their roles, counts, labels, and what stands in the way."""

import json

import pytest

from gelora.cli import main
from gelora.errors import InputError
from gelora.records import DataChoice
from gelora.sources import DataPreview, preview_dataset


@pytest.fixture
def pairs(tmp_path):
    rows = [{"premise": f"premise {i}", "hypothesis": f"hypothesis {i}", "label": ("no", "yes", "no")[i % 3]} for i in range(12)]
    rows += [{"premise": "", "hypothesis": "alone", "label": "no"}, {"premise": "PREMISE  0", "hypothesis": "another", "label": "yes"}]
    path = tmp_path / "pairs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def test_rows_stand_under_their_roles_and_are_counted(pairs):
    found = preview_dataset(DataChoice(pairs), 2)
    assert found.rows == (
        {"text": "premise 0", "second text": "hypothesis 0", "label": "no"},
        {"text": "premise 1", "second text": "hypothesis 1", "label": "yes"},
    )
    assert (found.n_rows, found.n_empty, found.n_usable, found.n_distinct, found.longest) == (14, 1, 13, 12, 13)
    assert (found.task, found.label_counts, found.n_classes) == ("classification", {"no": 8, "yes": 5}, 2)
    assert found.problem is None and "'premise' is the text, 'hypothesis' the second text." in found.taken_for
    assert DataPreview.from_json(found.to_json()) == found


def test_other_roles_and_another_task_are_followed(tmp_path):
    path = tmp_path / "stars.csv"
    path.write_text("title,body,stars\n" + "".join(f"title {i},body {i},{i % 5 + 1}\n" for i in range(20)))
    found = preview_dataset(DataChoice(str(path), text_column="body", label_task="regression"))
    assert found.rows[0] == {"text": "body 0", "label": "1"}
    assert (found.task, found.label_range, found.label_counts) == ("regression", (1.0, 5.0), {})
    assert any("from 1 to 5 (regression)" in said for said in found.taken_for)
    assert preview_dataset(DataChoice(str(path), label_column="")).task == "unlabeled"


@pytest.mark.parametrize(
    ("labels", "options", "says"),
    [
        (["a", "", "b", "a"], {}, "1 of 4 rows of the label column"),
        (["a", "b", "a", "b"], {"label_task": "regression"}, "holds words, such as 'a'"),
        ([f"text {i}" for i in range(4)], {"label_column": "label"}, "4 different words in 4 rows"),
    ],
)
def test_labels_that_cannot_be_used_are_a_problem_beside_the_columns(tmp_path, labels, options, says):
    path = tmp_path / "data.csv"
    path.write_text("text,label\n" + "".join(f"row {i},{label}\n" for i, label in enumerate(labels)))
    found = preview_dataset(DataChoice(str(path), **options))
    assert says in found.problem and found.columns == ("text", "label") and len(found.rows) == 4


def test_names_of_classes_are_shown_and_rows_without_one_are_counted(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features({"text": Value("string"), "label": ClassLabel(names=["bad", "good"])})
    data = {"text": [f"row {i}" for i in range(9)], "label": [i % 3 - 1 for i in range(9)]}
    Dataset.from_dict(data, features=features).to_parquet(tmp_path / "data.parquet")
    found = preview_dataset(DataChoice(str(tmp_path / "data.parquet")), 3)
    assert [row["label"] for row in found.rows] == ["", "bad", "good"]
    assert (found.n_unlabelled, found.n_usable, found.label_counts) == (3, 6, {"bad": 3, "good": 3})


def test_a_file_that_is_none_raises(tmp_path):
    picture = tmp_path / "picture.csv"
    picture.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    with pytest.raises(InputError, match=r"picture\.csv"):
        preview_dataset(DataChoice(str(picture)))


def test_the_command_shows_it_and_its_status_says_whether_the_data_can_be_used(pairs, tmp_path, capsys):
    assert main(["preview", "--dataset", pairs, "--rows", "1"]) == 0
    said = capsys.readouterr().out
    assert "premise 0" in said and "premise 1" not in said and "13 rows can be used" in said and "Labels: no 8, yes 5" in said
    assert main(["preview", "--dataset", pairs, "--label-task", "regression"]) == 1
    assert "Not usable so: The label column 'label'" in capsys.readouterr().out
    assert main(["preview", "--dataset", pairs, "--json", str(tmp_path / "preview.json")]) == 0
    assert DataPreview.from_json((tmp_path / "preview.json").read_text()).n_rows == 14
    assert main(["preview", "--dataset", str(tmp_path / "none.csv")]) == 2
