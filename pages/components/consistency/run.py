"""Persons sampled over a range of one attribute, and what the ruler reads off each of them."""

from __future__ import annotations

import importlib
import io
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pandas as pd
import streamlit as st

from engine.vocabulary.schema import Cell, Number
from pages.components.address import Request, tidy
from pages.components.generation import Report, people_of, time_left
from pages.components.person_table import label, unit
from pages.components.whatif.measure import Reader, read, reader_for

Point = dict[str, Any]
#: share of a person's time that drawing takes; the rest is measuring
DRAWING = 0.5


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Which persons are asked for: ``attribute`` over ``low`` to ``high``, the rest free (or of one ``sex``); everything
    is free where there is no ``attribute``."""

    model: str
    digest: str
    attribute: str | None
    low: float
    high: float
    sex: str | None
    steps: int
    seed: int

    def request(self, column: Number | None, i: int) -> Request:
        """Person ``i``: the ends first, then ever finer between them, so that few persons cover the range already."""
        share = float(i) if i < 2 else _van_der_corput(i - 1)
        given: list[tuple[str, Cell]] = []
        if self.attribute is not None and column is not None:
            given.append((self.attribute, tidy(column, self.low + share * (self.high - self.low))))
        if self.sex is not None:
            given.append(("sex", self.sex))
        return Request(model=self.model, given=tuple(given), seed=self.seed + i, steps=self.steps)


@dataclass(frozen=True, kw_only=True)
class Run:
    """A plan being carried out: ``done`` persons were measured when it began."""

    plan: Plan
    done: int
    began: float = field(default_factory=time.monotonic)

    def report(self, bar: Any, i: int, wanted: int) -> Report:
        """For person ``i`` of ``wanted``: what is being done, and how long the whole run will take."""

        def report(fraction: float, text: str) -> None:
            share = (i - self.done + fraction) / (wanted - self.done)
            who = f"Person {i + 1} of {wanted}: {text[:1].lower()}{text[1:]}"
            bar.progress((i + fraction) / wanted, who + time_left(self.began, share))

        return report


def ended(old: Plan, new: Plan, measured: int) -> str:
    """Why a run ended of itself: the question it was to answer is no longer the one on the page."""
    if old.model != new.model:
        change, back = f"the model was changed from {old.model} to {new.model}", f"choose {old.model} again"
    elif old.digest != new.digest:
        change, back = f"the checkpoint {old.model} was replaced by another", ""
    else:
        change, back = "what to ask for was changed", "set it back"
    kept = f"; {back} to see the {measured} measured so far and go on" if back and measured else ""
    return f"The run was ended because {change}{kept}."


def _van_der_corput(i: int) -> float:
    """The i-th term of the sequence 1/2, 1/4, 3/4, 1/8, ... (base 2)."""
    share, weight = 0.0, 0.5
    while i:
        share, i, weight = share + weight * (i & 1), i >> 1, weight / 2
    return share


NOTE = (
    "Grey: the {cohort} persons with whom the ruler was made, as regressions only. Orange: people who do not exist, each "
    "drawn anew with guidance {guidance:g} (the model card says how it was chosen) and measured with the same ruler. "
    "Slopes are of straight lines. Fine detail of generated scans is unlike the cohort's and measures a little "
    "differently: compare slopes rather than levels. Agreement shows that the model follows its cohort, not what ageing or "
    "weight does to anyone."
)
#: whose regressions a ruler holds, by its kind
COHORTS = {"head": "Real", "torso": "In-silico"}


def ruler(model: Any) -> Reader:
    """The shipped ruler for what the model draws, one for all sessions; without it the page ends here with a sentence."""
    reader, problem = reader_for(model)
    if reader is None:
        st.error(problem)
        st.stop()
    return reader


def note(model: Any, reader: Reader) -> str:
    """What is grey, what is orange, and what agreement means."""
    return NOTE.format(cohort=COHORTS[reader.kind].lower(), guidance=model.checkpoint.config.guidance)


def sample_one(model: Any, measure: Any, plan: Plan, i: int, report: Report) -> Point:
    """Draw person ``i`` of the plan and measure them; ``problem`` says why a scan could not be measured."""
    request = plan.request(None if plan.attribute is None else model.schema[plan.attribute], i)
    ((found,), _) = people_of(model, request, lambda fraction, text: report(DRAWING * fraction, text))
    report(DRAWING, "measuring")
    values, problem = read(measure, found.person.volume)
    # what is sampled and measured under one name stands in the table twice
    row = {column_key(k, measure): v for k, v in found.person.attributes.items()}
    asked: Point = {"seed": request.seed}
    if plan.attribute is not None:
        asked["requested"] = dict(request.given)[plan.attribute]
    return {**asked, **row, **values, "problem": problem}


def column_key(name: str, measure: Any) -> str:
    """A column's name in a point: another than that of a measure, whether or not the scan could be measured."""
    return f"{name} (sampled)" if name in measure.measures else name


def fit_line(points: Iterable[Point], measure: str) -> Any:
    """The straight line through the points, or None while they are too few."""
    relation = importlib.import_module("engine.measure.relation")
    pairs = [(point["requested"], point[measure]) for point in points]
    try:
        return relation.Relation.fit([x for x, _ in pairs], [y for _, y in pairs])
    except relation.RelationError:
        return None


def slope_table(
    synthetic: Any, real: Any, column: Number, sampled: int, of: str = "ml", cohort: str = "Real"
) -> pd.DataFrame:
    """Slopes, in units ``of`` the measure for one of the attribute, with 95 % intervals: of ``sampled`` synthetic persons beside
    those of the ``cohort``."""
    per = f"{of} per {unit(column.unit).removesuffix('s')}"
    rows = []
    for name, relation, persons in (("Synthetic persons", synthetic, sampled), (f"{cohort} cohort", real, None)):
        found = relation.slope() if relation else None
        rows.append(
            {
                "": name,
                "persons": str(relation.n if relation else persons or ""),
                f"slope, {per}": f"{found.estimate:+.2f}"
                if found
                else "none yet"
                if persons == 0
                else "too few persons",
                "95 % interval": f"{found.low:+.2f} to {found.high:+.2f}" if found else "",
            }
        )
    return pd.DataFrame(rows).set_index("")


def to_csv(plan: Plan, points: list[Point]) -> bytes:
    """One row a person, what it takes to draw them again in the first columns."""
    stream = io.StringIO()
    table = pd.DataFrame(points).assign(synthetic="SYNTHETIC - not for diagnosis", model=plan.model, steps=plan.steps)
    first = [name for name in ("synthetic", "model", "steps", "seed", "requested") if name in table]
    table[[*first, *(name for name in table if name not in first)]].to_csv(stream, index=False, float_format="%.4f")
    return stream.getvalue().encode()


def axis_title(column: Number) -> str:
    return f"{label(column.name)} asked for, {unit(column.unit)}"
