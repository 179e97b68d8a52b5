"""The accuracy benchmark, at sizes that take seconds: its JSON form, its rows, and what it says of a wrong call."""

import json
import subprocess
import sys

import pytest


def run(*arguments):
    command = [sys.executable, "-m", "benchmarks.accuracy", "--workers", "1", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="module")
def answer(tmp_path_factory):
    file = tmp_path_factory.mktemp("accuracy") / "answer.json"
    typed = ["--manifold", "affine", "--d", "2", "--width", "6", "--n", "200", "--noise", "0.0001", "--seed", "3"]
    result = run(*typed, "--seeds", "2", "--draws", "3", "--estimators", "twonn,mle,correlation,mom,pca-pr", "--json", str(file))
    assert result.returncode == 0, result.stderr
    return json.loads(file.read_text()), result.stdout


def test_the_record_has_the_form_of_every_benchmark(answer):
    record, printed = answer
    assert {"benchmark", "command", "machine", "versions", "date", "rows"} <= set(record)
    assert record["benchmark"] == "accuracy" and "--manifold affine" in record["command"]
    for row in record["rows"]:
        assert {"case", "ours", "peer", "peer_name", "ratio", "unit"} <= set(row)
        assert "affine, d = 2, width 6, N = 200, noise 0.0001" in row["case"]
    assert len(printed.splitlines()) == len(record["rows"])


def test_every_estimator_stands_beside_the_truth(answer):
    rows = [row for row in answer[0]["rows"] if row["part"] == "accuracy"]
    assert [row["estimator"] for row in rows] == ["twonn", "mle", "correlation", "mom", "pca-pr"]
    for row in rows:
        assert row["peer"] == 2 and row["draws"] == 2
        assert row["ours"] == pytest.approx(2, rel=0.25)
        assert row["ratio"] == pytest.approx(row["ours"] / 2, rel=1e-3)


def test_the_peers_formulas_give_the_same_number(answer):
    rows = [row for row in answer[0]["rows"] if row["part"] == "peers"]
    assert [row["estimator"] for row in rows] == ["twonn", "mle", "correlation", "mom"]
    for row in rows:
        assert row["verdict"] == "equal within the interval", row
        assert row["ratio"] == pytest.approx(1, abs=1e-6)


def test_coverage_says_width_and_what_was_held(answer):
    rows = [row for row in answer[0]["rows"] if row["part"] == "coverage"]
    assert [row["interval"] for row in rows] == ["formula", "formula", "half-samples", "half-samples", "half-samples"]
    for row in rows:
        assert row["draws"] == 3 and 0 <= row["covers_truth"] <= 1 and 0 <= row["covers_own_mean"] <= 1
        assert row["width_over_spread"] == pytest.approx(row["interval_width"] / (2 * 1.96 * row["sd"]), rel=1e-3)


def test_a_case_that_cannot_be_is_one_sentence():
    result = run("--manifold", "sphere", "--d", "9", "--width", "9")
    assert result.returncode == 1
    assert result.stderr.strip() == "width is 9; this manifold needs at least 10 coordinates."
