"""Attention sinks on the pages: the choice is measured, linked and given to the shell; curves with and without them; marks and offers."""

import json
import shlex
from dataclasses import replace

import numpy as np
import pytest
from test_pages import measure, measurement_of, open_app, sentences, waited
from tiny_models import save_tiny_model
from transformers import AutoModel, AutoTokenizer

from app import state
from gelora.cli import main
from gelora.records import IdProfile

WORDS = ("film", "story", "garden", "children", "values", "axis", "company", "profit", "train", "people", "table", "river", "answer")


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """A decoder in which one token, "y", is fifty times as long as the others, and 100 distinct texts: some begin with it, some end."""
    folder = tmp_path_factory.mktemp("planted")
    path = save_tiny_model("gpt2", folder / "model", n_layer=2)
    model, tokenizer = AutoModel.from_pretrained(path), AutoTokenizer.from_pretrained(path)
    model.get_input_embeddings().weight.data[tokenizer(" story")["input_ids"][-1]] *= 50
    model.save_pretrained(path)
    rng = np.random.default_rng(0)
    rows = [" ".join(["film", *rng.choice(WORDS, rng.integers(3, 14)), str(i)]) for i in range(100)]
    rows[::12], rows[5::12] = [f"{row} story" for row in rows[::12]], [f"y {row}" for row in rows[5::12]]
    data = folder / "rows.jsonl"
    data.write_text("".join(json.dumps({"text": row}) + "\n" for row in rows))
    return str(path), str(data)


def choices(planted, **more):
    return {"model": planted[0], "data": planted[1], "n": "100", "estimators": "twonn"} | more


def dimensions(profile: IdProfile) -> list:
    return [e.dimension for e in profile.estimates["twonn"]]


def test_an_old_link_is_the_default_and_what_no_pooling_allows_is_not_taken():
    app = open_app()
    assert state.measurement_of(app.session_state).sinks is None and "sinks" not in app.query_params
    assert [open_app(sinks=s, pooling=p).session_state["sinks"] for s, p in (("drop", "cls"), ("drop", "mean"), ("up", "mean"))] == [""] * 3
    app = open_app(sinks="keep", sink_ratio="3.5")
    assert (app.session_state["sinks"], app.session_state["sink_ratio"]) == ("keep", 3.5)
    app = app.selectbox(key="pooling").set_value("last").run()  # whose default it is
    assert app.session_state["sinks"] == "" and "sinks" not in app.query_params


def test_the_page_measures_anew_and_the_command_line_gives_the_same_numbers(planted, tmp_path):
    from app.shared.cache import measurements

    app = measure(open_app(**choices(planted)))
    dropped = state.measurement_of(app.session_state)
    assert "Attention sinks, left out" in sentences(app.caption)
    app = app.selectbox(key="sinks").set_value("keep").run()
    assert "The choices have changed since" in sentences(app.warning)
    app = app.number_input(key="sink_ratio").set_value(4.0).run()
    app = measure(app)
    assert not app.exception and not app.error and "Attention sinks, kept" in sentences(app.caption)
    kept = state.measurement_of(app.session_state)
    assert kept == replace(dropped, sinks="keep", sink_ratio=4.0) and "sinks keep, sink ratio 4" in kept.sentence()
    on_page = measurements().find(kept)
    assert dimensions(on_page) != dimensions(measurements().find(dropped)) and on_page.sinks.ratio == 4.0
    where = ["--model", planted[0], "--dataset", planted[1], "--n-samples", "100", "--estimators", "twonn", "--device", "cpu"]
    assert main(["measure", *where, "--sinks", "keep", "--sink-ratio", "4", "--json", str(tmp_path / "p.json")]) == 0
    assert dimensions(IdProfile.from_json((tmp_path / "p.json").read_text())) == dimensions(on_page)


def test_the_shell_command_and_an_imported_profile_keep_the_choice(planted, monkeypatch):
    from app.ranks import files
    from app.shared.cache import measurements

    app = measure(open_app(**choices(planted, sinks="unit", sink_ratio="6")))
    wanted = state.measurement_of(app.session_state)
    app = open_app("ranks", **choices(planted, sinks="unit", sink_ratio="6", export_open="1"))
    app.session_state["export_open"] = True
    command = shlex.split(next(code.value for code in app.run().code if code.value.startswith("gelora plan")))
    assert command[command.index("--sinks") + 1] == "unit" and command[command.index("--sink-ratio") + 1] == "6"
    session = {"estimator": "twonn"}
    monkeypatch.setattr(files.st, "session_state", session)
    monkeypatch.setattr(files, "measurements", lambda: type("Taken", (), {"add": lambda *taken: session.update(taken=taken)})())
    monkeypatch.setattr(state, "measurement", lambda: wanted)
    files._open_profile(measurements().find(wanted))
    assert (session["sinks"], session["sink_ratio"]) == ("unit", 6.0)
    files._open_profile(replace(measurements().find(wanted), sinks=None))
    assert (session["sinks"], session["sink_ratio"]) == ("keep", 5.0)


def test_with_and_without_sinks_is_one_chart_that_says_where_they_differ(planted):
    app = measure(open_app(**choices(planted)))
    app = app.selectbox(key="compare").set_value("sinks").run()
    assert app.session_state["compare_to"] == "keep" and "attention sinks kept" in sentences(app.caption)
    app = waited(app.button(key="measure_other").click().run())
    assert not app.exception and not app.error
    assert "with sinks" in sentences(app.markdown)
    assert "Both sides are the same texts" in sentences(app.caption) and "over the same half-samples" in sentences(app.caption)
    app = app.selectbox(key="compare_to").set_value("drop").run()
    assert "That is the present treatment of sinks" in sentences(app.caption)
    other = open_app(**choices(planted, compare="pooling", compare_to="last"))
    other = waited(other.button(key="measure_other").click().run())
    assert "treated otherwise: left out on the first side, kept on the second." in sentences(other.caption)
    app = app.selectbox(key="pooling").set_value("cls").run()  # which cannot leave a token out
    assert not app.exception and app.session_state["compare_to"] == "unit"


def test_without_any_sink_both_sides_are_said_to_be_one(tiny):
    from app.charts.comparison import sink_notes
    from app.shared.cache import measurements

    measure(open_app(model=tiny[0], data=tiny[1], n="100", estimators="twonn"))
    profile = measurements().find(measurement_of(tiny))
    kept = replace(profile, sinks=replace(profile.sinks, treatment="keep"))
    assert sink_notes(profile, kept)[0].endswith("at any layer: both sides are the same vectors.")
    assert "is not known" in sink_notes(profile, replace(profile, sinks=None))[0]


def test_a_last_token_that_is_often_a_sink_is_said_and_another_one_offered(planted):
    app = measure(open_app(**choices(planted, pooling="last")))
    assert "The token that the pooling takes is a sink in" in sentences(app.caption)
    app = app.button(key="sinks_before").click().run()
    assert app.session_state["sinks"] == "drop" and app.query_params["sinks"] == "drop"
    app = measure(app)
    assert not app.exception and "rows got another token." in sentences(app.caption)
    assert "sinks_before" not in [button.key for button in app.button]
    assert "% of the tokens are attention sinks, the largest norm is" in sentences(app.caption)  # at the layer looked at


def test_a_first_token_that_is_a_sink_offers_the_mean(planted):
    app = measure(open_app(**choices(planted, pooling="cls")))
    assert "The token that the pooling takes is a sink in" in sentences(app.caption)
    app = app.button(key="sinks_mean").click().run()
    assert not app.exception and (app.session_state["pooling"], app.session_state["sinks"]) == ("mean", "")
