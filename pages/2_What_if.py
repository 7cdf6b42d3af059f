"""The same person otherwise: synthetic, or in a scan of the reader's; what changes, and how far to trust it."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("What if")
with st.spinner("Starting the engine"):
    from pages.components.parts.model_picker import model_picker
    from pages.components.parts.ruler.reader import reader_for
    from pages.components.parts.viewer.viewer import viewer
    from pages.components.whatif.question import arrive, question_controls, remember
    from pages.components.whatif.sweep import grid_controls, show_grid, show_sweep, sweep_controls
    from pages.components.whatif.takeaway import conclude
    from pages.components.whatif.upload import WAITING
    from pages.components.whatif.view import show_tables
    from pages.components.whatif.work import answers, begin, carry_out, next_work, shown, want

state = st.session_state


def show(found) -> None:
    """Before beside after, and the tables."""
    name = next(iter(found.scenes))
    if len(found.scenes) > 1:
        name = st.segmented_control("Shown", list(found.scenes), default=name, required=True)
    viewer(found.scenes[name or next(iter(found.scenes))], key="whatif viewer")
    show_tables(found)


def further(current) -> None:
    """One attribute swept, two over a grid."""
    one, two = st.tabs(["Sweep one attribute", "Grid of two attributes"])
    for tab, controls, name in ((one, sweep_controls, "whatif sweep"), (two, grid_controls, "whatif grid")):
        with tab:
            if plan := controls(model.schema, current):
                state[name] = plan
                want(plan.questions, whole=False)
            plan = state.get(name)
            if plan is None or plan.base.digest != model.digest:
                continue
            if plan.base != current:
                st.caption(":orange[:material/history: Older than the controls on the left.]")
            if name == "whatif sweep":
                show_sweep(model.schema, plan, answers(), reader.titles if reader else {})
            else:
                show_grid(model.schema, plan, answers())


begin()
remember()
with st.sidebar:
    name, model = model_picker()
    arrive(name, model)
    current, scan, files = question_controls(name, model)
    with st.container(key="go"):  # frame.css keeps it in sight
        if st.button("Draw", type="primary", width="stretch", disabled=current is None) and current:
            want([current], whole=True)
if files:
    state.update({"whatif reading": files, "whatif problems": []})
reader, why_not = reader_for(model)
notice = st.empty()  # holds its place, so that nothing below moves when it goes
if state["whatif problems"]:
    sentences = "".join(f"\n* {problem}" for problem in state["whatif problems"])
    notice.warning(f"That cannot be done, so nothing was drawn.{sentences}", icon=":material/link_off:")
if why_not:
    st.warning(why_not, icon=":material/straighten:")
found = shown(model.digest, current)
if current is None:
    st.info(WAITING, icon=":material/upload_file:")
elif found:
    show(found)
elif not state["whatif wanted"]:
    st.info("Say on the left what is to be otherwise, and press Draw.")
if current is not None:
    further(current)
if work := next_work(model, scan, reader):
    carry_out(work, status)
elif found and current:
    conclude(found, current, status)
