"""Fine-tune and Runs through Streamlit's own test runner: what a form means, what a run's page shows, what a table does."""

import dataclasses
import json
import os
import re
import shlex

import psutil
import pytest
from made_runs import plan_of, write_run
from playwright.sync_api import expect
from test_journey import LONG, open_page
from test_pages import measure, open_app, sentences

from app.finetune.form import shares, whole_numbers
from app.shared.shell import train_command, train_commands
from gelora.errors import InputError
from gelora.home import runs_dir
from gelora.records import DataChoice, RunSpec, TrainingConfig
from gelora.runs import RunNotes, list_runs, run_info


@pytest.fixture
def form(tiny, gelora_home):
    """form(**choices): the Fine-tune page with the tiny model, and what is chosen on it."""

    def opened(page: str = "finetune", **choices: str):
        return open_app(page, model=tiny[0], data=tiny[1], n="100", length="32", **choices)

    return opened


def planned(app) -> list[tuple]:
    """What the page says it will start: (run, seed) in order."""
    table = next(frame.value for frame in app.dataframe if "ranks by block" in frame.value.columns)
    return list(zip(table["run"], table["seed"], strict=True))


def choose(app, what: list[str], **texts: str):
    app.pills(key="train_what").set_value(what).run()
    for key, text in texts.items():
        app.text_input(key=f"train_{key}").set_value(text).run()
    assert not app.exception
    return app


def test_methods_and_seeds_of_one_form_are_all_its_runs(form):
    app = choose(form(), ["uniform", "head", "full"], seeds="0, 1", uniform="2, 4")
    each = ["uniform r = 2", "uniform r = 4", "head only", "full fine-tuning"]
    assert planned(app) == [(name, seed) for seed in (0, 1) for name in each]
    assert app.button(key="start_run").label == "Start 8 runs"


def test_offsets_and_estimators_are_swept(form):
    app = measure(form())
    app = choose(app, ["plan", "adalora"], offsets="1, 2")
    app.multiselect(key="train_estimators").set_value(["twonn", "mle"]).run()
    names = [name for name, _ in planned(app)]
    assert names[:4] == ["rule, offset 1", "rule, offset 2", "rule, offset 1, mle", "rule, offset 2, mle"]
    assert all(name.startswith("AdaLoRA at") for name in names[4:])


@pytest.mark.parametrize(
    ("what", "texts", "says"),
    [
        ([], {}, "Choose what to train"),
        (["head"], {"seeds": "0, x"}, "'x' is no whole number"),
        (["head"], {"seeds": ""}, "at least one number"),
        (["plan"], {}, "press Measure first"),
        (["uniform"], {"uniform": "0"}, "a whole number of at least 1"),
    ],
)
def test_what_cannot_be_started_says_why(form, what, texts, says):
    app = choose(form(), what, **texts)
    assert says in sentences(app.info)
    assert "start_run" not in [button.key for button in app.button]


def test_numbers_and_shares_as_people_write_them():
    assert whole_numbers("Seeds", "0-2, 7 9") == [0, 1, 2, 7, 9]
    assert shares(" 0.5; 0.25 ") == (0.25, 0.5) and shares("") == ()
    with pytest.raises(InputError, match=r"write 0\.25, 0\.5"):
        shares("half")


def test_settings_of_the_form_reach_the_run(form):
    app = choose(form(), ["uniform"], reallocate_at="0.5")
    app.number_input(key="train_gradient_accumulation").set_value(2).run()
    app.toggle(key="train_auto_batch").set_value(True).run()
    app.selectbox(key="train_precision").set_value("float32").run()
    app.toggle(key="train_use_dora").set_value(True).run()
    command = app.code[0].value
    for words in ("gradient_accumulation=2", "auto_batch=True", "precision=float32", "use_dora=True", "max_length=32", "--rank 2"):
        assert words in command
    assert "reallocate_at" not in command  # uniform ranks are the reference that stays


@pytest.mark.parametrize("n_rows", [4, 10, 120, 300, 4499, 4500, 9000])
@pytest.mark.parametrize("held_out", [None, 3, 700])
def test_rows_are_counted_as_the_runner_parts_them(n_rows, held_out):
    from app.finetune.intention import parted
    from app.finetune.task import TaskChoice
    from gelora.tasks.splitting import choose_rows

    data, other = DataChoice("rows.jsonl"), None if held_out is None else DataChoice("dev.jsonl")
    spec = RunSpec("tiny", data, None, TrainingConfig(method="head"), 0, other)
    own = None if held_out is None else ([(f"held out {i}",) for i in range(held_out)], None)
    train, evaluated, _ = choose_rows(spec, [(f"text {i}",) for i in range(n_rows)], None, own)
    task = TaskChoice("auto", "classification", data, other, "", (), n_rows, held_out, 2)
    assert parted(spec.training, task) == (len(train), len(evaluated))


def test_the_rows_of_a_small_file_and_of_held_out_data_are_said(form, tmp_path, tiny):
    app = choose(form(), ["head"])
    assert "107 rows to train, 13 held out, about 14 steps" in sentences(app.caption)
    dev = tmp_path / "dev.jsonl"
    dev.write_text("".join(json.dumps({"text": f"one {i}", "label": i % 2}) + "\n" for i in range(40)))
    app.text_input(key="train_held_out").set_value(str(dev)).run()
    assert "120 rows to train, 40 held out" in sentences(app.caption)


def test_with_finished_runs_the_page_does_not_say_that_there_are_none(form):
    assert "No run yet" in sentences(form().info)
    write_run(runs_dir(), "20260301-100000-tiny-a", method="head")
    app = form()
    said = sentences(app.info)
    assert "No run yet" not in said and "1 run finished, none with these ranks" in said
    assert "Open Runs" in [link.proto.label for link in app.get("page_link")]


def test_settings_that_differ_have_their_commas(form):
    write_run(runs_dir(), "20260301-100000-tiny-a", batch_size=1024, seed=5000)
    write_run(runs_dir(), "20260301-100001-tiny-b", seed=6000)
    app = form("runs")
    app.button(key="tick_all").click().run()
    differing = next(f.value for f in app.dataframe if "setting" in f.value.columns)
    shown = {value for row in differing.values.tolist() for value in row}
    assert {"1,024", "5000", "6000"} <= shown


@pytest.mark.browser
def test_a_measurement_asked_for_on_this_page_gives_it_its_ranks(dashboard, browser, tiny):
    page = open_page(browser, f"{dashboard.url}/finetune?model={tiny[0]}&data={tiny[1]}&n=100&length=64&estimators=twonn,mle")
    expect(page.get_by_text("press Measure first")).to_be_visible()
    page.get_by_role("button", name="Measure", exact=True).click()
    expect(page.get_by_role("button", name=re.compile("Start$"))).to_be_enabled(timeout=LONG)
    expect(page.get_by_test_id("stSidebar").get_by_role("button", name=re.compile("^Measure"))).to_be_enabled()
    page.close()


def test_columns_are_proposed_and_can_be_changed(form):
    app = choose(form(), ["head"])
    assert "**Classification**: *text* → *label* (2 classes)" in sentences(app.markdown)
    app.selectbox(key="train_task").set_value("regression").run()
    assert "**Regression**: *text* → *label*" in sentences(app.markdown)
    app.selectbox(key="train_task").set_value("question-answering").run()
    assert not app.exception and "question" in sentences(app.error)


def test_settings_survive_a_change_of_page(form):
    app = choose(form(), ["head"], seeds="3")
    app.number_input(key="train_epochs").set_value(1.5).run()
    app.switch_page("../pages/runs.py").run()
    app.switch_page("../pages/finetune.py").run()
    assert app.pills(key="train_what").value == ["head"]
    assert (app.text_input(key="train_seeds").value, app.number_input(key="train_epochs").value) == ("3", 1.5)


def test_a_run_is_repeated_with_its_own_choices(form):
    plan = dataclasses.replace(plan_of(3), strategy="gelora", offset=2, rounding="ceil", estimator="twonn")
    write_run(runs_dir(), "20260301-100000-tiny-a", plan=plan, seed=5, learning_rate=1e-3, batch_size=4, lora_dropout=0.1)
    app = form("runs")
    app.button(key="tick_all").click().run()
    app.button(key="repeat_run").click().run()
    assert not app.exception
    assert app.title[0].value == "Fine-tune"
    assert app.session_state["data"] == "rows.jsonl" and app.session_state["model"] == "tiny"
    assert app.text_input(key="train_seeds").value == "5"
    assert app.number_input(key="train_learning_rate").value == 1e-3
    assert app.number_input(key="train_lora_dropout").value == 0.1
    assert app.session_state["_again"] == ("20260301-100000-tiny-a", plan)
    assert not [w for w in app.warning if "default value" in w.value]


def test_the_table_is_filtered_by_state_and_text(form):
    write_run(runs_dir(), "20260301-100000-tiny-a", method="head")
    write_run(runs_dir(), "20260301-110000-tiny-b", state={"status": "failed", "reason": "out of memory"})
    app = form("runs")
    assert list(app.dataframe[0].value["run"]) == ["20260301-110000-tiny-b", "20260301-100000-tiny-a"]
    app.text_input(key="runs_text").set_value("memory").run()
    assert list(app.dataframe[0].value["run"]) == ["20260301-110000-tiny-b"]
    app.text_input(key="runs_text").set_value("").run()
    app.multiselect(key="runs_state").set_value(["finished"]).run()
    assert list(app.dataframe[0].value["run"]) == ["20260301-100000-tiny-a"]


def test_a_run_has_a_name_notes_and_tags_and_is_found_by_them(form):
    folders = [write_run(runs_dir(), f"20260101-00000{i}-tiny-a") for i in range(2)]
    app = form("runs")
    assert not {"name", "tags"} & set(app.dataframe[0].value.columns)
    app.text_input(key="runs_text").set_value(folders[0].name).run()
    app.button(key="tick_all").click().run()
    app.text_input(key=f"name_{folders[0].name}").set_value("first *try*")
    app.text_input(key=f"tags_{folders[0].name}").set_value("baseline, x")
    app.text_area(key=f"text_{folders[0].name}").set_value("it diverged")
    next(button for button in app.button if button.label == "Keep").click().run()
    assert not app.exception and not app.error
    assert run_info(folders[0].name).notes == RunNotes("first *try*", "it diverged", ("baseline", "x"))
    app.text_input(key="runs_text").set_value("diverged").run()
    (row,) = app.dataframe[0].value.to_dict("records")
    assert (row["name"], row["tags"], row["run"]) == ("first *try*", "baseline, x", folders[0].name)


def test_deleting_says_what_goes_and_asks(form):
    folder = write_run(runs_dir(), "20260301-100000-tiny-a")
    app = form("runs")
    app.button(key="tick_all").click().run()
    app.button(key="delete_runs").click().run()
    assert "removes 1 run for good: metrics, log, checkpoints and 0 adapters" in sentences(app.warning)
    app.button(key="delete_kept").click().run()
    assert folder.is_dir()
    app.button(key="delete_runs").click().run()
    app.button(key="delete_confirmed").click().run()
    assert not app.exception and not folder.exists()
    assert "No runs yet" in sentences(app.info)


def test_seeds_are_summed_up_and_what_differs_is_listed(form):
    for seed, score in ((0, 0.6), (1, 0.8)):
        write_run(runs_dir(), f"20260301-10000{seed}-tiny-a", seed=seed, state={"metrics": {"eval_accuracy": score}})
    write_run(runs_dir(), "20260301-100003-tiny-b", r=8, state={"metrics": {"eval_accuracy": 0.9}})
    app = form("runs")
    groups = next(f.value for f in app.dataframe if "mean" in f.value.columns)
    assert list(groups["runs"]) == ["uniform r = 2", "uniform r = 8"]
    assert groups["mean"].tolist() == pytest.approx([0.7, 0.9]) and groups["seeds"].tolist() == [2, 1]
    app.button(key="tick_all").click().run()
    differing = next(f.value for f in app.dataframe if "setting" in f.value.columns)
    assert list(differing["setting"]) == ["ranks by block", "adapter parameters", "seed"]


MEASURED = {
    "seconds": 0.5, "share": 0.031, "estimator": "twonn", "layer_names": ["embeddings", "block 1", "block 2"], "wanted": {"1": 3, "2": 1},
    "installed": {"1": 2, "2": 2}, "reallocated": False, "note": None,
}  # fmt: skip


def test_the_geometry_of_a_run_is_shown_with_its_cost(form):
    folder = write_run(runs_dir(), "20260301-100000-tiny-a")
    lines = [MEASURED | {"step": step, "dimensions": [None, 11.0, 9.0 + step]} for step in (0, 50, 100)]
    lines[2]["note"] = "embeddings: 3 distinct vectors of 256"
    (folder / "geometry.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    app = form(run=folder.name)
    assert not app.exception
    assert "Measuring cost 3.1% of training (1.5 s in 3 measurements)." in sentences(app.caption)
    assert "Step 100: embeddings: 3 distinct vectors of 256" in sentences(app.caption)
    app.select_slider(key=f"geometry_at_{folder.name}").set_value(0).run()
    assert not app.exception and "3 distinct vectors" not in sentences(app.caption)
    maps = form("runs")
    assert "How the dimension drifts" in [heading.value for heading in maps.subheader]


def test_examples_provenance_and_log_are_shown(form):
    folder = write_run(runs_dir(), "20260301-100000-tiny-a")
    rows = [{"given": "a good film", "truth": "1", "prediction": "0", "right": False}]
    (folder / "examples.json").write_text(json.dumps({"step": 100, "rows": rows}))
    (folder / "provenance.json").write_text(json.dumps({"versions": {"torch": "2.13"}, "command": "gelora train --spec spec.json"}))
    (folder / "log.txt").write_text("step 100/100 loss=0.7\n")
    app = form(run=folder.name)
    shown = next(f.value for f in app.dataframe if "prediction" in f.value.columns)
    assert shown.values.tolist() == [["✗", "0", "1", "a good film"]]
    facts = next(f.value for f in app.dataframe if "what" in f.value.columns)
    assert dict(zip(facts["what"], facts["value"], strict=True))["versions torch"] == "2.13"
    codes = [code.value for code in app.code]
    assert "gelora train --spec spec.json" in codes and "step 100/100 loss=0.7" in codes


def test_a_damaged_file_is_said_and_the_rest_is_drawn(form):
    folder = write_run(runs_dir(), "20260301-100000-tiny-a")
    (folder / "examples.json").write_text("{half")
    app = form(run=folder.name)
    assert not app.exception
    assert "examples.json is damaged" in sentences(app.error)
    assert "fingerprint" in " ".join(" ".join(map(str, f.value.get("what", []))) for f in app.dataframe)


def test_a_queued_run_says_how_many_go_before_it(form):
    me = {"pid": os.getpid(), "pid_create_time": psutil.Process().create_time()}
    write_run(runs_dir(), "20260301-100000-tiny-a", state={"status": "running", **me})
    write_run(runs_dir(), "20260301-100001-tiny-b", state={"status": "queued", "queue_place": 1, "step": 0, **me})
    write_run(runs_dir(), "20260301-100002-tiny-c", state={"status": "queued", "queue_place": 2, "step": 0, **me})
    assert [run.state.status for run in list_runs()] == ["queued", "queued", "running"]
    app = form(run="20260301-100002-tiny-c")
    assert not app.exception
    assert "place 2 in the queue; waits for 2 runs" in sentences(app.info)
    opened = [button.key for button in app.button if button.key and button.key.startswith("open_")]
    assert opened == ["open_20260301-100000-tiny-a", "open_20260301-100001-tiny-b"]
    app.button(key="open_20260301-100000-tiny-a").click().run()
    assert app.session_state["run"] == "20260301-100000-tiny-a"


def test_commands_say_the_run():
    base = RunSpec("tiny", DataChoice("rows.jsonl"), None, TrainingConfig(method="bitfit", epochs=1.0), 3, DataChoice("dev.jsonl"))
    command = "gelora train --model tiny --dataset rows.jsonl --method bitfit --held-out dev.jsonl --set epochs=1.0"
    assert train_command(base) == command + " --seed 3"
    other = dataclasses.replace(base, seed=4)
    assert train_commands([base, other]) == [command + " --seeds 3,4"]


def test_the_command_line_reads_a_command_as_the_very_runs(tiny):
    from gelora.cli import _parser
    from gelora.commands.run_specs import run_specs
    from gelora.ranks import uniform_ranks
    from gelora.sources import model_structure

    model, data = tiny
    training = TrainingConfig(learning_rate=1e-3, gradient_checkpointing=True, auto_batch=True, reallocate_at=(0.25, 0.5))
    choice = DataChoice(data, text_column="text", pair_column="", label_column="label")
    lora = RunSpec(model, choice, uniform_ranks(model_structure(model), 4), training, 0, dataclasses.replace(choice, dataset="dev.jsonl"))
    dora = dataclasses.replace(lora, training=TrainingConfig(use_dora=True, precision="float32"), held_out=None)
    head = RunSpec(model, choice, None, TrainingConfig(method="head"), 7)
    specs = [lora, dataclasses.replace(lora, seed=3), dora, head]
    read = [spec for command in train_commands(specs) for spec in run_specs(_parser().parse_args(shlex.split(command)[1:]))]
    assert [spec.digest() for spec in read] == [spec.digest() for spec in specs]


def test_two_names_for_the_same_ranks_are_said():
    from app.finetune.intention import same_runs

    uniform = plan_of(2)
    rule = dataclasses.replace(uniform, strategy="gelora", offset=2, rounding="ceil", estimator="twonn")
    base = RunSpec("tiny", DataChoice("rows.jsonl"), uniform, TrainingConfig(), 0)
    specs = [dataclasses.replace(base, plan=plan, seed=seed) for seed in (0, 1) for plan in (uniform, rule, plan_of(4))]
    assert same_runs(specs) == [("uniform r = 2", "rule, offset 2")]
    dora = dataclasses.replace(base, plan=rule, training=dataclasses.replace(base.training, use_dora=True))
    assert same_runs([base, dora]) == []  # the same ranks, trained in another way
