"""Does the anatomy follow what was asked for? Requested attribute against measured volume, over the real cohort."""

import streamlit as st

from pages.components.frame import frame

status = frame("Consistency")
with st.spinner("Starting the engine"):
    from engine.figures import consistency_figure
    from pages.components.consistency_controls import one_of, plan_controls
    from pages.components.consistency_run import Plan, axis_title, fit_line, ruler, sample_one, slope_table, to_csv
    from pages.components.model_picker import model_picker

NOTE = (
    "Grey: the real persons the model was trained on, as a regression only. Orange: people who do not exist, each drawn "
    "anew and measured with the same ruler. "
)
HOVER = "seed {seed}, age {age:.0f}, BMI {bmi:.1f}"
state = st.session_state
state.setdefault("measured", {})  # persons measured so far, of the latest plan
state.setdefault("running", None)  # the plan being carried out


def show(plan: Plan, points: list, measure: str, column, head) -> None:
    """The plot, the slopes, and what could not be measured."""
    group, seen = plan.sex or "all", [point for point in points if measure in point]
    line = fit_line(seen, measure)
    figure = consistency_figure(
        [point["requested"] for point in seen],
        [point[measure] for point in seen],
        hover=[HOVER.format_map(point) for point in seen],
        real=head.cohort.curve(measure, plan.attribute, group),
        synthetic=line,
        titles=(axis_title(column), f"{head.measures[measure]} measured, ml"),
        span=(plan.low, plan.high),
    )
    st.plotly_chart(figure, key="consistency plot", config={"displaylogo": False})
    st.table(slope_table(line, head.cohort.line(measure, plan.attribute, group), column))
    if problems := [point["problem"] for point in points if point["problem"]]:
        st.warning(f"{len(problems)} of {len(points)} scans could not be measured: {problems[0]}.")


def carry_out(plan: Plan, wanted: int, points: list, head, model) -> None:
    """Draw and measure one more person, then run the page again: each point appears as soon as it is there."""
    done = len(points)
    with status.container(horizontal=True, vertical_alignment="center"):
        bar = st.progress(done / wanted, "Starting")
        st.button("Stop", on_click=lambda: state.update(running=None), type="tertiary", icon=":material/stop_circle:")

    def report(fraction: float, text: str) -> None:
        bar.progress((done + fraction) / wanted, f"Person {done + 1} of {wanted}. {text}")

    state["measured"] = {plan: [*points, sample_one(model, head, plan, done, report)]}
    st.rerun()


head = ruler()
with st.sidebar:
    name, model = model_picker()
    plan, wanted = plan_controls(name, model, head.cohort)
    if st.button("Sample and measure", type="primary", width="stretch"):
        state["running"] = plan
measure = one_of(
    "Measure", [m for m in head.measures if m != "intracranial_ml"], "measure", format_func=head.measures.get
)
points = state["measured"].get(plan, [])
show(plan, points, measure, model.schema[plan.attribute], head)
st.caption(NOTE + head.definitions[measure])
if points:
    st.download_button(
        "Download CSV",
        to_csv(plan, points),
        "somatwin_consistency.csv",
        "text/csv",
        on_click="ignore",
        icon=":material/download:",
    )
if state["running"] == plan and len(points) < wanted:
    carry_out(plan, wanted, points, head, model)
