"""Fine-tuning on a GPU, checked first and then timed: `python -m benchmarks.training_gpu --data FOLDER [--json FILE]`.

1. RTE, MRPC and SQuAD on the bundled model and an Alpaca sample on stories260K are started through the very function that
   the page's Start button calls; the page's own readers have to return their metrics while they run; all have to finish.
2. Throughput: the same adapters on the same rows by a plain script (Trainer defaults: float32, every row padded to the
   greatest length) and by our loop with everything live; whole training, in one process, in turns.
3. What live telemetry costs: our loop with nobody listening against the same with log, metrics, state and GPU counters.
"""

import argparse
import dataclasses
import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks import record
from gelora.ranks import apply_plan, uniform_ranks
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import geometry, history, log_tail, run_info, start_run
from gelora.runs.records.recorder import Recorder
from gelora.runs.training import step_trainer
from gelora.runs.training.graphs import StepGraphs
from gelora.runs.training.loop import total_steps, train
from gelora.runs.training.methods import apply_method
from gelora.sources import model_structure
from gelora.tasks import Task, build_task


class Nobody:
    """Listens to nothing."""

    def values(self, step: int, values: dict[str, float]) -> None: ...

    def progress(self, step: int, total_steps: int, seconds_left: float | None) -> None: ...

    def examples(self, step: int, shown: Any) -> None: ...

    def say(self, text: str) -> None: ...

    def keep(self) -> None: ...


class Losses(Nobody):
    """Keeps the losses and what is said."""

    def __init__(self) -> None:
        self.losses: list[float] = []
        self.said: list[str] = []

    def values(self, step: int, values: dict[str, float]) -> None:
        self.losses += [values["loss"]] if "loss" in values else []

    def say(self, text: str) -> None:
        self.said.append(text)


class AsUsual(StepGraphs):
    """Never replays."""

    def step(self, inputs: Any, n_items: Any, as_usual: Callable[[], torch.Tensor]) -> torch.Tensor:
        return as_usual()


def cases(model: str, data: Path) -> dict[str, RunSpec]:
    """What is trained."""
    bundled = uniform_ranks(model_structure(model), 4)
    stories = str(data / "models" / "stories260K")
    small = uniform_ranks(model_structure(stories), 4)

    def glue(task: str, text: str, pair: str) -> tuple[DataChoice, DataChoice]:
        files = (str(data / "glue" / task / f"{part}.jsonl") for part in ("train", "validation"))
        train_file, dev_file = (DataChoice(file, text_column=text, pair_column=pair, label_column="label") for file in files)
        return train_file, dev_file

    squad = [DataChoice(str(data / "squad" / f"{part}.jsonl")) for part in ("train", "validation")]
    base = TrainingConfig(batch_size=16, n_train=100_000, n_eval=2500, device="cuda", learning_rate=5e-4)
    of = dataclasses.replace
    rte, mrpc = glue("rte", "sentence1", "sentence2"), glue("mrpc", "sentence1", "sentence2")
    alpaca = DataChoice(str(data / "alpaca-1k" / "train.jsonl"))
    return {
        "RTE": RunSpec(model, rte[0], bundled, of(base, epochs=4.0, max_length=256), 0, rte[1]),
        "MRPC": RunSpec(model, mrpc[0], bundled, of(base, epochs=4.0, max_length=128), 0, mrpc[1]),
        "SQuAD": RunSpec(model, squad[0], bundled, of(base, epochs=2.0, max_length=384, task="question-answering"), 0, squad[1]),
        "Alpaca": RunSpec(stories, alpaca, small, of(base, epochs=4.0, max_length=256, n_eval=100, task="instruction"), 0),
    }


def launched(name: str, spec: RunSpec) -> dict[str, Any]:
    """One run through the Start button's function, read by the page's readers while it runs.

    Raises:
        SystemExit: it did not finish, was not on the GPU, or its metrics could not be read before its end.
    """
    began = time.monotonic()
    run_id = start_run(spec)
    seen_while_running = 0
    while (info := run_info(run_id)).is_live:
        if info.state.device == "cuda" and info.state.status == "running":
            seen_while_running = max(seen_while_running, len(history(run_id).get("loss", [])))
        if time.monotonic() - began > 280:
            raise SystemExit(f"{name} takes too long:\n{log_tail(run_id)}")
        time.sleep(0.5)
    series = history(run_id)
    if info.state.status != "finished" or info.state.device != "cuda":
        raise SystemExit(f"{name} is {info.state.status} on {info.state.device}: {info.state.reason}\n{log_tail(run_id)}")
    if not seen_while_running:
        raise SystemExit(f"no loss of {name} could be read while it ran")
    measured = geometry(run_id)
    return {
        "case": f"{name}, started as the page does",
        "status": info.state.status,
        "device": info.state.device,
        "seconds": round(time.monotonic() - began, 1),
        "losses_read_while_running": seen_while_running,
        "losses_at_the_end": len(series["loss"]),
        "metrics": {key: round(points[-1][1], 4) for key, points in series.items() if key.startswith("eval_")},
        "examples_per_second": round(statistics.median(value for _, value in series["examples_per_second"])),
        "tokens_per_second": round(statistics.median(value for _, value in series["tokens_per_second"])),
        "gpu_memory_mb": round(max(value for _, value in series.get("gpu_memory_bytes", [(0, 0.0)])) / 1e6),
        "profiles_measured": len(measured),
        "seconds_a_profile": [round(line.seconds, 2) for line in measured],
        "ranks_changed": any(line.reallocated for line in measured),
        "probe_share_of_training": round(measured[-1].share or 0.0, 4) if measured else None,
    }


def ours(spec: RunSpec, listening: bool) -> tuple[float, Task, float]:
    """One training by our loop: its seconds, its task, and the seconds that reporting took (see `telemetry`)."""
    task = build_task(spec)
    learner = apply_method(task, spec, spec.plan, total_steps(spec.training, len(task.train)))
    with tempfile.TemporaryDirectory() as folder:
        config, listener, recorder = spec.training, Nobody(), None
        if listening:
            (Path(folder) / "run").mkdir()
            recorder = Recorder(Path(folder) / "run")
            setattr(recorder, "line", lambda _text: None)  # noqa: B010  (the log is a file in a real run)
            reporting = Stopwatch(recorder)
        else:
            config = dataclasses.replace(config, log_every=total_steps(config, len(task.train)))
        seconds = timed(lambda: train(task, learner, config, spec.seed, Path(folder) / "c", recorder or listener, lambda: False))
        spent = reporting.seconds() if recorder else 0.0
        if recorder:
            recorder.end("finished", None)
    return seconds, task, spent


class Stopwatch:
    """Seconds that training waits in a recorder's methods, and processor seconds of the thread that writes for it."""

    def __init__(self, recorder: Recorder) -> None:
        self._waited = 0.0
        self._clock = time.pthread_getcpuclockid(recorder._thread.ident or 0)
        for name in ("values", "progress", "examples", "keep", "say"):
            setattr(recorder, name, self._timed(getattr(recorder, name)))

    def _timed(self, method: Callable[..., None]) -> Callable[..., None]:
        def call(*arguments: Any) -> None:
            began = time.perf_counter()
            try:
                method(*arguments)
            finally:
                self._waited += time.perf_counter() - began

        return call

    def seconds(self) -> float:
        return self._waited + time.clock_gettime(self._clock)


def plain(spec: RunSpec, task: Task, batch_size: int) -> float:
    """Seconds of the same training by a plain script: Trainer defaults, every row padded to the greatest length."""
    from transformers import Trainer, TrainingArguments

    fresh = build_task(spec)
    if spec.plan is None:
        raise SystemExit("the plain script needs a plan")
    model = apply_plan(fresh.model, spec.plan, task_type=fresh.peft_task_type)
    pad_id, length = fresh.tokenizer.pad_token_id or 0, spec.training.max_length
    fill = {"input_ids": pad_id, "labels": -100}

    def padded(row: dict[str, Any]) -> dict[str, Any]:
        names = [name for name in row if name in _INPUTS]
        return {n: row[n] + [fill.get(n, 0)] * (length - len(row[n])) if isinstance(row[n], list) else row[n] for n in names}

    rows = [padded(row) for row in task.train]
    with tempfile.TemporaryDirectory() as folder:
        arguments = TrainingArguments(
            folder,
            num_train_epochs=spec.training.epochs,
            per_device_train_batch_size=batch_size,
            report_to=[],
            disable_tqdm=True,
            remove_unused_columns=False,
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=rows)
        return timed(trainer.train)


_INPUTS = ("input_ids", "attention_mask", "token_type_ids", "labels", "start_positions", "end_positions")


def timed(action: Callable[[], object]) -> float:
    """Wall seconds of an action, the GPU's work included."""
    torch.cuda.synchronize()
    began = time.monotonic()
    action()
    torch.cuda.synchronize()
    return time.monotonic() - began


def replay_agrees(spec: RunSpec) -> dict[str, Any]:
    """Losses of replayed steps against those of the same steps taken as usual, dropout off.

    Raises:
        SystemExit: they differ by more than bfloat16 explains, or nothing was replayed.
    """
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, epochs=1.0, n_eval=16, probe_size=0, log_every=1))
    losses, said = {}, []
    for kind, graphs in (("usual", AsUsual), ("replayed", StepGraphs)):
        task = build_task(spec)
        for module in task.model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        config: Any = task.model.config
        config.attention_probs_dropout_prob = 0.0
        learner = apply_method(task, spec, spec.plan, total_steps(spec.training, len(task.train)))
        listener = Losses()
        step_trainer.StepGraphs = graphs  # type: ignore[misc, assignment]
        with tempfile.TemporaryDirectory() as folder:
            train(task, learner, spec.training, spec.seed, Path(folder), listener, lambda: False)
        losses[kind], said = listener.losses, listener.said
    worst = max(abs(a - b) for a, b in zip(losses["usual"], losses["replayed"], strict=True))
    if worst > 0.05 or not any("replayed" in text for text in said):
        raise SystemExit(f"replayed steps are not the usual ones: {worst}, {said}")
    return {"case": f"losses of {len(losses['usual'])} replayed steps against usual ones", "largest_difference": round(worst, 5)}


def throughput(name: str, spec: RunSpec, repeats: int, batch_8: bool) -> dict[str, Any]:
    """Our loop, live, against the plain script at the same batch size and at the Trainer's own.

    The plain script does not evaluate; ours evaluates 16 rows once, at the end.
    """
    settings: dict[str, Any] = {
        "n_train": 2000,
        "n_eval": 16,
        "probe_size": 0,
        "eval_every": 10**6,
        "epochs": 4.0 if name == "Alpaca" else 1.0,
    }
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, **settings))
    ours(spec, True)  # warm
    mine, same, default = [], [], []
    for _ in range(repeats):
        seconds, task, _ = ours(spec, True)
        mine.append(seconds)
        same.append(plain(spec, task, spec.training.batch_size))
        default += [plain(spec, task, 8)] if batch_8 else []
    n = len(task.train) * spec.training.epochs
    rates = {key: n / statistics.median(times) for key, times in (("ours", mine), ("same", same), ("default", default)) if times}
    at_8 = {"peer_at_batch_8": round(rates["default"]), "ratio_to_batch_8": round(rates["ours"] / rates["default"], 2)} if batch_8 else {}
    return {
        "case": f"throughput, {name}, {len(task.train)} rows of at most {spec.training.max_length} tokens",
        "batch_size": spec.training.batch_size,
        "ours": round(rates["ours"]),
        "peer": round(rates["same"]),
        "peer_name": "plain Trainer script, float32, padded to the greatest length, same batch size",
        "ratio": round(rates["ours"] / rates["same"], 2),
        **at_8,
        "unit": "rows/s, checkpoints and our one evaluation included",
        "seconds": [round(s, 2) for s in mine],
        "peer_seconds": [round(s, 2) for s in same],
    }


def telemetry(name: str, spec: RunSpec, repeats: int) -> dict[str, Any]:
    """Our loop with everything live against itself with nobody listening.

    Two figures, since the wall clock of a short run is noisy: the median over pairs of the ratio of wall seconds, and the
    time that reporting took, counted: what training waits for in it, and every processor second of the thread beside it.
    """
    spec = dataclasses.replace(spec, training=dataclasses.replace(spec.training, n_eval=16, probe_size=0, epochs=6.0))
    ours(spec, True)
    live: list[float] = []
    silent: list[float] = []
    spent: list[float] = []
    for i in range(repeats):
        for listening in (True, False) if i % 2 else (False, True):
            seconds, _, reporting = ours(spec, listening)
            (live if listening else silent).append(seconds)
            spent += [reporting / seconds] if listening else []
    ratios = sorted(a / b for a, b in zip(live, silent, strict=True))
    return {
        "case": f"live telemetry, {name}, {spec.training.epochs:g} epochs",
        "ours": round(statistics.median(live), 3),
        "peer": round(statistics.median(silent), 3),
        "peer_name": "the same loop with nobody listening",
        "ratio": round(statistics.median(ratios), 4),
        "ratios": [round(ratio, 4) for ratio in ratios],
        "share_of_time_counted": round(statistics.median(spent), 4),
        "unit": "s",
        "seconds": [round(s, 3) for s in live],
        "peer_seconds": [round(s, 3) for s in silent],
    }


def main() -> None:
    """Check, then time."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="all-MiniLM-L6-v2")
    parser.add_argument("--data", type=Path, required=True, help="folder with glue/, squad/, alpaca-1k/ and models/")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--no-batch-8", action="store_true", help="leave out the plain script at the Trainer's default batch size")
    parser.add_argument("--parts", default="runs,reallocated,replay,throughput,telemetry", help="comma-separated")
    parser.add_argument("--cases", default="RTE,MRPC,SQuAD,Alpaca", help="comma-separated")
    parser.add_argument("--json")
    options = parser.parse_args()
    if not torch.cuda.is_available():
        raise SystemExit("this benchmark needs a CUDA device")
    wanted = cases(options.model, options.data)
    names, parts, rows = options.cases.split(","), options.parts.split(","), []
    steps: list[Callable[[], dict[str, Any]]] = []
    if "runs" in parts:
        steps += [functools.partial(launched, name, wanted[name]) for name in names]
    if "reallocated" in parts:
        steps.append(functools.partial(launched, f"{names[0]} with ranks re-allocated", reallocated(wanted[names[0]])))
    if "replay" in parts:
        steps.append(functools.partial(replay_agrees, wanted["RTE"]))
    if "throughput" in parts:
        steps += [functools.partial(throughput, name, wanted[name], options.repeats, not options.no_batch_8) for name in names]
    if "telemetry" in parts:
        steps.append(functools.partial(telemetry, names[0], wanted[names[0]], 2 * options.repeats + 1))
    for step in steps:
        rows.append(step())
        record.write("training_gpu", rows, options.json)


def reallocated(spec: RunSpec) -> RunSpec:
    """The same run with ranks re-allocated at half of it."""
    return dataclasses.replace(spec, training=dataclasses.replace(spec.training, reallocate_at=(0.5,)))


if __name__ == "__main__":
    main()
