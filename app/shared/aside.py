"""Small questions whose answer may take a moment, asked once beside the page: the page shows what is known and looks again.

Knows neither the questions nor what is drawn with their answers.
"""

import logging
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import streamlit as st

from gelora.errors import GeloraError

logger = logging.getLogger(__name__)
_KEPT = 500  # answers; the oldest go first


class Aside:
    """Answers by key, shared by all tabs; two threads work at the questions, in the order of asking."""

    def __init__(self) -> None:
        self._pool = ThreadPoolExecutor(max_workers=2, thread_name_prefix="aside")
        self._lock = threading.Lock()
        self._asked: dict[object, tuple[Future[Any], float]] = {}

    def ask(self, key: object, question: Callable[[], Any], stale_after_seconds: float | None = None) -> tuple[bool, Any]:
        """Whether there is an answer, and the answer; the first to ask sets the question off and is told (False, None).

        A question that ends in a `GeloraError`, or in any other error, has the answer None; the log has the reason.
        stale_after_seconds: an older answer is given once more, and asked for anew.
        """
        with self._lock:
            held = self._asked.get(key)
            if held is None:
                self._asked[key] = (self._pool.submit(_answer, question), time.monotonic())
                while len(self._asked) > _KEPT:
                    self._asked.pop(next(iter(self._asked)))
                return False, None
            future, since = held
            if not future.done():
                return False, None
            if stale_after_seconds is not None and time.monotonic() - since > stale_after_seconds:
                self._asked[key] = (future, time.monotonic())
                self._pool.submit(self._anew, key, question)
            return True, future.result()

    def _anew(self, key: object, question: Callable[[], Any]) -> None:
        answer = _answer(question)
        with self._lock:
            if key in self._asked:
                self._asked[key] = (_done(answer), time.monotonic())


def _done(answer: object) -> Future[Any]:
    future: Future[Any] = Future()
    future.set_result(answer)
    return future


def _answer(question: Callable[[], Any]) -> Any:
    try:
        return question()
    except GeloraError as error:
        logger.info("Not known: %s", error)
    except Exception:  # the thread's last resort: a page goes on without the answer, the log has the traceback
        logger.exception("A question asked beside the page failed")
    return None


@st.cache_resource(show_spinner=False)
def aside() -> Aside:
    """The server's one of them."""
    return Aside()
