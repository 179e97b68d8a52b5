"""The bundled sentences: which are taken, what is hidden in them, and that they are read once."""

import json
import re

import pytest

import gelora.sources.docstrings as docstrings
from gelora.errors import Cancelled
from gelora.sources.docstrings import first_paragraph, read_docstrings, template_of


@pytest.fixture(scope="module")
def real(bundled_sentences):
    return read_docstrings()


@pytest.fixture
def small(monkeypatch, gelora_home, tmp_path):
    """Two packages of a few lines in place of the six; returns the folder of the sources."""
    names = {"numpy": ("numpy", "numpy"), "pandas": ("pandas", "pandas")}
    for name in names:
        (tmp_path / name / "tests").mkdir(parents=True)
        (tmp_path / name / "tests" / "test_it.py").write_text('"""A test module whose words are not documentation."""\n')
    (tmp_path / "numpy" / "a.py").write_text(
        '"""Routines for the linear algebra of numpy arrays."""\n'
        'class A:\n    """Container of homogeneous numbers, in any shape.\n\n    More words."""\n'
        "    if True:\n"
        '        def f(self):\n            """Return the sum of all the entries\n            along an axis."""\n'
    )
    (tmp_path / "numpy" / "broken.py").write_text('"""This file cannot be parsed, so it is left out."""\ndef (:\n')
    (tmp_path / "pandas" / "b.py").write_text('async def g():\n    """Group the rows of a frame by key."""\n')
    monkeypatch.setattr(docstrings, "_PACKAGES", names)
    monkeypatch.setattr(docstrings, "_source_files", lambda package: docstrings_files(tmp_path / package))
    return tmp_path


def docstrings_files(root):
    return [file for file in sorted(root.rglob("*.py")) if "tests" not in file.parts[-2]]


def test_the_real_packages_give_thousands_of_labelled_sentences(real):
    counts = [real.labels.count(i) for i in range(len(real.packages))]
    assert real.packages == ("numpy", "scipy", "sklearn", "pandas", "plotly", "streamlit")
    assert 8_000 < len(real.texts) == sum(counts) < 20_000
    assert min(counts) > 500


def test_every_sentence_is_distinct_clean_and_does_not_name_its_package(real):
    assert len(set(real.texts)) == len(real.texts)
    assert len({template_of(text) for text in real.texts}) == len(real.texts)
    for text, label in zip(real.texts, real.labels, strict=True):
        assert 30 <= len(text) <= 300
        assert text == " ".join(text.split())
        assert real.packages[label] not in text.lower(), text
        assert not re.search(r">>>|\.\. \w+::|----|====|%\(", text), text
    sklearn = [text for text, label in zip(real.texts, real.labels, strict=True) if real.packages[label] == "sklearn"]
    assert not any("scikit-learn" in text.lower() for text in sklearn)


def test_the_package_can_be_learnt_from_the_sentence(real):
    """The label must be in the words: a plain bag of words does far better than the largest class (0.23)."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import SGDClassifier

    places = list(range(0, len(real.texts), 4))
    texts, labels = [real.texts[i] for i in places], [real.labels[i] for i in places]
    words = TfidfVectorizer(min_df=2).fit_transform(texts)
    train, test = slice(0, None, 2), slice(1, None, 2)
    accuracy = SGDClassifier(random_state=0).fit(words[train], labels[train]).score(words[test], labels[test])
    assert accuracy > 0.55


@pytest.mark.parametrize(
    ("docstring", "expected"),
    [
        ("\n    Return the mean\n    of all   the values.\n\n    Parameters\n    ----------\n", "Return the mean of all the values."),
        ("A NumPy array is what np.array of numpy.core returns.", "A package array is what package.array of package.core returns."),
        ("An np of its own, the notnumpyhere function.", "An np of its own, the notpackagehere function."),
        ("Too short.", None),
        ("long words " * 40, None),
        (".. deprecated:: 1.0 Use the other function instead.", None),
        ("Use the other one. .. deprecated:: 1.0 It is better than this.", None),
        (">>> print('only a doctest in here, nothing else')", None),
        (":param x: the first of the two arguments of it", None),
        ("Parameters ---------- x : array_like, the input values", None),
        ("concatenate(arrays, axis=0, out=None, dtype=None)", None),
        ("%(name)s is filled in later with other words here", None),
        ("============ Linear algebra, the module ============", None),
        ("x = (1 - 2) ** 3 / 4 + [5, 6, 7] * {8: 9} - (10 + 11) and so on", None),
    ],
)
def test_the_first_paragraph_is_kept_when_it_is_prose(docstring, expected):
    assert first_paragraph(docstring, "numpy") == expected


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Sets the color of `marker.line` in pixels.", "Sets the color of `bar` in points.", True),
        ("Construct a new Insidetextfont object for it", "Construct a new Marker object for that", True),
        ("Return 3 rows of the table in order", "Return 15 rows of the table in reverse", True),
        ("Return the mean of the values", "Return the sum of the values", False),
    ],
)
def test_sentences_that_differ_in_names_of_code_alone_share_a_template(one, other, same):
    assert (template_of(one) == template_of(other)) is same


def test_modules_classes_and_functions_are_read_in_order_and_tests_are_not(small):
    found = read_docstrings()
    assert found.texts == (
        "Routines for the linear algebra of package arrays.",
        "Container of homogeneous numbers, in any shape.",
        "Return the sum of all the entries along an axis.",
        "Group the rows of a frame by key.",
    )
    assert found.labels == (0, 0, 0, 1)


def test_tests_of_a_package_are_no_documentation():
    assert not any("tests" in file.parts for file in docstrings._source_files("numpy"))


def test_the_packages_are_not_imported(small):
    (small / "numpy" / "c.py").write_text('"""Raising at import shows that this is not imported."""\nraise SystemExit\n')
    assert len(read_docstrings().texts) == 5


def test_a_second_reading_comes_from_the_cache_and_is_equal(small, monkeypatch):
    first = read_docstrings()
    monkeypatch.setattr(docstrings, "_scan", lambda progress: pytest.fail("read again"))
    assert read_docstrings() == first


def test_a_package_of_another_version_is_read_anew(small, monkeypatch):
    first = read_docstrings()
    (small / "pandas" / "b.py").write_text('"""Now this is another sentence altogether."""\n')
    assert read_docstrings() == first
    monkeypatch.setattr(docstrings, "_version", lambda package: "99")
    assert read_docstrings().texts[-1] == "Now this is another sentence altogether."


@pytest.mark.parametrize("damage", ["truncated", "altered", "other", "empty"])
def test_a_damaged_cache_is_rebuilt(damage, small, gelora_home):
    first = read_docstrings()
    (kept,) = (gelora_home / "cache" / "docstrings").iterdir()
    content = kept.read_bytes()
    altered = content.replace(b"Group the rows", b"Group the cols")
    kept.write_bytes({"truncated": content[:-40], "altered": altered, "other": json.dumps([1, 2]).encode(), "empty": b""}[damage])
    assert read_docstrings() == first
    assert kept.read_bytes() == content


def test_progress_is_told_and_a_cancelled_scan_leaves_nothing(small, gelora_home):
    def cancel(stage, done, total):
        raise Cancelled("enough")

    with pytest.raises(Cancelled):
        read_docstrings(cancel)
    assert not list((gelora_home / "cache").rglob("*.json"))
    calls = []
    read_docstrings(lambda *call: calls.append(call))
    assert calls[0] == ("Reading docstrings", 0, 3) and calls[-1] == ("Reading docstrings", 3, 3)
