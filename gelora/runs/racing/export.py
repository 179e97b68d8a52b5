"""One arm of a race as a plain PEFT adapter, with tokenizer and README, as a lone run would leave it.

Light until it is called. Loads model and data of the race again: the labels' names and the tokenizer are theirs.
"""

from pathlib import Path

from gelora.errors import InputError
from gelora.home import is_taken, local_path
from gelora.records import check_choice, lone_run
from gelora.runs.records.race_result import read_result
from gelora.runs.records.state import read_spec, run_folder


def export_arm(run_id: str, arm: str, folder: str | Path, seed: int | None = None) -> Path:
    """Write an arm into a folder that PEFT loads on the ordinary checkpoint without this package; returns the folder.

    Args:
        run_id: of a race.
        arm: its label: the strategy, with the learning rate where there are several (`uniform 0.0005`).
        folder: where to; new or empty.
        seed: of the race's; its first unless given.

    Raises:
        RunError: no run has this id, or the arm is not trained to its end.
        InputError: the run is no race, has no such arm or seed, or the folder holds something.
        GeloraError: model or data cannot be loaded, or the disk is full.
    """
    of_run, target = run_folder(run_id), local_path(folder)
    spec = read_spec(of_run)
    if spec.race is None:
        raise InputError(f"Run {run_id} is no race; what it has learned lies in {of_run / 'adapter'}.")
    check_choice("arm", arm, spec.race.labels)
    seed = spec.race.seeds[0] if seed is None else seed
    check_choice("seed", str(seed), tuple(map(str, spec.race.seeds)))
    if is_taken(target):
        raise InputError(f"{target} is there already and is not empty; name a new folder.")
    from gelora.runs.racing.arms import arm_file, beginning_of_base, put_arm, read_arm
    from gelora.runs.training.adapters import save_learner
    from gelora.runs.training.methods import apply_method
    from gelora.tasks import build_task

    place = spec.race.labels.index(arm)
    tensors = read_arm(arm_file(of_run, seed, place))
    alone = lone_run(spec, spec.race.arms[place][0], seed)
    task = build_task(alone)
    learner = apply_method(task, alone, alone.plan, spec.race.n_steps)
    begun = beginning_of_base(tensors)
    if begun and learner.initial is not None:
        learner.initial.put_back(learner.model, begun)
    put_arm(learner.model, tensors)
    result = read_result(of_run)
    metrics = {}
    if result is not None:
        at = spec.race.seeds.index(seed)
        metrics = {"eval_loss": float(result.losses()[at, place])}
        metrics |= {f"eval_{name}": value for name, value in result.metrics[at][place].items()}
    return save_learner(task, learner, target, metrics)
