"""What is measured grows, is shared by all who ask, survives a restart, and is never half there."""

from dataclasses import replace

import pytest

from gelora.geometry import estimate_profile
from gelora.home import cache_dir
from gelora.measurements import Job, Measurements, MeasurementSpec, MeasuringJob, Quantity, measured_similarity, only
from gelora.records import DataChoice, IdProfile
from gelora.sensitivity import Sensitivity

TWO = Quantity("estimators", ("twonn", "mle"))


@pytest.fixture
def wanted(tiny, gelora_home) -> MeasurementSpec:
    return MeasurementSpec(tiny[0], DataChoice(tiny[1]), 60, 0, True, "mean", 32)


def done(job: MeasuringJob | None) -> MeasuringJob:
    assert job is not None and job.wait(120) and job.error is None, job
    return job


def stored(kind: str = "profiles"):
    (path,) = cache_dir(kind).glob("*.json")
    return path


def test_a_newly_chosen_estimator_is_measured_alone_and_joins_the_others(wanted, monkeypatch):
    asked = []

    def spy(states, estimators, **options):
        asked.append(tuple(estimators))
        return estimate_profile(states, estimators, **options)

    monkeypatch.setattr("gelora.measurements.measuring.estimate_profile", spy)
    measurements = Measurements()
    done(measurements.start(wanted, TWO))
    first = measurements.find(wanted)
    done(measurements.start(wanted, Quantity("estimators", ("twonn", "mle", "gride"))))
    assert asked == [("twonn", "mle"), ("gride",)]
    grown = measurements.find(wanted)
    assert set(grown.estimates) == {"twonn", "mle", "gride"}
    assert only(grown, ["twonn", "mle"]) == first
    assert measurements.start(wanted, TWO) is None  # nothing is missing


def test_a_slow_estimator_does_not_hold_up_the_quick_ones():
    steps = Quantity("estimators", ("twonn", "danco", "mle", "ph0")).steps()
    assert [step.names for step in steps] == [("twonn", "mle"), ("danco",), ("ph0",)]


def test_results_survive_a_restart(wanted):
    done(Measurements().start(wanted, TWO))
    found = Measurements().find(wanted)
    assert found is not None and set(found.estimates) == {"twonn", "mle"}


def test_two_tabs_that_ask_at_once_lose_nothing_and_measure_nothing_twice(wanted):
    measurements = Measurements()
    with measurements.pool.turn(Job()):  # both ask before either has begun
        one = measurements.start(wanted, Quantity("estimators", ("twonn", "mle")))
        other = measurements.start(wanted, Quantity("estimators", ("twonn", "gride")))
        third = measurements.start(wanted, Quantity("estimators", ("mle", "gride")))
    assert other.quantity.names == ("gride",)
    assert third is other
    done(one)
    done(other)
    assert set(measurements.find(wanted).estimates) == {"twonn", "mle", "gride"}


def test_two_servers_at_one_state_folder_lose_nothing(wanted):
    one, other = Measurements(), Measurements()
    done(one.start(wanted, Quantity("estimators", ("twonn",))))
    assert set(other.find(wanted).estimates) == {"twonn"}
    done(other.start(wanted, Quantity("estimators", ("mle",))))
    done(one.start(wanted, Quantity("estimators", ("gride",))))
    assert set(IdProfile.from_json(stored().read_text()).estimates) == {"twonn", "mle", "gride"}
    assert set(other.find(wanted).estimates) == {"twonn", "mle", "gride"}


def test_a_cancelled_job_ends_in_one_sentence_and_leaves_the_rest(wanted):
    measurements = Measurements()
    done(measurements.start(wanted, TWO))
    with measurements.pool.turn(Job()):
        job = measurements.start(wanted, Quantity("estimators", ("gride",)))
        job.cancel()
        assert job.wait(240)  # while it is still waiting for its turn
    assert "cancelled" in job.error
    assert set(measurements.find(wanted).estimates) == {"twonn", "mle"}
    done(measurements.start(wanted, Quantity("estimators", ("gride",))))
    assert "gride" in measurements.find(wanted).estimates


@pytest.mark.parametrize(
    "content", [b"", b"{not json", b'{"record": "IdProfile"}', b"\xff\xfe"], ids=["empty", "broken", "partial", "bytes"]
)
def test_a_damaged_file_is_measured_again(wanted, content):
    done(Measurements().start(wanted, TWO))
    whole = IdProfile.from_json(stored().read_text())
    stored().write_bytes(content)
    measurements = Measurements()
    assert measurements.find(wanted) is None
    done(measurements.start(wanted, TWO))
    assert measurements.find(wanted).digest() == whole.digest()


def test_when_the_model_has_changed_under_its_name_all_is_measured_again(wanted):
    measurements = Measurements()
    done(measurements.start(wanted, TWO))
    old = IdProfile.from_json(stored().read_text())
    stored().write_text(replace(old, sample_source=replace(old.sample_source, texts_digest="of other texts")).to_json())
    done(measurements.start(wanted, Quantity("estimators", ("gride",))))
    found = measurements.find(wanted)
    assert found.sample_source == old.sample_source
    assert set(found.estimates) == {"twonn", "mle", "gride"}


def test_baselines_and_scales_join_the_profile_with_what_they_need(wanted):
    measurements = Measurements()
    done(measurements.start(wanted, Quantity("estimators", ("twonn",))))
    done(measurements.start(wanted, Quantity("baselines", ("twonn", "mle"))))
    done(measurements.start(wanted, Quantity("scales", ("twonn",))))
    found = Measurements().find(wanted)
    assert {kind: set(curves) for kind, curves in found.baselines.items()} == {"shuffled": {"twonn", "mle"}, "gaussian": {"twonn", "mle"}}
    assert {"decimation:twonn", "neighbors:gride"} <= set(found.scale_curves)
    assert "plateau" in found.estimates  # the mark on the scale curve
    for task in (Quantity("baselines", ("twonn", "mle")), Quantity("scales", ("twonn",))):
        assert measurements.missing(wanted, task) == ()
    assert measurements.missing(wanted, Quantity("scales", ("twonn", "mle"))) == ("mle",)


def test_sensitivity_is_kept_one_choice_at_a_time(wanted):
    measurements = Measurements()
    done(measurements.start(wanted, Quantity("sensitivity", ("metric",), "twonn")))
    done(measurements.start(wanted, Quantity("sensitivity", ("metric", "discard_fraction"), "twonn")))
    known = Measurements().find_sensitivity(wanted, "twonn")
    assert set(known.curves) == {"metric", "discard_fraction"} == set(Sensitivity.from_json(stored("sensitivity").read_text()).curves)
    assert measurements.missing(wanted, Quantity("sensitivity", ("metric", "pooling"), "twonn")) == ("pooling",)
    assert measurements.missing(wanted, Quantity("sensitivity", ("metric",), "mle")) == ("metric",)


def test_similarity_of_the_layers_is_kept_and_measured_again_for_other_texts(wanted):
    from gelora.records import LayerSimilarity

    task = Quantity("similarity", ("layers",))
    measurements = Measurements()
    assert measurements.missing(wanted, task) == ("layers",)
    done(measurements.start(wanted, task))
    found = Measurements().find_similarity(wanted)
    assert found.label_kind == "classification" and found.n_rows == 60 and found.notes == {}
    assert measurements.start(wanted, task) is None
    stored("similarity").write_text(replace(found, sample_source=replace(found.sample_source, texts_digest="of other texts")).to_json())
    again, was_there = measured_similarity(wanted)
    assert again == found and not was_there
    assert LayerSimilarity.from_json(stored("similarity").read_text()) == found and measured_similarity(wanted)[1]


def test_a_full_disk_costs_nothing_but_the_file(wanted, monkeypatch):
    from gelora.errors import StoreError

    def full(path, content):
        raise StoreError("no space left")

    monkeypatch.setattr("gelora.measurements.store.write_atomically", full)
    measurements = Measurements()
    done(measurements.start(wanted, Quantity("estimators", ("twonn",))))
    done(measurements.start(wanted, Quantity("estimators", ("mle",))))
    assert set(measurements.find(wanted).estimates) == {"twonn", "mle"}
    assert Measurements().find(wanted) is None


def test_an_error_is_one_sentence(wanted):
    job = Measurements().start(replace(wanted, n_samples=10), TWO)
    assert job.wait(240)
    assert "neighbors need at least" in job.error and "\n" not in job.error
