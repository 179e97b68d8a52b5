"""The bundled sentences: real, many, no templates, and the label is not given away."""

import re
import subprocess
import sys
from collections import Counter

import pytest

from gelora.sources import docstrings, load_sample


@pytest.fixture(scope="module")
def rows():
    return docstrings.docstring_rows()[0]


def test_there_are_thousands_from_each_package(rows):
    counts = Counter(row["label"] for row in rows)
    assert set(counts) == set(docstrings.PACKAGES)
    assert len(rows) > 10_000 and min(counts.values()) > 800


def test_every_text_is_distinct_and_of_the_promised_length(rows):
    texts = [row["text"] for row in rows]
    assert len({text.lower() for text in texts}) == len(texts)
    assert len({docstrings.template(text) for text in texts}) == len(texts)
    assert all(len(text) >= 20 and "\n" not in text for text in texts)


def test_no_text_names_its_own_package(rows):
    for row in rows:
        for alias in docstrings.PACKAGES[row["label"]][1]:
            assert not re.search(rf"(?<![\w-]){re.escape(alias)}(?![\w-])", row["text"], flags=re.IGNORECASE), row


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("Return the mean of NumPy arrays along an axis.\n\nMore.", "Return the mean of library arrays along an axis."),
        ("Return the mean\n    of the values along an axis.", "Return the mean of the values along an axis."),
        ("Too short.", None),
        (".. deprecated:: 1.0 use something else instead of this", None),
        (">>> print('an example is no sentence at all')", None),
        ("x" * 301, None),
    ],
)
def test_a_docstring_becomes_a_sentence_or_nothing(docstring, expected):
    assert docstrings.sentence(docstring, "numpy") == expected


def test_templates_agree_where_only_names_and_numbers_differ():
    one, other = "Sets the `color` of the 3 first markers on screen.", "Sets the `width` of the 12 first markers on paper."
    assert docstrings.template(one) == docstrings.template(other)
    assert docstrings.template(one) != docstrings.template("Gets the color of the first markers on screen.")


def test_a_damaged_cache_is_read_anew(rows, gelora_home, monkeypatch):
    monkeypatch.setattr(docstrings, "_scan", lambda progress: rows[:20])
    assert docstrings.docstring_rows()[0] == rows[:20]
    (cache,) = (gelora_home / "cache" / "docstrings").glob("*.json")
    monkeypatch.setattr(docstrings, "_scan", lambda progress: pytest.fail("a good cache must be used"))
    assert docstrings.docstring_rows()[0] == rows[:20]
    cache.write_text('[{"text": "half a')
    monkeypatch.setattr(docstrings, "_scan", lambda progress: rows[20:40])
    assert docstrings.docstring_rows()[0] == rows[20:40]


def test_the_packages_are_read_not_imported(rows):
    code = (
        "import sys; from gelora.sources import docstrings as d; "
        "list(d._docstrings(d._source_files('plotly')[0])); print('plotly' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "False"


def test_a_sample_has_every_package(rows):
    sample = load_sample("docstrings", n_samples=300)
    assert sample.label_names == tuple(sorted(docstrings.PACKAGES)) and len(set(sample.labels)) == 6
