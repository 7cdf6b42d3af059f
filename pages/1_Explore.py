"""Draw people: fix what you like, leave the rest to the model, look at the scan and the table together."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Explore")
with st.spinner("Starting the engine"):
    from pages.components.explore.edit import draw_edit, edit_wanted
    from pages.components.explore.question import arrive, ask
    from pages.components.explore.view import people_shown
    from pages.components.explore.work import generate, visit
    from pages.components.parts.model_picker import model_picker
    from pages.components.parts.teaching.cases import case_links, cases_of

with st.sidebar:
    name, model = model_picker()
    arrive(name, model)
    with st.popover("Examples", width="stretch"):
        case_links(name, cases_of(model.schema))
    live, place = ask(name, model)
beside = people_shown(model, status)
if missing := visit().missing:
    generate(model, missing, live, (place, status))
elif edit_wanted(name):
    draw_edit(model, (beside, status))
