"""`Record`, the base of every record: an exact JSON form, equality by content, a digest.

Turns typed fields into JSON and back; does not depend on what the fields mean.
float64 arrays are written as nested lists with null for NaN, so that a person can read them;
other arrays as base64 of their bytes.
"""

import base64
import dataclasses
import hashlib
import json
import math
import types
import typing
from typing import Any, Self

import numpy as np

from gelora.errors import InputError

_T = typing.TypeVar("_T")

ADDED = {"is_added": True}
"""Metadata of a field that a record did not always have; at its default it is no part of the digest."""

NOTE = {"is_note": True}
"""Metadata of a field that says how a record came about; it is no part of its digest, nor of what makes two records equal."""


class Record:
    """Base of the frozen dataclasses that flow along the path."""

    __slots__ = ()

    def to_json(self, indent: int | None = None) -> str:
        """The record as JSON text; `from_json` of it is equal to the record, bit for bit."""
        return json.dumps({"record": type(self).__name__, **_plain(self)}, indent=indent, allow_nan=False)

    @classmethod
    def from_json(cls, text: str) -> Self:
        """The record that `to_json` wrote.

        Raises:
            InputError: the text is not JSON, not this kind of record, or a field is missing, unknown or illegal.
        """
        try:
            data = json.loads(text, parse_constant=no_constant)
        except (ValueError, RecursionError) as error:
            raise InputError(f"This is not JSON ({error}); expected the JSON form of {cls.__name__}.") from error
        if not isinstance(data, dict) or data.get("record") != cls.__name__:
            given = data.get("record", "no record name") if isinstance(data, dict) else type(data).__name__
            raise InputError(f"Expected the JSON form of {cls.__name__}, got {given!r}.")
        data.pop("record")
        return typing.cast(Self, _build(cls, data, cls.__name__))

    def digest(self) -> str:
        """First 16 hex digits of the SHA-256 of the canonical JSON form; how long a thing took is no part of it."""
        canonical = json.dumps(_plain(self, identity_only=True), sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        compared = [f.name for f in _fields(self) if not f.metadata.get("is_note")]
        return all(_same(getattr(self, name), getattr(other, name)) for name in compared)

    def __hash__(self) -> int:
        return hash(self.digest())


def read_only(array: np.ndarray, dtype: Any) -> np.ndarray:
    """`array` as a read-only array of `dtype`; copies when the given one could still be written to."""
    result = np.ascontiguousarray(array, dtype=dtype)
    if result.flags.writeable:
        result = result.copy() if result is array or result.base is not None else result
        result.flags.writeable = False
    return result


def no_constant(name: str) -> None:
    """Python's reader takes NaN and Infinity, which JSON does not know and no record writes."""
    raise ValueError(f"{name} is not a JSON number")


def _fields(record: Any) -> "tuple[dataclasses.Field[Any], ...]":
    return dataclasses.fields(record)


def _same(a: Any, b: Any) -> bool:
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind == "f")
    if isinstance(a, dict):
        return isinstance(b, dict) and list(a) == list(b) and all(_same(a[key], b[key]) for key in a)
    if isinstance(a, tuple):
        return isinstance(b, tuple) and len(a) == len(b) and all(map(_same, a, b))
    return bool(a == b)


def _plain(value: Any, identity_only: bool = False) -> Any:
    if isinstance(value, Record):
        fields = [f for f in _fields(value) if not (identity_only and _is_no_identity(f, value))]
        return {f.name: _plain(getattr(value, f.name), identity_only) for f in fields}
    if isinstance(value, np.ndarray):
        if value.dtype == np.float64 and (value.size or value.ndim == 1):  # a list cannot hold the shape (0, 7)
            return _nulls_for_nan(value.tolist())
        return {
            "dtype": str(value.dtype),
            "shape": list(value.shape),
            "base64": base64.b64encode(np.ascontiguousarray(value).tobytes()).decode(),
        }
    if isinstance(value, dict):
        return {str(key): _plain(item, identity_only) for key, item in value.items()}
    if isinstance(value, tuple):
        return [_plain(item, identity_only) for item in value]
    return value


def _is_no_identity(field: "dataclasses.Field[Any]", record: Record) -> bool:
    """A timing or note; or a field added later that has its default, so that digests of records from before it stay the same."""
    is_added = field.metadata.get("is_added") and getattr(record, field.name) == field.default
    return bool(field.metadata.get("is_timing") or field.metadata.get("is_note") or is_added)


def _nulls_for_nan(value: Any) -> Any:
    if isinstance(value, list):
        return [_nulls_for_nan(item) for item in value]
    return None if math.isnan(value) else value


def _build(cls: Any, data: Any, where: str) -> Any:
    if not isinstance(data, dict):
        raise InputError(f"{where} must be an object, got {type(data).__name__}.")
    hints = typing.get_type_hints(cls)
    unknown = sorted(set(data) - set(hints))
    missing = sorted(f.name for f in dataclasses.fields(cls) if f.name not in data and _required(f))
    if unknown or missing:
        raise InputError(f"{where} has unknown fields {unknown} and lacks {missing}; legal fields are {sorted(hints)}.")
    return cls(**{name: _value(hints[name], item, f"{where}.{name}") for name, item in data.items()})


def build_known(cls: type[_T], data: dict[str, Any]) -> _T:
    """A dataclass of the fields of `data` that it has, each of the type that it declares; others are left out.

    Raises:
        InputError: a field has another type, or a required one is missing.
    """
    hints = typing.get_type_hints(cls)
    return typing.cast("_T", _build(cls, {name: value for name, value in data.items() if name in hints}, cls.__name__))


def _required(field: "dataclasses.Field[Any]") -> bool:
    return field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING


def _value(hint: Any, data: Any, where: str) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (types.UnionType, typing.Union):
        if data is None and type(None) in arguments:
            return None
        (inner,) = [argument for argument in arguments if argument is not type(None)]
        return _value(inner, data, where)
    if origin is tuple:
        if not isinstance(data, list):
            raise InputError(f"{where} must be a list, got {type(data).__name__}.")
        return tuple(_value(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(data))
    if origin is dict:
        if not isinstance(data, dict):
            raise InputError(f"{where} must be an object, got {type(data).__name__}.")
        return {_value_key(arguments[0], key, where): _value(arguments[1], item, f"{where}.{key}") for key, item in data.items()}
    if hint is np.ndarray:
        return _array(data, where)
    if isinstance(hint, type) and issubclass(hint, Record):
        return _build(hint, data, where)
    if hint is float and isinstance(data, int) and not isinstance(data, bool):
        try:
            return float(data)
        except OverflowError as error:
            raise InputError(f"{where} is too large a number.") from error
    if isinstance(hint, type) and not (isinstance(data, hint) and (hint is bool or not isinstance(data, bool))):
        raise InputError(f"{where} must be {hint.__name__}, got {data!r}.")
    return data


def _value_key(hint: Any, key: str, where: str) -> Any:
    if hint is not int:
        return key
    try:
        return int(key)
    except ValueError as error:
        raise InputError(f"The keys of {where} must be whole numbers, got {key!r}.") from error


def _array(data: Any, where: str) -> np.ndarray:
    try:
        if isinstance(data, dict):
            raw = base64.b64decode(data["base64"], validate=True)
            return np.frombuffer(raw, dtype=np.dtype(data["dtype"])).reshape(data["shape"])
        return np.array(data, dtype=np.float64)
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise InputError(f"{where} is not an array: {error}.") from error
