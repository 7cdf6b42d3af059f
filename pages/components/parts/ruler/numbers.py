"""A measured number as a clinician reads it: rounded to what is known, beside its limit, its place, its error and its offset."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import mean
from typing import TYPE_CHECKING, Any

import pandas as pd

from engine.measure.clinical import LIMITS, NO_LIMIT, digits_known, interpretable, written
from engine.vocabulary.schema import AttributeSchema, Number
from pages.components.parts.evaluation.trust import Trust
from pages.components.state.person_table import level, unit

if TYPE_CHECKING:
    from pandas.io.formats.style import Styler

    from engine.checkpoints.example import Example
    from engine.measure.ruler import Ruler

#: fewest persons from whom an offset is told
FEWEST = 8
UNTOLD = "do not interpret"
#: readable on either background
GREY = "color: light-dark(#55636b, #9aa6ad)"


@dataclass(frozen=True, kw_only=True)
class Offset:
    """By how much a measure is read higher than it was drawn, on average over ``n`` persons of the model's example."""

    mean: float
    n: int

    def size(self, units: str, error: float) -> str:
        """``3.8 percentage points higher``."""
        more = "higher" if self.mean > 0 else "lower"
        return (
            f"{written(abs(self.mean), error)} {'percentage points' if units == '%' else units}".rstrip() + f" {more}"
        )


def in_words(n: int, what: str) -> str:
    """``On 24 persons of this model`` so and so, and why."""
    return (
        f"On {n} persons of this model {what}. What is drawn is smoother than real scans, on which the measuring network was "
        "calibrated: compare readings with readings."
    )


@dataclass(frozen=True, kw_only=True)
class Told:
    """What the checkpoint's evaluation and example say of measures, by name."""

    trust: Mapping[str, Trust] = field(default_factory=dict)
    offsets: Mapping[str, Offset] = field(default_factory=dict)

    def note(self, name: str, units: str, error: float) -> str:
        """Why a reading differs from what was drawn; nothing where it does not, on average."""
        size = self.offset(name, units, error)
        return in_words(self.offsets[name].n, f"it is read {size} than drawn") if size else ""

    def offset(self, name: str, units: str, error: float) -> str:
        """By how much a reading is higher or lower than what was drawn; nothing where it is not, on average."""
        offset = self.offsets.get(name)
        if offset is None or (math.isfinite(error) and abs(offset.mean) <= error):
            return ""
        return offset.size(units, error)


def offsets_in_words(rows: Sequence[Mapping[str, Any]], told: Told | None) -> str:
    """Why the readings of these rows differ from what was drawn, in one sentence."""
    if not rows or told is None:
        return ""
    sizes = ", ".join(f"{row['title']} {row['offset']}" for row in rows)
    n = max(told.offsets[row["name"]].n for row in rows)
    return in_words(n, f"these are read otherwise than drawn: {sizes}")


def offsets(example: Example | None, schema: AttributeSchema, ruler: Ruler) -> dict[str, Offset]:
    """The offset of each measure that the model has as a column too, by the example's persons."""
    found = {}
    for name in ruler.measures:
        if example is None or column_like(schema, name, ruler) is None:
            continue
        pairs = [(one.values.get(name, math.nan), one.row.get(name)) for one in example.people]
        apart = [read - float(str(drawn)) for read, drawn in pairs if drawn is not None and math.isfinite(read)]
        if len(apart) >= FEWEST:
            found[name] = Offset(mean=mean(apart), n=len(apart))
    return found


def column_like(schema: AttributeSchema, name: str, ruler: Ruler) -> Number | None:
    """The fitted column that says the same as a measure."""
    column = schema[name] if name in schema.names else None
    if isinstance(column, Number) and column.knots and column.unit.lower() == ruler.units[name].lower():
        return column
    return None


def limit_words(name: str, value: float, sex: str | None) -> tuple[str, str]:
    """The reference limit of a measure or column in words (``above 5 %: fatty liver``) and its source; empty without one."""
    limit = LIMITS.get(name)
    value_at = limit.of(sex) if limit else None
    if limit is None or value_at is None:
        return "", NO_LIMIT.get(name, "")
    where = limit.side if limit.crossed(value, sex) else f"not {limit.side}"
    return f"{where} {value_at:g} {limit.unit}: {limit.words}", limit.source


def place(ruler: Ruler, name: str, value: float, attributes: Mapping[str, Any]) -> tuple[float | None, str]:
    """The percentile of a value among the ruler's cohort of the person's sex and age, and who they are; None where not known."""
    sex, age = str(attributes.get("sex")), attributes.get("age")
    curves = getattr(ruler.cohort, "curves", {})
    group = sex if sex in curves else "all"
    curve = curves.get(group, {}).get("age", {}).get(name)
    if curve is None or not isinstance(age, int | float):
        return None, ""
    found = curve.percentile(float(age), value)
    if not math.isfinite(found):
        return None, ""
    who = f"{level('sex', sex)}, {age:.0f}" if group == sex else f"{age:.0f} years"
    return found, f"of {ruler.region.cohort}, {who}"


def error_of(ruler: Ruler, name: str, value: float) -> float:
    """The stated error of a reading; NaN where none is stated."""
    stated = getattr(ruler, "errors", {}).get(name)
    return math.nan if stated is None else stated.of(value)


def change_in_words(change: float, error: float, units: str) -> str:
    """A change with its error; one that is smaller than its error says that it is not to be interpreted.

    >>> change_in_words(1.2, 3.0, "mL"), change_in_words(-12.0, 3.0, "mL")
    ('+1 ± 3 mL, do not interpret', '-12 ± 3 mL')
    >>> change_in_words(70.0, math.nan, "mL")
    '+70.0 mL, no error is stated: do not interpret'
    """
    shown = "" if digits_known(error) is None else f" ± {written(error, error)}"
    why = "" if math.isfinite(error) else "no error is stated: "
    told = "" if interpretable(change, error) else f", {why}{UNTOLD}"
    return f"{signed_known(change, error)}{shown} {unit(units)}".rstrip() + told


def signed_known(change: float, error: float) -> str:
    """A change with its sign, rounded to what is known of it; one that rounds to nothing has neither sign nor digits.

    >>> signed_known(1.26, 0.1), signed_known(-0.01, 0.1)
    ('+1.3', '0')
    """
    size = written(change, error)
    if float(size) == 0:
        return "0"
    return size if change < 0 else f"+{size}"


def greyed(table: pd.DataFrame, column: str) -> Styler | pd.DataFrame:
    """The table with every row grey whose ``column`` says that it is not to be interpreted."""
    if column not in table:
        return table
    return table.style.apply(lambda row: [GREY if UNTOLD in str(row[column]) else ""] * len(row), axis=1)
