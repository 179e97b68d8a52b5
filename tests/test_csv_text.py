"""CSV text: read back as it was, and no cell that a spreadsheet would run."""

import csv
import io

import pandas as pd
import pytest

from app.shared.components import as_csv
from gelora.csv_text import csv_text


def read(text):
    return list(csv.reader(io.StringIO(text, newline="")))


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1+1", "-1-1", "@SUM(A1)", "\t=1", "\r=1", "-", "＝1", "-1.5.2", "+1e"])
def test_a_formula_is_kept_as_text(text):
    assert read(csv_text([text], [[text]])) == [[f"'{text}"]] * 2


@pytest.mark.parametrize("text", ["-1.5", "+3", "-.5", "-1e-7", "+2E+3", "-inf", "a=b", "'=1", "", " text", 'naïve, "quoted"\nline'])
def test_a_number_and_any_other_text_stays_as_it_is(text):
    assert read(csv_text(["name", "n"], [[text, 1]]))[1] == [text, "1"]


def test_values_are_written_as_pandas_writes_them():
    table = pd.DataFrame(
        {"x": [0.1 + 0.2, -1e-300, float("nan")], "n": [-1, 2, 3], "right": [True, False, True], "list": [[0.5, -1], [], None]}
    )
    assert as_csv(table) == table.to_csv(index=False)
