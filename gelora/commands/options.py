"""Options that several commands share, as the library takes them."""

import argparse
from typing import TYPE_CHECKING, Any, TypeVar

from gelora.errors import InputError
from gelora.records import DataChoice, Progress, Sample

if TYPE_CHECKING:
    from gelora.measurements import MeasurementSpec

_N = TypeVar("_N", int, float)


def data_choice(options: argparse.Namespace) -> DataChoice:
    """The data that --dataset and the options beside it name."""
    return DataChoice(
        options.dataset,
        options.config,
        options.split,
        options.text_column,
        options.pair_column,
        options.label_column,
        label_task=options.label_task,
        encoding=options.encoding,
        header=None if options.header is None else options.header == "yes",
        separator=options.separator,
        skip_bad_rows=options.skip_bad_rows,
    )


def measurement_spec(options: argparse.Namespace, model: str, data: DataChoice, **more: Any) -> "MeasurementSpec":
    """The measurement that the sample's options name (--n-samples to --n-neighbors); `more`: its other fields."""
    from gelora.measurements import MeasurementSpec

    return MeasurementSpec(
        model,
        data,
        options.n_samples,
        options.seed,
        not options.keep_repeats,
        options.pooling,
        options.max_length,
        options.sinks,
        options.sink_ratio,
        n_neighbors=options.n_neighbors,
        points=getattr(options, "points", "blocks"),  # a sensitivity has none
        **more,
    )


def drawn_sample(wanted: "MeasurementSpec", progress: Progress) -> Sample:
    """The texts of a measurement."""
    from gelora.sources import load_sample

    return load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=progress)


def strategy_names() -> tuple[str, ...]:
    """What `gelora plan --strategy` takes; spelled here so that `gelora --help` loads no wing (a test holds it to STRATEGIES)."""
    return (
        "gelora",
        "uniform",
        "depth-increasing",
        "depth-decreasing",
        "random",
        "gradient",
        "fisher",
        "eva",
        "weight-spectrum",
        "look-back",
    )


def names(text: str) -> list[str]:
    """A comma-separated option as its parts."""
    return [name.strip() for name in text.split(",") if name.strip()]


def numbers(option: str, text: str, kind: "type[_N]", such_as: str) -> "list[_N]":
    """A comma-separated option as numbers, each once.

    Raises:
        InputError: a part is no such number.
    """
    try:
        return list(dict.fromkeys(kind(word) for word in names(text)))
    except ValueError as error:
        what = "whole numbers" if kind is int else "numbers"
        raise InputError(f"{option} {text!r} is not a list of {what} with commas, such as {such_as}.") from error
