"""Odd values: texts, numbers, JSON values and bytes as nobody means to write them, and known ones changed a little."""

import contextlib
import copy
import gzip
import io
import json
import random
import resource
from collections.abc import Callable
from typing import Any

from benchmarks.faults.attempt import require

TEXTS = (
    "", " ", "\0", "a\0b", "\n", "a\nb", "\r", "\t", ".", "..", "/", "//", "~", "~nosuchuser", "~nosuchuser/x.csv",
    "../../../etc/passwd", "/dev/zero", "/dev/null", "/proc/self/mem", "/root", "-", "--", "-1", "0", "1", "2", "NaN", "nan",
    "inf", "-inf", "1e309", "-0.0", "²", "٣", "1_000", "0x10", "1.5", "True", "null", "None", "[]", "{}", "[[1]]", ",", ",,,",
    "a,b", "=1+1", "@x", "%s%n%x", "%00", "\ud800", "a\udcffb", "é", "\u202eabc", "\ufeff", "🦆", "\x1b[31m",
    "<script>alert(1)</script>", "![x](http://x.invalid/a.png)", "$\\frac{1}{0}$", "'; --", "`id`", "$(id)",
    "http://x.invalid/a", "file:///etc/passwd", "a/b", "a/b/c", "C:\\x", "x" * 256, "x" * 5000, "1" * 5000, "/".join("x" * 2000),
    str(10**30), str(-(10**30)), str(2**63), str(2**32), str(2**31), "all", "list", "twonn", "mean", "uniform:4", "params:0",
    "mb:-1", "gelora", "lora", "auto", "cuda", "cuda:99", "cpu",
)  # fmt: skip
NUMBERS: tuple[Any, ...] = (
    0, 1, -1, 2, 3, 5, 255, 2**31 - 1, 2**31, 2**32, 2**53 + 1, 2**63, -(2**63) - 1, 10**30, 10**400, 0.0, -0.0, 0.5, 1.5, 1e-320, 1e300,
    -1e300,     float("nan"), float("inf"), float("-inf"), True, False,
)  # fmt: skip
LIMIT_SECONDS = 20.0  # of one input
_BYTES = (b"\0", b"\xff", b"\n", b'"', b"'", b",", b"\xed\xa0\x80", b"\x80", b"{", b"]", b"\r", b"\x1a", b"\xef\xbb\xbf")
_MOST_MEMORY = 24 << 30
_DEEP = 100_000


def limit_memory() -> None:
    """Let an input that asks for too much memory be refused it, instead of the machine."""
    resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY, resource.getrlimit(resource.RLIMIT_AS)[1]))


def answered(act: Callable[[], Any]) -> str:
    """`a result`, or `a sentence` where a GeloraError says what is wrong; everything else that is raised goes on to the campaign.

    Raises:
        Fault: the error has no words, or words that cannot be printed.
    """
    from gelora.errors import GeloraError

    try:
        act()
    except GeloraError as error:
        said = str(error)
        require(said.strip() and "Traceback" not in said, "wrong", f"{type(error).__name__} says {said[:300]!r}")
        return "a sentence"
    return "a result"


def command(*arguments: str) -> str:
    """What `gelora` does with its arguments, in this process, with streams as a terminal has them: how it ended, and its words.

    Raises:
        Fault: the status is none that it has, or a traceback is shown.
    """
    from gelora.cli import main

    out = io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    err = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", errors="backslashreplace")
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            code: Any = main(list(arguments))
        except SystemExit as left:  # argparse's own refusal, or its help
            code = left.code
        out.flush()
        err.flush()
    said = (out.buffer.getvalue() + err.buffer.getvalue()).decode(errors="replace")  # type: ignore[attr-defined]
    require(code in (0, 1, 2), "wrong", f"the exit status is {code!r}: {said[-300:]}")
    require("Traceback (most" not in said, "traceback", said[-600:])
    require(code == 0 or said.strip(), "wrong", f"the exit status is {code}, and nothing is said")
    return f"exit status {code}: {said}"


def value(rng: random.Random, depth: int = 2) -> Any:
    """An odd JSON value."""
    kind = rng.randrange(8 if depth else 5)
    if kind < 2:
        return rng.choice(TEXTS)
    if kind < 4:
        return rng.choice(NUMBERS)
    if kind == 4:
        return None
    if kind < 7:
        return [value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {rng.choice(TEXTS): value(rng, depth - 1) for _ in range(rng.randrange(4))}


def changed(rng: random.Random, known: Any) -> Any:
    """A JSON value with one to three of its parts, at any depth, replaced, removed, doubled or renamed."""
    found = copy.deepcopy(known)
    for _ in range(rng.randint(1, 3)):
        places: list[tuple[Any, Any]] = []
        _collect(found, places)
        if not places:
            return value(rng)
        holder, key = rng.choice(places)
        how = rng.randrange(6)
        if how == 0:
            del holder[key]
        elif how == 1 and isinstance(holder, dict):
            holder[rng.choice(TEXTS)] = holder.pop(key)
        elif how == 2 and isinstance(holder, list):
            holder.append(holder[key])
        else:
            holder[key] = value(rng)
    return found


def _collect(node: Any, places: list[tuple[Any, Any]]) -> None:
    for key in list(node) if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
        places.append((node, key))
        _collect(node[key], places)


def json_bytes(rng: random.Random, known: Any) -> bytes:
    """The bytes of a JSON file: changed as a value, as bytes, nested deeply, or none at all."""
    how = rng.randrange(10)
    if how < 6:
        return json.dumps(changed(rng, known)).encode()
    if how < 8:
        return bytes_changed(rng, json.dumps(known).encode())
    opening = rng.choice((b"[", b'{"a":'))
    return rng.choice(
        (opening * _DEEP, b"", b"null", b'"text"', b"3", b"[]", b"{}", b"\xff\xfe{\x00}\x00", b"{" * 3, bytes(rng.randbytes(50)))
    )


def bytes_changed(rng: random.Random, known: bytes) -> bytes:
    """Bytes of which some are flipped, cut, doubled, or preceded or replaced by others."""
    found = bytearray(known)
    for _ in range(rng.randint(1, 3)):
        at, end = sorted((rng.randrange(len(found) + 1), rng.randrange(len(found) + 1)))
        how = rng.randrange(7)
        if how == 0 and found:
            found[min(at, len(found) - 1)] ^= 1 << rng.randrange(8)
        elif how == 1:
            del found[at:]
        elif how == 2:
            del found[at : min(end, at + 200)]
        elif how == 3:
            found[at:at] = rng.choice(
                (b"\0", b"\xff", b"\n", b'"', b"'", b",", b"\xed\xa0\x80", b"\x80", b"{", b"]", b"\r", b"\x1a", b"\xef\xbb\xbf")
            )
        elif how == 4:
            found[at:at] = found[at : min(end, at + 2000)]
        elif how == 5:
            found[:0] = rng.choice((b"\xef\xbb\xbf", b"\xff\xfe", b"\xfe\xff", b"PK\x03\x04", b"\x1f\x8b", b"PAR1", b"\0" * 16, b"# x\n"))
        else:
            found[at : at + 4] = rng.randbytes(4)
    return bytes(found)


def packed(rng: random.Random, content: bytes) -> bytes:
    """Content packed with gzip, often not whole."""
    whole = io.BytesIO()
    with gzip.GzipFile(fileobj=whole, mode="wb", mtime=0) as file:
        file.write(content)
    return bytes_changed(rng, whole.getvalue()) if rng.random() < 0.6 else whole.getvalue()
