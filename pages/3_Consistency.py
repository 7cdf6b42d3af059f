"""Does the anatomy follow what was asked for, and does what is sampled go together as in the cohort?"""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Consistency")
with st.spinner("Starting the engine"):
    from pages.components.consistency.pair import pair_shown
    from pages.components.consistency.question import plan_controls
    from pages.components.consistency.view import (
        asked_shown,
        concluded,
        cycles_shown,
        masks_shown,
        opened,
        said,
        unmeasured,
    )
    from pages.components.consistency.work import carry_out, ruler_needed, visit
    from pages.components.parts.model_picker import model_picker
    from pages.components.parts.teaching.example import example_of

with st.sidebar:
    name, model = model_picker()
    ruler = ruler_needed(model)
    plan, wanted = plan_controls(name, model, ruler.cohort)
    with st.container(key="go"):  # frame.css keeps it in sight
        pressed = st.button("Sample and measure", type="primary", width="stretch")
example = example_of(name, model.digest)
visit().open_with(example, model, ruler)
points = visit().look(plan, pressed)
said(plan)
opened(example, plan, points)
if plan.attribute is None:
    pair_shown(model, ruler, plan, points)
else:
    asked_shown(model, ruler, plan, points)
    cycles_shown(model, ruler, plan, points)
masks_shown(model, points)
unmeasured(points)
if (run := visit().running) and len(points) < wanted:
    carry_out(model, ruler, run, wanted, status)
visit().stop()
concluded(plan, points, wanted, status)
