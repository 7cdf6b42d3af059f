"""One scan at a time: the viewer, what is asked of it, and the way on and back, with the mouse or the keyboard."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial

import streamlit as st

from pages.components.parts.viewer.viewer import marking_viewer
from pages.components.review.session import COMMENT, PLAUSIBILITY, RatingError, Session, read_place, write_place
from pages.components.review.work import visit
from pages.components.state.scene import fingerprint

WORDS = {1: "Impossible", 2: "Doubtful", 3: "Possible", 4: "Plausible", 5: "Convincing"}
PLACE = (
    "Where it looks implausible. Put the viewer's crosshair there and press Mark this place, or type it as the viewer "
    "writes it below the planes, or as three numbers in mm."
)
PLACE_EXAMPLE = "such as R 12 A 30 S 45"
VIEWER = "rating viewer"
SHOW = "Finish and show"
EARLY = "Show what was answered so far, {done} of {scans}. The answers then stand."
NOTHING_YET = "Answer one scan first."
MISSING = "Say first how plausible this scan's anatomy is: 1 to 5."
MISSING_BOTH = "Say first whether this scan is real or synthetic, and how plausible its anatomy is."


def shown_since() -> None:
    """Start the clock of the scan on screen."""
    here = visit()
    if here.since is None:
        here.since = time.monotonic()


def _say(at: int, **said: object) -> None:
    """Note an answer to the scan on screen; a key meant for the one before, and heard too late, is not taken."""
    here, session = visit(), visit().rating
    if not session.finished and here.at == at:
        here.session = session.answering(at, replace(session.answers[at], **said))


def _move(at: int, by: int) -> None:
    """Go to another scan, and past the last one finish; forwards only once everything is said."""
    here, session = visit(), visit().rating
    if session.finished or here.at != at:
        return
    if by > 0 and (not session.complete(at) or here.unclear):
        here.missing = True
        return
    looked = time.monotonic() - (here.since or time.monotonic())
    _say(at, seconds=round(session.answers[at].seconds + looked, 2))
    last = at + by == session.plan.scans
    if last:
        here.session = replace(here.rating, finished=True)
    else:
        here.at = at + by
    here.since = None


def _finish(at: int) -> None:
    """Finish with what is answered."""
    here, session = visit(), visit().rating
    if session.finished or here.at != at or not session.done:
        return
    if session.complete(at):
        _say(at, seconds=round(session.answers[at].seconds + time.monotonic() - (here.since or time.monotonic()), 2))
    here.session = replace(here.rating, finished=True)
    here.since = None


def _wish(at: int, by: int) -> None:
    """Go on or back once all answers that were given meanwhile are noted: their callbacks may come after this one."""
    visit().wish = at, by


@st.fragment
def questions(at: int, several: bool) -> None:
    """What is asked of scan ``at``; ``several``: the viewer itself takes the digits, to switch its channels.

    All is noted by callbacks: they are carried out even where the next key comes before the page has answered.
    """
    here = visit()
    if here.wish is not None and here.wish[0] == at:
        _move(*here.wish)
        here.wish = None
    session = here.rating
    if session.finished or here.at != at:
        st.rerun()
    answer, last = session.answers[at], at == session.plan.scans - 1
    with st.container(horizontal=True, vertical_alignment="bottom", key="rating_answers"):
        if session.plan.source != "none":
            with st.container(width="content", gap="xsmall"):
                st.caption("This scan is")
                with st.container(horizontal=True, gap="xsmall"):
                    for real, word, key in ((True, "Real", "J"), (False, "Synthetic", "K")):
                        kind = "primary" if answer.real is real else "secondary"
                        said = {"real": real}
                        st.button(word, shortcut=key, type=kind, on_click=_say, args=(at,), kwargs=said)
        with st.container(width="content", gap="xsmall"):
            st.caption("Its anatomy is")
            with st.container(horizontal=True, gap="xsmall"):
                for value in PLAUSIBILITY:
                    kind = "primary" if answer.plausibility == value else "secondary"
                    key, said = f"Shift+{value}" if several else str(value), {"plausibility": value}
                    st.button(WORDS[value], shortcut=key, type=kind, on_click=_say, args=(at,), kwargs=said,
                              key=f"rating.plausibility.{value}")  # fmt: skip
        problem = _note(at, session)
        icon, first = ":material/arrow_back:", at == 0
        st.button("Back", shortcut="B", disabled=first, icon=icon, on_click=_wish, args=(at, -1))
        word = "Finish" if last else "Next"
        st.button(word, shortcut="O", type="primary", key="rating.next", on_click=_wish, args=(at, 1))
        if not last:
            early = EARLY.format(done=session.done, scans=session.plan.scans) if session.done else NOTHING_YET
            st.button(SHOW, key="rating.finish", disabled=not session.done, icon=":material/flag:", type="tertiary",
                      on_click=_finish, args=(at,), help=early)  # fmt: skip
    here.unclear = problem
    if problem:
        st.warning(problem, icon=":material/edit_location:")
    elif here.missing:
        here.missing = False
        st.warning(MISSING_BOTH if session.plan.source != "none" else MISSING, icon=":material/edit:")


def _note(at: int, session: Session) -> str:
    """A comment and a place, both optional; returns what is wrong with the place."""
    answer = session.answers[at]
    problem = ""
    key = f"rating.place.{at}"
    noted = bool(answer.comment or answer.place)
    st.session_state.setdefault(key, write_place(answer.place))
    with st.popover("Note" + (" ✓" if noted else ""), icon=":material/edit_note:"):
        comment = st.text_area("Comment (optional)", answer.comment, max_chars=COMMENT, key=f"rating.comment.{at}")
        text = st.text_input("Place (optional)", key=key, help=PLACE, placeholder=PLACE_EXAMPLE)
        st.caption("Typed words are kept when you leave the field.")
    try:
        place = read_place(text)
    except RatingError as error:
        place, problem = answer.place, str(error)
    if comment != answer.comment:
        _say(at, comment=comment)
    if place != answer.place:
        _say(at, place=place, voxel=None)
        visit().opened = None
        st.rerun()  # the viewer shows it
    return problem


def scan_shown(at: int) -> None:
    """The scan on screen, in which a place can be marked; the mark of before is in it when the reader comes back."""
    here = visit()
    scene, opened = here.scenes[at], here.opened
    if opened is None or opened[0] != at:  # what is sent stays the same while the reader marks: the viewer knows it
        opened = here.opened = at, here.rating.answers[at].place
    marked = partial(_mark, at, fingerprint(scene))
    marking_viewer(scene, opened[1], marked, key=VIEWER)


def _mark(at: int, scene: str) -> None:
    """Note the place that the viewer sends; one meant for the scan before, and heard too late, is not taken."""
    sent = st.session_state[VIEWER]["mark"]
    if sent is None or sent["scene"] != scene or visit().at != at:
        return
    place, voxel = None, None
    if sent["voxel"] is not None:
        right, anterior, superior = (round(float(mm), 1) for mm in sent["place"])
        place, voxel = (right, anterior, superior), tuple(sent["voxel"])
    _say(at, place=place, voxel=voxel)
    st.session_state[f"rating.place.{at}"] = write_place(place)
