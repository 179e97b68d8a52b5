"""Work in the background is done once for all who ask, in turn, and its last results stay."""

import threading
from dataclasses import dataclass

import pytest

from gelora.errors import DataError
from gelora.measurements import Job, TaskPool


@pytest.fixture
def pool() -> TaskPool:
    return TaskPool(kept=2)


def begin(pool, key, work):
    return pool.start(key, work, Job(), "The work", "less of it")


def test_who_asks_for_work_under_way_joins_it(pool):
    gate, begun = threading.Event(), []

    def work(job):
        begun.append(job)
        gate.wait(20)
        return 7

    jobs = {id(begin(pool, ("count", 1), work)) for _ in range(5)}
    assert len(jobs) == 1 and pool.result("count", 1) is None
    gate.set()
    assert pool.job("count", 1).wait(20)
    assert pool.result("count", 1) == 7 and len(begun) == 1


def test_work_that_was_cancelled_is_not_joined(pool):
    gate = threading.Event()

    def work(job):
        gate.wait(20)
        job.progress("on", 1, 2)
        return 7

    one = begin(pool, ("count", 1), work)
    one.cancel()
    other = begin(pool, ("count", 1), work)
    gate.set()
    assert other is not one and one.wait(20) and other.wait(20)
    assert "cancelled" in one.error and other.result == 7


@pytest.mark.parametrize(
    ("error", "said"),
    [(DataError("No rows."), "No rows."), (MemoryError(), "choose less of it"), (ZeroDivisionError("x"), "The work failed unexpectedly")],
)
def test_an_error_is_one_sentence_and_no_result(pool, error, said):
    def work(job):
        raise error

    job = begin(pool, ("count", 1), work)
    assert job.wait(20) and said in job.error and pool.result("count", 1) is None


def test_of_each_kind_the_results_looked_at_last_stay(pool):
    for number in (1, 2):
        begin(pool, ("layer", number), lambda job: "open").wait(20)
    begin(pool, ("other", 1), lambda job: "else").wait(20)
    assert pool.result("layer", 1) == "open"  # looked at: 2 goes first
    begin(pool, ("layer", 3), lambda job: "open").wait(20)
    begin(pool, ("layer", 4), lambda job: "open").wait(20)
    held = {number for number in (1, 2, 3, 4) if pool.result("layer", number)}
    assert held == {1, 3, 4} and pool.result("other", 1) == "else"


def test_turns_of_one_line_never_overlap_and_lines_do_not_wait_for_each_other(pool):
    inside, most, lock = [0], [0], threading.Lock()

    def work(job):
        for _ in range(50):
            with pool.turn(job):
                with lock:
                    inside[0] += 1
                    most[0] = max(most[0], inside[0])
                with lock:
                    inside[0] -= 1

    jobs = [begin(pool, ("turn", number), work) for number in range(4)]
    assert all(job.wait(240) and job.error is None for job in jobs) and most == [1]
    with pool.turn(Job()):
        other = begin(pool, ("other line", 1), lambda job: pool.turn(job, "calibration").__enter__())
        assert other.wait(20)


@dataclass(kw_only=True)
class Named(Job):
    name: str


def test_jobs_are_found_by_the_beginning_of_their_key(pool):
    jobs = [pool.start(("measure", "a", i), lambda job: None, Named(name=str(i)), "The work", "less") for i in range(3)]
    assert all(job.wait(20) for job in jobs)
    assert [job.name for job in pool.jobs("measure", "a")] == ["0", "1", "2"] and pool.jobs("measure", "b") == []
    pool.forget("measure")
    assert pool.jobs() == []
