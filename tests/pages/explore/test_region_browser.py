"""A region edited and painted in a browser: sliders by keyboard, brush by pointer and by key, for everybody to read."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Locator, WebSocketRoute, expect
from streamlit.proto.ForwardMsg_pb2 import ForwardMsg

from tests.pages.conftest import WAIT
from tests.pages.test_access import faults
from tests.pages.visit import Visit, jump

#: of B, or of the one person: how many voxels each label has
COUNTS = """root => {
  const { labels, header, other, shown } = root.somatwin, counts = [0, 0, 0, 0];
  for (const label of labels[header.compare ? other : shown]) counts[label] += 1;
  return counts;
}"""
VENTRICLES = 2
QUERY = "model=masked&steps=2&seed=5&age=60&edit=ventricles&edit.times=1.5"


@pytest.fixture(scope="module")
def page(visit: Callable[..., Visit], masked_address: str) -> Visit:
    here = visit("--disable-3d-apis").open(
        f"{masked_address}/Explore?model=masked&steps=2&seed=5&age=60&edit=ventricles"
    )
    here.shown()
    return here


def drawn(here: Visit, button: Locator) -> None:
    """Press, and wait for the scene that comes of it."""
    before = here.viewer.get_attribute("data-fingerprint")
    button.click()
    here.shown(other_than=before)


def test_a_region_is_grown_with_the_keyboard(page: Visit):
    page.page.get_by_text("Edit a region").click()  # of the ventricles, as the address says, and nothing of them as yet
    slider = page.page.get_by_role("slider", name=re.compile(r"Volume, mL \(now \d\d?\.\d"))
    expect(slider).to_be_visible()
    before = page.viewer.evaluate(COUNTS)
    for _ in range(3):
        slider.press("PageUp")
    draw = page.page.get_by_role("button", name="Draw for this mask")
    expect(draw).to_be_enabled(timeout=WAIT)
    drawn(page, draw)
    after = page.viewer.evaluate(COUNTS)
    assert after[VENTRICLES] > before[VENTRICLES]
    assert after[0] == before[0], "not out of the body"
    expect(page.page).to_have_url(re.compile("edit=ventricles&edit.times="))
    expect(page.viewer.locator(".panel h2")).to_contain_text("times as large")


def test_the_brush_paints_takes_back_and_is_drawn_for(visit: Callable[..., Visit], masked_address: str):
    page = visit("--disable-3d-apis").open(f"{masked_address}/Explore?{QUERY}")
    page.page.locator(".viewer.comparing[data-fingerprint]").wait_for()
    page.shown()
    counts = page.viewer.evaluate(COUNTS)
    page.press("Brush")
    brush = page.viewer.get_by_role("toolbar", name="Brush")
    brush.get_by_role("combobox", name="Region to paint").select_option("Ventricles")
    assert page.page.get_by_role("button", name="Apply").is_disabled()
    sent = len(page.sent)
    canvas = page.page.locator(".pane").nth(4).locator("canvas")
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    assert box
    page.page.mouse.move(box["x"] + box["width"] * 0.45, box["y"] + box["height"] * 0.5)
    page.page.mouse.down()
    page.page.mouse.move(box["x"] + box["width"] * 0.55, box["y"] + box["height"] * 0.5, steps=4)
    page.page.mouse.up()
    painted = page.viewer.evaluate(COUNTS)
    assert painted[VENTRICLES] > counts[VENTRICLES]
    assert painted[0] == counts[0], "nothing is painted into the background"
    expect(brush).to_contain_text("mL painted")
    page.pane("Axial").press("z")
    assert page.viewer.evaluate(COUNTS) == counts
    # by the keyboard alone: at the crosshair, in B's coronal slice
    jump(page, [16, 16, 20])
    page.page.locator(".pane").nth(5).locator("canvas").focus()
    page.page.keyboard.press("b")
    painted = page.viewer.evaluate(COUNTS)
    assert painted[VENTRICLES] > counts[VENTRICLES]
    assert len(page.sent) == sent, "painting does not ask the server"
    other = page.viewer.evaluate("root => root.somatwin.labels[0].join()")
    page.pane("Axial").click()
    expect(brush).to_contain_text("Paint on B")
    assert page.viewer.evaluate("root => root.somatwin.labels[0].join()") == other
    assert faults(page) == {}
    drawn(page, brush.get_by_role("button", name="Apply"))
    assert page.viewer.evaluate(COUNTS) == painted, "the scan is drawn for what was painted"
    expect(page.page.get_by_text("is in no address and in no session file")).to_be_visible()
    expect(page.page).not_to_have_url(re.compile("edit="))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_read_it(page: Visit, scheme: str):
    page.page.emulate_media(color_scheme="dark" if scheme == "dark" else "light")
    page.at_rest()
    page.page.wait_for_timeout(300)
    assert faults(page) == {}
    assert not page.errors


def test_a_browser_that_is_behind_takes_no_edit_back(visit: Callable[..., Visit], masked_address: str):
    """While people are measured a browser asks how far that is, with the address that it has by then: the one before."""
    first = visit("--disable-3d-apis").open(f"{masked_address}/Explore?model=masked&steps=2&seed=7")
    first.page.get_by_role("button", name="Measure this person").click()
    expect(first.page.locator("[data-measure]").first).to_be_visible()  # from now on everybody is measured
    held: list[tuple[WebSocketRoute, bytes]] = []

    def hold(socket: WebSocketRoute) -> None:
        server = socket.connect_to_server()

        def heard(message: str | bytes) -> None:
            told = ForwardMsg.FromString(message) if isinstance(message, bytes) else ForwardMsg()
            if "edit=" in told.page_info_changed.query_string:
                held.append((socket, bytes(message)))
            else:
                socket.send(message)

        server.on_message(heard)

    here = visit("--disable-3d-apis")
    here.page.route_web_socket(re.compile("_stcore/stream"), hold)
    here.open(f"{masked_address}/Explore?{QUERY.replace('seed=5', 'seed=6')}")
    here.page.locator(".viewer.comparing[data-fingerprint]").wait_for()
    expect(here.page.locator("[data-measure]").first).to_be_visible()
    here.at_rest()
    assert held
    assert here.page.locator(".viewer.comparing").count() == 1
    for socket, message in held:
        socket.send(message)
    expect(here.page).to_have_url(re.compile("edit=ventricles&edit.times=1.5"))


def test_a_link_brings_the_edit_back_on_both_pages(visit: Callable[..., Visit], masked_address: str):
    one = visit("--disable-3d-apis").open(f"{masked_address}/Explore?{QUERY}")
    one.page.locator(".viewer.comparing[data-fingerprint]").wait_for()
    counts = one.viewer.evaluate(COUNTS)
    other = visit("--disable-3d-apis").open(f"{masked_address}/What_if?{QUERY}")
    other.page.get_by_text("15 mm around it").wait_for()
    other.page.locator(".viewer[data-fingerprint]").wait_for()
    assert other.viewer.evaluate(COUNTS) == counts
    other.at_rest()
    assert faults(other) == {}
    strangers = [url for url in one.requests + other.requests if not url.startswith((masked_address, "blob:", "data:"))]
    assert not strangers
