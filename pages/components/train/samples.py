"""What a training model draws by now, and what it drew before."""

from __future__ import annotations

import streamlit as st

from engine.training.gallery import read_sample, sample_steps
from engine.training.recipes import TABLE
from pages.components.train.work import Run

TITLE = "**Samples: persons it draws by now**"
SOON = "The first picture comes after about a minute of this stage."
#: what differs between two pictures is what was learnt between them
CAPTION = (
    "Step {step:,}. Each time the same seeds: {persons}. Synthetic, not for diagnosis; coarse, in 4 evaluations. "
    "Associations, not causes."
)


def samples_shown(run: Run) -> None:
    """The newest picture of the run, or the one that the reader went back to."""
    st.markdown(TITLE)
    steps = sample_steps(run.folder)
    if not steps:
        st.caption(SOON)
        return
    place = st.container()
    step = _chosen(run.name, steps)
    sample = read_sample(run.folder, step)
    if sample is None:
        place.caption(f"The picture of step {step:,} cannot be read.")
        return
    place.image(sample.png, width="stretch", alt=f"Synthetic persons after step {step}: {sample.persons}")
    st.caption(CAPTION.format(step=step, persons=sample.persons))


def has_samples(run: Run) -> bool:
    """Are there pictures, or will there be: the second stage draws scans, and a table has none."""
    learning = run.active and run.stage == "flow" and run.asked.get("recipe") != TABLE
    return learning or bool(sample_steps(run.folder))


def _chosen(name: str, steps: list[int]) -> int:
    """The step to look at: the newest, until the reader goes back, and again when they come forward."""
    if len(steps) == 1:
        return steps[0]
    state, key, newest = st.session_state, f"train.sample.{name}", f"train.newest.{name}"
    if state.get(key) not in steps or state.get(key) == state.get(newest):
        state[key] = steps[-1]
    state[newest] = steps[-1]
    return st.select_slider("Step", steps, key=key, format_func="{:,}".format)
