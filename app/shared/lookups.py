"""Small questions whose answer may take a moment, asked once for all tabs: the page shows what is known and looks again.

Does not depend on the questions or on what is drawn with their answers.
"""

from collections.abc import Callable, Hashable
from typing import Any

from app.shared.cache import pool
from gelora.measurements import Job

_KEPT = 500  # answers; the oldest go first


def ask(key: Hashable, question: Callable[[], Any], stale_after_seconds: float | None = None) -> tuple[bool, Any]:
    """Whether there is an answer, and the answer; the first to ask sets the question off and is told (False, None).

    A question that ends in an error has the answer None. stale_after_seconds: an older answer is given until a new one is there.
    """
    job = pool().job("lookup", key)
    if job is None:
        _set_off(key, question, Job())
        return False, None
    if stale_after_seconds is not None and job.seconds_since_end > stale_after_seconds:
        _set_off(key, question, Job(result=job.result, n_results=1))
    elif not job.is_over and not job.n_results:
        return False, None
    return True, None if job.error else job.result


def _set_off(key: Hashable, question: Callable[[], Any], job: Job) -> None:
    pool().start(("lookup", key), lambda job: question(), job, "A look-up", "less", kept=_KEPT)
