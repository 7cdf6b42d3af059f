"""What the What-if page still has to do, one piece at a time, with progress and a way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.refusal import Refusal
from pages.components.state.generation import WAITING, Report, time_left
from pages.components.state.intervention import Question
from pages.components.state.job import bars
from pages.components.whatif.answer import answer, export
from pages.components.whatif.question import clear
from pages.components.whatif.upload import OWN, File, Scan, admitted
from pages.components.whatif.visit import Key, visit

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.ruler import Ruler


def next_work(model: Model, scan: Scan | None, ruler: Ruler | None) -> Callable[[Report], None] | None:
    """The next piece of work; None when there is none."""
    here = visit()
    if files := here.reading:
        return lambda report: _read(model, files, report)
    if question := here.writing:
        return lambda report: _write(model, question, scan, report)
    wanted = here.wanted
    open_keys = [key for key in wanted if key not in here.answers]
    if wanted and wanted[0][0].digest == model.digest and open_keys:
        return lambda report: _draw(
            model, scan, ruler, open_keys[0], (len(wanted) - len(open_keys), len(wanted)), report
        )
    if wanted and wanted[-1][1] and not open_keys:
        here.shown = wanted[-1][0]
    here.wanted = ()
    return None


def asked_at(places: Mapping[str, DeltaGenerator]) -> DeltaGenerator | None:
    """The place, of those by name, beside the button that asked for the next piece of work."""
    here = visit()
    if here.writing and not here.reading:
        return None
    if here.reading or not here.wanted or here.wanted[-1][1]:
        return places.get("draw")
    asked = tuple(question for question, _ in here.wanted)
    return places.get("grid" if here.grid and here.grid.questions == asked else "sweep")


def carry_out(work: Callable[[Report], None], places: Sequence[DeltaGenerator | None]) -> None:
    """Do a piece of work with progress in ``places``, then run the page again; refusals become sentences on the page."""
    here = visit()
    moved = bars(places, here.stop)
    several = len(here.wanted) > 1 and not here.reading and not here.writing
    began, before = (here.asked, here.had / len(here.wanted)) if several else (time.monotonic(), 0.0)

    def told(share: float, text: str) -> None:
        waits = WAITING.lower() in text.lower()
        left = "" if waits else time_left(began, (share - before) / (1 - before))
        moved(share, f"{text}{left}{' in all' if left and several else ''}")

    try:
        work(told)
    except Refusal as error:
        visit().stop()
        visit().problems = [str(error)]
    st.rerun()


def _draw(
    model: Model, scan: Scan | None, ruler: Ruler | None, key: Key, place: tuple[int, int], report: Report
) -> None:
    """Answer one question of ``place[1]``, of which ``place[0]`` are answered; reports the share of all."""
    done, total = place
    who = f"Picture {done + 1} of {total}: " if total > 1 else ""

    def within(share: float, text: str) -> None:
        report((done + share) / total, who + text)

    found = answer(model, key[0], scan, ruler, within, key[1])
    visit().keep(key, found)


def _read(model: Model, files: Sequence[File], report: Report) -> None:
    """Take in the uploaded files; they are let go whatever comes of it."""
    here = visit()
    here.reading = ()
    here.scan = admitted(model, files, report)
    clear(OWN, model.schema)  # what was said of another scan's person
    here.problems = ()


def _write(model: Model, question: Question, scan: Scan | None, report: Report) -> None:
    """Make the files for download."""
    visit().file = question, export(model, question, scan, report)
    visit().writing = None
