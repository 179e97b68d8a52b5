"""What decides an ID profile: model, data, draw, pooling, sinks and what the estimators look at; and the key it is kept under.

Reads no data and measures nothing.
"""

import json
from dataclasses import dataclass, fields
from typing import Any

from gelora.measurements.store import file_state, key_of
from gelora.records import SINK_RATIO, DataChoice, IdProfile, default_sinks

_LATER = ("metric", "n_neighbors", "n_subsamples", "dtype", "points")
_FORMAT = 6  # raise it when the same measurement would now give other numbers


@dataclass(frozen=True)
class MeasurementSpec:
    """What decides an ID profile; two equal ones give the same profile.

    sinks: None is the pooling's default, however it was chosen. The last five are what only the command line and the library
    choose: the estimators' metric and number of neighbors, random halves behind each interval, weights' dtype,
    and whether the middles of blocks are looked at too.
    """

    model: str
    data: DataChoice
    n_samples: int
    seed: int
    distinct: bool
    pooling: str
    max_length: int
    sinks: str | None = None
    sink_ratio: float = SINK_RATIO
    metric: str = "euclidean"
    n_neighbors: int = 20
    n_subsamples: int = 20
    dtype: str = "float32"
    points: str = "blocks"

    def __post_init__(self) -> None:
        if self.sinks == default_sinks(self.pooling):
            object.__setattr__(self, "sinks", None)

    @property
    def treatment(self) -> str:
        """What is done about attention sinks: "drop", "keep" or "unit"."""
        return self.sinks or default_sinks(self.pooling)

    @classmethod
    def of(cls, profile: IdProfile) -> "MeasurementSpec":
        """The spec that a profile was measured by, as far as a profile says it: its columns are those that were found."""
        source, sinks = profile.sample_source, profile.sinks
        return cls(
            profile.model.model_id,
            source.choice,
            source.n_samples,
            source.seed,
            source.distinct,
            profile.pooling,
            profile.max_length,
            "keep" if sinks is None else sinks.treatment,
            SINK_RATIO if sinks is None else sinks.ratio,
            profile.metric,
            profile.n_neighbors,
            next((len(halves) for halves in profile.subsamples.values()), 20),
            points=profile.model.points,
        )

    def key(self, *more: object) -> str:
        """The name that its results are kept under: another one when the file of the data or of the model has changed."""
        choices = {field.name: getattr(self, field.name) for field in fields(self) if field.name != "data"}
        later = {field.name: field.default for field in fields(self) if field.name in _LATER}
        choices = {name: value for name, value in choices.items() if name not in later or value != later[name]}
        return key_of(_FORMAT, choices, json.loads(self.data.to_json()), file_state(self.data.dataset), file_state(self.model), *more)

    def extraction(self) -> dict[str, Any]:
        """The options that `extract_hidden_states`, `states_kept` and `measure_sensitivity` share."""
        names = ("pooling", "max_length", "sinks", "sink_ratio")
        return {name: getattr(self, name) for name in names}

    def sentence(self) -> str:
        """The choice in words, for "measured with ..."."""
        sinks = "" if self.sinks is None else f", sinks {self.sinks}"
        ratio = "" if self.sink_ratio == SINK_RATIO else f", sink ratio {self.sink_ratio:g}"
        return (
            f"{self.model} on {self.data.dataset}, N = {self.n_samples}, pooling {self.pooling}{sinks}{ratio}, "
            f"{self.max_length} tokens, seed {self.seed}{'' if self.distinct else ', repeats kept'}"
        )
