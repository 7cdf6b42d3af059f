"""The Train page: the form of a new training, and a run as it goes on."""

from __future__ import annotations

import time
from typing import Any

import pandas as pd
import streamlit as st

from engine.cli.terminal import duration
from engine.figures.charts import loss_figure
from pages.components.consistency.question import one_of
from pages.components.model_review.view import facts_list
from pages.components.train.cohort import CHOICES, Summary, check, facts, starts
from pages.components.train.samples import has_samples, samples_shown
from pages.components.train.work import LOG, Run, Training, TrainingError, install, look, start, stop

#: seconds between two looks at a run that goes on
REFRESH = 2.0
#: pixels of a panel: two stand side by side where there is room
PANEL = 520
STATES = {
    "running": (":material/model_training:", "Training"),
    "stopping": (":material/hourglass_top:", "Stopping after the step at hand; nothing is lost"),
    "finished": (":material/check_circle:", "Finished"),
    "stopped": (":material/pause_circle:", "Stopped; it goes on where it was"),
    "failed": (":material/error:", "Failed"),
    "crashed": (":material/error:", "Ended without a word: killed, out of memory, or the machine was switched off"),
}
STAGES = {
    "autoencoder": "Autoencoder: scans to tokens and back",
    "latents": "Scans to tokens",
    "rows": "Rows: the table without a scan",
    "flow": "Flow: scan and table together",
    "correction": "Mean scan of each row",
    "texture": "Texture: a critic teaches the decoder",
    "fingerprint": "What its scans look like",
}
FROM = {
    "format_func": lambda name: name or "nothing",
    "help": "A finished model of this recipe: its encoder stays, its decoder and its flow learn on, from your cohort.",
}
GONE_ON = "The training is a process of its own: it goes on when you close this page, and this page finds it again."


def sentence(error: Exception) -> str:
    """An engine's refusal as a sentence of a page."""
    text = " ".join(str(error).split())
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def new_training(names: set[str]) -> Training | None:
    """The form; what is to be trained once it is complete and was checked, and the button was pressed."""
    recipe = one_of("Recipe", list(CHOICES), "train.recipe")
    st.caption(CHOICES[recipe])
    what = "CSV or TSV file" if recipe == "table" else "Store folder"
    path = st.text_input(
        what, key=f"train.path.{recipe == 'table'}", placeholder="a path on the machine that runs this app"
    )
    left, middle, right, last = st.columns(4)
    minutes = left.number_input(
        "Minutes", 0.1, 10080.0, 30.0, 5.0, key="train.minutes", format="%g", help="At most; resume for more."
    )
    size = middle.selectbox("Size", ["cpu", "gpu"], key="train.size", help="A larger network, for a graphics card.")
    source = right.selectbox("Start from", ["", *starts(recipe, str(size))], key=f"train.from.{recipe}.{size}", **FROM)
    name = last.text_input("Name of the run", key="train.name", placeholder=_free_name(recipe, names)).strip()
    if not path.strip():
        return None
    try:
        summary = check(path, recipe, str(size))
    except (ValueError, OSError) as error:
        st.error(sentence(error))
        return None
    summary_shown(summary)
    name = name or _free_name(recipe, names)
    if name in names:
        st.error(f"There is a run {name} already: choose another name, or resume that one on the left.")
        return None
    st.caption(GONE_ON)
    pressed = st.button("Start training", type="primary", icon=":material/play_circle:")
    training = Training(
        name=name, recipe=recipe, store=summary.path, minutes=float(minutes), size=str(size), source=str(source)
    )
    return training if pressed else None


def _free_name(recipe: str, names: set[str]) -> str:
    return next(name for k in range(1, len(names) + 2) if (name := f"{recipe}-{k}") not in names)


def summary_shown(summary: Summary) -> None:
    """What is in the cohort: persons, split, grid, columns, missing cells."""
    facts_list(facts(summary))
    rows = [
        {"Column": name, "In training": said, "Missing": summary.missing.get(name, "")}
        for name, said in summary.columns.items()
    ]
    st.table(pd.DataFrame(rows).set_index("Column"), alt="Columns of the cohort")
    if summary.flags:
        st.warning("Not taken as they stand:" + "".join(f"\n* {flag}" for flag in summary.flags[:8]))


def launch(training: Training, status: Any) -> bool:
    """Start or resume; says what is going on, and whether it has begun."""
    bar = status.progress(0.0, "Starting")
    try:
        start(training, lambda seconds: bar.progress(min(0.95, seconds / 20), f"Starting, {seconds:.0f} s"))
    except (TrainingError, OSError) as error:
        st.session_state["train.problem"] = sentence(error)
        return False
    finally:
        bar.empty()
    st.session_state["train.problem"] = ""
    return True


def run_shown(folder: Any) -> None:
    """A run, looked at again every few seconds while it goes on."""
    run = look(folder)
    if run.active:
        st.fragment(_active, run_every=REFRESH)(folder)
    else:
        _headline(run)
        _learnt(run)


def _active(folder: Any) -> None:
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
        st.error(sentence(Exception(run.reason)))
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
                st.plotly_chart(loss_figure(losses), key=f"{run.name} {stage}", config={"displaylogo": False})
    if not run.active and (run.folder / LOG).is_file():
        with st.expander("What the process said"):
            text = (run.folder / LOG).read_text("utf-8", errors="replace")
            st.code("\n".join(text.split("\n")[-40:]), language=None)


def installed(run: Run) -> None:
    """Where the checkpoint is, and a button that puts it among the models."""
    st.markdown(
        f"The checkpoint is in `{run.checkpoint}`. Copied under `checkpoints/` it appears among the models of this app."
    )
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    name = left.text_input("Install as", run.name, key=f"train.install.{run.name}")
    if right.button("Install", icon=":material/download_done:", width="stretch"):
        try:
            target = install(run, name.strip())
        except (ValueError, OSError) as error:
            st.error(sentence(error))
        else:
            st.success(f"Installed in `{target}`: choose {target.name} on any page.")
