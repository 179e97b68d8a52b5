"""Home and the frame: how the stations stand, what the demonstrations start, what is said of the machine, where chips lead."""

import json
import re
from dataclasses import replace

import pytest
from made_runs import write_run
from playwright.sync_api import expect
from test_journey import LONG, open_page
from test_pages import measure, open_app, sentences

from app.home import demos
from app.shared import pipeline
from gelora.home import runs_dir
from gelora.measurements import MeasurementSpec
from gelora.ranks import allocate_ranks
from gelora.records import DataChoice

NAMES = ["Data", "States", "Dimension", "Ranks", "Run"]


@pytest.fixture(autouse=True)
def home_of_its_own(tmp_path, monkeypatch):
    """No runs and no measurements of other tests, and no preparation that reads the bundled sentences."""
    monkeypatch.setenv("GELORA_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("app.home.parts.warm_up", lambda: None)


def stood(app) -> dict[str, str]:
    """Station -> state, as the picture says it."""
    found = re.findall(r'class="name">(\w+)</div><div class="how">(\w+)<', " ".join(e.proto.body for e in app.get("html")))
    assert [name for name, _ in found] == NAMES
    return dict(found)


def chips(app) -> list[str]:
    """The labels of the chips, without the mark of the page one is on."""
    return [link.proto.label.strip("*") for link in app.get("page_link")[:5]]


def home(tiny, **choices: str):
    return open_app("home", model=tiny[0], data=tiny[1], n="100", **choices)


def test_home_is_the_first_page_and_an_old_link_still_finds_its_own(tiny):
    from streamlit.testing.v1 import AppTest
    from test_pages import ENTRY

    app = AppTest.from_file(ENTRY, default_timeout=120).run()
    assert not app.exception and app.title[0].value == "GeLoRA Lab"
    app = AppTest.from_file(ENTRY, default_timeout=120)
    app.query_params["page"] = "calibration-is-no-page"
    assert app.run().title[0].value == "GeLoRA Lab"


def test_without_a_measurement_only_what_lies_on_disk_is_done(tiny):
    app = home(tiny)
    assert not app.exception
    assert stood(app) == {"Data": "done", "States": "empty", "Dimension": "empty", "Ranks": "empty", "Run": "empty"}
    assert chips(app) == ["✓ Data · done", "○ States · empty", "○ Dimension · empty", "○ Ranks · empty", "○ Run · empty"]


def test_a_file_is_said_with_the_texts_that_it_has(tiny):
    app = open_app("home", model=tiny[0], data=tiny[1], n="1000")
    assert "120 texts of " in " ".join(e.proto.body for e in app.get("html"))
    assert "120 texts of *" in sentences(open_app("layers", model=tiny[0], data=tiny[1], n="1000").markdown)


def test_what_is_made_ready_is_listed_and_sizes_have_their_unit():
    from app.shared.run_words import listed, size

    assert listed(["a"]) == "a" and listed(["a", "b"]) == "a and b" and listed(["a", "b", "c"]) == "a, b and c"
    assert [size(n) for n in (12, 24_300, 999_600, 2_400_000, 3e9)] == ["12 B", "24 KB", "1.0 MB", "2.4 MB", "3.0 GB"]


def test_the_demonstration_of_the_offset_promises_what_the_finding_allows():
    assert "point estimates" in demos.DEMOS["offset"].words and "within their intervals" in demos.DEMOS["offset"].words


def test_data_that_is_not_there_is_no_done_station(tiny):
    assert stood(open_app("home", model=tiny[0], data="nobody/nothing", n="100"))["Data"] == "empty"


def test_a_measurement_fills_the_stations_and_another_choice_makes_them_stale(tiny):
    app = measure(home(tiny))
    assert stood(app) == {"Data": "done", "States": "done", "Dimension": "done", "Ranks": "done", "Run": "empty"}
    picture = " ".join(e.proto.body for e in app.get("html"))
    assert "100 texts of " in picture and "layers × 100 × 32" in picture and "parameters" in picture
    app.selectbox(key="pooling").select("cls").run()
    assert stood(app) == {"Data": "done", "States": "stale", "Dimension": "stale", "Ranks": "stale", "Run": "empty"}
    assert "◌ Dimension · stale" in chips(app)


def test_a_measurement_under_way_is_running_where_it_is(tiny, monkeypatch):
    from app.shared.cache import measurements
    from gelora.measurements import MeasuringJob, Quantity

    wanted = MeasurementSpec(tiny[0], DataChoice(tiny[1]), 100, 0, True, "mean", 128)
    job = MeasuringJob(wanted=wanted, quantity=Quantity("estimators", ("twonn",)), stage="Hidden states", done=40, total=100)
    monkeypatch.setattr(measurements(), "jobs", lambda _: [job])
    app = home(tiny)
    assert stood(app) == {"Data": "done", "States": "running", "Dimension": "empty", "Ranks": "empty", "Run": "empty"}
    assert "hidden states 40 of 100" in " ".join(e.proto.body for e in app.get("html"))
    job.now = "TwoNN"
    assert stood(app.run())["Dimension"] == "running"


def test_the_run_station_knows_runs_of_other_ranks_from_those_of_these(tiny):
    from app.shared.cache import measurements

    write_run(runs_dir(), "20260301-100000-tiny-rows-aaaa")
    app = measure(home(tiny))
    assert stood(app)["Run"] == "stale"
    profile = measurements().find(MeasurementSpec(tiny[0], DataChoice(tiny[1]), 100, 0, True, "mean", 128))
    plan = allocate_ranks(profile, "attention", 1)
    write_run(runs_dir(), "20260301-110000-tiny-rows-bbbb", plan=plan, model=tiny[0], data=tiny[1])
    assert stood(app.run())["Run"] == "done"
    app.session_state["offset"] = 3
    assert stood(app.run())["Run"] == "stale"


def test_the_last_three_runs_lead_to_their_live_view(tiny):
    for i in range(4):
        write_run(runs_dir(), f"20260301-10000{i}-tiny-rows-000{i}", seed=i)
    app = home(tiny)
    shown = [b.key for b in app.button if b.key and b.key.startswith("open_2026")]
    assert shown == [f"open_20260301-10000{i}-tiny-rows-000{i}" for i in (3, 2, 1)]
    app.button(key=shown[1]).click().run()
    assert not app.exception
    assert app.title[0].value == "Fine-tune" and app.session_state["run"] == "20260301-100002-tiny-rows-0002"


def test_what_is_on_this_machine_is_said(tiny, tmp_path):
    from app.shared.cache import pool

    app = home(tiny)
    assert all(job.wait(240) for job in pool().jobs("lookup"))
    said = " ".join(e.proto.body for e in app.run().get("html"))
    for words in ("Device", "Memory", "GB free", str(tmp_path / "home"), "Network", "torch 2"):
        assert words in said
    assert "looking" not in said


@pytest.mark.parametrize(("name", "n", "page"), [("curve", 1000, "Layers"), ("offset", 500, "Ranks")])
def test_a_demonstration_sets_its_choices_measures_them_and_opens_its_page(tiny, monkeypatch, name, n, page):
    from app.shared.cache import measurements

    started = []
    monkeypatch.setattr(measurements(), "start", lambda measurement, task, again=False: started.append((measurement, task)))
    app = home(tiny, pooling="cls", offset="5")
    app.button(key=f"demo_{name}").click().run()
    assert not app.exception
    assert app.title[0].value == page
    [(measurement, task)] = started
    assert measurement == MeasurementSpec("all-MiniLM-L6-v2", DataChoice("docstrings"), n, 0, True, "mean", 128)
    assert "twonn" in task.names and app.session_state["offset"] == (2 if name == "offset" else 1)


def test_train_and_watch_measures_then_starts_the_run_and_opens_it(tiny, monkeypatch):
    choices = {"model": tiny[0], "data": tiny[1], "n": 100, "estimators": ["twonn"], "offset": 2}
    monkeypatch.setitem(demos.DEMOS, "train", demos.Demo("Train", "", "", "", "finetune", ":material/bolt:", choices))
    specs = []

    def started(spec):
        specs.append(spec)
        return write_run(runs_dir(), "20260301-100000-tiny-rows-cccc", plan=spec.plan, model=spec.model, data=spec.data.dataset).name

    monkeypatch.setattr(demos, "start_run", started)
    app = home(tiny)
    app.button(key="demo_train").click().run()
    assert app.session_state["_demo"].wait(120)
    app.run()
    assert not app.exception
    [spec] = specs
    assert spec.training == demos.TRAINING and spec.plan.offset == 2 and spec.data.dataset == tiny[1]
    assert app.title[0].value == "Fine-tune" and app.session_state["run"] == "20260301-100000-tiny-rows-cccc"


def test_what_stops_a_demonstration_is_a_sentence(tiny, monkeypatch):
    choices = {"model": "nobody/nothing", "data": tiny[1], "n": 100, "estimators": ["twonn"]}
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setitem(demos.DEMOS, "train", demos.Demo("Train", "", "", "", "finetune", ":material/bolt:", choices))
    app = home(tiny)
    app.button(key="demo_train").click().run()
    assert app.session_state["_demo"].wait(120)
    app.run()
    assert not app.exception and app.title[0].value == "GeLoRA Lab"
    assert "nobody/nothing" in sentences(app.error)


def test_measure_says_its_seconds_once_the_like_was_measured_here(tiny):
    from gelora.measurements import seconds_of

    app = home(tiny)
    assert app.button(key="measure").label == "Measure"
    measure(app)
    wanted = MeasurementSpec(tiny[0], DataChoice(tiny[1]), 100, 0, True, "mean", 128)
    seconds = seconds_of(wanted, ["mle", "twonn"])
    assert seconds > 0
    assert seconds_of(replace(wanted, n_samples=200), ["twonn", "mle"]) == pytest.approx(2 * seconds)
    assert seconds_of(replace(wanted, n_samples=5000), ["twonn", "mle"]) is None
    assert seconds_of(replace(wanted, model="another"), ["twonn", "mle"]) is None
    app = open_app("home", model=tiny[0], data=tiny[1], n="100", seed="5")
    assert app.button(key="measure").label == rf"Measure \~{max(seconds, 1):.0f} s"
    assert home(tiny).button(key="measure").label == "Measure"  # it is all there


def test_a_page_that_belongs_to_no_step_shows_the_first_that_is_not_done():
    made = [
        pipeline.Station(name, "layers", state, "") for name, state in zip(NAMES, ["done", "done", "stale", "empty", "done"], strict=True)
    ]
    assert pipeline.step_of(made, "ranks") == 4
    assert pipeline.step_of(made, "home") == 3
    assert pipeline.step_of([pipeline.Station("Data", "layers", "done", "")], "home") == 1


@pytest.mark.browser
@pytest.mark.parametrize("width", [1280, 390])
def test_chips_lead_on_and_take_the_choices_along(dashboard, browser, tiny, width):
    model, data = tiny
    page = open_page(browser, f"{dashboard.url}/?model={model}&data={data}&n=100&length=32&offset=3", width=width)
    expect(page.get_by_role("heading", level=1, name="GeLoRA Lab")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    expect(page.get_by_role("group", name=re.compile(r"Step \d, "))).to_have_count(5)
    chip = page.locator(".st-key-stations").get_by_role("link", name=re.compile("Ranks"))
    if width == 390:
        expect(chip).to_be_hidden()
        page.get_by_role("button", name=re.compile(r"Step \d of 5")).click()
        page.get_by_role("link", name=re.compile("4 .*Ranks")).click()
    else:
        expect(page.locator(".st-key-step")).to_be_hidden()
        assert chip.evaluate("a => parseFloat(getComputedStyle(a).paddingLeft)") >= 4
        texts = page.locator(".st-key-stations a *").evaluate_all(
            "all => all.every(e => e.scrollWidth <= e.clientWidth + 1 || !e.clientWidth)"
        )
        assert texts, "a chip's text is cut"
        chip.click()
    expect(page.get_by_role("heading", level=1, name="Ranks")).to_be_visible(timeout=LONG)
    expect(page).to_have_url(re.compile("offset=3"))
    assert json.loads(page.evaluate("JSON.stringify(location.pathname)")) == "/ranks"
    page.close()
