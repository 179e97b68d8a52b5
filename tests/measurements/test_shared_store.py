"""The command line finds what the dashboard measured, and the dashboard what the command line did."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from gelora.cli import main
from gelora.measurements import Measurements, MeasurementSpec, Quantity, profile_store
from gelora.records import DataChoice, IdProfile


@pytest.fixture
def wanted(tiny, gelora_home) -> MeasurementSpec:
    return MeasurementSpec(tiny[0], DataChoice(tiny[1]), 60, 0, True, "mean", 32)


def options_of(wanted):
    return ["--model", wanted.model, "--dataset", wanted.data.dataset, "--n-samples", "60", "--max-length", "32"]


@pytest.fixture
def no_forward_pass(monkeypatch):
    """Turned on, the model cannot be run: whatever is answered was there."""

    def turn_on():
        def refused(*_, **__):
            raise AssertionError("the model was run")

        monkeypatch.setattr("gelora.measurements.measuring.extract_hidden_states", refused)

    return turn_on


def test_the_page_has_what_the_command_measured(wanted, tmp_path, no_forward_pass):
    out = tmp_path / "profile.json"
    assert main(["measure", *options_of(wanted), "--estimators", "twonn,gride", "--json", str(out)]) == 0
    no_forward_pass()
    page = Measurements()
    assert page.missing(wanted, Quantity("estimators", ("twonn", "gride"))) == ()
    assert page.find(wanted) == IdProfile.from_json(out.read_text())


def test_the_command_measures_nothing_that_the_page_has(wanted, capsys, no_forward_pass):
    job = Measurements().start(wanted, Quantity("estimators", ("twonn", "mle")))
    assert job.wait(120) and job.error is None
    no_forward_pass()
    assert main(["measure", *options_of(wanted), "--estimators", "mle", "--json", "-"]) == 0
    printed = capsys.readouterr()
    profile = IdProfile.from_json(printed.out)
    assert list(profile.estimates) == ["mle"] and "measured here before" in printed.err
    assert main(["plan", *options_of(wanted), "--json", "-"]) == 0
    assert json.loads(capsys.readouterr().out)["record"] == "RankPlan"


@pytest.mark.parametrize("more", ["--n-neighbors 12", "--metric cosine", "--n-subsamples 6", "--sinks unit", "--seed 3"])
def test_other_choices_are_another_measurement(wanted, more, capsys):
    assert main(["measure", *options_of(wanted), "--estimators", "twonn", "--json", "-"]) == 0
    first = IdProfile.from_json(capsys.readouterr().out)
    assert main(["measure", *options_of(wanted), *more.split(), "--estimators", "twonn", "--json", "-"]) == 0
    printed = capsys.readouterr()
    assert IdProfile.from_json(printed.out) != first and "before" not in printed.err
    assert profile_store().find(wanted.key()) == first


def test_again_measures_anew_and_texts_that_changed_are_never_taken_for_the_old_ones(wanted, capsys, monkeypatch):
    arguments = ["measure", *options_of(wanted), "--estimators", "twonn", "--json", "-"]
    assert main(arguments) == 0 and main([*arguments, "--again"]) == 0
    assert "before" not in capsys.readouterr().err
    store = profile_store()
    held = store.find(wanted.key())
    other = replace(held, sample_source=replace(held.sample_source, texts_digest="of other texts"))
    (path,) = store._path(wanted.key()).parent.glob("*.json")
    path.write_text(other.to_json())
    assert main(arguments) == 0
    printed = capsys.readouterr()
    assert "before" not in printed.err and IdProfile.from_json(printed.out).sample_source == held.sample_source


def test_a_spec_comes_back_from_the_profile_that_it_gave(wanted):
    chosen = replace(wanted, data=DataChoice(wanted.data.dataset, text_column="text", pair_column="", label_column="label"))
    job = Measurements().start(chosen, Quantity("estimators", ("twonn",)))
    assert job.wait(120) and job.error is None
    assert MeasurementSpec.of(profile_store().find(chosen.key())).sentence() == chosen.sentence()


def test_the_key_hangs_on_every_choice_and_on_the_file(wanted):
    keys = {wanted.key(), wanted.key("more")}
    changes = {
        "model": "m", "n_samples": 61, "seed": 1, "distinct": False, "pooling": "last", "max_length": 31, "sinks": "keep",
        "sink_ratio": 6.0, "metric": "cosine", "n_neighbors": 21, "n_subsamples": 21, "dtype": "bfloat16",
    }  # fmt: skip
    keys |= {replace(wanted, **{name: value}).key() for name, value in changes.items()}
    assert len(keys) == 2 + len(changes)
    path = Path(wanted.data.dataset).with_name("copy.jsonl")
    shutil.copy(wanted.data.dataset, path)
    copied = replace(wanted, data=DataChoice(str(path)))
    before = copied.key()
    path.write_text(path.read_text() + '{"text": "one more", "label": 0}\n')
    assert copied.key() != before
