"""On Explore a draft comes first where nobody is shown: few steps, no detail, no mask; what needs a mask waits in its place."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

import engine
from pages.components.explore import work
from pages.components.explore.edit import WAITS
from pages.components.explore.work import draft_first
from pages.components.state.address import Request
from pages.components.state.generation import DRAFT_STEPS, Drawn, draw
from pages.components.state.scene import header_of
from tests.pages.conftest import WAIT
from tests.pages.explore.test_region_edit import app, model, press, scene, visited  # noqa: F401
from tests.pages.visit import Visit

#: the steps of people, some of whom take long enough to be seen as drafts first
SLOW = 64


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[Drawn]:
    """Everybody drawn, in turn."""
    found: list[Drawn] = []

    def drawn(*asked: object, **how: object) -> Drawn:
        found.append(draw(*asked, **how))  # pyright: ignore[reportArgumentType]
        return found[-1]

    monkeypatch.setattr(work, "draw", drawn)
    return found


def test_a_draft_comes_first_and_has_no_mask(app: AppTest, made: list[Drawn]):  # noqa: F811
    visited(app, steps="4", seed="51")
    first, last = made
    assert (first.draft, last.draft) == (True, False)
    assert (first.request, first.people[0].mask) == (last.request, None)
    assert last.people[0].mask is not None
    assert first.people[0].scan is not None
    heads = [header_of(one.scene) for one in made]
    assert [(head["draft"], head["labelled"]) for head in heads] == [(True, False), (False, True)]
    assert heads[0]["brush"] == heads[1]["brush"] != []
    assert scene(app)[0]["draft"] is False, "what stays is the whole"
    assert app.query_params["steps"] == "4"
    app.number_input(key="seed").set_value(52)
    press(app, "Generate")
    assert [one.draft for one in made[2:]] == [False], "somebody is shown meanwhile"
    app.number_input(key="seed").set_value(51)
    press(app, "Generate")
    assert [one.draft for one in made[3:]] == [False]


def test_who_was_drawn_before_needs_no_draft(app: AppTest, model: engine.Model, made: list[Drawn]):  # noqa: F811
    asked = Request(model="masked", seed=53, steps=3)
    draw(model, asked, lambda share, text: None)
    visited(app, steps="3", seed="53")
    assert [one.draft for one in made] == [False]


def test_when_a_draft_is_shown_first(model: engine.Model):  # noqa: F811
    asked = Request(model="masked", seed=54, steps=5)
    draft = draw(model, asked, lambda share, text: None, draft=True)
    other = draw(model, Request(model="masked", seed=55, steps=1), lambda share, text: None)
    assert draft_first(model, None, asked, live=False)
    assert not draft_first(model, other, asked, live=False)
    assert draft_first(model, other, asked, live=True)
    assert not draft_first(model, draft, asked, live=True), "once"
    assert not draft_first(model, None, Request(model="masked", seed=54, steps=DRAFT_STEPS), live=True)


def test_a_draft_that_was_stopped_says_so_and_offers_nothing_of_a_mask(app: AppTest, model: engine.Model):  # noqa: F811
    visited(app)
    draft = draw(model, Request(model="masked", seed=56, steps=6), lambda share, text: None, draft=True)
    here = app.session_state["explore"]
    here.drawn, here.wanted = draft, None
    app.run()
    assert not app.exception
    assert scene(app)[0]["draft"] is True
    said = [text.value for text in app.caption]
    assert WAITS in said
    assert "A draft: press Generate to draw it in full" in said
    assert next(button for button in app.button if button.label == "Draw for this mask").disabled
    (mask,) = [one.proto for one in app.get("download_button")]
    assert (mask.label, mask.disabled) == ("Mask as NIfTI", True)
    assert "Measured in the scan" not in [each.value for each in app.header]
    app.switch_page("app.py").run().switch_page("pages/1_Explore.py").run()
    assert scene(app)[0]["draft"] is False, "on the way back it is drawn in full"
    assert app.number_input(key="steps").value == 6


def test_nothing_moves_when_the_whole_comes(visit: Callable[..., Visit], masked_address: str, mask_checkpoints: Path):
    """Labels stand in their place, held, and what was chosen is there afterwards; the viewer is the same."""
    here = visit().open(f"{masked_address}/Explore?model=masked&seed=57&n=8&steps={SLOW}")
    here.viewer.locator(".draft").wait_for()
    held = here.viewer.get_by_role("button", name="Labels", exact=True)
    expect(held).to_be_disabled()
    here.press("Brush")
    brush = here.viewer.get_by_role("toolbar", name="Brush")
    expect(brush).to_contain_text("A draft has no labels")
    expect(brush.get_by_role("button", name="Apply")).to_be_disabled()
    here.viewer.evaluate("root => (root.somatwin.known = true)")
    places = [here.viewer.locator(part) for part in (".planes", ".lower")]
    before = [place.bounding_box() for place in places]
    expect(here.viewer.locator(".draft")).to_have_count(0, timeout=WAIT)
    expect(held).to_be_enabled()
    expect(brush).to_be_visible()
    expect(brush.get_by_role("combobox", name="Region to paint")).to_be_enabled()
    assert [place.bounding_box() for place in places] == before
    assert here.viewer.evaluate("root => root.somatwin.known")
