"""The rank allocation's arithmetic in the browser's own language, and what its words to Python may be."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from made_allocation import made_allocation, params_at, ranks_at

from app.ranks import allocation
from gelora.errors import InputError

FRONTEND = Path(allocation.__file__).parents[1] / "frontend"

groups = st.fixed_dictionaries(
    {"n": st.integers(1, 4), "per_rank": st.integers(1, 10**9), "limit": st.integers(1, 9), "fixed": st.none() | st.integers(0, 9)}
)
blocks = st.lists(
    st.fixed_dictionaries(
        {
            "rise": st.integers(0, 5),
            "extra": st.integers(0, 2),
            "shares": st.lists(st.floats(0, 1), max_size=7).map(lambda shares: sorted(shares, reverse=True)),
            "modules": st.lists(groups, min_size=1, max_size=3),
        }
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope="module")
def arithmetic(browser):
    """The browser's own arithmetic, without a page: data and offset in, ranks, parameters and units out."""
    page = browser.new_page()
    page.add_script_tag(content=(FRONTEND / "allocation_plan.js").read_text())
    yield lambda data, offset: page.evaluate(
        """([data, offset]) => {
          const plan = planAt(data, offset);
          return { params: plan.params, blocks: plan.blocks.map((block) => ({ block: block.block, rank: block.rank, params: block.params,
            units: unitsOf(data, block, offset).map((b) => [b.level, b.kind, b.share, b.params, editOf(data, b)]) })) };
        }""",
        [data, offset],
    )
    page.close()


@pytest.mark.browser
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(parts=blocks, here=st.integers(0, 6), offset=st.integers(0, 9))
def test_the_browser_reckons_as_the_rule_does(arithmetic, parts, here, offset):
    data = made_allocation(1, here) | {"blocks": [part | {"block": i} for i, part in enumerate(parts, 1)]}
    found = arithmetic(data, offset)
    ranks = ranks_at(data, offset)
    assert found["params"] == params_at(data, offset)
    for block, part in zip(found["blocks"], data["blocks"], strict=True):
        rank = max(ranks[block["block"]])
        assert block["rank"] == rank
        levels = [level for level, *_ in block["units"]]
        assert levels == sorted(set(levels))  # no unit twice, from the ground up
        in_plan = [unit for unit in block["units"] if unit[1] in ("offset", "rise")]
        assert [level for level, *_ in in_plan] == list(range(1, rank + 1))
        assert sum(params for *_, params, _ in in_plan) == block["params"]  # the units are the budget
        assert sum(kind == "offset" for _, kind, *_ in in_plan) == min(offset, rank)
        for level, kind, share, _, edit in block["units"]:
            unit = level - offset
            if kind != "slot":
                assert share == (1 if unit <= 0 else part["shares"][unit - 1] if unit <= len(part["shares"]) else 0)
            assert edit == (rank - 1 if level == rank else rank + 1 if level > rank else None)


@pytest.mark.browser
@pytest.mark.parametrize("solid_from", [0.975, 0.8])
def test_a_unit_is_hatched_below_the_share_that_the_page_calls_solid(browser, solid_from):
    page = browser.new_page()
    for script in ("allocation_plan.js", "allocation_layout.js", "allocation_figure.js"):
        page.add_script_tag(content=(FRONTEND / script).read_text())
    data = made_allocation(1, 1) | {"solid_from": solid_from}
    shares = [1.0, 0.975, 0.9749, 0.8, 0.7999, 0.0]
    is_hatched = [
        page.evaluate(
            """([data, share]) => unitShapes(
              { data, look: { rise: "rgb(9,9,9)", offset: "rgb(9,9,9)", edge: "rgb(9,9,9)" }, unitPixels: 30, columnPixels: 60 },
              [{ block: { block: 1, rank: 2 }, kind: "rise", share, level: 2, from: 2, params: 1 }],
            ).some((shape) => shape.name === "hatch")""",
            [data, share],
        )
        for share in shares
    ]
    page.close()
    assert is_hatched == [share < solid_from for share in shares]


def test_an_answer_is_checked_against_what_was_shown():
    data = made_allocation(3, 2)
    assert allocation.allocation_answer(data, None, None) == (2, None)
    assert allocation.allocation_answer(data, {"value": 5, "nonce": 7}, None) == (5, None)
    assert allocation.allocation_answer(data, None, {"block": 3, "rank": 0, "nonce": 7}) == (2, {"block": 3, "rank": 0, "nonce": 7})
    for offset in ({"value": 9, "nonce": 1}, {"value": -1, "nonce": 1}, {"value": 1.5, "nonce": 1}, {"value": True}, {"value": "1"}, 4, {}):
        with pytest.raises(InputError):
            allocation.allocation_answer(data, offset, None)
    for edit in ({"block": 4, "rank": 1, "nonce": 1}, {"block": 1, "rank": -1, "nonce": 1}, {"block": 1, "rank": 1}, "1"):
        with pytest.raises(InputError):
            allocation.allocation_answer(data, None, edit)
