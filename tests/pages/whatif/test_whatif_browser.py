"""The What-if page in a browser: set, draw, share, and bring a scan."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import BrowserContext, expect

import engine
from tests.imaging.dicom_files import series, zipped
from tests.pages.conftest import WAIT
from tests.pages.visit import Visit

VOXELS = "root => root.somatwin.volumes.map((person) => person[0].join())"


def test_a_person_drives_the_page(launch: Callable[..., BrowserContext], ruled_address: str, checkpoints: Path):
    """Nothing set, no difference; BMI set and drawn, voxels and table differ; the address and an uploaded series too."""
    person = engine.load(checkpoints / "tiny", "cpu").generate(seed=4, steps=2)[0].volume
    here = Visit(launch(), 1440).open(f"{ruled_address}/What_if?age=40&sex=F&bmi=22&seed=1&steps=2")
    files = here.page.get_by_role("button", name="Prepare files")
    files.wait_for()
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    first = str(here.viewer.get_attribute("data-fingerprint"))
    before, after = here.viewer.evaluate(VOXELS)
    assert before == after
    here.page.get_by_role("radiogroup", name="BMI, kg/m²").get_by_text("set to").click()
    slider = here.page.get_by_role("slider", name="BMI in the what-if")
    slider.press("End")
    here.page.get_by_text("Older than the controls").wait_for()
    here.page.get_by_role("button", name="Draw", exact=True).click()
    here.page.locator(f".viewer[data-fingerprint]:not([data-fingerprint='{first}'])").wait_for()
    one, other = here.viewer.evaluate(VOXELS)
    assert (one == before, one != other) == (True, True)
    here.page.get_by_text("of the change lies outside").wait_for()
    expect(here.page).to_have_url(re.compile("set.bmi="), timeout=WAIT)
    here.page.get_by_text("Scan of yours").click()
    file = {"name": "series.zip", "mimeType": "application/zip", "buffer": zipped(series(person, 255))}
    here.page.locator("input[type=file]").set_input_files([file])
    expect(here.page.get_by_role("button", name="Read the scan")).to_be_enabled(timeout=WAIT)
    here.page.get_by_role("button", name="Read the scan").click()
    here.page.get_by_text("Your scan is in use").wait_for()
    here.page.get_by_role("button", name="Draw", exact=True).click()
    here.page.get_by_text("With the scan's detail").wait_for()
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    one, other = here.viewer.evaluate(VOXELS)
    assert (one != before, one == other) == (True, True)
    assert not here.errors
    strangers = [url for url in here.requests if not url.startswith((ruled_address, "blob:", "data:"))]
    assert not strangers
    here.page.close()
