"""What the What-if page still has to do, one piece at a time, with progress and a way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from pages.components.state.generation import WAITING, Report, time_left
from pages.components.state.intervention import Question
from pages.components.state.job import bars
from pages.components.whatif.answer import answer, export
from pages.components.whatif.drafts import draft_answers, to_draft
from pages.components.whatif.question import clear
from pages.components.whatif.upload import OWN, File, Scan, admitted, looked_at
from pages.components.whatif.visit import DRAFTED, Key, Plan, visit

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.ruler import Ruler

#: seconds after which a piece of work ends between two pictures, so that the page shows what is there
PIECE = 3.0


def next_work(model: Model, scan: Scan | None, ruler: Ruler | None) -> Callable[[Report], None] | None:
    """The next piece of work; None when there is none."""
    here = visit()
    if files := here.reading:
        return lambda report: _read(model, files, report)
    if question := here.writing:
        return lambda report: _write(model, question, scan, report)
    if (unread := here.unread) and unread.digest == model.digest:
        return lambda report: _look(model, unread, report)
    wanted = here.wanted
    if wanted and bool(wanted[0][0].scan) != (st.session_state.get("whatif.source") == OWN):
        # of whom is not looked at now: it waits, and does not keep a scan waiting
        here.put_off()
        return None
    open_keys = [key for key in wanted if key not in here.answers]
    if wanted and wanted[0][0].digest == model.digest and open_keys:
        if plan := to_draft(here):
            return lambda report: _draft(model, plan, report)
        return lambda report: _draw_some(model, scan, ruler, open_keys, len(wanted), report)
    if wanted and wanted[-1][1] and not open_keys:
        here.shown = wanted[-1][0]
    here.wanted = ()
    return None


def asked_at(places: Mapping[str, DeltaGenerator]) -> DeltaGenerator | None:
    """The place, of those by name, beside the button that asked for the next piece of work."""
    here = visit()
    if here.writing and not here.reading:
        return None
    if here.reading or here.unread or not here.wanted or here.wanted[-1][1]:
        return places.get("draw")
    asked = tuple(question for question, _ in here.wanted)
    return places.get("grid" if here.grid and here.grid.questions == asked else "sweep")


def carry_out(work: Callable[[Report], None], places: Sequence[DeltaGenerator | None]) -> None:
    """Do a piece of work with progress in ``places``, then run the page again; refusals become sentences on the page."""
    here = visit()
    several = len(here.wanted) > 1 and not here.reading and not here.unread and not here.writing
    began, before = (here.asked, here.share(here.had)) if several else (time.monotonic(), 0.0)

    def told(moved: Report, share: float, text: str) -> None:
        waits = WAITING.lower() in text.lower()
        left = "" if waits else time_left(began, (share - before) / (1 - before))
        moved(share, f"{text}{left}{' in all' if left and several else ''}")

    try:
        with bars(places, here.stop) as moved:
            work(partial(told, moved))
    except Refusal as error:
        visit().stop()
        visit().problems = [str(error)]
    st.rerun()


def _draft(model: Model, plan: Plan, report: Report) -> None:
    """Draw drafts of a sweep, all in one piece; they are no measure of how long the pictures take."""
    here = visit()
    here.drafts = draft_answers(model, plan, lambda share, text: report(DRAFTED * share, text))
    here.put_off()


def _draw_some(
    model: Model, scan: Scan | None, ruler: Ruler | None, keys: Sequence[Key], total: int, report: Report
) -> None:
    """Answer one question after the other for some seconds: ``keys`` are those left of ``total``."""
    began = time.monotonic()
    for done, key in enumerate(keys, total - len(keys)):
        _draw(model, scan, ruler, key, (done, total), report)
        if time.monotonic() - began > PIECE:
            break


def _draw(
    model: Model, scan: Scan | None, ruler: Ruler | None, key: Key, place: tuple[int, int], report: Report
) -> None:
    """Answer one question of ``place[1]``, of which ``place[0]`` are answered; reports the share of all."""
    done, total = place
    who = f"Picture {done + 1} of {total}: " if total > 1 else ""

    def within(share: float, text: str) -> None:
        report(visit().share(done + share), who + text)

    found = answer(model, key[0], scan, ruler, within, key[1])
    visit().keep(key, found)


def _read(model: Model, files: Sequence[File], report: Report) -> None:
    """Take in the uploaded files; they are let go whatever comes of it."""
    here = visit()
    here.reading = ()
    here.scan = admitted(model, files, report)
    clear(OWN, model.schema)  # what was said of another scan's person
    here.problems = ()


def _look(model: Model, scan: Scan, report: Report) -> None:
    """Read the attributes off the scan that is shown already."""
    visit().scan = looked_at(model, scan, report)


def _write(model: Model, question: Question, scan: Scan | None, report: Report) -> None:
    """Make the files for download."""
    visit().file = question, export(model, question, scan, report)
    visit().writing = None
