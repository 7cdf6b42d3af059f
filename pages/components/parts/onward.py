"""The same person on another page: model, seed, steps and what was given go along in the address."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import streamlit as st

from engine.anatomy import regions
from engine.vocabulary.schema import AttributeSchema
from pages.components.parts.frame import CARDS
from pages.components.parts.library.keep import ICON, keep_person, keep_whatif
from pages.components.state.address import Request
from pages.components.state.intervention import Question

PATHS = {"Explore": "pages/1_Explore.py", "What if": "pages/2_What_if.py"}


def follows_at_first(name: str) -> bool:
    """Does a column follow in a what-if unless the reader says otherwise? What a body is made of does, such as fat or a ventricle's
    volume; all else stays."""
    return any(name in region.composition for region in regions())


def address(page: str, request: Request, schema: AttributeSchema) -> dict[str, str]:
    """Where ``page`` shows the one person of ``request``; in a what-if, who the person is stays."""
    query = replace(request, n=1).to_query()
    if page == "Explore":
        return query
    given = dict(request.given)
    free = [column.name for column in schema.columns if column.name not in given]
    held = sorted(name for name in free if not follows_at_first(name))
    return {name: text for name, text in query.items() if name != "n"} | ({"hold": ",".join(held)} if held else {})


def onward_from_whatif(question: Question, schema: AttributeSchema) -> None:
    """From a what-if of a synthetic person to that person on Explore, and into the library; of a scan of the reader's nowhere."""
    if question.scan:
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        _link("Explore", question.person(), schema, "Explore this person", CARDS["Explore"][0])
        keep_whatif(question)


def onward(request: Request, schema: AttributeSchema, pages: Sequence[str] = tuple(PATHS)) -> None:
    """A link to each of the ``pages`` for every person of a request; of several persons within a popover for each page."""
    for page in pages:
        icon = CARDS[page][0]
        if request.n == 1:
            _link(page, request, schema, f"{page} this person", icon)
            continue
        with st.popover(page, icon=icon):
            for k in range(request.n):
                seed = request.seed + k
                _link(page, replace(request, seed=seed), schema, f"Person {k + 1}, seed {seed}", icon)
    if request.n == 1:
        keep_person(request)
        return
    with st.popover("Keep", icon=ICON):
        for k in range(request.n):
            keep_person(replace(request, seed=request.seed + k), f"Keep person {k + 1}, seed {request.seed + k}")


def _link(page: str, request: Request, schema: AttributeSchema, label: str, icon: str) -> None:
    st.page_link(PATHS[page], label=label, icon=icon, query_params=address(page, request, schema))
