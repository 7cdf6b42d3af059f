"""The kinds of columns, and the fixed code in which each is diffused.

Formalism (TabSyn's token per column, arXiv 2310.09656; the codes are fixed, not learned):

* a number is its normal score, ``z = Phi^-1(F(y))``, F the distribution function fitted on the training split, linear
  between knots and linear beyond them. A value that many persons share (0 cigarettes, a top-coded age) is an atom: it owns
  an interval of scores, all of which decode to it, and is encoded at the middle of its probability;
* an ordered category is the normal score of its level in the same way;
* an unordered category with L levels is a vertex of the regular simplex in L - 1 dimensions, scaled so that equally
  frequent levels have variance 1 in every dimension; it is decoded by the nearest vertex.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr, ndtri

from engine.vocabulary.refusal import Refusal
from engine.vocabulary.row import NUMBER, Cell

#: fewest persons behind each stored quantile of a large cohort, and most quantiles of a small and of a large one
BEHIND, FEW_KNOTS, MANY_KNOTS = 24, 33, 257
#: fewest persons who share a value that is kept as an atom
ATOM = 10
#: score beyond the outermost knots to which the straight tails reach
FAR = 100.0


class AttributeValueError(Refusal):
    """A cell or a request that the schema refuses; the message names the value and the remedy."""


@dataclass(frozen=True, kw_only=True)
class Number:
    """A numeric column in ``unit``, possible between ``low`` and ``high``, recorded to ``decimals`` (None: exactly).

    ``knots`` are its fitted quantiles, rising, and ``scores`` theirs, strictly rising; an atom is a knot twice.
    """

    name: str
    unit: str
    low: float
    high: float
    knots: tuple[float, ...] = ()
    scores: tuple[float, ...] = ()
    decimals: int | None = None
    description: str = ""

    @property
    def width(self) -> int:
        return 1

    @property
    def seen(self) -> tuple[float, float]:
        """The range the training cohort covers (its outer quantiles), or the possible range when not fitted."""
        return (self.knots[0], self.knots[-1]) if self.knots else (self.low, self.high)

    @property
    def median(self) -> float:
        """The training cohort's, or the middle of the possible range when not fitted."""
        return float(np.interp(0.0, self.scores, self.knots)) if self.knots else (self.low + self.high) / 2

    def check(self, value: Any) -> float:
        """``value`` as a float; raises :class:`AttributeValueError` when it is no number or impossible."""
        number = _as_number(value)
        if number is None or not self.low <= number <= self.high:
            bounds = f"{self.low:g} to {self.high:g} {self.unit}".rstrip()
            raise AttributeValueError(f"{self.name} {value!r} is not possible here: give a number from {bounds}")
        return number

    def fitted(self, values: Sequence[float]) -> Number:
        """The column with knots at quantiles of ``values`` and at their atoms; raises when fewer than two differ."""
        ordered = np.sort(np.asarray(values, float))
        n = len(ordered)
        if (distinct := len(np.unique(ordered))) < 2:
            fault = f"column {self.name} has {distinct} distinct values in the training split"
            raise AttributeValueError(f"{fault}: leave it out, or give more rows")
        m = min(MANY_KNOTS, max(n // BEHIND, min(FEW_KNOTS, max(2, n // 3))))
        held, counts = np.unique(ordered, return_counts=True)
        places: list[tuple[float, float]] = []
        probability = (np.arange(m) + 0.5) / m
        free = np.ones(m, bool)
        for value, count in zip(held, counts, strict=True):
            if count < max(ATOM, n / m):
                continue
            below = float((ordered < value).mean())
            above = below + count / n
            free &= (probability < below) | (probability > above)
            places += [(max(below, 0.25 / n), value), (min(above, 1 - 0.25 / n), value)]
        places += list(zip(probability[free], np.quantile(ordered, probability[free]), strict=True))
        places.sort()
        u, knots = np.array(places).T
        keep = np.append(np.diff(u) > 1e-9, True)  # one atom ends where the next begins: told apart by their values
        scores = ndtri(u) + np.where(keep, 0.0, -1e-9)
        if knots[0] == knots[-1]:
            knots, scores = np.array([ordered[0], ordered[-1]]), np.array([-1.0, 1.0])
        return replace(self, knots=tuple(np.maximum.accumulate(knots).tolist()), scores=tuple(scores.tolist()))

    def _curve(self) -> tuple[np.ndarray, np.ndarray]:
        """Knots and their scores, with straight tails of the slope that the outer quarter on their side has."""
        if not self.knots:
            raise AttributeValueError(f"column {self.name} is not fitted: call AttributeSchema.fitted(rows) first")
        knots, scores = np.array(self.knots), np.array(self.scores)
        whole = (knots[-1] - knots[0]) / (scores[-1] - scores[0])
        lower, upper = (float(ndtri(p)) for p in (0.25, 0.75))
        below, above = np.interp([lower, upper], scores, knots)
        left = (below - knots[0]) / (lower - scores[0]) if lower > scores[0] else 0.0
        right = (knots[-1] - above) / (scores[-1] - upper) if upper < scores[-1] else 0.0
        ends = knots[0] - FAR * (left or whole), knots[-1] + FAR * (right or whole)
        return np.array([ends[0], *knots, ends[1]]), np.array([scores[0] - FAR, *scores, scores[-1] + FAR])

    def interval(self, values: Float[np.ndarray, " n"]) -> Float[np.ndarray, "2 n"]:
        """Lowest and highest score that decode to each value: equal but for atoms and for rounded columns."""
        knots, scores = self._curve()
        held, first, count = np.unique(knots, return_index=True, return_counts=True)
        last = first + count - 1

        def side(at: np.ndarray, end: np.ndarray) -> np.ndarray:
            i = np.clip(np.searchsorted(held, at, "right") - 1, 0, len(held) - 2)
            part = np.clip((at - held[i]) / (held[i + 1] - held[i]), 0, 1)
            between = scores[last[i]] + part * (scores[first[i + 1]] - scores[last[i]])
            return np.where(at == held[i], scores[end[i]], np.where(part == 1, scores[end[i + 1]], between))

        half = 0.0 if self.decimals is None else 0.5 * 10.0**-self.decimals
        return np.stack([side(values - half, last if half else first), side(values + half, first if half else last)])

    def encode(
        self, values: Float[np.ndarray, " n"], rng: np.random.Generator | None = None
    ) -> Float[np.ndarray, "n 1"]:
        """Values to normal scores: the middle of each one's probability, or with ``rng`` anywhere in it."""
        return _within(self.interval(values), rng)[:, None]

    def decode(self, codes: Float[np.ndarray, "n 1"]) -> list[Cell]:
        """Normal scores to values, rounded as the column is and cut at the possible range."""
        knots, scores = self._curve()
        values = np.interp(codes[:, 0].astype(float), scores, knots)
        if self.decimals is not None:
            values = np.round(values, self.decimals)
        return np.clip(values, self.low, self.high).tolist()

    def percentile(self, value: float) -> float:
        """Where a value sits in the training cohort, 0 to 100."""
        return float(100 * ndtr(self.encode(np.array([float(value)]))[0, 0]))


@dataclass(frozen=True, kw_only=True)
class Category:
    """A column with the given ``levels``; ``ordered`` from low to high or not. ``shares`` are fitted for ordered ones."""

    name: str
    levels: tuple[str, ...]
    ordered: bool = False
    shares: tuple[float, ...] = ()
    description: str = ""

    @property
    def width(self) -> int:
        return 1 if self.ordered else len(self.levels) - 1

    def check(self, value: Any) -> str:
        """The level that ``value`` names (:func:`level_of`); raises :class:`AttributeValueError` when there is none."""
        level = level_of(value, self.levels)
        if level is None:
            raise AttributeValueError(f"{self.name} {value!r} is unknown here: give one of {', '.join(self.levels)}")
        return level

    def fitted(self, values: Sequence[str]) -> Category:
        """The column with the ``shares`` of its levels (half a person more each); raises for an unknown level."""
        for value in set(values):
            self.check(value)
        if not self.ordered:
            return self
        held = [self.check(value) for value in values]
        counts = np.array([sum(v == level for v in held) + 0.5 for level in self.levels])
        return replace(self, shares=tuple((counts / counts.sum()).tolist()))

    @property
    def codes(self) -> Float[np.ndarray, "l d"]:
        """Unordered: vertices of the regular simplex, norm sqrt(L - 1), centred at the origin. Ordered: normal scores."""
        if self.ordered:
            return _within(self._bounds(), None)[:, None]
        levels = len(self.levels)
        centred = np.eye(levels) - 1 / levels
        # Helmert basis of the plane orthogonal to (1, ..., 1): deterministic, unlike an SVD's signs
        basis = np.zeros((levels, levels - 1))
        for j in range(1, levels):
            basis[:j, j - 1], basis[j, j - 1] = -1 / math.sqrt(j * (j + 1)), j / math.sqrt(j * (j + 1))
        vertices = centred @ basis
        return vertices / np.linalg.norm(vertices[0]) * math.sqrt(levels - 1)

    def _bounds(self) -> Float[np.ndarray, "2 l"]:
        """Lowest and highest score of each level of an ordered column."""
        shares = np.array(self.shares or [1 / len(self.levels)] * len(self.levels))
        ends = np.concatenate([[0.0], shares.cumsum()]).clip(1e-6, 1 - 1e-6)
        return ndtri(np.stack([ends[:-1], ends[1:]]))

    def encode(
        self, values: Sequence[Any] | np.ndarray, rng: np.random.Generator | None = None
    ) -> Float[np.ndarray, "n d"]:
        """Levels to codes; with ``rng`` an ordered one anywhere in its interval."""
        index = [self.levels.index(self.check(v)) for v in values]
        if self.ordered:
            return _within(self._bounds()[:, index], rng)[:, None]
        return self.codes[index]

    def decode(self, codes: Float[np.ndarray, "n d"]) -> list[Cell]:
        """Codes to levels: by interval when ordered, else the nearest."""
        if self.ordered:
            return [self.levels[i] for i in np.searchsorted(self._bounds()[1, :-1], codes[:, 0])]
        distance = ((codes[:, None] - self.codes[None]) ** 2).sum(-1)
        return [self.levels[i] for i in distance.argmin(1)]


def level_of(value: Any, levels: Iterable[str]) -> str | None:
    """The level that a cell names: itself, or a code that is the same number; None where there is no such level.

    >>> [level_of(value, ("1", "2")) for value in ("1", 1, 1.0, "01", "2.0", "3", "one")]
    ['1', '1', '1', '1', '2', None, None]
    """
    levels = tuple(levels)
    if value in levels:
        return str(value)
    number = _as_number(value)
    same = [] if number is None else [level for level in levels if _as_number(level) == number]
    return same[0] if len(same) == 1 else None


def _as_number(value: Any) -> float | None:
    if isinstance(value, str) and not NUMBER.fullmatch(value.strip()):
        return None
    try:
        number = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None


@dataclass(frozen=True, kw_only=True)
class Derived:
    """A column computed from modelled numbers: ``scale * product(factor ** power)``.

    A factor is a column's value, or what is left of a whole (``wholes``: column and whole), as of a fraction that is left over.
    """

    name: str
    unit: str
    low: float
    high: float
    scale: float
    powers: tuple[tuple[str, float], ...]
    description: str = ""
    wholes: tuple[tuple[str, float], ...] = ()

    check = Number.check

    def product(self, columns: Mapping[str, Any]) -> Any:
        """The identity over numbers, or over arrays of them."""
        return self.scale * math.prod(self._factor(name, columns[name]) ** power for name, power in self.powers)

    def value(self, row: Mapping[str, Any]) -> float | None:
        """The computed cell, or None while a factor is missing."""
        if any(row.get(name) is None for name, _ in self.powers):
            return None
        return float(self.product({name: float(row[name]) for name, _ in self.powers}))

    def solve(self, row: Mapping[str, Any], unknown: str) -> float:
        """The one ``unknown`` factor that makes the identity hold."""
        power = dict(self.powers)[unknown]
        rest = self.scale * math.prod(
            self._factor(name, float(row[name])) ** p for name, p in self.powers if name != unknown
        )
        return float(self._factor(unknown, (float(row[self.name]) / rest) ** (1 / power)))

    def _factor(self, name: str, value: Any) -> Any:
        """A column's part in the product; of a whole its own inverse."""
        wholes = dict(self.wholes)
        return wholes[name] - value if name in wholes else value


def _within(bounds: Float[np.ndarray, "2 n"], rng: np.random.Generator | None) -> Float[np.ndarray, " n"]:
    """Scores at the middle of the probability between two scores, or uniformly anywhere in it."""
    u = ndtr(bounds)
    # far out in the upper tail probabilities run into 1: there the two scores are equal and are kept as they are
    part = 0.5 if rng is None else rng.random(bounds.shape[1])
    middle = ndtri(u[0] + part * (u[1] - u[0]))
    return np.where(bounds[1] - bounds[0] > 1e-7, np.clip(middle, -8, 8), bounds.mean(0))
