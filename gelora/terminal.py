"""How the command line speaks: progress on stderr, tables on stdout, text files in and JSON files out.

Does not depend on models, data or ranks.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path

from gelora.errors import InputError
from gelora.home import local_path, reason_of, write_atomically


class TerminalProgress:
    """Prints stage, share done and time left on stderr, at most five times a second, on one line of a terminal."""

    def __init__(self) -> None:
        self._stage, self._started, self._shown = "", 0.0, 0.0
        self._live = sys.stderr.isatty()

    def __call__(self, stage: str, done: int, total: int) -> None:
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._started, self._shown = stage, now, 0.0
            if not self._live:
                print(f"{stage} ...", file=sys.stderr)
        if self._live and (now - self._shown > 0.2 or done >= total):
            self._shown = now
            left = f", {(now - self._started) / done * (total - done):.0f} s left" if 0 < done < total else ""
            print(f"\r\033[K{stage}: {done}/{total}{left}", end="", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Leave the line clean."""
        if self._live:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def print_table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in [header, *rows]) for i in range(len(header))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in [header, *rows]]
    print("\n".join([title, lines[0], "  ".join("-" * width for width in widths), *lines[1:]]))


def read_text(path: str, what: str) -> str:
    try:
        return local_path(path).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = reason_of(error) if isinstance(error, OSError) else "it is not a text file"
        raise InputError(f"Cannot read the {what} {path}: {reason}.") from error


def say(sentence: str, has_json: bool) -> None:
    """Print a sentence for a person: on standard output, or on standard error where that holds JSON."""
    print(sentence, file=sys.stderr if has_json else sys.stdout)


def write_json(text: str, target: str | None, has_json: bool = False) -> None:
    """Write to a file whose folder is there and say so, to standard output for "-", nowhere for None.

    has_json: whether standard output holds other JSON.
    """
    if target == "-":
        print(text)
    elif target:
        write_file(text + "\n", target)
        say(f"Wrote {target}", has_json)


def write_file(text: str, target: str) -> None:
    path = local_path(target)
    if not path.parent.is_dir():
        raise InputError(f"Cannot write {target!r}: the folder {str(Path(target).parent)!r} does not exist, or no file can have this name.")
    write_atomically(path, text.encode())
