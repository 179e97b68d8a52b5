"""The queue of runs: one ticket a run, in the order in which the runs were started, and so many at once on a device.

There is no server: a ticket is a file in `runs/.queue/` that counts as long as its process lives, so that a holder that
is killed makes room by that alone. Every read is under a lock and removes dead tickets. Does not depend on what a run
does.
"""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from filelock import FileLock, Timeout

from gelora.errors import StoreError
from gelora.home import made, reason_of, runs_dir, write_atomically
from gelora.runs.process import processes
from gelora.runs.process.devices import Slot, slots
from gelora.runs.records.record_file import read_record

_LOCK_SECONDS = 20.0
_LONGEST_PAUSE_SECONDS = 2.0


@dataclass(frozen=True)
class Ticket:
    """A place in the queue. device: as asked for; candidates: the devices that would do, () until they have been counted;
    slot: the one it holds, None while it waits; pid, pid_create_time: the process that the ticket lives as long as.
    """

    run_id: str
    taken_at_ns: int
    device: str
    runs_at_once: int
    pid: int
    pid_create_time: float
    candidates: tuple[str, ...] = ()
    slot: str | None = None

    @property
    def order(self) -> tuple[int, str]:
        """Earlier tickets are smaller."""
        return self.taken_at_ns, self.run_id


def take(run_id: str, device: str, runs_at_once: int, taken_at_ns: int | None = None) -> Ticket:
    """Take a ticket that lives as long as this process, or until it is handed over.

    Raises:
        StoreError: the queue cannot be written.
    """
    with _locked() as folder:
        latest = max((ticket.taken_at_ns for ticket in _tickets(folder)), default=0)
        pid, created = processes.me()
        ticket = Ticket(run_id, taken_at_ns or max(time.time_ns(), latest + 1), device, runs_at_once, pid, created)
        _write(folder, ticket)
        return ticket


def hand_over(run_id: str, pid: int, pid_create_time: float) -> None:
    """Let a ticket live as long as another process.

    Raises:
        StoreError: the queue cannot be written.
    """
    with _locked() as folder:
        for ticket in _tickets(folder):
            if ticket.run_id == run_id:
                _write(folder, replace(ticket, pid=pid, pid_create_time=pid_create_time))


def one_start_at_a_time() -> AbstractContextManager[Path]:
    """Held from the look for an equal run until the new one has its ticket, so that of two equal starts the second sees the first.

    Raises:
        StoreError: the queue cannot be used, or another start holds it for long.
    """
    return _locked(name=".start.lock")


def drop(run_id: str) -> None:
    """Remove a ticket; a missing one is no error."""
    (_folder() / f"{run_id}.json").unlink(missing_ok=True)


def place(tickets: Sequence[Ticket], run_id: str) -> tuple[str | None, int]:
    """The device that a run gets now, None when it has to wait, and its place among those that wait (1 = the next).

    A run gets a device on which fewer runs are than its own `runs_at_once`, the emptiest of them; one that waits for a
    device is not overtaken by later ones that want the same.
    """
    load = Counter(ticket.slot for ticket in tickets if ticket.slot is not None)
    waiting = sorted((ticket for ticket in tickets if ticket.slot is None), key=lambda ticket: ticket.order)
    mine = next(ticket for ticket in waiting if ticket.run_id == run_id)
    taken: set[str] = set()  # devices that an earlier one waits for
    ahead = 0
    for ticket in waiting:
        wanted = ticket.candidates or _unknown(ticket, mine)
        free = [slot for slot in wanted if slot not in taken and load[slot] < ticket.runs_at_once]
        chosen = min(free, key=lambda slot: load[slot], default=None)
        if ticket is mine:
            return chosen, ahead + 1
        ahead += not set(wanted).isdisjoint(mine.candidates)
        if chosen is not None and ticket.candidates:
            load[chosen] += 1
        else:
            taken |= set(wanted)
    raise AssertionError("unreachable: the run is among those that wait")


def _unknown(ticket: Ticket, mine: Ticket) -> tuple[str, ...]:
    """The devices that a process may want which has not counted them yet: those of its kind."""
    return tuple(slot for slot in mine.candidates if slot == "cpu" or ticket.device != "cpu")


def wait_for_turn(
    ticket: Ticket, stop_requested: Callable[[], bool], tell: Callable[[int], None], pause_seconds: float = 0.25
) -> Slot | None:
    """Wait until a device is free for this process's run; None when a stop was asked for first.

    Args:
        ticket: what its starter took; it becomes this process's, and is taken again where it was lost.
        stop_requested: asked at every look.
        tell: called with the place in the queue at every look that is in vain.
        pause_seconds: between two looks of the next one in turn; those behind look less often.

    Raises:
        StoreError: the queue cannot be written.
    """
    possible = {slot.name: slot for slot in slots(ticket.device)}
    pid, created = processes.me()
    ticket = replace(ticket, pid=pid, pid_create_time=created, candidates=tuple(possible), slot=None)
    position = 1
    while not stop_requested():
        try:
            with _locked(seconds=_LONGEST_PAUSE_SECONDS) as folder:
                there = _tickets(folder)
                chosen, position = place([*(other for other in there if other.run_id != ticket.run_id), ticket], ticket.run_id)
                if (mine := replace(ticket, slot=chosen)) not in there:
                    _write(folder, mine)
        except _Busy:
            chosen = None  # another process holds the lock for long; try again
        if chosen is not None:
            return possible[chosen]
        tell(position)
        _pause(min(pause_seconds * position, _LONGEST_PAUSE_SECONDS), stop_requested)
    return None


def _pause(seconds: float, stop_requested: Callable[[], bool]) -> None:
    deadline = time.monotonic() + seconds
    while (left := deadline - time.monotonic()) > 0 and not stop_requested():
        time.sleep(min(left, 0.2))


def _folder() -> Path:
    return made(runs_dir() / ".queue")


class _Busy(StoreError):
    """The lock was held for longer than the timeout."""


@contextmanager
def _locked(seconds: float = _LOCK_SECONDS, name: str = ".lock") -> Iterator[Path]:
    try:
        folder = _folder()
        with FileLock(folder / name, timeout=seconds):
            yield folder
    except Timeout as error:
        raise _Busy(f"The queue of runs has been locked for {seconds:g} s ({error.lock_file}); try again.") from error
    except OSError as error:
        raise StoreError(f"The queue of runs cannot be used: {reason_of(error)}, or set GELORA_HOME to a writable folder.") from error


def _tickets(folder: Path) -> list[Ticket]:
    """The tickets that count; the others are removed."""
    found = []
    for path in folder.glob("*.json"):
        try:
            ticket = read_record(path, Ticket)
        except StoreError:
            path.unlink(missing_ok=True)  # no ticket; its run, if it lives, takes another
            continue
        if ticket is None:
            continue  # given back just now
        if processes.find(ticket.pid, ticket.pid_create_time, ticket.run_id) is None:
            path.unlink(missing_ok=True)
        else:
            found.append(ticket)
    return found


def _write(folder: Path, ticket: Ticket) -> None:
    write_atomically(folder / f"{ticket.run_id}.json", json.dumps(asdict(ticket)).encode())
