"""Train on a cohort of one's own: choose it, start, watch it learn, stop, resume, install."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Train")
with st.spinner("Starting the engine"):
    from pages.components.train.view import installed, launch, new_training, run_shown, sentence
    from pages.components.train.work import Run, TrainingError, runs

NEW = "New training"
WHAT = (
    "Training makes a checkpoint of your own cohort, on this machine: no data leaves it. What comes out is as good as the "
    "cohort is large: look at its evaluation before you believe it."
)
state = st.session_state
state.setdefault("train.problem", "")


def chosen_run(found: dict[str, Run]) -> str:
    """The reader's choice: a new training, or one of the runs; the address remembers it."""
    options = [NEW, *found]
    asked = st.query_params.get("run")
    if state.get("train.goto") in options:
        state["train.run"] = state.pop("train.goto")
    elif asked in found and state.get("train.asked") != asked:
        state["train.run"] = asked
    state["train.asked"] = asked
    if state.get("train.run") not in options:
        state["train.run"] = next((run.name for run in found.values() if run.active), NEW)

    with st.sidebar:
        name = st.radio("Runs", options, key="train.run", captions=["", *(run.state for run in found.values())])
    if name == NEW:
        st.query_params.pop("run", None)
    else:
        st.query_params["run"] = state["train.asked"] = name
    return name


def go_on(run: Run) -> None:
    """Resume a run that does not go on by itself."""
    if run.checkpoint:
        installed(run)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    minutes = left.number_input("Minutes more", 0.1, 10080.0, 30.0, 5.0, key=f"train.more.{run.name}", format="%g")
    if right.button("Resume", icon=":material/play_circle:", width="stretch"):
        try:
            launch(run.again(float(minutes)), status)
        except TrainingError as error:
            state["train.problem"] = sentence(error)
        st.rerun()


found = {run.name: run for run in runs()}
name = chosen_run(found)
if state["train.problem"]:
    st.error(state["train.problem"])
    state["train.problem"] = ""
if name == NEW:
    st.html(f'<p class="lead">{WHAT}</p>')
    if training := new_training(set(found)):
        if launch(training, status):
            state["train.goto"] = training.name
        st.rerun()
else:
    run_shown(found[name].folder)
    if not found[name].active:
        go_on(found[name])
