"""What pages read of runs, through the face of `gelora.runs`, kept for as long as nothing has changed.

Draws nothing.
"""

import streamlit as st

from app.shared.run_words import metric_word
from gelora.runs import GeometryMeasurement, RunInfo, describe_method, geometry, history


def series_of(run: RunInfo) -> dict[str, list[tuple[int, float]]]:
    """The run's metrics; read again only when its state says that something was logged."""
    return _history(run.id, (run.state.status, run.state.step, run.state.attempts, tuple(sorted(run.state.metrics.items()))))


@st.cache_data(show_spinner=False, max_entries=64)
def _history(run_id: str, state: tuple[object, ...]) -> dict[str, list[tuple[int, float]]]:
    return history(run_id)


def geometry_of(run: RunInfo) -> list[GeometryMeasurement]:
    """The measurements of the dimension during training that have a value, the earliest first; none where there was no probe."""
    return [found for found in geometry(run.id) if found.dimensions]


def short_name(run: RunInfo) -> str:
    """A run in a few words: method and ranks, seed, and the end of its id, which tells it from its siblings."""
    if run.spec is None:
        return run.id
    return f"{describe_method(run.spec)}, seed {run.spec.seed} · {run.id[-4:]}"


def reference_scores(run: RunInfo, runs: list[RunInfo], metric: str) -> dict[str, float]:
    """What the run is held against: the majority class, and a finished head-only run of the same model, data and seed."""
    found = {}
    if run.state.majority_accuracy is not None and metric == "eval_accuracy":
        found["majority class"] = run.state.majority_accuracy
    if run.method == "head" or run.spec is None:
        return found
    for other in runs:
        if other.method != "head" or other.state.status != "finished" or other.spec is None or metric not in other.state.metrics:
            continue
        same = all(getattr(other.spec, name) == getattr(run.spec, name) for name in ("model", "data", "held_out", "seed"))
        if same and other.spec.training.n_train == run.spec.training.n_train:
            return found | {"head only": other.state.metrics[metric]}
    return found


def metric_names(all_series: list[dict[str, list[tuple[int, float]]]], first: str) -> list[str]:
    """Every metric that any of the runs has, the one they are judged by first, then the loss."""
    names = {name for series in all_series for name in series} - {"majority_accuracy", "epoch"}
    return sorted(names, key=lambda name: (name != first, name != "loss", name.startswith("id/"), metric_word(name)))
