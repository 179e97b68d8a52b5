"""Tasks on tiny random models, made by hand: random rows, real heads, so that methods and adapters can be tried on every kind."""

from pathlib import Path

import torch
import transformers
from tiny_models import VOCAB_SIZE, save_tiny_model, tiny_tokenizer

from gelora.ranks import uniform_ranks
from gelora.records import DataChoice, RankPlan, RunSpec, TrainingConfig
from gelora.sources import find_model, structure_of
from gelora.tasks import Task

CLASSES = {
    "classification": ("AutoModelForSequenceClassification", "SEQ_CLS"),
    "regression": ("AutoModelForSequenceClassification", "SEQ_CLS"),
    "question-answering": ("AutoModelForQuestionAnswering", "QUESTION_ANS"),
    "causal-lm": ("AutoModelForCausalLM", "CAUSAL_LM"),
    "instruction": ("AutoModelForCausalLM", "CAUSAL_LM"),
}
N_ROWS, LENGTH = 48, 12


def rows_of(kind: str, seed: int = 0) -> list[dict]:
    """Rows that can be learned a little: what is to be said follows from the first tokens."""
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(8, VOCAB_SIZE, (N_ROWS, LENGTH), generator=generator)
    rows = []
    for ids in tokens.tolist():
        row = {"input_ids": ids, "attention_mask": [1] * LENGTH}
        if kind == "classification":
            row["labels"] = ids[1] % 3
        elif kind == "regression":
            row["labels"] = float(ids[1] % 7)
        elif kind == "question-answering":
            row["start_positions"], row["end_positions"] = ids[1] % LENGTH, LENGTH - 1
        else:
            row["labels"] = list(ids)
        rows.append(row)
    return rows


def collate(rows: list[dict]) -> dict[str, torch.Tensor]:
    return {name: torch.tensor([row[name] for row in rows]) for name in rows[0]}


def hand_made_task(architecture: str, kind: str, folder: Path, **changes: object) -> Task:
    """A task on a tiny model that is saved as a base checkpoint in `folder`; the same folder gives the same task again."""
    if not (folder / "config.json").is_file():
        save_tiny_model(architecture, folder, **changes)
    auto_class, peft_task_type = CLASSES[kind]
    options = {"classification": {"num_labels": 3}, "regression": {"num_labels": 1}}.get(kind, {})
    torch.manual_seed(0)
    model, info = getattr(transformers, auto_class).from_pretrained(folder, output_loading_info=True, dtype=torch.float32, **options)
    tokenizer = tiny_tokenizer(architecture)
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    model.config.pad_token_id = tokenizer.pad_token_id
    model.config.use_cache = False
    return Task(
        kind=kind,
        model=model,
        tokenizer=tokenizer,
        entry=find_model(str(folder)),
        train=rows_of(kind),
        held_out=rows_of(kind, 1)[:8],
        collate=collate,
        reduce=lambda logits, labels: logits,
        score=lambda kept, labels: {},
        show=lambda kept: [],
        main_metric="eval_loss",
        higher_is_better=False,
        label_names=("no", "perhaps", "yes") if kind == "classification" else None,
        majority_accuracy=None,
        random_keys=tuple(sorted(info["missing_keys"])),
        reloaded_keys=False,
        peft_task_type=peft_task_type,
        auto_class=auto_class,
        texts_digest="",
    )


def plan_for(task: Task, rank: int = 2, target_modules: str = "attention") -> RankPlan:
    """A uniform rank."""
    return uniform_ranks(structure_of(task.model, str(task.entry.path), "rev"), rank, target_modules)


def spec_for(task: Task, method: str = "lora", plan: RankPlan | None = None, seed: int = 0, **training: object) -> RunSpec:
    """A spec of the task, with a plan of rank 2 where the method needs one and none is given."""
    if plan is None and method in ("lora", "adalora"):
        plan = plan_for(task)
    config = TrainingConfig(method=method, device="cpu", **training)
    return RunSpec(str(task.entry.path), DataChoice("rows"), plan, config, seed)
