"""What Train is asked: which run to look at, or a new one, from what and for how long; to go on, or to install."""

from __future__ import annotations

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.cohort.filter import WORDS
from engine.vocabulary.refusal import Refusal
from pages.components.parts.choice import button_or_why, one_of
from pages.components.parts.facts import facts_list, refused
from pages.components.train.cohort import CHOICES, Summary, check, facts, starts
from pages.components.train.work import Run, Training, TrainingError, install, launch, visit

NEW = "New training"
FROM = {
    "format_func": lambda name: name or "nothing",
    "help": "A finished model of this recipe: its encoder stays, its decoder and its flow learn on, from your cohort.",
}
WHERE = 'all of them; or such as age >= 40 and sex == "F"'
START = "Start training"
BUTTON = {"type": "primary", "icon": ":material/play_circle:"}
GONE_ON = "The training is a process of its own: it goes on when you close this page, and this page finds it again."


def chosen_run(found: dict[str, Run]) -> str:
    """The reader's choice: a new training, or one of the runs; the address remembers it."""
    here = visit()
    state = st.session_state
    options = [NEW, *found]
    asked = st.query_params.get("run")
    if here.go_to in options:
        state["train.run"] = here.go_to
        here.go_to = ""
    elif asked in found and here.address.changed():
        state["train.run"] = asked
    if state.get("train.run") not in options:
        state["train.run"] = next((run.name for run in found.values() if run.active), NEW)

    with st.sidebar:
        name = st.radio("Runs", options, key="train.run", captions=["", *(run.state for run in found.values())])
    here.address.write({} if name == NEW else {"run": name})
    return name


def start_new(names: set[str], status: DeltaGenerator) -> None:
    """The form of a new training; starts it, and looks at it, once its button is pressed."""
    if training := new_training(names):
        if launch(training, status):
            visit().go_to = training.name
        st.rerun()


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
        button_or_why(START, "Give the path of a cohort first.", **BUTTON)
        return None
    where = st.text_input(
        "Persons", key="train.where", placeholder=WHERE, help=f"Leave it empty for all. {WORDS}"
    ).strip()
    try:
        summary = check(path, recipe, str(size), where)
    except (Refusal, OSError) as error:
        button_or_why(START, refused(error), **BUTTON)
        return None
    if summary.chosen:
        st.caption("  \n".join(line.strip() for line in summary.chosen))
    summary_shown(summary)
    name = name or _free_name(recipe, names)
    why_not = (
        f"There is a run {name} already: choose another name, or resume that one on the left." if name in names else ""
    )
    st.caption(GONE_ON)
    pressed = button_or_why(START, why_not, **BUTTON)
    training = Training(
        name=name,
        recipe=recipe,
        store=summary.path,
        minutes=float(minutes),
        size=str(size),
        source=str(source),
        where=where,
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


def go_on(run: Run, status: DeltaGenerator) -> None:
    """Resume a run that does not go on by itself, or install what came of it."""
    if run.checkpoint:
        installed(run)
    left, right = st.columns([2, 1], vertical_alignment="bottom")
    minutes = left.number_input("Minutes more", 0.1, 10080.0, 30.0, 5.0, key=f"train.more.{run.name}", format="%g")
    if right.button("Resume", icon=":material/play_circle:", width="stretch"):
        try:
            launch(run.again(float(minutes)), status)
        except TrainingError as error:
            visit().problem = refused(error)
        st.rerun()


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
        except (Refusal, OSError) as error:
            st.error(refused(error))
        else:
            st.success(f"Installed in `{target}`: choose {target.name} on any page.")
