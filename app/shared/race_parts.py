"""The parts of the live view of a race: the curves of all arms, the differences to the reference, the table at the end.

Draws with Streamlit what the run has logged and left.
"""

import math

import pandas as pd
import streamlit as st

from app.charts.race import ArmLook, ForestRow, difference_words, forest, race_curves
from app.shared import figures
from app.shared.markdown import bold, plain
from app.shared.run_reading import series_of
from app.shared.run_words import count, metric_word
from gelora.records import FEW_SEEDS, RaceSpec
from gelora.runs import Difference, RaceResult, RunInfo, race_result, run_info

_VIEWS = {"loss": "Training loss", "eval_loss": "Held-out loss"}


def curves(run: RunInfo) -> None:
    """The loss of every arm with one seed over the steps: in training, or on held-out rows."""
    race, series = _race(run), series_of(run)
    begun = [seed for seed in race.seeds if any(f"loss/{label}/{seed}" in series for label in race.labels)]
    if not begun:
        if run.state.status == "running":
            st.caption(plain(f"{run.state.stage.capitalize()} ... the first losses follow."))
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        view = st.segmented_control(
            "Curves", list(_VIEWS), default="loss", required=True, key="race_view", format_func=_VIEWS.__getitem__,
            label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        seed = _seed_choice(run, begun)
    found = [(look, series[name]) for look in _looks(race) if (name := f"{view}/{look.label}/{seed}") in series]
    if not found:
        st.caption("Nothing is evaluated yet; the first evaluation follows.")
        return
    is_training = view == "loss"
    figures.show(
        race_curves(f"{_VIEWS[view]}, seed {seed}", found, race.n_steps, is_training),
        f"race_{run.id}_{view}",
        says=f"{_VIEWS[view]} of {count(len(found), 'arm')} over the optimizer steps.",
        how_to_read="one line an arm, its colour the strategy's, its dash one a rate or beginning"
        + ("; smoothed, the value at a step is said where the mouse is." if is_training else ", a point an evaluation."),
    )


def differences(run: RunInfo) -> None:
    """The differences to the reference with their intervals: of the latest evaluation, at the end of the whole race."""
    race, compared = _race(run), _compared(run.id, run.state.status, run.state.ended_at)
    rows, reference = _latest(run, race) if compared is None else _final(race, *compared)
    if not rows:
        return
    figures.show(
        forest(rows, reference),
        f"race_differences_{run.id}",
        says=" ".join(row.says for row in rows),
        how_to_read="a diamond is the mean over held-out rows, its bar the 95% interval; where it crosses the dashed line, no difference "
        "is shown.",
    )
    if compared is None:
        st.caption(
            "These intervals hold at all evaluations together in 95 of 100 races, so whoever stops on them is not misled by looking early; "
            "each is of one arm alone."
        )
        return
    result, found = compared
    significant = [f"{label} ({d.word})" for label, d in zip(race.labels, found, strict=True) if d.is_significant]
    st.markdown(bold(f"Significant at 5% after Holm's correction: {', '.join(significant) or 'none'}."))
    if len(race.seeds) < 3:
        st.caption(FEW_SEEDS)
    _table(race, result, found)


@st.cache_data(show_spinner=False, max_entries=16)
def _compared(run_id: str, status: str, ended_at: str | None) -> tuple[RaceResult, list[Difference]] | None:
    """The result of a race that has ended, with its differences; kept, since they are resampled."""
    result, spec = race_result(run_id), run_info(run_id).spec
    if result is None or spec is None or spec.race is None:
        return None
    return result, result.differences(result.arm_of(spec.race.reference))


def _table(race: RaceSpec, result: RaceResult, found: list[Difference]) -> None:
    losses = result.losses().mean(axis=0)
    rows = [
        {
            "arm": label,
            "held-out loss": float(losses[i]),
            metric_word(result.main_metric): result.metric(i),
            "difference": found[i].value,
            "p (Holm)": found[i].p_corrected,
            "parameters": result.arms[i].plan.n_adapter_params,
            "ranks by block": " ".join(map(str, result.arms[i].plan.block_ranks().values())),
        }
        for i, label in enumerate(race.labels)
    ]
    numbers = {name: st.column_config.NumberColumn(format="%.4f") for name in ("held-out loss", metric_word(result.main_metric))}
    numbers |= {"difference": st.column_config.NumberColumn(format="%+.4f"), "p (Holm)": st.column_config.NumberColumn(format="%.2g")}
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, placeholder="–", key="race_table",
        column_config=numbers | {"parameters": st.column_config.NumberColumn(format="localized")},
    )  # fmt: skip


def _latest(run: RunInfo, race: RaceSpec) -> tuple[list[ForestRow], str]:
    """What the latest evaluation found; the reference is drawn without an interval."""
    series = series_of(run)
    evaluated = [seed for seed in race.seeds if any(f"difference/{label}/{seed}" in series for label in race.labels)]
    if not evaluated:
        return [], race.reference
    seed = evaluated[-1]
    step = max(series[name][-1][0] for label in race.labels if (name := f"difference/{label}/{seed}") in series)
    st.markdown(bold(f"Differences to {race.reference} at step {step:,}, seed {seed}"))
    rows = []
    for look, (name, _) in zip(_looks(race), race.arms, strict=True):
        value, low, high = (dict(series.get(f"{what}/{look.label}/{seed}", [])).get(step) for what in ("difference", "ci_low", "ci_high"))
        if value is not None:
            rows.append(ForestRow(look, value, low, high, difference_words(look.label, race.reference, value, low, high)))
        elif name == race.reference and dict(series.get(f"eval_loss/{look.label}/{seed}", [])).get(step) is not None:
            rows.append(ForestRow(look, 0.0, None, None, f"{look.label} is the reference."))
    return rows, race.reference


def _final(race: RaceSpec, result: RaceResult, found: list[Difference]) -> tuple[list[ForestRow], str]:
    place = result.arm_of(race.reference)
    reference = race.labels[place]
    st.markdown(bold(f"Differences to {reference}, {count(len(race.seeds), 'seed')}"))
    rows = []
    for look, d in zip(_looks(race), found, strict=True):
        value = d.value if math.isfinite(d.value) else None
        rows.append(ForestRow(look, value, d.ci_low, d.ci_high, difference_words(look.label, reference, value, d.ci_low, d.ci_high)))
    return rows, reference


def _seed_choice(run: RunInfo, seeds: list[int]) -> int:
    """The seed looked at: the one under way, until a person chooses another."""
    if len(seeds) == 1:
        return seeds[0]
    chosen = st.segmented_control(
        "Seed", seeds, default=seeds[-1], key=f"race_seed_{run.id}_{len(seeds)}", format_func=lambda seed: f"seed {seed}",
        label_visibility="collapsed",
    )  # fmt: skip
    return seeds[-1] if chosen is None else int(chosen)


def _looks(race: RaceSpec) -> list[ArmLook]:
    looks: list[ArmLook] = []
    for label, (name, _) in zip(race.labels, race.arms, strict=True):
        strategy = race.plans[name].strategy
        looks.append(ArmLook(label, strategy, sum(look.strategy == strategy for look in looks)))
    return looks


def _race(run: RunInfo) -> RaceSpec:
    assert run.spec is not None and run.spec.race is not None
    return run.spec.race
