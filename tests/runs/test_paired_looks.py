"""Intervals of a race that is watched hold at all evaluations together, where those of one evaluation do not."""

import numpy as np
import pytest

from gelora.errors import InputError
from gelora.runs.records.paired_looks import best_arm, paired_look, share_of_look

N_LOOKS, N_ROWS, N_RACES = 24, 150, 600


def watched(rng):
    """Rows of three arms at every look: the rows stay, the models move on, and the differences with them."""
    counted = rng.integers(1, 30, N_ROWS).astype(float)
    hard = rng.gamma(2.0, 1.0, N_ROWS)
    taste = rng.normal(0, 0.3, (3, N_ROWS))
    for look in range(1, N_LOOKS + 1):
        truth = np.array([0.0, 0.05 / look, -0.1 * look / N_LOOKS])
        taste = 0.8 * taste + rng.normal(0, 0.2, (3, N_ROWS))
        per_token = hard / look + truth[:, None] + taste
        yield look, per_token * counted, counted, truth


def test_all_looks_of_a_race_are_held_together_in_95_of_100():
    rng, held, held_by_single = np.random.default_rng(0), 0, 0
    for _ in range(N_RACES):
        inside, inside_single = True, True
        for look, lost, counted, truth in watched(rng):
            differences, low, high = paired_look(lost, counted, 0, look)
            inside &= bool(low[1] <= truth[1] <= high[1])
            _, low, high = paired_look(lost, counted, 0, 1)
            width = (high[1] - low[1]) / 2 * 1.976 / 2.264  # of the 95% interval of one look, by Student's t of 149
            inside_single &= bool(abs(differences[1] - truth[1]) <= width)
        held += inside
        held_by_single += inside_single
    assert held / N_RACES >= 0.95 - 3 * np.sqrt(0.95 * 0.05 / N_RACES)
    assert held_by_single / N_RACES < 0.9  # what looking early without it would cost


def test_the_shares_of_all_looks_come_to_five_percent():
    assert sum(share_of_look(look) for look in range(1, 100_000)) == pytest.approx(0.05, rel=1e-4)
    with pytest.raises(InputError, match="look is 0"):
        share_of_look(0)


def test_differences_are_paired_and_the_reference_has_none():
    rows = np.random.default_rng(1).gamma(2.0, 5.0, 400)
    lost = np.stack([rows, rows + 0.2, np.full(400, np.nan)])
    differences, low, high = paired_look(lost, np.ones(400), 0, 3)
    assert (differences[0], low[0], high[0]) == (0.0, 0.0, 0.0)
    assert [low[1], high[1]] == pytest.approx([0.2, 0.2])  # every row by as much
    assert np.isnan(differences[2]) and np.isnan(low[2])
    with pytest.raises(InputError, match="two held-out rows or more"):
        paired_look(lost[:, :1], np.ones(1), 0, 1)


def test_of_several_rates_the_best_stands_for_its_name():
    assert best_arm(["a", "b", "b", "b"], np.array([0.0, 2.0, 1.0, np.nan]), "b") == 2
    with pytest.raises(InputError, match="no arm 'c'; choose one of: a, b"):
        best_arm(["a", "b", "b"], np.zeros(3), "c")
