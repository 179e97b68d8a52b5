"""Ranks by hand: marked, undoable, alpha / r held."""

import pytest
from hypothesis import given, strategies as st

from gelora.errors import InputError
from gelora.ranks import allocate_ranks, edit_ranks, uniform_ranks
from gelora.records import RankPlan


def test_an_edit_is_marked_and_keeps_alpha_over_r(make_profile):
    plan = allocate_ranks(make_profile([10.0, 12.0, 11.0]), offset=0)  # block 2 has rank 0
    edited = edit_ranks(plan, {"layers.0.q": 5, "layers.1.v": 1})
    assert edited.ranks["layers.0.q"] == 5 and edited.alphas["layers.0.q"] == 160.0
    assert edited.ranks["layers.1.v"] == 1 and edited.alphas["layers.1.v"] == 32.0
    assert edited.edits == {"layers.0.q": 2, "layers.1.v": 0}
    assert edited.ranks["layers.0.k"] == plan.ranks["layers.0.k"]
    assert RankPlan.from_json(edited.to_json()) == edited


def test_undo_gives_the_plan_back_whole_or_module_by_module(make_profile):
    plan = allocate_ranks(make_profile([10.0, 12.0, 11.0]))
    edited = edit_ranks(edit_ranks(plan, {"layers.0.q": 5}), {"layers.0.q": 7, "layers.1.q": 0})
    assert edited.edits["layers.0.q"] == 3  # what it was before the first edit
    assert edit_ranks(edited, edited.edits) == plan
    assert edit_ranks(edited, {"layers.1.q": 1}) == edit_ranks(plan, {"layers.0.q": 7})
    assert edit_ranks(edited, {"layers.0.q": 3, "layers.1.q": 1}) == plan  # back by hand is no edit


@pytest.mark.parametrize(
    ("ranks", "sentence"),
    [
        ({"layers.9.q": 1}, "no module 'layers.9.q'"),
        ({"layers.0.q": 9}, "is 9; its matrix has 8 as the smaller side, so it must be from 0 to 8"),
        ({"layers.0.q": -1}, "is -1; it must be a whole number of at least 0"),
        ({"layers.0.q": 1.5}, "is 1.5"),
        (dict.fromkeys([f"layers.0.{kind}" for kind in "qkvo"], 0), "nothing to train"),
    ],
)
def test_illegal_edits_are_one_sentence(make_structure, ranks, sentence):
    with pytest.raises(InputError, match=sentence):
        edit_ranks(uniform_ranks(make_structure(1), 2), ranks)


@given(st.dictionaries(st.sampled_from([f"layers.{b}.{k}" for b in (0, 1) for k in "qkvo"]), st.integers(0, 8), max_size=7))
def test_any_edits_can_be_undone(make_structure, ranks):
    plan = uniform_ranks(make_structure(2), 3)
    edited = edit_ranks(plan, ranks)
    assert edited.edits == {name: 3 for name, rank in ranks.items() if rank != 3}
    assert edit_ranks(edited, edited.edits) == plan
