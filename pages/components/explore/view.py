"""The people drawn on Explore: scans and table, what is measured in them, their surfaces, and files to take away."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.explore.edit import NAMES, NOTE, VIEWER, Made, edit_section, edited_of, followed_in_words, paint
from pages.components.explore.work import visit
from pages.components.parts.facts import refused
from pages.components.parts.onward import onward
from pages.components.parts.ruler.measured import labelled_scene, measured_section
from pages.components.parts.ruler.surfaces import surfaces_section
from pages.components.parts.takeaway import download_popover
from pages.components.parts.viewer.viewer import painting_viewer, viewer
from pages.components.state.generation import Drawn

if TYPE_CHECKING:
    from engine.inference.generate import Model

LABELS = (
    "Labels, under the scan, colours the mask that the scan was drawn for or together with, the model's own; "
    "what is measured in the scan stands below."
)


def people_shown(model: Model, status: DeltaGenerator) -> DeltaGenerator | None:
    """Why nobody was drawn, and who is shown; once they are those wanted, what there is to say of them. Returns the place beside
    the button that edits a region, where there is one."""
    here = visit()
    if here.problems:
        sentences = "".join(f"\n* {refused(problem)}" for problem in here.problems)
        st.warning(f"The model cannot do what was asked, so nobody was drawn.{sentences}", icon=":material/link_off:")

    # those of the model before are another anatomy's
    drawn = here.drawn if here.drawn is not None and here.drawn.digest == model.digest else None
    if drawn is not None and model.has_mask:
        return _people_with_masks(model, drawn, status)
    if drawn is not None:
        viewer(labelled_scene(model, drawn))
        if drawn.draft:
            _stopped(drawn, status)
        elif here.missing is None and not here.problems:
            _concluded(model, drawn, status)
            measured_section(model, drawn)
            surfaces_section(model, drawn)
    elif here.wanted is None:
        st.info("Set what you like on the left, leave the rest free, and press Generate.")
    return None


def _people_with_masks(model: Model, drawn: Drawn, status: DeltaGenerator) -> DeltaGenerator:
    """The people shown, or one of them before and after an edit of the mask."""
    here, made = visit(), edited_of(drawn)
    shown, names = (made[1], NAMES) if made else (drawn, ())
    painting_viewer(shown.scene, partial(paint, model, shown), key=VIEWER)
    st.caption(f"{NOTE if made else ''} {LABELS}{followed_in_words(made[2], shown) if made else ''}")
    place = edit_section(model, drawn)
    if drawn.draft:
        _stopped(drawn, status)
    elif here.missing is None and not here.problems:
        _concluded(model, drawn, status, made)
        measured_section(model, shown, names)
        surfaces_section(model, shown, names)
    return place


def _stopped(drawn: Drawn, status: DeltaGenerator) -> None:
    """Of a draft say how it is drawn in full, unless that goes on: nothing is measured in it, and there are no files of it."""
    if visit().missing is None:
        status.caption(drawn.in_words(), width="content")


def _concluded(model: Model, drawn: Drawn, status: DeltaGenerator, made: Made | None = None) -> None:
    """Put the people shown into the page's address and, beside the title, offer them for download."""
    query = made[0].to_query(drawn.request) if made else drawn.request.to_query()
    shown = made[1] if made else drawn
    visit().address.write(query)
    with status.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(shown.in_words(), width="content")
        onward(drawn.request, model.schema, ("What if",))
        download_popover(shown, query, model)
