"""Persons and what-ifs that the reader kept: to open again, to compare, and to take away as a file."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Library")
with st.spinner("Starting the engine"):
    from pages.components.library.view import compare_shown, entries_shown, files_shown
    from pages.components.library.work import compare, visit
    from pages.components.parts.library.store import library

entries_shown()
compare_shown()
files_shown()
entries = library().entries
if (pair := visit().wanted) and entries.keys() >= {*pair}:
    one, other = pair
    compare(entries[one], entries[other], status)
