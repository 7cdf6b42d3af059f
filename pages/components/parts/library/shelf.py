"""Brings the library back from the browser's own storage after a reload, and puts there what was kept meanwhile."""

from __future__ import annotations

import json
from pathlib import Path

import streamlit as st
from streamlit.components.v2 import component

from pages.components.parts.library.store import FORMAT, VERSION, LibraryError, library, library_text, read_library

KEY = "library shelf"
_shelf = component(
    "somatwin_shelf", html="<span></span>", js=Path(__file__).with_name("shelf.js").read_text(encoding="utf-8")
)


def shelf() -> None:
    """Keep this session's library and the browser's the same; a page shows it where there may be something to keep or to show."""
    here = library()
    texts = {key: json.loads(library_text([entry]))["entries"][0] for key, entry in here.entries.items()}
    _shelf(data={"entries": texts, "removed": sorted(here.removed)}, key=KEY, on_before_change=_brought)


def _brought() -> None:
    """Take in what the browser had; nothing of it is believed unchecked."""
    sent = st.session_state[KEY]["before"]
    if not isinstance(sent, str):
        return
    for found in _listed(sent):
        try:
            library().merge(read_library(json.dumps({"format": FORMAT, "version": VERSION, "entries": [found]})))
        except LibraryError:
            continue


def _listed(sent: str) -> list[object]:
    try:
        found = json.loads(sent)
    except ValueError:
        return []
    return found if isinstance(found, list) else []
