"""The app in a real Chromium: the viewer's pictures, its keys, the address, and not one request to another machine."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Literal

import pytest
from playwright.sync_api import expect

from tests.pages.visit import AMBER, QUARTERS, Visit, jump

#: what a browser on a hospital's virtual desktop may refuse
NO_3D = "--disable-3d-apis"
expect.set_options(timeout=30_000)  # a busy machine is slow
#: contrast of an element's text with a background, as WCAG 2 defines it
CONTRAST = """(element, background) => {
  const parts = (colour) => colour.match(/[\\d.]+/g).slice(0, 3).map(Number);
  const luminance = (colour) => {
    const [r, g, b] = parts(colour).map((v) => (v / 255 <= 0.03928 ? v / 3294.6 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const style = getComputedStyle(element), lights = [style.color, background || style.backgroundColor].map(luminance);
  return (Math.max(...lights) + 0.05) / (Math.min(...lights) + 0.05);
}"""
VOXELS = "root => root.somatwin.volumes[root.somatwin.shown].join()"


@pytest.fixture(scope="module")
def trio(visit: Callable[..., Visit], app_address: str) -> Visit:
    """Three people on the Explore page."""
    here = visit().open(f"{app_address}/Explore?steps=2&n=3&seed=5")
    here.shown()
    return here


@pytest.fixture(scope="module")
def block_page(visit: Callable[..., Visit], block_address: str) -> Visit:
    here = visit().open(block_address)
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    return here


@pytest.fixture
def block(block_page: Visit) -> Visit:
    """The viewer with a block at the patient's right, front and top, as it opens but for the crosshair inside the block."""
    block_page.press("Reset")
    block_page.press("Radiological")
    jump(block_page, [30, 36, 46])
    return block_page


@pytest.mark.parametrize("flags", [(), (NO_3D,)], ids=["as installed", "without 3D"])
def test_one_visit(visit: Callable[..., Visit], app_address: str, flags: tuple[str, ...]):
    """A cold deep link is drawn, a slider draws new voxels, its address brings them back, nothing leaves the server."""
    here = visit(*flags).open(f"{app_address}/Explore?age=40&steps=2&seed=3")
    first = here.shown()
    voxels = here.viewer.evaluate(VOXELS)
    for name in ("Axial", "Coronal", "Sagittal", "Surface"):
        assert max(here.pane(name).evaluate(QUARTERS)) > 5, f"{name} is blank"
    here.page.get_by_text("Live", exact=True).click()
    slider = here.page.get_by_role("slider", name="Age value")
    slider.focus()
    slider.press("ArrowRight")
    second = here.shown(other_than=first)
    expect(here.page.locator("[data-column=age] .value")).to_contain_text("41")
    assert here.viewer.evaluate(VOXELS) != voxels
    expect(here.page).to_have_url(f"{app_address}/Explore?model=tiny&seed=3&n=1&steps=2&age=41")
    again = visit(*flags).open(here.page.url)
    assert again.shown() == second
    strangers = [url for url in here.requests if not url.startswith((app_address, "blob:", "data:"))]
    assert not strangers


def test_a_strip_chooses_who_is_shown(trio: Visit):
    voxels, sent = trio.viewer.evaluate(VOXELS), len(trio.sent)
    trio.viewer.get_by_role("button", name="Person 2").click()
    expect(trio.viewer.locator(".panel h2")).to_contain_text("seed 6")
    assert trio.viewer.evaluate(VOXELS) != voxels
    assert len(trio.sent) == sent


def test_keys_and_wheel_scroll_without_the_server(trio: Visit):
    axial, sent = trio.pane("Axial"), len(trio.sent)
    caption = trio.page.locator(".pane figcaption").first
    # the patient's origin, 123 mm above the lowest slice of 6 mm
    expect(caption).to_have_text("Axial  22 / 32")
    picture = axial.screenshot()
    axial.focus()
    moves = (
        ("ArrowUp", 23),
        ("ArrowDown", 22),
        ("PageDown", 12),
        ("PageUp", 22),
        ("End", 32),
        ("Home", 1),
        ("ArrowUp", 2),
    )
    for key, index in moves:
        axial.press(key)
        expect(caption).to_have_text(f"Axial  {index} / 32")
    axial.hover()
    trio.page.mouse.wheel(0, -120)
    expect(caption).to_have_text("Axial  3 / 32")
    assert axial.screenshot() != picture
    assert len(trio.sent) == sent, "scrolling must not ask the server"


def test_a_phone_needs_no_sideways_scrolling(trio: Visit):
    trio.page.set_viewport_size({"width": 414, "height": 896})
    trio.page.wait_for_function("document.documentElement.clientWidth <= 414")
    box = trio.viewer.bounding_box()
    assert box
    assert box["x"] + box["width"] <= 414
    assert trio.page.evaluate("document.documentElement.scrollWidth") <= 414
    trio.page.set_viewport_size({"width": 1440, "height": 900})


def test_the_button_draws_another_person(trio: Visit):
    first = trio.shown()
    trio.page.get_by_role("button", name="Another").click()
    trio.shown(other_than=first)
    expect(trio.page).not_to_have_url(re.compile("seed=5(&|$)"))


def test_the_button_is_in_sight_on_a_small_screen(trio: Visit):
    trio.page.set_viewport_size({"width": 1024, "height": 620})
    trio.page.wait_for_function("document.documentElement.clientWidth <= 1024")
    trio.page.get_by_text("More attributes").click()
    button = trio.page.get_by_role("button", name="Generate")
    expect(trio.page.get_by_text("Ethnicity").first).to_be_visible()
    expect(button).to_be_in_viewport(ratio=1)
    trio.page.set_viewport_size({"width": 1440, "height": 900})


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_stand_out(visit: Callable[..., Visit], app_address: str, scheme: Literal["light", "dark"]):
    """4.5 : 1 (WCAG AA) for the teal of values and choices, for captions, and on the button."""
    here = visit()
    here.page.emulate_media(color_scheme=scheme)
    here.open(f"{app_address}/Explore?age=40&sex=F&steps=2&seed=3").shown()
    sidebar = here.page.get_by_test_id("stSidebar")
    ground = sidebar.evaluate("element => getComputedStyle(element).backgroundColor")
    value = sidebar.get_by_test_id("stSliderThumbValue").first
    chosen = sidebar.get_by_role("radio", name="Female")
    caption = sidebar.get_by_test_id("stCaptionContainer")
    assert min(words.evaluate(CONTRAST, ground) for words in (value, chosen, caption)) >= 4.5
    assert here.page.get_by_role("button", name="Generate").evaluate(CONTRAST) >= 4.5


@pytest.mark.parametrize("convention", ["Radiological", "Neurological"])
def test_the_block_stands_under_its_letters(block: Visit, convention: str):
    """The block lies right, anterior and superior; each plane shows it between the letters that say so."""
    block.press(convention)
    # the letters change at once, the canvas at the next frame
    block.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    expected = {"Axial": "RA", "Coronal": "RS", "Sagittal": "AS"}
    for i, (name, (across, up)) in enumerate(expected.items()):
        letters = block.viewer.evaluate("(root, i) => root.somatwin.panes[i].letters", i)
        quarters = block.pane(name).evaluate(QUARTERS)
        brightest = quarters.index(max(quarters))
        assert letters["left" if brightest % 2 == 0 else "right"] == across
        assert letters["top" if brightest < 2 else "bottom"] == up
        assert sum(quarters) < 2.5 * max(quarters), "the other quarters are dim"
    assert block.viewer.evaluate("root => root.somatwin.panes[0].letters.left") == (
        "R" if convention == "Radiological" else "L"
    )


def test_a_click_moves_the_crosshair_and_reads_the_voxel(block: Visit):
    readout = block.viewer.locator(".readout")
    expect(readout).to_have_text("R 60  A 72  S 92 mm  ·  value 1.00  ·  window 0.00 to 1.00")
    box = block.pane("Axial").bounding_box()
    assert box
    block.pane("Axial").click(position={"x": box["width"] * 0.62, "y": box["height"] * 0.7})
    expect(readout).to_contain_text("value 0.10")
    i, j, k = block.viewer.evaluate("root => root.somatwin.cursor")
    assert (i < 20, j < 24, k) == (True, True, 46), "right of the screen is the patient's left"
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    block.page.mouse.move(x, y)
    block.page.mouse.down(button="right")
    block.page.mouse.move(x - 60, y, steps=3)
    block.page.mouse.up(button="right")
    expect(readout).not_to_contain_text("window 0.00 to 1.00")
    block.press("Reset")
    expect(readout).to_contain_text("window 0.00 to 1.00")


def test_a_saved_picture_carries_the_warning(block: Visit):
    with block.page.expect_download() as download:
        block.press("Save image")
    assert download.value.suggested_filename == "block.png"
    amber = block.viewer.evaluate_handle("root => root.somatwin.picture").evaluate(AMBER)
    assert amber > 300, "the footer is drawn in amber"
