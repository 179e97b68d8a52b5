"""Runs made by hand, for tests of summaries, charts and pages: records alone, no process."""

import dataclasses
from pathlib import Path

from gelora.ranks import uniform_ranks
from gelora.records import DataChoice, ModelStructure, RankPlan, RunSpec, TargetModule, TrainingConfig
from gelora.runs import RunInfo
from gelora.runs.records.record_file import Launch, write_json
from gelora.runs.records.state import RunState, describe, write_state


def plan_of(r: int, n_layers: int = 3) -> RankPlan:
    """Rank r on the attention maps of a made-up model."""
    modules = tuple(TargetModule(f"layer.{b}.attention.{k}", b + 1, k, 32, 32) for b in range(n_layers) for k in "qkvo")
    return uniform_ranks(ModelStructure("tiny", "rev", "bert", n_layers, 32, 10_000, False, False, modules), r)


def write_run(
    runs: Path, run_id: str, *, r: int = 2, method: str = "lora", seed: int = 0, plan: RankPlan | None = None, model: str = "tiny",
    data: str = "rows.jsonl", state: dict | None = None, **training: object,
) -> Path:  # fmt: skip
    """The folder of a run that has ended, as its worker would have left it."""
    folder = runs / run_id
    folder.mkdir(parents=True)
    if method in ("lora", "adalora") and plan is None:
        plan = plan_of(r)
    spec = RunSpec(model, DataChoice(data), plan, TrainingConfig(method=method, **training), seed)
    (folder / "spec.json").write_text(spec.to_json(indent=1))
    write_json(folder / "launch.json", {"started_at": "2026-03-01T10:00:00+00:00", "fingerprint": spec.digest()})
    values: dict = {"status": "finished", "stage": "ended", "main_metric": "eval_accuracy", "metrics": {"eval_accuracy": 0.5, "loss": 0.7}}
    values |= {"step": 100, "total_steps": 100, "n_adapter_params": plan.n_adapter_params if plan else 0, "task": "classification"}
    write_state(folder, RunState(**(values | (state or {}))))
    return folder


def make_run(
    run_id: str, *, r: int = 2, seed: int = 0, score: float = 0.5, status: str = "finished", metrics: dict | None = None, **training: object
) -> RunInfo:
    """A run with uniform rank r as the face of `gelora.runs` would give it."""
    plan = plan_of(r)
    spec = RunSpec("tiny", DataChoice("rows.jsonl"), plan, TrainingConfig(**training), seed)
    state = RunState(
        status=status, main_metric="eval_accuracy", metrics={"eval_accuracy": score} if metrics is None else metrics,
        n_adapter_params=plan.n_adapter_params,
    )  # fmt: skip
    return dataclasses.replace(describe(Path("nowhere") / run_id, state, Launch()), spec=spec, state=state)
