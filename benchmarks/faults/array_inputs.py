"""Arrays that are no cloud of points, and options that no estimator takes: each is an estimate or a sentence."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.faults import odd
from benchmarks.faults.attempt import Kind, Try

_SHAPES = (
    (0,),
    (0, 0),
    (0, 5),
    (5, 0),
    (1, 1),
    (1, 5),
    (2, 5),
    (3, 5),
    (4, 1),
    (5, 5),
    (12, 3),
    (40, 6),
    (60, 1),
    (40, 300),
    (2, 2, 2),
    (),
    (40,),
)
_DTYPES = ("f8", "f4", "f2", "i8", "i1", "u1", "u8", "?", "c8", "O", "U3", "S3", "M8[s]", "m8[s]", ">f8", "longdouble", "V4")
_FORMS = ("array", "list", "ragged", "torch", "torch sparse", "torch meta", "torch bfloat16", "torch gradient", "scipy sparse", "masked",
          "matrix", "read-only", "strided", "record", "frame", "generator", "none", "text", "dict", "subclass")  # fmt: skip


def attempt(found: Try) -> None:
    """One array in one form, given to one estimator with odd options, or to what estimators stand on.

    Raises:
        Fault: the answer is neither an estimate nor a sentence.
    """
    import numpy as np

    from gelora.geometry import ESTIMATORS, PointCloud, neighbor_graph

    odd.limit_memory()
    rng = found.rng
    seed = np.random.default_rng(rng.randrange(2**32))
    form = rng.choice(_FORMS)
    content = _content(rng, seed)
    name = rng.choice(tuple(ESTIMATORS))
    k, m = (rng.choice(odd.NUMBERS) if rng.random() < 0.3 else usual for usual in (20, 0))
    metric = rng.choice(("euclidean", "euclidean", "euclidean", "cosine", rng.choice(odd.TEXTS)))
    device = rng.choice(("cpu", "cpu", "cpu", "cpu", rng.choice(odd.TEXTS), "cuda"))
    given = _as_form(form, content, rng)
    found.case = f"{name}, {form}"
    found.facts["given"] = f"{getattr(content, 'dtype', '')} {content.shape} k={k!r} m={m!r} {metric!r:.20} {device!r:.20}"
    readers: dict[str, Callable[[], Any]] = {
        "estimator": lambda: ESTIMATORS[name].make(k, m).fit(given),
        "cloud": lambda: PointCloud(given, metric, device).graph(k),
        "graph": lambda: neighbor_graph(given, k, metric=metric),
    }
    chosen = rng.choice(tuple(readers))
    found.facts["answers"] = {chosen: odd.answered(readers[chosen])}


def _content(rng: random.Random, seed: Any) -> Any:
    """Numbers of a shape and dtype, some of them odd, some rows equal, or all."""
    import numpy as np

    shape, dtype = rng.choice(_SHAPES), rng.choice(("f8", "f8", "f4", rng.choice(_DTYPES)))
    values = seed.standard_normal(shape)
    how = rng.randrange(8)
    if how == 0:
        values = np.zeros(shape)
    elif how == 1 and values.size:
        values.flat[:: max(1, values.size // 3)] = rng.choice((np.nan, np.inf, -np.inf))
    elif how == 2 and values.ndim == 2 and len(values) > 2:
        values[1:] = values[rng.randrange(len(values))]
    elif how == 3:
        values = values * rng.choice((1e-320, 1e-160, 1e150, 1e300, 1.7e308))
    elif how == 4 and values.ndim == 2:
        values = np.round(values)
    with np.errstate(all="ignore"):
        try:
            return np.abs(values).astype(dtype) if dtype in ("u1", "u8", "M8[s]", "m8[s]") else values.astype(dtype)
        except (TypeError, ValueError):
            return values.astype(object)


def _as_form(form: str, content: Any, rng: random.Random) -> Any:
    """The numbers as what a person may hold them in; where that cannot hold them, as they are."""
    import numpy as np
    import torch

    try:
        return {
            "array": lambda: content,
            "list": lambda: content.tolist(),
            "ragged": lambda: [[1.0, 2.0], [3.0], *content.tolist()],
            "torch": lambda: torch.as_tensor(content),
            "torch sparse": lambda: torch.as_tensor(content).to_sparse(),
            "torch meta": lambda: torch.as_tensor(content).to("meta"),
            "torch bfloat16": lambda: torch.as_tensor(content).to(torch.bfloat16),
            "torch gradient": lambda: torch.as_tensor(content).requires_grad_(),
            "scipy sparse": lambda: _sparse(content),
            "masked": lambda: np.ma.masked_greater(content, 0.5),
            "matrix": lambda: np.asmatrix(content),
            "read-only": lambda: _read_only(content),
            "strided": lambda: np.repeat(content, 2, axis=0)[::-2],
            "record": lambda: np.zeros(5, dtype=[("a", "f8"), ("b", "i4")]),
            "frame": lambda: _frame(content),
            "generator": lambda: (row for row in content),
            "none": lambda: None,
            "text": lambda: rng.choice(odd.TEXTS),
            "dict": lambda: {"a": content},
            "subclass": lambda: content.view(type("Own", (np.ndarray,), {})),
        }[form]()
    except (TypeError, ValueError, RuntimeError, NotImplementedError, ImportError):
        return content


def _sparse(content: Any) -> Any:
    import scipy.sparse

    return scipy.sparse.csr_matrix(content)


def _read_only(content: Any) -> Any:
    found = content.copy()
    found.flags.writeable = False
    return found


def _frame(content: Any) -> Any:
    import pandas

    return pandas.DataFrame(content)


def prepare(material: Path) -> None:
    """Nothing is shared; the libraries are loaded."""
    import torch  # noqa: F401

    import gelora.geometry  # noqa: F401


KINDS = (Kind("arrays", prepare, attempt, odd.LIMIT_SECONDS),)
