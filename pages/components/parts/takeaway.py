"""The button under which the people shown are taken away, as pictures and in the forms that other programs read."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import streamlit as st

from pages.components.parts.download import bundle, dicom_zip, stl_zip, table_csv
from pages.components.parts.ruler.beside import read_beside
from pages.components.parts.ruler.reader import region_drawn
from pages.components.parts.ruler.surfaces import skin_surface
from pages.components.parts.session_file import session_of
from pages.components.parts.viewer.page import scene_page
from pages.components.state.generation import Drawn

if TYPE_CHECKING:
    from engine.inference.generate import Model

ZIP = "application/zip"
CSV = "text/csv"
JSON = "application/json"
PDF = "application/pdf"
HTML = "text/html"
KINDS = {"mp4": "video/mp4", "gif": "image/gif"}
SAID = "Every file is marked as synthetic, with seed and weights. PNG: Save image, at the scan."

#: label, end of the file's name, its type, what makes it, and what is said of it
Form = tuple[str, str, str, Callable[[], bytes] | bytes, str]


def download_popover(drawn: Drawn, address: Mapping[str, str] | None = None, model: Model | None = None) -> None:
    """Offer the people shown; a file is made when its button is pressed. A session file leads to the ``address`` (None: that of
    their request); movies and the page to print need the ``model``."""
    first = drawn.people[0]
    names = list(first.attributes)
    rows = [(person.seed, person.attributes) for person in drawn.people]
    files: list[Form] = [
        ("Scans as NIfTI", ".zip", ZIP, partial(bundle, drawn), "One .nii.gz a channel (a heart 4D), any mask, all settings as JSON."),
        ("Scans as DICOM", "_dicom.zip", ZIP, partial(dicom_zip, drawn), "An MR series a scan (of a torso two), one file a slice."),
        ("Skin as STL", "_skin.zip", ZIP, partial(_skins, drawn), "A mesh in mm. What is inside: see Surfaces on Explore."),
        ("Table as CSV", ".csv", CSV, partial(table_csv, drawn.request, drawn.digest, names, rows), "A row a person."),
        ("Session file", "_session.json", JSON, session_of(drawn, address).to_bytes, "Open it on Overview to come back to these people."),
    ]  # fmt: skip
    if first.scan is not None and first.scan.phases > 1:
        files = [form for form in files if form[1] != "_skin.zip"]  # a stack of slices has no skin
    offline = "This viewer and these scans in one file, which opens offline."
    pictures: list[Form] = [("Scene as HTML", ".html", HTML, partial(scene_page, drawn.scene), offline)]
    if model is not None:
        about = "One page to print: slices and table of the first person."
        pictures.append(("Page as PDF", ".pdf", PDF, partial(_page, model, drawn), about))
        pictures += _movies(model, drawn)
    name = f"somatwin_{drawn.request.model}_seed-{drawn.request.seed}"
    with st.popover("Download", icon=":material/download:"):
        offer(pictures, name, "**Pictures**")
        offer(files, name, "**Data**")
        st.markdown(f":small[{SAID}]")


def _movies(model: Model, drawn: Drawn) -> list[Form]:
    """Of a cine the heart's cycle, else the body turned."""
    scan = drawn.people[0].scan
    if scan is not None and scan.phases > 1:
        name, end, make = "Heart's cycle", "_cycle", _cycle
        about = "The last person's cycle at the heart's own rate; of an edit both persons. An MP4 has it three times."
    else:
        name, end, make = "Turning body", "_turn", partial(_turn, model)
        about = "A whole turn of the last person, with the organs where the model knows them. Takes some seconds."
    return [
        (f"{name} as {kind.upper()}", f"{end}.{kind}", type, partial(make, drawn, kind), about)
        for kind, type in KINDS.items()
    ]


def offer(forms: Sequence[Form], name: str, heading: str) -> None:
    """A button a form, under a heading."""
    st.markdown(heading)
    for label, end, kind, made, help in forms:
        st.download_button(
            label, made, name + end, kind, on_click="ignore", help=help, width="stretch", key=f"take {name}{end}"
        )


def _skins(drawn: Drawn) -> bytes:
    return stl_zip(drawn, [(person, {"Skin": skin_surface(person.volume)}) for person in drawn.people])


def _turn(model: Model, drawn: Drawn, kind: str) -> bytes:
    from pages.components.parts.viewer.films import turn_of

    return turn_of(drawn.people[-1], drawn, region_drawn(model), kind)


def _cycle(drawn: Drawn, kind: str) -> bytes:
    from pages.components.parts.viewer.films import movie_of_cycle

    return movie_of_cycle(drawn.people[:2] if drawn.edit is not None else drawn.people[-1:], drawn, kind)


def _page(model: Model, drawn: Drawn) -> bytes:
    from pages.components.parts.viewer.films import person_sheet

    return person_sheet(drawn, model.schema, read_beside(model, drawn))
