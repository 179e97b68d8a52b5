"""The score of saved adapters on a task's held-out rows, each loaded by plain PEFT on a fresh copy of the task's model.

Works on a spec and folders; does not depend on runs, processes or how an adapter came about.
"""

import copy
import warnings
from collections.abc import Sequence
from pathlib import Path

from safetensors import SafetensorError

from gelora.errors import InputError
from gelora.records import RACING_TASKS, Progress, RunSpec, resolve_device


def score_adapters(spec: RunSpec, folders: Sequence[Path], progress: Progress) -> tuple[str, list[dict[str, float]]]:
    """The held-out metrics of adapters of one model and task, in float32.

    Args:
        spec: model, data, held-out rows and seed; its plan and method are not looked at. The held-out rows are those of a
            run of the same spec.
        folders: of adapters that PEFT loads.
        progress: told the adapters scored.

    Returns:
        The name of the task's main metric, and for each adapter {name: value}, both with the prefix `eval_`.

    Raises:
        InputError: a task other than sequence labels and language modelling, or an adapter of another model or task.
        GeloraError: data, model or device do not allow it.
    """
    from peft import PeftModel

    from gelora.runs.training.held_out import held_out_answers, lost_by_row
    from gelora.tasks import build_task

    device = resolve_device(spec.training.device)
    task = build_task(spec, progress)
    if task.kind not in RACING_TASKS:
        raise InputError(f"Adapters of {', '.join(RACING_TASKS)} are scored here; score one of {task.kind} by its own evaluation.")
    base, found = task.model, []
    for done, folder in enumerate(folders):
        progress("Scoring adapters", done, len(folders))
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message="Found missing adapter keys")
                model = PeftModel.from_pretrained(copy.deepcopy(base), folder).to(device).eval()
        except (RuntimeError, ValueError, UserWarning, SafetensorError, OSError) as error:
            reason = str(error).strip().partition("\n")[0][:200]
            raise InputError(
                f"{folder} is no adapter of {spec.model} with this task's head ({reason}); give its own model and data."
            ) from error
        answers, labels = held_out_answers(task, 1, model=model)
        lost, counted = lost_by_row(task, answers[0], labels)
        scores = task.score(answers[0], labels) | {"loss": float(lost.sum() / counted.sum())}
        found.append({f"eval_{name}": value for name, value in scores.items()})
    return task.main_metric, found
