"""A guided tour for teaching: five steps, each on a page of the app, with a way on, back and out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import streamlit as st

from pages.components.state.session import kept


@dataclass(frozen=True, kw_only=True)
class Step:
    """One step: its ``page``, and what to do there; ``query`` joins the address that leads to it."""

    page: str
    path: str
    title: str
    text: str
    query: Mapping[str, str] = field(default_factory=dict)


STEPS = (
    Step(
        page="Explore",
        path="pages/1_Explore.py",
        title="One person",
        text="Somebody of 25 who does not exist. Scroll through the scan, then set Age to 75 on the left and press Generate: "
        "the same seed at another age. What has changed in the scan, and what in the table?",
        query={"seed": "7", "n": "1", "steps": "8", "age": "25"},
    ),
    Step(
        page="What if",
        path="pages/2_What_if.py",
        title="A sweep",
        text="The same person, and only the age is set. Press Sweep under the scans and play it. Look for change in places "
        "where age should change nothing: this is the known weakness of such models.",
    ),
    Step(
        page="Consistency",
        path="pages/3_Consistency.py",
        title="Does the body follow?",
        text="Each point is a person drawn for an age, and measured afterwards. Compare the slope with the grey one of real "
        "persons. Which measures follow, which do not?",
    ),
    Step(
        page="Review",
        path="pages/5_Review.py",
        title="Review ten",
        text="Choose a round of 10 and rate how plausible each scan is. What gave the implausible ones away? Finish earlier "
        "whenever you like.",
    ),
    Step(
        page="About",
        path="pages/8_About.py",
        title="Limits",
        text="What such a model cannot tell: read the limits, then look at What fails on the page Model review.",
    ),
)


@dataclass
class Tour:
    """Whether the tour is on, and with which model."""

    on: bool = False
    model: str = ""


def tour() -> Tour:
    return kept("tour", Tour)


def start_link(model: str) -> None:
    """A button that begins the tour with the model that was chosen last, at first with ``model``."""
    model = str(st.session_state.get("model last", model))
    if st.button("Guided tour, five steps", icon=":material/tour:", type="primary"):
        st.session_state["tour"] = Tour(on=True, model=model)
        st.switch_page(STEPS[0].path, query_params=_query(STEPS[0], model))


def tour_bar(page: str) -> None:
    """Where the tour is, on the pages that it visits; on other pages the way back to it."""
    here = tour()
    if not here.on:
        return
    at = next((k for k, step in enumerate(STEPS) if step.page == page), None)
    with st.container(border=True, key="tour"):
        if at is None:
            with st.container(horizontal=True, vertical_alignment="center"):
                st.markdown("**Guided tour**")
                _link(STEPS[0], "Back to its beginning", here.model, ":material/tour:")
                _end()
            return
        step = STEPS[at]
        st.markdown(f"**Tour, {at + 1} of {len(STEPS)}: {step.title}.** {step.text}")
        with st.container(horizontal=True, vertical_alignment="center"):
            if at:
                _link(STEPS[at - 1], f"Back: {STEPS[at - 1].title}", here.model, ":material/arrow_back:")
            if at + 1 < len(STEPS):
                _link(STEPS[at + 1], f"Next: {STEPS[at + 1].title}", here.model, ":material/arrow_forward:")
            _end()


def _query(step: Step, model: str) -> dict[str, str]:
    return {"model": model, **step.query} if step.query else {}


def _link(step: Step, label: str, model: str, icon: str) -> None:
    st.page_link(step.path, label=label, icon=icon, query_params=_query(step, model))


def _end() -> None:
    def ended() -> None:
        tour().on = False

    st.button("End the tour", on_click=ended, type="tertiary", icon=":material/close:", key="tour end")
