"""Whose turn it is: order, devices, limits; holders who die; many who wait at once."""

import dataclasses
import json
import os
import subprocess
import sys
import time

import psutil
import pytest
from hypothesis import given, strategies as st

from gelora.runs.process import devices, processes, queue
from gelora.runs.process.devices import Slot, parse_gpus, slots
from gelora.runs.process.queue import Ticket, place

TWO_GPUS = """GPU 0: NVIDIA H100 80GB HBM3 (UUID: GPU-aaaa)
GPU 1: NVIDIA H100 80GB HBM3 (UUID: GPU-bbbb)
"""
ONE_OF_THEM_DIVIDED = """GPU 0: NVIDIA A100-SXM4-40GB (UUID: GPU-aaaa)
  MIG 1g.5gb      Device  0: (UUID: MIG-1111)
  MIG 1g.5gb      Device  1: (UUID: MIG-2222)
GPU 1: NVIDIA A100-SXM4-40GB (UUID: GPU-bbbb)
"""


def ticket(order: int, candidates=("cpu",), slot: str | None = None, at_once: int = 1) -> Ticket:
    return Ticket(f"run-{order}", order, "auto", at_once, 1, 1.0, tuple(candidates), slot)


def test_one_run_a_device_and_the_others_in_order():
    holder, second, third = ticket(1, slot="cpu"), ticket(2), ticket(3)
    assert place([third, holder, second], "run-2") == (None, 1)
    assert place([third, holder, second], "run-3") == (None, 2)
    assert place([third, second], "run-2") == ("cpu", 1)
    assert place([third, second], "run-3") == (None, 2)


def test_more_runs_at_once_where_the_run_allows_it():
    assert place([ticket(1, slot="cpu"), ticket(2, at_once=2)], "run-2") == ("cpu", 1)
    assert place([ticket(1, slot="cpu"), ticket(2, slot="cpu"), ticket(3, at_once=2)], "run-3") == (None, 1)


def test_one_that_waits_for_a_device_of_its_own_is_not_overtaken():
    assert place([ticket(1, slot="cpu"), ticket(2), ticket(3, at_once=8)], "run-3") == (None, 2)


def test_run_takes_the_emptiest_gpu_and_one_on_the_processors_is_not_in_its_way():
    gpus = ("cuda:0", "cuda:1")
    assert place([ticket(1, gpus, "cuda:0"), ticket(2, gpus)], "run-2") == ("cuda:1", 1)
    assert place([ticket(1, gpus, "cuda:0"), ticket(2, gpus), ticket(3, gpus)], "run-3") == (None, 1 + 1)
    crowded = [ticket(1, gpus, "cuda:0", 3), ticket(2, gpus, "cuda:0", 3), ticket(3, gpus, "cuda:1", 3)]
    assert place([*crowded, ticket(4, gpus, at_once=3)], "run-4") == ("cuda:1", 1)
    assert place([ticket(1, slot="cpu"), ticket(2), ticket(3, gpus)], "run-3") == ("cuda:0", 1)


def test_one_that_has_not_counted_its_devices_yet_keeps_its_place():
    unknown = dataclasses.replace(ticket(1), candidates=())
    assert place([unknown, ticket(2)], "run-2") == (None, 2)
    on_processors = dataclasses.replace(unknown, device="cpu")
    assert place([on_processors, ticket(2, ("cuda:0",))], "run-2") == ("cuda:0", 1)


@given(
    st.lists(
        st.tuples(st.sampled_from([("cpu",), ("cuda:0",), ("cuda:0", "cuda:1")]), st.integers(1, 3), st.booleans()), min_size=1, max_size=12
    )
)
def test_whoever_may_start_never_overfills_a_device_and_somebody_always_may(asked):
    """Tickets are given their device one after another, as their processes would look; none waits beside an empty device."""
    tickets = {}
    for i, (candidates, at_once, _) in enumerate(asked):
        tickets[f"run-{i}"] = ticket(i, candidates, at_once=at_once)
    finished = 0
    for _ in range(3 * len(asked)):
        for run_id in list(tickets):
            if tickets[run_id].slot is None:
                chosen, _place = place(list(tickets.values()), run_id)
                if chosen is not None:
                    there = sum(other.slot == chosen for other in tickets.values())
                    assert there < tickets[run_id].runs_at_once
                    tickets[run_id] = dataclasses.replace(tickets[run_id], slot=chosen)
        holders = [run_id for run_id, held in tickets.items() if held.slot is not None]
        if not tickets:
            break
        assert holders
        del tickets[holders[-1]]
        finished += 1
    assert finished == len(asked)


@pytest.mark.parametrize(
    ("listing", "visible", "expected"),
    [
        (TWO_GPUS, None, [("cuda:0", "GPU-aaaa"), ("cuda:1", "GPU-bbbb")]),
        (TWO_GPUS, "1", [("cuda:1", "1")]),
        (TWO_GPUS, "1,0", [("cuda:1", "1"), ("cuda:0", "0")]),
        (TWO_GPUS, "GPU-bb", [("cuda:1", "GPU-bb")]),
        (TWO_GPUS, "0,-1,1", [("cuda:0", "0")]),
        (TWO_GPUS, "", [("cpu", None)]),
        (TWO_GPUS, "-1", [("cpu", None)]),
        (ONE_OF_THEM_DIVIDED, None, [("cuda:0.0", "MIG-1111"), ("cuda:0.1", "MIG-2222"), ("cuda:1", "GPU-bbbb")]),
        ("", None, [("cpu", None)]),
    ],
)
def test_devices_are_those_that_cuda_would_show(monkeypatch, listing, visible, expected):
    monkeypatch.setattr(devices, "_gpus", lambda: parse_gpus(listing))
    environment = {} if visible is None else {"CUDA_VISIBLE_DEVICES": visible}
    assert [(slot.name, slot.visible) for slot in slots("auto", environment)] == expected


def test_processors_when_they_are_asked_for_and_a_gpu_when_it_is(monkeypatch):
    monkeypatch.setattr(devices, "_gpus", lambda: parse_gpus(TWO_GPUS))
    assert slots("cpu", {}) == (Slot("cpu", ""),)
    assert len(slots("cuda", {})) == 2
    monkeypatch.setattr(devices, "_gpus", list)
    assert slots("cuda", {}) == (Slot("cuda", None),)


WAITER = """
import sys, time
from gelora.runs.process import queue
run_id, log = sys.argv[1], sys.argv[2]
ticket = queue.Ticket(run_id, int(sys.argv[3]), "cpu", int(sys.argv[4]), 0, 0.0)
slot = queue.wait_for_turn(ticket, lambda: False, lambda place: None, 0.05)
with open(log, "a") as file:
    file.write(f"{run_id} begins {time.time_ns()}\\n")
time.sleep(0.2)
with open(log, "a") as file:
    file.write(f"{run_id} ends {time.time_ns()}\\n")
"""


def waiter(run_id, log, order, at_once=1):
    return subprocess.Popen([sys.executable, "-c", WAITER, run_id, str(log), str(order), str(at_once)])


def test_many_processes_that_ask_at_once_go_one_by_one_in_their_order(gelora_home, tmp_path):
    log = tmp_path / "log.txt"
    held = queue.take("the-first", "cpu", 1)  # this process holds the device until all have asked
    holding = dataclasses.replace(held, candidates=("cpu",), slot="cpu")
    (gelora_home / "runs" / ".queue" / "the-first.json").write_text(json.dumps(dataclasses.asdict(holding)))
    order = [3, 1, 5, 2, 4]
    started = [waiter(f"run-{i}", log, time.time_ns() + i * 10**9) for i in order]
    folder = gelora_home / "runs" / ".queue"
    deadline = time.monotonic() + 240
    while len(list(folder.glob("run-*.json"))) < 5:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    assert not log.exists()
    queue.drop("the-first")
    assert [process.wait(240) for process in started] == [0] * 5
    lines = [line.split() for line in log.read_text().splitlines()]
    assert [(run_id, what) for run_id, what, _ in lines] == [(f"run-{i}", what) for i in range(1, 6) for what in ("begins", "ends")]


def test_next_one_begins_when_the_holder_is_killed(gelora_home, tmp_path):
    log = tmp_path / "log.txt"
    holder = subprocess.Popen([sys.executable, "-c", WAITER.replace("0.2", "600"), "run-1", str(log), "1", "1"])
    while not log.exists():
        time.sleep(0.02)
    second = waiter("run-2", log, 2)
    while not (gelora_home / "runs" / ".queue" / "run-2.json").exists():
        time.sleep(0.02)
    holder.kill()
    holder.wait()
    assert second.wait(240) == 0
    assert [line.split()[:2] for line in log.read_text().splitlines()] == [["run-1", "begins"], ["run-2", "begins"], ["run-2", "ends"]]


def test_waiting_loads_nothing_heavy():
    heavy = ["torch", "transformers", "mlflow", "pandas", "sklearn"]
    code = f"import gelora.runs.process.worker, sys; print([m for m in {heavy} if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


@pytest.mark.parametrize("content", ["", "{", "[]", '{"run_id": "x"}', '{"run_id": 1, "candidates": null}'])
def test_damaged_ticket_does_not_hold_up_the_others(gelora_home, content):
    queue.take("good", "cpu", 1)
    damaged = gelora_home / "runs" / ".queue" / "bad.json"
    damaged.write_text(content)
    assert queue.wait_for_turn(queue.take("good", "cpu", 1), lambda: False, pytest.fail) == Slot("cpu", "")
    assert not damaged.exists()


def test_ticket_of_a_starter_that_died_does_not_count(gelora_home):
    code = "from gelora.runs.process import queue; queue.take('orphan', 'cpu', 1)"
    subprocess.run([sys.executable, "-c", code], check=True)
    assert (gelora_home / "runs" / ".queue" / "orphan.json").exists()
    assert queue.wait_for_turn(queue.take("mine", "cpu", 1), lambda: False, pytest.fail) == Slot("cpu", "")
    assert not (gelora_home / "runs" / ".queue" / "orphan.json").exists()


def test_one_that_is_told_to_stop_leaves_the_queue(gelora_home):
    first = queue.take("first", "cpu", 1)
    assert queue.wait_for_turn(first, lambda: False, pytest.fail)
    places = []
    assert queue.wait_for_turn(queue.take("second", "cpu", 1), lambda: len(places) > 1, places.append, 0.01) is None
    assert places == [1, 1]


def test_pid_that_is_another_process_now_holds_nothing(gelora_home):
    pid, created = processes.me()
    assert (pid, created) == (os.getpid(), psutil.Process().create_time())
    old = Ticket("old", 1, "cpu", 1, pid, created - 1000, ("cpu",), "cpu")
    queue.take("x", "cpu", 1)
    queue.drop("x")
    (gelora_home / "runs" / ".queue" / "old.json").write_text(json.dumps(dataclasses.asdict(old)))
    assert queue.wait_for_turn(queue.take("mine", "cpu", 1), lambda: False, pytest.fail) == Slot("cpu", "")
