"""Tables as columns, and persons as points: the normalised space of numbers and categories in which distances are taken.

A table comes as a list of rows (dicts) or as a dict of equally long arrays. A missing cell is None or NaN; columns the
table lacks altogether are all missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from engine.evaluation.metrics.checks import EvaluationError
from engine.vocabulary.schema import AttributeSchema, Category

Table = Sequence[Mapping[str, Any]] | Mapping[str, Any]
#: column name to its cells: floats with NaN where missing, or an object array of strings with None where missing
Columns = dict[str, np.ndarray]


def is_missing(cell: Any) -> bool:
    return cell is None or (isinstance(cell, float | np.floating) and math.isnan(cell))


def size(table: Table) -> int:
    """Rows of a table."""
    return len(table) if not isinstance(table, Mapping) else len(next(iter(table.values()), ()))


def as_columns(table: Table, schema: AttributeSchema, *, derived: bool = True) -> Columns:
    """The schema's columns of a table, checked for kind; those derived are computed where the table lacks them.

    Cells out of range stay as they are (:func:`engine.evaluation.metrics.tabular.violations` counts them). Raises
    :class:`EvaluationError` on an empty table, columns of unequal length, and a number that is none.
    """
    count = size(table)
    if count == 0:
        raise EvaluationError("the table holds no row: give four or more")
    if isinstance(table, Mapping):
        lengths = {len(column) for column in table.values()}
        if len(lengths) > 1:
            raise EvaluationError(f"columns are {min(lengths)} to {max(lengths)} cells long: make them equally long")
    columns: Columns = {}
    for column in schema.columns:
        cells = _cells(table, column.name, count)
        columns[column.name] = _strings(cells) if isinstance(column, Category) else _numbers(column.name, cells)
    for d in schema.derived if derived else ():
        given = _numbers(d.name, _cells(table, d.name, count))
        with np.errstate(invalid="ignore", divide="ignore"):
            product = d.product(columns)
        columns[d.name] = np.where(np.isnan(given), product, given)
    return columns


def _cells(table: Table, name: str, count: int) -> list[Any]:
    if isinstance(table, Mapping):
        return list(table.get(name, [None] * count))
    return [row.get(name) for row in table]


def _strings(cells: list[Any]) -> np.ndarray:
    out = np.empty(len(cells), object)
    out[:] = [None if is_missing(cell) else str(cell) for cell in cells]
    return out


def _numbers(name: str, cells: list[Any]) -> Float[np.ndarray, " n"]:
    out = np.full(len(cells), np.nan)
    for i, cell in enumerate(cells):
        if is_missing(cell):
            continue
        try:
            out[i] = float(cell)
        except (TypeError, ValueError):
            raise EvaluationError(f"{name} of row {i} is {cell!r}, which is no number: mend or drop it") from None
        if not math.isfinite(out[i]):
            raise EvaluationError(f"{name} of row {i} is {cell!r}: leave the cell empty instead")
    return out


def present(cells: np.ndarray) -> Bool[np.ndarray, " n"]:
    """Which cells are not missing."""
    return ~np.isnan(cells) if cells.dtype != object else np.array([c is not None for c in cells], bool)


def require_present(name: str, cells: np.ndarray, side: str) -> None:
    if not present(cells).any():
        raise EvaluationError(f"column {name} is missing in every {side} row: leave it out of the schema")


@dataclass(frozen=True, kw_only=True)
class TableEncoding:
    """Rows to points in which Euclidean distance weighs every column alike; fitted on training rows.

    A number is (x - mean) / sd. A category is its one-hot vector, centred, over the root of its summed variances
    1 - sum p^2 (p the levels' frequencies): as with a number, the expected squared distance of two random persons is 2. A
    missing cell is the column's mean; where training has missing cells a standardised 0/1 column says so. Derived
    columns repeat what others say and are left out.
    """

    schema: AttributeSchema
    centre: np.ndarray
    scale: np.ndarray
    indicated: tuple[str, ...]

    @classmethod
    def fitted(cls, training: Table, schema: AttributeSchema, *, beside: Table | None = None) -> TableEncoding:
        """The space of ``training``; a column missing in a cell of training or of ``beside`` gets an indicator.

        Raises :class:`EvaluationError` on a column that training lacks in every row. A column constant in training
        counts nothing there, and a departure from it counts as one step of size 1.
        """
        columns = as_columns(training, schema, derived=False)
        for name, cells in columns.items():
            require_present(name, cells, "training")
        others = as_columns(beside, schema, derived=False) if beside is not None else {}
        indicated = tuple(
            c for c, cells in columns.items() if not present(cells).all() or not present(others.get(c, cells)).all()
        )
        raw, owners = _raw(columns, schema, indicated)
        centre, sd = np.nanmean(raw, 0), np.nanstd(raw, 0)
        scale = np.empty(len(sd))
        for owner in set(owners):
            mine = np.array([o == owner for o in owners])
            # a category's block is scaled as one, so that its rare levels do not outweigh the rest
            total = float(np.sqrt((sd[mine] ** 2).sum()))
            scale[mine] = total if total > 1e-9 else 1.0
        return cls(schema=schema, centre=centre, scale=scale, indicated=indicated)

    def __call__(self, table: Table) -> Float[np.ndarray, "n d"]:
        """Points of a table's rows. A level the schema does not know is far from all others: no one-hot is set."""
        raw, _ = _raw(as_columns(table, self.schema, derived=False), self.schema, self.indicated)
        return (np.where(np.isnan(raw), self.centre, raw) - self.centre) / self.scale

    @property
    def owners(self) -> tuple[str, ...]:
        """The column each dimension belongs to; a category has one dimension per level."""
        names = [n for c in self.schema.columns for n in [c.name] * (len(c.levels) if isinstance(c, Category) else 1)]
        return (*names, *(f"{name} missing" for name in self.indicated))


def _raw(columns: Columns, schema: AttributeSchema, indicated: tuple[str, ...]) -> tuple[np.ndarray, list[str]]:
    """Numbers, one-hot categories and missing indicators, (n, d), NaN where missing; and each dimension's column."""
    blocks, owners = [], []
    for column in schema.columns:
        cells = columns[column.name]
        if isinstance(column, Category):
            block = np.array([[np.nan if c is None else float(c == level) for level in column.levels] for c in cells])
        else:
            block = cells[:, None]
        blocks.append(block)
        owners += [column.name] * block.shape[1]
    for name in indicated:
        blocks.append((~present(columns[name])).astype(float)[:, None])
        owners.append(f"{name} missing")
    return np.concatenate(blocks, axis=1), owners


def take(columns: Columns, rows: np.ndarray) -> Columns:
    """The given rows of every column."""
    return {name: cells[rows] for name, cells in columns.items()}
