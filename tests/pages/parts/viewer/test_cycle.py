"""A cine in the viewer: it plays at the heart's rate, a phase can be chosen, two hearts beat together; every value known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import BrowserContext, Locator, expect

from tests.pages.conftest import WAIT
from tests.pages.visit import COLOUR, Visit, jump

INSIDE = [45, 45, 8]


@pytest.fixture(scope="module")
def cine_page(visit: Callable[..., Visit], block_address: str) -> Visit:
    here = visit("--disable-3d-apis").open(f"{block_address}/?scene=cine")
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    return here


@pytest.fixture
def cine(cine_page: Visit) -> Visit:
    """At end-diastole, the crosshair in the box."""
    return stopped(cine_page)


def stopped(here: Visit) -> Visit:
    here.page.bring_to_front()
    here.press("End-diastole")
    here.viewer.evaluate("root => void Object.assign(root.somatwin, { smooth: false, crosshair: false })")
    jump(here, INSIDE)
    return here


def said(here: Visit) -> Locator:
    return here.viewer.locator(".cycle .moment")


def grey(here: Visit, pane: int = 0) -> int:
    here.page.evaluate("() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
    return here.viewer.evaluate(COLOUR, [pane, INSIDE])[0]


def test_a_phase_is_chosen_by_slider_key_and_name(cine: Visit):
    expect(said(cine)).to_have_text("phase 1 / 12, 0 of 960 ms")
    assert grey(cine) == 100
    cine.page.get_by_role("slider", name="Phase of the cycle").fill("7")
    expect(said(cine)).to_have_text("phase 8 / 12, 560 of 960 ms")
    assert [grey(cine, pane) for pane in range(3)] == [170] * 3
    expect(cine.viewer.locator(".readout")).to_contain_text("value 0.67")
    axial = cine.pane("Axial")
    axial.press("<")
    expect(said(cine)).to_contain_text("phase 7 / 12")
    axial.press("q")
    expect(said(cine)).to_contain_text("phase 1 / 12")
    axial.press("q")
    expect(said(cine)).to_contain_text("phase 5 / 12")
    axial.press("q")
    axial.press("<")
    expect(said(cine)).to_contain_text("phase 12 / 12")
    axial.press(">")
    assert grey(cine) == 100
    cine.press("End-systole")
    assert grey(cine) == 140


def test_space_plays_the_cycle_in_its_own_time_and_pauses_it(cine: Visit):
    """One cycle lasts 960 ms; at twice the speed 480. The share of the cycle that passes is that of the clock, however slow the machine."""
    axial = cine.pane("Axial")
    passed = """async (root, speed) => {
      const view = root.somatwin, wait = () => new Promise(requestAnimationFrame);
      view.speed = speed;
      await wait(), await wait();
      let turns = 0, share = view.share;
      const began = performance.now();
      while (performance.now() - began < 1500) {
        await wait();
        turns += (view.share - share + 1) % 1;
        share = view.share;
      }
      return turns / ((performance.now() - began) / 960);
    }"""
    axial.press("Space")
    expect(cine.viewer.get_by_role("button", name="Pause cycle")).to_be_visible()
    for speed in (1, 2):
        assert cine.viewer.evaluate(passed, speed) == pytest.approx(speed, rel=0.15)
    axial.press("Space")
    expect(cine.viewer.get_by_role("button", name="Play cycle")).to_be_visible()
    before = said(cine).text_content()
    cine.page.wait_for_timeout(400)
    expect(said(cine)).to_have_text(before or "")
    cine.page.get_by_label("Speed of the cycle").select_option("0.5")
    assert cine.viewer.evaluate("root => root.somatwin.speed") == 0.5
    axial.press("c")
    assert cine.viewer.evaluate("root => root.somatwin.speed") == 1


def test_a_phase_is_drawn_fast_enough_for_twenty_a_second(cine: Visit):
    """All four views, without WebGL: the median of two cycles, phase by phase."""
    milliseconds = cine.viewer.evaluate(
        """async root => {
          const view = root.somatwin, times = [], slider = root.querySelector(".cycle input");
          for (let k = 0; k < 24; k++) {
            const { draws } = view;
            slider.value = (k + 1) % 12;
            slider.dispatchEvent(new Event("input"));
            while (view.draws === draws) await new Promise(requestAnimationFrame);
            times.push(view.milliseconds);
          }
          return times.sort((a, b) => a - b)[12];
        }"""
    )
    assert milliseconds < 50


def test_planes_are_in_proportion_and_named_as_the_heart_lies(cine: Visit):
    """A short axis of 154 x 154 mm, long ones of 154 x 128; the letters are of the heart's own sides."""
    fits = cine.viewer.evaluate("root => root.somatwin.panes.slice(0, 3).map(({ fit }) => fit.width / fit.height)")
    assert fits == pytest.approx([1.0, 96 * 1.6 / 128, 96 * 1.6 / 128], rel=0.01)
    letters = cine.viewer.evaluate(
        "root => root.somatwin.panes.slice(0, 3).map(({ letters }) => Object.values(letters).join())"
    )
    assert letters == ["Sep,Lat,Ant,Inf", "Sep,Lat,Base,Apex", "Ant,Inf,Base,Apex"]
    expect(cine.viewer.locator("figcaption").nth(0)).to_have_text("Short axis  9 / 16")
    heights = cine.viewer.evaluate("root => root.somatwin.panes.slice(0, 3).map(({ canvas }) => canvas.clientHeight)")
    assert heights[0] > 2 * heights[1]


def test_the_keys_are_in_the_help_and_none_has_two_meanings(cine: Visit):
    cine.pane("Axial").press("h")
    keys = cine.viewer.get_by_role("dialog", name="Keys")
    for words in (
        "play the heart's cycle",
        "the phase before or after",
        "end-diastole, then end-systole",
        "next speed",
    ):
        expect(keys).to_contain_text(words)
    named = keys.locator("dt kbd").all_text_contents()
    assert len(named) == len(set(named))
    cine.page.keyboard.press("Escape")


def test_two_hearts_beat_at_the_same_share_of_their_cycles(visit: Callable[..., Visit], block_address: str):
    here = visit("--disable-3d-apis").open(f"{block_address}/?scene=cines")
    here.page.locator(".viewer[data-fingerprint]").wait_for()
    stopped(here)
    here.page.get_by_role("slider", name="Phase of the cycle").fill("8")
    expect(said(here)).to_have_text("A phase 9 / 12, 640 of 960 ms  ·  B phase 5 / 6, 667 of 1000 ms")
    assert (grey(here), grey(here, 4)) == (180, 140)
    here.press("Difference")
    expect(here.viewer.locator(".readout")).to_contain_text("A 0.71  ·  B 0.55  ·  B − A: −0.16")


def test_nothing_moves_by_itself_for_whoever_wants_no_motion(launch: Callable[..., BrowserContext], block_address: str):
    browser = launch().browser
    assert browser
    for wish, words in (("reduce", "Play cycle"), ("no-preference", "Pause cycle")):
        context = browser.new_context(reduced_motion=wish)
        page = context.new_page()
        page.set_default_timeout(WAIT)
        page.goto(f"{block_address}/?scene=cine")
        expect(page.get_by_role("button", name=words)).to_be_visible()
        context.close()
