"""Records of the first station: which data, which texts, and their hidden states."""

from dataclasses import dataclass, field, replace

import numpy as np

from gelora.errors import DataError, InputError
from gelora.record_json import ADDED, NOTE, Record, read_only
from gelora.records.checks import POOLINGS, SEPARATOR_WORDS, TASKS, check_choice
from gelora.records.model import ModelStructure
from gelora.records.sinks import SinkReport


@dataclass(frozen=True, slots=True, eq=False)
class DataChoice(Record):
    """Which data a person asked for: a bundled name, a hub id, or a path to a file; None = detect.

    label_task: what the labels are taken for, classification or regression; None follows their values.
    encoding: of a text file without a byte order mark, UTF-8 unless named. header: whether the first row of a CSV file names the
    columns; None has it found, and is an error where it is in doubt. separator: comma, tab, semicolon, pipe, or none for one
    column; None has it found. skip_bad_rows: leave out rows that do not fit the header, and
    count them; otherwise they are an error.
    """

    dataset: str
    config: str | None = None
    split: str | None = None
    text_column: str | None = None
    pair_column: str | None = None
    label_column: str | None = None
    label_task: str | None = field(default=None, metadata=ADDED)
    encoding: str | None = field(default=None, metadata=ADDED)
    header: bool | None = field(default=None, metadata=ADDED)
    separator: str | None = field(default=None, metadata=ADDED)
    skip_bad_rows: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        if self.label_task is not None:
            check_choice("label_task", self.label_task, ("classification", "regression"))
        if self.separator is not None:
            check_choice("separator", self.separator, SEPARATOR_WORDS)

    def names_no_text_form(self) -> bool:
        """Whether nothing is chosen that only a text file has: encoding, header, separator."""
        return not self.encoding and self.header is None and self.separator is None

    def as_detected(self) -> "DataChoice":
        """The same data with the columns, and what the labels are, left to detection."""
        return replace(self, text_column=None, pair_column=None, label_column=None, label_task=None)


@dataclass(frozen=True, slots=True, eq=False)
class ReadReport(Record):
    """How a dataset's rows were read: what was detected, what was left out, what was changed.

    kind: CSV, JSON Lines, JSON, Parquet, text, hub dataset or bundled. n_rows: rows in the table. n_rejected: rows left out since
    they do not fit the header, `rejected` the first of them, each with its line. n_replaced: lone surrogates, each now U+FFFD.
    encoding, separator, quote, has_header, n_comments: of a text file; None where it has none of that kind.
    roles: why each column was taken for what it is, notes: whatever else was done to the rows; both in sentences.
    """

    kind: str
    n_rows: int
    n_rejected: int = 0
    rejected: tuple[str, ...] = ()
    n_replaced: int = 0
    encoding: str | None = None
    separator: str | None = None
    quote: str | None = None
    has_header: bool | None = None
    n_comments: int = 0
    roles: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def sentences(self) -> tuple[str, ...]:
        """What a person should know of it, the form first."""
        marks = {"": "one column", "\t": "separator tab", " ": "separator space"}
        form = [self.kind]
        if self.separator is not None:
            form.append(marks.get(self.separator, f"separator {self.separator}"))
            form.append(f"quote {self.quote}" if self.quote else "no quoting")
            form.append("header" if self.has_header else "no header")
        form += [f"encoding {self.encoding}"] if self.encoding else []
        said = [f"{', '.join(form)}: {self.n_rows:,} rows."]
        if self.n_rejected:
            said.append(f"{self.n_rejected:,} rows do not fit and are left out ({'; '.join(self.rejected)}).")
        if self.n_comments:
            said.append(f"{self.n_comments:,} comment lines are left out.")
        if self.n_replaced:
            said.append(f"{self.n_replaced:,} lone surrogates are replaced by U+FFFD.")
        return (*said, *self.notes, *self.roles)


@dataclass(frozen=True, slots=True, eq=False)
class SampleSource(Record):
    """Where a sample comes from and how it was drawn; enough to draw it again.

    `choice` holds the columns and split that were used, `revision` the hub commit or a digest of the file read,
    `n_samples` the number asked for, `texts_digest` a digest of the texts that came out,
    `report` how the rows were read (None in records from before there was one).
    """

    choice: DataChoice
    revision: str
    seed: int
    n_samples: int
    distinct: bool
    texts_digest: str
    report: ReadReport | None = field(default=None, metadata=NOTE)


@dataclass(frozen=True, slots=True, eq=False)
class Sample(Record):
    """Texts (or pairs of texts) drawn from a dataset; labels are class indices (0 .. n_classes - 1) or real numbers."""

    texts: tuple[str, ...]
    text_pairs: tuple[str, ...] | None
    labels: tuple[float, ...] | None
    label_names: tuple[str, ...] | None
    task: str
    source: SampleSource

    def __post_init__(self) -> None:
        check_choice("task", self.task, TASKS)
        for name, column in (("text_pairs", self.text_pairs), ("labels", self.labels)):
            if column is not None and len(column) != len(self.texts):
                raise InputError(f"{name} has {len(column)} rows, texts has {len(self.texts)}; they must agree.")
        if not self.texts:
            raise DataError("The sample is empty; it needs at least one text.")
        if (self.task == "unlabeled") != (self.labels is None):
            raise InputError(f"A sample with task {self.task!r} must {'not ' if self.task == 'unlabeled' else ''}have labels.")

    def __len__(self) -> int:
        return len(self.texts)


WITHOUT_PADDING = "The model's states of a text depend on the padding beside it, so texts of one length ran together, without any."
"""What a person must know where `without_padding` is set."""


@dataclass(frozen=True, slots=True, eq=False)
class HiddenStates(Record):
    """Pooled hidden states of every layer.

    values: float32 [n_layers + 1, n_samples, hidden_size]; index 0 is the embedding output, index i the output of
    block i: the residual stream before any final norm, unless `final_norm` is set (then the last one is Hugging
    Face's own last state, which is after the norm in Llama, GPT-2, OPT, Phi, Gemma and ModernBERT). Pre-norm and
    post-norm models are not comparable in absolute value. sinks: what was done about attention sinks; None where
    states were made otherwise. tokens: int64 [n_samples, 2], text and position of the token that each row is, for the
    poolings that take single tokens; empty for "mean". without_padding: texts of one length ran together, since the
    model's states depend on padding.
    """

    values: np.ndarray
    layer_names: tuple[str, ...]
    pooling: str
    max_length: int
    dtype: str
    final_norm: bool
    model: ModelStructure
    sample_source: SampleSource
    sinks: SinkReport | None = None
    tokens: np.ndarray = field(default_factory=lambda: np.empty((0, 2), dtype=np.int64))
    without_padding: bool = field(default=False, metadata=ADDED)

    def __post_init__(self) -> None:
        check_choice("pooling", self.pooling, POOLINGS)
        if self.values.ndim != 3 or self.values.shape[0] != len(self.layer_names):
            raise InputError(f"values has shape {self.values.shape}; expected [{len(self.layer_names)}, n_samples, hidden_size].")
        object.__setattr__(self, "values", read_only(self.values, np.float32))
        object.__setattr__(self, "tokens", read_only(self.tokens, np.int64))
        if len(self.tokens) and self.tokens.shape != (self.values.shape[1], 2):
            raise InputError(f"tokens has shape {self.tokens.shape}; expected [{self.values.shape[1]}, 2], text and position of every row.")

    def row_texts(self) -> np.ndarray:
        """int64 [n_samples]: which text of the sample each row is of; texts that were left out have none."""
        if len(self.tokens):
            return self.tokens[:, 0]
        left_out = self.sinks.left_out if self.sinks is not None else ()
        return np.delete(np.arange(self.values.shape[1] + len(left_out)), list(left_out))
