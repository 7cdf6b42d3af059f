"""The button that keeps a person or a what-if in the library."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import streamlit as st
from PIL import Image

from engine.anatomy import region_of
from engine.imaging.pictures import planes
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal
from pages.components.parts.library.store import Entry, library
from pages.components.parts.model_picker import load_model
from pages.components.parts.session_file import Session, session_of_whatif
from pages.components.state.address import Request
from pages.components.state.generation import person_kept
from pages.components.state.intervention import Question
from pages.components.state.person_table import capital, label, level, summary

#: pixels of a picture's longer side, and the quality of its WebP
SIDE, QUALITY = 96, 70
ICON = ":material/bookmark_add:"
HELP = "Into your library: name, small picture and exact settings, kept in this browser."


def keep_person(request: Request, title: str = "Keep") -> None:
    """A button that keeps the one person of a request."""
    alone = replace(request, n=1)
    key = f"keep {alone.model} {alone.seed} {alone.steps} {alone.given}"
    st.button(title, key=key, icon=ICON, help=HELP, type="tertiary", on_click=partial(_keep_person, alone))


def keep_whatif(question: Question) -> None:
    """A button that keeps a what-if of a synthetic person; that of a scan of the reader's is kept nowhere."""
    if not question.scan:
        st.button("Keep", key="keep what-if", icon=ICON, help=HELP, on_click=partial(_keep_whatif, question))


def _keep_person(request: Request) -> None:
    try:
        model = load_model(request.model)
    except Refusal:
        return
    session = Session(page="Explore", address=request.to_query(), checkpoint=request.model, digest=model.digest)
    person = person_kept(model, request)
    picture = thumbnail(person.scan) if person is not None and person.scan is not None else b""
    who = summary(person.attributes) if person is not None else said(dict(request.given))
    name = f"{capital(who) or 'Person'}, seed {request.seed}"
    _keep(Entry(name=name, words=f"Given: {said(dict(request.given)) or 'nothing'}.", session=session, picture=picture))


def _keep_whatif(question: Question) -> None:
    try:
        model = load_model(question.model)
    except Refusal:
        return
    person = person_kept(model, question.person())
    picture = thumbnail(person.scan) if person is not None and person.scan is not None else b""
    change = said(dict(question.change)) or ("an edit of the mask" if question.edit else "nothing set")
    name = f"What if {change}, seed {question.seed}"
    words = f"Before: {said(dict(question.before)) or 'nothing given'}. What if: {change}."
    _keep(Entry(name=name[:60], words=words, session=session_of_whatif(question), picture=picture))


def _keep(entry: Entry) -> None:
    library().add(entry)
    st.toast(f"Kept: {entry.name}", icon=":material/bookmark_added:")


def said(cells: Mapping[str, object]) -> str:
    """``Age 40, Sex female``."""
    return ", ".join(
        f"{label(name)} {level(name, value) if isinstance(value, str) else f'{value:g}'}"
        for name, value in cells.items()
    )


def thumbnail(scan: Volume) -> bytes:
    """A middle slice as WebP, in the plane in which the region is recognised."""
    longest = max(n * mm for n, mm in zip(scan.grid, scan.spacing, strict=True))
    cut, region = planes(scan, longest / SIDE), region_of(scan.channels)
    stream = io.BytesIO()
    Image.fromarray(cut.coronal if region is not None and region.plane == "coronal" else cut.axial).save(
        stream, "WEBP", quality=QUALITY
    )
    return stream.getvalue()
