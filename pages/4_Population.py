"""A cohort of people who do not exist: drawn in the background, filtered, plotted, and taken away."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Population")
with st.spinner("Starting the engine"):
    from pages.components.population.question import arrive, asked, cohort_model, draw, shown, start_state
    from pages.components.population.view import cohort_shown, person_opened, progress

state = st.session_state


def conclude(query: dict[str, str]) -> None:
    """Put the cohort shown into the page's address."""
    if st.query_params.to_dict() != query:
        st.query_params.from_dict(query)
    state["population address"] = query


start_state()
with st.sidebar:
    name, model = cohort_model()
    arrive(name, model)
    request = asked(name, model)
    with st.container(key="go"):  # frame.css keeps it in sight
        pressed = st.button("Draw", type="primary", width="stretch")
if pressed:
    draw(model, request)
cohort, run = shown(model), state["population run"]
progress(status)
if state["population problems"]:
    sentences = "".join(f"\n* {problem}" for problem in state["population problems"])
    st.warning(f"The model cannot do what was asked, so nobody was drawn.{sentences}", icon=":material/link_off:")
if run is not None and run.problem:
    st.warning(f"The drawing ended: {run.problem}.", icon=":material/error:")
if cohort is None:
    st.info("Say on the left who is to be drawn, and press Draw. You can look at other pages meanwhile.")
else:
    if not state["population problems"]:
        conclude(cohort.request.to_query())
    cohort_shown(model, cohort, current=cohort.request == request)
person_opened(model)
