"""A what-if on the page: both scans, measures with their error bars, where the change lies, sweeps, and files."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.vocabulary.schema import AttributeSchema
from pages.components.parts.chart import saved_as
from pages.components.parts.heart.panel import heart_panel
from pages.components.parts.mask.asked import NOTE
from pages.components.parts.ruler.numbers import greyed
from pages.components.parts.session_file import session_of_whatif
from pages.components.parts.viewer.films import KINDS, marks_in_words
from pages.components.parts.viewer.page import scene_page
from pages.components.parts.viewer.viewer import sweep_viewer, viewer
from pages.components.state.intervention import Question
from pages.components.state.person_table import label, unit
from pages.components.whatif.answer import NOTHING_SET, Answer
from pages.components.whatif.figures import grid_figure, sweep_figure
from pages.components.whatif.plans import grid_controls, sweep_controls
from pages.components.whatif.scenes import scan_scene
from pages.components.whatif.sweep import (
    movie_of_cycles,
    movie_of_sweep,
    played_of,
    played_scene,
    whatif_sheet,
)
from pages.components.whatif.tables import (
    CHANGE,
    DRIFT,
    MEASURED,
    NULL,
    OWN_ERROR,
    SIZES,
    limits_in_words,
    measure_table,
    place_table,
    places_in_words,
    sex_of,
)
from pages.components.whatif.upload import Scan
from pages.components.whatif.visit import Plan, visit

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.ruler import Ruler

#: which of the scenes is shown, and the name of the sweep among them
SHOWN, SWEPT = "whatif.shown", "Sweep"
NO_FILM = "Offered once all values are drawn in full."


def answer_shown(model: Model, found: Answer | None) -> bool:
    """Before beside after and the tables, or the sweep that was drawn last; False where there is neither."""
    here, names = visit(), list(found.scenes) if found else []
    plan = here.sweep if here.sweep and here.sweep.base.digest == model.digest else None
    if plan and len(played_of(here, plan)[0]) > 1:
        names.append(SWEPT)
    if not names:
        return False
    if SWEPT in names and here.swept:
        st.session_state[SHOWN] = SWEPT
        here.swept = False
    elif st.session_state.get(SHOWN) not in names or (here.wanted and here.wanted[-1][1]):
        st.session_state[SHOWN] = names[0]
    name = names[0]
    if len(names) > 1:
        name = str(st.segmented_control("Shown", names, key=SHOWN, required=True))
    if name == SWEPT and plan:
        _sweep_shown(model, plan)
    elif found:
        viewer(found.scenes[name], key="whatif viewer")
    if found:
        show_tables(found)
    return True


def _sweep_shown(model: Model, plan: Plan) -> None:
    """The sweep in the viewer, and the files it is taken away as."""
    here = visit()
    scene, (_, draft) = played_scene(model, here, plan), played_of(here, plan)
    sweep_viewer(scene, key="whatif sweep viewer")
    with _sweep_films(model, plan, here.found(), "viewer", draft):
        name = f"{_sweep_name(plan)}.html"
        st.download_button(
            "Scene as HTML", partial(scene_page, scene), name, "text/html", on_click="ignore", icon=":material/html:",
            help=NO_FILM if draft else "This viewer and the sweep in one file, which opens offline.", disabled=draft,
        )  # fmt: skip


def _sweep_films(
    model: Model, plan: Plan, answers: Mapping[Question, Answer], place: str, waits: bool
) -> DeltaGenerator:
    """A row with the sweep as a film of each kind, for one ``place`` of the page, which ``waits`` until it is drawn in full;
    returns the row."""
    row = st.container(horizontal=True, vertical_alignment="center")
    for kind, (_, type) in KINDS.items():
        row.download_button(
            f"Sweep as {kind.upper()}", partial(movie_of_sweep, model, plan, answers, kind), f"{_sweep_name(plan)}.{kind}", type,
            on_click="ignore", icon=":material/movie:", key=f"whatif sweep {kind} {place}",
            help=NO_FILM if waits else "Made when you press it, which takes some seconds.", disabled=waits,
        )  # fmt: skip
    return row


def _sweep_name(plan: Plan) -> str:
    seed = "scan" if plan.base.scan else f"seed-{plan.base.seed}"
    return f"somatwin_{plan.base.model}_{seed}_sweep-{plan.columns[0]}"


def scan_shown(model: Model, scan: Scan) -> None:
    """An uploaded scan as it was taken in, beside what the model reads off it."""
    if scan.columns:
        told = "**Your scan, real, not synthetic, and what the model reads off it.** Correct on the left what you know, and say what is "
        told += "to be otherwise."
    else:
        told = "**Your scan, real, not synthetic, on the model's grid.** What the model reads off it follows."
    st.markdown(told)
    viewer(scan_scene(model, scan), key="whatif viewer")


def plans_shown(model: Model, current: Question, ruler: Ruler | None) -> dict[str, DeltaGenerator]:
    """One attribute swept, two over a grid; the places beside their buttons, for progress."""
    from engine.measure.ruler import titles

    here = visit()
    measures = titles(ruler) if ruler else {}
    one, two = st.tabs(["Sweep one attribute", "Grid of two attributes"])
    places = {}
    with one:
        if plan := sweep_controls(model.schema, current):
            here.sweep = plan
            here.want(plan.questions, whole=False)
            here.swept = True
        places["sweep"] = st.empty()
        if (plan := here.sweep) and _plan_fits(plan, model, current):
            show_sweep(model, plan, here.found(), measures)
    with two:
        if plan := grid_controls(model.schema, current):
            here.grid = plan
            here.want(plan.questions, whole=False)
        places["grid"] = st.empty()
        if (plan := here.grid) and _plan_fits(plan, model, current):
            show_grid(model.schema, plan, here.found())
    return places


def _plan_fits(plan: Plan, model: Model, current: Question) -> bool:
    """Is the plan one of this model? Says where the controls have moved on."""
    if plan.base.digest != model.digest:
        return False
    if plan.base != current:
        st.caption(":orange[:material/history: Older than the controls on the left.]")
    return True


def show_tables(answer: Answer) -> None:
    """The tables side by side, each with what it means."""
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.header("Measured on both scans", anchor=False)
        if answer.measured:
            sexes = (sex_of(answer.rows[0]), sex_of(answer.rows[1]))
            table = measure_table(answer.measured, dict(answer.question.change), sexes)
            drift = DRIFT if NOTHING_SET in table else ""
            st.table(greyed(table, CHANGE))
            st.caption(f"{MEASURED}{drift}{limits_in_words(answer.measured, sexes)}")
        else:
            st.caption(f"Nothing is measured: {answer.problem}." if answer.problem else "Nothing is measured.")
        _asked(answer)
    with right:
        st.header("Where the change lies", anchor=False)
        places = place_table(answer)
        st.table(places)
        st.caption(f"{SIZES}{NULL if OWN_ERROR in places.index else ''}")
        st.caption(places_in_words(answer))
    heart_panel(
        answer.hearts, key="whatif", table=not answer.measured, error=_error(answer)
    )  # it would repeat the one above


def _error(answer: Answer) -> Callable[[str, float], float]:
    """The errors to which the table of measures is rounded, the same before and after."""
    stated = {row.name: row.error for row in answer.measured}
    return lambda name, value: stated.get(name, math.nan)


def _asked(answer: Answer) -> None:
    """Of an edited mask: what its regions were to measure, and what the ruler reads."""
    if answer.question.edit is None:
        return
    if answer.follow:
        names = ", ".join(label(name) for name in answer.follow)
        st.caption(f"Follows the mask: {names}. The table beside the scans says by how much.")
    if not answer.asked.empty:
        with st.expander("Mask against scan", icon=":material/compare_arrows:", expanded=True):
            st.table(answer.asked)
            st.caption(NOTE)


def show_sweep(model: Model, plan: Plan, answers: Mapping[Question, Answer], titles: Mapping[str, str]) -> None:
    """What is measured in what is drawn so far, over the attribute; ``titles`` are of the measures. The scans play above."""
    total, (played, draft) = len(plan.questions), played_of(visit(), plan)
    found = [(value, answers[one]) for value, one in zip(plan.values(0), plan.questions, strict=True) if one in answers]
    if draft and played:
        st.caption(f"Drafts of all {total} values play in the viewer above; {len(found)} of {total} are drawn in full.")
    elif found:
        st.caption(f"{len(found)} of {total} values drawn. They play in the viewer above: choose {SWEPT} there.")
    if not found:
        return
    measures = [name for name in titles if math.isfinite(found[0][1].read.get(name, math.nan))]
    measure = _measure_chosen(measures, titles) if measures else ""
    column: Any = model.schema[plan.columns[0]]
    _sweep_films(model, plan, answers, "chart", len(found) < total)
    if not measure:
        return
    figure = sweep_figure(
        [value for value, _ in found],
        [one.read.get(measure, math.nan) for _, one in found],
        (label(column.name), titles[measure]),
        unit(column.unit),
        marks_of(plan.base),
    )
    st.plotly_chart(figure, key="whatif sweep plot", config=charted(plan.base, "sweep"))


def _measure_chosen(measures: list[str], titles: Mapping[str, str]) -> str:
    key = "whatif.sweep.measure"
    if st.session_state.get(key) not in measures:
        st.session_state[key] = measures[0]
    return str(
        st.segmented_control(
            "Measured", measures, key=key, required=True, format_func=lambda one: titles[one].partition(",")[0]
        )
    )


def show_grid(schema: AttributeSchema, plan: Plan, answers: Mapping[Question, Answer]) -> None:
    """The small multiples of what is drawn so far."""
    found = [answers.get(question) for question in plan.questions]
    if not any(found):
        return
    across, down = (list(dict.fromkeys(plan.values(k))) for k in range(2))
    pictures = [one.axial if one else None for one in found]
    rows = [pictures[k : k + len(across)] for k in range(0, len(pictures), len(across))]
    columns: list[Any] = [schema[name] for name in plan.columns]
    titles = [f"{label(column.name)}, {unit(column.unit)}" for column in columns]
    st.plotly_chart(
        grid_figure(rows, (titles[0], across), (titles[1], down), marks_of(plan.base)),
        key="whatif grid plot",
        config=charted(plan.base, "grid"),
    )
    drawn = sum(one is not None for one in found)
    st.caption(f"{drawn} of {len(found)} drawn: the same person, axial slices, the patient's right on the left.")


def marks_of(question: Question) -> str:
    """The line below every figure of a what-if."""
    return marks_in_words(question.model, question.origin(), question.digest)


def charted(question: Question, what: str) -> dict[str, Any]:
    """How a chart is saved as a picture: large, and named by whose it is."""
    name = f"somatwin_{question.model}_{'scan' if question.scan else f'seed-{question.seed}'}_{what}"
    return saved_as(name)


def _pictures(model: Model, found: Answer) -> None:
    """The what-if as a page, as a scene, and as the body turned."""
    question = found.question
    name = f"somatwin_{question.model}_{'scan' if question.scan else f'seed-{question.seed}'}_whatif"
    scene = next(iter(found.scenes.values()))
    with st.popover("Pictures", icon=":material/photo_library:"):
        st.download_button("Page as PDF", partial(whatif_sheet, model, found), f"{name}.pdf", "application/pdf", on_click="ignore",
                           width="stretch", help="One page to print: both scans and both tables.")  # fmt: skip
        st.download_button("Scene as HTML", partial(scene_page, scene), f"{name}.html", "text/html", on_click="ignore",
                           width="stretch", help="This viewer and both scans in one file, which opens offline.")  # fmt: skip
        if found.scan.phases > 1:
            for kind, (_, type) in KINDS.items():
                st.download_button(f"Both cycles as {kind.upper()}", partial(movie_of_cycles, model, found, kind), f"{name}_cycle.{kind}",
                                   type, on_click="ignore", width="stretch", help="Before and after, beating together.")  # fmt: skip
        st.markdown(
            ":small[Save image, above the scan, saves a PNG; a sweep is offered as MP4 and GIF below the viewer.]"
        )


def concluded(model: Model, found: Answer, current: Question, status: DeltaGenerator) -> None:
    """Say what is shown, put it into the page's address, and offer its files."""
    here = visit()
    older = found.question != current
    if not older:
        here.address.write(current.to_query())
    with status.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        words = "Older than the controls: press Draw" if older else f"Drawn in {found.seconds:.1f} s"
        st.caption(f":orange[:material/history: {words}]" if older else words, width="content")
        _pictures(model, found)
        if not found.question.scan:
            data = session_of_whatif(found.question).to_bytes
            st.download_button(
                "Session", data, "somatwin_whatif_session.json", "application/json", on_click="ignore", type="tertiary",
                icon=":material/bookmark:", help="A small file: open it on Overview to come back to this what-if.",
            )  # fmt: skip
        if (file := here.file) and file[0] == found.question:
            icon = ":material/download:"
            st.download_button(
                "Download", file[1], "somatwin_whatif.zip", "application/zip", on_click="ignore", icon=icon
            )
            return
        about = "NIfTI before and after, their difference, and whatif.json. This draws the what-if once more."
        st.button(
            "Prepare files", icon=":material/folder_zip:", help=about, on_click=partial(here.write, found.question)
        )
