"""A cohort of people who do not exist: drawn in the background, filtered, plotted, and taken away."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Population")
with st.spinner("Starting the engine"):
    from pages.components.population.question import arrive, asked, cohort_model
    from pages.components.population.view import bugs, cohort_shown, concluded, opened, person_opened, progress, said
    from pages.components.population.work import draw, visit

with st.sidebar:
    name, model = cohort_model()
    arrive(name, model)
    request = asked(name, model)
    with st.container(key="go"):  # frame.css keeps it in sight
        pressed = st.button("Draw", type="primary", width="stretch")
if pressed:
    draw(model, request)
cohort = visit().shown(model)
progress(status)
said()
if cohort is None:
    opened(name, model)
else:
    if not visit().problems:
        concluded(cohort)
    cohort_shown(model, cohort, current=cohort.request == request)
person_opened(model)
bugs()
