"""A sweep of a synthetic person plays as drafts first, and is swapped once, when all of it is drawn in full."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from playwright.sync_api import expect
from streamlit.testing.v1 import AppTest

import engine
from pages.components.state.intervention import Question
from pages.components.state.region_edit import RegionEdit
from pages.components.whatif import sweep, work
from pages.components.whatif.drafts import draft_answers, to_draft
from pages.components.whatif.view import NO_FILM
from pages.components.whatif.visit import DRAFTED, Plan, Visit, with_cells
from tests.pages import visit as tabs
from tests.pages.conftest import WAIT
from tests.pages.whatif.test_whatif import app, captions, model, press, scene, visited  # noqa: F401

#: the steps of people who take long enough for their drafts to be seen
SLOW = 60


def plan_of(model: engine.Model, **how: object) -> Plan:  # noqa: F811
    base = Question(model="tiny", digest=model.digest, seed=61, before=(("age", 40),), **how)  # pyright: ignore
    return Plan(
        base=base, columns=("age",), questions=tuple(with_cells(base, {"age": value}) for value in (30, 45, 60))
    )


def swept(app: AppTest, seed: str) -> AppTest:  # noqa: F811
    visited(app, age="40", seed=seed, steps="3")
    app.number_input(key="whatif.sweep.n").set_value(3)
    app.slider(key="whatif.sweep.tiny.age.ends").set_value((30.0, 60.0)).run()
    return press(app, "Sweep")


def films(app: AppTest) -> list[bool]:  # noqa: F811
    """Whether each button of the films is held."""
    return [one.proto.disabled for one in app.get("download_button") if one.proto.label.startswith("Sweep as")]


def test_drafts_play_then_the_whole_swapped_once(app: AppTest, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    """Although the page runs again after each picture."""
    made: list[tuple[int, bool]] = []
    plain = sweep.sweep_scene

    def noted(model: object, plan: object, found: list, draft: bool) -> bytes:  # noqa: F811
        made.append((len(found), draft))
        return plain(model, plan, found, draft)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(sweep, "sweep_scene", noted)
    monkeypatch.setattr(work, "PIECE", 0.0)
    swept(app, "61")
    assert made == [(3, True), (3, False)]
    header, _ = scene(app)
    assert (header["sweep"], header["draft"]) == (True, False)
    here = app.session_state["whatif"]
    drafts = [here.drafts[question] for question in here.sweep.questions]
    assert [one.rows[1]["age"] for one in drafts] == [30, 45, 60]
    assert all(not one.read and not one.scenes for one in drafts), "nothing is measured in a draft"
    full = [here.found()[question] for question in here.sweep.questions]
    assert all(one.read for one in full)
    assert set(films(app)) == {False}
    # as it is while they are drawn: the films wait
    here.answers = {key: one for key, one in here.answers.items() if key[1]}
    app.run()
    header, _ = scene(app)
    assert (header["sweep"], header["draft"], len(header["people"])) == (True, True, 3)
    assert [person["says"] for person in header["people"]] == ["Age 30 years", "Age 45 years", "Age 60 years"]
    assert set(films(app)) == {True}
    assert NO_FILM == "Offered once all values are drawn in full."
    assert "Drafts of all 3 values play in the viewer above; 0 of 3 are drawn in full." in captions(app)


def test_several_pictures_are_one_piece_of_work(app: AppTest, monkeypatch: pytest.MonkeyPatch):  # noqa: F811
    pieces: list[int] = []
    plain = work._draw_some

    def noted(*asked: object) -> None:
        pieces.append(len(asked[3]))  # pyright: ignore
        plain(*asked)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(work, "_draw_some", noted)
    monkeypatch.setattr(work, "PIECE", 600.0)
    swept(app, "62")
    assert pieces == [1, 3], "the what-if, and all of the sweep"


def test_which_sweeps_are_drafted(model: engine.Model):  # noqa: F811
    def asked(plan: Plan) -> Visit:
        here = Visit(sweep=plan)
        here.want(plan.questions, whole=False)
        return here

    plain = plan_of(model)
    here = asked(plain)
    assert to_draft(here) == plain
    assert here.share(0) == 0
    here.drafts = dict.fromkeys(plain.questions)  # pyright: ignore[reportAttributeAccessIssue]
    assert to_draft(here) is None, "once"
    assert (here.share(0), here.share(3)) == (DRAFTED, 1.0)
    quick, edited, scan = ({"steps": 2}, {"edit": RegionEdit(region="brain", factor=1.5)}, {"scan": "a"})
    for how in (quick, edited, scan):
        assert to_draft(asked(plan_of(model, **how))) is None
    here = asked(plain)
    here.answers = {(question, False): None for question in plain.questions[:2]}  # pyright: ignore
    assert to_draft(here) is None, "one picture is no sooner as a draft and in full"


def test_drafts_have_the_table_and_tell_how_far_they_are(model: engine.Model):  # noqa: F811
    said: list[tuple[float, str]] = []
    plan = plan_of(model, held=("sex", "height"))
    found = draft_answers(model, plan, lambda share, text: said.append((share, text)))
    assert [one.rows[1]["age"] for one in found.values()] == [30, 45, 60]
    assert len({one.rows[1]["height"] for one in found.values()}) == 1
    assert {one.why["height"] for one in found.values()} == {"held"}
    shares = [share for share, _ in said]
    assert 0 <= min(shares) <= max(shares) <= 1
    assert said[0][1] == "Draft 1 of 3: step 0 of 2"
    assert said[-1][1].startswith("Draft 3 of 3: step 2 of 2")


def test_a_sweep_goes_on_playing_when_it_is_swapped(visit: Callable[..., tabs.Visit], ruled_address: str):
    here = visit().open(f"{ruled_address}/What_if?age=40&seed=63&steps={SLOW}")
    here.shown(button="Prepare files")
    here.at_rest()
    here.page.get_by_role("button", name="Sweep", exact=True).click()
    viewer = here.page.locator(".viewer:has(.sweep)")
    viewer.locator(".draft").wait_for()
    expect(viewer.get_by_role("button", name="Pause")).to_be_visible()
    timer = viewer.evaluate("root => root.somatwin.sweeping")
    film = here.page.get_by_role("button", name="Sweep as MP4").first
    expect(film).to_be_disabled()
    expect(viewer.locator(".draft")).to_have_count(0, timeout=WAIT)
    assert viewer.evaluate("root => root.somatwin.sweeping") == timer
    expect(film).to_be_enabled()
    viewer.get_by_role("button", name="Pause").click()
    expect(viewer.get_by_role("button", name="Play the sweep")).to_be_visible()
