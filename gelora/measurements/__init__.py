"""The measurements wing: a measurement by what it is of, where its results are kept, and how it is carried out.

The command line and the dashboard share it, so that the one finds what the other measured. Does not depend on pages.
Names load their file when first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gelora.measurements.background import Measurements as Measurements, MeasuringJob as MeasuringJob
    from gelora.measurements.durations import seconds_of as seconds_of
    from gelora.measurements.identity_cache import IdentityCache as IdentityCache
    from gelora.measurements.jobs import WAITING as WAITING, Job as Job, TaskPool as TaskPool
    from gelora.measurements.measuring import (
        device_of_work as device_of_work,
        measure as measure,
        only as only,
        profile_store as profile_store,
    )
    from gelora.measurements.quantity import Quantity as Quantity
    from gelora.measurements.similarity import measured_similarity as measured_similarity, similarity_store as similarity_store
    from gelora.measurements.spec import MeasurementSpec as MeasurementSpec
    from gelora.measurements.store import ResultStore as ResultStore, file_state as file_state, key_of as key_of
    from gelora.measurements.warming import is_warming_up as is_warming_up, warm_up as warm_up

_FILE_OF = {
    **dict.fromkeys(("Measurements", "MeasuringJob"), "background"),
    "seconds_of": "durations",
    **dict.fromkeys(("WAITING", "Job", "TaskPool"), "jobs"),
    "IdentityCache": "identity_cache",
    **dict.fromkeys(("device_of_work", "measure", "measured", "only", "profile_store"), "measuring"),
    "Quantity": "quantity",
    **dict.fromkeys(("measured_similarity", "similarity_store"), "similarity"),
    "MeasurementSpec": "spec",
    **dict.fromkeys(("ResultStore", "file_state", "key_of"), "store"),
    **dict.fromkeys(("is_warming_up", "warm_up"), "warming"),
}

__all__ = sorted(_FILE_OF)


def __getattr__(name: str) -> Any:
    if name not in _FILE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_FILE_OF[name]}"), name)
