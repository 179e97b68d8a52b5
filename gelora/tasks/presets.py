"""Well-known tasks by name: where their data lies, which column is what, which metric the field compares.

GLUE's nine, SQuAD v1.1 and v2.0, Alpaca. Names, splits and columns alone; reads nothing and loads nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from gelora.errors import InputError
from gelora.records import DataChoice, TrainingConfig
from gelora.sources import FILE_ENDINGS

_ENDINGS = tuple(ending for ending in FILE_ENDINGS if ending != ".txt")  # a task has columns


@dataclass(frozen=True)
class Preset:
    """One well-known task.

    hub_id, config, train_split, held_out_split: where the hub has it (no held-out split: rows are split off). text_column,
    pair_column, label_column: as in `DataChoice`. label_names: of the classes by number, where files have numbers alone.
    main_metric: the value that is compared, with the prefix `eval_`. max_length, doc_stride: in tokens.
    """

    name: str
    title: str
    hub_id: str
    config: str | None
    held_out_split: str | None
    text_column: str
    pair_column: str | None
    label_column: str
    kind: str
    main_metric: str
    max_length: int
    label_names: tuple[str, ...] | None = None
    doc_stride: int = 128
    train_split: str = "train"


class PresetChoice(NamedTuple):
    """What a preset fills into a run: data, held-out data (None = split off), training options that differ from the defaults."""

    data: DataChoice
    held_out: DataChoice | None
    training: TrainingConfig


_ENTAILMENT = ("entailment", "not_entailment")
_DUPLICATE = ("not_duplicate", "duplicate")
_GLUE: dict[str, tuple[str, str, str | None, str, tuple[str, ...] | None]] = {
    # title, text column, pair column, metric, class names
    "cola": ("CoLA: is the sentence acceptable English", "sentence", None, "matthews", ("unacceptable", "acceptable")),
    "sst2": ("SST-2: sentiment of film reviews", "sentence", None, "accuracy", ("negative", "positive")),
    "mrpc": ("MRPC: do two sentences say the same", "sentence1", "sentence2", "f1", ("not_equivalent", "equivalent")),
    "stsb": ("STS-B: how similar are two sentences, 0 to 5", "sentence1", "sentence2", "pearson", None),
    "qqp": ("QQP: are two questions duplicates", "question1", "question2", "f1", _DUPLICATE),
    "mnli": ("MNLI: entailment, neutral or contradiction", "premise", "hypothesis", "accuracy", ("entailment", "neutral", "contradiction")),
    "qnli": ("QNLI: does the sentence answer the question", "question", "sentence", "accuracy", _ENTAILMENT),
    "rte": ("RTE: does the text entail the hypothesis", "sentence1", "sentence2", "accuracy", _ENTAILMENT),
    "wnli": ("WNLI: does the sentence follow, pronoun replaced", "sentence1", "sentence2", "accuracy", ("not_entailment", "entailment")),
}


def _glue(name: str) -> Preset:
    title, text, pair, metric, labels = _GLUE[name]
    kind = "classification" if labels else "regression"
    held_out = "validation_matched" if name == "mnli" else "validation"
    length = 256 if name in ("rte", "qnli") else 128
    return Preset(name, title, "nyu-mll/glue", name, held_out, text, pair, "label", kind, f"eval_{metric}", length, labels)


_QA = ("validation", "question", "context", "answers", "question-answering", "eval_f1", 384)
_ALPACA = (None, "instruction", "input", "output", "instruction", "eval_perplexity", 512)

PRESETS: Mapping[str, Preset] = {
    **{name: _glue(name) for name in _GLUE},
    "squad": Preset("squad", "SQuAD v1.1: find the answer in the passage", "rajpurkar/squad", None, *_QA),
    "squad_v2": Preset("squad_v2", "SQuAD v2.0: find the answer, or say that there is none", "rajpurkar/squad_v2", None, *_QA),
    "alpaca": Preset("alpaca", "Alpaca: follow an instruction", "tatsu-lab/alpaca", None, *_ALPACA),
}

_HUB_NAMES = {
    **{"rajpurkar/squad": "squad", "squad": "squad", "rajpurkar/squad_v2": "squad_v2", "squad_v2": "squad_v2"},
    **{"tatsu-lab/alpaca": "alpaca", "yahma/alpaca-cleaned": "alpaca", "vicgalle/alpaca-gpt4": "alpaca"},
    **{"stanfordnlp/sst2": "sst2", "sst2": "sst2"},
}
_FOLDERS = {
    "sst-2": "sst2",
    "sst_2": "sst2",
    "sts-b": "stsb",
    "sts_b": "stsb",
    "squad_v1": "squad",
    "squad-v2": "squad_v2",
    "squad2": "squad_v2",
}


def preset_of(data: DataChoice) -> Preset | None:
    """The preset that a hub id, or a file in a folder of its name (`.../glue/rte/train.jsonl`), belongs to; else None.

    Columns that were chosen otherwise than the preset has them make it another task.
    """
    found = _named(data)
    if found is None:
        return None
    preset = PRESETS[found]
    chosen = ((data.text_column, preset.text_column), (data.pair_column, preset.pair_column), (data.label_column, preset.label_column))
    return preset if all(given is None or (given or None) == own for given, own in chosen) else None


def apply_preset(name: str, folder: str | Path | None = None) -> PresetChoice:
    """What a preset fills into a run.

    Args:
        name: one of `PRESETS`.
        folder: where the files lie, `train` and perhaps `validation` with an ending of `FILE_ENDINGS`, save .txt; None for the hub.

    Raises:
        InputError: the name is unknown, or the folder has no such file.
    """
    if name not in PRESETS:
        raise InputError(f"Unknown preset {name!r}; choose one of: {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    columns = (preset.text_column, preset.pair_column or "", preset.label_column)
    training = TrainingConfig(task=preset.kind, max_length=preset.max_length, doc_stride=preset.doc_stride)
    if folder is None:
        data = DataChoice(preset.hub_id, preset.config, preset.train_split, *columns)
        held_out = DataChoice(preset.hub_id, preset.config, preset.held_out_split, *columns) if preset.held_out_split else None
        return PresetChoice(data, held_out, training)
    train = _file(Path(folder), preset.train_split)
    if train is None:
        raise InputError(f"The folder {str(folder)!r} has no train file ({', '.join(_ENDINGS)}); give the folder of the preset's files.")
    names = (preset.held_out_split, "validation", "dev") if preset.held_out_split else ()
    validation = next((file for file in (_file(Path(folder), stem) for stem in names if stem) if file), None)
    held_out = DataChoice(str(validation), None, None, *columns) if validation else None
    return PresetChoice(DataChoice(str(train), None, None, *columns), held_out, training)


def _named(data: DataChoice) -> str | None:
    lower = data.dataset.lower()
    if lower in ("glue", "nyu-mll/glue"):
        config = (data.config or "").lower()
        return config if config in _GLUE else None
    if lower in _HUB_NAMES:
        return _HUB_NAMES[lower]
    path = Path(data.dataset)
    if path.suffix.lower() not in _ENDINGS:
        return None
    folder = _FOLDERS.get(path.parent.name.lower(), path.parent.name.lower())
    if folder in _GLUE:
        return folder if path.parent.parent.name.lower() == "glue" else None
    return "alpaca" if re.match(r"alpaca\b", folder) else folder if folder in PRESETS else None


def _file(folder: Path, stem: str) -> Path | None:
    return next((file for ending in _ENDINGS if (file := folder / f"{stem}{ending}").is_file()), None)
