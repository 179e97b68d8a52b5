"""The run of teaching mode: the recorded one has what the page draws and is of what step 2 starts now; one run at a time."""

import dataclasses
import json

import pytest
from made_profiles import make_profile
from made_runs import make_run

from app.teaching import recorded_run
from app.teaching.recorded_run import HEAD_ONLY, RECORDED, TRAINING, find_run, recorded, same_run, tour_spec
from gelora.errors import StoreError
from gelora.records import DataChoice, IdEstimate
from gelora.sources import BUNDLED_DATASET, bundled_models, model_structure


def spec_now():
    """What step 2 starts on the bundled model and data, from the curve that was measured when the run was recorded."""
    kept = recorded()
    model = bundled_models()[0].model_id
    made = make_profile([10.0, 10.0, 10.0, 10.0])
    estimates = tuple(IdEstimate("twonn", d, d - 1, d + 1, 1000, 1000, 0.1) for d in kept.curve)
    names = ("embeddings", *(f"block {i}" for i in range(1, len(kept.curve))))
    profile = dataclasses.replace(
        made, layer_names=names, estimates={"twonn": estimates}, subsamples={}, model=model_structure(model), scale_curves={}, baselines={}
    )
    return tour_spec(profile, model, DataChoice(BUNDLED_DATASET))


def test_the_recorded_run_is_of_what_step_2_starts():
    assert same_run(recorded().spec, spec_now()), "step 2 starts another run now; record it anew: python -m benchmarks.recorded_run"


def test_the_recorded_run_has_all_that_step_6_draws():
    kept = recorded()
    found = kept.harvest
    assert RECORDED.stat().st_size < 100_000
    assert found.score is not None and found.head_only is not None
    assert len(found.series["loss"]) > 20
    assert found.series[found.metric][-1][0] == found.total_steps
    assert next(line.step for line in found.geometry) == 0 and found.geometry[-1].step == found.total_steps
    assert all(len(line.dimensions) == len(kept.curve) == len(line.layer_names) for line in found.geometry)
    assert kept.spec.plan is not None and found.n_adapter_params == kept.spec.plan.n_adapter_params
    assert kept.date[:10] in kept.label() and kept.machine in kept.label() and kept.command in kept.label()
    versions = json.loads(RECORDED.read_text())["versions"]
    assert {"python", "torch", "transformers", "peft"} <= set(versions)


def test_other_settings_or_ranks_are_another_run():
    spec = spec_now()
    assert not same_run(spec, dataclasses.replace(spec, training=dataclasses.replace(TRAINING, epochs=3.0)))
    assert not same_run(spec, dataclasses.replace(spec, seed=1))
    assert spec.plan is not None
    other = dataclasses.replace(spec.plan, profile_digest="of another processor")
    assert same_run(spec, dataclasses.replace(spec, plan=other))
    raised = dataclasses.replace(spec.plan, ranks={name: 2 for name in spec.plan.ranks})
    assert not same_run(spec, dataclasses.replace(spec, plan=raised))
    assert not same_run(None, spec)


def test_a_damaged_record_is_one_sentence(tmp_path, monkeypatch):
    broken = tmp_path / "recorded_run.json"
    broken.write_text("{")
    monkeypatch.setattr(recorded_run, "RECORDED", broken)
    recorded.cache_clear()
    with pytest.raises(StoreError, match="make it again"):
        recorded()
    monkeypatch.undo()
    recorded.cache_clear()
    assert recorded().harvest.references[HEAD_ONLY] > 0


def test_the_run_is_found_by_its_id_or_by_being_under_way():
    ours, going, over = make_run("ours", seed=1), make_run("going", status="running"), make_run("over")
    runs = [over, going, ours]
    assert find_run("ours", None, runs) is ours
    assert find_run("", going.spec, runs) is going  # another tab's
    assert find_run("", going.spec, [over, ours]) is None  # one that has ended is not taken for this class's
    assert find_run("deleted", None, runs) is None
