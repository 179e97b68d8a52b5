"""What no estimator may notice: rotation, shift, scale, the order of the rows, coordinates that are zero."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from gelora.geometry import ESTIMATORS
from gelora.geometry.skdim_backend import SkdimEstimator

OWN = tuple(name for name, kind in ESTIMATORS.items() if not isinstance(kind.make(10, 0), SkdimEstimator))
OF_FEW_NEIGHBORS = tuple(name for name in OWN if ESTIMATORS[name].is_quick)
N_POINTS, K = 160, 10
ORDER_MATTERS = {"ph0": 0.2}  # it cuts a seeded order of the rows into parts: 4 times its spread over orders at N = 160


def dimension(name, X):
    return ESTIMATORS[name].make(K, 0).fit(X).dimension_


def cloud(rng, width=4):
    """Curved, of uneven density, in `width` coordinates of unlike spread."""
    z = rng.standard_normal((N_POINTS, width - 1))
    return np.column_stack([z, 0.5 * (z**2).sum(axis=1)]) * np.linspace(1, 2, width)


def test_every_own_estimator_is_here():
    assert set(OWN) == set(ESTIMATORS) - {"lpca", "tle", "mom", "fishers"}


def notices_nothing(name, seed, scale, pad, shift, rel):
    rng = np.random.default_rng(seed)
    X = cloud(rng)
    expected = dimension(name, X)
    rotation, _ = np.linalg.qr(rng.standard_normal((X.shape[1], X.shape[1])))
    for same in (X @ rotation, X + shift, scale * X, np.hstack([X, np.zeros((len(X), pad))])):
        assert dimension(name, same) == pytest.approx(expected, rel=rel)


ANY = {"seed": st.integers(0, 2**32 - 1), "scale": st.floats(1e-6, 1e6), "pad": st.integers(1, 20), "shift": st.floats(-1e3, 1e3)}


@pytest.mark.parametrize("name", OWN)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(**ANY)
def test_rotation_shift_scale_and_zero_padding(name, seed, scale, pad, shift):
    notices_nothing(name, seed, scale, pad, shift, rel=1e-6)


@pytest.mark.parametrize("name", OF_FEW_NEIGHBORS)
@settings(max_examples=20, deadline=None)
@given(**ANY | {"shift": st.just(0.0)})
def test_rotation_scale_and_zero_padding_of_other_clouds(name, seed, scale, pad, shift):
    """Those that are quick, on new clouds each time, and closer: a shift alone costs digits."""
    notices_nothing(name, seed, scale, pad, shift, rel=1e-7)


@pytest.mark.parametrize("name", OWN)
@settings(max_examples=6, deadline=None, derandomize=True)
@given(seed=st.integers(0, 2**32 - 1))
def test_order_of_the_rows(name, seed):
    rng = np.random.default_rng(seed)
    X = cloud(rng)
    assert dimension(name, rng.permutation(X)) == pytest.approx(dimension(name, X), rel=ORDER_MATTERS.get(name, 1e-9))


@pytest.mark.parametrize("name", OWN)
def test_embedding_in_a_wide_space(name):
    """All at once, as hidden states come: 4 coordinates turned into 768, of another scale, off centre."""
    rng = np.random.default_rng(3)
    X = cloud(rng)
    axes, _ = np.linalg.qr(rng.standard_normal((768, X.shape[1])))
    assert dimension(name, 37 * X @ axes.T + rng.standard_normal(768)) == pytest.approx(dimension(name, X), rel=1e-6)


@pytest.mark.parametrize("name", OWN)
def test_the_same_seed_gives_the_same_answer(name):
    X = cloud(np.random.default_rng(4))
    one, other = (ESTIMATORS[name].make(K, 4).fit(X) for _ in range(2))
    assert (one.dimension_, one.ci_low_, one.ci_high_) == (other.dimension_, other.ci_low_, other.ci_high_)
