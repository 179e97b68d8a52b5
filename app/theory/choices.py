"""What a person chooses on the Theory page: the choices as URL and session hold them, and the map that they mean.

Pure: no Streamlit. The entry file registers CHOICES with `app.state`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from app.shared.parsers import flag, number_in, one_of, real_in
from gelora.geometry import CHARTED, MAP_KINDS, MapSpec, needed_width

SHAPES = {"segment": "segment, d = 1", "spiral": "spiral, d = 1", "disc": "disc, d = 2"}
UPDATES = {"random": "random factors", "run": "a run's adapter"}
MAX_WIDTH = 60
SINK_NORMS = (1.0, 2.0, 3.5, 5.0, 7.0, 12.0, 25.0, 50.0, 100.0, 200.0)  # of a text's first token, in norms of the others


def _sink_norm(text: str) -> float:
    if float(text) not in SINK_NORMS:
        raise ValueError(text)
    return float(text)


# key of the widget and the URL -> default, and what reads it from text
CHOICES: dict[str, tuple[object, Callable[[str], object]]] = {
    "th_shape": ("spiral", one_of(*SHAPES)),
    "th_shape_noise": (0.02, real_in(0.0, 0.2)),
    "th_radius": (0.08, real_in(0.01, 0.5)),
    "th_two_d": (5, number_in(1, 30)),
    "th_two_n": (1000, number_in(100, 2000)),
    "th_sink_d": (10, number_in(2, 12)),
    "th_sink_norm": (100.0, _sink_norm),
    "th_manifold": ("clifford torus", one_of(*CHARTED)),
    "th_d": (5, number_in(1, 20)),
    "th_kind": ("linear", one_of(*MAP_KINDS)),
    "th_n_in": (30, number_in(1, MAX_WIDTH)),
    "th_n_out": (30, number_in(1, MAX_WIDTH)),
    "th_rank": (3, number_in(1, MAX_WIDTH)),
    "th_gain": (2.0, real_in(0.1, 50.0)),
    "th_context": (0, number_in(0, 20)),
    "th_noise": (0.0, real_in(0.0, 1.0)),
    "th_n": (1000, number_in(100, 2000)),
    "th_seed": (0, number_in(0, 1000)),
    "th_block": (1, number_in(1, 10_000)),
    "th_probes": (64, number_in(1, 16_384)),
    "th_points": (4, number_in(1, 16)),
    "th_update": ("random", one_of(*UPDATES)),
    "th_r": (4, number_in(1, 64)),
    "th_begun": (True, flag),
    "th_run": ("", str),
    "th_module": ("", str),
    "th_f_d": (3, number_in(2, 12)),
    "th_f_classes": (3, number_in(2, 6)),
    "th_f_bent": (True, flag),
    "th_planes": (3, number_in(1, 10)),
    "th_angle": (60, number_in(1, 180)),
}


@dataclass(frozen=True)
class MapChoice:
    """What decides the answers of the map's card; two equal ones give the same."""

    manifold: str
    n_samples: int
    dimension: int
    spec: MapSpec
    noise: float
    seed: int


def map_choice(chosen: Mapping[Any, Any]) -> MapChoice:
    """The map and the manifold that the session's values mean.

    Raises:
        InputError: the map's own words on what is not legal.
    """
    residual = chosen["th_kind"] == "residual"
    spec = MapSpec(
        chosen["th_kind"],
        chosen["th_n_in"],
        chosen["th_n_in"] if residual else chosen["th_n_out"],
        chosen["th_rank"],
        float(chosen["th_gain"]) if residual else 1.0,
        chosen["th_context"] if residual else 0,
        chosen["th_seed"],
    )
    return MapChoice(chosen["th_manifold"], chosen["th_n"], chosen["th_d"], spec, float(chosen["th_noise"]), chosen["th_seed"])


def limits(chosen: Mapping[Any, Any]) -> dict[str, tuple[int, int]]:
    """The least and the largest legal value of those choices that bound each other, in the order in which they do."""
    least = needed_width(chosen["th_manifold"], 1)
    d = max(d for d in range(1, 21) if needed_width(chosen["th_manifold"], d) <= MAX_WIDTH)
    n_in = needed_width(chosen["th_manifold"], min(chosen["th_d"], d))
    width = max(chosen["th_n_in"], n_in)
    n_out = width if chosen["th_kind"] == "residual" else chosen["th_n_out"]
    return {
        "th_d": (1, d),
        "th_n_in": (max(least, n_in), MAX_WIDTH),
        "th_rank": (1, n_out if chosen["th_kind"] == "hidden" else min(width, n_out)),
    }
