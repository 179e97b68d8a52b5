"""The GeLoRA rule on curves that can be worked out on paper."""

import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, strategies as st

from gelora.errors import InputError
from gelora.ranks import allocate_ranks, uniform_ranks
from gelora.records import RankPlan

# Published by us: TwoNN of the bundled model, mean pooling, STS-B.
STSB = [14.4, 13.9, 13.6, 13.2, 13.2, 13.0, 14.1]

curves = st.lists(st.none() | st.floats(0, 60, allow_nan=False), min_size=2, max_size=6)
roundings = st.sampled_from(["ceil", "round", "round-each"])


def test_a_rise_is_rounded_up_and_a_fall_counts_as_nothing(make_profile):
    assert allocate_ranks(make_profile(STSB)).block_ranks() == {1: 1, 2: 1, 3: 1, 4: 1, 5: 1, 6: 3}
    plan = allocate_ranks(make_profile([10.0, 12.5, 11.0, 14.0]), offset=2)
    assert plan.block_ranks() == {1: 5, 2: 2, 3: 5}
    assert plan.strategy == "gelora" and plan.offset == 2 and plan.rounding == "ceil" and plan.estimator == "twonn"
    assert plan.block_notes == {}


def test_every_adapted_matrix_of_a_block_gets_its_rank_and_the_same_scaling(make_profile):
    plan = allocate_ranks(make_profile([10.0, 12.5, 11.0]), "attention", offset=1)
    assert {name.rsplit(".", 1)[1] for name in plan.ranks} == {"q", "k", "v", "o"}
    assert {plan.ranks[m.name] for m in plan.modules if m.block == 1} == {4}
    assert {plan.alphas[name] / r for name, r in plan.ranks.items()} == {32.0}


@pytest.mark.parametrize(
    ("rounding", "curve", "expected"),
    [
        ("ceil", [1.0, 2.0], 1),
        ("ceil", [1.0, 2.0000000001], 1),  # float noise over a whole number
        ("ceil", [1.0, 2.001], 2),
        ("ceil", [1.0, 1.001], 1),
        ("ceil", [1.0, 1.0000000001], 0),
        ("ceil", [0.1 + 0.2, 3.3], 3),  # 0.30000000000000004
        ("round", [1.0, 1.4999], 0),
        ("round", [1.0, 1.5], 1),
        ("round", [1.0, 3.5], 3),  # halves go up, not to the even number
        ("round", [1.2, 2.8], 2),
        ("round-each", [1.2, 2.8], 2),
        ("round-each", [1.4, 1.6], 1),  # 1 -> 2
        ("round-each", [1.6, 2.4], 0),  # 2 -> 2
        ("round-each", [0.5, 2.5], 2),  # 1 -> 3
        ("ceil", [5.0, 1.0], 0),
        ("round", [5.0, 1.0], 0),
        ("round-each", [5.0, 1.0], 0),
    ],
)
def test_rounding(make_profile, rounding, curve, expected):
    assert allocate_ranks(make_profile(curve), offset=1, rounding=rounding).block_ranks() == {1: expected + 1}


@pytest.mark.parametrize("rounding", ["ceil", "round", "round-each"])
def test_an_undefined_end_leaves_the_offset_alone_and_says_why(make_profile, rounding):
    plan = allocate_ranks(make_profile([None, 20.0, 21.0, None, None]), offset=2, rounding=rounding)
    assert plan.block_ranks() == {1: 2, 2: 3, 3: 2, 4: 2}
    assert list(plan.block_notes) == [1, 3, 4]
    assert "embeddings" in plan.block_notes[1] and "28 distinct vectors of 2000" in plan.block_notes[1]
    assert plan.block_notes[1].endswith("so the rule gives the offset alone")
    assert "block 3" in plan.block_notes[3] and "block 4" in plan.block_notes[4]


def test_blocks_without_an_adapted_matrix_get_no_note(make_profile):
    plan = allocate_ranks(make_profile([None, 20.0, 21.0, None]), ["layers.0.q", "layers.1.q"])
    assert list(plan.block_notes) == [1] and list(plan.block_ranks()) == [1, 2]


def test_a_rank_is_cut_at_the_smaller_side_and_the_block_says_so(make_profile, make_structure):
    profile = make_profile([1.0, 40.0, 40.0], make_structure(2))
    plan = allocate_ranks(profile, "all-linear", offset=1)
    assert [plan.ranks[f"layers.0.{kind}"] for kind in ("q", "o", "mlp")] == [8, 8, 12]
    assert plan.alphas["layers.0.q"] == 32.0 * 8
    assert list(plan.block_notes) == [1]
    assert "rank 40 is cut to 8, 12" in plan.block_notes[1] and "mlp" in plan.block_notes[1]
    both = allocate_ranks(make_profile([None, 1.0]), offset=20)
    assert "offset alone" in both.block_notes[1] and "rank 20 is cut to 8" in both.block_notes[1]


def test_with_offset_zero_a_block_without_a_rise_leaves_the_adapter(make_profile):
    plan = allocate_ranks(make_profile([10.0, 12.0, 11.0]), offset=0)
    assert plan.block_ranks() == {1: 2, 2: 0}
    assert plan.alphas["layers.1.q"] == 0.0
    with pytest.raises(InputError, match=r"nothing to train; raise the offset"):
        allocate_ranks(make_profile([12.0, 11.0, None]), offset=0)


def test_the_estimator_is_chosen_by_name(make_profile):
    profile = make_profile([10.0, 12.0], mle=[10.0, 15.0])
    assert allocate_ranks(profile, estimator="mle").block_ranks() == {1: 6}
    assert allocate_ranks(profile, estimator="mle").estimator == "mle"
    with pytest.raises(InputError, match="'danco'; choose one of: twonn, mle"):
        allocate_ranks(profile, estimator="danco")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"offset": -1}, "offset is -1; it must be a whole number of at least 0"),
        ({"offset": 1.0}, "offset is 1.0; it must be a whole number"),
        ({"offset": True}, "offset is True"),
        ({"offset": "2"}, "offset is '2'"),
        ({"offset": None}, "offset is None"),
        ({"rounding": "floor"}, "'floor'; choose one of: ceil, round, round-each"),
        ({"scaling": 0}, "scaling .* is 0; it must be a positive number"),
        ({"scaling": float("nan")}, "scaling .* is nan"),
        ({"scaling": float("inf")}, "scaling .* is inf"),
        ({"scaling": "32"}, "scaling .* is '32'"),
        ({"scaling": True}, "scaling .* is True"),
        ({"target_modules": "nonsense"}, "nonsense"),
        ({"target_modules": []}, "empty list"),
    ],
)
def test_illegal_options_are_refused(make_profile, options, sentence):
    with pytest.raises(InputError, match=sentence):
        allocate_ranks(make_profile(STSB), **options)


def test_numpy_integers_are_whole_numbers_too(make_profile):
    plan = allocate_ranks(make_profile(STSB), offset=np.int64(2))
    assert RankPlan.from_json(plan.to_json()) == plan


def test_a_profile_of_another_length_than_its_model_is_refused(make_profile, make_structure):
    with pytest.raises(InputError, match="3 layers, its model 4 blocks; expected 5"):
        allocate_ranks(make_profile([1.0, 2.0, 3.0], make_structure(4)))


def test_modules_can_be_named_and_the_plan_remembers_how(make_profile):
    plan = allocate_ranks(make_profile([1.0, 2.0]), ["q", "mlp"])
    assert set(plan.ranks) == {"layers.0.q", "layers.0.mlp"}
    assert plan.target_modules == "q,mlp"
    assert set(allocate_ranks(make_profile([1.0, 2.0]), plan.target_modules).ranks) == set(plan.ranks)


def test_the_plan_says_what_it_was_made_from(make_profile):
    profile = make_profile(STSB)
    plan = allocate_ranks(profile)
    assert (plan.model_id, plan.revision, plan.n_model_params) == ("a-model", "rev", 5000)
    assert plan.profile_digest == profile.digest()


def test_uniform_ranks_are_the_same_everywhere_and_cut_where_a_side_is_smaller(make_structure):
    plan = uniform_ranks(make_structure(3), 10, "all-linear")
    assert {plan.ranks[m.name] for m in plan.modules if m.kind == "mlp"} == {10}
    assert {plan.ranks[m.name] for m in plan.modules if m.kind != "mlp"} == {8}
    assert all("rank 10 is cut to 8" in plan.block_notes[block] for block in (1, 2, 3))
    assert (plan.strategy, plan.offset, plan.rounding, plan.estimator, plan.profile_digest) == ("uniform", None, None, None, None)
    for r in (0, -1, 2.5, True):
        with pytest.raises(InputError, match=r"r is .* at least 1"):
            uniform_ranks(make_structure(3), r)


@given(curve=curves, offset=st.integers(1, 12), rounding=roundings, kind=st.sampled_from(["attention", "mlp", "all-linear"]))
def test_ranks_are_legal_and_an_offset_more_is_a_rank_more(make_profile, curve, offset, rounding, kind):
    profile = make_profile(curve)
    plan = allocate_ranks(profile, kind, offset, rounding)
    more = allocate_ranks(profile, kind, offset + 1, rounding)
    for module in plan.modules:
        limit = min(module.in_features, module.out_features)
        r = plan.ranks[module.name]
        assert 1 <= r <= limit
        assert more.ranks[module.name] == min(r + 1, limit)
        assert plan.alphas[module.name] == 32.0 * r
        is_undefined = curve[module.block] is None or curve[module.block - 1] is None
        assert r >= min(offset, limit) and (not is_undefined or r == min(offset, limit))
    assert RankPlan.from_json(plan.to_json()) == plan


@given(curve=curves, rounding=roundings, seed=st.integers(0, 99))
def test_a_block_s_rank_does_not_depend_on_the_order_or_number_of_modules(make_profile, make_structure, curve, rounding, seed):
    n_layers = len(curve) - 1
    kinds = [("q", 60, 60), ("k", 60, 60), ("mlp", 60, 99)]
    plan = allocate_ranks(make_profile(curve, make_structure(n_layers, kinds)), "all-linear", 1, rounding)
    random.Random(seed).shuffle(kinds)
    shuffled = allocate_ranks(make_profile(curve, make_structure(n_layers, kinds)), "all-linear", 1, rounding)
    assert shuffled.ranks == plan.ranks
    alone = allocate_ranks(make_profile(curve, make_structure(n_layers, kinds)), ["q"], 1, rounding)
    assert alone.block_ranks() == plan.block_ranks()


@given(curve=st.lists(st.floats(0, 20), min_size=2, max_size=6), shift=st.integers(0, 30), rounding=roundings)
def test_only_differences_count(make_profile, curve, shift, rounding):
    # Shifts by whole numbers, on dimensions that are exact in binary, so that no rounding of floats comes in.
    curve = [round(d * 8) / 8 for d in curve]
    plain = allocate_ranks(make_profile(curve), rounding=rounding)
    assert allocate_ranks(make_profile([d + shift for d in curve]), rounding=rounding).ranks == plain.ranks


def test_the_face_of_the_wing_loads_neither_torch_nor_peft():
    code = "import gelora.ranks, sys; print([m for m in ('torch', 'peft', 'transformers') if m in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
