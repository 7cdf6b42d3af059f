"""What Explore is asked: who, by attributes, seed, number and sampling steps."""

from __future__ import annotations

import secrets
from dataclasses import replace
from typing import TYPE_CHECKING

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.components.explore.edit import arrive_edit, split_address
from pages.components.explore.work import visit
from pages.components.parts.attribute_controls import COUNT_TEXTS, attribute_controls, restore_controls
from pages.components.parts.model_picker import asks_for_nothing
from pages.components.state.address import COUNTS, Request, read_query
from pages.components.state.generation import DRAFT_STEPS

if TYPE_CHECKING:
    from engine.inference.generate import Model


def arrive(name: str, model: Model) -> None:
    """Take over a new address, or another model; on the way back from another page, bring back who was shown."""
    here, source = visit(), st.query_params.to_dict()
    fresh = not asks_for_nothing(source) and here.address.changed()
    if not fresh and here.controls == model.digest and "seed" in st.session_state:
        return

    if not fresh and here.drawn is not None:
        source = replace(here.drawn.request, model=name).to_query()
    plain, edit, person, wrong = split_address(source, model)
    request, problems = read_query(plain, name, model.schema)
    here.problems = problems + wrong
    if fresh:
        arrive_edit(request, edit, person)
    restore_controls(request, model.schema)
    here.wanted = None if here.problems else request
    here.controls = model.digest
    here.address.take()


def ask(name: str, model: Model) -> tuple[bool, DeltaGenerator]:
    """Draw the controls; note what they want when a button was pressed, or in live mode when they changed. Returns whether it
    is live mode, and the place beside the button, for progress."""
    given, counts = attribute_controls(model.schema), count_controls()
    pressed, live, place = generate_buttons(DRAFT_STEPS)
    request = Request(model=name, given=given, **counts)
    if pressed or (live and request != visit().followed):
        visit().ask(request)
    return live, place


def count_controls() -> dict[str, int]:
    """Seed, number of persons and sampling steps."""
    for place, (name, (title, text)) in zip(st.columns(3), COUNT_TEXTS.items(), strict=True):
        _, low, high = COUNTS[name]
        place.number_input(title, low, high, key=name, help=text)
    return {name: int(st.session_state[name]) for name in COUNT_TEXTS}


def generate_buttons(draft_steps: int) -> tuple[bool, bool, DeltaGenerator]:
    """Was a button pressed that asks for people, does the page follow every change, and the place beside the buttons."""
    with st.container(key="go"):  # frame.css keeps it in sight
        with st.container(horizontal=True):
            pressed = st.button("Generate", type="primary", width="stretch")
            another = st.button(
                "Another", icon=":material/casino:", on_click=_another_seed, help="Draw a new seed and generate."
            )
        place = st.empty()
    live = st.toggle(
        "Live",
        key="live",
        on_change=_follow_anew,
        help=f"Follow every change: a draft of {draft_steps} steps, then in full.",
    )
    return pressed or another, live, place


def _follow_anew() -> None:
    visit().followed = None


def _another_seed() -> None:
    st.session_state["seed"] = secrets.randbelow(1_000_000)
