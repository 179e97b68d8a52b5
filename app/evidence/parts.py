"""The parts of the Evidence page: which study and which of its races, the forest plot, the table, what was run.

Draws with Streamlit; what the rows say is `gelora.study_findings`'.
"""

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.charts.evidence import ArmRow, RaceMark, WorthLine, evidence_forest, percent_words, worth_figure
from app.charts.look import STRATEGY_COLOURS
from app.shared import components, figures, studies
from app.shared.markdown import bold, md, plain
from app.shared.run_words import count, listed, metric_word
from gelora.block_predictors import RankCorrelation
from gelora.ranks import CHANGES, STRATEGIES
from gelora.records import FEW_SEEDS, Study, StudyRow
from gelora.study_findings import (
    BlockWorth,
    compared,
    is_at_the_budget,
    ordered_arms,
    percent,
    pooled,
    predictors_of_worth,
    worth_of_blocks,
)

ALL = ""
_FURTHER_COLOUR = "#5B6B7F"  # an arm that is no strategy of the table: another estimator, a yardstick
_EXAMPLE = """name = "my study"
budgets = ["uniform:2"]

[race]
strategies = ["uniform", "gelora", "gradient", "random"]
steps = 300
seeds = [0, 1, 2]
learning-rates = [2e-4, 8e-4]

[tasks.mine]
dataset = "reviews.csv"
"""


def invitation() -> None:
    """What stands where no study is: what one is, and a file to begin with."""
    with st.container(border=True):
        st.markdown(
            "**There is no study on this machine.** A study races strategies at one budget, over tasks, budgets and seeds, and "
            "keeps one table of what they found; this page shows it. Write what to race into a file, and call `gelora study FILE.toml`."
        )
        st.download_button("A file to begin with", _EXAMPLE, "study.toml", "application/toml", icon=":material/download:")


def chosen_study() -> Study | None:
    """The study to show; None where there is none.

    Raises:
        StoreError: its file is damaged.
    """
    found = {choice.name: choice for choice in studies.choices()}
    if not found:
        return None
    if st.session_state["ev_study"] not in found:
        st.session_state["ev_study"] = next(iter(found))
    if len(found) > 1:
        st.selectbox("Study", list(found), key="ev_study", format_func=lambda name: _study_words(found[name]), width=300)
    return studies.study_of(found[st.session_state["ev_study"]])


def _study_words(choice: studies.StudyChoice) -> str:
    return f"{choice.name} ({'recorded' if choice.recorded else 'made here'})"


def chosen_rows(study: Study) -> list[StudyRow]:
    """The rows of the tasks, models and budgets that are looked at; a filter stands where there is something to choose."""
    rows = list(study.rows)
    for field in ("task", "model", "budget"):
        key, values = f"ev_{field}", list(dict.fromkeys(getattr(row, field) for row in study.rows))
        if st.session_state[key] not in values:
            st.session_state[key] = ALL
        if len(values) > 1:
            st.selectbox(plain(field.capitalize()), [ALL, *values], key=key, format_func=lambda value: value or "all", width=180)
        if st.session_state[key] != ALL:
            rows = [row for row in rows if getattr(row, field) == st.session_state[key]]
    return rows


def forest(study: Study, rows: Sequence[StudyRow]) -> None:
    """Every arm against the reference, yardsticks below on the same axis."""
    arms = [_arm_row(name, [row for row in compared(rows) if row.arm == name], study.reference) for name in ordered_arms(study)]
    shown = [arm for arm in arms if arm.races]
    if not shown:
        st.info("No arm of these races has a difference yet.", icon=":material/info:")
        return
    reference = _label(study.reference)
    figures.show(
        evidence_forest(shown, reference),
        "evidence_forest",
        says=" ".join(arm.mean.says for arm in shown if arm.mean is not None),
        how_to_read=f"a dot is one race (a task at a budget): the held-out loss, mean over seeds, against {reference}'s in the same "
        "race, each at its best learning rate; its bar is the 95% interval over held-out rows and seeds. A diamond is the mean over "
        "tasks, with an interval from three tasks on.",
    )


def _arm_row(name: str, rows: Sequence[StudyRow], reference: str) -> ArmRow:
    label, marks = _label(name), []
    for row in rows:
        value = percent(row, row.difference)
        if value is not None:
            low, high = percent(row, row.ci_low), percent(row, row.ci_high)
            words = f"{label} on {row.task} at {row.budget}: {percent_words(value, low, high)} of the loss of {_label(reference)}"
            marks.append(RaceMark(value, low, high, f"{words} ({row.n_adapter_params:,} parameters)."))
    found = pooled(rows)
    mean = None
    if found is not None:
        words = f"{label}: {percent_words(found.value, found.ci_low, found.ci_high)} over {count(found.n_tasks, 'task')}."
        mean = RaceMark(found.value, found.ci_low, found.ci_high, words)
    colour = STRATEGY_COLOURS.get(name.split(" ")[0], _FURTHER_COLOUR)  # "uniform pissa" has the strategy's
    return ArmRow(label, colour, not all(map(is_at_the_budget, rows)), marks, mean)


def table(study: Study, rows: Sequence[StudyRow]) -> None:
    """All rows, each rate too, with their numbers as CSV."""
    shown = pd.DataFrame(
        [
            {
                "task": row.task,
                "budget": row.budget,
                "arm": _label(row.arm),
                "blocks": row.change,
                "rate": row.learning_rate,
                "best rate": row.is_best_rate,
                "parameters": row.n_adapter_params,
                "held-out loss": row.eval_loss,
                "difference": row.difference,
                "ci low": row.ci_low,
                "ci high": row.ci_high,
                "p (Holm)": row.p_corrected,
                metric_word(row.main_metric): row.metric,
                "ranks by block": " ".join(map(str, row.block_ranks)),
                "model": row.model,
                "data": row.dataset,
                "seeds": len(row.losses),
                "run": row.run,
            }
            for row in rows
        ]
    )
    formats = {name: "%.4f" for name in ("held-out loss", *(metric_word(row.main_metric) for row in rows))}
    formats |= {name: "%+.4f" for name in ("difference", "ci low", "ci high")}
    formats |= {"rate": "%.1e", "p (Holm)": "%.2g", "parameters": "localized"}
    columns = {name: st.column_config.NumberColumn(format=form) for name, form in formats.items()}
    shown = shown if shown["blocks"].any() else shown.drop(columns="blocks")
    st.dataframe(shown, hide_index=True, placeholder="–", column_config=columns, key="evidence_table")
    st.download_button("Table as CSV", components.as_csv(shown), f"{study.name}.csv", "text/csv", icon=":material/download:")


def what_was_run(study: Study, rows: Sequence[StudyRow]) -> None:
    """Models, data, steps, seeds, versions and machine; and what is missing, with the reason."""
    models, sets = (listed(list(dict.fromkeys(values))) for values in ([row.model for row in rows], [row.dataset for row in rows]))
    steps = listed([f"{n:,}" for n in sorted({row.n_steps for row in rows})])
    seeds = listed([count(n, "seed") for n in sorted({len(row.losses) for row in rows})])
    held_out = listed([f"{n:,}" for n in sorted({row.n_held_out for row in rows})])
    made = ", ".join(f"{name} {value}" for name, value in study.made_with.items())
    st.caption(
        md("Run: {} on {}; {} steps, {}, {} held-out rows. Made with: {}.", models, sets, steps, seeds, held_out, made or "not said")
    )
    if any(len(row.losses) < 3 for row in rows):
        st.caption(FEW_SEEDS)
    if study.not_run:
        with st.expander(plain(f"Not run: {count(len(study.not_run), 'race')}")):
            for missing in study.not_run:
                st.markdown(md("- {} at {}: {}", missing.task, missing.budget, missing.reason))


def race_these(study: Study, rows: Sequence[StudyRow]) -> None:
    """The button that takes the study's strategies, rates and steps to a race on the person's own model and data."""
    strategies = [name for name in STRATEGIES if any(row.arm == name for row in rows)]
    if len(strategies) < 2:
        return
    rates, steps = sorted({row.learning_rate for row in rows}), max(row.n_steps for row in rows)
    if st.button(
        "Race these on my data", type="primary", icon=":material/model_training:", key="race_these",
        help="Opens Fine-tune with these strategies, learning rates and steps, on the model and data of the sidebar.",
    ):  # fmt: skip
        st.session_state.update(
            train_what=["race"], train_race_strategies=strategies, train_race_rates=", ".join(f"{rate:g}" for rate in rates),
            train_race_reference=study.reference if study.reference in strategies else strategies[0], train_race_steps=steps,
        )  # fmt: skip
        st.switch_page(components.page_path("finetune"))


def _label(arm: str) -> str:
    return STRATEGIES[arm].label if arm in STRATEGIES else arm


# what rank is worth in a block


def worth(study: Study, rows: Sequence[StudyRow]) -> None:
    """What rank is worth along the depth, and whether anything known of a block tells; nothing where no blocks were raced."""
    changes = [change for change in CHANGES if any(row.change == change for row in rows)]
    if not changes:
        return
    st.subheader("What rank is worth, block by block")
    if st.session_state["ev_change"] not in changes:
        st.session_state["ev_change"] = changes[0]
    if len(changes) > 1:
        st.segmented_control(
            "Blocks", changes, key="ev_change", format_func=_CHANGE_WORDS.__getitem__, required=True, label_visibility="collapsed"
        )
    change = st.session_state["ev_change"]
    found = worth_of_blocks(rows, change)
    if not found:
        st.info("No race of these blocks has ended with a difference yet.", icon=":material/info:")
        return
    for model in dict.fromkeys(of_task.model for of_task in found):
        lines = [_worth_line(of_task) for of_task in found if of_task.model == model]
        figures.show(
            worth_figure(lines, _CHANGE_WORDS[change]),
            f"worth_{change}_{model}",
            says=f"What rank is worth along the blocks of {model}, {_CHANGE_WORDS[change]}, in {count(len(lines), 'task')}.",
            how_to_read=f"a line is a task, {_CHANGE_WORDS[change]}: how much of {_label(study.reference)}'s held-out loss this saves (or "
            "its absence costs), below 0 how much it costs; the thick line is the mean over tasks.",
        )
    for model, correlations in predictors_of_worth(study, change).items():
        _predictors(model, correlations)


_CHANGE_WORDS = {"alone": "these blocks alone", "twice": "twice the rank there", "without": "no rank there"}


def _worth_line(of_task: BlockWorth) -> WorthLine:
    groups = [f"block {group[0]}" if len(group) == 1 else f"blocks {group[0]} to {group[-1]}" for group in of_task.blocks]
    places = [(group[0] + group[-1]) / 2 for group in of_task.blocks]
    return WorthLine(of_task.task, groups, places, of_task.values, of_task.ci_low, of_task.ci_high)


def _predictors(model: str, correlations: Sequence[RankCorrelation]) -> None:
    """Whether anything known of a block orders the blocks by what rank is worth there."""
    tested = [one for one in correlations if one.rho is not None]
    significant = [one.predictor for one in tested if one.is_significant]
    n_tasks = len(correlations[0].by_task)
    of = f"Of {count(len(tested), 'predictor')} over {count(n_tasks, 'task')} of {model}"
    st.markdown(bold(f"{of} {listed(significant) if significant else 'none'} orders the blocks beyond chance."))
    shown = pd.DataFrame(
        [
            {
                "predictor": one.predictor,
                "rho": one.rho,
                "ci low": one.ci_low,
                "ci high": one.ci_high,
                "p (Holm)": one.p_corrected,
                "beyond depth": one.beyond_depth,
                "note": one.note or "",
            }
            for one in sorted(correlations, key=lambda one: -abs(one.rho or 0.0))
        ]
    )
    formats = {name: "%+.2f" for name in ("rho", "ci low", "ci high", "beyond depth")} | {"p (Holm)": "%.2g"}
    columns = {name: st.column_config.NumberColumn(format=form) for name, form in formats.items()}
    st.dataframe(shown, hide_index=True, placeholder="–", column_config=columns, key=f"predictors_{model}")
    st.caption(
        "Spearman's rank correlation over the blocks, mean over tasks, with its interval over tasks (from six on); p by turning the "
        "tasks' signs, corrected by Holm's method. Beyond depth: with the block's number held fixed."
    )
