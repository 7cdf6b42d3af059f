"""Persons sampled over a range of one attribute, and what the ruler reads off each of them."""

from __future__ import annotations

import importlib
import io
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pandas as pd
import streamlit as st

from engine.attributes import Cell, Number
from pages.components.address import Request, tidy
from pages.components.generation import Report, draw
from pages.components.person_table import label, unit

Point = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which persons are asked for: ``attribute`` over ``low`` to ``high``, the rest free (or of one ``sex``)."""

    model: str
    digest: str
    attribute: str
    low: float
    high: float
    sex: str | None
    steps: int
    seed: int

    def request(self, column: Number, i: int) -> Request:
        """Person ``i``: the ends first, then ever finer between them, so that few persons cover the range already."""
        share = float(i) if i < 2 else _van_der_corput(i - 1)
        given: list[tuple[str, Cell]] = [(self.attribute, tidy(column, self.low + share * (self.high - self.low)))]
        if self.sex is not None:
            given.append(("sex", self.sex))
        return Request(model=self.model, given=tuple(given), seed=self.seed + i, steps=self.steps)


def _van_der_corput(i: int) -> float:
    """The i-th term of the sequence 1/2, 1/4, 3/4, 1/8, ... (base 2)."""
    share, weight = 0.0, 0.5
    while i:
        share, i, weight = share + weight * (i & 1), i >> 1, weight / 2
    return share


@st.cache_resource(max_entries=2, show_spinner="Loading the ruler")
def _load(path: str, changed: float) -> Any:
    del changed
    return importlib.import_module("engine.measure.head").HeadMeasure.load(path)


def ruler() -> Any:
    """The shipped head measure, one for all sessions; without it the page ends here with a sentence."""
    path = importlib.import_module("engine.measure.head").shipped() / "config.json"
    try:
        return _load(str(path.parent), path.stat().st_mtime if path.exists() else 0.0)
    except ValueError as error:
        st.error(f"Measuring is not possible: {error}.")
        st.stop()


def sample_one(model: Any, measure: Any, plan: Plan, i: int, report: Report) -> Point:
    """Draw person ``i`` of the plan and measure them; ``problem`` says why a scan could not be measured."""
    request = plan.request(model.schema[plan.attribute], i)
    (person,) = draw(model, request, report).people
    point: Point = {"seed": request.seed, "requested": dict(request.given)[plan.attribute], **person.attributes}
    try:
        return point | measure.measure(person.volume) | {"problem": ""}
    except ValueError as error:
        return point | {"problem": str(error)}


def fit_line(points: Iterable[Point], measure: str) -> Any:
    """The straight line through the points, or None while they are too few."""
    relation = importlib.import_module("engine.measure.relation")
    pairs = [(point["requested"], point[measure]) for point in points]
    try:
        return relation.Relation.fit([x for x, _ in pairs], [y for _, y in pairs])
    except relation.RelationError:
        return None


def slope_table(synthetic: Any, real: Any, column: Number) -> pd.DataFrame:
    """Slopes in ml for one unit of the attribute, with 95 % intervals, synthetic beside real."""
    per = f"ml per {unit(column.unit).removesuffix('s')}"
    rows = []
    for name, relation in (("Synthetic persons", synthetic), ("Real cohort", real)):
        found = relation.slope() if relation else None
        rows.append(
            {
                "": name,
                "persons": str(relation.n) if relation else "",
                f"slope, {per}": f"{found.estimate:+.2f}" if found else "too few persons",
                "95 % interval": f"{found.low:+.2f} to {found.high:+.2f}" if found else "",
            }
        )
    return pd.DataFrame(rows).set_index("")


def to_csv(plan: Plan, points: list[Point]) -> bytes:
    """One row a person, what it takes to draw them again in the first columns."""
    stream = io.StringIO()
    table = pd.DataFrame(points).assign(synthetic="SYNTHETIC - not for diagnosis", model=plan.model, steps=plan.steps)
    first = ["synthetic", "model", "steps", "seed", "requested"]
    table[[*first, *(name for name in table if name not in first)]].to_csv(stream, index=False, float_format="%.4f")
    return stream.getvalue().encode()


def axis_title(column: Number) -> str:
    return f"{label(column.name)} asked for, {unit(column.unit)}"
