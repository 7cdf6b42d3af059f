"""The Consistency page by AppTest: points appear, the slopes stand beside the real ones, refusals are sentences."""

from __future__ import annotations

import csv
import io
import json
import time
from dataclasses import replace
from pathlib import Path

import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import engine
from engine.measure.head import HeadMeasure
from pages.components.consistency.view import slope_table
from pages.components.consistency.work import Plan, Run, _measured, ended, sample_one, to_csv
from pages.components.parts.frame import BANNER

ROOT = Path(__file__).parents[3]
PAGE = "pages/3_Consistency.py"


@pytest.fixture
def app(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    # a session begins with those whom other sessions have measured
    st.cache_resource.clear()
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(checkpoints))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run().switch_page(PAGE).run()


@pytest.fixture(scope="module")
def points(checkpoints: Path) -> tuple[Plan, list[dict]]:
    """Five persons, measured."""
    model, ruler = engine.load(checkpoints / "tiny", "cpu"), HeadMeasure.load(checkpoints / "measure-head")
    plan = Plan(model="tiny", digest=model.digest, attribute="bmi", low=20, high=32, sex="F", steps=2, seed=5)
    return plan, [sample_one(model, ruler, plan, i, lambda fraction, text: None) for i in range(5)]


def traces(app: AppTest) -> dict[str, dict]:
    (chart,) = app.get("plotly_chart")
    return {trace["name"]: trace for trace in json.loads(chart.proto.spec)["data"]}


def sample(app: AppTest, persons: int) -> AppTest:
    app.number_input(key="consistency.n").set_value(persons)
    app.number_input(key="consistency.steps").set_value(2)
    return next(b for b in app.button if b.label == "Sample and measure").click().run()


def test_at_first_the_real_cohort_stands_alone(app: AppTest):
    assert not app.exception
    assert sum(BANNER in block.proto.body for block in app.get("html")) == 1
    assert {"Real cohort", "95 % of real persons", "Real mean, 95 % interval"} < set(traces(app))
    assert traces(app)["Synthetic persons"]["x"] == []
    assert next(iter(app.table[0].value["95 % interval"])) == ""
    assert not app.get("download_button")


def test_persons_are_sampled_and_measured_over_the_range(app: AppTest):
    sample(app, 6)
    assert not app.exception
    asked, found = traces(app)["Synthetic persons"]["x"], traces(app)["Synthetic persons"]["y"]
    low, high = app.slider(key="consistency.age").value
    assert (len(asked), min(asked), max(asked)) == (6, low, high)
    assert all(y >= 0 for y in found)
    assert "Synthetic line" in traces(app)
    table = app.table[0].value
    assert table["persons"].iloc[0] == "6"
    assert int(table["persons"].iloc[1]) >= 20
    assert all(" to " in cell for cell in table["95 % interval"])
    assert app.get("download_button")


def test_another_measure_needs_no_new_persons_and_more_persons_keep_the_first(app: AppTest):
    sample(app, 4)
    ventricles = traces(app)["Synthetic persons"]["y"]
    app.button_group(key="consistency.measure").set_value("brain_ml").run()
    brain = traces(app)["Synthetic persons"]["y"]
    assert len(brain) == 4
    assert brain != ventricles
    sample(app, 5)
    assert traces(app)["Synthetic persons"]["y"][:4] == brain


def test_another_question_shows_its_own_cohort_and_no_old_points(app: AppTest):
    sample(app, 2)
    by_age = traces(app)["Real cohort"]["x"]
    app.button_group(key="consistency.attribute").set_value("bmi").run()
    assert not app.exception
    assert traces(app)["Synthetic persons"]["x"] == []
    assert traces(app)["Real cohort"]["x"] != by_age


def test_the_range_is_typed_too(app: AppTest):
    app.number_input(key="consistency.age.0").set_value(30.0).run()
    app.number_input(key="consistency.age.1").set_value(50.0).run()
    assert app.slider(key="consistency.age").value == (30.0, 50.0)
    app.number_input(key="consistency.age.1").set_value(20.0).run()
    assert app.slider(key="consistency.age").value == (30.0, 50.0)
    assert ":orange[20 is below the lower end, 30: set that first.]" in [text.value for text in app.caption]


def test_a_question_asked_again_after_another_page_shows_its_persons(app: AppTest):
    app.slider(key="consistency.age").set_value((30.0, 50.0)).run()
    sample(app, 3)
    asked = traces(app)["Synthetic persons"]["x"]
    assert sorted(asked) == [30, 40, 50]
    app.switch_page("app.py").run().switch_page(PAGE).run()
    assert not app.exception
    assert app.slider(key="consistency.age").value == (30.0, 50.0)
    assert app.number_input(key="consistency.n").value == 3
    assert traces(app)["Synthetic persons"]["x"] == asked
    assert "3 persons measured" in [text.value for text in app.caption]


def test_a_model_swapped_during_a_run_is_said_and_its_persons_come_back(app: AppTest):
    """A run of which two of six persons are measured; the page then finds another model in the picker."""
    sample(app, 2)
    (plan,) = app.session_state["consistency"].measured
    app.session_state["consistency"].running = Run(plan=replace(plan, model="other", digest="0"), done=0)
    _measured().clear()  # nor are there any of another session
    app.session_state["consistency"].measured = {replace(plan, model="other", digest="0"): [{}, {}]}
    app.number_input(key="consistency.n").set_value(6).run()
    assert not app.exception
    assert [text.value for text in app.warning] == [
        "The run was ended because the model was changed from other to tiny; "
        "choose other again to see the 2 measured so far and go on."
    ]
    assert app.session_state["consistency"].running is None
    assert traces(app)["Synthetic persons"]["x"] == []
    sample(app, 2)
    assert not app.warning, "a new run takes the sentence away"
    assert len(traces(app)["Synthetic persons"]["x"]) == 2


@pytest.mark.parametrize(
    ("change", "measured", "sentence"),
    [
        ({"model": "liver", "digest": "1"}, 0, "The run was ended because the model was changed from tiny to liver."),
        ({"digest": "1"}, 3, "The run was ended because the checkpoint tiny was replaced by another."),
        (
            {"sex": "M"},
            3,
            "The run was ended because what to ask for was changed; set it back to see the 3 measured so far and go on.",
        ),
    ],
)
def test_why_a_run_ended(points: tuple[Plan, list[dict]], change: dict, measured: int, sentence: str):
    plan, _ = points
    assert ended(plan, replace(plan, **change), measured) == sentence


def test_progress_counts_the_whole_run(points: tuple[Plan, list[dict]]):
    said = []

    run = Run(plan=points[0], done=4, began=time.monotonic() - 10)
    report = run.report(lambda share, text: said.append((round(share, 3), text)), 6, 8)
    report(0.0, "Step 0 of 8")
    report(0.5, "measuring")
    assert said == [
        (0.75, "Person 7 of 8: step 0 of 8, about 10 s left"),
        (0.812, "Person 7 of 8: measuring, about 6 s left"),
    ]


def test_without_the_ruler_the_page_says_what_to_restore(tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tiny_checkpoint))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).run().switch_page(PAGE).run()
    assert not app.exception
    assert "restore the folder measure-head" in app.error[0].value
    assert not app.get("plotly_chart")


def test_given_values_and_seeds_are_those_of_the_plan(points: tuple[Plan, list[dict]]):
    _, found = points
    assert [p["requested"] for p in found] == [20.0, 32.0, 26.0, 23.0, 29.0]
    assert [p["bmi"] for p in found] == [p["requested"] for p in found]
    assert [p["seed"] for p in found] == [5, 6, 7, 8, 9]
    assert {p["sex"] for p in found} == {"F"}


def test_the_table_for_download_is_marked_and_complete(points: tuple[Plan, list[dict]]):
    plan, found = points
    rows = list(csv.DictReader(io.StringIO(to_csv(plan, found).decode())))
    assert len(rows) == 5
    assert {row["synthetic"] for row in rows} == {"SYNTHETIC - not for diagnosis"}
    assert float(rows[1]["ventricles_ml"]) == pytest.approx(found[1]["ventricles_ml"], abs=1e-3)
    assert (rows[2]["seed"], rows[2]["requested"], rows[2]["model"]) == ("7", "26.0000", "tiny")


def test_a_scan_that_cannot_be_measured_is_said(points: tuple[Plan, list[dict]], checkpoints: Path):
    class Blind:
        measures = HeadMeasure.load(checkpoints / "measure-head").measures

        def measure(self, volume: object) -> dict[str, float]:
            raise engine.VolumeError("no head was found")

    plan, _ = points
    point = sample_one(engine.load(checkpoints / "tiny", "cpu"), Blind(), plan, 0, lambda fraction, text: None)
    assert point["problem"] == "no head was found"
    assert "ventricles_ml" not in point


def test_too_few_persons_have_no_slope(checkpoints: Path):
    schema = engine.load(checkpoints / "tiny", "cpu").schema
    table = slope_table(None, None, schema["age"], 3)
    assert list(table["slope, ml per year"]) == ["too few persons", "too few persons"]
    assert list(table["persons"]) == ["3", ""]
    assert list(slope_table(None, None, schema["age"], 0)["slope, ml per year"]) == ["none yet", "too few persons"]
