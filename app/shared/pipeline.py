"""How the pipeline stands for the present choices: data, states, dimension, ranks, run, each from what is really there.

One answer for Home's picture and for the chips over every page. Draws nothing.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import streamlit as st

from app import state
from app.shared import data_preview, measuring, planning
from app.shared.cache import measurements
from app.shared.lookups import ask
from app.shared.run_words import count, main_metric, metric_word, short_path, size
from gelora.errors import GeloraError
from gelora.measurements import WAITING, MeasurementSpec, MeasuringJob, file_state, is_warming_up
from gelora.records import IdProfile, RankPlan
from gelora.runs import RunInfo, list_runs
from gelora.sources import BUNDLED_DATASET, data_at_hand, load_sample, model_at_hand, states_kept

STATES = {"done": "✓", "stale": "◌", "running": "▶", "empty": "○"}
STEPS = {"layers": 3, "ranks": 4, "finetune": 5, "runs": 5}  # the step that a page belongs to
_STATES_STAGES = ("Reading the model", "Hidden states")  # of the library's progress; before them the data is read


@dataclass(frozen=True)
class Station:
    """One station: its page, how it stands (a key of STATES), and what is there, in a few words."""

    name: str
    page: str
    state: str
    words: str

    @property
    def label(self) -> str:
        """Sign, name and state as one phrase."""
        return f"{STATES[self.state]} {self.name} · {self.state}"


def stations() -> tuple[Station, ...]:
    """The five stations as they stand now, in the order of the data's path."""
    wanted, profile = state.measurement(), measuring.current_profile()
    job = next((j for j in measurements().jobs(wanted) if j.quantity.kind == "estimators" and not j.is_over), None)
    old, measured_with = measuring.shown_profile()
    is_stale = profile is None and old is not None and measured_with is not None and measured_with != wanted
    otherwise = "stale" if is_stale else "empty"
    runs = list_runs()
    plan, no_plan = _plan(profile)
    return (
        _data(wanted, profile, job),
        _states(wanted, profile, job, otherwise, measured_with),
        _dimension(profile, job, otherwise),
        _ranks(profile, plan, no_plan, otherwise),
        _run(wanted, plan, runs),
    )


def is_moving(found: Sequence[Station]) -> bool:
    """Whether something is under way, so that it is worth looking again soon."""
    return any(station.state == "running" for station in found)


def step_of(found: Sequence[Station], page: str) -> int:
    """The step (from 1) that a page belongs to; for pages that belong to none the first that is not done, at most the last."""
    return STEPS.get(page) or next((i for i, station in enumerate(found, start=1) if station.state != "done"), len(found))


def _data(wanted: MeasurementSpec, profile: IdProfile | None, job: MeasuringJob | None) -> Station:
    name = short_path(wanted.data.dataset)
    station = Station("Data", "layers", "done", f"{measuring.n_texts(wanted):,} texts of {name}")
    if profile is not None:
        n = next(iter(profile.estimates.values()))[0].n_samples
        return replace(station, words=f"{n:,} {'tokens' if wanted.pooling == 'tokens' else 'texts'} of {name}")
    if wanted.data.dataset != BUNDLED_DATASET and data_preview.is_here(wanted.data):
        found = data_preview.of(wanted.data)
        if found is None:
            return replace(station, state="running", words=f"reading {name}")
        problem = found if isinstance(found, str) else found.preview.problem
        return station if problem is None else replace(station, state="empty", words=f"cannot be used: {problem}")
    if data_at_hand(wanted.data):
        return station
    if _stage(job) == "data":
        assert job is not None
        return replace(station, state="running", words=f"{job.stage}{_counted(job)}")
    if wanted.data.dataset == BUNDLED_DATASET and is_warming_up("data"):
        return replace(station, state="running", words="reading the bundled sentences, once")
    words = "not read yet" if wanted.data.dataset == BUNDLED_DATASET else f"{name} is not on this machine yet"
    return replace(station, state="empty", words=words)


def _states(
    wanted: MeasurementSpec, profile: IdProfile | None, job: MeasuringJob | None, otherwise: str, before: MeasurementSpec | None
) -> Station:
    if _stage(job) == "states" and job is not None:
        return Station("States", "layers", "running", f"{job.stage.lower()}{_counted(job)}")
    n_bytes = _bytes_kept(wanted, profile)
    on_disk = "" if n_bytes is None else f"{size(n_bytes)} on disk"
    if profile is not None:
        n = next(iter(profile.estimates.values()))[0].n_samples
        shape = f"{len(profile.layer_names)} layers × {n:,} × {profile.model.hidden_size}"
        return Station("States", "layers", "done", ", ".join(filter(None, (shape, on_disk))))
    if n_bytes is not None:
        return Station("States", "layers", "done", on_disk)
    words = f"of N = {before.n_samples:,}, {before.pooling}" if otherwise == "stale" and before is not None else short_path(wanted.model)
    return Station("States", "layers", otherwise, words)


def _dimension(profile: IdProfile | None, job: MeasuringJob | None, otherwise: str) -> Station:
    if _stage(job) == "dimension" and job is not None:
        return Station("Dimension", "layers", "running", f"{job.now or job.stage}{_counted(job)}")
    if profile is None:
        return Station("Dimension", "layers", otherwise, "the choices have changed" if otherwise == "stale" else "not measured yet")
    estimator = planning.focus(profile)
    defined = [e.dimension for e in profile.estimates[estimator] if e.dimension is not None]
    span = f"{min(defined):.1f} to {max(defined):.1f} by {measuring.labels([estimator])}" if defined else "no layer has one"
    return Station("Dimension", "layers", "done", span)


def _ranks(profile: IdProfile | None, plan: RankPlan | None, no_plan: str, otherwise: str) -> Station:
    if plan is not None:
        ranks = list(plan.block_ranks().values())
        shown = " ".join(map(str, ranks)) if len(ranks) <= 12 else f"{min(ranks)} to {max(ranks)} in {len(ranks)} blocks"
        return Station("Ranks", "ranks", "done", f"{shown} · {plan.n_adapter_params:,} parameters")
    if profile is not None:
        return Station("Ranks", "ranks", "empty", no_plan)
    return Station("Ranks", "ranks", otherwise, "of another curve" if otherwise == "stale" else "wait for the curve")


def _plan(profile: IdProfile | None) -> tuple[RankPlan | None, str]:
    """The plan that Ranks shows, if there is one without measuring; or why there is none."""
    if profile is None and not st.session_state["plan_only"]:
        return None, ""
    try:
        return planning.chosen_plan(profile), ""
    except GeloraError as error:
        return None, str(error).split("; ")[0]


def _run(wanted: MeasurementSpec, plan: RankPlan | None, runs: Sequence[RunInfo]) -> Station:
    live = [run for run in runs if run.is_live]
    if live:
        running = next((run for run in live if run.state.status == "running"), None)
        words = "waiting for its turn" if running is None else f"step {running.state.step:,} of {running.state.total_steps or '?'}"
        return Station("Run", "finetune", "running", words + (f", {len(live) - 1} more in the queue" if len(live) > 1 else ""))
    finished = [run for run in runs if run.state.status == "finished"]
    own = [run for run in finished if plan is not None and _is_of(run, wanted, plan)]
    if own:
        metric = main_metric(own[0])
        score = f"{metric_word(metric)} {own[0].state.metrics[metric]:.3f}" if metric in own[0].state.metrics else "finished"
        return Station("Run", "finetune", "done", f"{score} with these ranks")
    if finished:
        return Station("Run", "finetune", "stale", f"{count(len(finished), 'run')} finished, none with these ranks")
    return Station("Run", "finetune", "empty", f"{count(len(runs), 'run')}, none finished" if runs else "no run yet")


def _is_of(run: RunInfo, wanted: MeasurementSpec, plan: RankPlan) -> bool:
    spec = run.spec
    if spec is None or spec.plan is None or spec.plan.revision != plan.revision or spec.plan.ranks != plan.ranks:
        return False
    return short_path(spec.data.dataset) == short_path(wanted.data.dataset)  # a run's paths are absolute


def _stage(job: MeasuringJob | None) -> str | None:
    """Which station a measurement is at."""
    if job is None:
        return None
    if job.now or job.n_results:
        return "dimension"
    return "states" if job.stage in (*_STATES_STAGES, WAITING) else "data"


def _counted(job: MeasuringJob) -> str:
    return f" {job.done:,} of {job.total:,}" if job.total else ""


def _bytes_kept(wanted: MeasurementSpec, profile: IdProfile | None) -> int | None:
    """Bytes of the choice's states on disk, as far as that is known without network and without waiting."""
    if model_at_hand(wanted.model) is None or not data_at_hand(wanted.data) or data_preview.problem() is not None:
        return None

    def look() -> int | None:
        sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct)
        return states_kept(wanted.model, sample, **wanted.extraction())

    identity = ("states", wanted.sentence(), file_state(wanted.data.dataset), file_state(wanted.model), profile is not None)
    answer: int | None = ask(str(identity), look, stale_after_seconds=60)[1]
    return answer
