"""Command lines as people mistype them, in process and without heavy work: status 0, 1 or 2, and words instead of a traceback."""

import json
import os
import random
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

from benchmarks.faults import odd, small_runs
from benchmarks.faults.attempt import Kind, Try

# What is written goes into the try's folder: no word leads out of it.
_WORDS = tuple(text for text in odd.TEXTS if not text.startswith(("/", "..", "~")) or "nosuchuser" in text)
_RUN = "20260101-000000-model-rows-0001"


def attempt(found: Try) -> None:
    """One command whose words were replaced, dropped, doubled or made up in one to three places.

    No run is started and nothing is trained: the functions that would are called, but what they launch is not.

    Raises:
        Fault: another status, or a traceback.
    """
    odd.limit_memory()
    small_runs.quiet()
    rng = found.rng
    shutil.copytree(found.material / "one run", found.folder / "runs" / _RUN)
    words = list(rng.choice(_commands(found.material)))
    command = words[0]
    for _ in range(rng.choice((0, 1, 1, 2, 3))):
        _change(rng, words)
    if words and words[0] == "dashboard":
        return  # it would serve
    found.case = command
    found.facts["arguments"] = json.dumps(words)[:500]
    before = Path.cwd()
    os.chdir(found.folder)  # where odd names are written to
    try:
        with (
            mock.patch("gelora.runs.process.jobs._launch"),
            mock.patch("gelora.commands.running._follow", side_effect=_ended),
            mock.patch("gelora.runs.race", side_effect=_no_race),
        ):
            said = odd.command(*words)
    finally:
        os.chdir(before)
    found.facts["answers"] = {command: "a result" if said.startswith("exit status 0") else "a sentence"}


def _ended(run_id: str, _options: Any) -> Any:
    from gelora.runs import run_info

    return run_info(run_id)


def _no_race(*_arguments: Any, **_options: Any) -> Any:
    from gelora.errors import RunError

    raise RunError("A race is not run here.")


def _commands(material: Path) -> tuple[tuple[str, ...], ...]:
    model = ("--model", str(material / "model"))
    data = ("--dataset", str(material / "rows.jsonl"))
    profile = str(material / "profile.json")
    plan = ("plan", *model, "--strategy", "uniform", "--offset", "2", "--n-labels", "2", "--match", "uniform:2")
    return (
        ("preview", *data, "--rows", "3", "--text-column", "text", "--label-column", "label", "--json", "-"),
        ("preview", *data, "--header", "yes", "--separator", "comma", "--encoding", "utf-8", "--skip-bad-rows"),
        ("measure", *model, *data, "--n-samples", "30", "--n-subsamples", "0", "--estimators", "twonn", "--seed", "1", "--device", "cpu"),
        ("compare", profile, profile, "--estimator", "twonn", "--json"),
        ("sensitivity", *model, *data, "--n-samples", "30", "--vary", "metric", "--estimator", "twonn", "--device", "cpu"),
        ("calibrate", "--n-samples", "60", "--draws", "1", "--width", "6", "--dimension", "2", "--estimators", "twonn", "--noise", "0"),
        ("calibrate", "--manifold", "list"),
        ("estimators", "--json"),
        (*plan, "--json"),
        (*plan, "--csv", "plan.csv", "--set-rank", "0=3", "--set-rank", "1=2"),
        (*plan, "--lora-config", "folder", "--target-modules", "attention,mlp", "--rounding", "ceil", "--scale", "1.5"),
        ("plan", *model, "--profile", profile, "--estimator", "twonn", "--budget-json", "-", "--dtype", "float16", "--batch-size", "4"),
        ("plan", *model, "--adapter", str(material / "adapter"), "--json", "plan.json"),
        ("train", *model, *data, "--rank", "2", "--detach", "--seed", "1", "--set", "batch_size=4", "--epochs", "0.5", "--device", "cpu"),
        ("train", "--spec", str(material / "lora-0.json"), "--seeds", "1,2", "--set", "learning_rate=0.001", "--json"),
        ("train", *model, *data, "--plan", str(material / "plan.json"), "--method", "adalora", "--report-to", "tensorboard", "--detach"),
        ("train", *model, "--preset", "sst2", "--dataset", "folder", "--head-only", "--detach"),
        ("race", *model, *data, "--strategies", "uniform,random", "--seeds", "0,1", "--learning-rates", "1e-3", "--steps", "2"),
        ("runs",), ("runs", "--json"), ("runs", _RUN), ("runs", _RUN, "--csv", "-"),
        ("runs", _RUN, "--log", "5"), ("runs", _RUN, "--delete"),
        ("stop", _RUN, "--grace-seconds", "1"), ("stop", "all"), ("resume", _RUN, "--detach"), ("doctor", "--json"),
    )  # fmt: skip


def _change(rng: random.Random, words: list[str]) -> None:
    at = rng.randrange(len(words)) if words else 0
    how = rng.randrange(8)
    word = rng.choice((rng.choice(_WORDS), str(rng.choice(odd.NUMBERS))))
    if how < 5 and words:
        values = [i for i, known in enumerate(words) if i and not known.startswith("--")]
        words[rng.choice(values) if values and how < 4 else at] = word
    elif how == 5 and words:
        del words[at]
    elif how == 6:
        words.insert(at + 1, word)
    elif words:
        words.insert(at + 1, rng.choice(words))


def prepare(material: Path) -> None:
    """A finished run, its adapter, a plan and a profile."""
    import gelora.runs  # noqa: F401

    small_runs.make(material)
    finished = small_runs.folder_of_finished(material, "lora-0")
    os.environ["GELORA_HOME"] = str(material / "home")
    if not (material / "profile.json").is_file():
        shutil.copytree(finished / "adapter", material / "adapter", dirs_exist_ok=True)
        shutil.copytree(finished, material / "one run", dirs_exist_ok=True, ignore=shutil.ignore_patterns("checkpoints", "adapter"))
        model = ["--model", str(material / "model")]
        odd.command("plan", *model, "--strategy", "uniform", "--json", str(material / "plan.json"))
        sample = ["--dataset", str(material / "rows.jsonl"), "--n-samples", "100", "--device", "cpu"]
        odd.command("measure", *model, *sample, "--json", str(material / "profile.json"))
    odd.command("plan", "--model", str(material / "model"), "--adapter", str(material / "adapter"))  # loads what commands need


KINDS = (Kind("commands", prepare, attempt, odd.LIMIT_SECONDS),)
