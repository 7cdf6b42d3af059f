"""Any two of what is sampled and what is measured, beside what is known of the cohort: aggregates only."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import streamlit as st
from scipy.special import ndtri

from engine.figures.cohort import Known, pair_figure
from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number
from pages.components.consistency.view import picture
from pages.components.consistency.work import Plan, Point, cohort_of, column_key
from pages.components.parts.teaching.glossary import terms
from pages.components.state.person_table import level, titled

if TYPE_CHECKING:
    from engine.inference.generate import Model
    from engine.measure.ruler import Ruler

#: share of a cohort that the range of a column holds
MIDDLE = 0.95
#: pairs of a column and a measure; shown at first is that which the ruler has
FIRST = (("age", "brain_ml"), ("bmi", "vat"))
NOTE = (
    "Coloured: people who do not exist, of whom nothing {asked}was asked, drawn with guidance {guidance:g}. Grey: what the "
    "model and the measuring network carry of the cohort, as aggregates. {kind}"
)
KINDS = {
    "relation": "Here it is the regression over the {cohort} on whom the measuring network was calibrated.",
    "groups": "Here it is mean and SD of each sex among the {cohort} on whom the measuring network was calibrated.",
    "ranges": "Nothing is stored of how these two go together, so each stands by itself.",
    "": "Of these two nothing is stored.",
}


@dataclass(frozen=True, kw_only=True)
class Axis:
    """What can be put on an axis: its ``key`` in a point, a title with the unit, and the schema's ``column`` or the ruler's
    ``measure`` behind it."""

    key: str
    title: str
    column: Number | Category | Derived | None = None
    measure: str = ""


def axes_of(schema: AttributeSchema, ruler: Ruler) -> dict[str, Axis]:
    """Every column, then every measure, by key. What both have under one name is told apart."""
    from engine.measure.ruler import titles

    axes = []
    for name in schema.names:
        key, column = column_key(name, ruler), schema[name]
        title = titled(column) if key == name else f"{titled(column)}, in the table"
        axes.append(Axis(key=key, title=title, column=column))
    for name, title in titles(ruler).items():
        axes.append(Axis(key=name, title=f"{title}, measured", measure=name))
    return {axis.key: axis for axis in axes}


def pair_shown(model: Model, ruler: Ruler, plan: Plan, points: list[Point]) -> None:
    """The plot of a pair that the reader chooses, and how it goes together."""
    axes, places = axes_of(model.schema, ruler), st.columns(2)
    across, up = first_pair(ruler)
    with places[0]:
        x = _choice("Across", axes, f"{ruler.region.name}.x", across)
    with places[1]:
        y = _choice("Up", axes, f"{ruler.region.name}.y", up)
    known, kind = known_of(ruler, x, y, plan.sex or "all")
    seen = [point for point in points if all(_there(point.get(axis.key)) for axis in (x, y))]
    by = "sex" if "sex" in axes and plan.sex is None and "sex" not in (x.key, y.key) else None
    columns = [axes[key].column for key in {x.key, y.key, by} - {None}]
    levels = {column.name: column.levels for column in columns if isinstance(column, Category)}
    words = {each: level(name, each) for name, each_level in levels.items() for each in each_level}
    figure = pair_figure(
        (x.key, y.key), seen, [point["seed"] for point in seen], (x.title, y.title), known,
        by=by, words=words, levels=levels,
    )  # fmt: skip
    st.plotly_chart(figure, key="consistency pair", config=picture(plan, x.key, y.key))
    if not levels.keys() & {x.key, y.key}:
        st.table(together(ruler, x, y, seen, plan.sex or "all"))
    asked = f"but the sex ({level('sex', plan.sex)}) " if plan.sex else ""
    said = KINDS[kind].format(cohort=ruler.region.cohort)
    told = NOTE.format(asked=asked, guidance=model.checkpoint.config.guidance, kind=said)
    st.caption(told, help=terms("guidance", "interval"))


def first_pair(ruler: Ruler) -> tuple[str, str]:
    """The column across and the measure up that are shown at first; empty where the ruler has no such measure."""
    pairs = (*FIRST, *ruler.region.relations)
    return next((pair for pair in pairs if pair[1] in ruler.measures), ("", ""))


def _choice(title: str, axes: Mapping[str, Axis], name: str, first: str) -> Axis:
    key = f"consistency.pair.{name}"
    if st.session_state.get(key) not in axes:
        st.session_state[key] = first if first in axes else next(iter(axes))
    return axes[st.selectbox(title, list(axes), key=key, format_func=lambda each: axes[each].title)]


def _there(value: str | float | None) -> bool:
    return isinstance(value, str) or (value is not None and math.isfinite(value))


def known_of(ruler: Ruler, x: Axis, y: Axis, group: str) -> tuple[Known, str]:
    """What is stored of a pair among persons of a ``group``, the most telling of it; and which of :data:`KINDS` it is."""
    band, cohort = ruler.cohort, cohort_of(ruler)
    for upright, (one, other) in enumerate([(x, y), (y, x)]):
        if one.column is None or not other.measure:
            continue
        if relation := band.curve(other.measure, one.column.name, group):
            return Known(cohort=cohort, relation=relation, upright=bool(upright)), "relation"
        if one.key == "sex" and isinstance(one.column, Category):
            stored = band.levels.get(other.measure, {})
            groups = {s: (stored[s]["mean"], stored[s]["sd"]) for s in one.column.levels if s in stored}
            if groups:
                return Known(cohort=cohort, groups=groups, upright=bool(upright)), "groups"
    (across, said), (up, also) = (_range(ruler, axis, group) for axis in (x, y))
    kind = "ranges" if across or up else ""
    return Known(cohort=cohort, ranges=(across, up), words=(said, also)), kind


def _range(ruler: Ruler, axis: Axis, group: str) -> tuple[tuple[float, float, float] | None, str]:
    """Low, middle and high of an axis by itself, and in words whose; None where nothing is stored."""
    if isinstance(axis.column, Number) and axis.column.knots:
        ends = ndtri([(1 - MIDDLE) / 2, 0.5, (1 + MIDDLE) / 2])
        low, middle, high = (float(value) for value in axis.column.decode(np.array(ends)[:, None]))  # pyright: ignore[reportArgumentType]
        return (low, middle, high), f"Training cohort, median and middle {MIDDLE:.0%}".replace("%", " %")
    found = ruler.cohort.levels.get(axis.measure, {}).get(group)
    if found is None:
        return None, ""
    mean, sd = found["mean"], found["sd"]
    return (mean - sd, mean, mean + sd), f"{cohort_of(ruler)} cohort, mean and SD"


def together(ruler: Ruler, x: Axis, y: Axis, seen: Sequence[Point], group: str) -> pd.DataFrame:
    """Pearson's r of a pair of numbers with its 95 % interval, beside that of the cohort where it follows from what is
    stored."""
    from engine.measure.relation import Relation, RelationError

    try:
        synthetic = Relation.fit([p[x.key] for p in seen], [p[y.key] for p in seen])
    except RelationError:
        synthetic = None
    lines = (
        ruler.cohort.line(other.measure, one.column.name, group) if one.column and other.measure else None
        for one, other in ((x, y), (y, x))
    )
    real = next((line for line in lines if line), None)
    rows = []
    for name, line, none in (
        ("Synthetic persons", synthetic, "too few persons" if seen else "none yet"),
        (f"{cohort_of(ruler)} cohort", real, "not stored"),
    ):
        r = line.correlation() if line else None
        persons = str(line.n) if line else ""
        span = f"{r.low:+.2f} to {r.high:+.2f}" if r else ""
        rows.append({"": name, "persons": persons, "r": f"{r.estimate:+.2f}" if r else none, "95 % interval": span})
    return pd.DataFrame(rows).set_index("")
