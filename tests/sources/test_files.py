"""Files as people publish them: every form is read whole, or refused with one sentence that names line or kind."""

import csv
import gzip
import io
import json
import re

import pytest
from hypothesis import HealthCheck, assume, given, settings, strategies as st

from gelora.errors import DataError, GeloraError, InputError
from gelora.records import DataChoice
from gelora.sources.delimited import read_delimited
from gelora.sources.samples import load_sample
from gelora.sources.tables import read_table

WORDS = ["red", "cat", "sat", "still", "by", "one", "blue", "dog", "that", "ran", "away", "from", "two", "green", "owls"]
TEXTS = [f"{WORDS[i % 14]} {WORDS[(i * 5 + 1) % 14]} number {i} {WORDS[(i * 3 + 2) % 14]}" for i in range(20)]


@pytest.fixture
def table_of(tmp_path):
    """Reads content as a file of that name."""

    def read(content, name="data.csv", **choice):
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return read_table(DataChoice(str(path), **choice))

    return read


def refused(table_of, content, name="data.csv", **choice):
    with pytest.raises(GeloraError) as caught:
        table_of(content, name, **choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def lines(separator, texts=TEXTS, end="\n"):
    return f"text{separator}label{end}" + "".join(f"{text}{separator}{i % 2}{end}" for i, text in enumerate(texts))


# separators and quotes


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("name", ["data.csv", "data.tsv"])
def test_separators_and_line_ends_are_found_under_any_ending(table_of, separator, end, name):
    table = table_of(lines(separator, end=end), name)
    assert table.columns == {"text": TEXTS, "label": [str(i % 2) for i in range(20)]}
    assert (table.report.separator, table.report.has_header, table.report.n_rows) == (separator, True, 20)


@pytest.mark.parametrize("separator", [";", "\t", "|"])
def test_commas_in_texts_separate_nothing_where_the_header_has_another_separator(table_of, separator):
    texts = [text.replace(" number", ", number,") for text in TEXTS]
    assert table_of(lines(separator, texts)).columns["text"] == texts


@pytest.mark.parametrize("lone", [(3,), (3, 8), (0, 19), (2, 5, 11)])
@pytest.mark.parametrize("separator", [",", "\t", "|"])
def test_lone_quotes_are_text(table_of, separator, lone):
    """One that begins a cell, one that ends one: together they look like one long cell."""
    texts = list(TEXTS)
    for turn, i in enumerate(lone):
        texts[i] = f'"{texts[i]}' if turn % 2 == 0 else f'{texts[i]}"'
    table = table_of(lines(separator, texts))
    assert table.columns["text"] == texts and table.report.quote == ""


def test_quoted_cells_hold_separators_quotes_and_line_ends(table_of):
    texts = [f'{text}, "he said"\nand {i},1' for i, text in enumerate(TEXTS)]
    quoted = ['"{}"'.format(text.replace('"', '""')) for text in texts]
    assert table_of(lines(",", quoted)).columns["text"] == texts


def test_backslashes_and_single_quotes_as_other_writers_have_them(table_of):
    assert table_of(lines(",", [f'"{text}, \\"so\\""' for text in TEXTS])).columns["text"] == [f'{text}, "so"' for text in TEXTS]
    assert table_of(lines(",", [f"'{text}, so'" for text in TEXTS])).columns["text"] == [f"{text}, so" for text in TEXTS]


def test_a_space_after_every_separator_is_none_of_the_cell_and_quotes_after_it_are_quotes(table_of):
    table = table_of("text, label\n" + "".join(f"{text}, {'pos' if i % 2 else 'neg'}\n" for i, text in enumerate(TEXTS)))
    assert (table.choice.label_column, set(table.columns["label"])) == ("label", {"pos", "neg"})
    table = table_of("label, text\n" + "".join(f'1, "{text}, too"\n' for text in TEXTS))
    assert table.columns["text"] == [f"{text}, too" for text in TEXTS]


@pytest.mark.parametrize("above", ["sep=;\n", "\ufeffsep=;\r\n", '"sep=;"\n', "\ufeff"])
def test_excels_first_line_and_mark_are_no_rows(table_of, above):
    table = table_of(above + lines(";"))
    assert list(table.columns) == ["text", "label"] and table.n_rows == 20


def test_one_column_of_sentences_with_commas_stays_whole(table_of):
    texts = [text.replace(" number", ", number") for text in TEXTS]
    assert table_of("text\n" + "\n".join(texts)).columns == {"text": texts}
    assert table_of("text\n" + "".join(f'"{text}"\n' for text in texts)).columns == {"text": texts}
    odd = [f'"{texts[0]}" he said', *texts[1:]]
    assert table_of("text\n" + "\n".join(odd)).columns == {"text": odd}


def test_comment_lines_are_counted_and_a_commented_header_is_one(table_of):
    table = table_of("# made by hand, in May\n# twice\n" + lines(",") + "# the end\n")
    assert table.columns["text"] == TEXTS and table.report.n_comments == 3
    assert list(table_of("# by hand\n#" + lines("\t")).columns) == ["text", "label"]
    tags = ["#" + text for text in TEXTS]
    assert table_of(lines(",", tags)).columns["text"] == tags


# rows that do not fit


@pytest.mark.parametrize("bad", ["a,1,2", "alone", "a, b and c,1"])
def test_a_row_that_does_not_fit_is_named_with_its_line_or_left_out_and_counted(table_of, bad):
    content = lines(",", ['"two\nlines"', *TEXTS[1:]]) + bad + "\n" + f"{TEXTS[0]},1\n"
    said = refused(table_of, content)
    assert "line 23 has" in said and "the header 2 ('text', 'label')" in said
    table = table_of(content, skip_bad_rows=True)
    assert table.n_rows == 21 and table.report.n_rejected == 1 and table.report.rejected[0].startswith("line 23:")


def test_unquoted_commas_in_the_last_column_are_an_error_never_a_shortened_text(table_of):
    said = refused(table_of, "label,text\n" + "".join(f"{i % 2},{text}, it sat\n" for i, text in enumerate(TEXTS)))
    assert "line 2 has 3 cells" in said and "19 more rows" in said


def test_lines_of_json_that_are_none_are_an_error_or_counted(table_of):
    content = '{"text": "one text"}\nnone\n{"text": "another"}\n[1]\n'
    assert "line 2 is not JSON" in refused(table_of, content, "data.jsonl")
    table = table_of(content, "data.jsonl", skip_bad_rows=True)
    assert table.columns == {"text": ["one text", "another"]} and table.report.n_rejected == 2


# the header


@pytest.mark.parametrize(
    "rows",
    [
        [["0", text] for text in TEXTS],
        [["4", "1467810369", "Mon Apr 06 22:19:45", "NO_QUERY", "somebody", text] for text in TEXTS],
        [["pos" if i % 3 else "neg", text] for i, text in enumerate(TEXTS)],
        [[text + "."] for text in TEXTS],
    ],
)
def test_without_a_header_it_is_asked_and_no_row_is_lost(table_of, rows):
    buffer = io.StringIO()
    csv.writer(buffer, quoting=csv.QUOTE_ALL).writerows(rows)
    assert "may have no header: its first row is" in refused(table_of, buffer.getvalue())
    table = table_of(buffer.getvalue(), header=False)
    assert [list(row) for row in zip(*table.columns.values(), strict=True)] == rows
    assert list(table.columns) == [f"column_{i + 1}" for i in range(len(rows[0]))] and table.report.has_header is False
    assert table.columns[table.choice.text_column] == [row[-1] for row in rows]
    assert table_of(buffer.getvalue(), header=True).n_rows == len(rows) - 1


def test_usual_headers_are_taken_for_headers(table_of):
    for header in ("text,label", "Review Text,Rating", ",text,label", "idx\tsentence\tlabel", "id;Satz;Klasse", "utterance|intent"):
        separator = next(mark for mark in ",\t;|" if mark in header)
        n = header.count(separator) + 1
        cells = (["7", *TEXTS[:1], "1"] if n == 3 else [TEXTS[0], "x y z"])[:n]
        table = table_of(header + "\n" + "".join(separator.join([*cells[:-1], f"{cells[-1]}{i}"]) + "\n" for i in range(5)))
        assert table.n_rows == 5, header


def test_a_title_above_the_header_is_asked_about(table_of):
    assert "one cell in its first row ('Report')" in refused(table_of, "Report\n" + lines(","))


def test_columns_of_one_name_are_all_kept(table_of, tmp_path):
    import pyarrow
    import pyarrow.parquet

    table = table_of("text,label,text\n" + "".join(f"{text},1,other {i}\n" for i, text in enumerate(TEXTS)))
    assert list(table.columns) == ["text", "label", "text (2)"]
    pyarrow.parquet.write_table(pyarrow.table([TEXTS, TEXTS[::-1]], names=["text", "text"]), tmp_path / "twice.parquet")
    table = read_table(DataChoice(str(tmp_path / "twice.parquet")))
    assert table.columns == {"text": TEXTS, "text (2)": TEXTS[::-1]}
    assert "A second column 'text' is called 'text (2)'." in table.report.notes


# encodings and other kinds


@pytest.mark.parametrize("encoding", ["cp1252", "utf-16-le", "latin-1", "cp1251"])
def test_another_encoding_is_asked_for_by_name_and_never_guessed(table_of, encoding):
    text = "Kaffee für zwei" if encoding != "cp1251" else "кофе на двоих"
    content = lines(";", [f"{text} {i}" for i in range(20)]).encode(encoding)
    said = refused(table_of, content)
    assert ("choose the encoding utf-16-le" if encoding == "utf-16-le" else "is not UTF-8 text: line 2 holds the byte") in said
    table = table_of(content, encoding=encoding)
    assert table.columns["text"][0] == f"{text} 0" and table.report.encoding == encoding
    assert "encoding 'cp1252' 'für" not in said and ("für" in said) == (encoding in ("cp1252", "latin-1"))


def test_a_byte_order_mark_says_the_encoding(table_of):
    assert table_of(lines("\t").encode("utf-16")).columns["text"] == TEXTS
    assert table_of(lines(",").encode("utf-8-sig"), encoding="utf-8").columns["text"] == TEXTS
    for encoding in ("klingon", "idna", "undefined", "zlib"):
        assert "is unknown; choose one such as utf-8" in refused(table_of, lines(","), encoding=encoding)
    assert "has no choice of encoding" not in refused(table_of, b"text\xff", encoding="utf-8")


@pytest.mark.parametrize("name", ["data.csv.gz", "data.jsonl.gz", "data.txt.gz"])
def test_packed_files_are_read(table_of, name):
    rows = "".join(json.dumps({"text": text}) + "\n" for text in TEXTS)
    content = {"c": lines(","), "j": rows, "t": "\n".join(TEXTS)}[name[5]].encode()
    assert table_of(gzip.compress(content), name).columns["text"] == TEXTS
    assert "packed with gzip and damaged" in refused(table_of, gzip.compress(content)[:-9], name)


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\x00", "a PNG image"),
        (b"\xff\xd8\xff\xe0\x00\x10JFIF", "a JPEG image"),
        (b"PK\x03\x04\x14\x00[Content_Types].xml xl/workbook.xml", "an Excel workbook"),
        (b"PK\x03\x04\x14\x00data.csv", "a ZIP archive"),
        (b"\xef\xbb\xbf\n<!DOCTYPE html><html>", r"a web page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 9\n", "a Git LFS pointer"),
        (b"PAR1\x15\x04", "a Parquet file"),
        (b"text,label\nred\x00cat,1\nblue dog,0\n", "1 zero bytes (the first on line 2)"),
    ],
)
@pytest.mark.parametrize("name", ["data.csv", "data.json", "data.txt"])
def test_another_kind_of_file_is_named(table_of, content, what, name):
    assert what in refused(table_of, content, name)


def test_a_choice_that_a_kind_has_not_is_refused(table_of, tmp_path):
    assert "no table with a header" in refused(table_of, '{"text": "a"}\n', "data.jsonl", header=True)
    with pytest.raises(InputError, match="no encoding, header or separator"):
        read_table(DataChoice("docstrings", encoding="cp1252"))


# JSON, chats, texts


def test_json_of_every_usual_form_holds_the_same_rows(table_of):
    rows = [{"text": text, "label": i % 2} for i, text in enumerate(TEXTS)]
    columns = {"text": TEXTS, "label": [i % 2 for i in range(20)]}
    by_number = {name: {str(i): value for i, value in enumerate(values)} for name, values in columns.items()}
    by_lines = "".join(json.dumps(row) + "\n" for row in rows)
    for form in (rows, columns, by_number, {"version": "1", "data": rows}):
        for indent in (None, 1):
            assert table_of(json.dumps(form, indent=indent), "data.json").columns == columns, form
    assert table_of(by_lines, "data.json").columns == table_of(json.dumps(rows), "data.jsonl").columns == columns
    assert table_of(json.dumps(TEXTS), "data.json").columns == {"text": TEXTS}
    assert table_of("\ufeff" + by_lines.replace("\n", "\r\n"), "data.jsonl").columns == columns


def test_json_with_no_rows_or_several_lists_says_so(table_of):
    assert "several lists of rows (train, test)" in refused(
        table_of, json.dumps({"train": [{"text": "a"}], "test": [{"text": "b"}]}, indent=1), "d.json"
    )
    assert "no list of rows" in refused(table_of, json.dumps({"a": 1, "b": {}}, indent=1), "d.json")
    assert "item 2 of the array is int" in refused(table_of, '[{"text": "a"}, 5]', "d.json")
    assert "is not JSON" in refused(table_of, '[{"text": "a"},', "d.json")
    assert "no rows" in refused(table_of, "[]", "d.json")


def test_squads_own_file_is_read_as_its_rows(table_of):
    from gelora.tasks import propose

    answer = {"text": "Rome", "answer_start": 12}
    asked = [
        {"id": "1", "question": "Where?", "answers": [answer]},
        {"id": "2", "question": "When?", "answers": [answer], "is_impossible": True},
    ]
    paragraph = {"context": "He lives in Rome.", "qas": asked}
    tree = {"version": "v2.0", "data": [{"title": "He", "paragraphs": [paragraph]}]}
    table = table_of(json.dumps(tree), "train-v2.0.json")
    assert table.columns["answers"] == [{"text": ["Rome"], "answer_start": [12]}, {"text": [], "answer_start": []}]
    assert table.columns["question"] == ["Where?", "When?"] and table.columns["title"] == ["He", "He"]
    assert (table.choice.text_column, table.choice.pair_column) == ("question", "context")
    assert propose(DataChoice(table.choice.dataset)).kind == "question-answering"


@pytest.mark.parametrize("form", ["messages", "conversations", "parts"])
@pytest.mark.parametrize("name", ["data.jsonl", "data.json", "data.parquet"])
def test_a_chat_is_its_first_exchange_and_a_system_text_is_never_the_text(table_of, tmp_path, form, name):
    from gelora.tasks import propose

    def turn(role, text):
        if form == "conversations":
            return {"from": {"user": "human", "assistant": "gpt"}.get(role, role), "value": text}
        return {"role": role, "content": [{"type": "text", "text": text}] if form == "parts" else text}

    def chat(i):
        turns = [turn("system", "be kind to all who ask, at any length"), turn("user", TEXTS[i]), turn("assistant", f"answer {i}")]
        return turns + ([turn("user", "and then?"), turn("assistant", "no more")] if i == 3 else [])

    column = "conversations" if form == "conversations" else "messages"
    rows = [{"system": "be kind", column: chat(i)} for i in range(20)]
    if name == "data.parquet":
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / name)
        table = read_table(DataChoice(str(tmp_path / name)))
    else:
        table = table_of("\n".join(map(json.dumps, rows)) if name == "data.jsonl" else json.dumps(rows), name)
    assert (table.choice.text_column, table.choice.pair_column) == ("user", None)
    assert table.columns["user"] == TEXTS and table.columns["assistant"][3] == "answer 3"
    assert any("1 go on after it, and instruction tuning learns every answer" in note for note in table.report.notes)
    roles = [[message["role"] for message in messages] for messages in table.chats["user", "assistant"]]
    assert roles[3] == ["system", *["user", "assistant"] * 2] and roles[0] == ["system", "user", "assistant"]
    proposal = propose(DataChoice(table.choice.dataset))
    assert (proposal.kind, proposal.text_column, proposal.label_column) == ("instruction", "user", "assistant")
    assert propose(DataChoice(table.choice.dataset), "causal-lm").text_column != "system"


def test_texts_that_are_lists_or_system_prompts_alone_are_no_texts(table_of):
    said = refused(table_of, '{"system": "be kind", "tokens": ["a", "b"]}\n' * 3, "data.jsonl")
    assert "no column with text" in said and "tokens: lists or objects" in said


def test_a_text_file_is_one_text_a_line_and_a_table_where_every_line_has_tabs(table_of):
    texts = [TEXTS[0], f'"{TEXTS[1]}', "a, b; c | d", "  indented"]
    assert table_of("\r\n".join([*texts, "", ""]), "data.txt").columns == {"text": texts}
    assert table_of(lines("\t"), "data.txt").columns["text"] == TEXTS


def test_half_characters_are_replaced_and_counted(table_of):
    content = '{"text": "sat still \\ud83d", "label": 1, "extra": {"k": ["\\udc00"]}}\n{"text": "whole \\ud83d\\ude00", "label": 0}\n'
    table = table_of(content, "data.jsonl")
    assert table.columns["text"] == ["sat still \ufffd", "whole \U0001f600"] and table.report.n_replaced == 2
    assert len(load_sample(table.choice, 2)) == 2


def test_minus_one_is_no_class_in_a_parquet_file(tmp_path):
    from datasets import ClassLabel, Dataset, Features, Value

    features = Features(
        {"premise": Value("string"), "hypothesis": Value("string"), "label": ClassLabel(names=["yes", "no"]), "n": Value("int64")}
    )
    data = {"premise": TEXTS[:3], "hypothesis": TEXTS[3:6], "label": [1, -1, 0], "n": [-1, 0, 1]}
    Dataset.from_dict(data, features=features).to_parquet(tmp_path / "data.parquet")
    table = read_table(DataChoice(str(tmp_path / "data.parquet")))
    assert table.columns["label"] == [1, None, 0] and table.columns["n"] == [-1, 0, 1] and table.class_names == {"label": ("yes", "no")}


# a random table, by three writers

CELLS = st.text(st.characters(codec="utf-8", exclude_characters="\x00\r", exclude_categories=["Cs"]), max_size=12)
TRICKY = st.text(st.sampled_from("ab ,;\t|\"'\n#\\"), max_size=8)
WHOLE = st.builds(
    lambda cells: [[f"w{i}", *row] for i, row in enumerate(cells)],
    st.lists(st.lists(CELLS | TRICKY, min_size=2, max_size=2), min_size=2, max_size=8),
)


def written_by_csv(rows, separator):
    buffer = io.StringIO()
    csv.writer(buffer, delimiter=separator).writerows(rows)
    return buffer.getvalue()


def written_by_pandas(rows, separator):
    import pandas as pd

    return pd.DataFrame(rows[1:], columns=rows[0]).to_csv(sep=separator, index=False)


def written_by_pyarrow(rows, separator):
    import pyarrow
    import pyarrow.csv

    sink = io.BytesIO()
    table = pyarrow.table([pyarrow.array([row[i] for row in rows[1:]], pyarrow.string()) for i in range(len(rows[0]))], names=rows[0])
    pyarrow.csv.write_csv(table, sink, pyarrow.csv.WriteOptions(delimiter=separator))
    return sink.getvalue().decode()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=WHOLE,
    separator=st.sampled_from(",;\t|"),
    writer=st.sampled_from([written_by_csv, written_by_pandas, written_by_pyarrow]),
    encoding=st.sampled_from(["utf-8", "utf-8-sig", "utf-16"]),
)
def test_a_random_table_comes_back_whole(tmp_path_factory, rows, separator, writer, encoding):
    names = ["key", "text", "note"]
    path = tmp_path_factory.getbasetemp() / "random.csv"
    content = writer([names, *rows], separator)
    fits_unquoted = {line.count(separator) for line in re.split(r"\r\n|\n", content) if line} == {2}
    assume(not (fits_unquoted and any("\n" in cell for row in rows for cell in row)))  # two readings fit every line
    path.write_bytes(content.encode(encoding))
    if any(cell.strip() == name for row in rows for cell, name in zip(row, names, strict=True)):  # the first row may be data, too
        with pytest.raises(InputError, match="may have no header"):
            read_table(DataChoice(str(path)))
        return
    try:
        table = read_table(DataChoice(str(path)))
    except DataError:
        assume(False)  # no column holds a text
    assert list(table.columns) == names
    assert [list(row) for row in zip(*table.columns.values(), strict=True)] == rows


def test_names_and_lines_are_those_of_the_file():
    found = read_delimited("x", "# a\nsep\ttext\n1\ttwo\n")
    assert (found.names, found.rows) == (["sep", "text"], [["1", "two"]])


# what is named


def test_a_named_separator_wins_over_one_that_is_found(table_of):
    content = "a,b;label\n" + "".join(f"{text}, really;{i % 2}\n" for i, text in enumerate(TEXTS))
    assert list(table_of(content, separator="semicolon").columns) == ["a,b", "label"]
    assert table_of(content.replace(";", "|"), separator="pipe").columns["a,b"][0] == f"{TEXTS[0]}, really"


def test_one_column_is_named_too(table_of):
    content = "text\n" + "".join(f"{text}, {i}\n" for i, text in enumerate(TEXTS))
    assert "1 cell" in refused(table_of, content, separator="comma") or "cells" in refused(table_of, content, separator="comma")
    assert table_of(content, separator="none").columns == {"text": [f"{text}, {i}" for i, text in enumerate(TEXTS)]}


def test_a_separator_is_a_word_and_of_a_table_alone(table_of):
    assert "comma, tab, semicolon" in refused(table_of, lines(","), separator=",")
    assert "separator" in refused(table_of, '{"text": "a"}\n{"text": "b"}\n', "rows.jsonl", separator="tab")


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "iso8859-15"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_text_that_is_utf8_is_never_read_as_single_bytes(table_of, encoding, mark):
    table = table_of(mark + lines(",", [f"{text} café" for text in TEXTS]).encode(), encoding=encoding)
    assert table.columns["text"][0].endswith("café")
    assert table.report.encoding in ("utf-8", "utf-8-sig")
    assert table_of(lines(",", [f"{text} café" for text in TEXTS]).encode(encoding), encoding=encoding).report.encoding == encoding


@pytest.mark.parametrize("form", ["lines", "array", "nested"])
def test_a_key_that_stands_twice_in_an_object_is_an_error_with_its_line(table_of, form):
    good, twice = '{"text": "one", "label": 0}', '{"text": "two", "text": "three", "label": 1}'
    nested = '{"text": "two", "answers": {"text": ["a"], "text": ["b"]}}'
    content = {"lines": f"{good}\n{twice}\n", "array": f"[{good}, {twice}]", "nested": f"{good}\n{nested}\n"}[form]
    said = refused(table_of, content, "rows.json" if form == "array" else "rows.jsonl")
    assert "'text' stands in one object twice" in said
    assert form == "array" or "line 2" in said
    if form == "lines":
        assert table_of(f"{good}\n{twice}\n{good}\n", "rows.jsonl", skip_bad_rows=True).report.n_rejected == 1
