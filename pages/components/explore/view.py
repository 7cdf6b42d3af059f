"""The people drawn on Explore: scans and table, what is measured in them, their surfaces, and files to take away."""

from __future__ import annotations

from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.explore.work import visit
from pages.components.parts.ruler.measured import labelled_scene, measured_section
from pages.components.parts.ruler.surfaces import surfaces_section
from pages.components.parts.takeaway import download_popover
from pages.components.parts.viewer.viewer import viewer
from pages.components.state.generation import Drawn

if TYPE_CHECKING:
    from engine.inference.generate import Model


def people_shown(model: Model, status: DeltaGenerator) -> None:
    """Why nobody was drawn, and who is shown; once they are those wanted, what there is to say of them."""
    here = visit()
    if here.problems:
        sentences = "".join(f"\n* {problem}" for problem in here.problems)
        st.warning(f"The model cannot do what was asked, so nobody was drawn.{sentences}", icon=":material/link_off:")

    if here.drawn is not None:
        viewer(labelled_scene(model, here.drawn))
        if here.missing is None and not here.problems:
            _concluded(here.drawn, status)
            measured_section(model, here.drawn)
            surfaces_section(model, here.drawn)
    elif here.wanted is None:
        st.info("Set what you like on the left, leave the rest free, and press Generate.")


def _concluded(drawn: Drawn, status: DeltaGenerator) -> None:
    """Put the people shown into the page's address and, beside the title, offer them for download."""
    query = drawn.request.to_query()
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)
        visit().address = query
    with status.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(drawn.in_words(), width="content")
        download_popover(drawn)
