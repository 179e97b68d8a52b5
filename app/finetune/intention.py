"""What will happen when Start is pressed: which runs, what they train, steps, memory, their turn, the commands.

Draws with Streamlit; the runs come from `app.finetune.form`.
"""

import io
import math
import zipfile
from collections.abc import Sequence

import pandas as pd
import streamlit as st

from app.finetune.task import TaskChoice
from app.shared import shell
from app.shared.cache import head_parameters, structure
from app.shared.markdown import md, plain
from app.shared.memory import gpu_there
from app.shared.run_words import count, listed, size
from gelora.errors import GeloraError
from gelora.ranks import memory_estimate, plan_budget, same_ranks
from gelora.records import RaceSpec, RankPlan, RunSpec, TrainingConfig
from gelora.runs import arms_bytes, describe_method, list_runs

_LANGUAGE = ("causal-lm", "instruction")
_TRAINS = {
    "head": "Trains the **head alone**, the plain reference for any adapter.",
    "bitfit": "Trains the **biases** of the model, and its head.",
    "full": "Trains **every parameter** of the model.",
}
_HIGH_RATE = 1e-4  # what adapters learn with takes all weights of a model apart


def draw(specs: Sequence[RunSpec], task: TaskChoice, runs_at_once: int) -> bool:
    """Say it; returns whether it can be started."""
    first = specs[0]
    if task.learned in _LANGUAGE and not structure(first.model).is_decoder:
        st.warning(
            plain(
                f"{first.model} is an encoder and cannot continue a text, and {first.data.dataset} has no label column that was chosen, "
                "so there is nothing to learn. Choose labels, other data, or a decoder."
            )
        )
        return False
    if len(specs) == 1:
        _one(first)
    else:
        _several(specs)
    training = first.training
    n_train, n_held_out = parted(training, task)
    steps = first.race.n_steps if first.race is not None else steps_by_epochs(training, task)
    st.caption(
        plain(
            f"{n_train:,} rows to train, {n_held_out:,} held out, about {steps:,} steps{' each' if len(specs) > 1 else ''}. "
            f"{_turn(len(specs), runs_at_once)} A run is a process of its own; closing this tab does not end it."
        )
    )
    if training.learning_rate > _HIGH_RATE and any(spec.training.method == "full" for spec in specs):
        st.warning(
            plain(
                f"A learning rate of {training.learning_rate:g} is an adapter's; full fine-tuning usually wants 1e-5 to 5e-5. "
                "Runs of one form share it, so that the comparison is fair: for a good full run, start one by itself."
            )
        )
    _memory(specs, task)
    _commands(specs)
    return True


def parted(training: TrainingConfig, task: TaskChoice) -> tuple[int, int]:
    """Rows to train on and rows held out, as the runner parts so many; empty rows and shared texts can make them fewer."""
    if task.held_out is not None:
        there = training.n_eval if task.n_held_out_rows is None else task.n_held_out_rows
        return min(training.n_train, task.n_rows), min(training.n_eval, there)
    wanted = training.n_train + training.n_eval
    drawn = min(task.n_rows, wanted)
    n_held_out = training.n_eval if drawn == wanted else max(1, round(drawn * training.n_eval / wanted))  # both parts shrink alike
    return max(0, drawn - n_held_out), n_held_out


def steps_by_epochs(training: TrainingConfig, task: TaskChoice) -> int:
    """Optimizer steps of a run, as many rows taken for granted as `parted` says."""
    n_train, _ = parted(training, task)
    return max(1, math.ceil(math.ceil(n_train / (training.batch_size * training.gradient_accumulation)) * training.epochs))


def _one(spec: RunSpec) -> None:
    if spec.race is not None:
        _race(spec.race)
        return
    if spec.plan is None:
        st.markdown(_TRAINS[spec.training.method])
        return
    budget = plan_budget(spec.plan)
    title = "Adapter parameters" if spec.training.method == "lora" else "Adapter parameters at the end"
    st.metric(plain(title), f"{budget.n_adapter_params:,}", f"{budget.share:.3%} of the model", delta_color="off")


def _race(race: RaceSpec) -> None:
    arms, seeds = count(len(race.arms), "arm"), listed([str(seed) for seed in race.seeds])
    st.markdown(md("**A race of {}**, side by side on the same batches, held against {}; seed {}.", arms, race.reference, seeds))
    rows = [
        {"arm": label, "ranks by block": " ".join(map(str, plan.block_ranks().values())), "adapter parameters": plan.n_adapter_params}
        for label, plan in zip(race.labels, (race.plans[name] for name, _ in race.arms), strict=True)
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, height=min(36 * len(rows) + 38, 290),
        column_config={"adapter parameters": st.column_config.NumberColumn(format="localized")},
    )  # fmt: skip
    for names in same_ranks(race.plans):
        same = md("**{}** are the same ranks here: their difference is none of the ranks'.", listed(list(names)))
        st.warning(plain(same), icon=":material/content_copy:")
    if len(race.seeds) < 3:
        st.caption("With three seeds or more the intervals say what another beginning would have given.")


def _several(specs: Sequence[RunSpec]) -> None:
    st.markdown(md("**{}**, in this order:", count(len(specs), "run")))
    rows = [
        {
            "run": describe_method(spec),
            "seed": spec.seed,
            "ranks by block": " ".join(map(str, spec.plan.block_ranks().values())) if spec.plan else "",
            "adapter parameters": spec.plan.n_adapter_params if spec.plan else None,
        }
        for spec in specs
    ]
    st.dataframe(
        pd.DataFrame(rows), hide_index=True, placeholder="–", height=min(36 * len(rows) + 38, 290),
        column_config={"adapter parameters": st.column_config.NumberColumn(format="localized")},
    )  # fmt: skip
    for names in same_runs(specs):
        why = "with one seed they train the same adapter, so comparing them compares nothing"
        said = f"are the same ranks here: {why}. Leave one out, or change its offset, estimator or rank."
        st.warning(md("**{}** {}", listed(list(names)), said), icon=":material/content_copy:")


def same_runs(specs: Sequence[RunSpec]) -> list[tuple[str, ...]]:
    """What the runs of a form call by two names and more although ranks, alphas and settings are the same."""
    groups: dict[tuple[object, ...], dict[str, RankPlan]] = {}
    for spec in specs:
        if spec.plan is not None and spec.race is None:
            groups.setdefault((spec.model, spec.data, spec.training), {})[describe_method(spec)] = spec.plan
    return [names for plans in groups.values() for names in same_ranks(plans)]


def _turn(n: int, runs_at_once: int) -> str:
    running = sum(run.is_live for run in list_runs())
    free = max(0, runs_at_once - running)
    if n <= free:
        return "It starts at once." if n == 1 else "All start at once."
    if n == 1:
        return f"It waits for {count(running - runs_at_once + 1, 'run')}."
    turn = "take their turn, one after another" if runs_at_once == 1 else f"take their turn, {runs_at_once} at once"
    if free:
        return f"{free} start{'s' if free == 1 else ''} at once, the others {turn}."
    return f"They wait for {count(running, 'run')}, then {turn}."


def _memory(specs: Sequence[RunSpec], task: TaskChoice) -> None:
    """The largest step's memory, by arithmetic; nothing for methods that the arithmetic does not know."""
    estimates = [estimate for spec in specs if spec.training.method in ("lora", "adalora", "head") and (estimate := _bytes(spec, task))]
    if not estimates:
        return
    most = max(estimates)
    gpu = gpu_there()
    fits = "" if gpu is None else f"; the {gpu.name} has {size(gpu.free_bytes)} free"
    waves = " Arms that do not fit at one time train in waves." if any(spec.race is not None for spec in specs) else ""
    said = f"A training step takes at most about {size(most)} of memory in float32, with texts of full length{fits}.{waves}"
    st.caption(plain(said))


def _bytes(spec: RunSpec, task: TaskChoice) -> int | None:
    training, language = spec.training, task.learned in _LANGUAGE
    try:
        n_head = 0 if language else head_parameters(spec.model, task.n_classes)
        if spec.race is not None:
            return arms_bytes(spec, len(spec.race.arms), training.max_length, "float32", n_head, language)
        return memory_estimate(
            spec.plan or 0, structure(spec.model), batch_size=training.batch_size, length=training.max_length, n_head_params=n_head,
            task="causal-lm" if language else "classification", gradient_checkpointing=training.gradient_checkpointing,
        ).total_bytes  # fmt: skip
    except GeloraError as error:
        st.caption(plain(f"Memory is not estimated: {error}"))
        return None


def _commands(specs: Sequence[RunSpec]) -> None:
    plans = {spec.plan.digest() for spec in specs if spec.plan is not None and not shell.is_plain_uniform(spec.plan)}
    by_file = len(plans) > 1 or any(spec.race is not None for spec in specs)
    if not by_file:
        commands = shell.train_commands(specs)
        if len(commands) == 1:
            st.code(commands[0], language="bash", wrap_lines=True)
            return
    else:
        commands = [f"gelora train --spec {_file_name(i, spec)}" for i, spec in enumerate(specs, start=1)]
    with st.expander("The same from a shell", icon=":material/terminal:"):
        st.code("\n".join(commands), language="bash", wrap_lines=True)
        if by_file:
            st.download_button(
                "These files (zip)", lambda: _zipped(specs), "runs.zip", "application/zip", icon=":material/download:", on_click="ignore"
            )


def _file_name(number: int, spec: RunSpec) -> str:
    kind = spec.training.method if spec.race is None else "race"
    return f"run-{number:02d}-{kind}-seed-{spec.seed}.json"


def _zipped(specs: Sequence[RunSpec]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for i, spec in enumerate(specs, start=1):
            archive.writestr(_file_name(i, spec), spec.to_json(indent=1))
    return buffer.getvalue()
