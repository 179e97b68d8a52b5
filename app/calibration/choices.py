"""What a person chooses on the Calibration page: the choices as URL and session hold them, and the cases that follow.

Pure: no Streamlit. The entry file registers CHOICES with `app.state`.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.shared.parsers import names_of_estimators, number_in, one_of, real_in
from gelora.errors import InputError
from gelora.geometry import ESTIMATORS, FIXED_DIMENSIONS, INTERVALS, MANIFOLDS, Case

SWEEPS = {"none": "none", "d": "d", "n": "N"}
N_SAMPLES = (100, 200, 300, 500, 1000, 2000, 5000)
DEFAULT_ESTIMATORS = ("twonn", "twonn-mle", "mle", "gride", "mind", "danco", "correlation", "ph0", "pca-pr")
_DIMENSIONS = (2, 3, 5, 8, 12, 20, 30, 50, 75, 100)
_LEAST_N = 100


@dataclass(frozen=True)
class CalibrationSpec:
    """What decides the answers on the page; two equal ones give the same."""

    manifold: str
    dimension: int
    width: int
    n_samples: int
    noise: float
    n_seeds: int
    sweep: str
    estimators: tuple[str, ...]
    interval: str

    @property
    def has_own_dimension(self) -> bool:
        """Whether the manifold has but one dimension, so that d cannot be swept."""
        return FIXED_DIMENSIONS[self.manifold] is not None

    @property
    def has_choice_of_width(self) -> bool:
        """Whether the manifold can be embedded in any number of coordinates; a benchmark manifold cannot."""
        return self.manifold in MANIFOLDS

    def cases(self) -> tuple[Case, ...]:
        """The cases to measure; under a sweep of d those that fit into the width.

        Raises:
            InputError: the case, or every case of the sweep, is not legal; the manifold's own words.
        """
        base = Case(self.manifold, self.n_samples, self.dimension, self.width, self.noise)
        if self.has_own_dimension:
            base = replace(base, dimension=None)
        if self.sweep == "n":
            sizes = [self.n_samples // 2**i for i in range(5)]
            wanted = [replace(base, n_samples=n) for n in reversed(sizes) if n >= _LEAST_N or n == self.n_samples]
        elif self.sweep == "d" and not self.has_own_dimension:
            dimensions = sorted({*(d for d in _DIMENSIONS if d < self.dimension), self.dimension})
            wanted = [replace(base, dimension=d) for d in dimensions]
        else:
            wanted = [base]
        legal = tuple(case for case in wanted if _fits(case))
        if not legal:
            wanted[0].points(0)
        return legal

    def sentence(self) -> str:
        """The choice in words, for "measured with ..."."""
        shape = self.manifold if self.has_own_dimension else f"{self.manifold}, d = {self.dimension}"
        shape += f", width {self.width}" if self.has_choice_of_width else ""
        swept = {"none": "", "d": ", d swept", "n": ", N swept"}[self.sweep]
        noise = f", noise {self.noise:g}" if self.noise else ""
        return f"{shape}, N = {self.n_samples}{noise}, {self.n_seeds} seeds, {len(self.estimators)} estimators{swept}"


def _fits(case: Case) -> bool:
    if case.manifold not in MANIFOLDS:  # it comes with all that it needs, and drawing it loads a library
        return True
    try:
        replace(case, n_samples=2).points(0)
    except InputError:
        return False
    return True


def calibration_spec(chosen: Mapping[Any, Any]) -> CalibrationSpec:
    """The calibration that the session's values mean."""
    return CalibrationSpec(
        manifold=chosen["cal_manifold"],
        dimension=chosen["cal_d"],
        width=chosen["cal_width"],
        n_samples=chosen["cal_n"],
        noise=float(chosen["cal_noise"]),
        n_seeds=chosen["cal_seeds"],
        sweep=chosen["cal_sweep"],
        estimators=tuple(name for name in ESTIMATORS if name in chosen["cal_estimators"]),
        interval=chosen["cal_interval"],
    )


# key of the widget and the URL -> default, and what reads it from text
CHOICES: dict[str, tuple[object, Callable[[str], object]]] = {
    "cal_manifold": ("sphere", one_of(*FIXED_DIMENSIONS)),
    "cal_d": (5, number_in(1, 500)),
    "cal_width": (50, number_in(1, 5000)),
    "cal_n": (500, number_in(20, 20_000)),
    "cal_noise": (0.0, real_in(0.0, 10.0)),
    "cal_seeds": (3, number_in(1, 100)),
    "cal_sweep": ("none", one_of(*SWEEPS)),
    "cal_estimators": (list(DEFAULT_ESTIMATORS), names_of_estimators),
    "cal_interval": ("own", one_of(*INTERVALS)),
    "cal_focus": ("twonn", one_of(*ESTIMATORS)),
}
