"""Train on a cohort of one's own: choose it, start, watch it learn, stop, resume, install."""

import streamlit as st

from pages.components.parts.frame import frame

status = frame("Train")
with st.spinner("Starting the engine"):
    from pages.components.train.question import NEW, chosen_run, go_on, start_new
    from pages.components.train.view import example_shown, run_shown
    from pages.components.train.work import runs, visit

WHAT = (
    "Training makes a checkpoint of your own cohort, on this machine: no data leaves it. What comes out is as good as the "
    "cohort is large: look at its evaluation before you believe it."
)

found = {run.name: run for run in runs()}
name = chosen_run(found)
if visit().problem:
    st.error(visit().problem)
    visit().problem = ""
if name == NEW:
    st.html(f'<p class="lead">{WHAT}</p>')
    start_new(set(found), status)
    example_shown()
else:
    run_shown(found[name].folder)
    if not found[name].active:
        go_on(found[name], status)
