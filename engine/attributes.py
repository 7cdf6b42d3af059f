"""A person's table: which columns there are, and the fixed code in which they are diffused.

Formalism (TabSyn's token per column, arXiv 2310.09656; the codes are fixed, not learned):

* a number is its normal score, ``z = Phi^-1(F(y))``, F the quantile function fitted on the training split, linear
  between knots and linear beyond them;
* a category with L levels is a vertex of the regular simplex in L - 1 dimensions, scaled so that equally frequent
  levels have variance 1 in every dimension; it is decoded by the nearest vertex;
* a derived column is a product of powers of modelled ones, ``weight = bmi * (height / 100) ** 2``. It is computed,
  never generated, so the identity holds to the last digit.

A row is a dict from column name to a float, a str, or None where the cell is missing.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.special import ndtr, ndtri

Cell = float | int | str | None
Row = dict[str, Cell]
#: quantiles kept of a column; few enough that no stored number is one person's
KNOTS = 33
#: relative disagreement at which a given triple such as height, weight, bmi is refused
INCONSISTENT = 0.01


class AttributeValueError(ValueError):
    """A cell or a request that the schema refuses; the message names the value and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A numeric column in ``unit``, possible between ``low`` and ``high``; ``knots`` are its fitted quantiles."""

    name: str
    unit: str
    low: float
    high: float
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    description: str = ""

    @property
    def width(self) -> int:
        return 1

    @property
    def seen(self) -> tuple[float, float]:
        """The range the training cohort covers (its outer quantiles), or the possible range when not fitted."""
        return (self.knots[0], self.knots[-1]) if self.knots else (self.low, self.high)

    def check(self, value: Any) -> float:
        """``value`` as a float; raises :class:`AttributeValueError` when it is no number or impossible."""
        try:
            number = float(value)
        except (TypeError, ValueError):
            number = math.nan
        if not self.low <= number <= self.high:
            bounds = f"{self.low:g} to {self.high:g} {self.unit}".rstrip()
            raise AttributeValueError(f"{self.name} {value!r} is not possible here: give a number from {bounds}")
        return number

    def fitted(self, values: Sequence[float]) -> Number:
        """The column with knots at quantiles of ``values``; raises when fewer than two differ."""
        if (distinct := len(set(values))) < 2:
            fault = f"column {self.name} has {distinct} distinct values in the training split"
            raise AttributeValueError(f"{fault}: leave it out, or give more rows")
        m = min(KNOTS, max(2, len(values) // 3))
        probabilities = (np.arange(m) + 0.5) / m
        knots, where = np.unique(np.quantile(np.asarray(values, float), probabilities), return_inverse=True)
        scores = np.bincount(where, ndtri(probabilities)) / np.bincount(where)
        if len(knots) == 1:
            knots, scores = np.array([min(values), max(values)], float), np.array([-1.0, 1.0])
        return replace(self, knots=tuple(knots.tolist()), scores=tuple(scores.tolist()))

    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Knots and their scores, with straight tails of the slope that the middle half of the distribution has."""
        if not self.knots:
            raise AttributeValueError(f"column {self.name} is not fitted: call AttributeSchema.fitted(rows) first")
        knots, scores, far = np.array(self.knots), np.array(self.scores), 100.0
        lower, upper = np.interp([ndtri(0.25), ndtri(0.75)], scores, knots)
        slope = (upper - lower) / (ndtri(0.75) - ndtri(0.25)) or (knots[-1] - knots[0]) / (scores[-1] - scores[0])
        ends = knots[0] - far * slope, knots[-1] + far * slope
        return np.array([ends[0], *knots, ends[1]]), np.array([scores[0] - far, *scores, scores[-1] + far])

    def encode(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "n 1"]:
        """Values to normal scores."""
        return np.interp(values, *self._curve())[:, None]

    def decode(self, codes: Float[np.ndarray, "n 1"]) -> list[Cell]:
        """Normal scores to values, cut at the possible range."""
        knots, scores = self._curve()
        return np.clip(np.interp(codes[:, 0].astype(float), scores, knots), self.low, self.high).tolist()

    def percentile(self, value: float) -> float:
        """Where a value sits in the training cohort, 0 to 100."""
        return float(100 * ndtr(self.encode(np.array([float(value)]))[0, 0]))


@dataclass(frozen=True, kw_only=True)
class Category:
    """An unordered column with the given ``levels``."""

    name: str
    levels: tuple[str, ...]
    description: str = ""

    @property
    def width(self) -> int:
        return len(self.levels) - 1

    def check(self, value: Any) -> str:
        """The level itself; raises :class:`AttributeValueError` when there is no such level."""
        if value not in self.levels:
            raise AttributeValueError(f"{self.name} {value!r} is unknown here: give one of {', '.join(self.levels)}")
        return str(value)

    def fitted(self, values: Sequence[str]) -> Category:
        for value in set(values):
            self.check(value)
        return self

    @property
    def codes(self) -> Float[np.ndarray, "l d"]:
        """Vertices of the regular simplex, norm sqrt(L - 1), centred at the origin."""
        levels = len(self.levels)
        centred = np.eye(levels) - 1 / levels
        # Helmert basis of the plane orthogonal to (1, ..., 1): deterministic, unlike an SVD's signs
        basis = np.zeros((levels, levels - 1))
        for j in range(1, levels):
            basis[:j, j - 1], basis[j, j - 1] = -1 / math.sqrt(j * (j + 1)), j / math.sqrt(j * (j + 1))
        vertices = centred @ basis
        return vertices / np.linalg.norm(vertices[0]) * math.sqrt(levels - 1)

    def encode(self, values: Sequence[Any] | np.ndarray) -> Float[np.ndarray, "n d"]:
        return self.codes[[self.levels.index(self.check(v)) for v in values]]

    def decode(self, codes: Float[np.ndarray, "n d"]) -> list[Cell]:
        distance = ((codes[:, None] - self.codes[None]) ** 2).sum(-1)
        return [self.levels[i] for i in distance.argmin(1)]


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A column computed from modelled numbers: ``scale * product(column ** power)``."""

    name: str
    unit: str
    low: float
    high: float
    scale: float
    powers: tuple[tuple[str, float], ...]
    description: str = ""

    check = Number.check

    def value(self, row: Mapping[str, Any]) -> float | None:
        """The computed cell, or None while a factor is missing."""
        if any(row.get(name) is None for name, _ in self.powers):
            return None
        return float(self.scale * math.prod(float(row[name]) ** power for name, power in self.powers))

    def solve(self, row: Mapping[str, Any], unknown: str) -> float:
        """The one ``unknown`` factor that makes the identity hold."""
        power = dict(self.powers)[unknown]
        rest = self.scale * math.prod(float(row[name]) ** p for name, p in self.powers if name != unknown)
        return float((float(row[self.name]) / rest) ** (1 / power))


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

    def encode(self, rows: Sequence[Mapping[str, Any]]) -> tuple[Float[np.ndarray, "n k d"], Bool[np.ndarray, "n k"]]:
        """Rows to the diffused state and to which cells are known; a missing cell is 0 and not known."""
        mask = self.mask
        state, known = np.zeros((len(rows), *mask.shape), np.float32), np.zeros((len(rows), len(self.columns)), bool)
        for k, column in enumerate(self.columns):
            present = [i for i, row in enumerate(rows) if not _missing(row.get(column.name))]
            if not present:
                continue
            cells = np.array([column.check(rows[i][column.name]) for i in present])
            state[present, k, : column.width] = column.encode(cells)
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
                row.setdefault(d.name, d.value(row))
        return rows

    def to_json(self) -> dict[str, Any]:
        """A JSON-ready description; :meth:`from_json` restores it exactly."""
        columns = [{"kind": type(c).__name__.lower(), **asdict(c)} for c in self.columns]
        return {"columns": columns, "derived": [asdict(d) for d in self.derived]}

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


def _missing(value: Any) -> bool:
    return value is None or (isinstance(value, float) and math.isnan(value))


def _frozen(fields: Mapping[str, Any]) -> dict[str, Any]:
    def freeze(value: Any) -> Any:
        return tuple(map(freeze, value)) if isinstance(value, list) else value

    return {key: freeze(value) for key, value in fields.items() if key != "kind"}
