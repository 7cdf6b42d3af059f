"""The What-if page: what is set changes and nothing else is asked, a null what-if changes no voxel, uploads are checked."""

from __future__ import annotations

import gzip
import io
import json
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest
import streamlit as st
from streamlit.testing.v1 import AppTest

import engine
from engine.imaging.volume import Volume
from pages.components.parts.frame import BANNER
from pages.components.state.intervention import Question, read_question
from pages.components.whatif.tables import OWN_ERROR
from tests.imaging.dicom_files import NAME, series, zipped
from tests.pages.conftest import ROOT

PAGE = "pages/2_What_if.py"


@pytest.fixture(scope="module")
def model(checkpoints: Path) -> engine.Model:
    return engine.load(checkpoints / "tiny", "cpu")


@pytest.fixture(scope="module")
def person(model: engine.Model) -> Volume:
    """The scan of a synthetic person, to be uploaded."""
    return model.generate(seed=4, steps=2, given={"age": 40, "sex": "F", "bmi": 28})[0].volume


@pytest.fixture
def app(checkpoints: Path, monkeypatch: pytest.MonkeyPatch) -> AppTest:
    monkeypatch.setenv("SOMATWIN_CHECKPOINTS", str(checkpoints))
    return AppTest.from_file(str(ROOT / "app.py"), default_timeout=90)


def visited(app: AppTest, **query: str) -> AppTest:
    app.switch_page(PAGE)
    for name, text in query.items():
        app.query_params[name.replace("set_", "set.")] = text
    app.run()
    assert not app.exception
    return app


def press(app: AppTest, name: str) -> AppTest:
    next(button for button in app.button if button.label == name).click().run()
    assert not app.exception
    return app


def scene(app: AppTest) -> tuple[dict, np.ndarray]:
    """Header and voxels (person, ...) of what the viewer on the page was sent."""
    (component,) = app.get("bidi_component")
    raw = gzip.decompress(component.proto.bytes)
    (length,) = struct.unpack_from("<I", raw)
    header = json.loads(raw[4 : 4 + length])
    return header, np.frombuffer(raw, np.uint8, offset=4 + length).reshape(len(header["people"]), -1)


def column(app: AppTest, name: str) -> tuple[str, str, str]:
    """Before, after, and why, as the viewer shows them."""
    before, after = (next(r for r in p["rows"] if r["name"] == name) for p in scene(app)[0]["people"])
    return before["value"], after["value"], after["origin"]


def places(app: AppTest) -> dict[str, str]:
    return dict(app.table[-1].value["share outside"])


def captions(app: AppTest) -> str:
    return " ".join(text.value for text in app.caption)


def test_at_first_somebody_gets_older(app: AppTest):
    visited(app)
    assert sum(BANNER in block.proto.body for block in app.get("html")) == 1
    header, voxels = scene(app)
    assert (header["compare"], [p["title"] for p in header["people"]]) == (True, ["Before", "What if"])
    assert not np.array_equal(*voxels)
    before, after, why = column(app, "age")
    assert (why, int(after) - int(before) > 20) == ("set", True)
    assert column(app, "sex")[2] == column(app, "height")[2] == "held"
    assert (column(app, "bmi")[2], column(app, "weight")[2]) == ("held", "computed")
    assert app.query_params["set.age"] == after
    assert app.query_params["hold"] == "bmi,ethnicity,height,sex"


def test_nothing_set_changes_no_voxel(app: AppTest):
    visited(app, age="40", seed="1", steps="2")
    _, (before, after) = scene(app)
    np.testing.assert_array_equal(before, after)
    assert set(app.table[0].value["Change ± error"].str.split(" ").str[0]) == {"0"}
    assert set(places(app).values()) == {"no change"}
    assert "no voxel differs" in captions(app)


def test_a_control_waits_for_the_button_and_then_voxels_measures_and_table_change(app: AppTest):
    visited(app, age="40", sex="F", bmi="22", seed="1", steps="2")
    _, (unchanged, _) = scene(app)
    app.button_group(key="whatif.person.bmi.how").set_value("set to").run()
    app.slider(key="whatif.person.bmi.after").set_value(26.0).run()
    assert "Older than the controls" in captions(app)
    np.testing.assert_array_equal(*scene(app)[1])
    press(app, "Draw")
    assert "Older" not in captions(app)
    assert column(app, "bmi") == ("22", "26", "set")
    assert column(app, "age") == ("40", "40", "held")
    _, (before, after) = scene(app)
    np.testing.assert_array_equal(before, unchanged)
    assert (before != after).any()
    measured = app.table[0].value
    brain = measured.loc["Brain, mL"]
    assert float(brain["What if"]) - float(brain["Before"]) == pytest.approx(
        float(brain["Change ± error"].split(" ")[0]), abs=20
    )
    assert "Nothing set" not in measured, "the same noise draws the same person, so the column would be empty"
    assert places(app)["This what-if"].endswith("%")
    assert list(places(app)) == ["This what-if"]
    assert app.query_params["set.bmi"] == "26"


def test_the_address_brings_the_same_what_if_back(app: AppTest, model: engine.Model):
    query = {"seed": "7", "steps": "2", "age": "50", "set_age": "60", "hold": "bmi,height"}
    visited(app, **query)
    first, again = scene(app), dict(app.query_params)
    app.switch_page("app.py").run().switch_page(PAGE).run()
    np.testing.assert_array_equal(scene(app)[1], first[1])
    assert app.slider(key="whatif.person.age.after").value == 60
    question, problems = read_question(again, "tiny", model)
    assert problems == []
    assert (question.to_query(), question.held, question.change) == (again, ("bmi", "height"), (("age", 60),))


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"set_age": "-3"}, "Age '-3' is not possible here"),
        ({"hold": "shoe"}, "There is no column 'shoe' here"),
        ({"set_weight": "70"}, "Weight is computed from"),
        ({"seed": "x"}, "Seed 'x' is not possible here"),
    ],
)
def test_a_bad_address_gets_a_sentence_and_draws_nobody(app: AppTest, query: dict[str, str], sentence: str):
    visited(app, **query)
    assert sentence in app.warning[0].value
    assert not app.get("bidi_component")


def test_a_sweep_plays_in_the_viewer_and_a_grid_shows_nine(app: AppTest, model: engine.Model):
    visited(app, age="40", seed="1", steps="1")
    app.number_input(key="whatif.sweep.n").set_value(3)
    app.slider(key="whatif.sweep.tiny.age.ends").set_value((30.0, 60.0)).run()
    press(app, "Sweep")
    header, voxels = scene(app)
    assert (header["sweep"], header["compare"], header["weights"]) == (True, False, model.digest)
    assert [person["says"] for person in header["people"]] == ["Age 30 years", "Age 45 years", "Age 60 years"]
    ages = [next(row for row in person["rows"] if row["name"] == "age") for person in header["people"]]
    assert [(row["value"], row["origin"]) for row in ages] == [("30", "set"), ("45", "set"), ("60", "set")]
    assert {person["seed"] for person in header["people"]} == {1}
    assert len({one.tobytes() for one in voxels}) == 3
    (chart,) = app.get("plotly_chart")
    films = [button.proto.label for button in app.get("download_button") if "Sweep as" in button.proto.label]
    assert sorted(films) == sorted(2 * ["Sweep as GIF", "Sweep as MP4"]), "below the viewer, and beside the chart"
    figure = json.loads(chart.proto.spec)
    assert figure["data"][0]["x"] == [30, 45, 60]
    (footer,) = (note["text"] for note in figure["layout"]["annotations"])
    assert footer == f"SYNTHETIC - not for diagnosis · tiny, seed 1, weights {model.digest}"
    app.button_group(key="whatif.shown").set_value("As drawn").run()
    assert scene(app)[0]["compare"] is True
    press(app, "Draw 3 x 3")
    assert "9 of 9 drawn" in captions(app)
    grid = json.loads(app.get("plotly_chart")[1].proto.spec)
    assert len(grid["layout"]["xaxis"]["ticktext"]) == len(grid["layout"]["yaxis"]["ticktext"]) == 3


def test_what_is_swept_is_what_the_whatif_changes_until_another_is_chosen(app: AppTest):
    visited(app, age="40", seed="1", steps="1", set_bmi="28")
    assert app.selectbox(key="whatif.sweep.column").value == "bmi"
    app.selectbox(key="whatif.sweep.column").set_value("height").run()
    visited(app, age="40", seed="1", steps="1", set_age="60")
    assert app.selectbox(key="whatif.sweep.column").value == "height"


def test_the_ends_of_a_sweep_are_typed_and_dragged(app: AppTest):
    """Boxes and slider are one value; what is outside of the range or beyond the other end is said, and the ends stay in order."""
    visited(app, age="40", seed="1", steps="1", set_bmi="28")
    key = "whatif.sweep.tiny.bmi.ends"
    low, high = app.slider(key=key).min, app.slider(key=key).max

    def ends() -> tuple[float, float]:
        typed = tuple(app.number_input(key=f"{key}.{end}").value for end in range(2))
        assert typed == app.slider(key=key).value
        return typed

    assert ends() == (low, high)
    app.number_input(key=f"{key}.0").set_value(22.0).run()
    app.number_input(key=f"{key}.1").set_value(26.4).run()
    assert ends() == (22.0, 26.4)
    app.number_input(key=f"{key}.0").set_value(30.0).run()
    assert ends() == (22.0, 26.4)
    assert "30 is above the upper end, 26.4: set that first." in captions(app)
    app.number_input(key=f"{key}.1").set_value(99.0).run()
    assert ends() == (22.0, high)
    assert f"99 lies outside what this model was trained on: {low:g} to {high:g} kg/m²." in captions(app)
    app.slider(key=key).set_value((23.0, 26.0)).run()
    assert ends() == (23.0, 26.0)
    assert "trained on:" not in captions(app)
    app.number_input(key=f"{key}.0").set_value(22.0)
    app.number_input(key="whatif.sweep.n").set_value(3).run()
    press(app, "Sweep")
    assert [person["says"] for person in scene(app)[0]["people"]] == ["BMI 22 kg/m²", "BMI 24 kg/m²", "BMI 26 kg/m²"]


def test_what_is_typed_outside_of_the_trained_range_becomes_its_end_and_is_said(app: AppTest):
    visited(app, age="40", seed="1", steps="1", set_age="60")
    key = "whatif.person.age.after"
    end = app.slider(key=key).max
    app.number_input(key=f"{key}.typed").set_value(int(end) + 10).run()
    assert app.slider(key=key).value == app.number_input(key=f"{key}.typed").value == end
    assert f"{end + 10:g} lies outside what this model was trained on" in captions(app)


def given_scan(app: AppTest, *files: tuple[str, bytes]) -> AppTest:
    visited(app, age="40", steps="1")
    app.button_group(key="whatif.source").set_value("Scan of yours").run()
    assert "Upload a scan on the left" in app.info[0].value
    app.file_uploader(key="whatif.files").set_value((*files[0], "application/octet-stream")).run()
    return press(app, "Read the scan")


def nifti(volume: Volume) -> bytes:
    return gzip.compress(volume.to_nifti().to_bytes(), 1)


@pytest.mark.parametrize("kind", ["NIfTI", "DICOM"])
def test_a_scan_is_read_and_comes_back_unless_something_is_set(app: AppTest, person: Volume, kind: str):
    file = ("Doe.nii.gz", nifti(person)) if kind == "NIfTI" else ("Doe.zip", zipped(series(person, 255)))
    given_scan(app, file)
    assert "Your scan is in use, on the model's grid of 32 x 32 x 32 voxels" in captions(app)
    app.number_input(key="whatif.scan.steps.count").set_value(2).run()
    press(app, "Draw")
    header, (before, after) = scene(app)
    np.testing.assert_array_equal(before, after)
    own = np.rint(person.data.clip(0, 1) * 255).ravel(order="F")
    assert np.abs(before - own).max() <= 1, "it is the scan that is shown, slices in their places"
    assert "no voxel differs" in captions(app)
    assert places(app)[OWN_ERROR].endswith("%"), "the model's own error is not nothing"
    assert "a change that is not well above that row is the model's error" in captions(app)
    app.button_group(key="whatif.scan.bmi.how").set_value("set to").run()
    app.slider(key="whatif.scan.bmi.after").set_value(24.0).run()
    press(app, "Draw")
    _, (before, after) = scene(app)
    assert (before != after).any()
    assert column(app, "bmi")[1:] == ("24", "set")
    assert dict(app.query_params) == {"model": "tiny"}, "a scan has no address"
    said = json.dumps(header) + captions(app)
    assert not any(secret in said for secret in (NAME, "Doe"))
    press(app, "Forget this scan")
    assert not app.get("bidi_component")
    assert not any(key[0].scan for key in app.session_state["whatif"].answers)


def test_a_drawing_waits_while_a_scan_is_looked_at_and_goes_on_afterwards(app: AppTest, person: Volume):
    """A scan is on screen before anything is read off it, in its own voxels, and no synthetic person is drawn meanwhile."""
    visited(app, age="40", steps="1")
    app.slider(key="whatif.sweep.tiny.age.ends").set_value((30.0, 60.0))
    app.button_group(key="whatif.source").set_value("Scan of yours").run()
    here = app.session_state["whatif"]
    (key,) = here.answers
    here.answers = {}
    here.draw(key[0])
    app.run()
    assert (here.answers, here.wanted) == ({}, (key,)), "what was asked of somebody else waits"
    app.file_uploader(key="whatif.files").set_value(("Doe.nii.gz", nifti(person), "application/octet-stream")).run()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("pages.components.whatif.work.looked_at", lambda model, scan, report: _stopped())
        next(button for button in app.button if button.label == "Read the scan").click().run()
    header, (voxels,) = scene(app)
    own = np.rint(person.data.clip(0, 1) * 255).ravel(order="F")
    assert np.abs(voxels - own).max() <= 1
    assert (header["people"][0]["rows"], here.unread is not None, here.wanted) == ([], True, (key,))
    app.run()
    assert len(scene(app)[0]["people"][0]["rows"]) > 2
    assert here.unread is None
    app.button_group(key="whatif.source").set_value("Synthetic").run()
    assert (list(here.answers), here.wanted) == ([key], ())


def _stopped() -> None:
    st.stop()


def test_a_scan_is_taken_in_while_the_model_is_busy(model: engine.Model, person: Volume):
    """Whoever draws holds the model; a scan is brought to its grid all the same, and only what is read off it waits."""
    from pages.components.state.generation import WAITING, model_lock
    from pages.components.whatif.upload import admitted, looked_at

    said: list[str] = []

    class Enough(Exception):
        pass

    def impatient(share: float, text: str) -> None:
        said.append(text)
        if WAITING in text:
            raise Enough

    with model_lock():
        taken = admitted(model, [("Doe.nii.gz", nifti(person))], impatient)
        assert (taken.volume.grid, taken.columns) == ((32, 32, 32), {})
        with pytest.raises(Enough):
            looked_at(model, taken, impatient)
    assert set(looked_at(model, taken, lambda share, text: None).columns) == set(model.schema.names)


def test_what_the_reader_corrects_is_held(app: AppTest, person: Volume):
    given_scan(app, ("scan.nii.gz", nifti(person)))
    app.toggle(key="whatif.scan.age.given").set_value(True).run()
    app.slider(key="whatif.scan.age.before").set_value(44).run()
    app.number_input(key="whatif.scan.steps.count").set_value(1).run()
    press(app, "Draw")
    assert column(app, "age") == ("44", "44", "held")
    assert column(app, "bmi")[2] == "held"


def test_files_for_download_hold_the_voxels_and_no_name(app: AppTest, person: Volume):
    given_scan(app, ("Doe.zip", zipped(series(person, 255))))
    app.number_input(key="whatif.scan.steps.count").set_value(1).run()
    press(app, "Draw")
    press(app, "Prepare files")
    _, made = app.session_state["whatif"].file
    with zipfile.ZipFile(io.BytesIO(made)) as archive:
        names = {name.removesuffix(".nii.gz") for name in archive.namelist()}
        told = archive.read("whatif.json").decode()
        raw = b"".join(gzip.decompress(archive.read(n)) for n in archive.namelist() if n.endswith(".gz"))
    assert {"scan", "reconstruction", "01_counterfactual", "01_difference", "whatif.json"} <= names
    assert "Doe" not in told
    assert b"Doe" not in raw
    (one,) = json.loads(told)["counterfactuals"]
    assert one["set"] == {}
    brain = one["measured"]["brain_ml"]
    assert brain["interval_95"][0] <= brain["change"] == 0 <= brain["interval_95"][1], "nothing set, nothing changed"


def test_a_scan_unlike_the_cohort_is_used_only_when_the_reader_insists(
    app: AppTest, person: Volume, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("engine.inference.intake.check", lambda model, volume: ["its contrast is wrong"])
    given_scan(app, ("scan.nii.gz", nifti(person)))
    assert "* Its contrast is wrong." in app.warning[0].value
    assert next(button for button in app.button if button.label == "Draw").disabled
    app.checkbox(key="whatif.agreed").set_value(True).run()
    assert not next(button for button in app.button if button.label == "Draw").disabled


def test_a_bad_file_gets_a_sentence_with_a_remedy(app: AppTest):
    given_scan(app, ("letter.nii.gz", b"%PDF-1.7 letter"))
    assert "this is no NIfTI file but a PDF, whatever its name says" in app.warning[0].value
    assert not app.get("bidi_component")


def test_a_question_without_a_person_left_is_refused(model: engine.Model):
    from pages.components.whatif.answer import answer

    question = Question(model="tiny", digest=model.digest, scan="gone")
    with pytest.raises(ValueError, match="upload it again"):
        answer(model, question, None, None, lambda share, text: None, True)
