"""Studies as `gelora study` leaves them, made by hand."""

from gelora.records import BlockTable, NotRun, Study, StudyRow


def row(
    arm: str, task: str = "sst2", budget: str = "uniform:2", difference: float | None = 0.0, p: float | None = 1.0, **other
) -> StudyRow:
    """One arm; its reference's held-out loss is 0.5, its interval 0.02 to both sides."""
    is_reference = arm == "uniform"
    fields = {
        "task": task, "model": "MiniLM", "dataset": f"{task}.jsonl", "budget": budget, "budget_params": 10_000, "arm": arm,
        "learning_rate": 5e-4, "n_adapter_params": 10_000, "block_ranks": (2, 2, 2),
        "eval_loss": None if difference is None else 0.5 + difference, "main_metric": "eval_accuracy", "metric": 0.8,
        "losses": (0.5, 0.5, 0.5), "difference": None if is_reference else difference,
        "ci_low": None if is_reference or difference is None else difference - 0.02,
        "ci_high": None if is_reference or difference is None else difference + 0.02, "p_corrected": None if is_reference else p,
        "is_reference": is_reference, "is_best_rate": True, "n_steps": 100, "n_held_out": 872, "run": "20260101-000000-model-rows-0001",
    }  # fmt: skip
    return StudyRow(**(fields | other))


def study(name: str = "trial", **other) -> Study:
    """Three tasks: `gelora` better on one, `random` worse on one, `fisher` diverged once, twice the rank as a yardstick."""
    rows = []
    for i, task in enumerate(("sst2", "mrpc", "cola")):
        rows += [
            row("uniform", task),
            row("gelora", task, difference=(-0.05, 0.01, 0.0)[i], p=(0.01, 0.8, 1.0)[i]),
            row("gelora", task, difference=0.2, p=0.001, is_best_rate=False, learning_rate=2e-3),
            row("random", task, difference=(0.0, 0.04, 0.01)[i], p=(1.0, 0.02, 0.9)[i]),
            row("fisher", task, difference=None if i == 0 else 0.0, p=None if i == 0 else 1.0),
            row("twice the rank", task, difference=-0.03, p=0.001, n_adapter_params=20_000),
        ]
    missing = (NotRun("squad", "uniform:2", "Arms of a race share classification, regression; qa is trained one run at a time."),)
    return Study(name, "uniform", tuple(rows), missing, {"torch": "2.13.0", "device_name": "cpu"} | other)


def block_study() -> Study:
    """Six tasks whose six blocks were raced at twice their rank; the gradient's score orders them, the rise is undefined."""
    rows, tables = [], []
    for i in range(6):
        task, worth = f"task {i}", [((3 * block + i) % 7 + 1) / 100 for block in range(6)]
        rows += [row("uniform", task), row("gelora", task), row("uniform", task, change="twice")]
        for block in range(6):
            rows.append(row(f"block {block + 1} twice", task, difference=-worth[block], change="twice", blocks=(block + 1,)))
        values = {"depth": tuple(range(1, 7)), "rise:twonn": (None,) * 6, "score:gradient": tuple(10 * value for value in worth)}
        tables.append(BlockTable(task, "MiniLM", values))
    return Study("blocks", "uniform", tuple(rows), (), {"torch": "2.13.0"}, tuple(tables))
