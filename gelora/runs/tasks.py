"""What a run learns, built from its spec: model with adapter and head, tokenised rows, the metric of the task.

Classification (one text or a pair) and regression. Knows nothing of the training loop, of processes or of where results go.
Call it in a process of its own: it seeds the global random generators, from which the head and the adapter are drawn.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gelora.errors import DataError
from gelora.ranks import apply_plan, count_parameters, modules_to_save, train_head_alone
from gelora.records import Progress, RunSpec, Sample
from gelora.sources import find_model, load_classifier, load_sample, load_tokenizer, longest_input, split_sample

Row = dict[str, Any]


@dataclass(frozen=True)
class Task:
    """Everything that training needs.

    model: a `peft.PeftModel` in float32 on the CPU; train, held_out: tokenised rows with `labels`, the held-out ones by
    length; metrics: (predictions [n, n_labels], labels [n]) -> {name: value}; main_metric: the one that is compared;
    majority_accuracy: share of held-out rows of the class most frequent in training, None for regression;
    reloaded_keys: whether the checkpoint had a head of another size, which a loader has to be told.
    """

    model: Any
    tokenizer: Any
    entry: Any
    train: list[Row]
    held_out: list[Row]
    metrics: Callable[[np.ndarray, np.ndarray], dict[str, float]]
    main_metric: str
    label_names: tuple[str, ...] | None
    majority_accuracy: float | None
    n_adapter_params: int
    n_head_params: int
    reloaded_keys: bool
    texts_digest: str

    @property
    def n_labels(self) -> int:
        """Outputs of the head: the number of classes, 1 for regression."""
        return len(self.label_names) if self.label_names else 1

    @property
    def kind(self) -> str:
        """`classification` or `regression`."""
        return "classification" if self.label_names else "regression"


def build_task(spec: RunSpec, progress: Progress | None = None) -> Task:
    """Draw the rows, split off the held-out ones, load the model and put adapter and head on it.

    Raises:
        DataError: no labels, one class only, or too few rows.
        ModelError: the model has no classification form, or is not the one that the plan was made for.
        GeloraError: whatever the sources say of an unknown model or unreadable data.
    """
    from transformers import set_seed

    train, held_out = _draw(spec, progress)
    names = train.label_names if train.task == "classification" else None
    if train.task == "classification" and not names:
        names = tuple(str(i) for i in range(int(max([*_labels(train), *_labels(held_out)])) + 1))
    entry = find_model(spec.model)
    tokenizer = load_tokenizer(entry)
    set_seed(spec.seed)
    headed = load_classifier(entry, tokenizer, names, spec.seed)
    model = _with_adapter(headed.model, spec, modules_to_save(headed.model, headed.random_keys))
    n_adapter, n_head = count_parameters(model)
    length = longest_input(spec.training.max_length, tokenizer, model.config)
    return Task(
        model=model,
        tokenizer=tokenizer,
        entry=entry,
        train=_tokenise(train, tokenizer, length),
        held_out=sorted(_tokenise(held_out, tokenizer, length), key=lambda row: len(row["input_ids"])),
        metrics=_classification_metrics if names else _regression_metrics,
        main_metric="eval_accuracy" if names else "eval_pearson",
        label_names=names,
        majority_accuracy=_majority_accuracy(train, held_out) if names else None,
        n_adapter_params=n_adapter,
        n_head_params=n_head,
        reloaded_keys=bool(headed.mismatched_keys),
        texts_digest=train.source.texts_digest,
    )


def _draw(spec: RunSpec, progress: Progress | None) -> tuple[Sample, Sample]:
    wanted = spec.training.n_train + spec.training.n_eval
    sample = load_sample(spec.data, wanted, spec.seed, progress=progress)
    if sample.task == "unlabeled":
        raise DataError(f"{spec.data.dataset} has no labels, so there is nothing to learn; choose its label column or other data.")
    if sample.task == "classification" and len(set(_labels(sample))) < 2:
        raise DataError(
            f"Every row of {spec.data.dataset} has the same label, so there is nothing to learn; at least two classes are needed."
        )
    # Where there are fewer rows than asked for, both parts shrink alike.
    n_eval = spec.training.n_eval if len(sample) >= wanted else max(1, round(len(sample) * spec.training.n_eval / wanted))
    if len(sample) < 4 or len(sample) - n_eval < 2:
        raise DataError(f"{spec.data.dataset} has {len(sample)} usable rows; a run needs at least 4, some to train and some held out.")
    train, held_out = split_sample(sample, n_eval, spec.seed)
    if train.task == "classification" and len(set(_labels(train))) < 2:
        raise DataError(
            f"After the split every training row of {spec.data.dataset} has the same label; more rows of each class are needed."
        )
    return train, held_out


def _labels(sample: Sample) -> Sequence[float]:
    return sample.labels or ()


def _with_adapter(model: Any, spec: RunSpec, saved: list[str]) -> Any:
    if spec.plan is not None:
        return apply_plan(model, spec.plan, task_type="SEQ_CLS", modules_to_save=saved, lora_dropout=spec.training.lora_dropout)
    return train_head_alone(model, saved)


def _tokenise(sample: Sample, tokenizer: Any, max_length: int) -> list[Row]:
    texts = [list(sample.texts)] if sample.text_pairs is None else [list(sample.texts), list(sample.text_pairs)]
    encoded = tokenizer(*texts, truncation=True, max_length=max_length)
    convert: Callable[[float], Any] = int if sample.task == "classification" else float
    columns = [name for name in ("input_ids", "attention_mask", "token_type_ids") if name in encoded]
    return [{name: encoded[name][i] for name in columns} | {"labels": convert(label)} for i, label in enumerate(_labels(sample))]


def _majority_accuracy(train: Sample, held_out: Sample) -> float:
    values, counts = np.unique(np.asarray(_labels(train)), return_counts=True)
    return float(np.mean(np.asarray(_labels(held_out)) == values[counts.argmax()]))


def _classification_metrics(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Accuracy, F1 (of class 1 where there are two classes, as GLUE has it, else the mean over classes), Matthews."""
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    chosen = predictions.argmax(axis=-1)
    average = "binary" if predictions.shape[-1] == 2 else "macro"
    return {
        "accuracy": float(accuracy_score(labels, chosen)),
        "f1": float(f1_score(labels, chosen, average=average, zero_division=0)),
        "matthews": float(matthews_corrcoef(labels, chosen)),
    }


def _regression_metrics(predictions: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """Pearson and Spearman correlation (NaN where either side is constant) and mean squared error."""
    from scipy.stats import pearsonr, spearmanr

    answers, truth = predictions.reshape(-1).astype(np.float64), labels.reshape(-1).astype(np.float64)
    defined = len(truth) > 1 and np.ptp(answers) > 0 and np.ptp(truth) > 0 and bool(np.isfinite(answers).all())
    return {
        "pearson": float(pearsonr(answers, truth).statistic) if defined else math.nan,
        "spearman": float(spearmanr(answers, truth).statistic) if defined else math.nan,
        "mse": float(np.mean((answers - truth) ** 2)),
    }
