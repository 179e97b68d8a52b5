"""JSON as rows: one object a line, an array of objects, columns, SQuAD's own tree.

Reads JSON's usual forms of data sets; does not depend on files, encodings or roles of columns.
"""

import json
from dataclasses import dataclass
from typing import Any

from gelora.errors import InputError

Row = dict[str, Any]
_N_SHOWN = 5
_CHATS = ("messages", "conversations", "conversation", "chat", "dialogue")


@dataclass(frozen=True)
class JsonRows:
    """kind: what form it was; n_misfits: lines left out since they are no objects, `misfits` the first of them."""

    rows: list[Row]
    kind: str
    n_misfits: int = 0
    misfits: tuple[str, ...] = ()


def read_json(name: str, text: str, skip_misfits: bool = False) -> JsonRows:
    """All rows of JSON Lines, of an array, of an object of columns, or of SQuAD's own file.

    Raises:
        InputError: it is no JSON, or of a form that holds no rows; lines are named.
    """
    start = text.lstrip()[:1]
    if start == "[" or (start == "{" and not _is_object(next(line for line in text.split("\n") if line.strip()))):
        try:
            whole = _parsed(text)
        except (ValueError, RecursionError) as error:
            if start == "{" or not isinstance(error, json.JSONDecodeError) or not error.msg.startswith("Extra data"):
                raise InputError(f"{name!r} is not JSON ({error}).") from error
        else:
            return JsonRows(_rows_of(name, whole), "JSON")
    found = _lines(name, text, skip_misfits)
    if len(found.rows) == 1 and "\n" not in text.strip() and _holds_rows(found.rows[0]):  # one line: a whole file, or one row
        return JsonRows(_rows_of(name, found.rows[0]), "JSON")
    return found


def _parsed(text: str) -> Any:
    """The value; ValueError also where an object has a key twice, of which `json` keeps the last without a word."""
    return json.loads(text, object_pairs_hook=_with_each_key_once)


def _with_each_key_once(pairs: list[tuple[str, Any]]) -> Row:
    row = dict(pairs)
    if len(row) < len(pairs):
        names = [key for key, _ in pairs]
        raise ValueError(f"the key {next(key for i, key in enumerate(names) if key in names[:i])!r} stands in one object twice")
    return row


def _is_object(line: str) -> bool:
    try:
        return isinstance(json.loads(line), dict)
    except (ValueError, RecursionError):
        return False


def _lines(name: str, text: str, skip_misfits: bool) -> JsonRows:
    rows: list[Row] = []
    misfits: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _parsed(line)
            what = None if isinstance(row, dict) else f"is {type(row).__name__}"
        except (ValueError, RecursionError) as error:
            what = f"is not JSON ({error})"
        if what is None:
            rows.append(row)
        elif skip_misfits:
            misfits.append(f"line {number} {what}")
        else:
            raise InputError(f'{name!r}, line {number} {what}; every line must be an object such as {{"text": "..."}}.')
    return JsonRows(rows, "JSON Lines", len(misfits), tuple(misfits[:_N_SHOWN]))


def _holds_rows(whole: Row) -> bool:
    return _is_squad(whole) or _lists_of_objects(whole) != {} or _is_columns(whole)


def _rows_of(name: str, whole: Any) -> list[Row]:
    if isinstance(whole, list):
        strange = next(((i, item) for i, item in enumerate(whole, start=1) if not isinstance(item, dict)), None)
        if strange and all(isinstance(item, str) for item in whole):
            return [{"text": item} for item in whole]
        if strange:
            raise InputError(f"{name!r}: item {strange[0]} of the array is {type(strange[1]).__name__}; every item must be an object.")
        return _squad_rows(whole) if whole and all("paragraphs" in item for item in whole) else whole
    if _is_squad(whole):
        return _squad_rows(whole["data"])
    lists = _lists_of_objects(whole)
    if len(lists) == 1:
        return next(iter(lists.values()))
    if lists:
        raise InputError(f"{name!r} holds several lists of rows ({', '.join(lists)}); save the one you want as a file of its own.")
    if _is_columns(whole):
        columns = {key: list(values.values()) if isinstance(values, dict) else values for key, values in whole.items()}
        return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
    raise InputError(f'{name!r} is an object with no list of rows in it; give an array of objects such as {{"text": "..."}}.')


def _lists_of_objects(whole: Row) -> dict[str, list[Row]]:
    return {k: v for k, v in whole.items() if isinstance(v, list) and v and all(isinstance(item, dict) for item in v) and k not in _CHATS}


def _is_columns(whole: Row) -> bool:
    """Lists of one length, or pandas' objects of the same row numbers."""
    values = list(whole.values())
    if not values:
        return False
    if all(isinstance(value, list) for value in values):
        return len({len(value) for value in values}) == 1 and not any(key in whole for key in _CHATS)
    return all(isinstance(value, dict) and value and list(value) == list(values[0]) for value in values)


def _is_squad(whole: Row) -> bool:
    data = whole.get("data")
    return (
        isinstance(data, list) and bool(data) and all(isinstance(item, dict) and isinstance(item.get("paragraphs"), list) for item in data)
    )


def _squad_rows(articles: list[Row]) -> list[Row]:
    """SQuAD's articles as the rows that the hub's copy has; an impossible question has no answers."""
    rows = []
    for article in articles:
        for paragraph in article["paragraphs"]:
            for question in paragraph.get("qas", ()):
                answers = [] if question.get("is_impossible") else question.get("answers") or []
                rows.append(
                    {
                        "id": question.get("id"),
                        "title": article.get("title"),
                        "context": paragraph.get("context"),
                        "question": question.get("question"),
                        "answers": {
                            "text": [answer.get("text") for answer in answers],
                            "answer_start": [answer.get("answer_start") for answer in answers],
                        },
                    }
                )
    return rows
