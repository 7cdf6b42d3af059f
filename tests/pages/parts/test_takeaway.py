"""Taking people away and coming back to them, as a person would, in a real Chromium."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import Locator, expect

import engine
from engine.imaging.dicom import read_series
from pages.components.parts.ruler.surfaces import skin_surface
from tests.pages.visit import Visit

#: what a browser on a hospital's virtual desktop may refuse
NO_3D = "--disable-3d-apis"
expect.set_options(timeout=60_000)  # a busy machine is slow


def saved(here: Visit, button: str, folder: Path) -> Path:
    """The file that a button saves."""
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name=button).click()
    path = folder / download.value.suggested_filename
    download.value.save_as(path)
    return path


def test_a_visitor_takes_people_away_and_comes_back(
    visit: Callable[..., Visit], app_address: str, tiny_checkpoint: Path, tmp_path: Path
):
    model = engine.load(tiny_checkpoint / "tiny", "cpu")
    (person,) = model.generate(given={"age": 40}, seed=5, steps=2)
    here = visit().open(f"{app_address}/Explore?age=40&steps=2&seed=5")
    shown = here.shown()
    here.page.get_by_role("button", name="Download").click()
    series = read_series(saved(here, "Scans as DICOM", tmp_path).read_bytes()).volume
    np.testing.assert_allclose(series.affine, person.volume.affine, atol=1e-6)
    np.testing.assert_allclose(series.data, person.volume.data, atol=1e-4)
    skin = skin_surface(person.volume)
    with zipfile.ZipFile(saved(here, "Skin as STL", tmp_path)) as archive:
        data = archive.read("tiny_seed-5_skin.stl")
    assert data.startswith(f"SYNTHETIC - not for diagnosis; seed 5; checkpoint {model.digest}".encode())
    assert int.from_bytes(data[80:84], "little") == len(skin.faces)
    session = saved(here, "Session file", tmp_path)
    here.page.keyboard.press("Escape")
    if here.page.evaluate("() => document.createElement('canvas').getContext('webgl') !== null"):
        expect(make_surfaces(here).locator(".js-plotly-plot .gl-container canvas").first).to_be_visible()

    again = visit().open(app_address)
    again.page.get_by_role("button", name="Open a session").click()
    foreign = json.loads(session.read_text())
    foreign["checkpoint"]["digest"] = "ffffffffffff"
    (tmp_path / "foreign.json").write_text(json.dumps(foreign))
    chooser = again.page.locator("input[type=file]")
    chooser.set_input_files(tmp_path / "foreign.json")
    expect(again.page.get_by_text(f"of weights ffffffffffff, here it has {model.digest}")).to_be_visible()
    chooser.set_input_files(session)
    assert again.shown() == shown
    expect(again.page).to_have_url(f"{app_address}/Explore?model=tiny&seed=5&n=1&steps=2&age=40")
    assert not [url for url in here.requests if not url.startswith((app_address, "blob:", "data:"))]


def test_a_visitor_comes_back_to_a_what_if(visit: Callable[..., Visit], app_address: str, tmp_path: Path):
    address = "What_if?model=tiny&seed=5&steps=2&age=40&set.age=60"
    here = visit().open(f"{app_address}/{address}")
    shown = here.shown(button="Session")
    session = saved(here, "Session", tmp_path)
    again = visit().open(app_address)
    again.page.get_by_role("button", name="Open a session").click()
    again.page.locator("input[type=file]").set_input_files(session)
    assert again.shown(button="Session") == shown
    expect(again.page).to_have_url(f"{app_address}/{address}")


def make_surfaces(here: Visit) -> Locator:
    """The section on the page, once it has made them."""
    section = here.page.get_by_test_id("stExpander").filter(has_text="Surfaces")
    section.get_by_text("Surfaces", exact=True).click()
    section.get_by_role("button", name="Make surfaces").click()
    expect(section.get_by_text("Nothing is measured: there is no measure-head")).to_be_visible()
    return section


def test_without_webgl_the_surfaces_are_said_to_be_files(visit: Callable[..., Visit], app_address: str, tmp_path: Path):
    here = visit(NO_3D).open(f"{app_address}/Explore?age=40&steps=2&seed=5")
    here.shown()
    section = make_surfaces(here)
    expect(section.get_by_text("WebGL is missing or switched off")).to_be_visible()
    expect(section.locator(".js-plotly-plot")).to_have_count(0)
    assert zipfile.ZipFile(saved(here, "STL files", tmp_path)).namelist() == [
        "tiny_seed-5_skin.stl",
        "tiny_seed-5.json",
    ]
