"""A region edited on Explore: the scan for the mask before and after, address, session file, files, brush; only with masks."""

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
from engine.anatomy import region_of
from engine.imaging.segmentation import read_segmentation
from pages.components.explore import edit as explore_edit
from pages.components.parts.download import bundle
from pages.components.parts.mask.edited import edited_pair, mask_zip
from pages.components.parts.ruler.surfaces import surfaces_of
from pages.components.parts.session_file import check_here, read_session, session_of
from pages.components.state.address import Request
from pages.components.state.region_edit import RegionEdit
from tests.pages.conftest import ROOT

PAGE = "pages/1_Explore.py"


@pytest.fixture(scope="module")
def model(mask_checkpoints: Path) -> engine.Model:
    return engine.load(mask_checkpoints / "masked", "cpu")


@pytest.fixture
def app(mask_checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(mask_checkpoints))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)


def visited(app: AppTest, **query: str) -> AppTest:
    app.switch_page(PAGE)
    for name, text in {"steps": "2", "seed": "5", **query}.items():
        app.query_params[name.replace("edit_", "edit.")] = text
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, name: str) -> AppTest:
    next(button for button in app.button if button.label == name).click().run()
    assert not app.exception
    return app


def scene(app: AppTest) -> tuple[dict, np.ndarray]:
    """Header and voxels of what the viewer was sent: two scans, then their labels."""
    found = next(c.proto for c in app.get("bidi_component") if c.proto.component_name.endswith("viewer"))
    raw = gzip.decompress(found.bytes)
    (length,) = struct.unpack_from("<I", raw)
    return json.loads(raw[4 : 4 + length]), np.frombuffer(raw, np.uint8, offset=4 + length)


def edited(app: AppTest, region: str, factor: float) -> AppTest:
    app.selectbox(key="explore.edit.region").select(region).run()
    volume = app.slider(key="explore.edit.volume")
    volume.set_value(round(factor * float(volume.label.split("now ")[1].rstrip(")").replace(",", "")), 1)).run()
    return press(app, "Draw for this mask")


def test_a_region_grows_and_the_address_brings_it_back(app: AppTest):
    visited(app)
    header, voxels = scene(app)
    assert [entry[1] for entry in header["legend"]] == ["Brain", "Ventricles", "Other"]
    assert header["compare"] is False
    assert any("the mask that the scan was drawn for" in text.value for text in app.caption)
    assert any(text.value.startswith("Stays: the noise, every attribute as it was") for text in app.caption)
    draw = next(button for button in app.button if button.label == "Draw for this mask")
    assert draw.disabled, "nothing is to be otherwise"
    edited(app, "ventricles", 1.5)
    header, voxels = scene(app)
    assert header["compare"] is True
    assert [person["title"] for person in header["people"]] == ["Before", "Edited"]
    before, after, labels, grown = voxels.reshape(4, -1)
    there, then = ((part == 2).sum() for part in (labels, grown))
    assert then / there == pytest.approx(1.5, abs=0.08), "the slider's mL are rounded"
    assert ((labels > 0) == (grown > 0)).all(), "not out of the body"
    assert (before != after).any()
    assert {row["origin"] for row in header["people"][1]["rows"]} == {"held", "computed"}
    query = dict(app.query_params)
    assert query["edit"] == "ventricles"
    assert float(query["edit.times"]) == pytest.approx(1.5, abs=0.05)
    again = AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)
    visited(again, **{name.replace(".", "_", 1): text for name, text in query.items()})
    assert (scene(again)[1] == voxels).all()
    assert again.slider(key="explore.edit.volume").value == app.slider(key="explore.edit.volume").value
    assert dict(again.query_params) == query
    press(app, "Back to the person")
    assert scene(app)[0]["compare"] is False
    assert "edit" not in app.query_params


def test_masks_and_scans_are_measured_side_by_side(app: AppTest):
    app.session_state["measure wish"] = True
    visited(app, edit="ventricles", edit_mm="0 0 10")
    app.session_state["measuring"][0].join(60)
    app.run()
    assert not app.exception
    table = app.table[0].value
    assert set(table.index) <= {"Brain", "Ventricles"}, "the ruler knows no other region of the mask"
    assert set(table["Whose"]) == {"Before", "Edited"}
    assert list(table.columns)[1:] == ["Mask asked for, mL", "Read off the scan, mL", "Difference"]


def test_another_person_of_several_is_edited(app: AppTest):
    visited(app, n="2", edit="ventricles", edit_times="2", edit_person="2")
    assert [person["file"] for person in scene(app)[0]["people"]] == ["masked_seed-6_before", "masked_seed-6_edited"]
    assert app.query_params["edit.person"] == "2"


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"edit": "tail"}, "there is no region 'tail' here: give one of brain, ventricles, other"),
        ({"edit": "brain", "edit_times": "9"}, "edit.times '9' is not possible here: give a number from 0.25 to 3"),
        ({"edit": "brain", "edit_mm": "1 2"}, "edit.mm has 2 numbers: give three"),
        ({"edit": "brain", "edit_hue": "1"}, "edit.hue is no part of an edit"),
        ({"edit": "brain", "edit_person": "x"}, "edit.person 'x' is not possible here"),
    ],
)
def test_a_bad_edit_gets_a_sentence(app: AppTest, query: dict[str, str], sentence: str):
    visited(app, **query)
    assert sentence[:1].upper() + sentence[1:] in app.warning[0].value


def test_what_has_no_room_is_said_and_nothing_is_drawn(app: AppTest):
    visited(app, edit="brain", edit_times="3")
    assert "has no room in this mask; give a smaller factor" in " ".join(text.value for text in app.warning)
    assert scene(app)[0]["compare"] is False


def test_a_model_without_masks_shows_nothing_of_it(checkpoints: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(checkpoints))
    app = visited(AppTest.from_file(str(ROOT / "app.py"), default_timeout=90))
    assert "Edit a region" not in [each.label for each in app.expander]
    found = next(c.proto for c in app.get("bidi_component") if c.proto.component_name.endswith("viewer"))
    assert found.component_name.endswith("somatwin_viewer")
    assert "brush" not in scene(app)[0]
    visited(app, edit="brain", edit_times="1.5")
    assert "Tiny knows no masks, so no region can be edited" in app.warning[0].value


def test_a_mask_is_taken_away_and_given_back(app: AppTest, model: engine.Model, tmp_path: Path):
    """Downloaded and loaded again it is the same; a file that is none is a sentence."""
    (person,) = model.generate(seed=5, steps=2, with_mask=True)
    assert person.mask is not None
    archive = zipfile.ZipFile(io.BytesIO(mask_zip(person.mask, "a")))
    assert archive.namelist() == ["a_dseg.json", "a_dseg.nii.gz", "a_dseg.tsv"]
    archive.extractall(tmp_path)
    places = {"grid": person.mask.labels.shape, "affine": person.mask.affine}
    found, _ = read_segmentation(tmp_path / "a_dseg.nii.gz", classes=person.mask.classes, **places)
    assert (found.labels == person.mask.labels).all()
    visited(app, seed="6")
    files = [(name, archive.read(name), "application/octet-stream") for name in archive.namelist()[1:]]
    app.file_uploader(key="explore.edit.files").set_value(files).run()
    press(app, "Use this mask")
    assert app.selectbox(key="explore.edit.mask").value != ""
    press(app, "Draw for this mask")
    labels = scene(app)[1].reshape(4, -1)[3]
    assert (labels == person.mask.labels.ravel(order="F")).all()
    assert "edit" not in app.query_params
    assert any("is in no address and in no session file" in text.value for text in app.caption)
    app.file_uploader(key="explore.edit.files").set_value([("a.nii", b"no mask", "application/octet-stream")]).run()
    press(app, "Use this mask")
    assert any(text.value.startswith(":red[") for text in app.caption)


def test_what_is_painted_is_drawn_for(app: AppTest, model: engine.Model, monkeypatch: pytest.MonkeyPatch):
    """The runs that the brush sends, taken in by the page's callback."""
    visited(app)
    made = app.session_state["explore"].drawn
    labels = made.people[0].mask.labels.ravel(order="F")
    start = int(np.flatnonzero(labels == 1)[40])
    sent = {"scene": explore_edit.fingerprint(made.scene), "person": 0, "strokes": [[2, [start, 3, 0, 2]]]}
    state = {"painting viewer": {"paint": sent}}
    kept = {"own masks": {}, "own masks' titles": {}, "explore edits": explore_edit.Edits()}
    monkeypatch.setattr(explore_edit.st, "session_state", {**state, **kept})
    explore_edit.paint(model, made)
    asked = kept["explore edits"].wanted
    assert asked is not None
    (mask,) = kept["own masks"].values()
    found = mask.labels.ravel(order="F")
    assert (found[start : start + 3] == np.where(labels[start : start + 3] > 0, 2, 0)).all()
    assert (np.delete(found, range(start, start + 3)) == np.delete(labels, range(start, start + 3))).all()
    assert found[0] == labels[0] == 0, "nothing is painted into the background"
    kept["explore edits"].wanted = None
    sent["scene"] = "00000000"
    explore_edit.paint(model, made)
    assert kept["explore edits"].wanted is None, "meant for another scene"


def test_files_and_session_say_what_was_edited(model: engine.Model):
    request, edit = Request(model="masked", seed=5, steps=2), RegionEdit(region="ventricles", factor=2.0)
    pair = edited_pair(model, request, edit, lambda share, text: None)
    drawn = explore_edit.Drawn(
        request=request, digest=model.digest, people=[pair.before, pair.after], scene=b"", seconds=1.0, edit=edit
    )
    archive = zipfile.ZipFile(io.BytesIO(bundle(drawn)))
    assert {f"masked_seed-5_{end}" for end in ("before.nii.gz", "edited.nii.gz", "edited_dseg.nii.gz")} < {
        *archive.namelist()
    }
    about = json.loads(archive.read("masked_seed-5_edited.json"))
    assert (about["edited"], about["edit"]["region"], about["edit"]["factor"]) == (True, "ventricles", 2.0)
    session = session_of(drawn, explore_edit.Asked(request=request, edit=edit).to_query(request))
    assert session.address["edit.times"] == "2"
    check_here(read_session(session.to_bytes()), ["masked"], lambda name: model)


def test_surfaces_are_those_of_the_mask(model: engine.Model):
    (person,) = model.generate(seed=5, steps=2, with_mask=True)
    parts, notes = surfaces_of(None, person.volume, lambda share, text: None, person.mask, region_of(["T1w"]))
    assert parts[0].name == "Skin"
    assert "Ventricles" in {part.name for part in parts}
    assert not notes


def test_another_model_shows_its_own_people_and_none_of_the_one_before(
    mask_checkpoints: Path, tiny_checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, path in (("masked", mask_checkpoints), ("measure-head", mask_checkpoints), ("tiny", tiny_checkpoint)):
        (tmp_path / name).symlink_to((path / name).resolve())
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(tmp_path))
    app = visited(AppTest.from_file(str(ROOT / "app.py"), default_timeout=90), model="tiny")
    assert "masks" not in scene(app)[0]
    for name in ("masked", "tiny"):
        app.selectbox(key="model").set_value(name).run()
        assert not app.exception
        assert ("Edit a region" in [expander.label for expander in app.expander]) == (name == "masked")
        assert app.query_params["model"] == name
