"""What was made for a record is there again for the very same record, and for no other."""

import pytest

from gelora.measurements import IdentityCache


class Given:
    pass


def test_an_answer_is_made_once_for_a_record_and_a_key():
    kept, made = IdentityCache[list](8), []
    record = Given()
    for key in ("a", "a", "b"):
        kept.get(record, key, lambda: made.append(1) or [len(made)])
    assert len(made) == 2
    assert kept.get(record, "a", list) == [1] and kept.get(record, "b", list) == [2]
    assert kept.get(Given(), "a", lambda: ["other"]) == ["other"]


def test_a_record_that_is_held_cannot_be_taken_for_another():
    kept = IdentityCache[str](100)
    for i in range(50):  # without a hold, CPython gives the same id again at once
        assert kept.get(Given(), "", lambda i=i: str(i)) == str(i)


def test_only_the_newest_stay():
    kept, record = IdentityCache[int](2), Given()
    for key in range(3):
        kept.get(record, key, lambda key=key: key)
    assert kept.get(record, 0, lambda: -1) == -1
    assert kept.get(record, 2, lambda: -1) == 2


def test_an_error_is_raised_again_and_not_kept():
    kept, record = IdentityCache[int](2), Given()
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            kept.get(record, "", lambda: 1 // 0)
    assert kept.get(record, "", lambda: 1) == 1
