"""Every page without 3D APIs: for screen readers and in both themes by axe's rules, and no word to another machine."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from pages.components.parts.frame import BANNER
from tests.pages.visit import WORDS, Visit

expect.set_options(timeout=30_000)  # a busy machine is slow
#: WCAG 2.1, level AA, and what axe calls best practice
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]
#: Streamlit's own, and minor: the corner of a table, and a drop zone that has both a role and a name
THEIRS = {"empty-table-header", "presentation-role-conflict"}


def faults(here: Visit) -> dict[str, list[str]]:
    """What axe finds on the page, by rule, and where."""
    found = Axe().run(here.page, options={"runOnly": RULES}).response["violations"]
    return {v["id"]: [str(n["target"]) for n in v["nodes"]] for v in found if v["id"] not in THEIRS}


@pytest.mark.parametrize("title", WORDS)
def test_a_cold_deep_link_carries_the_banner_and_can_be_read_by_everybody(
    visit: Callable[..., Visit], ruled_address: str, title: str
):
    here = visit("--disable-3d-apis")
    here.page.emulate_media(color_scheme="light")
    address = "" if title == "Overview" else title.replace(" ", "_")
    here.open(f"{ruled_address}/{address}?steps=1")
    words = "Report folder" if title == "Model review" else WORDS[title]  # the tiny model has no figures to show
    expect(here.page.get_by_text(words).first).to_be_visible()
    expect(here.page.locator(".banner").get_by_text(BANNER)).to_be_visible()
    app = here.page.get_by_test_id("stApp")
    here.at_rest()
    expect(here.page.get_by_test_id("stException")).to_have_count(0)
    assert faults(here) == {}, "light"

    light = app.evaluate("element => getComputedStyle(element).backgroundColor")
    here.page.emulate_media(color_scheme="dark")
    expect(app).not_to_have_css("background-color", light)
    here.at_rest()
    assert faults(here) == {}, "dark"
    assert not [url for url in here.requests if not url.startswith((ruled_address, "blob:", "data:"))]


def test_axe_finds_what_is_wrong(visit: Callable[..., Visit], ruled_address: str):
    here = visit("--disable-3d-apis").open(f"{ruled_address}/About")
    expect(here.page.get_by_text(WORDS["About"]).first).to_be_visible()
    here.at_rest()  # axe judges no contrast of what something else covers
    here.page.get_by_text(BANNER).evaluate("e => { e.style.color = '#eee'; e.innerHTML += '<img src=\"data:,\">'; }")
    assert {"color-contrast", "image-alt"} <= set(faults(here))
