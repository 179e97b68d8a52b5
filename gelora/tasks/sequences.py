"""Classification and regression of one text or a pair: one label a row.

Of labels, their metric and how an answer is shown; does not depend on tokens' labels, spans or generation.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from gelora.errors import DataError
from gelora.sources import LabelledRows, labelled_rows, load_classifier
from gelora.tasks.encoding import by_length, check_vocabulary, encode, logits_alone, padding_collator, sentence_of_counts
from gelora.tasks.labels import as_classes, as_numbers, by_classes
from gelora.tasks.material import Material
from gelora.tasks.metrics import classification_scores, regression_scores
from gelora.tasks.splitting import Keys, choose_rows, digest_of, shown_rows
from gelora.tasks.task import Row, ShownExample, Task


def build_sequences(material: Material) -> Task:
    """The task of a labelled dataset.

    Raises:
        DataError: labels that do not fit the task, one class only, too few rows, an unseen label among the held-out rows.
        ModelError: the model has no classification form, or its tokenizer is another model's.
    """
    spec = material.spec
    notes: list[str] = []
    rows = labelled_rows(material.table, material.kind)
    labels, names = as_classes(rows, material.data) if material.kind == "classification" else (as_numbers(rows, material.data), None)
    trained, held, own, own_labels = _chosen(material, rows, labels, names, notes)
    if names and len(np.unique(labels[trained])) < 2:
        raise DataError(
            f"After the split every training row of {spec.data.dataset} has the same label; more rows of each class are needed."
        )
    shown = material.preset.label_names if material.preset else None
    if names and shown and len(shown) == len(names) and all(name.isdecimal() for name in names):
        names = shown

    headed = load_classifier(material.entry, material.tokenizer, names, spec.seed)
    length = material.length_for(headed.model, notes)
    material.progress("Reading the texts as tokens", 0, 1)
    train, train_ids = _encoded(rows, labels, trained, "training", material, headed.model, length, notes)
    unsorted, unsorted_ids = _encoded(own, own_labels, held, "held-out", material, headed.model, length, notes)
    n_left_out = rows.n_left_out + (own.n_left_out if own is not rows else 0)
    n_left_out += len(trained) - len(train) + len(held) - len(unsorted)
    if n_left_out:
        notes.append(f"{sentence_of_counts(n_left_out, 'row without text was', 'rows without text were')} left out")
    if len(train) < 2 or not unsorted:
        raise DataError(
            f"The texts of {spec.data.dataset} have no tokens for {material.entry.model_id}; choose other data or another model."
        )
    check_vocabulary([*train, *unsorted], headed.model, material.entry)
    order = by_length(unsorted)
    held_out, held_ids = [unsorted[i] for i in order], [unsorted_ids[i] for i in order]
    usual_metric = "eval_accuracy" if names else "eval_pearson"
    return Task(
        kind=material.kind,
        model=headed.model,
        tokenizer=material.tokenizer,
        entry=material.entry,
        train=train,
        held_out=held_out,
        collate=padding_collator(material.tokenizer),
        reduce=lambda outputs, _labels: logits_alone(outputs).float(),
        score=classification_scores if names else regression_scores,
        show=_shower(own, held_ids, held_out, names),
        main_metric=material.preset.main_metric if material.preset else usual_metric,
        higher_is_better=True,
        label_names=names,
        majority_accuracy=_majority_accuracy(train, held_out) if names else None,
        random_keys=headed.random_keys,
        reloaded_keys=bool(headed.mismatched_keys),
        peft_task_type="SEQ_CLS",
        auto_class="AutoModelForSequenceClassification",
        texts_digest=digest_of([*_texts_of(rows, train_ids), *_texts_of(own, held_ids)]),
        notes=tuple(notes),
    )


def _chosen(
    material: Material, rows: LabelledRows, labels: np.ndarray, names: tuple[str, ...] | None, notes: list[str]
) -> tuple[np.ndarray, np.ndarray, LabelledRows, np.ndarray]:
    """Indices of the training and the held-out rows, and the rows and labels that the latter are of."""
    own, own_labels = rows, labels
    if material.held_out is not None:
        own, choice = labelled_rows(material.held_out, material.kind), material.held_out.choice
        own_labels = by_classes(own, choice, names, rows) if names else as_numbers(own, choice)
    other = (_keys(own), own_labels if names else None) if own is not rows else None
    trained, held, said = choose_rows(material.spec, _keys(rows), labels if names else None, other)
    notes += said
    return trained, held, own, own_labels


def _encoded(
    side: LabelledRows, labels: np.ndarray, chosen: np.ndarray, what: str, material: Material, model: Any, length: int, notes: list[str]
) -> tuple[list[Row], list[int]]:
    """The chosen rows that have tokens, as the model takes them, and their indices."""
    convert: Callable[[float], Any] = int if material.kind == "classification" else float
    texts = [side.texts[i] for i in chosen]
    pairs = [side.pairs[i] for i in chosen] if side.pairs is not None else None
    encoded = encode(material.tokenizer, model, texts, pairs, length)
    if encoded.n_cut:
        notes.append(f"{encoded.n_cut:,} of {len(texts):,} {what} texts are longer than {length} tokens and were cut")
    kept = [i for i in range(len(texts)) if i not in encoded.empty]
    return [encoded.rows[i] | {"labels": convert(labels[chosen[i]])} for i in kept], [int(chosen[i]) for i in kept]


def _keys(rows: LabelledRows) -> Keys:
    return list(zip(rows.texts, rows.pairs, strict=True)) if rows.pairs is not None else [(text,) for text in rows.texts]


def _texts_of(rows: LabelledRows, ids: list[int]) -> list[str]:
    return [side[i] for i in ids for side in (rows.texts, rows.pairs or ()) if side]


def _majority_accuracy(train: list[Row], held_out: list[Row]) -> float:
    values, counts = np.unique([row["labels"] for row in train], return_counts=True)
    return float(np.mean(np.array([row["labels"] for row in held_out]) == values[counts.argmax()]))


def _shower(own: LabelledRows, ids: list[int], rows: list[Row], names: tuple[str, ...] | None) -> Callable[[Any], list[ShownExample]]:
    """A few rows and what the model says of them, from the logits [n_held_out, n_outputs] of all."""
    places = shown_rows(len(rows))
    given = ["\n".join(_texts_of(own, [ids[place]])) for place in places]

    def show(logits: Any) -> list[ShownExample]:
        shown = []
        for place, text in zip(places, given, strict=True):
            truth = rows[place]["labels"]
            if names:
                chosen = int(np.asarray(logits[place]).argmax())
                shown.append(ShownExample(text, names[truth], names[chosen], chosen == truth))
            else:
                shown.append(ShownExample(text, f"{truth:.2f}", f"{float(np.asarray(logits[place]).reshape(-1)[0]):.2f}", None))
        return shown

    return show
