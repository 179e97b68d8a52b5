"""The Ranks page through Streamlit's own test runner: offset, budget, edits, strategies, doors, files in and out."""

import dataclasses
import gzip
import json

import numpy as np
import pytest
from made_profiles import make_profile
from test_pages import measure, measurement_of, open_app, sentences, waited

from app.charts import ranks as rank_charts
from app.charts.allocation import allocation_data
from app.ranks import parts
from app.ranks.allocation import AllocationAnswer
from app.shared.components import finding
from gelora.geometry import rises
from gelora.ranks import (
    STRATEGIES,
    allocate_ranks,
    edit_ranks,
    match_budget,
    plan_at_budget,
    plan_from_adapter,
    rise_shares,
    rise_units,
    uniform_ranks,
)
from gelora.records import IdProfile, RankPlan

UNIT = 4 * (32 + 32)  # one unit of rank of a block of the tiny model: q, k, v, o


@pytest.fixture
def ranks(tiny):
    """The Ranks page over a measured curve of the tiny model."""

    def open_page(**choices):
        app = open_app("ranks", model=tiny[0], data=tiny[1], n="100", **choices)
        return measure(app) if any(button.key == "measure_first" for button in app.button) else app

    return open_page


def rows_of(app, column: str) -> dict:
    """The column of the table of strategies."""
    table = next(frame.value for frame in app.dataframe if "strategy" in frame.value.columns)
    return dict(zip(table["strategy"], table[column], strict=True))


def unfolded(app, *sections: str):
    """The page with these sections open."""
    for section in sections:
        app.session_state[section] = True
    return app.run()


def test_a_strategy_gets_at_most_the_budget_and_large_numbers_have_their_commas(ranks):
    app = unfolded(ranks(), "modules_open")
    assert "every strategy gets at most the" in sentences(app.markdown) + sentences(app.caption)
    for column in ("unspent", "adapter parameters"):
        [frame] = [frame for frame in app.dataframe if column in frame.value.columns]
        assert json.loads(frame.proto.columns)[column]["type_config"]["format"] == "localized"


def cost(app) -> int:
    return int(rows_of(app, "parameters")["GeLoRA"])


@pytest.mark.parametrize(("edit", "offset", "match", "edits"), [(None, 3, "", {}), ({"block": 2, "rank": 5}, 1, "uniform:2", {"2": 5})])
def test_a_word_that_comes_without_its_callback_counts(ranks, monkeypatch, edit, offset, match, edits):
    """As the first one after a restart of the server does."""
    app = ranks(match="uniform:2")
    words = [AllocationAnswer(offset, edit)]
    silent = lambda data, **_: words.pop() if words else AllocationAnswer(data["offset"], None)  # noqa: E731
    monkeypatch.setattr(parts, "rank_allocation", silent)
    before = app.session_state["offset"]
    if edit is not None:
        words[0] = AllocationAnswer(before, edit)
    app.run()
    assert not app.exception and not words
    assert app.session_state["match"] == match and app.session_state["edits"] == edits
    assert app.number_input(key="offset").value == app.session_state["offset"] == (offset if edit is None else before)


def test_the_budget_follows_the_offset(ranks):
    app = ranks()
    before = cost(app)
    app.number_input(key="offset").set_value(3).run()
    assert not app.exception and not app.error
    assert cost(app) - before == 2 * 3 * UNIT


def test_a_budget_takes_the_place_of_the_offset_until_one_is_set(ranks):
    app = ranks(match="uniform:5")
    assert not app.exception
    assert cost(app) == 5 * 3 * UNIT
    assert "Matched to the budget **uniform:5**" in sentences(app.caption)
    app.button(key="leave_budget").click().run()
    assert app.session_state["match"] == "" and app.session_state["offset"] >= 1
    assert "Matched" not in sentences(app.caption)
    app.number_input(key="budget_uniform").set_value(4)
    app.button(key="match_budget").click().run()
    assert cost(app) == 4 * 3 * UNIT and app.query_params["match"] == "uniform:4"
    app.number_input(key="offset").set_value(2).run()
    assert app.session_state["match"] == ""


def test_a_budget_below_one_rank_a_block_is_one_sentence(ranks):
    app = ranks(match="params:10")
    assert not app.exception
    assert "A budget of 10 parameters is below one rank" in sentences(app.error)
    app.button(key="leave_budget").click().run()
    assert not app.error


def test_every_strategy_stands_at_the_same_budget_once_the_matrices_are_scored(ranks):
    from app.shared.cache import pool

    app = ranks(offset="3")
    assert set(rows_of(app, "unspent")) == {"GeLoRA", "Uniform", "Increasing with depth", "Decreasing with depth", "Random"}
    app.button(key="score_matrices").click().run()
    assert all(job.wait(120) for job in pool().jobs())
    app.run()
    assert not app.exception and not app.error
    unspent = rows_of(app, "unspent")
    assert set(unspent) == {strategy.label for strategy in STRATEGIES.values()} - {"Look-back"}  # which needs an adapter
    assert all(0 <= left < UNIT for name, left in unspent.items() if name != "Uniform")
    app.selectbox(key="strategy").set_value("gradient").run()
    assert not app.exception and not app.warning
    unfolded(app, "export_open")
    assert "gelora plan" in app.code[-2].value and "--strategy gradient --target-modules attention --match params:" in app.code[-2].value


def test_a_strategy_whose_scores_are_missing_says_so_and_keeps_the_rule(ranks):
    app = ranks(strategy="fisher", length="64")
    app = waited(app.button(key="measure").click().run()) if not app.dataframe else app
    assert not app.exception
    assert "Fisher needs scores of the matrices" in sentences(app.warning)


def test_a_hand_edit_is_marked_kept_in_the_link_and_undone(ranks):
    app = ranks(edits="2:7;encoder.layer.0.attention.self.query:5")
    assert not app.exception and not app.error
    assert "5 modules by hand." in sentences(app.caption)
    assert app.query_params["edits"] == "2:7;encoder.layer.0.attention.self.query:5"
    app.switch_page("../pages/layers.py").run()
    app.switch_page("../pages/ranks.py").run()
    assert "5 modules by hand." in sentences(app.caption)
    app.button(key="undo_edit").click().run()
    assert "4 modules by hand." in sentences(app.caption)
    app.button(key="undo_edit").click().run()
    assert "by hand." not in sentences(app.caption) and "edits" not in app.query_params


def test_plan_only_needs_no_measurement(tiny):
    app = open_app("ranks", model=tiny[0], data=tiny[1], n="100", seed="4711")
    assert "Plan only" in sentences(app.markdown)
    app.button(key="plan_only_door").click().run()
    assert not app.exception and not app.error
    assert "Planned from the configuration alone" in sentences(app.markdown) and not app.warning
    assert {"Uniform", "Increasing with depth", "Decreasing with depth", "Random"} <= set(rows_of(app, "parameters"))
    assert "GeLoRA" not in rows_of(app, "parameters")
    app.number_input(key="offset").set_value(4).run()
    assert rows_of(app, "parameters")["Uniform"] == 4 * 3 * UNIT


def test_plan_only_has_no_offset_zero(tiny):
    app = open_app("ranks", model=tiny[0], data=tiny[1], n="100", seed="4711", plan_only="1", offset="0")
    assert not app.exception and not app.error
    assert app.number_input(key="offset").value == 1


def test_names_of_modules_are_targets_and_a_wrong_one_is_one_sentence(ranks):
    app = ranks(targets="query,value")
    assert not app.exception and cost(app) % (2 * 64) == 0
    app.selectbox(key="targets").set_value("attention-qv").run()
    assert not app.exception
    wrong = ranks(targets="nonsense")
    assert not wrong.exception
    assert "nonsense" in sentences(wrong.error)


def upload(app, *files: tuple[str, bytes]):
    field = next(field for field in app.get("file_uploader"))
    return field.set_value([(name, content, "application/octet-stream") for name, content in files]).run()


def test_a_plan_and_an_adapter_lie_beside_and_their_ranks_can_be_taken(ranks, tiny):
    from app.ranks import files
    from app.shared.cache import measurements

    app = ranks()
    profile = measurements().find(measurement_of(tiny))
    plan = edit_ranks(allocate_ranks(profile, offset=2), {"encoder.layer.1.attention.self.key": 9})
    files._plans().add(plan.digest(), plan)
    app = ranks(beside=plan.digest())
    assert not app.exception
    assert f"Imported: the **gelora plan** of {plan.model_id}" in sentences(app.markdown)
    app.button(key="take_ranks").click().run()
    assert app.session_state["edits"]["encoder.layer.1.attention.self.key"] == 9
    assert cost(app) == allocate_ranks(profile, offset=1).n_adapter_params
    app.button(key="leave_beside").click().run()
    assert "Imported:" not in sentences(app.markdown)


def test_what_an_adapter_trains_beside_its_ranks_and_above_a_side_is_said(ranks, tiny):
    from app.ranks import files
    from gelora.sources import model_structure

    config = {"peft_type": "LORA", "r": 40, "target_modules": ["query", "pooler.dense"], "base_model_name_or_path": tiny[0]}
    plan = plan_from_adapter(config, model_structure(tiny[0]))
    files._plans().add(plan.digest(), plan)
    app = ranks(beside=plan.digest())
    said = sentences(app.caption)
    assert f"trains {40 * 64:,} parameters in modules outside the blocks (bert.pooler.dense)" in said
    assert f"In all PEFT trains {plan.n_trained_params:,} parameters" in said and "ranks above the smaller side (32)" in said
    app.button(key="take_ranks").click().run()
    assert app.session_state["edits"]["encoder.layer.1.attention.self.query"] == 32
    assert "3 ranks above the smaller side of their matrix" in sentences(app.success)


def test_floor_and_cap_bound_a_strategy_and_stand_in_its_command(ranks):
    app = ranks(offset="3", strategy="depth-increasing")
    assert (rows_of(app, "lowest rank")["Increasing with depth"], rows_of(app, "highest rank")["Increasing with depth"]) == (2, 4)
    app.number_input(key="cap").set_value(3).run()
    app.number_input(key="floor").set_value(3).run()
    assert not app.exception and not app.warning
    assert rows_of(app, "lowest rank")["Increasing with depth"] == rows_of(app, "highest rank")["Increasing with depth"] == 3
    unfolded(app, "export_open")
    assert "--floor 3 --cap 3" in app.code[-2].value


def test_what_training_used_of_an_imported_adapter_is_a_strategy_and_a_table(ranks, tiny, tmp_path):
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from app.ranks import files

    assert "Look-back: Look-back needs a trained adapter with its weights" in sentences(ranks().caption)
    model = get_peft_model(
        AutoModel.from_pretrained(tiny[0]),
        LoraConfig(r=8, lora_alpha=16, target_modules=["query", "key", "value", "attention.output.dense"]),
    )
    with torch.no_grad():
        for name, weights in model.named_parameters():
            if ".lora_B." in name:  # blocks use 2, 4 and 6 directions alike
                weights[:, : 2 * (1 + int(name.partition("encoder.layer.")[2].partition(".")[0]))].normal_()
    model.save_pretrained(tmp_path / "adapter")
    app = ranks()
    app.text_input(key="adapter_path").set_value(str(tmp_path / "adapter")).run()
    app.button(key="read_adapter").click().run()
    assert not app.exception and "What training used of them is the strategy Look-back" in sentences(app.success)
    app.number_input(key="offset").set_value(4).run()
    assert "Look-back" in rows_of(app, "unspent")
    app.selectbox(key="strategy").set_value("look-back").run()
    assert not app.exception and not app.warning
    used = next(frame.value for frame in app.dataframe if "above noise" in frame.value.columns)
    shown = used[used["module"].str.contains("attention.self")]
    assert [sorted(set(shown[shown["module"].str.contains(f"layer.{i}")]["rank of 99% energy"])) for i in range(3)] == [[2], [4], [6]]
    assert set(used["rank on this page"].dropna()) <= {1, 2, 3, 4, 5, 6} and files._plans().find(app.session_state["beside"]) is not None


def test_the_adapter_of_a_finished_run_can_be_read(ranks, tiny, gelora_home):
    import torch
    from made_runs import write_run
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModel

    from gelora.sources import model_structure

    assert not any(button.key == "read_run" for button in ranks().button)
    plan = uniform_ranks(model_structure(tiny[0]), 8)
    for run_id, status in (("20260301-100000-done", "finished"), ("20260301-110000-not", "failed")):
        folder = write_run(gelora_home / "runs", run_id, plan=plan, model=tiny[0], state={"status": status})
    torch.manual_seed(0)
    config = LoraConfig(r=8, target_modules=["query", "key", "value", "attention.output.dense"], init_lora_weights=False)
    get_peft_model(AutoModel.from_pretrained(tiny[0]), config).save_pretrained(folder.parent / "20260301-100000-done" / "adapter")
    app = ranks()
    offered = next(box for box in app.selectbox if box.label == "Or the adapter of a finished run")
    assert len(offered.options) == 1 and offered.options[0].endswith("done")
    app.button(key="read_run").click().run()
    assert not app.exception and "12 modules with ranks 8 to 8" in sentences(app.success)
    assert any("above noise" in frame.value.columns for frame in app.dataframe)


def test_a_profile_of_halves_is_refused_by_the_page():
    from app.ranks import files
    from gelora.errors import InputError

    profile = make_profile()
    halved = dataclasses.replace(profile, model=profile.model.halved)
    with pytest.raises(InputError, match="halves of blocks, which the pages do not draw"):
        files._open_profile(halved)


def test_modules_that_peft_takes_for_experts_are_a_note_of_the_plan(monkeypatch):
    from app.ranks import parts

    said: list[str] = []
    monkeypatch.setattr(parts.st, "info", lambda words, **_: said.append(words))
    plan = allocate_ranks(make_profile(), offset=1)
    parts.notes(plan)
    assert not [words for words in said if "for experts by name" in words]
    taken = dataclasses.replace(plan, modules=tuple(dataclasses.replace(module, as_parameter=True) for module in plan.modules))
    parts.notes(taken)
    assert f"weights of {len(plan.modules)} modules" in said[-1] and "for experts by name" in said[-1]


def test_files_are_told_apart_and_wrong_ones_are_one_sentence(tiny, monkeypatch):
    import streamlit as st

    from app.ranks import files
    from gelora.errors import InputError
    from gelora.sources import model_structure

    structure = model_structure(tiny[0])
    state: dict = {}
    monkeypatch.setattr(st, "session_state", state)
    monkeypatch.setattr(files, "_structure", lambda: structure)
    plan = uniform_ranks(structure, 3)
    config = {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "target_modules": ["query"], "base_model_name_or_path": "x"}
    assert "12 modules with ranks 3 to 3" in files._take_in({"plan.json": plan.to_json().encode()})
    assert state["beside"] == plan.digest()
    packed = json.dumps(config).encode()
    for name, content in (
        ("adapter_config.json", packed), ("adapter_config.json", b"\xef\xbb\xbf" + packed),
        ("adapter_config.json.gz", gzip.compress(packed)),
    ):  # fmt: skip
        assert "3 modules with ranks 4 to 4" in files._take_in({name: content})
    for name, content, sentence in (
        ("a.json", b"\xff\xfe", "is not JSON"),
        ("adapter_config.json", b"version https://git-lfs.github.com/spec/v1\noid", "a Git LFS pointer"),
        ("a.json", b"[1, 2]", "neither a profile nor a plan"),
        ("a.json", b'{"record": "Budget"}', "neither a profile nor a plan"),
        ("adapter_config.json", json.dumps(config | {"peft_type": "IA3"}).encode(), "LoRA"),
        ("adapter_model.safetensors", b"nothing of that kind", "adapter_model.safetensors"),
    ):
        with pytest.raises(InputError, match=sentence):
            files._take_in({name: content})


def test_an_imported_profile_is_what_its_own_choices_measured(tiny, tmp_path):
    from app.shared.cache import measurements

    measure(open_app(model=tiny[0], data=tiny[1], n="80"))
    wanted = dataclasses.replace(measurement_of(tiny), n_samples=80)
    profile = measurements().find(wanted)
    other = dataclasses.replace(profile, sample_source=dataclasses.replace(profile.sample_source, seed=99))
    app = open_app("ranks", model=tiny[0], data=tiny[1], n="1000", seed="5")
    app = upload(app, ("profile.json", other.to_json().encode()))
    assert not app.exception and not app.error
    assert app.session_state["n"] == 80 and app.session_state["seed"] == 99
    assert "is open" in sentences(app.success)
    opened = dataclasses.replace(wanted, seed=99, data=profile.sample_source.choice)
    assert measurements().find(opened) == IdProfile.from_json(other.to_json())


def test_memory_and_modules_are_drawn_when_they_are_unfolded(ranks):
    app = unfolded(ranks(offset="2", edits="1:9"), "memory_open", "modules_open")
    assert not app.exception and not app.error
    parts = next(frame.value for frame in app.dataframe if "part" in frame.value.columns)
    megabytes = dict(zip(parts["part"], parts["MB"], strict=True))
    assert megabytes["in all"] == pytest.approx(sum(n for part, n in megabytes.items() if part != "in all"))
    assert "12 parameters" not in sentences(app.caption) and "of the head are trained" in sentences(app.caption)
    table = next(frame.value for frame in app.dataframe if "by hand" in frame.value.columns)
    assert list(table["rank"][:4]) == [9] * 4 and table["by hand"][0].startswith("was ")


def test_the_link_reopens_the_page_as_it_is(ranks):
    app = ranks(offset="5", targets="all-linear", rounding="round", edits="1:2", scale="1.5", doubt="estimators")
    unfolded(app, "export_open")
    query = dict(part.split("=") for part in app.code[-1].value.split("?")[1].split("&"))
    assert query["page"] == "ranks"
    chosen = {name: query[name] for name in ("offset", "targets", "rounding", "edits", "scale", "doubt")}
    assert chosen == {"offset": "5", "targets": "all-linear", "rounding": "round", "edits": "1%3A2", "scale": "1.5", "doubt": "estimators"}


def test_the_command_on_the_page_gives_the_plan_on_the_page(ranks, tiny, tmp_path):
    import shlex

    from app.shared.cache import measurements
    from gelora.cli import main

    app = unfolded(ranks(offset="2", edits="2:7"), "export_open")
    command = shlex.split(app.code[-2].value)
    command[command.index("rank_plan.json")] = str(tmp_path / "plan.json")
    command[command.index("adapter")] = str(tmp_path / "adapter")
    assert command[:2] == ["gelora", "plan"] and main(command[1:]) == 0
    made = RankPlan.from_json((tmp_path / "plan.json").read_text())
    rule = allocate_ranks(measurements().find(measurement_of(tiny)), offset=2)
    assert made.ranks == edit_ranks(rule, {m.name: 7 for m in rule.modules if m.block == 2}).ranks
    assert (tmp_path / "adapter" / "adapter_config.json").is_file()


# the allocation's values


def ranks_drawn(data: dict, offset: int) -> dict[int, int]:
    """The component's rule, in Python: see app/frontend/allocation_plan.js."""
    drawn = {}
    for block in data["blocks"]:
        extra = block["extra"] if offset == data["offset"] else 0
        ruled = [m["fixed"] if m["fixed"] is not None else min(offset + block["rise"] + extra, m["limit"]) for m in block["modules"]]
        drawn[block["block"]] = max(max(rank, 0) for rank in ruled)
    return drawn


def test_what_the_allocation_draws_is_the_plan_at_every_offset():
    profile = make_profile()
    units = rise_units(profile)
    for offset in (1, 2, 5):
        plan = allocate_ranks(profile, offset=offset)
        data = allocation_data(plan, profile=profile, units=units, shares=rise_shares(profile), n_shares=2)
        for other in range(1, 9):
            assert ranks_drawn(data, other) == allocate_ranks(profile, offset=other).block_ranks()
        assert json.loads(json.dumps(data)) == data
    assert data["blocks"][1]["value"] == pytest.approx(2.4) and data["blocks"][0]["value"] is None
    assert "offset alone" in data["blocks"][0]["note"] and data["curve"]["values"][0] is None


def solid_units(data: dict) -> list[tuple[int, int]]:
    """Block and unit of every unit of a rise that the allocation draws without hatching: see app/frontend/allocation_figure.js."""
    return [
        (block["block"], unit)
        for block in data["blocks"]
        for unit in range(1, block["rise"] + 1)
        if not data["n_shares"] or (block["shares"] + [0] * unit)[unit - 1] >= data["solid_from"]
    ]


@pytest.mark.parametrize("rounding", ["ceil", "round", "round-each"])
@pytest.mark.parametrize("halves", ["pairs", "independent", None])
def test_a_unit_is_solid_exactly_where_a_rise_exceeds_its_interval(halves, rounding):
    rng, n_solid = np.random.default_rng(0), 0
    for _ in range(40):
        curve = list(rng.uniform(5, 15, 4))
        spread = rng.normal(scale=rng.uniform(0.05, 4), size=(8, 4))
        profile = dataclasses.replace(make_profile(curve), halves=halves or "pairs")
        profile = dataclasses.replace(profile, subsamples={"twonn": np.array(curve) + spread} if halves else {})
        plan = allocate_ranks(profile, rounding=rounding)
        units, shares = rise_units(profile, rounding=rounding), rise_shares(profile, rounding=rounding)
        solid = solid_units(allocation_data(plan, profile=profile, units=units, shares=shares, n_shares=8))
        significant = [rise.block for rise in rises(profile, "twonn") if rise.goes_up]
        first_units = [block for block, unit in solid if unit == 1]
        assert first_units == significant if rounding == "ceil" else set(first_units) <= set(significant)
        assert not solid or "No rise exceeds" not in finding(profile, "twonn")
        n_solid += len(solid)
    assert n_solid


def test_a_profile_without_any_interval_says_so_over_its_units():
    bare = dataclasses.replace(make_profile(), subsamples={})
    kept = {name: tuple(dataclasses.replace(e, ci_low=None, ci_high=None) for e in curve) for name, curve in bare.estimates.items()}
    assert "No rise has an interval" in finding(dataclasses.replace(bare, estimates=kept), "twonn")


def test_units_by_agreement_stand_under_a_sentence_of_agreement(ranks):
    app = ranks(doubt="estimators")
    assert "estimators agree on" in sentences(app.markdown) and "exceeds its interval" not in sentences(app.markdown)


def test_what_a_budget_adds_to_a_block_is_extra_and_an_edit_by_hand_is_fixed():
    profile = make_profile()
    units = rise_units(profile)  # 0, 3, 0
    matched = match_budget(profile, 8 * 4 * 16)  # offset 1 costs 6 units; two are left
    data = allocation_data(matched, profile=profile, units=units)
    assert [block["extra"] for block in data["blocks"]] == [0, 1, 1]
    assert ranks_drawn(data, data["offset"]) == matched.block_ranks()
    edited = edit_ranks(matched, {"layer.0.attention.q": 6})
    data = allocation_data(edited, profile=profile, units=units)
    assert {(m["n"], m["fixed"]) for m in data["blocks"][0]["modules"]} == {(1, 6), (3, None)}
    assert ranks_drawn(data, data["offset"]) == edited.block_ranks()


def test_a_truncated_rule_is_drawn_as_it_is():
    profile = make_profile([10.0, 13.0, 18.0, 18.2])
    plan = match_budget(profile, 5 * 4 * 16)
    data = allocation_data(plan, profile=profile, units=rise_units(profile))
    assert ranks_drawn(data, data["offset"]) == plan.block_ranks() and min(block["extra"] for block in data["blocks"]) < 0


def test_strategies_side_by_side_draw_each_plan():
    profile = make_profile()
    budget = 9 * 4 * 16
    plans = {
        name: plan_at_budget(name, budget, profile.model, profile=profile)
        for name, strategy in STRATEGIES.items()
        if strategy.needs in ("profile", "structure")
    }
    figure = rank_charts.ranks_by_strategy(plans)
    assert len(figure.data) == len(plans) == 5
    for bars, plan in zip(figure.data, plans.values(), strict=True):
        assert sum(bars.y) * 4 * 16 == plan.n_adapter_params
