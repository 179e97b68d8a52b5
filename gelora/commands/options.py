"""Options that several commands share, as the library takes them."""

import argparse

from gelora.records import DataChoice, HiddenStates, Progress, Sample


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


def drawn_sample(options: argparse.Namespace, data: DataChoice, progress: Progress) -> Sample:
    """The sample that --n-samples, --seed and --keep-repeats draw from the data."""
    from gelora.sources import load_sample

    return load_sample(data, options.n_samples, options.seed, distinct=not options.keep_repeats, progress=progress)


def states_of_sample(options: argparse.Namespace, model: str, sample: Sample, progress: Progress, dtype: str = "float32") -> HiddenStates:
    """The hidden states that --pooling, --sinks, --sink-ratio, --max-length and --device give."""
    from gelora.sources import extract_hidden_states

    return extract_hidden_states(
        model,
        sample,
        pooling=options.pooling,
        sinks=options.sinks,
        sink_ratio=options.sink_ratio,
        max_length=options.max_length,
        device=options.device,
        dtype=dtype,
        progress=progress,
    )


def resolved_device(device: str) -> str:
    """`auto` as the device that is there: cuda when torch sees one, else cpu."""
    if device != "auto":
        return device
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def strategy_names() -> tuple[str, ...]:
    """What `gelora plan --strategy` takes; spelled here so that `gelora --help` loads no wing (a test holds it to STRATEGIES)."""
    return ("gelora", "uniform", "depth-increasing", "depth-decreasing", "random", "gradient", "fisher", "eva", "weight-spectrum")


def names(text: str) -> list[str]:
    """A comma-separated option as its parts."""
    return [name.strip() for name in text.split(",") if name.strip()]
