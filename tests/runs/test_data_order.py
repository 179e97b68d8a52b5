"""The order of an epoch's rows: everything once, like lengths together, the same for the same seed and epoch."""

import numpy as np
import pytest

from gelora.runs.training.data_order import GroupedByLength


def order_of(lengths, batch_size=4, seed=0, epoch=0):
    return GroupedByLength(lengths, batch_size, seed, lambda: epoch)


@pytest.fixture
def lengths():
    return np.random.default_rng(3).integers(3, 90, 463).tolist()


def test_every_row_comes_once(lengths):
    assert sorted(order_of(lengths)) == list(range(len(lengths)))


def test_it_follows_from_seed_and_epoch_alone(lengths):
    assert list(order_of(lengths)) == list(order_of(lengths))
    assert list(order_of(lengths)) != list(order_of(lengths, seed=1))
    assert list(order_of(lengths)) != list(order_of(lengths, epoch=1))
    assert list(order_of(lengths, epoch=2)) == order_of(lengths).order(2).tolist()


def test_batches_hold_rows_of_like_length(lengths):
    rows = order_of(lengths).order(0)
    spread = [np.ptp(np.take(lengths, rows[i : i + 4])) for i in range(0, 460, 4)]
    assert np.mean(spread) < 5  # a plain shuffle has about 50


def test_the_longest_row_is_in_the_first_batch_and_what_is_left_over_comes_last():
    lengths = [5] * 30 + [99]
    rows = order_of(lengths).order(0)
    assert 30 in rows[:4]
    assert len(rows) == 31


def test_lengths_of_the_batches_do_not_fall_through_the_epoch(lengths):
    rows = order_of(lengths).order(1)
    means = [np.mean(np.take(lengths, rows[i : i + 4])) for i in range(4, 460, 4)]
    assert abs(np.corrcoef(np.arange(len(means)), means)[0, 1]) < 0.25


def test_fewer_rows_than_a_batch():
    assert sorted(order_of([3, 4], batch_size=8)) == [0, 1]


def test_tokens_and_rows_between_steps(lengths):
    order = order_of(lengths)
    rows = order.order(0)
    assert order.steps_per_epoch == 116
    assert order.tokens_between(0, 3) == sum(lengths[i] for i in rows[:12])
    assert order.tokens_between(0, 116) == sum(lengths)
    assert order.rows_between(115, 116) == 463 - 4 * 115
    second = order.order(1)
    assert order.tokens_between(115, 118) == sum(lengths[i] for i in rows[460:]) + sum(lengths[i] for i in second[:8])
    assert order.rows_between(0, 232) == 2 * 463
