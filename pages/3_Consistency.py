"""Does the anatomy follow what was asked for, and does what is sampled go together as in the cohort?"""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Consistency")
with st.spinner("Starting the engine"):
    from pages.components.consistency.pair import pair_shown
    from pages.components.consistency.question import plan_controls
    from pages.components.consistency.view import asked_shown, unmeasured
    from pages.components.consistency.work import Plan, Run, ended, ruler, sample_one, to_csv
    from pages.components.parts.model_picker import model_picker

state = st.session_state
state.setdefault("measured", {})  # persons measured so far, by plan
state.setdefault("running", None)  # the run that goes on
state.setdefault("ended", None)  # the plan whose run ended of itself, and why


def carry_out(run: Run, wanted: int, points: list, head, model) -> None:
    """Draw and measure one more person, then run the page again: each point appears as soon as it is there."""
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(len(points) / wanted, "Starting")
        st.button("Stop", on_click=lambda: state.update(running=None), type="tertiary", icon=":material/stop_circle:")
    point = sample_one(model, head, run.plan, len(points), run.report(bar, len(points), wanted))
    state["measured"] |= {run.plan: [*points, point]}
    st.rerun()


def conclude(plan: Plan, points: list, wanted: int) -> None:
    """Say how many persons were measured, and offer them as a table."""
    number = f"{len(points)} of {wanted}" if len(points) < wanted else f"{len(points)}"
    with status.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(f"{number} persons measured", width="content")
        table = to_csv(plan, points)
        name, icon = "somatwin_consistency.csv", ":material/download:"
        st.download_button("Download", table, name, "text/csv", on_click="ignore", icon=icon)


with st.sidebar:
    name, model = model_picker()
    reader = ruler(model)
    head = reader.ruler
    plan, wanted = plan_controls(name, model, head.cohort)
    with st.container(key="go"):  # frame.css keeps it in sight
        pressed = st.button("Sample and measure", type="primary", width="stretch")
points = state["measured"].get(plan, [])
if pressed:
    state.update(running=Run(plan=plan, done=len(points)), ended=None)
run = state["running"]
if run and run.plan != plan:
    sentence = ended(run.plan, plan, len(state["measured"].get(run.plan, [])))
    state.update(running=None, ended=(run.plan, sentence))
if state["ended"] and state["ended"][0] != plan:
    st.warning(state["ended"][1], icon=":material/stop_circle:")
(pair_shown if plan.attribute is None else asked_shown)(model, reader, plan, points)
unmeasured(points)
if state["running"] and len(points) < wanted:
    carry_out(state["running"], wanted, points, head, model)
state["running"] = None
if points:
    conclude(plan, points, wanted)
