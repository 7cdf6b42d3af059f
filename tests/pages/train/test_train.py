"""The Train page: cohorts are checked, a training outlives the page, is stopped, resumed and installed."""

from __future__ import annotations

import io
import json
import re
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import BrowserContext, expect
from streamlit.testing.v1 import AppTest

import engine
from engine.cli.arguments import parser
from engine.cohort.filter import FilterError
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume
from engine.training.gallery import write_sample
from engine.training.journal import FILE, read, recording
from pages.components.train.cohort import CohortError, check, facts
from pages.components.train.work import LOG, Training, TrainingError, curves, install, look, runs, start, stop
from tests.inference.test_table_models import write_people
from tests.pages.conftest import ROOT, WAIT, Served

PAGE = "pages/6_Train.py"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where runs are kept, and checkpoints beside it."""
    monkeypatch.setenv("SOMATWIN_RUNS", str(tmp_path / "runs"))
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path / "checkpoints"))
    (tmp_path / "runs").mkdir()
    (tmp_path / "checkpoints").mkdir()
    return tmp_path / "runs"


@pytest.fixture
def app(folder: Path) -> AppTest:
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page(PAGE)


def journal_of(run: Path, *events: dict) -> Path:
    run.mkdir()
    (run / FILE).write_text("".join(json.dumps({"time": 100.0 + k, **event}) + "\n" for k, event in enumerate(events)))
    return run


BEGIN = {"event": "begin", "pid": 1, "recipe": "tiny", "store": "/data/balls", "minutes": 5, "size": "cpu"}


def step(k: int, loss: float) -> dict:
    return {"event": "progress", "stage": "flow", "step": k, "total": 100, "seconds": 9.0, "losses": {"image": loss}}


def test_a_run_directory_tells_what_became_of_it(folder: Path):
    end = {"event": "end", "outcome": "failed", "reason": "no room"}
    after = {"event": "progress", "stage": "fingerprint", "step": 1, "total": 1, "seconds": 0, "losses": {}}
    failed = look(journal_of(folder / "failed", BEGIN, step(50, 2.0), after, end))
    assert (failed.state, failed.reason, failed.step, failed.left) == ("failed", "no room", 50, None)
    crashed = journal_of(folder / "crashed", BEGIN, step(50, 2.0), {**BEGIN, "from": "tiny"}, step(60, 1.0))
    (crashed / LOG).write_text("flow 60 of 100\nsomatwin: out of memory\n\n")
    assert (look(crashed).state, look(crashed).reason) == ("crashed", "out of memory")
    again = look(crashed).again(minutes=3)
    assert (again.recipe, again.store, again.minutes, again.folder) == ("tiny", "/data/balls", 3, crashed)
    assert (again.source, look(failed.folder).again(minutes=3).source) == ("tiny", "")
    with recording(folder / "going", {"recipe": "tiny", "minutes": 1}) as notes:
        notes.progress("flow", 50, 60, 100.0, {"image": 1.0})
        going = look(folder / "going")
        assert going.state == "running"
        assert going.left == pytest.approx(20, abs=1)
        assert {run.name: run.active for run in runs()} == {"going": True, "crashed": False, "failed": False}


def test_steps_that_a_crash_undid_are_left_out():
    drawn = curves([step(50, 3.0), step(100, 2.0), step(75, 2.5), step(100, 1.0)])
    assert drawn == {"flow": {"image": ([50, 75, 100], [3.0, 2.5, 1.0])}}


def test_a_cohort_is_summed_up(tmp_path: Path, tiny_store: CohortStore):
    people = check(f'"{write_people(tmp_path / "people.csv", 200)}"', "table")
    assert (people.persons, sum(people.split.values()), people.split["validation"]) == (200, 200, 0)
    assert people.columns["sex"] == "F, M"
    assert people.columns["bmi"] == "computed"
    assert "missing" in people.missing["body_fat"]
    balls = check(str(tiny_store.path), "tiny")
    assert balls.grid == "32 x 32 x 32 voxels of 6 x 6 x 6 mm, T1w"
    assert balls.split == {"train": len(tiny_store.split()["train"]), "validation": 2, "test": 6}


def test_persons_are_chosen_by_an_expression(tmp_path: Path):
    people = write_people(tmp_path / "people.csv", 200)
    everybody, women = check(str(people), "table"), check(str(people), "table", where="sex == 'F' and age >= 40")
    assert everybody.chosen == ()
    assert women.chosen[0] == f"{sum(women.split.values())} of 200 persons fit"
    assert [line.split(":")[0].strip() for line in women.chosen[1:]] == ["sex == 'F'", "age >= 40"]
    assert 0 < women.split["train"] < everybody.split["train"]
    assert facts(everybody)["Persons"].startswith("200: ")
    assert facts(women)["Persons"].startswith(f"{sum(women.split.values())} of 200: ")
    assert women.columns["age"].startswith("4")
    with pytest.raises(FilterError, match=r"there is no column 'weihgt'; did you mean weight_kg\?"):
        check(str(people), "table", where="weihgt > 80")
    with pytest.raises(FilterError, match="none of those who train fits"):
        check(str(people), "table", where="age > 300")


def test_what_cannot_be_trained_on_is_refused_with_a_remedy(tmp_path: Path, tiny_store: CohortStore):
    people = write_people(tmp_path / "people.csv", 200)
    few = write_people(tmp_path / "few.csv", 5)
    (tmp_path / "bids").mkdir()
    (tmp_path / "bids" / "participants.tsv").write_text("participant_id\n")
    for path, recipe, words in (
        (tmp_path / "none", "tiny", "there is nothing at .*none: give a folder"),
        (people, "tiny", "is a file: .* takes the recipe table"),
        (tmp_path, "table", "is a folder: the recipe table takes a CSV"),
        (tmp_path / "bids", "head_t1", "is a BIDS folder: run somatwin ingest .* --recipe head_t1"),
        (few, "table", "persons to train on: give 8 or more"),
    ):
        with pytest.raises(CohortError, match=words):
            check(str(path), recipe)
    with pytest.raises(ValueError, match="ingest it with --recipe head_t1"):
        check(str(tiny_store.path), "head_t1")
    with pytest.raises(ValueError, match=r"has no store.json, so it is not a finished store"):
        check(str(tmp_path), "tiny")


#: a training without networks: it goes on until it is stopped, and when it was stopped once, it ends by itself
STAND_IN = """
import sys, time
from pathlib import Path
from engine.training.journal import read, recording, stop_asked
folder = Path(sys.argv[1])
if "gone" in folder.name:
    sys.exit("somatwin: there is no such store; ingest a data set first")
step = len(read(folder))
with recording(folder, {"recipe": "table", "store": "people.csv", "minutes": 1}) as notes:
    while not stop_asked() and step < 4:
        notes.progress("flow", 1, 2, 1.0, {"table": 1.0})
        time.sleep(0.02)
    if stop_asked():
        raise KeyboardInterrupt
"""


@pytest.fixture
def stand_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Training, "command", lambda self: [sys.executable, "-c", STAND_IN, str(self.folder)])


def test_what_goes_on_keeps_its_privacy_budget(folder: Path):
    guarded = journal_of(folder / "guarded", {**BEGIN, "epsilon": 3.0, "delta": None}, step(50, 2.0))
    assert look(guarded).again(minutes=3).command()[-2:] == ["--epsilon", "3.0"]


def test_the_command_is_one_that_the_engine_takes(folder: Path):
    training = Training(
        name="mine",
        recipe="table",
        store="/data/my people.csv",
        minutes=12.5,
        size="gpu",
        source="adults",
        where="sex == 'F'",
        epsilon="3",
        delta="1e-05",
    )
    python, *words = training.command()
    assert (python, words[:2]) == (sys.executable, ["-m", "engine"])
    args = parser().parse_args(words[2:])
    assert (args.command, args.recipe, args.store) == ("train", "table", Path("/data/my people.csv"))
    assert (args.run_dir, args.minutes, args.size, args.source) == (folder / "mine", 12.5, "gpu", "adults")
    assert args.where == "sex == 'F'"
    assert (args.epsilon, args.delta) == (3, 1e-5)


@pytest.mark.usefixtures("stand_in")
def test_a_training_is_started_once_stopped_and_resumed(folder: Path):
    training = Training(name="table-1", recipe="table", store="people.csv", minutes=30)
    start(training)
    with pytest.raises(TrainingError, match="being trained already"):
        start(training)
    stop(look(training.folder))
    wait_for(lambda: not look(training.folder).active)
    run = look(training.folder)
    assert run.state == "stopped"
    with pytest.raises(TrainingError, match="no finished checkpoint yet"):
        install(run, "mine")
    start(run.again(minutes=1))
    wait_for(lambda: not look(training.folder).active)
    assert look(training.folder).state == "finished"
    events = [event["event"] for event in read(training.folder) if event["event"] != "progress"]
    assert events == ["begin", "stopping", "end", "begin", "end"]


@pytest.mark.usefixtures("stand_in")
def test_a_start_that_is_refused_leaves_nothing_behind(folder: Path):
    for name, words in (("a/b", "is no name for a run"), ("gone", "^there is no such store; ingest a data set first")):
        with pytest.raises(TrainingError, match=words):
            start(Training(name=name, recipe="tiny", store="gone", minutes=1))
    assert not list(folder.iterdir())


def test_a_checkpoint_is_installed_whole_and_never_over_another(folder: Path, tiny_run: Path):
    journal_of(folder / "done", BEGIN, {"event": "end", "outcome": "finished"})
    (folder / "done" / "checkpoint").symlink_to(tiny_run / "checkpoint")
    run = look(folder / "done")
    target = install(run, "mine")
    assert target.parent == folder.parent / "checkpoints"
    assert engine.load("mine", "cpu").digest == engine.load(tiny_run / "checkpoint", "cpu").digest
    for name, words in (("mine", "already: choose another name"), ("../up", "is no name for a model")):
        with pytest.raises(TrainingError, match=words):
            install(run, name)


def test_a_training_can_go_on_from_models_of_its_own_sizes_only(
    app: AppTest, tmp_path: Path, tiny_store: CohortStore, tiny_run: Path
):
    for name in ("mine", "other"):
        shutil.copytree(tiny_run / "checkpoint", tmp_path / "checkpoints" / name)
    config = tmp_path / "checkpoints" / "other" / "config.json"
    config.write_text(config.read_text().replace('"rank": 32', '"rank": 16'))
    app.run()
    app.segmented_control(key="train.recipe").set_value("tiny").run()
    assert app.selectbox(key="train.from.tiny.cpu").options == ["nothing", "mine"]
    app.segmented_control(key="train.recipe").set_value("head_t1").run()
    assert app.selectbox(key="train.from.head_t1.cpu").options == ["nothing"]
    assert not app.exception


def wait_for(condition: Callable[[], bool], seconds: float = WAIT / 1000) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it took too long"
        time.sleep(0.1)


def test_the_form_checks_and_the_page_shows_failed_and_stopped_runs(app: AppTest, folder: Path, tmp_path: Path):
    def why() -> tuple[bool, str]:
        (button,) = (b for b in app.button if b.label == "Start training")
        said = [text.value.split("] ", 1)[1] for text in app.markdown if text.value.startswith(":orange[")]
        return button.disabled, " ".join(said)

    app.run()
    assert not app.exception
    assert why() == (True, "Give the path of a cohort first.")
    app.segmented_control(key="train.recipe").set_value("table").run()
    app.text_input(key="train.path.True").set_value(str(tmp_path / "none.csv")).run()
    assert why() == (True, f"There is nothing at {tmp_path / 'none.csv'}: give a file on this machine.")
    app.text_input(key="train.path.True").set_value(str(write_people(tmp_path / "people.csv", 200))).run()
    assert why() == (False, "")
    assert app.table[0].value.loc["sex", "In training"] == "F, M"
    app.text_input(key="train.where").set_value("sex == 'F'").run()
    assert re.match(r"\d+ of 200 persons fit  \n", app.caption[-2].value)
    app.text_input(key="train.where").set_value("sex = 'F'").run()
    assert why()[0]
    assert why()[1].startswith("The expression cannot be read")

    journal_of(folder / "old", BEGIN, step(50, 2.0), {"event": "end", "outcome": "failed", "reason": "no room"})
    app.run()
    app.radio(key="train.run").set_value("old").run()
    assert not app.exception
    assert app.error[0].value == "No room."
    assert app.query_params["run"] == "old"
    (chart,) = app.get("plotly_chart")
    (trace,) = json.loads(chart.proto.spec)["data"]
    assert (trace["name"], json.loads(chart.proto.spec)["layout"]["yaxis"]["type"]) == ("image", "log")


def test_samples_are_of_their_run_and_the_newest_unless_the_reader_goes_back(app: AppTest, folder: Path):
    nobody = [("nobody, seed 0", Volume(np.ones((2, 2, 2), np.float32), np.eye(4)))]
    end = {"event": "end", "outcome": "finished"}
    one, _ = (journal_of(folder / name, BEGIN, step(50, 2.0), end) for name in ("one", "two"))
    app.query_params["run"] = "one"
    for k in (10, 20):
        write_sample(one, k, nobody)
    app.run()
    assert not app.exception

    def slider() -> Any:
        return app.select_slider(key="train.sample.one")

    assert (slider().options, slider().value) == (["10", "20"], 20)
    (picture,) = app.get("image")
    assert picture.proto.imgs[0].alt == "Synthetic persons after step 20: nobody, seed 0"
    write_sample(one, 30, nobody)
    app.run()
    assert slider().value == 30
    slider().set_value(10).run()
    write_sample(one, 40, nobody)
    app.run()
    assert slider().value == 10
    assert any(caption.value.startswith("Step 10. Each time the same seeds: nobody") for caption in app.caption)
    app.radio(key="train.run").set_value("two").run()
    assert not app.exception
    assert not app.select_slider
    assert not app.get("image")


@pytest.fixture
def fresh(served: Served) -> Iterator[Served]:
    """The server, rid of what a training leaves."""
    yield served
    for folder in (served.runs / "tiny-1", served.checkpoints / "tiny-1"):
        shutil.rmtree(folder, ignore_errors=True)


def test_a_training_goes_on_while_nobody_looks(
    fresh: Served, tiny_store: CohortStore, launch: Callable[..., BrowserContext]
):
    """A person starts a training, closes the page, comes back, finds it finished and installs it."""
    page = launch().new_page()
    page.goto(f"{fresh.address}/Train")
    page.get_by_role("radio", name="tiny").click()
    path = page.get_by_role("textbox", name="Store folder")
    path.fill(str(tiny_store.path))
    path.press("Enter")
    expect(page.get_by_text("24: 16 train")).to_be_visible(timeout=WAIT)
    page.get_by_role("button", name="Start training").click()
    page.get_by_role("button", name="Stop").wait_for()
    page.close()
    wait_for(lambda: not look(fresh.runs / "tiny-1").active)
    again = launch().new_page()
    again.goto(f"{fresh.address}/Train?run=tiny-1")
    expect(again.get_by_role("heading", name="Finished")).to_be_visible(timeout=WAIT)
    expect(again.get_by_text("step 60 of 60")).to_be_visible(timeout=WAIT)
    expect(again.locator(".js-plotly-plot")).to_have_count(3, timeout=WAIT)
    sample = again.get_by_role("img", name="Synthetic persons after step 60")
    expect(sample).to_be_visible(timeout=WAIT)
    drawn = np.asarray(Image.open(io.BytesIO(again.request.get(sample.evaluate("image => image.src")).body())))
    assert (drawn.ndim, len(np.unique(drawn[:200])) > 50) == (2, True)
    expect(again.get_by_text("Step 60. Each time the same seeds: nothing given, seed 0; sex F")).to_be_visible()
    again.get_by_role("button", name="Install").click()
    expect(again.get_by_text("choose tiny-1 on any page")).to_be_visible(timeout=WAIT)
    again.close()
    installed = engine.load(fresh.checkpoints / "tiny-1", "cpu").checkpoint
    assert installed.config.provenance["flow_steps"] == 60
