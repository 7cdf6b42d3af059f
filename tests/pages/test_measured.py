"""What is measured in the people shown, beside their table: known rows, one reading a person, the person on screen."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

import engine
from engine.attributes import AttributeSchema, Number
from engine.measure.head import HeadMeasure
from pages.components.measured import rows
from pages.components.whatif.measure import Reader
from tests.pages.conftest import ROOT, WAIT
from tests.pages.visit import Visit

VAT = Number(name="vat", unit="L", low=0, high=20, knots=(1.0, 3.0, 9.0), scores=(-1.0, 0.0, 1.0))
WAIST = Number(name="waist", unit="inch", low=10, high=90, knots=(25.0, 35.0, 50.0), scores=(-1.0, 0.0, 1.0))
SCHEMA = AttributeSchema(columns=(VAT, WAIST))


def reader() -> Reader:
    """A ruler of visceral fat, waist and lungs, of which it holds the means of women."""
    names = {"vat": "Visceral fat", "waist": "Waist", "lungs": "Lungs"}
    levels = {"lungs": {"all": {"mean": 3.2, "sd": 0.9}, "F": {"mean": 2.574, "sd": 0.689}}}
    ruler = SimpleNamespace(measures=names, definitions=names, cohort=SimpleNamespace(levels=levels))
    return Reader(kind="torso", ruler=ruler, units={"vat": "l", "waist": "cm", "lungs": "l"}, errors={})


def test_a_measure_stands_beside_the_column_that_says_the_same():
    person = {"vat": 2.5, "waist": 30.0, "sex": "F"}
    vat, waist, lungs = rows(reader(), SCHEMA, person, {"vat": 3.0, "waist": 88.0, "lungs": math.nan})
    assert (vat["value"], vat["unit"], vat["sampled"], vat["difference"]) == ("3.00", "l", "2.50", "+0.50")
    assert vat["percentile"] == pytest.approx(50), "of the measured value, not of the sampled one"
    assert (waist["value"], waist["sampled"], waist["percentile"]) == ("88.0", "", None), (
        "another unit is another column"
    )
    assert (lungs["value"], lungs["cohort"]) == (None, "mean 2.57, SD 0.69 (female)")
    assert rows(reader(), SCHEMA, {"sex": "M"}, {"lungs": 3.0})[2]["cohort"] == "mean 3.20, SD 0.90"
    assert rows(reader(), SCHEMA, {"vat": None}, {"vat": 3.0})[0]["difference"] == ""


def table(app: AppTest) -> dict:
    """What the browser is told of the measured."""
    (found,) = (c for c in app.get("bidi_component") if c.proto.component_name.endswith("somatwin_measured"))
    return json.loads(found.proto.json)


def test_people_are_measured_when_asked_and_once(checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(checkpoints))
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90).switch_page("pages/1_Explore.py")
    app.session_state["measure wish"] = False  # or a quick machine would not wait to be asked
    for name, value in {"n": "2", "seed": "31", "steps": "2"}.items():
        app.query_params[name] = value
    app.run()
    next(button for button in app.button if button.label == "Measure 2 persons").click().run()
    app.session_state["measuring"][0].join(60)
    app.run()
    assert not app.exception
    people, ruler = table(app)["people"], HeadMeasure.load(checkpoints / "measure-head")
    for shown, person in zip(people, engine.load(checkpoints / "tiny").generate(n=2, seed=31, steps=2), strict=True):
        expected = ruler.measure(person.volume)
        assert {row["name"]: row["value"] for row in shown["rows"]}["brain_ml"] == f"{expected['brain_ml']:.0f}"
    job = app.session_state["measuring"][0]
    app.number_input(key="n").set_value(1)
    next(button for button in app.button if button.label == "Generate").click().run()
    assert table(app)["people"][0]["rows"] == people[0]["rows"]
    assert app.session_state["measuring"][0] is job, "who was measured is not measured again"


def test_the_measured_are_those_of_the_person_on_screen(visit: Callable[..., Visit], ruled_address: str):
    """Two persons are measured; the strip of the viewer chooses whose table is shown, without the server."""
    here = visit("--disable-3d-apis").open(f"{ruled_address}/Explore?steps=2&n=2&seed=5")
    here.shown()
    found, offer = here.page.locator(".measured"), here.page.get_by_role("button", name="Measure 2 persons")
    offer.or_(found).first.wait_for()
    if offer.is_visible():
        offer.click()
    brain = found.locator("[data-measure=brain_ml] .value")
    here.viewer.get_by_role("button", name="Person 2").click()
    expect(found.locator("thead")).to_contain_text("Person 2", timeout=WAIT)
    expect(brain).to_contain_text("ml", timeout=WAIT)
    expect(here.page.get_by_text("Measuring")).to_have_count(0)
    second, sent = brain.inner_text(), len(here.sent)
    here.viewer.get_by_role("button", name="Person 1").click()
    expect(found.locator("thead")).to_contain_text("Person 1")
    assert brain.inner_text() not in ("", second)
    assert len(here.sent) == sent
