"""What was asked for against what was measured: the plot, the slopes, and what could not be measured."""

from __future__ import annotations

from typing import Any

import streamlit as st

from engine.figures.charts import consistency_figure
from engine.vocabulary.schema import Number
from pages.components.consistency.question import one_of
from pages.components.consistency.work import COHORTS, Plan, Point, axis_title, fit_line, note, slope_table
from pages.components.parts.ruler.reader import Reader

HOVER = "seed {seed}, age {age:.0f}, BMI {bmi:.1f}"


def asked_shown(model: Any, reader: Reader, plan: Plan, points: list[Point]) -> None:
    """The measure that the reader chooses over the attribute asked for."""
    head, cohort, column = reader.ruler, COHORTS[reader.kind], model.schema[plan.attribute]
    assert isinstance(column, Number)
    shown = [name for name in head.measures if name != "intracranial_ml"]
    measure = one_of("Measure", shown, "consistency.measure", format_func=head.measures.get)
    group, seen = plan.sex or "all", [point for point in points if measure in point]
    line = fit_line(seen, measure)
    figure = consistency_figure(
        [point["requested"] for point in seen],
        [point[measure] for point in seen],
        hover=[HOVER.format_map(point) for point in seen],
        real=head.cohort.curve(measure, column.name, group),
        synthetic=line,
        titles=(axis_title(column), f"{head.measures[measure]} measured, {reader.units[measure]}"),
        span=(plan.low, plan.high),
        cohort=cohort,
    )
    st.plotly_chart(figure, key="consistency plot", config=picture(plan, measure))
    other = head.cohort.line(measure, column.name, group)
    st.table(slope_table(line, other, column, len(seen), reader.units[measure], cohort))
    st.caption(f"{head.definitions[measure]} {note(model, reader)}")


def unmeasured(points: list[Point]) -> None:
    """Say which scans could not be measured, and why."""
    if problems := [point["problem"] for point in points if point["problem"]]:
        st.warning(f"{len(problems)} of {len(points)} scans could not be measured: {problems[0]}.")


def picture(plan: Plan, *names: str) -> dict[str, Any]:
    """Settings of a figure whose camera saves a PNG file of a telling name."""
    name = "_".join(["somatwin", plan.model, *names]).replace(" ", "-")
    return {"displaylogo": False, "toImageButtonOptions": {"format": "png", "scale": 2, "filename": name}}
