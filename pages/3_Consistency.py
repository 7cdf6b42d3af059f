"""Does the anatomy follow what was asked for? Requested attribute against measured volume, over the real cohort."""

import streamlit as st

from pages.components.frame import frame

status = frame("Consistency")
with st.spinner("Starting the engine"):
    from engine.figures import consistency_figure
    from pages.components.consistency_controls import one_of, plan_controls
    from pages.components.consistency_run import (
        COHORTS,
        Plan,
        Run,
        axis_title,
        ended,
        fit_line,
        note,
        ruler,
        sample_one,
        slope_table,
        to_csv,
    )
    from pages.components.model_picker import model_picker

HOVER = "seed {seed}, age {age:.0f}, BMI {bmi:.1f}"
state = st.session_state
state.setdefault("measured", {})  # persons measured so far, by plan
state.setdefault("running", None)  # the run that goes on
state.setdefault("ended", None)  # the plan whose run ended of itself, and why


def show(plan: Plan, points: list, measure: str, column, reader) -> None:
    """The plot, the slopes, and what could not be measured."""
    group, seen = plan.sex or "all", [point for point in points if measure in point]
    head, cohort = reader.ruler, COHORTS[reader.kind]
    line = fit_line(seen, measure)
    figure = consistency_figure(
        [point["requested"] for point in seen],
        [point[measure] for point in seen],
        hover=[HOVER.format_map(point) for point in seen],
        real=head.cohort.curve(measure, plan.attribute, group),
        synthetic=line,
        titles=(axis_title(column), f"{head.measures[measure]} measured, {reader.units[measure]}"),
        span=(plan.low, plan.high),
        cohort=cohort,
    )
    st.plotly_chart(figure, key="consistency plot", config={"displaylogo": False})
    other = head.cohort.line(measure, plan.attribute, group)
    st.table(slope_table(line, other, column, len(seen), reader.units[measure], cohort))
    if problems := [point["problem"] for point in points if point["problem"]]:
        st.warning(f"{len(problems)} of {len(points)} scans could not be measured: {problems[0]}.")


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
shown = [name for name in head.measures if name != "intracranial_ml"]
measure = one_of("Measure", shown, "consistency.measure", format_func=head.measures.get)
show(plan, points, measure, model.schema[plan.attribute], reader)
st.caption(f"{head.definitions[measure]} {note(model, reader)}")
if state["running"] and len(points) < wanted:
    carry_out(state["running"], wanted, points, head, model)
state["running"] = None
if points:
    conclude(plan, points, wanted)
