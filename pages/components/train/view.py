"""A run as it goes on: its state, what it draws by now, its losses, and what the process said."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd
import streamlit as st

from engine.cli.terminal import duration
from engine.figures.charts import loss_figure
from engine.training.gallery import read_sample, sample_steps
from engine.training.recipes import TABLE
from pages.components.parts.chart import saved_as
from pages.components.parts.facts import facts_list, refused
from pages.components.parts.teaching.example import any_example, marked
from pages.components.train.work import LOG, Run, look, stop

#: seconds between two looks at a run that goes on
REFRESH = 2.0
SAMPLES = "**Samples: persons it draws by now**"
SOON = "The first picture comes after about a minute of this stage."
#: what differs between two pictures is what was learnt between them
CAPTION = (
    "Step {step:,}. Each time the same seeds: {persons}. Synthetic, not for diagnosis; coarse, in 4 evaluations. "
    "Associations, not causes."
)
#: pixels of a panel: two stand side by side where there is room
PANEL = 520
TRAINED = (
    "A training of a table alone: {persons} synthetic persons, some seconds on one core. The loss falls as the model "
    "learns; a training of yours shows the same curves, and for scans pictures of whom it draws by then."
)
STATES = {
    "running": (":material/model_training:", "Training"),
    "stopping": (":material/hourglass_top:", "Stopping after the step at hand; nothing is lost"),
    "finished": (":material/check_circle:", "Finished"),
    "stopped": (":material/pause_circle:", "Stopped; it goes on where it was"),
    "failed": (":material/error:", "Failed"),
    "crashed": (":material/error:", "Ended without a word: killed, out of memory, or the machine was switched off"),
}
STAGES = {
    "autoencoder": "Compression: scans to a short code and back",
    "latents": "Scans to their codes",
    "rows": "Rows: the table without a scan",
    "flow": "Flow: scan and table together",
    "correction": "Mean scan of each row",
    "texture": "Texture: a critic teaches the decoder",
    "fingerprint": "What its scans look like",
}


def run_shown(folder: Path) -> None:
    """A run, looked at again every few seconds while it goes on."""
    run = look(folder)
    if run.active:
        st.fragment(_active, run_every=REFRESH)(folder)
    else:
        _headline(run)
        _learnt(run)


def example_shown() -> None:
    """What a training looks like, by the example of a checkpoint, and a table to try one with."""
    example = any_example()
    if example is None or not any(len(xs) > 1 for by in example.losses.values() for xs, _ in by.values()):
        return
    with st.container(border=True):
        marked(example, TRAINED.format(persons=len(example.people)))
        places = st.columns(min(2, len(example.losses))) * len(example.losses)
        for place, (stage, losses) in zip(places, example.losses.items(), strict=False):
            place.markdown(
                "**Table: its loss, step by step**" if stage == "flow" else f"**{STAGES.get(stage, stage)}**"
            )
            place.plotly_chart(loss_figure(losses), key=f"example {stage}", config=saved_as("somatwin_losses"))
        rows = pd.DataFrame([person.row for person in example.people])
        st.download_button(
            "Try it: their table (CSV)",
            rows.to_csv(index=False).encode(),
            "synthetic-people.csv",
            "text/csv",
            on_click="ignore",
            icon=":material/download:",
            help="Choose the recipe table above and give the path of this file.",
        )


def _active(folder: Path) -> None:
    run = look(folder)
    if not run.active:
        st.rerun()
    _headline(run)
    st.button(
        "Stop at once" if run.state == "stopping" else "Stop",
        icon=":material/stop_circle:",
        on_click=stop,
        args=(run,),
        help="Saves after the step at hand. Asked again it ends at once, and up to two minutes are trained again.",
    )
    _learnt(run)


def _headline(run: Run) -> None:
    icon, words = STATES.get(run.state, (":material/help:", run.state))
    st.header(f"{icon} {words}", anchor=False)
    if run.reason:
        st.error(refused(run.reason))
    left = "" if run.left is None else f", about {duration(run.left)} left"
    if run.total:
        stage = STAGES.get(run.stage, run.stage)
        st.progress(min(1.0, run.step / run.total), f"{stage}: step {run.step:,} of {run.total:,}{left}")
    elif run.active:
        st.progress(0.0, f"Preparing; the first losses come after some steps{left}")
    minutes = run.asked.get("minutes")
    told = {
        "Recipe": str(run.asked.get("recipe", "unknown")),
        "Start from": str(run.asked.get("from") or "nothing"),
        "Data": str(run.asked.get("store", "unknown")),
        "Time": f"at most {duration(60 * minutes)}" if minutes else "as long as the recipe says",
        "Heard of": f"{duration(time.time() - run.heard)} ago" if run.heard else "never",
        "Run": str(run.folder),
    }
    facts_list(told)


def _learnt(run: Run) -> None:
    """Samples and losses side by side, the latest stage first; below, what an ended process said."""
    with st.container(horizontal=True):
        if has_samples(run):
            with st.container(width=PANEL):
                samples_shown(run)
        for stage, losses in reversed([*run.losses.items()]):
            with st.container(width=PANEL):
                st.markdown(f"**{STAGES.get(stage, stage)}**")
                st.plotly_chart(loss_figure(losses), key=f"{run.name} {stage}", config=saved_as("somatwin_losses"))
    if not run.active and (run.folder / LOG).is_file():
        with st.expander("What the process said"):
            text = (run.folder / LOG).read_text("utf-8", errors="replace")
            st.code("\n".join(text.split("\n")[-40:]), language=None)


def samples_shown(run: Run) -> None:
    """The newest picture of the run, or the one that the reader went back to."""
    st.markdown(SAMPLES)
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
    state = st.session_state
    key = f"train.sample.{name}"
    newest = f"train.newest.{name}"
    if state.get(key) not in steps or state.get(key) == state.get(newest):
        state[key] = steps[-1]
    state[newest] = steps[-1]
    return st.select_slider("Step", steps, key=key, format_func="{:,}".format)
