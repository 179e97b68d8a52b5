"""A measurement carried out: what a quantity lacks is measured step by step and joins what is kept.

Does not depend on threads or on who waits.
"""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from typing import Any

from gelora.geometry import add_baselines, add_scale_curves, check_profile_options, estimate_profile, merge_profiles, unlike_layers
from gelora.measurements.identity_cache import IdentityCache
from gelora.measurements.quantity import Quantity
from gelora.measurements.spec import MeasurementSpec
from gelora.measurements.store import ResultStore
from gelora.records import HiddenStates, IdProfile, Progress, Sample, resolve_device
from gelora.sources import extract_hidden_states, load_sample

Turn = Callable[[Quantity | None], AbstractContextManager[None]]
"""Around each step of a measurement, None for the hidden states: waits until nothing else is under way."""


def profile_store() -> ResultStore[IdProfile]:
    """The ID profiles kept on this machine, by `MeasurementSpec.key`; a profile of a model or of data that have changed is replaced."""
    return ResultStore("profiles", IdProfile, _merge_profiles)


def measure(
    store: ResultStore[IdProfile],
    wanted: MeasurementSpec,
    quantity: Quantity,
    *,
    sample: Sample | None = None,
    again: bool = False,
    device: str = "cpu",
    turn: Turn = lambda step: nullcontext(),
    progress: Progress | None = None,
) -> None:
    """Measure what `quantity` (estimators, baselines or scales) lacks in `store`, and keep it there after each step.

    Args:
        store: of profiles.
        wanted: what is measured.
        quantity: of it; other estimators that a changed model or sample makes invalid are measured with it.
        sample: the texts of `wanted` where they are drawn already.
        again: measure all of `quantity`, whatever is there.
        device: "cpu", "cuda", or "auto" for the GPU where there is one.
        turn: around each step.
        progress: told how far the work is; may raise `Cancelled`.

    Raises:
        GeloraError: data or model cannot be had, or a choice is not legal.
    """
    options: dict[str, Any] = {name: getattr(wanted, name) for name in ("metric", "n_neighbors", "n_subsamples")}
    check_profile_options(**options)
    key, names = wanted.key(), quantity.names
    with turn(None):
        _, states = texts_and_states(wanted, sample, device, progress)
    profile = store.find(key)
    if quantity.kind == "scales":
        names = tuple(dict.fromkeys([*names, "plateau"]))  # what is marked on GRIDE's scale curve
    if profile is not None and unlike_layers(profile, states) is not None:  # model or data are others by now
        names, profile = tuple(dict.fromkeys([*names, *profile.estimates])), None
    lacking = names if again and quantity.kind == "estimators" else Quantity("estimators", names).missing(profile, None)
    for step in Quantity("estimators", lacking).steps():
        with turn(step):
            store.add(key, estimate_profile(states, step.names, **options, device=device, progress=progress))
    if quantity.kind == "estimators":
        return
    add = add_baselines if quantity.kind == "baselines" else add_scale_curves
    lacking = quantity.names if again else quantity.missing(store.find(key), None)
    for step in Quantity(quantity.kind, lacking).steps():
        with turn(step):
            held = store.find(key)
            assert held is not None  # its estimators were added above
            store.add(key, add(states, only(held, step.names), device=device, progress=progress))


def texts_and_states(wanted: MeasurementSpec, sample: Sample | None, device: str, progress: Progress | None) -> tuple[Sample, HiddenStates]:
    """The texts of a measurement, drawn unless given, and their hidden states, from the cache or through the model."""
    if sample is None:
        sample = load_sample(wanted.data, wanted.n_samples, wanted.seed, distinct=wanted.distinct, progress=progress)
    extraction = wanted.extraction() | {"dtype": wanted.dtype, "points": wanted.points}
    return sample, extract_hidden_states(wanted.model, sample, **extraction, device=device, progress=progress)


def measured(
    wanted: MeasurementSpec,
    sample: Sample,
    quantities: Sequence[Quantity],
    *,
    again: bool = False,
    device: str = "cpu",
    progress: Progress | None = None,
) -> tuple[IdProfile, bool]:
    """The profile with all of `quantities`, and whether all of it was kept from an earlier measurement of these very texts.

    Arguments and errors are those of `measure`.
    """
    store, key = profile_store(), wanted.key()
    held = store.find(key)
    is_of_these = held is not None and held.sample_source.texts_digest == sample.source.texts_digest
    was_there = True
    for quantity in quantities:
        if again or not is_of_these or quantity.missing(store.find(key), None):
            measure(store, wanted, quantity, sample=sample, again=again, device=device, progress=progress)
            is_of_these, was_there = True, False
    found = store.find(key)
    assert found is not None  # there before, or added by `measure`
    return only(found, quantities[0].names), was_there


@contextlib.contextmanager
def device_of_work() -> Iterator[str]:
    """The device for work on a model, "cuda" where there is one; after work that went well its cached memory is given back."""
    device = resolve_device("auto")
    yield device
    if device == "cuda":
        import torch

        torch.cuda.empty_cache()  # a fine-tuning run may want the memory next


def only(profile: IdProfile, names: Sequence[str]) -> IdProfile:
    """The profile with those of its estimators that are in `names`, in that order; the same record each time."""
    return _RESTRICTED.get(profile, tuple(names), lambda: _only(profile, names))


_RESTRICTED: IdentityCache[IdProfile] = IdentityCache(32)


def _only(profile: IdProfile, names: Sequence[str]) -> IdProfile:
    held = [name for name in names if name in profile.estimates]
    scales = {key: curve for key, curve in profile.scale_curves.items() if curve.kind == "neighbors" or curve.estimator in held}
    return replace(
        profile,
        estimates={name: profile.estimates[name] for name in held},
        subsamples={name: profile.subsamples[name] for name in held if name in profile.subsamples},
        scale_curves=scales,
        baselines={kind: {n: c for n, c in curves.items() if n in held} for kind, curves in profile.baselines.items()},
    )


def _merge_profiles(old: IdProfile, new: IdProfile) -> IdProfile:
    """Both as one; the new one alone when the old one is of a model or of data that have changed since."""
    return merge_profiles(old, new) if unlike_layers(old, new) is None else new
