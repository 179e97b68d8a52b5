"""The Evidence page through Streamlit's own test runner: a study's verdict, filters, plot, table, and the way to a race of one's own."""

import json

import pytest
from made_studies import block_study, row, study
from test_pages import open_app, sentences

from app.charts.evidence import ArmRow, RaceMark, evidence_forest
from app.shared import studies
from gelora.records import Study
from gelora.runs import write_study


@pytest.fixture
def no_recorded(monkeypatch, tmp_path, gelora_home):
    monkeypatch.setattr(studies, "RECORDED", tmp_path / "none")


def drawn_of(app) -> dict:
    return json.loads(app.get("plotly_chart")[0].proto.spec)


def test_without_a_study_the_page_says_how_one_is_made(no_recorded):
    app = open_app("evidence")
    assert not app.exception and "There is no study on this machine" in sentences(app.markdown)
    assert "gelora study FILE.toml" in sentences(app.markdown)
    assert not app.get("plotly_chart")


def test_the_example_is_a_study_that_the_command_takes(tmp_path):
    from app.evidence import parts
    from gelora.cli import _parser
    from gelora.commands.study_file import read_study_file

    path = tmp_path / "study.toml"
    path.write_text(parts._EXAMPLE)
    found = read_study_file(str(path), _parser().parse_args(["study", str(path)]))
    assert [(race.task, race.budget) for race in found.races] == [("mine", "uniform:2")]


def test_a_study_is_said_drawn_and_listed(no_recorded):
    write_study(study())
    app = open_app("evidence")
    assert not app.exception
    said = sentences(app.markdown)
    assert "Of 8 comparisons with uniform at the same number of parameters (3 tasks) 1 ended better, 1 worse" in said
    figure = drawn_of(app)
    assert figure["layout"]["yaxis"]["ticktext"] == ["GeLoRA", "Fisher", "Random", "twice the rank"]
    diamonds = [trace for trace in figure["data"] if trace["marker"].get("symbol") == "diamond"]
    assert [round(trace["x"][0], 6) for trace in diamonds] == [pytest.approx(v) for v in (-2.666667, 0.0, 3.333333, -6.0)]
    assert "yardsticks" in figure["layout"]["annotations"][0]["text"]
    assert len(app.dataframe[0].value) == 18
    assert "squad at uniform:2" in sentences(next(e for e in app.expander if e.label.startswith("Not run")).markdown)
    captions = sentences(app.caption)
    assert "100 steps, 3 seeds, 872 held-out rows" in captions and "torch 2.13.0" in captions


def test_a_filter_changes_sentence_plot_and_table_and_stands_in_the_address(no_recorded):
    write_study(study())
    app = open_app("evidence", ev_task="mrpc")
    assert "Of 3 comparisons with uniform at the same number of parameters (1 task) 0 ended better, 1 worse" in sentences(app.markdown)
    assert len(app.dataframe[0].value) == 6
    app.selectbox(key="ev_task").set_value("sst2").run()
    assert app.query_params["ev_task"] in ("sst2", ["sst2"]) and len(app.dataframe[0].value) == 6
    odd = open_app("evidence", ev_task="<img src=x>", ev_budget="7", ev_study="../../etc/passwd")
    assert not odd.exception and len(odd.dataframe[0].value) == 18


def test_the_study_is_chosen_and_one_made_here_takes_the_place_of_a_recorded_one(monkeypatch, tmp_path, gelora_home):
    monkeypatch.setattr(studies, "RECORDED", tmp_path)
    (tmp_path / "one.json").write_text(study("one").to_json())
    (tmp_path / "two.json").write_text(Study("two", "uniform", (row("uniform"), row("gelora")), (), {}).to_json())
    assert studies.recorded_verdict().startswith("Of 9 comparisons")
    write_study(Study("two", "uniform", (row("uniform"), row("gelora", p=0.01, difference=-0.1)), (), {}))
    assert [(choice.name, choice.recorded) for choice in studies.choices()] == [("one", True), ("two", False)]
    app = open_app("evidence", ev_study="two")
    assert "Of 1 comparison with uniform" in sentences(app.markdown) and "1 ended better" in sentences(app.markdown)


def test_a_damaged_study_is_one_sentence(no_recorded):
    path = write_study(study())
    path.write_text("{")
    app = open_app("evidence")
    assert not app.exception and "is no readable study" in sentences(app.error)


def test_race_these_goes_to_fine_tune_with_strategies_rates_and_steps(no_recorded, tiny):
    write_study(study())
    app = open_app("evidence", model=tiny[0], data=tiny[1], n="100")
    app.button(key="race_these").click().run()
    assert not app.exception and app.title[0].value == "Fine-tune"
    chosen = app.session_state
    assert chosen["train_what"] == ["race"] and chosen["train_race_reference"] == "uniform"
    assert chosen["train_race_strategies"] == ["gelora", "uniform", "random", "fisher"]
    assert chosen["train_race_rates"] == "0.0005, 0.002" and chosen["train_race_steps"] == 100
    assert set(app.multiselect(key="train_race_strategies").value) == {"gelora", "uniform", "random", "fisher"}


def test_words_of_a_study_are_no_markup_in_the_plot():
    mark = RaceMark(1.0, None, None, "<a href='x'>%{x}</a>")
    figure = evidence_forest([ArmRow("<b>arm</b>", "#000000", False, [mark, mark], mark)], "<i>ref</i>")
    text = figure.to_json()
    assert "<a href" not in text and "<b>" not in text and "<i>" not in text


def test_the_worth_of_blocks_is_drawn_with_what_might_tell_it(no_recorded):
    write_study(block_study())
    app = open_app("evidence")
    assert not app.exception and "What rank is worth, block by block" in [each.value for each in app.subheader]
    assert "Of 2 predictors over 6 tasks of MiniLM none orders the blocks beyond chance." in sentences(app.markdown)
    figure = json.loads(app.get("plotly_chart")[1].proto.spec)
    lines = {trace["name"]: trace for trace in figure["data"]}
    assert len(lines) == 7 and lines["mean over tasks"]["x"] == [1, 2, 3, 4, 5, 6]
    assert lines["task 0"]["y"] == pytest.approx([2.0, 8.0, 14.0, 6.0, 12.0, 4.0])
    table = app.dataframe[0].value
    assert table["predictor"].iloc[0] == "score:gradient" and table["rho"].iloc[0] == pytest.approx(1.0)
    alone = open_app("evidence", ev_task="task 3", ev_change="nonsense")
    (line,) = json.loads(alone.get("plotly_chart")[1].proto.spec)["data"]
    assert not alone.exception and line["name"] == "task 3" and line["error_y"]["array"]


def test_recorded_studies_are_readable_and_say_what_made_them():
    for path in studies.RECORDED.glob("*.json"):
        found = studies.study_of(studies.StudyChoice(path, True))
        assert found.name == path.stem and found.rows and {"torch", "python"} <= set(found.made_with)


def test_ranks_says_what_the_recorded_studies_found_and_nothing_without_one(monkeypatch, tmp_path, gelora_home, tiny):
    monkeypatch.setattr(studies, "RECORDED", tmp_path / "recorded")
    said = sentences(open_app("ranks", model=tiny[0], data=tiny[1], plan_only="1").caption)
    assert "At equal budget an even spread was hard to beat" in said and "Recorded races" not in said
    (tmp_path / "recorded").mkdir()
    (tmp_path / "recorded" / "one.json").write_text(study("one").to_json())
    said = sentences(open_app("ranks", model=tiny[0], data=tiny[1], plan_only="1").caption)
    assert "Recorded races (page Evidence): of 8 comparisons with uniform at the same number of parameters (3 tasks) 1 ended better" in said
