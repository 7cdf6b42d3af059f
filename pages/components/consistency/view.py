"""What was asked for against what was measured: the plot, the slopes, and what could not be measured."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import TYPE_CHECKING, Any

import pandas as pd
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from engine.figures.charts import consistency_figure
from engine.vocabulary.schema import Number
from pages.components.consistency.work import Plan, Point, cohort_of, number, to_csv, visit
from pages.components.parts.chart import saved_as
from pages.components.parts.choice import one_of
from pages.components.parts.heart.panel import Shown, heart_panel
from pages.components.parts.mask.asked import NOTE as NOTE_OF_MASKS
from pages.components.parts.mask.asked import persons_table
from pages.components.parts.ruler.numbers import error_of
from pages.components.parts.ruler.reader import reading_of, region_drawn
from pages.components.parts.teaching.example import marked
from pages.components.parts.teaching.glossary import terms
from pages.components.state.generation import person_kept
from pages.components.state.overlay import titles_of
from pages.components.state.person_table import label, unit

if TYPE_CHECKING:
    from engine.checkpoints.example import Example
    from engine.inference.generate import Model
    from engine.measure.relation import Relation
    from engine.measure.ruler import Ruler

NOTE = (
    "Grey: the {cohort} on whom the measuring network was calibrated, as regressions only. Orange: people who do not exist, each "
    "drawn anew with guidance {guidance:g} (the model card says how it was chosen) and measured by the same network. "
    "Slopes are of straight lines. Fine detail of generated scans is unlike the cohort's and measures a little "
    "differently: compare slopes rather than levels. Agreement shows that the model follows its cohort, not what ageing or "
    "weight does to anyone."
)
#: the first persons of a plan are the ends of what it asks
ENDS = 2
EMPTY = "Nobody was drawn for these settings yet: press Sample and measure."
HOVER = "seed {seed}, age {age:.0f}, BMI {bmi:.1f}"


def asked_shown(model: Model, ruler: Ruler, plan: Plan, points: list[Point]) -> None:
    """The measure that the reader chooses over the attribute asked for."""
    cohort = cohort_of(ruler)
    column = number(model.schema, plan.attribute)
    assert column is not None
    shown = [name for name in ruler.measures if name != "intracranial_ml"]
    measure = one_of("Measure", shown, "consistency.measure", format_func=ruler.measures.get)
    group, seen = plan.sex or "all", [point for point in points if measure in point]
    line = fit_line(seen, measure)
    figure = consistency_figure(
        [point["requested"] for point in seen],
        [point[measure] for point in seen],
        hover=[HOVER.format_map(point) for point in seen],
        real=ruler.cohort.curve(measure, column.name, group),
        synthetic=line,
        titles=(axis_title(column), f"{ruler.measures[measure]} measured, {unit(ruler.units[measure])}"),
        span=(plan.low, plan.high),
        cohort=cohort,
    )
    st.plotly_chart(figure, key="consistency plot", config=picture(plan, measure))
    other = ruler.cohort.line(measure, column.name, group)
    st.table(slope_table(line, other, column, len(seen), unit(ruler.units[measure]), cohort))
    st.caption(f"{ruler.definitions[measure]} {note(model, ruler)}", help=terms("guidance", "slope", "interval"))


def cycles_shown(model: Model, ruler: Ruler, plan: Plan, points: list[Point]) -> None:
    """Of hearts the cycles of both ends of what was asked, the first two who were drawn, side by side."""
    region, column = region_drawn(model), number(model.schema, plan.attribute)
    if region is None or region.phases < 2 or column is None or len(points) < ENDS:
        return
    hearts = [heart for i in range(ENDS) if (heart := _heart(model, plan, column, i)) is not None]
    heart_panel(hearts, key="consistency", error=partial(error_of, ruler))


def _heart(model: Model, plan: Plan, column: Number, i: int) -> Shown | None:
    """The cycle of person ``i``, read once; None where they are no longer kept, or nothing was read."""
    read, request = visit().hearts, plan.request(column, i)
    key = (model.digest, request)
    if key not in read:
        person = person_kept(model, request)
        found = None if person is None else reading_of(model, person.volume)
        if person is None or found is None:
            return None
        title = f"{label(column.name)} {dict(request.given)[column.name]:g} {unit(column.unit)} asked for"
        read[key] = Shown(title=title, reading=found, row=person.attributes, seconds=person.volume.cycle)
    return read[key]


def unmeasured(points: list[Point]) -> None:
    """Say which scans could not be measured, and why."""
    if problems := [point["problem"] for point in points if point["problem"]]:
        st.warning(f"{len(problems)} of {len(points)} scans could not be measured: {problems[0]}.")


def masks_shown(model: Model, points: list[Point]) -> None:
    """Of persons drawn together with a mask: its volumes against those read off the scans."""
    if not model.has_mask:
        return
    table = persons_table(points, titles_of(model))
    if table.empty:
        return
    with st.expander("Mask against scan", icon=":material/compare_arrows:", expanded=True):
        st.table(table)
        st.caption(f"Means over the persons, the difference with its SD. {NOTE_OF_MASKS}")


def picture(plan: Plan, *names: str) -> dict[str, Any]:
    """Settings of a figure whose camera saves a PNG file of a telling name."""
    return saved_as("_".join(["somatwin", plan.model, *names]).replace(" ", "-"))


def note(model: Model, ruler: Ruler) -> str:
    """What is grey, what is orange, and what agreement means."""
    return NOTE.format(cohort=ruler.region.cohort, guidance=model.checkpoint.config.guidance)


def fit_line(points: Iterable[Point], measure: str) -> Relation | None:
    """The straight line through the points, or None while they are too few."""
    from engine.measure.relation import Relation, RelationError

    pairs = [(point["requested"], point[measure]) for point in points]
    try:
        return Relation.fit([x for x, _ in pairs], [y for _, y in pairs])
    except RelationError:
        return None


def slope_table(
    synthetic: Relation | None,
    real: Relation | None,
    column: Number,
    sampled: int,
    of: str = "ml",
    cohort: str = "Real",
) -> pd.DataFrame:
    """Slopes, in units ``of`` the measure for one of the attribute, with 95 % intervals: of ``sampled`` synthetic persons beside
    those of the ``cohort``."""
    per = f"{of} per {unit(column.unit).removesuffix('s')}"
    rows = []
    for name, relation, persons in (("Synthetic persons", synthetic, sampled), (f"{cohort} cohort", real, None)):
        found = relation.slope() if relation else None
        none = "none yet" if persons == 0 else "too few persons"
        rows.append(
            {
                "": name,
                "persons": str(relation.n if relation else persons or ""),
                f"slope, {per}": f"{found.estimate:+.2f}" if found else none,
                "95 % interval": f"{found.low:+.2f} to {found.high:+.2f}" if found else "",
            }
        )
    return pd.DataFrame(rows).set_index("")


def axis_title(column: Number) -> str:
    return f"{label(column.name)} asked for, {unit(column.unit)}"


def said(plan: Plan) -> None:
    """Why the run of another plan ended of itself, or what was refused."""
    here = visit()
    if here.ended is not None and here.ended[0] != plan:
        st.warning(here.ended[1], icon=":material/stop_circle:")
    if here.problem:
        st.warning(here.problem, icon=":material/error:")


def opened(example: Example | None, plan: Plan, points: list[Point]) -> None:
    """Say that the persons shown are those of the example, or that there is nobody yet."""
    if example and points and visit().example[1].get(plan) == points:
        marked(example, "Press Sample and measure for more, or change what is asked on the left.")
    elif not points and visit().running is None:
        st.info(EMPTY)


def concluded(plan: Plan, points: list[Point], wanted: int, status: DeltaGenerator) -> None:
    """Say how many persons were measured, and offer them as a table."""
    if not points:
        return
    there = f"{len(points)} of {wanted}" if len(points) < wanted else f"{len(points)}"
    with status.container(horizontal=True, horizontal_alignment="right", vertical_alignment="center"):
        st.caption(f"{there} persons measured", width="content")
        table = to_csv(plan, points)
        name, icon = "somatwin_consistency.csv", ":material/download:"
        st.download_button("Download", table, name, "text/csv", on_click="ignore", icon=icon)
