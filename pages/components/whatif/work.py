"""What the What-if page still has to do, one piece at a time, with progress and a way out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import streamlit as st

from pages.components.parts.ruler.reader import Reader
from pages.components.state.generation import Report, time_left
from pages.components.whatif.answer import Answer, Question, answer, export
from pages.components.whatif.upload import File, Scan, admitted

#: what-ifs kept in a session; a whole one holds its scenes, 2 to 5 MB
KEPT = 40
#: a question, and whether the answer is to be whole (scenes and error bars) or slices and measures only
Key = tuple[Question, bool]


def begin() -> None:
    """What the page keeps in the session."""
    state = st.session_state
    empty = {"answers": {}, "wanted": (), "reading": [], "problems": [], "writing": None, "shown": None, "file": None}
    for name, value in empty.items():
        state.setdefault(f"whatif {name}", value)


def stop() -> None:
    """Give up what is still to be done; what is done stays."""
    st.session_state.update({"whatif wanted": (), "whatif reading": [], "whatif writing": None})


def want(questions: Sequence[Question], whole: bool) -> None:
    """Ask for answers."""
    st.session_state.update({"whatif wanted": tuple((one, whole) for one in questions), "whatif problems": []})


def answers() -> dict[Question, Answer]:
    """What was found so far; a whole answer before one that is not."""
    found: dict[Key, Answer] = st.session_state["whatif answers"]
    return {key[0]: one for whole in (False, True) for key, one in found.items() if key[1] is whole}


def shown(digest: str, current: Question | None) -> Answer | None:
    """The answer to show: the last one, if it is of the model with this digest and of the same person as ``current``."""
    question = st.session_state["whatif shown"]
    if question is None or current is None or (question.digest, question.scan) != (digest, current.scan):
        return None
    return st.session_state["whatif answers"].get((question, True))


def next_work(model: Any, scan: Scan | None, reader: Reader | None) -> Callable[[Report], None] | None:
    """The next piece of work; None when there is none."""
    state = st.session_state
    if state["whatif reading"]:
        return lambda report: _read(model, report)
    if state["whatif writing"]:
        return lambda report: _write(model, scan, report)
    wanted: tuple[Key, ...] = state["whatif wanted"]
    open_keys = [key for key in wanted if key not in state["whatif answers"]]
    if wanted and wanted[0][0].digest == model.digest and open_keys:
        return lambda report: _draw(
            model, scan, reader, open_keys[0], (len(wanted) - len(open_keys), len(wanted)), report
        )
    if wanted and wanted[-1][1] and not open_keys:
        state["whatif shown"] = wanted[-1][0]
    state["whatif wanted"] = ()
    return None


def carry_out(work: Callable[[Report], None], status: Any) -> None:
    """Do a piece of work, then run the page again; the engine's refusals become sentences on the page."""
    began = time.monotonic()
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "Starting")
        st.button("Stop", on_click=stop, type="tertiary", icon=":material/stop_circle:")
    try:
        work(lambda share, text: bar.progress(min(share, 1.0), text + time_left(began, share)))
    except ValueError as error:
        stop()
        st.session_state["whatif problems"] = [str(error)]
    st.rerun()


def _draw(
    model: Any, scan: Scan | None, reader: Reader | None, key: Key, place: tuple[int, int], report: Report
) -> None:
    """Answer one question, the ``place[0]``-th of ``place[1]``."""
    done, total = place
    who = f"{done + 1} of {total}: " if total > 1 else ""

    def within(share: float, text: str) -> None:
        report(share, who + text)

    found = answer(model, key[0], scan, reader, within, key[1])
    kept = {**st.session_state["whatif answers"], key: found}
    st.session_state["whatif answers"] = dict(list(kept.items())[-KEPT:])
    if key[1]:
        st.session_state["whatif shown"] = key[0]


def _read(model: Any, report: Report) -> None:
    """Take in the uploaded files; they are let go whatever comes of it."""
    files: list[File] = st.session_state["whatif reading"]
    st.session_state["whatif reading"] = []
    st.session_state.update({"whatif scan": admitted(model, files, report), "whatif problems": []})


def _write(model: Any, scan: Scan | None, report: Report) -> None:
    """Make the files for download."""
    question: Question = st.session_state["whatif writing"]
    st.session_state["whatif file"] = (question, export(model, question, scan, report))
    st.session_state["whatif writing"] = None
