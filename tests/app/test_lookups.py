"""A small question is asked once for all tabs, and an answer that is old is given until a new one is there."""

import threading

from app.shared import lookups
from app.shared.cache import pool
from gelora.errors import DataError


def answered(key):
    assert pool().job("lookup", key).wait(20)


def test_a_question_is_asked_once_and_its_answer_stays():
    asked = []
    assert lookups.ask("once", lambda: asked.append(1) or 7) == (False, None)
    answered("once")
    assert [lookups.ask("once", lambda: asked.append(1)) for _ in range(3)] == [(True, 7)] * 3
    assert asked == [1]


def test_an_old_answer_is_given_until_a_new_one_is_there():
    gate = threading.Event()
    lookups.ask("old", lambda: 1)
    answered("old")
    assert lookups.ask("old", lambda: gate.wait(20) and 2, stale_after_seconds=-1) == (True, 1)
    assert lookups.ask("old", lambda: 3) == (True, 1)  # asked already, not answered yet
    gate.set()
    answered("old")
    assert lookups.ask("old", lambda: 3) == (True, 2)


def test_a_question_that_ends_in_an_error_has_no_answer_even_where_there_was_one():
    def failing():
        raise DataError("Nothing is there.")

    lookups.ask("failing", lambda: 1)
    answered("failing")
    assert lookups.ask("failing", failing, stale_after_seconds=-1) == (True, 1)
    answered("failing")
    assert lookups.ask("failing", failing) == (True, None)
