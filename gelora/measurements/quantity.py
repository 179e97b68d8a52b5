"""What of a measurement can be asked for: dimensions, their baselines, other scales, sensitivity to the choices, similarity of layers.

Names them, says which are missing, and in which steps they are shown; measures nothing.
"""

from dataclasses import dataclass

from gelora.geometry import ESTIMATORS
from gelora.records import IdProfile
from gelora.sensitivity import Sensitivity

KINDS = ("estimators", "baselines", "scales", "sensitivity", "similarity")


@dataclass(frozen=True)
class Quantity:
    """What is to be measured: a kind out of KINDS, and of which names.

    names: estimators; for "sensitivity" the choices that are made differently, and `focus` the estimator; for "similarity",
    which is measured whole, any one word.
    """

    kind: str
    names: tuple[str, ...]
    focus: str = ""

    def missing(self, profile: IdProfile | None, sensitivity: Sensitivity | None) -> tuple[str, ...]:
        """Those names that `profile` or `sensitivity` does not hold yet."""
        if self.kind == "sensitivity":
            return tuple(n for n in self.names if sensitivity is None or n not in {**sensitivity.curves, **sensitivity.notes})
        if profile is None:
            return self.names
        held: set[str] = set(profile.estimates)
        if self.kind == "baselines":
            held = set.intersection(*(set(curves) for curves in profile.baselines.values())) if profile.baselines else set()
        elif self.kind == "scales":
            held = {curve.estimator for curve in profile.scale_curves.values() if curve.kind == "decimation"}
        return tuple(name for name in self.names if name not in held)

    def steps(self) -> list["Quantity"]:
        """It in pieces whose results are worth showing before the rest is done, the quickest first."""
        if self.kind == "sensitivity":
            return [Quantity(self.kind, (name,), self.focus) for name in self.names]
        if self.kind == "similarity":
            return [self]
        quick = tuple(name for name in self.names if name in ESTIMATORS and ESTIMATORS[name].is_quick)
        slow = [(name,) for name in self.names if name not in quick]
        return [Quantity(self.kind, names) for names in ([quick] if quick else []) + slow]

    def words(self) -> str:
        """What is measured, for the line over the progress bar."""
        if self.kind == "sensitivity":
            return f"Sensitivity of {ESTIMATORS[self.focus].label}"
        if self.kind == "similarity":
            return "Similarity of the layers"
        labels = [ESTIMATORS[name].label for name in self.names]
        named = ", ".join(labels[:4]) + (f" and {len(labels) - 4} more" if len(labels) > 4 else "")
        return {"estimators": named, "baselines": f"Baselines of {named}", "scales": f"Other scales of {named}"}[self.kind]
