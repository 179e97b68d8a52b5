"""Noise's edge against simulated products of random factors and Marchenko and Pastur's own; planted directions are counted."""

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.ranks import directions_above_noise, noise_edge, spectrum_of


def product(rng, r: int, n_in: int, n_out: int, planted: int = 0, mixed: bool = False):
    """Spectrum of a random B·A; `planted` of its r directions are orthonormal ones, three times as strong as noise's edge."""
    a, b = rng.standard_normal((r, n_in)), rng.standard_normal((n_out, r))
    if planted:
        a[:planted] = np.linalg.qr(rng.standard_normal((n_in, planted)))[0].T
        b[:, :planted] = 3 * np.sqrt(noise_edge(r, n_in, n_out) * n_in * n_out) * np.linalg.qr(rng.standard_normal((n_out, planted)))[0]
    if mixed:
        mix = np.linalg.qr(rng.standard_normal((r, r)))[0]
        a, b = mix @ a, b @ mix.T
    return spectrum_of(a, b, 0.5)


def test_with_one_endless_side_it_is_marchenko_and_pastur_s_edge():
    for n in (4, 16, 64):
        wide = noise_edge(n, 384, 10**12)
        assert (1 + np.sqrt(n / 384)) ** 2 < wide
        # Johnstone's scale of the largest eigenvalue, in units of the mean: (1 + sqrt g)(1 + 1 / sqrt g)^(1/3) n^(-2/3) sqrt g
        g = n / 384
        scale = (np.sqrt(384) + np.sqrt(n)) * (1 / np.sqrt(384) + 1 / np.sqrt(n)) ** (1 / 3) / 384
        assert wide == pytest.approx((1 + np.sqrt(g)) ** 2 + 2.0234 * scale, rel=1e-6)


@pytest.mark.parametrize("r, n_in, n_out", [(4, 384, 384), (16, 384, 1536), (64, 768, 768)])
def test_noise_has_no_direction(r, n_in, n_out):
    rng = np.random.default_rng([r, n_in])
    found = [product(rng, r, n_in, n_out).n_above_noise for _ in range(100)]
    assert sum(n > 0 for n in found) <= 5


@pytest.mark.parametrize("mixed", [False, True])
@pytest.mark.parametrize("r, planted", [(4, 1), (8, 4), (16, 15), (16, 3), (64, 20)])
def test_planted_directions_are_counted(r, planted, mixed):
    rng = np.random.default_rng([r, planted])
    found = [product(rng, r, 768, 384, planted, mixed).n_above_noise for _ in range(20)]
    assert np.mean(np.equal(found, planted)) >= 0.95


def test_an_untrained_adapter_and_a_single_value_have_no_direction():
    assert directions_above_noise(np.zeros(4), 100, 100) == directions_above_noise(np.ones(1), 100, 100) == 0
    with pytest.raises(InputError, match="n_values is 0"):
        noise_edge(0, 10, 10)


def test_the_other_ranks_by_hand():
    # singular values 2, 1, 1 and one of 0.1: squares 4, 1, 1, 0.01
    values = np.array([2.0, 1.0, 1.0, 0.1])
    found = spectrum_of(np.eye(4, 50), np.eye(60, 4) * values, 1.0)
    assert found.norm == pytest.approx(np.sqrt(6.01)) and found.stable_rank == pytest.approx(6.01 / 4)
    assert [found.energy_rank(share) for share in (0.5, 0.83, 0.99, 1.0)] == [1, 2, 3, 4]
    untrained = spectrum_of(np.eye(4, 50), np.zeros((60, 4)), 1.0)
    assert (untrained.stable_rank, untrained.energy_rank(), untrained.n_above_noise) == (0.0, 0, 0)
