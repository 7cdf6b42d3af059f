"""The button under which the people shown are taken away, in the forms that other programs read."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import streamlit as st

from pages.components.parts.download import bundle, dicom_zip, stl_zip, table_csv
from pages.components.parts.ruler.surfaces import skin_surface
from pages.components.parts.session_file import session_of
from pages.components.state.generation import Drawn

ZIP = "application/zip"
CSV = "text/csv"
JSON = "application/json"
SAID = "Every file is marked as synthetic, with seed and weights."


def download_popover(drawn: Drawn, address: Mapping[str, str] | None = None) -> None:
    """Offer the people shown; a file is made when its button is pressed. A session file leads to the ``address`` (None: that of
    their request)."""
    first = drawn.people[0]
    names = list(first.attributes)
    rows = [(person.seed, person.attributes) for person in drawn.people]
    forms = (
        ("Scans as NIfTI", ".zip", ZIP, partial(bundle, drawn), "One .nii.gz a scan (of a torso two), any mask, and all settings as JSON."),
        ("Scans as DICOM", "_dicom.zip", ZIP, partial(dicom_zip, drawn), "An MR series a scan (of a torso two), one file a slice."),
        ("Skin as STL", "_skin.zip", ZIP, partial(_skins, drawn), "A mesh in mm. What is inside: see Surfaces on Explore."),
        ("Table as CSV", ".csv", CSV, partial(table_csv, drawn.request, drawn.digest, names, rows), "A row a person."),
        ("Session file", "_session.json", JSON, session_of(drawn, address).to_bytes, "Open it on Overview to come back to these people."),
    )  # fmt: skip
    name = f"somatwin_{drawn.request.model}_seed-{drawn.request.seed}"
    with st.popover("Download", icon=":material/download:"):
        for label, end, kind, made, help in forms:
            st.download_button(label, made, name + end, kind, on_click="ignore", help=help, width="stretch")
        st.markdown(f":small[{SAID}]")


def _skins(drawn: Drawn) -> bytes:
    return stl_zip(drawn, [(person, {"Skin": skin_surface(person.volume)}) for person in drawn.people])
