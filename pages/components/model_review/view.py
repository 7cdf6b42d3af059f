"""A review on the page: what it is of, how much is as real, and one part at a time with its tables and figures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.anatomy.words import column_title, in_words
from engine.evaluation.report.page import number
from engine.evaluation.report.words import glosses, label_in_words, plot_in_words, sheet_in_words
from engine.figures.charts import heat_figure, ladder_figure, lines_figure
from engine.vocabulary.refusal import Refusal
from pages.components.model_review.work import ASKED, Part, Review, Worst, groups_heat, visit
from pages.components.parts.chart import saved_as
from pages.components.parts.choice import one_of
from pages.components.parts.evaluation.grade import Grade, Span
from pages.components.parts.facts import facts_list, refused
from pages.components.parts.model_picker import load_model
from pages.components.parts.viewer.viewer import viewer
from pages.components.state.address import Request
from pages.components.state.generation import draw
from pages.components.state.job import alive
from pages.components.state.person_table import capital

LADDER = (
    "0 is what real people score among themselves, 1 is what broken data score. Circles are as real, diamonds are not; "
    "triangles lie beyond the scale."
)
BESIDE = (
    "0 is what real people score among themselves, and the grey band their 95 % interval. Which side is worse depends on "
    "the figure: circles are as real, diamonds are not; triangles lie beyond the scale."
)
#: titles of the two scales, short enough for a phone
TO_BROKEN = "0: as real persons,<br>1: as broken data"
OFF_REAL = "Half widths of the<br>real 95 % interval"
ANOTHER = "The report is of other weights ({report}) than {name} here ({model}), which would draw other people."
QUIET = saved_as("somatwin_model-review")


def in_short(review: Review) -> None:
    """How many figures of each part are as real data's are."""
    counted = [(part.title, *part.judged()) for part in review.parts if part.judged()[1]]
    if not counted:
        st.info("No figure here was judged against real data: the parts below say what is known.")
        return
    for place, (title, good, judged) in zip(st.columns(max(4, len(counted))), counted, strict=False):
        word = "pass" if "udit" in title else "as real"
        place.container(border=True, height="stretch").markdown(f"**{title}**\n\n{good} of {judged} {word}")
    st.caption(
        "Figures that cannot be told from what real people score among themselves (in an audit: tests that do not alarm); "
        "no alarm is no proof."
    )


def parts_shown(review: Review) -> Part:
    """The reader's choice of a part, and what it says."""
    titles = {part.key: part.title for part in review.parts}
    chosen = review.parts[0].key
    if len(titles) > 1:
        chosen = one_of("Part", list(titles), "review.part", format_func=titles.get)
    part = next(part for part in review.parts if part.key == chosen)
    st.subheader(part.title, anchor=False)
    st.markdown(part.meaning)
    if part.grades:
        _grades(part)
    if part.remarks:
        facts_list(part.remarks)
    _plots(part)
    for sheet in part.sheets:
        _sheet(sheet)
    if part.missing:
        st.info("Not computed:" + "".join(f"\n* {in_words(sentence)}" for sentence in dict.fromkeys(part.missing)))
    if part.method:
        with st.expander("Method"):
            st.write(part.method)
    return part


def _grades(part: Part) -> None:
    grades = list(part.grades)
    meant = glosses([grade.name for grade in grades])
    if any(grade.verdict and not grade.good for grade in grades) and any(not g.verdict or g.good for g in grades):
        only = st.toggle("Only what is not as real", key=f"review.only.{part.key}")
        grades = [grade for grade in grades if grade.verdict and not grade.good] if only else grades
    st.table(grade_table(grades), alt=f"Figures of {part.title}")
    if meant:
        with st.expander("What these figures measure", icon=":material/menu_book:"):
            facts_list(meant)
    ladder = [(grade, place) for grade in grades if (place := grade.on_ladder())]
    rest = [(grade, place) for grade in grades if not grade.on_ladder() and (place := grade.beside_real())]
    if ladder:
        st.caption(LADDER)
        _ladder(part, ladder, (-0.6, 1.6), {0: "real", 1: "broken"}, None, TO_BROKEN)
    if rest:
        st.caption(BESIDE)
        _ladder(part, rest, (-3.0, 3.0), {0: "real"}, (-1.0, 1.0), OFF_REAL)


def _ladder(
    part: Part, placed: list, span: tuple[float, float], marks: dict, band: tuple[float, float] | None, title: str
) -> None:
    figure = ladder_figure(
        [grade.title for grade, _ in placed],
        [place for _, place in placed],
        [grade.good or not grade.verdict for grade, _ in placed],
        [hover(grade) for grade, _ in placed],
        span=span,
        marks=marks,
        title=title,
        band=band,
    )
    st.plotly_chart(figure, key=f"ladder {part.key} {len(marks)}", config=QUIET)


def hover(grade: Grade) -> str:
    """A figure in a few lines."""
    lines = [grade.title, f"this model: {grade.figure} {grade.unit}".rstrip(), f"real: {grade.real}"]
    lines += [f"broken: {grade.broken}"] if grade.broken else []
    return "<br>".join(escape(line) for line in [*lines, grade.verdict] if line)


def grade_table(grades: Sequence[Grade]) -> pd.DataFrame:
    """One row a figure, the verdict beside its title, so that it stays in sight where little fits; columns that nobody fills are
    left out."""
    rows = [
        {
            "Figure": grade.title,
            "Verdict": _verdict(grade),
            "This model": _own(grade),
            "Real persons": _real(grade),
            "Broken data": _text(grade.broken),
            "Note": grade.note,
        }
        for grade in grades
    ]
    table = pd.DataFrame(rows).set_index("Figure")
    return table.loc[:, (table != "").any(axis=0)]


def _real(grade: Grade) -> str:
    """What real data score, or else the target."""
    if grade.real is None and grade.target is not None:
        return f"target {grade.target:.3g}"
    return _text(grade.real)


def _own(grade: Grade) -> str:
    """What the model scores, over how many persons."""
    scored = f"{grade.figure} {grade.unit}".rstrip()
    return f"{scored}, n\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}{grade.n}" if grade.n else scored


def _verdict(grade: Grade) -> str:
    """The verdict behind its sign, which stays on its line, and the p of its test."""
    if not grade.verdict:
        return ""
    sign = "●" if grade.good else "▲"
    tested = "" if grade.p is None else f", p = {number(grade.p)}"
    return f"{sign}\N{NO-BREAK SPACE}{grade.verdict}{tested}"


def _text(value: object) -> str:
    """A number, a figure with its interval, words, or nothing."""
    if value is None:
        return ""
    if isinstance(value, Mapping):
        numbers = {key: float("nan") if value[key] is None else value[key] for key in ("value", "low", "high")}
        return str(Span(**numbers))
    return number(value) if isinstance(value, float) else str(value)


def _sheet(recorded: Mapping[str, Any]) -> None:
    sheet = sheet_in_words(recorded)
    st.markdown(f"**{sheet['title']}**")
    columns = [str(name) or " " for name in sheet["columns"]]
    columns = [name if columns.index(name) == k else f"{name} ({k})" for k, name in enumerate(columns)]
    table = pd.DataFrame([[_text(cell) for cell in row] for row in sheet["rows"]], columns=pd.Index(columns))
    st.table(table.set_index(columns[0]), alt=str(sheet["title"]))
    if sheet["note"]:
        st.caption(str(sheet["note"]))


def _plots(part: Part) -> None:
    cells, columns, rows = groups_heat(part)
    if len(cells) > 1:
        st.markdown("**Reading error of a group beside the mean of all groups, %**")
        figure = heat_figure(
            cells,
            [column_title(name) for name in columns],
            [label_in_words(row) for row in rows],
            titles=("Attribute that is read", "Group"),
            digits=0,
        )
        st.plotly_chart(figure, key=f"heat {part.key}", config=QUIET)
    plots = [plot_in_words(plot) for plot in part.plots]
    lines = [plot for plot in plots if plot["kind"] == "line"]
    for place, plot in zip(st.columns(2) * len(lines), lines, strict=False):
        place.markdown(f"**{plot['title']}**")
        figure = lines_figure(plot["series"], (capital(plot["x"]), capital(plot["y"])))
        place.plotly_chart(figure, key=f"{part.key} {plot['title']}", config=QUIET)
        place.caption(str(plot["note"]))
    for plot in [p for p in plots if p["kind"] == "heat" and p["series"]["rows"]]:
        series = plot["series"]
        st.markdown(f"**{plot['title']}**")
        rows, titles = series.get("rows_labels", series["labels"]), (capital(plot["x"]), capital(plot["y"]))
        figure = heat_figure(series["rows"], series["labels"], rows, titles=titles)
        st.plotly_chart(figure, key=f"{part.key} {plot['title']}", config=QUIET)


def asked_parts(part: Part) -> bool:
    """Does the part show persons asked for several values of an attribute?"""
    return any(str(plot["title"]).startswith(ASKED) for plot in part.plots)


def worst_persons(name: str, review: Review, persons: list[Worst], status: DeltaGenerator) -> None:
    """Those whose scans show least what was asked for, drawn again when the reader wants to see one."""
    st.subheader("Worst persons", anchor=False)
    st.caption(
        "Synthetic persons whose scans are read farthest from where a real person's would be. Nobody here exists."
    )
    labels = [person.in_words() for person in persons]
    chosen = persons[labels.index(st.radio("Person", labels, key="review.worst", label_visibility="collapsed"))]
    model = load_model(name)
    if model.digest != review.digest:
        st.info(ANOTHER.format(report=review.digest, name=name, model=model.digest))
        return
    if review.guidance not in (None, model.checkpoint.config.guidance):
        st.caption(f"The report drew with guidance {review.guidance:g}; here it is the model's own.")
    given = ((chosen.attribute, chosen.asked),)
    request = Request(model=name, given=given, seed=chosen.seed, steps=review.steps)
    if st.button("Draw this person again", icon=":material/person_search:"):
        bar = status.progress(0.0, "Starting")
        try:
            with alive(bar.progress) as report:
                visit().drawn = draw(model, request, report)
        except Refusal as error:
            st.error(refused(error))
        bar.empty()
    drawn = visit().drawn
    if drawn is not None and (drawn.request, drawn.digest) == (request, model.digest):
        viewer(drawn.scene)
