"""Draw people: fix what you like, leave the rest to the model, look at the scan and the table together."""

from dataclasses import replace

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Explore")
with st.spinner("Starting the engine"):
    from pages.components.parts.attribute_controls import (
        attribute_controls,
        count_controls,
        generate_buttons,
        restore_controls,
    )
    from pages.components.parts.model_picker import model_picker
    from pages.components.parts.ruler.measured import labelled_scene, measured_section
    from pages.components.parts.ruler.surfaces import surfaces_section
    from pages.components.parts.takeaway import conclude
    from pages.components.parts.teaching_cases import case_links, cases_of
    from pages.components.parts.viewer.viewer import viewer
    from pages.components.state.address import Request, read_query
    from pages.components.state.generation import draw

DRAFT_STEPS = 2
state = st.session_state
state.setdefault("drawn", None)  # who is shown
state.setdefault("wanted", None)  # who is to be shown
state.setdefault("problems", [])  # what the address asked for in vain


def arrive(name: str, model) -> None:
    """Take over a new address, or another model; on the way back from another page, bring back who was shown."""
    address, drawn = st.query_params.to_dict(), state["drawn"]
    fresh = address not in ({}, state.get("address"))
    if not fresh and state.get("controls of") == model.digest and "seed" in state:
        return
    source = address if fresh or drawn is None else replace(drawn.request, model=name).to_query()
    request, problems = read_query(source, name, model.schema)
    restore_controls(request, model.schema)
    wanted = None if problems else request
    state.update({"problems": problems, "wanted": wanted, "controls of": model.digest, "address": address})


def ask(name: str, model) -> bool:
    """Draw the controls; note what they want when a button was pressed, or in live mode when they changed."""
    given, counts = attribute_controls(model.schema), count_controls()
    pressed, live = generate_buttons(DRAFT_STEPS)
    request = Request(model=name, given=given, **counts)
    if pressed or (live and request != state.get("followed")):
        state.update(wanted=request, followed=request, problems=[])
    return live


def generate(model, live: bool) -> None:
    """Draw who is wanted, in live mode as a draft first, and show them by running the page again."""
    wanted, drawn = state["wanted"], state["drawn"]
    draft = replace(wanted, steps=min(DRAFT_STEPS, wanted.steps))
    target = draft if live and (drawn is None or drawn.request != draft) else wanted
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(0.0, "Starting")
        st.button("Stop", on_click=lambda: state.update(wanted=None), type="tertiary", icon=":material/stop_circle:")
    try:
        state["drawn"] = draw(model, target, bar.progress, draft=target != wanted)
    except ValueError as error:  # the engine's refusals, written to be read
        state.update(wanted=None, problems=[str(error)])
    st.rerun()


with st.sidebar:
    name, model = model_picker()
    arrive(name, model)
    with st.popover("Examples", width="stretch"):
        case_links(name, cases_of(model.schema))
    live = ask(name, model)
drawn, wanted = state["drawn"], state["wanted"]
if state["problems"]:
    sentences = "".join(f"\n* {problem}" for problem in state["problems"])
    st.warning(f"The model cannot do what was asked, so nobody was drawn.{sentences}", icon=":material/link_off:")
if drawn:
    viewer(labelled_scene(model, drawn))
    if wanted in (None, drawn.request) and not state["problems"]:
        conclude(drawn, status)
        measured_section(model, drawn)
        surfaces_section(model, drawn)
elif not wanted:
    st.info("Set what you like on the left, leave the rest free, and press Generate.")
if wanted and (drawn is None or drawn.request != wanted):
    generate(model, live)
