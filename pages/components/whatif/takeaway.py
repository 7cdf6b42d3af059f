"""What is said of the what-if that is shown, and how it is taken away."""

from __future__ import annotations

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.parts.session_file import session_of_whatif
from pages.components.whatif.answer import Answer, Question


def conclude(found: Answer, current: Question, status: DeltaGenerator) -> None:
    """Say what is shown, put it into the page's address, and offer its files."""
    state = st.session_state
    older = found.question != current
    if not older and st.query_params.to_dict() != (query := current.to_query()):
        st.query_params.from_dict(query)
        state["whatif address"] = query
    with status.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        words = "Older than the controls: press Draw" if older else f"Drawn in {found.seconds:.1f} s"
        st.caption(f":orange[:material/history: {words}]" if older else words, width="content")
        if not found.question.scan:
            data = session_of_whatif(found.question).to_bytes
            st.download_button(
                "Session", data, "somatwin_whatif_session.json", "application/json", on_click="ignore", type="tertiary",
                icon=":material/bookmark:", help="A small file: open it on Overview to come back to this what-if.",
            )  # fmt: skip
        file = state["whatif file"]
        if file and file[0] == found.question:
            icon = ":material/download:"
            st.download_button(
                "Download", file[1], "somatwin_whatif.zip", "application/zip", on_click="ignore", icon=icon
            )
            return
        about = "NIfTI before and after, their difference, and whatif.json. This draws the what-if once more."
        wish = {"whatif writing": found.question}
        st.button("Prepare files", icon=":material/folder_zip:", help=about, on_click=lambda: state.update(wish))
