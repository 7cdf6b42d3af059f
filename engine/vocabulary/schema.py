"""A person's table: a schema of columns (:mod:`engine.vocabulary.columns`), and its state in the joint model.

A derived column is a product of powers of modelled ones, ``weight = bmi * (height / 100) ** 2``. It is computed, never
generated, so the identity holds to the last digit. A row is a dict from column name to a float, a str, or None where the
cell is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from engine.vocabulary.columns import AttributeValueError, Category, Derived, Number
from engine.vocabulary.row import Cell, Row

#: relative disagreement at which a given triple such as height, weight, bmi is refused
INCONSISTENT = 0.01
#: how far inside its possible range a derived value is put that would lie outside, relative
EDGE = 0.005

__all__ = ["AttributeSchema", "AttributeValueError", "Category", "Cell", "Derived", "Number", "Row"]


@dataclass(frozen=True, kw_only=True)
class AttributeSchema:
    """The columns of a cohort, in order: modelled ones, each a token, and those derived from them.

    The diffused state of n persons is (n, k, d): k columns, d the widest code, zero where ``mask`` (k, d) is False.
    """

    columns: tuple[Number | Category, ...]
    derived: tuple[Derived, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.names)) < len(self.names):
            raise AttributeValueError(f"two columns share a name: {', '.join(self.names)}; rename one")
        numbers = {c.name for c in self.columns if isinstance(c, Number)}
        for d in self.derived:
            for name, _ in d.powers:
                if name not in numbers:
                    raise AttributeValueError(
                        f"{d.name} is derived from {name}, which is no numeric column of this schema"
                    )

    @property
    def names(self) -> tuple[str, ...]:
        """All columns, modelled and then derived."""
        return tuple(c.name for c in (*self.columns, *self.derived))

    @property
    def mask(self) -> Bool[np.ndarray, "k d"]:
        return np.arange(max(c.width for c in self.columns))[None] < np.array([c.width for c in self.columns])[:, None]

    def __getitem__(self, name: str) -> Number | Category | Derived:
        for column in (*self.columns, *self.derived):
            if column.name == name:
                return column
        raise AttributeValueError(f"there is no column {name!r} here: the columns are {', '.join(self.names)}")

    def index(self, name: str) -> int:
        """Position of a modelled column among the k tokens."""
        self[name]
        return [c.name for c in self.columns].index(name)

    def fitted(self, rows: Sequence[Mapping[str, Any]]) -> AttributeSchema:
        """The schema with every column fitted to the present cells of ``rows`` (the training split)."""
        columns = tuple(c.fitted([r[c.name] for r in rows if not _missing(r.get(c.name))]) for c in self.columns)
        return replace(self, columns=columns)

    def resolve(self, given: Mapping[str, Any]) -> Row:
        """Check a request and work out the modelled columns it determines.

        Values come back as given. Any two of a derived triple (height, bmi, weight) determine the third; a derived
        value that leaves two factors open, or that contradicts them by over 1%, is refused with the remedy.
        """
        row: Row = {}
        for name, value in given.items():
            if not _missing(value):
                self[name].check(value)
                row[name] = value
        for d in self.derived:
            if d.name not in row:
                continue
            unknown = [name for name, _ in d.powers if name not in row]
            if len(unknown) > 1:
                fault = f"{d.name} {row[d.name]} alone leaves {' and '.join(unknown)} open"
                raise AttributeValueError(f"{fault}: give {' or '.join(unknown)} with it")
            if unknown:
                row[unknown[0]] = self[unknown[0]].check(d.solve(row, unknown[0]))
                continue
            implied = d.value(row)
            if implied is not None and abs(implied / float(row[d.name]) - 1) > INCONSISTENT:  # pyright: ignore[reportArgumentType]
                fault = f"{d.name} {row[d.name]} contradicts {', '.join(f'{n} {row[n]}' for n, _ in d.powers)}"
                raise AttributeValueError(f"{fault} (they make {implied:.1f}): leave one free")
        return row

    def encode(
        self, rows: Sequence[Mapping[str, Any]], rng: np.random.Generator | None = None
    ) -> tuple[Float[np.ndarray, "n k d"], Bool[np.ndarray, "n k"]]:
        """Rows to the diffused state and to which cells are known; a missing cell is 0 and not known.

        A value that owns an interval of scores stands in its middle, or with ``rng`` anywhere in it.
        """
        mask = self.mask
        state, known = np.zeros((len(rows), *mask.shape), np.float32), np.zeros((len(rows), len(self.columns)), bool)
        for k, column in enumerate(self.columns):
            present = [i for i, row in enumerate(rows) if not _missing(row.get(column.name))]
            if not present:
                continue
            cells = np.array([column.check(rows[i][column.name]) for i in present])
            state[present, k, : column.width] = column.encode(cells, rng)
            known[present, k] = True
        return state, known

    def decode(self, state: Float[np.ndarray, "n k d"], given: Sequence[Mapping[str, Any]] | None = None) -> list[Row]:
        """The state to rows, given cells put back exactly as given, derived columns computed."""
        cells = [column.decode(state[:, k, : column.width]) for k, column in enumerate(self.columns)]
        rows: list[Row] = [
            dict(zip([c.name for c in self.columns], values, strict=True)) for values in zip(*cells, strict=True)
        ]
        for i, row in enumerate(rows):
            row.update({k: v for k, v in (given[i] if given else {}).items() if not _missing(v)})
            for d in self.derived:
                held = given[i] if given else {}
                self._within_range(d, row, [name for name, _ in d.powers if _missing(held.get(name))])
                row.setdefault(d.name, d.value(row))
        return rows

    def _within_range(self, d: Derived, row: Row, free: Sequence[str]) -> None:
        """Move the first ``free`` factor of a derived column so that the column lies in its possible range."""
        value = d.value(row)
        if value is None or not free or d.low <= value <= d.high:
            return
        # a little inside, so that the rounding of a factor does not lead out again
        inside = {d.name: d.low * (1 + EDGE) if value < d.low else d.high * (1 - EDGE)}
        column = self[free[0]]
        moved = d.solve({**row, **inside}, free[0])
        assert isinstance(column, Number)
        row[free[0]] = round(
            min(max(moved, column.low), column.high), 6 if column.decimals is None else column.decimals
        )

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready description; :meth:`from_json` restores it exactly."""
        columns = [{"kind": type(c).__name__.lower(), **asdict(c)} for c in self.columns]
        return {"columns": columns, "derived": [_stored(d) for d in self.derived]}

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> AttributeSchema:
        kinds = {"number": Number, "category": Category}
        try:
            columns = tuple(kinds[c["kind"]](**_frozen(c)) for c in stored["columns"])
            return cls(columns=columns, derived=tuple(Derived(**_frozen(d)) for d in stored["derived"]))
        except (KeyError, TypeError) as error:
            raise AttributeValueError(
                f"the stored schema is not readable ({error}); use the version that wrote it"
            ) from None


def _stored(column: Derived) -> dict[str, Any]:
    """As JSON; without wholes where there are none, as older versions read it."""
    fields = asdict(column)
    return fields if column.wholes else {key: value for key, value in fields.items() if key != "wholes"}


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _frozen(fields: Mapping[str, Any]) -> dict[str, Any]:
    def freeze(value: Any) -> Any:
        return tuple(map(freeze, value)) if isinstance(value, list) else value

    return {key: freeze(value) for key, value in fields.items() if key != "kind"}
