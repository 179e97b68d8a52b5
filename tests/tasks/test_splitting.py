"""Rows to train on and rows held out: seeded, in proportion to classes, no text on both sides."""

import numpy as np
from hypothesis import given, settings, strategies as st

from gelora.tasks.splitting import draw, part


def test_both_parts_have_the_classes_in_proportion():
    classes = np.array([int(i % 4 == 0) for i in range(100)])
    train, held_out = part([(f"t{i}",) for i in range(100)], 20, 5, classes)
    assert len(held_out) == 20 and classes[held_out].sum() == 5
    assert sorted([*train.tolist(), *held_out.tolist()]) == list(range(100))
    assert classes[draw(100, 20, 5, classes)].sum() == 5


def test_a_split_is_the_same_for_the_same_seed():
    keys = [(f"t{i}",) for i in range(30)]
    one, again, other = (part(keys, 10, seed)[1].tolist() for seed in (1, 1, 2))
    assert one == again != other
    assert draw(30, 10, 1).tolist() == draw(30, 10, 1).tolist() != draw(30, 10, 2).tolist()


@settings(max_examples=60, deadline=None)
@given(
    pairs=st.lists(st.tuples(st.integers(0, 60), st.integers(0, 60), st.integers(0, 2)), min_size=12, max_size=40),
    seed=st.integers(0, 1000),
)
def test_no_text_stands_on_both_sides_of_a_split_even_where_rows_share_texts(pairs, seed):
    keys = [(f"t{a}", f" T{b}") for a, b, _ in pairs]  # case and spaces make no other text
    train, held_out = part(keys, 4, seed, np.array([c for *_, c in pairs]))
    texts = [{key.strip().lower() for i in rows for key in keys[i]} for rows in (train.tolist(), held_out.tolist())]
    assert not texts[0] & texts[1]
    assert len(held_out) <= 4 and len(train) + len(held_out) == len(pairs)


def test_rows_that_all_share_a_text_are_all_trained_on():
    train, held_out = part([("same",)] * 10, 3, 0)
    assert (len(train), len(held_out)) == (10, 0)
