"""The library on its page: a card an entry, two of them compared, and the whole as a file."""

from __future__ import annotations

from functools import partial

import streamlit as st

from pages.components.library.work import visit
from pages.components.parts.facts import refused
from pages.components.parts.library.store import NAME, Entry, LibraryError, library, library_text, read_library
from pages.components.parts.model_picker import checkpoint_names, load_model
from pages.components.parts.session_file import PAGES
from pages.components.parts.viewer.viewer import viewer

CARDS_A_ROW = 4
EMPTY = (
    "Nothing is kept yet. Press Keep beside a person on Explore, Population or Review, or beside a what-if: names, small pictures "
    "and exact settings are kept in this browser, and can be saved as a file here."
)
NOTE = "Drawn with weights {then}, {name} has {now} here: they would draw somebody else."


def entries_shown() -> None:
    """A card for every entry."""
    entries = list(library().entries.values())
    if not entries:
        st.info(EMPTY, icon=":material/bookmark_add:")
        return
    names = checkpoint_names()
    for row in range(0, len(entries), CARDS_A_ROW):
        for place, entry in zip(st.columns(CARDS_A_ROW), entries[row : row + CARDS_A_ROW], strict=False):
            with place.container(border=True, height="stretch"):
                _card(entry, names)


def _card(entry: Entry, names: list[str]) -> None:
    session = entry.session
    if entry.picture:
        st.image(entry.picture, width=112, alt=f"Synthetic: {entry.name}")
    key = f"library.name.{entry.key}"
    st.session_state.setdefault(key, entry.name)
    st.text_input(
        "Name", key=key, max_chars=NAME, on_change=partial(_rename, entry.key, key), label_visibility="collapsed"
    )
    st.caption(f"{entry.words} {session.checkpoint}, weights {session.digest}. Synthetic, not for diagnosis.")
    now = load_model(session.checkpoint).digest if session.checkpoint in names else "no such model"
    with st.container(horizontal=True, vertical_alignment="center"):
        if now == session.digest:
            icon = ":material/open_in_new:"
            st.page_link(PAGES[session.page], label=f"Open in {session.page}", icon=icon, query_params=session.address)
        st.button(
            "Remove", key=f"library.remove.{entry.key}", type="tertiary", icon=":material/delete:",
            on_click=partial(library().remove, entry.key),
        )  # fmt: skip
    if now != session.digest:
        st.caption(f":orange[{NOTE.format(then=session.digest, name=session.checkpoint, now=now)}]")


def _rename(entry: str, key: str) -> None:
    library().rename(entry, st.session_state[key])


def compare_shown() -> None:
    """Two entries chosen, and their scans side by side once they were drawn."""
    entries = library().entries
    if len(entries) < 2:
        return
    here = visit()
    st.header("Compare two", anchor=False)
    keys = list(entries)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        chosen = [
            st.selectbox(
                letter, keys, index=k, format_func=lambda key: entries[key].name, key=f"library.{letter}", width=320
            )
            for k, letter in enumerate("AB")
        ]
        pair = chosen[0], chosen[1]
        st.button("Compare", type="primary", icon=":material/compare:", on_click=partial(here.want, pair))
    if here.problem:
        st.warning(here.problem, icon=":material/link_off:")
    if here.scene and here.drawn == pair:
        viewer(here.scene, key="library viewer")
        st.caption("Two people who do not exist. What differs between them are associations of the cohort, not causes.")


def files_shown() -> None:
    """The library as a file, saved and opened."""
    left, right = st.columns(2, gap="medium")
    entries = library().entries
    with left.container(border=True, height="stretch"):
        st.markdown("**Save the library**")
        st.caption("Settings and small pictures of people who do not exist, marked so, with seeds and weights.")
        st.download_button(
            "Library (JSON)", library_text(entries.values()), "somatwin-library.json", "application/json",
            on_click="ignore", icon=":material/download:", disabled=not entries,
        )  # fmt: skip
    with right.container(border=True, height="stretch"):
        st.markdown("**Open a library**")
        file = st.file_uploader(
            "Library file", "json", key="library.file", max_upload_size=1, label_visibility="collapsed"
        )
        if file is None:
            return
        try:
            found = read_library(file.getvalue())
        except LibraryError as error:
            st.error(refused(error))
            return
        if st.session_state.get("library.read") != file.file_id:
            st.session_state["library.read"] = file.file_id
            for entry in found:
                library().add(entry)
            st.rerun()
        st.caption(f"{len(found)} entries were taken in.")
