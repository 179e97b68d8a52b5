"""The parts of the Home page: the pipeline as a live picture, the three demonstrations, the last runs.

Draws with Streamlit; how the pipeline stands is `app.shared.pipeline`'s, what a demonstration does `app.home.demos`'.
"""

import html
from collections.abc import Sequence
from typing import Literal
from urllib.parse import quote

import streamlit as st

from app import state
from app.home import demos
from app.shared import components, measuring, pipeline, progress
from app.shared.cache import measurements
from app.shared.lookups import ask
from app.shared.markdown import md, plain
from app.shared.pipeline import Station
from app.shared.redraw import in_place, poll
from app.shared.run_reading import short_name
from app.shared.run_words import STATUS_ICONS, listed, main_metric, metric_word
from gelora.measurements import is_warming_up, warm_up
from gelora.runs import RunInfo, history

N_LAST_RUNS = 3
_RUN_WIDTH = 210  # pixels of a run's button: all of one width, so that the lines beside them begin together
_SPARK = "#2e8fe8"  # stands out on both themes


def picture() -> None:
    """The five stations, drawn; again every second while something is under way."""
    if measuring.current_profile() is None:
        warm_up()
    place = st.container()  # alive or still, the picture stands in one place
    with place:
        if _is_live():
            poll(1.0, _is_live, True, _live)
        else:
            _draw(pipeline.stations())


def _is_live() -> bool:
    return _is_preparing() or measuring.is_measuring() or pipeline.is_moving(pipeline.stations())


def _live() -> None:
    _draw(pipeline.stations())
    if _is_preparing():
        parts = {"data": ["the bundled sentences"], "libraries": ["the libraries"]}
        now = [words for what, of_it in parts.items() if is_warming_up(what) for words in of_it]
        st.caption(md(":material/hourglass_top: First visit: {} are made ready beside this page, once. It works meanwhile.", listed(now)))


def _is_preparing() -> bool:
    return is_warming_up("data") or is_warming_up("libraries")


def _draw(found: Sequence[Station]) -> None:
    with st.container(key="pipeline"):
        for number, station in enumerate(found, start=1):
            with st.container(gap=None, key=f"station-{station.state}-{number}"):
                st.html(_station(number, station, is_last=number == len(found)))
                st.page_link(
                    components.page_path(station.page),
                    label=plain(f"Open {components.PAGES[station.page]}"),
                    icon=components.ICONS[station.page],
                    query_params=state.as_query(),
                )


def _station(number: int, station: Station, is_last: bool) -> str:
    """One station: sign and pipe, name, state as a word, what is there."""
    sign = pipeline.STATES["done"] if station.state == "done" else str(number)
    said = html.escape(f"Step {number}, {station.name}: {station.state}. {station.words}", quote=True)
    return (
        f'<div class="station {station.state}{" last" if is_last else ""}" role="group" aria-label="{said}">'
        f'<div class="pipe" aria-hidden="true"><div class="dot">{sign}</div><div class="flow"></div></div>'
        f'<div class="name">{station.name}</div><div class="how">{station.state}</div>'
        f'<div class="what">{html.escape(station.words)}</div></div>'
    )


# demonstrations


def demonstrations() -> None:
    """Three buttons on bundled data, each with what one will see and how long it takes; the one under way with Cancel."""
    for column, (name, demo) in zip(st.columns(len(demos.DEMOS)), demos.DEMOS.items(), strict=True):
        with column, st.container(border=True, height="stretch"):
            kind: Literal["primary", "secondary"] = "primary" if name == "curve" else "secondary"
            if st.button(
                plain(demo.title), key=f"demo_{name}", type=kind, icon=demo.icon, width="stretch", on_click=demos.choose, args=(name,)
            ):
                _begin(name)
            st.markdown(plain(demo.words))
            st.caption(md(":material/timer: {}", demo.takes_measured if demos.is_measured(name) else demo.takes))
    _under_way()


def _begin(name: str) -> None:
    if name == "train":
        st.session_state["_demo"] = demos.start(state.measurement(), measuring.chosen_task(), st.session_state["offset"])
        return
    st.session_state.pop("_demo", None)  # what an earlier one ended with has been read
    measurements().start(state.measurement(), measuring.chosen_task())
    st.switch_page(components.page_path(demos.DEMOS[name].page))


@in_place
def _under_way() -> None:
    """The training that this tab has asked for: its progress, then its run's page, or what it ended with until another is begun."""
    job: demos.TrainingDemo | None = st.session_state.get("_demo")
    if job is None:
        return
    if not job.is_over:
        progress.follow(job, "cancel_demo", "Train and watch")
        return
    if job.run_id is not None:
        del st.session_state["_demo"]
        state.choose("run", job.run_id)
        st.switch_page(components.page_path("finetune"))
    progress.end(job)


# the last runs


def last_runs(runs: Sequence[RunInfo]) -> None:
    """The newest runs, each with its loss as a line and a button into its live view."""
    if not runs:
        st.caption("No run yet: *Train and watch* starts one, or Fine-tune.")
        return
    waits, st.session_state["_loss_pending"] = False, set()
    for run in runs[:N_LAST_RUNS]:
        series = _loss_of(run)
        waits = waits or series is None
        with st.container(horizontal=True, vertical_alignment="center", key=f"last_run_{run.id}"):
            if st.button(
                plain(f"{STATUS_ICONS[run.state.status]} {short_name(run)}"), key=f"open_{run.id}", on_click=state.choose,
                args=("run", run.id), help=plain(f"{run.state.status}: {run.model} on {run.dataset}"), width=_RUN_WIDTH,
            ):  # fmt: skip
                st.switch_page(components.page_path("finetune"))
            st.html(f'<div class="spark">{_spark(series)}<span>{html.escape(_words(run))}</span></div>', width="content")
    if waits or any(run.is_live for run in runs[:N_LAST_RUNS]):
        poll(2.0, _is_loss_there, False)


def _is_loss_there() -> bool:
    """Whether the losses that were missing are there now."""
    pending = st.session_state.get("_loss_pending", set())
    return bool(pending) and all(ask(key, list)[0] for key in pending)


def _words(run: RunInfo) -> str:
    metric = main_metric(run)
    score = f"{metric_word(metric)} {run.state.metrics[metric]:.3f}" if metric in run.state.metrics else run.state.status
    return score if run.state.status == "finished" or metric not in run.state.metrics else f"{score}, {run.state.status}"


def _loss_of(run: RunInfo) -> list[float] | None:
    """The run's losses in order; None while the store is being read, which the page does not wait for."""
    key = f"loss {run.id} {run.state.status} {run.state.attempts}"
    known, losses = ask(key, lambda: [value for _, value in history(run.id).get("loss", [])], 3.0 if run.is_live else None)
    if not known:
        st.session_state["_loss_pending"].add(key)
        return None
    return losses or []


def _spark(values: Sequence[float] | None) -> str:
    """A line of the values, 120 by 28 pixels, with what it shows in words; None: they are being read."""
    if values is None or len(values) < 2:
        return f'<span class="none">{"reading the losses …" if values is None else "no loss on record"}</span>'
    low, high = min(values), max(values)
    points = " ".join(
        f"{4 + 112 * i / (len(values) - 1):.1f},{24 - 20 * (value - low) / ((high - low) or 1):.1f}" for i, value in enumerate(values)
    )
    last = points.rsplit(" ", 1)[-1].split(",")
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="120" height="28"><polyline points="{points}" fill="none" stroke="{_SPARK}" '
        f'stroke-width="2"/><circle cx="{last[0]}" cy="{last[1]}" r="3" fill="{_SPARK}"/></svg>'
    )
    said = f"loss from {values[0]:.3f} to {values[-1]:.3f}"
    return f'<img src="data:image/svg+xml,{quote(svg)}" width="120" height="28" alt="{said}" title="{said}">'
