"""Plans that differ from one in a block or a few: where the ranks are, and what they cost."""

import pytest

from gelora.errors import InputError
from gelora.ranks import CHANGES, changed_plans, edit_ranks, uniform_ranks
from gelora.sources import model_structure


@pytest.fixture(scope="module")
def plan():
    return uniform_ranks(model_structure("all-MiniLM-L6-v2"), 2)


def test_twice_and_without_change_one_block_and_nothing_else(plan):
    blocks, params = plan.block_ranks(), plan.n_adapter_params
    per_block = params // len(blocks)
    for change, rank, cost in (("twice", 4, params + per_block), ("without", 0, params - per_block)):
        found = changed_plans(plan, change)
        assert [one.blocks for one in found] == [(block,) for block in blocks]
        for one in found:
            assert one.plan.block_ranks() == blocks | {one.blocks[0]: rank}
            assert one.plan.n_adapter_params == cost
    assert [one.name for one in changed_plans(plan, "twice")][2] == "block 3 twice"
    assert next(one.name for one in changed_plans(plan, "without")) == "without block 1"


@pytest.mark.parametrize(
    "n_groups, blocks", [(None, [(i,) for i in range(1, 7)]), (3, [(1, 2), (3, 4), (5, 6)]), (4, [(1, 2), (3, 4), (5,), (6,)])]
)
def test_alone_has_the_budget_of_the_whole_plan_in_a_group(plan, n_groups, blocks):
    found = changed_plans(plan, "alone", n_groups)
    assert [one.blocks for one in found] == blocks
    for one in found:
        ranks = one.plan.block_ranks()
        assert {block for block, rank in ranks.items() if rank} == set(one.blocks)
        assert one.plan.n_adapter_params == plan.n_adapter_params  # 12 or 6 or 4 ranks in place of 2 in all blocks
        scaling = {one.plan.alphas[name] / rank for name, rank in one.plan.ranks.items() if rank}
        assert scaling == {plan.alphas[name] / rank for name, rank in plan.ranks.items()}
    assert [one.name for one in changed_plans(plan, "alone", 3)] == ["blocks 1-2 alone", "blocks 3-4 alone", "blocks 5-6 alone"]


def test_blocks_without_a_rank_are_no_group_and_ranks_stop_at_the_matrix(plan):
    without = edit_ranks(plan, {module.name: 0 for module in plan.modules if module.block == 2})
    assert [one.blocks for one in changed_plans(without, "twice")] == [(1,), (3,), (4,), (5,), (6,)]
    high = uniform_ranks(model_structure("all-MiniLM-L6-v2"), 300)
    assert max(changed_plans(high, "twice")[0].plan.ranks.values()) == 384
    assert max(changed_plans(high, "alone")[0].plan.ranks.values()) == 384


def test_what_is_not_legal_is_a_sentence(plan):
    with pytest.raises(InputError, match="alone, twice, without"):
        changed_plans(plan, "half")
    with pytest.raises(InputError, match="n_groups"):
        changed_plans(plan, "alone", 0)
    one = edit_ranks(plan, {module.name: 0 for module in plan.modules if module.block > 1})
    with pytest.raises(InputError, match="number of blocks with a rank is 1"):
        changed_plans(one, "without")
    assert CHANGES == ("alone", "twice", "without")
