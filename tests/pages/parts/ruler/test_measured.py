"""What is measured in the people shown, beside their table: known rows, one reading a person, the person on screen."""

from __future__ import annotations

import gzip
import json
import math
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

import engine
from engine.anatomy.head import HEAD
from engine.anatomy.torso import TORSO
from engine.measure.clinical import written
from engine.measure.head import HeadMeasure
from engine.measure.relation import Relation
from engine.measure.ruler import StatedError
from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.parts.evaluation.trust import Trust
from pages.components.parts.ruler import measured
from pages.components.parts.ruler.measured import Findings, keys_of, labelled_scene, rows, sources_in_words, tables
from pages.components.parts.ruler.numbers import Offset, Told, change_in_words
from pages.components.state.address import Request
from pages.components.state.generation import Drawn, scene_of
from tests.pages.conftest import ROOT, WAIT
from tests.pages.visit import Visit

VAT = Number(name="vat", unit="L", low=0, high=20, knots=(1.0, 3.0, 9.0), scores=(-1.0, 0.0, 1.0))
WAIST = Number(name="waist", unit="inch", low=10, high=90, knots=(25.0, 35.0, 50.0), scores=(-1.0, 0.0, 1.0))
SCHEMA = AttributeSchema(columns=(VAT, WAIST))


def torso_ruler() -> SimpleNamespace:
    """A ruler of visceral fat, waist and lungs, of which it holds the means of women."""
    names = {"vat": "Visceral fat", "waist": "Waist", "lungs": "Lungs"}
    levels = {"lungs": {"all": {"mean": 3.2, "sd": 0.9}, "F": {"mean": 2.574, "sd": 0.689}}}
    units = {"vat": "l", "waist": "cm", "lungs": "l"}
    cohort = SimpleNamespace(levels=levels)
    return SimpleNamespace(region=TORSO, measures=names, definitions=names, units=units, cohort=cohort)


def test_a_measure_stands_beside_the_column_that_says_the_same():
    person = {"vat": 2.5, "waist": 30.0, "sex": "F"}
    vat, waist, lungs = rows(torso_ruler(), SCHEMA, person, {"vat": 3.0, "waist": 88.0, "lungs": math.nan})
    assert (vat["value"], vat["unit"], vat["sampled"], vat["difference"]) == ("3.00", "L", "2.50", "+0.50")
    assert "an area at the navel" in vat["source"]
    assert (waist["limit"], waist["error"]) == ("not above 88 cm: substantially raised cardiometabolic risk", "")
    assert vat["percentile"] == pytest.approx(50), "of the measured value, not of the sampled one"
    assert (waist["value"], waist["sampled"], waist["percentile"]) == ("88.0", "", None), (
        "another unit is another column"
    )
    assert (lungs["value"], lungs["cohort"]) == (None, "mean 2.57, SD 0.69 (female)")
    assert rows(torso_ruler(), SCHEMA, {"sex": "M"}, {"lungs": 3.0})[2]["cohort"] == "mean 3.20, SD 0.90"
    assert rows(torso_ruler(), SCHEMA, {"vat": None}, {"vat": 3.0})[0]["difference"] == ""


def test_numbers_are_rounded_to_what_is_known_and_placed_among_the_same_sex_and_age():
    ruler = torso_ruler()
    ruler.errors = {"vat": StatedError(sd=0.05, relative=True), "waist": StatedError(sd=0.15, relative=False)}
    rng = np.random.default_rng(1)
    age = rng.uniform(20, 80, 200)
    curve = Relation.fit(age, np.exp(0.02 * age + rng.normal(0, 0.3, 200)), degree=2, log=True)
    ruler.cohort.curves = {"F": {"age": {"vat": curve}}}
    person = {"vat": 2.5, "sex": "F", "age": 50.0}
    apart = {"vat": Offset(mean=0.9, n=24), "waist": Offset(mean=0.01, n=24)}
    known = Told(trust={"vat": Trust(title="Visceral fat", level="good", words="follows age")}, offsets=apart)
    vat, waist, _ = rows(ruler, SCHEMA, person, {"vat": 3.217, "waist": 102.04}, known)
    assert (vat["value"], vat["error"], vat["sampled"], vat["difference"]) == ("3.2", "± 0.2", "2.5", "+0.7")
    assert vat["percentile"] == pytest.approx(curve.percentile(50.0, 3.217))
    assert vat["among"] == "of in-silico persons, female, 50"
    assert "read 0.9 L higher than drawn" in vat["note"]
    assert (vat["trust"], vat["why"]) == ("● trust", "follows age")
    assert (waist["value"], waist["note"], waist["trust"]) == ("102.0", "", "")
    assert waist["limit"].startswith("above 88 cm")
    assert change_in_words(0.1, 0.2, "l").endswith("L, do not interpret")
    assert "interpret" not in change_in_words(0.9, 0.2, "l")


def test_offsets_of_all_measures_are_said_in_one_sentence():
    apart = {"vat": Offset(mean=0.9, n=24), "waist": Offset(mean=-4.0, n=24)}
    columns = (VAT, Number(name="waist", unit="cm", low=10, high=200, knots=(60.0, 90.0), scores=(-1.0, 1.0)))
    schema, ruler = AttributeSchema(columns=columns), torso_ruler()
    person = SimpleNamespace(attributes={"vat": 2.5, "waist": 90.0, "sex": "F"})
    reading = Findings({"vat": 3.4, "waist": 86.0, "lungs": 3.0})
    found = tables(ruler, schema, SimpleNamespace(people=[person]), [reading], told=Told(offsets=apart))
    note = found["people"][0]["note"]
    assert note.startswith(
        "On 24 persons of this model these are read otherwise than drawn: Visceral fat 0.90 L higher, Waist 4.00 cm lower."
    )
    assert note.count("smoother than real scans") == 1


def test_a_source_of_several_limits_stands_once():
    said = sources_in_words(["lv_edv", "lv_ef", "wall_thickness", "lungs"]).splitlines()
    assert [line.partition(": ")[0] for line in said] == [
        "* Left ventricular end-diastolic volume, Left ventricular ejection fraction",
        "* Thickness of the thickest segment at end-diastole",
    ]
    assert "Petersen" in said[0]


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
        assert {row["name"]: row["value"] for row in shown["rows"]}["brain_ml"] == written(
            expected["brain_ml"], ruler.errors["brain_ml"].of(expected["brain_ml"]) if ruler.errors else math.nan
        )
    scene = next(c.proto.bytes for c in app.get("bidi_component") if c.proto.component_name.endswith("viewer"))
    (length,) = struct.unpack_from("<I", raw := gzip.decompress(scene))
    assert json.loads(raw[4 : 4 + length])["legend"][0] == [1, "Brain", "#cc79a7"], "and coloured"
    job = app.session_state["measuring"][0]
    app.number_input(key="n").set_value(1)
    next(button for button in app.button if button.label == "Generate").click().run()
    assert table(app)["people"][0]["rows"] == people[0]["rows"]
    assert app.session_state["measuring"][0] is job, "who was measured is not measured again"


def test_who_was_measured_is_coloured(checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    model = engine.load(checkpoints / "tiny")
    request = Request(model="tiny", given=(), seed=3, n=2, steps=2)
    people = model.generate(n=2, seed=3, steps=2)
    drawn = Drawn(
        request=request, digest=model.digest, people=people, scene=scene_of(model, request, people), seconds=1
    )
    shared, known = measured._Shared(), SimpleNamespace(digest="0", region=HEAD)
    monkeypatch.setattr(measured, "_shared", lambda: shared)
    monkeypatch.setattr(measured, "ruler_for", lambda model: (known, ""))
    assert labelled_scene(model, drawn) == drawn.scene
    labels = np.random.default_rng(0).integers(0, 4, people[1].volume.grid).astype(np.uint8)
    shared.put(keys_of(known, drawn)[0], Findings({}, "nothing was seen"))
    shared.put(keys_of(known, drawn)[1], Findings({}, "", zlib.compress(labels.tobytes())))
    raw = gzip.decompress(labelled_scene(model, drawn))
    (length,) = struct.unpack_from("<I", raw)
    header, voxels = json.loads(raw[4 : 4 + length]), np.frombuffer(raw, np.uint8, offset=4 + length)
    assert [name for _, name, _ in header["legend"]] == ["Brain", "Ventricles", "Fluid around the brain"]
    nobody, somebody = voxels[2 * labels.size :].reshape(2, -1)
    assert not nobody.any()
    np.testing.assert_array_equal(somebody, labels.ravel(order="F"))


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
    expect(brain).to_contain_text("mL", timeout=WAIT)
    expect(here.page.get_by_text("Measuring")).to_have_count(0)
    # one measure alone may be the same within its error
    second, sent = found.locator("tbody").inner_text(), len(here.sent)
    here.viewer.get_by_role("button", name="Person 1").click()
    expect(found.locator("thead")).to_contain_text("Person 1")
    assert found.locator("tbody").inner_text() not in ("", second)
    assert len(here.sent) == sent
    here.page.set_viewport_size({"width": 414, "height": 896})
    here.page.wait_for_function("document.documentElement.clientWidth <= 414")
    assert found.evaluate("e => e.scrollWidth - e.clientWidth") <= 0, "nothing is cut on a phone"
    assert brain.evaluate("e => getComputedStyle(e, '::before').content") == '"Measured"'
    expect(found.get_by_text("not evaluated")).to_have_count(0)
