"""A scene as one file: it says what it is, loads nothing, and opens from a disk in a browser that knows no server."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from playwright.sync_api import BrowserContext, expect

from engine.imaging.volume import Volume
from pages.components.parts.viewer.page import header_of, scene_page
from pages.components.state.scene import payload
from tests.pages.conftest import WAIT


def sweep() -> bytes:
    """Three people of known grey, a sweep."""
    volumes, people = [], []
    for k, grey in enumerate((0.2, 0.4, 0.8)):
        data = np.zeros((24, 24, 24), np.float32)
        data[4:20, 4:20, 4:20] = grey
        volumes.append(Volume(data, np.diag([4.0, 4.0, 4.0, 1.0])))
        row = {
            "name": "bmi",
            "label": "BMI",
            "value": f"{20 + k}",
            "unit": "kg/m²",
            "origin": "set",
            "percentile": None,
        }
        person = {
            "title": f"BMI {20 + k}",
            "says": f"BMI {20 + k} kg/m²",
            "subtitle": "",
            "file": f"bmi-{20 + k}",
            "seed": 5,
        }
        people.append(person | {"rows": [row | {"description": "</script><b>"}]})
    facts = {"model": "tiny", "draft": False, "note": "A note.", "sweep": True, "weights": "0123456789ab"}
    return payload(volumes, people, **facts)


def test_the_head_of_a_page_says_what_it_is():
    scene = sweep()
    text = scene_page(scene).decode()
    assert "<title>SYNTHETIC - not for diagnosis</title>" in text
    assert "model tiny, seed 5, weights 0123456789ab" in text
    assert header_of(scene)["people"][2]["says"] == "BMI 22 kg/m²"
    assert not any(word in text for word in ("http://", "https://", "src=", "@import", "url("))


def test_a_page_opens_offline_and_plays(launch: Callable[..., BrowserContext], tmp_path: Path):
    """From file://, and nothing else is asked for: the sweep's slider changes the grey of the middle voxel and what stands beside it."""
    path = tmp_path / "scene.html"
    path.write_bytes(scene_page(sweep()))
    browser = launch().browser
    assert browser
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(WAIT)
    errors, asked = [], []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri())
    viewer = page.locator(".viewer[data-fingerprint]")
    viewer.wait_for()
    expect(page.locator("header")).to_contain_text("SYNTHETIC - not for diagnosis")
    slider = page.get_by_role("slider", name="Place in the sweep")
    readings = []
    for k in range(3):
        slider.fill(str(k))
        expect(viewer.locator(".sweep output")).to_have_text(f"BMI {20 + k} kg/m²")
        viewer.evaluate("root => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        readings.append(
            viewer.evaluate("root => root.somatwin.volumes[root.somatwin.shown][0][12 + 24 * 12 + 576 * 12]")
        )
        expect(viewer.locator("[data-column=bmi] .value")).to_contain_text(f"{20 + k}")
    assert readings == [51, 102, 204]
    assert viewer.evaluate("root => root.somatwin.window.join()") == "0,255"
    page.get_by_role("button", name="Play the sweep").click()
    expect(viewer.locator(".sweep output")).not_to_have_text("BMI 22 kg/m²")
    with page.expect_download() as download:
        viewer.get_by_role("button", name="Save image").click()
    assert download.value.suggested_filename.startswith("bmi-2")
    words = viewer.evaluate("root => root.somatwin.picture.ariaLabel")
    assert "SYNTHETIC - not for diagnosis · seed 5 · weights 0123456789ab" in words
    assert errors == []
    assert {url.partition(":")[0] for url in asked} <= {"file", "blob", "data"}
    context.close()
