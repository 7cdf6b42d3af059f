"""Who of a cohort is looked at: filters by column, the table they leave, and what is said of a column in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pandas as pd

from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number, Row
from pages.components.state.address import seen_range
from pages.components.state.person_table import level, unit

Column = Number | Category | Derived


@dataclass(frozen=True, kw_only=True)
class Filters:
    """``ranges``: lowest and highest value kept by column, None where that end is open. ``levels``: those kept by column."""

    ranges: Mapping[str, tuple[float | None, float | None]] = field(default_factory=dict)
    levels: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def keep(self, row: Mapping[str, Any]) -> bool:
        """Does a person pass? A missing cell does not where its column is filtered."""
        for name, (low, high) in self.ranges.items():
            value = row.get(name)
            if value is None or (low is not None and value < low) or (high is not None and value > high):
                return False
        return all(row.get(name) in kept for name, kept in self.levels.items())

    def kept(self, rows: Sequence[Row]) -> list[int]:
        """The numbers of those who pass, in order."""
        return [i for i, row in enumerate(rows) if self.keep(row)]


def narrowed(span: tuple[float, float], chosen: tuple[float, float]) -> tuple[float | None, float | None] | None:
    """A slider's choice as a range: its ends are open, and None is no filter at all.

    >>> narrowed((20, 80), (20, 80)), narrowed((20, 80), (20, 60))
    (None, (None, 60))
    """
    low, high = (None if choice == end else choice for choice, end in zip(chosen, span, strict=True))
    return None if low is None and high is None else (low, high)


def span(schema: AttributeSchema, column: Number | Derived) -> tuple[float, float]:
    """The range a slider covers: that of the training cohort, of a computed column what its factors allow there."""
    if isinstance(column, Number):
        return seen_range(column)
    ends = [column.scale, column.scale]
    for name, power in column.powers:
        factor = schema[name]
        assert isinstance(factor, Number)
        low, high = sorted(value**power for value in seen_range(factor))
        ends = [ends[0] * low, ends[1] * high]
    return float(max(column.low, np.floor(ends[0]))), float(min(column.high, np.ceil(ends[1])))


def table_of(schema: AttributeSchema, rows: Sequence[Row], numbers: Sequence[int], first_seed: int) -> pd.DataFrame:
    """The persons ``numbers`` of a cohort, one row each: the seed, then every column, levels in words."""
    chosen = [rows[i] for i in numbers]
    columns: dict[str, Any] = {"seed": [first_seed + i for i in numbers]}
    for name in schema.names:
        values = [row.get(name) for row in chosen]
        column = schema[name]
        if isinstance(column, Category):
            values = [None if value is None else level(name, value) for value in values]
        columns[name] = values
    return pd.DataFrame(columns)


def decimals(column: Column) -> int:
    """Digits after the point that a reader is shown."""
    known = column.decimals if isinstance(column, Number) else None
    return 1 if known is None else min(known, 3)


def in_one_line(column: Column, rows: Sequence[Row]) -> str:
    """n, mean and SD (of a category its shares), beside the median of the training cohort.

    >>> in_one_line(Number(name="age", unit="years", low=0, high=99), [{"age": 30.0}, {"age": 50.0}])
    'n 2, mean 40.0, SD 14.1 years'
    """
    values = [row[column.name] for row in rows if row.get(column.name) is not None]
    said = f"n {len(values):,}"
    if not values:
        return said
    if isinstance(column, Category):
        counts = {each: values.count(each) for each in column.levels}
        return f"{said}: " + ", ".join(
            f"{level(column.name, each)} {count:,} ({100 * count / len(values):.0f} %)"
            for each, count in counts.items()
            if count
        )
    units = f" {unit(column.unit)}" if column.unit else ""
    numbers = np.array(values, float)
    spread = f", SD {numbers.std(ddof=1):.1f}" if len(numbers) > 1 else ""
    real = f" (training cohort: median {column.median:.1f})" if isinstance(column, Number) and column.knots else ""
    return f"{said}, mean {numbers.mean():.1f}{spread}{units}{real}"
