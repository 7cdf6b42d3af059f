"""A what-if of the mask: a region grown, of a synthetic person and of a scan, alone and beside attributes that are set."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

import engine
from engine.inference.mask_edit import MaskEdit, window
from pages.components.state.intervention import Question, read_question
from pages.components.state.region_edit import RegionEdit
from tests.imaging.dicom_files import series, zipped
from tests.pages.conftest import ROOT

PAGE = "pages/2_What_if.py"
EDIT = RegionEdit(region="ventricles", factor=1.5, by=(0.0, -6.0, 12.0), keep=False)


@pytest.fixture(scope="module")
def model(mask_checkpoints: Path) -> engine.Model:
    return engine.load(mask_checkpoints / "masked", "cpu")


@pytest.fixture
def app(mask_checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(mask_checkpoints))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)


def visited(app: AppTest, query: dict[str, str]) -> AppTest:
    app.switch_page(PAGE)
    for name, text in query.items():
        app.query_params[name] = text
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, name: str) -> AppTest:
    next(button for button in app.button if button.label == name).click().run()
    assert not app.exception
    return app


def scene(app: AppTest) -> tuple[dict, np.ndarray]:
    """Header and voxels: before, after, and their labels."""
    (component,) = app.get("bidi_component")
    raw = gzip.decompress(component.proto.bytes)
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    return header, np.frombuffer(raw, np.uint8, offset=4 + length).reshape(4, -1)


def captions(app: AppTest) -> str:
    return " ".join(text.value for text in app.caption)


@pytest.mark.parametrize("edit", [EDIT, RegionEdit(region="brain", factor=0.5), None])
def test_an_address_says_the_edit(model: engine.Model, edit: RegionEdit | None):
    asked = Question(model="masked", digest=model.digest, seed=3, before=(("age", 40),), edit=edit)
    assert read_question(asked.to_query(), "masked", model) == (asked, [])


def test_a_mask_of_the_readers_is_in_no_address():
    assert RegionEdit(region="brain", factor=2.0, mask="0123").to_query() == {}


def test_the_region_grows_beside_an_attribute(app: AppTest):
    """What is set is set, everything else stays, and the change lies around what was edited."""
    asked = {"seed": "5", "steps": "2", "age": "40", "set.bmi": "24", "edit": "ventricles", "edit.times": "1.5"}
    visited(app, asked)
    header, (before, after, labels, grown) = scene(app)
    assert (grown == 2).sum() / (labels == 2).sum() == pytest.approx(1.5, abs=0.05)
    assert (before != after).any()
    why = {row["name"]: row["origin"] for row in header["people"][1]["rows"]}
    assert (why["bmi"], why["age"], why["sex"]) == ("set", "held", "held")
    assert header["people"][1]["subtitle"].startswith("Ventricles 1.5 times as large")
    assert "Drawn in" in captions(app), "the controls say what was drawn"
    assert "what was edited and 15 mm around it" in captions(app)
    assert dict(app.query_params)["edit.times"] == "1.5"
    assert list(app.table[1].value.columns)[1:] == ["Mask asked for, mL", "Read off the scan, mL", "Difference"]
    assert app.slider(key="whatif.edit.volume").label.startswith("Volume, mL (now")
    app.slider(key="whatif.edit.right").set_value(6).run()
    assert "Older than the controls" in captions(app)
    press(app, "Draw")
    assert dict(app.query_params)["edit.mm"] == "6 0 0"
    app.toggle(key="whatif.edits").set_value(False).run()
    press(app, "Draw")
    assert "edit" not in app.query_params


def test_the_null_edit_is_the_person_again_and_files_hold_both_masks(app: AppTest):
    visited(app, {"seed": "5", "steps": "2", "edit": "ventricles", "edit.times": "0.5"})
    assert "is the same to the last voxel" in captions(app)
    press(app, "Prepare files")
    archive = zipfile.ZipFile(io.BytesIO(app.session_state["whatif"].file[1]))
    assert {"mask_before_dseg.nii.gz", "mask_after_dseg.nii.gz", "whatif.json"} < set(archive.namelist())
    about = json.loads(archive.read("whatif.json"))
    before, after = about["mask_ml"]["ventricles"]
    assert after / before == pytest.approx(0.5, abs=0.05)


def test_a_given_scan_is_segmented_and_edited(app: AppTest, model: engine.Model):
    person = model.generate(seed=4, steps=2, given={"age": 50})[0].volume
    visited(app, {})
    app.segmented_control(key="whatif.source").set_value("Scan of yours").run()
    files = ("series.zip", zipped(series(person, 255)), "application/zip")
    app.file_uploader(key="whatif.files").set_value(files).run()
    press(app, "Read the scan")
    mask = app.session_state["whatif"].scan.mask
    assert mask is not None
    app.toggle(key="whatif.edits").set_value(True).run()
    assert app.slider(key="whatif.edit.volume").label.startswith("Volume, mL (now")
    region = next(name for name in ("ventricles", "brain") if mask.volumes_ml()[name])
    app.selectbox(key="whatif.edit.region").select(region).run()
    volume = app.slider(key="whatif.edit.volume")
    volume.set_value(round(0.6 * mask.volumes_ml()[region])).run()
    press(app, "Draw")
    header, (_, _, labels, less) = scene(app)
    index = mask.classes.index(region)
    assert (less == index).sum() / (labels == index).sum() == pytest.approx(0.6, abs=0.03)
    assert {row["origin"] for row in header["people"][1]["rows"]} == {"held", "computed"}


def test_a_change_is_expected_where_the_engine_lets_an_edit_reach(app: AppTest, model: engine.Model):
    """The share of the picture where it is not expected is that of the window of the edit, the engine's own."""
    visited(app, {"seed": "5", "steps": "2", "edit": "ventricles", "edit.times": "0.5"})
    (person,) = model.generate(seed=5, steps=2, with_mask=True)
    assert person.mask is not None
    less = RegionEdit(region="ventricles", factor=0.5)
    there = window(MaskEdit(before=person.mask, after=less.on(person.mask))) > 0
    assert 0 < there.mean() < 1
    found = next(iter(app.session_state["whatif"].answers.values()))
    assert found.even == pytest.approx(1 - there.mean())
