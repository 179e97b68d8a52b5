"""How long measurements took on this machine, and what the next one will take; unknown where nothing like it was measured.

Does not depend on how anything is measured or drawn.
"""

import contextlib
import json
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from gelora.errors import StoreError
from gelora.home import cache_dir, made, reason_of, write_atomically
from gelora.measurements.quantity import Quantity
from gelora.measurements.spec import MeasurementSpec

_KEPT = 50
_FACTOR = 4  # how far in the number of texts one measurement speaks for another

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def noted(wanted: MeasurementSpec, quantity: Quantity, is_whole: Callable[[], bool]) -> Iterator[None]:
    """Note the seconds of the work inside, when it was whole: the texts went through the model and all estimators followed."""
    started = time.monotonic()
    yield
    if quantity.kind != "estimators" or not is_whole():
        return
    row = _of(wanted, quantity.names) | {"n": wanted.n_samples, "seconds": round(time.monotonic() - started, 2)}
    try:
        write_atomically(made(cache_dir("pace")) / "measurements.json", json.dumps([*_rows(), row][-_KEPT:]).encode())
    except StoreError as error:
        logger.warning("How long the measurement took is not kept: %s", error)


def seconds_of(wanted: MeasurementSpec, names: Sequence[str]) -> float | None:
    """Seconds that this measurement will take, in proportion to the nearest number of texts measured alike; None: not known."""
    alike = [row for row in _rows() if all(row.get(key) == value for key, value in _of(wanted, names).items())]
    alike = [row for row in alike if 1 / _FACTOR <= wanted.n_samples / row["n"] <= _FACTOR]
    if not alike:
        return None
    nearest = min(reversed(alike), key=lambda row: abs(row["n"] - wanted.n_samples))  # of equally near ones the latest
    return float(nearest["seconds"] * wanted.n_samples / nearest["n"])


def _of(wanted: MeasurementSpec, names: Sequence[str]) -> dict[str, Any]:
    return {"model": wanted.model, "pooling": wanted.pooling, "length": wanted.max_length, "estimators": sorted(names)}


def _rows() -> list[dict[str, Any]]:
    path = cache_dir("pace") / "measurements.json"
    try:
        rows = json.loads(path.read_bytes())
        return [row for row in rows if row["n"] > 0 and row["seconds"] >= 0]
    except FileNotFoundError:
        return []
    except OSError as error:
        logger.warning("%s cannot be read: %s", path, reason_of(error))
        return []
    except (ValueError, KeyError, TypeError) as error:
        logger.warning("%s is damaged and replaced: %s", path, error)
        return []
