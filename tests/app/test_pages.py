"""Pages through Streamlit's own test runner, with real small computations."""

import json
import re
import sys
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from made_runs import write_run
from streamlit.testing.v1 import AppTest

from app.shared import measuring
from gelora.errors import DataError
from gelora.home import runs_dir
from gelora.measurements import MeasurementSpec
from gelora.records import DataChoice
from gelora.sensitivity import VARIATIONS

ROOT = Path(__file__).resolve().parents[2]
ENTRY = str(ROOT / "app" / "main.py")


def open_app(page: str = "layers", **choices: str) -> AppTest:
    app = AppTest.from_file(ENTRY, default_timeout=120)
    for key, value in ({"estimators": "twonn,mle"} | choices).items():
        app.query_params[key] = value
    return app.switch_page(f"../pages/{page}.py").run()


def measure(app: AppTest) -> AppTest:
    """Start the measurement and wait for its thread, as a person waits for the curve."""
    return waited(app.button(key="measure").click().run())


def waited(app: AppTest) -> AppTest:
    """The page after all work under way has ended."""
    from app.shared.cache import measurements

    assert all(job.wait(120) for job in measurements().pool.jobs())
    return app.run()


def measurement_of(tiny: tuple[str, str]) -> MeasurementSpec:
    """What `open_app(model=tiny[0], data=tiny[1], n="100")` has chosen."""
    return MeasurementSpec(tiny[0], DataChoice(tiny[1]), 100, 0, True, "mean", 128)


def sentences(elements) -> str:
    """What elements say, as a page shows it: without the escapes of inserted words."""
    return " ".join(re.sub(r":small\[\]|\\(?=[^a-zA-Z0-9\s])", "", element.value) for element in elements)


def test_first_visit_invites_to_measure():
    app = open_app(n="150", seed="77")
    assert not app.exception
    assert app.title[0].value == "Layers"
    assert "Nothing is measured yet" in sentences(app.markdown)


def test_the_choice_comes_from_the_url_and_nonsense_is_ignored():
    app = open_app(n="500", pooling="cls", offset="4", length="banana", rounding="sideways")
    chosen = {key: app.session_state[key] for key in ("n", "pooling", "offset", "length", "rounding")}
    assert chosen == {"n": 500, "pooling": "cls", "offset": 4, "length": 128, "rounding": "ceil"}


@pytest.mark.parametrize(
    ("n_rows", "n", "sizes"),
    [
        (67_349, 1000, [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 67_349]),
        (730, 1000, [100, 200, 500, 730, 1000]),  # a choice that is greater stays until it is changed
        (40, 100, [100]),
        (3_000_000, 300, [100, 200, 300, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]),
        (None, 100, [100, 200, 500, 1000, 2000, 5000, 10_000, 20_000, 50_000, 100_000]),
    ],
)
def test_a_sample_can_be_as_large_as_the_data(tiny, monkeypatch, n_rows, n, sizes):
    monkeypatch.setattr(measuring, "n_rows_known", lambda wanted: n_rows)
    assert measuring.sample_sizes(replace(measurement_of(tiny), n_samples=n)) == sizes


def test_beyond_5000_texts_the_sidebar_says_what_they_cost(tiny):
    assert "four times as long" not in sentences(open_app(model=tiny[0], data=tiny[1], n="5000").caption)
    app = open_app(model=tiny[0], data=tiny[1], n="20000")
    assert not app.exception and "four times as long" in sentences(app.caption)


def test_the_chosen_estimators_come_from_the_url_with_twonn_always_among_them():
    assert open_app(estimators="gride,mle").session_state["estimators"] == ["twonn", "mle", "gride"]
    assert open_app(estimators="gride,banana").session_state["estimators"] == ["twonn", "mle", "gride", "danco"]
    assert open_app(estimators="mle", estimator="mind").session_state["estimators"] == ["twonn", "mle", "mind"]


def test_a_chosen_estimator_is_measured_at_once_and_one_taken_away_is_only_hidden(tiny):
    from app.shared.cache import measurements

    app = measure(open_app(model=tiny[0], data=tiny[1], n="90"))
    app = waited(app.multiselect(key="estimators").set_value(["twonn", "mle", "mind"]).run())
    assert not app.exception and not app.error
    assert "mind" in app.dataframe[0].value.columns
    assert app.query_params["estimators"] == "twonn,mle,mind"
    app.multiselect(key="estimators").set_value(["mind"]).run()
    assert app.session_state["estimators"] == ["twonn", "mind"]
    assert "mle" not in app.dataframe[0].value.columns
    assert set(measurements().find(replace(measurement_of(tiny), n_samples=90)).estimates) == {"twonn", "mle", "mind"}
    app.multiselect(key="estimators").set_value(["twonn", "mle", "mind"]).run()
    assert "mle" in app.dataframe[0].value.columns  # back without any work
    assert "Not measured yet" not in sentences(app.info)


def test_a_link_to_estimators_that_are_not_measured_draws_the_others_and_asks(tiny):
    measure(open_app(model=tiny[0], data=tiny[1], n="90"))
    app = open_app(model=tiny[0], data=tiny[1], n="90", estimators="twonn,mom", estimator="mom")
    assert "Not measured yet: MOM." in sentences(app.info)
    assert len(app.get("plotly_chart")) == 1
    app = waited(app.button(key="measure_missing").click().run())
    assert "Not measured yet" not in sentences(app.info)
    assert "mom" in app.dataframe[0].value.columns


def test_the_focus_goes_back_to_twonn_with_its_estimator(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="90", estimator="mle"))
    assert app.session_state["estimator"] == "mle"
    app.multiselect(key="estimators").set_value(["twonn"]).run()
    assert not app.exception
    assert app.session_state["estimator"] == "twonn"


def test_scales_and_sensitivity_are_drawn_when_asked_for(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="120", layer="2", view="scale"))
    assert len(app.get("plotly_chart")) == 1
    app = waited(app.button(key="measure_scales").click().run())
    assert not app.exception and not app.error
    assert len(app.get("plotly_chart")) == 3
    app.button(key="layer_after").click().run()
    assert app.session_state["layer"] == 3 and app.button(key="layer_after").disabled
    app = waited(app.button(key="measure_sensitivity").click().run())
    assert not app.exception and not app.error
    assert len(app.get("plotly_chart")) == 3 + len(VARIATIONS)
    assert "Left out, number of texts: 240" in sentences(app.caption)  # the file has 120


def test_baselines_are_measured_when_they_are_switched_on(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="110"))
    assert "twonn shuffled" not in app.dataframe[0].value.columns
    app = waited(app.toggle(key="baselines").set_value(True).run())
    assert not app.exception and not app.error
    assert {"twonn shuffled", "twonn gaussian"} <= set(app.dataframe[0].value.columns)


def test_an_error_of_other_scales_is_one_sentence_under_the_curve(tiny, monkeypatch):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="115", view="scale"))
    monkeypatch.setattr("gelora.measurements.measuring.add_scale_curves", failing)
    app = waited(app.button(key="measure_scales").click().run())
    assert not app.exception
    assert [e.value for e in app.error] == ["The layers have no scale; take others."]
    assert len(app.get("plotly_chart")) == 1


def failing(*_: object, **__: object) -> None:
    raise DataError("The layers have no scale; take others.")


def test_measure_then_the_finding_stands_over_the_curve(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="100"))
    assert not app.exception and not app.error
    text = sentences(app.markdown)
    assert "raises the dimension" in text or "No rise exceeds" in text
    assert len(app.get("plotly_chart")) == 1


def test_a_changed_choice_keeps_the_old_curve_marked_stale(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="100"))
    app.selectbox(key="pooling").select("cls").run()
    assert not app.exception
    assert "The choices have changed since" in sentences(app.warning)
    assert len(app.get("plotly_chart")) == 1


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "missing.jsonl"),
        (b'{"text": "one"}\nnot json\n', "line 2"),
        (b'{"text": ""}\n{"text": "   "}\n', "empty"),
        (b'{"text": "a good sentence", "label": NaN}\n{"text": "another good one", "label": 1}\n', "label"),
        (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), "rows.jsonl"),
    ],
    ids=["missing file", "wrong line", "empty texts", "NaN label", "a picture"],
)
def test_data_that_cannot_be_read_are_said_in_the_place_of_the_invitation(tiny, tmp_path, content, says):
    path = tmp_path / "missing.jsonl"
    if content is not None:
        path = tmp_path / "rows.jsonl"
        path.write_bytes(content)
    app = open_app(model=tiny[0], data=str(path), n="100")
    assert not app.exception
    assert says in sentences(app.error)
    assert "Nothing is measured yet" not in sentences(app.markdown) and app.button(key="measure").disabled
    assert any("Data · empty" in link.proto.label for link in app.get("page_link"))


def test_too_few_rows_are_one_sentence_on_the_page(tiny, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "only"}\n{"text": "three"}\n{"text": "rows"}\n')
    app = measure(open_app(model=tiny[0], data=str(path), n="100"))
    assert not app.exception
    assert "3" in sentences(app.error)


def test_data_are_shown_before_they_are_measured_and_wrong_roles_are_changed_there(tiny, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,other,label,stars\n" + "".join(f"first {i},second {i},{'' if i else 'a'},{i % 5}\n" for i in range(30)))
    app = open_app(model=tiny[0], data=str(path), n="100")
    assert "29 of 30 rows of the label column 'label'" in sentences(app.error)
    app.selectbox(key="preview_label").select("stars").run()
    assert not app.exception and not app.error
    assert "Nothing is measured yet" in sentences(app.markdown) and "**30 texts" not in sentences(app.markdown)
    assert "Labels (rows of each class): 0 6, 1 6, 2 6, 3 6, 4 6" in sentences(app.markdown)
    app.selectbox(key="preview_label_task").select("regression").run()
    app.selectbox(key="preview_text").select("other").run()
    assert not app.exception and (app.session_state["label_task"], app.session_state["text"]) == ("regression", "other")
    assert "from 0 to 4 (regression)" in sentences(app.caption)
    assert app.dataframe[0].value["text"].tolist()[:2] == ["second 0", "second 1"]


def test_a_file_that_changes_is_read_again(tiny, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("text,label\n" + "".join(f"row {i},a\n" for i in range(12)))
    app = open_app(model=tiny[0], data=str(path), n="100")
    assert "12 texts of" in sentences(app.markdown)
    path.write_text("text,label\n" + "".join(f"row {i},a\n" for i in range(34)))
    assert "34 texts of" in sentences(app.run().markdown)


def test_ranks_of_an_unmeasured_choice_are_asked_for_in_words(tiny):
    app = open_app("finetune", model=tiny[0], data=tiny[1], n="100", seed="123")
    assert not app.exception
    assert "press Measure first" in sentences(app.info)


def test_what_will_be_trained_is_said_before_start(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="100"))
    app.switch_page("../pages/finetune.py").run()
    assert not app.exception
    assert "**Classification**: *text* → *label* (2 classes)" in sentences(app.markdown)
    assert app.code[0].value.startswith("gelora train --model ")
    assert not app.button(key="start_run").disabled


def test_data_without_labels_cannot_be_started(tiny, tmp_path):
    path = tmp_path / "plain.jsonl"
    path.write_text("".join(json.dumps({"text": f"a plain text number {i}"}) + "\n" for i in range(40)))
    app = open_app("finetune", model=tiny[0], data=str(path), n="100")
    app.pills(key="train_what").set_value(["head"]).run()
    assert not app.exception
    assert "nothing to learn" in sentences(app.warning)
    assert app.button(key="start_run").disabled


def test_an_unknown_run_in_the_url_is_said_and_forgotten():
    app = open_app("finetune", run="20200101-0000-gone-0000")
    assert not app.exception
    assert "no run" in sentences(app.warning)


def test_every_page_opens_without_an_exception():
    for page in ("layers", "ranks", "finetune", "runs", "estimators"):
        assert not open_app(page, n="150", seed="78").exception, page


def test_what_is_taken_along_gives_the_plans_ranks_in_peft(tiny, tmp_path):
    from peft import LoraConfig

    from app.shared.cache import measurements
    from app.shared.components import adapter_config_json, lora_snippet
    from gelora.ranks import allocate_ranks

    measure(open_app(model=tiny[0], data=tiny[1], n="100"))
    profile = measurements().find(measurement_of(tiny))
    plan = allocate_ranks(profile, "all-linear", 2)
    expected = plan.to_lora_config()
    (tmp_path / "adapter_config.json").write_text(adapter_config_json(plan))
    assert LoraConfig.from_pretrained(str(tmp_path)).base_model_name_or_path == plan.model_id
    bundled = json.loads(adapter_config_json(replace(plan, model_id="all-MiniLM-L6-v2")))
    assert bundled["base_model_name_or_path"] == "sentence-transformers/all-MiniLM-L6-v2"
    found: dict = {}
    exec(lora_snippet(plan), found)
    for config in (LoraConfig.from_pretrained(str(tmp_path)), found["config"]):
        for field in ("r", "lora_alpha", "rank_pattern", "alpha_pattern"):
            assert getattr(config, field) == getattr(expected, field), field
        assert set(config.target_modules) == set(expected.target_modules)


def test_a_run_whose_loss_is_no_number_is_shown_as_failed(tiny, gelora_home):
    """As such a run leaves it: see tests/runs/test_detached_runs.py."""
    reason = "diverged: the loss became nan at step 1; lower the learning rate (now 0.001)"
    ended = {"status": "failed", "reason": reason, "step": 1, "metrics": {"majority_accuracy": 0.5}}
    run_id = write_run(runs_dir(), "20260301-100000-tiny-rows-aaaa", model=tiny[0], data=tiny[1], state=ended).name
    app = open_app("finetune", model=tiny[0], data=tiny[1], n="100", run=run_id)
    assert not app.exception
    assert f"✗ {run_id}: failed" in [heading.value for heading in app.subheader]
    assert "diverged: the loss became nan" in sentences(app.error)


def test_offset_zero_keeps_the_curve_and_says_what_is_missing(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="100", pooling="cls", length="32"))
    app.slider(key="offset").set_value(0).run()
    assert not app.exception
    assert len(app.get("plotly_chart")) == 1
    app.switch_page("../pages/ranks.py").run()
    assert not app.exception
    assert app.number_input(key="offset").value == 0


def test_a_layer_of_one_vector_has_a_reason_and_its_block_the_offset_alone(tiny):
    app = measure(open_app(model=tiny[0], data=tiny[1], n="100", pooling="cls", offset="2"))
    assert "embeddings: " in sentences(app.info) and "distinct" in sentences(app.info)
    app.switch_page("../pages/ranks.py").run()
    assert "Block 1: no dimension at embeddings" in sentences(app.info)
    assert "the rule gives the offset alone" in sentences(app.info)


def test_a_run_of_the_page_leaves_the_import_path_alone(tiny):
    open_app(n="150", seed="77")
    before = list(sys.path)
    seen = []

    def watch() -> None:
        while not over.is_set():
            seen.append(tuple(sys.path))

    over = threading.Event()
    watcher = threading.Thread(target=watch)
    watcher.start()
    open_app(n="150", seed="77")
    over.set()
    watcher.join()
    assert set(seen) == {tuple(before)}


def test_a_profile_without_a_report_on_sinks_still_says_where_it_is_undefined(tiny):
    """As profiles of earlier versions come back from a file."""
    from app.shared.cache import measurements

    measure(open_app(model=tiny[0], data=tiny[1], n="100", pooling="cls"))
    wanted = replace(measurement_of(tiny), pooling="cls")
    measurements().add(replace(wanted, seed=3), replace(measurements().find(wanted), sinks=None))
    app = open_app(model=tiny[0], data=tiny[1], n="100", pooling="cls", seed="3")
    assert not app.exception
    assert "1 distinct vector of 100" in sentences(app.info)


def test_illegal_values_of_a_link_are_said_until_they_are_changed():
    app = open_app("ranks", offset="-1", n="many", pooling="middle", strategy="uniform", plan_only="1")
    said = sentences(app.warning).replace("**", "")
    assert "offset=-1 in this link is not legal; 1 is shown." in said
    assert "n=many in this link is not legal; 1000 is shown." in said and "pooling=middle" in said and "strategy" not in said
    assert not app.exception
    app.selectbox(key="pooling").set_value("cls").run()
    assert "pooling" not in sentences(app.warning) and "n=many" in sentences(app.warning)
    hostile = open_app("layers", view="![x](http://example.org/x.png)" * 9)
    assert "view=![x](http://example.org/x.png)" in sentences(hostile.warning)
    assert not open_app("layers", offset="3").warning
