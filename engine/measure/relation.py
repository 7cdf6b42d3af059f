"""How a measure goes with an attribute over a cohort: a regression, kept as its few coefficients and never as persons.

``y = sum_k b_k t^k + e`` with ``t = (x - centre) / scale``, by least squares; with ``log`` the same for ``ln y``. What is
kept (coefficients, their covariance, the residual SD, N) gives back the mean, its confidence band
``t_q * sqrt(p' C p)`` and the band of persons ``t_q * sqrt(s^2 + p' C p)``, p the powers of t (Draper and Smith, Applied
Regression Analysis, 3rd ed., chapter 3).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtr, stdtrit

from engine.vocabulary.refusal import Refusal


class RelationError(Refusal):
    """Too few persons, or an attribute that does not vary: there is no line to fit."""


class Interval(NamedTuple):
    """An estimate and the bounds of its confidence interval."""

    estimate: float
    low: float
    high: float


class Band(NamedTuple):
    """Shape: each (n,), in the measure's unit. ``middle`` is the mean (with ``log``: the median), ``mean_low`` and
    ``mean_high`` bound it, ``low`` and ``high`` bound a single person."""

    middle: np.ndarray
    mean_low: np.ndarray
    mean_high: np.ndarray
    low: np.ndarray
    high: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Relation:
    """A fitted regression; ``low`` and ``high`` are the 2.5th and 97.5th percentile of the attribute it was fitted on."""

    coefficients: tuple[float, ...]
    covariance: tuple[tuple[float, ...], ...]
    residual_sd: float
    n: int
    centre: float
    scale: float
    low: float
    high: float
    log: bool = False

    @classmethod
    def fit(
        cls, x: Iterable[float | None], y: Iterable[float | None], *, degree: int = 1, log: bool = False
    ) -> Relation:
        """Least squares over the pairs in which neither is missing (None or NaN).

        Raises :class:`RelationError` for fewer than ``degree + 3`` pairs or fewer than ``degree + 1`` distinct ``x``.
        """
        pairs = [(float(a), float(b)) for a, b in zip(x, y, strict=True) if a is not None and b is not None]
        kept = np.array([p for p in pairs if all(map(math.isfinite, p)) and (p[1] > 0 or not log)]).reshape(-1, 2)
        if len(kept) < degree + 3 or len(np.unique(kept[:, 0])) <= degree:
            raise RelationError(f"{len(kept)} persons are too few for a line: sample more, over a wider range")
        centre, scale = float(kept[:, 0].mean()), float(kept[:, 0].std())
        powers = _powers((kept[:, 0] - centre) / scale, degree)
        target = np.log(kept[:, 1]) if log else kept[:, 1]
        coefficients = np.linalg.lstsq(powers, target, rcond=None)[0]
        variance = float(np.square(target - powers @ coefficients).sum()) / (len(kept) - degree - 1)
        covariance = variance * np.linalg.inv(powers.T @ powers)
        low, high = (float(q) for q in np.quantile(kept[:, 0], [0.025, 0.975]))
        return cls(
            coefficients=tuple(coefficients.tolist()),
            covariance=tuple(tuple(row) for row in covariance.tolist()),
            residual_sd=math.sqrt(variance),
            n=len(kept),
            centre=centre,
            scale=scale,
            low=low,
            high=high,
            log=log,
        )

    def slope(self, level: float = 0.95) -> Interval:
        """Change of the measure for one unit of the attribute (of its logarithm with ``log``), at ``centre``."""
        estimate = self.coefficients[1] / self.scale
        reach = self._quantile(level) * math.sqrt(self.covariance[1][1]) / self.scale
        return Interval(estimate, estimate - reach, estimate + reach)

    def correlation(self, level: float = 0.95) -> Interval:
        """Pearson's r of the pairs a straight line was fitted on, with Fisher's interval; it follows from what is kept:
        ``r^2 = b^2 / (b^2 + s^2 (n - 2) / n)``. Raises :class:`RelationError` for a curve."""
        if self.log or len(self.coefficients) != 2:
            raise RelationError("a correlation belongs to a straight line: fit one of degree 1, without log")
        slope, rest = self.coefficients[1], self.residual_sd**2 * (self.n - 2) / self.n
        r = slope / math.hypot(slope, math.sqrt(rest)) if slope else 0.0
        if abs(r) >= 1:
            return Interval(r, r, r)
        reach = float(ndtri((1 + level) / 2)) / math.sqrt(self.n - 3)
        return Interval(r, math.tanh(math.atanh(r) - reach), math.tanh(math.atanh(r) + reach))

    def band(self, x: Float[np.ndarray, " n"], level: float = 0.95) -> Band:
        """The mean, its confidence band and the band of persons at ``x``."""
        powers = _powers((x - self.centre) / self.scale, len(self.coefficients) - 1)
        middle = powers @ np.array(self.coefficients)
        uncertain = np.einsum("ni,ij,nj->n", powers, np.array(self.covariance), powers)
        mean = self._quantile(level) * np.sqrt(uncertain)
        person = self._quantile(level) * np.sqrt(uncertain + self.residual_sd**2)
        curves = (middle, middle - mean, middle + mean, middle - person, middle + person)
        return Band(*(np.exp(curve) if self.log else curve for curve in curves))

    def percentile(self, x: float, y: float) -> float:
        """The share of persons with ``x`` in percent whose measure is below ``y``; NaN where either is missing, or where the
        relation was not seen at such an ``x``.

        The t distribution of :meth:`band`: the ends of its band of persons at 95 % are at 2.5 and 97.5.
        """
        if not (math.isfinite(x) and math.isfinite(y)) or (self.log and y <= 0) or not self.low <= x <= self.high:
            return math.nan
        (powers,) = _powers((np.array([x]) - self.centre) / self.scale, len(self.coefficients) - 1)
        uncertain = float(powers @ np.array(self.covariance) @ powers)
        away = (math.log(y) if self.log else y) - float(powers @ np.array(self.coefficients))
        return 100 * float(stdtr(self.n - len(self.coefficients), away / math.sqrt(uncertain + self.residual_sd**2)))

    def to_json(self) -> dict[str, Any]:
        """Plain numbers and lists."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Relation:
        """What :meth:`to_json` gave; raises :class:`ValueError` for other keys."""
        if set(stored) != {f.name for f in fields(cls)}:
            raise ValueError(f"a relation has other keys: {', '.join(sorted(stored))}")
        covariance = tuple(tuple(float(v) for v in row) for row in stored["covariance"])
        return cls(**{**stored, "coefficients": tuple(stored["coefficients"]), "covariance": covariance})

    def _quantile(self, level: float) -> float:
        return float(stdtrit(self.n - len(self.coefficients), (1 + level) / 2))


def _powers(t: np.ndarray, degree: int) -> Float[np.ndarray, "n k"]:
    return np.stack([t**k for k in range(degree + 1)], axis=1)


def power_law(have: Float[np.ndarray, " n"], want: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """The factor and exponent that take positive ``have`` to ``want`` by least squares of their logarithms; not finite where what is had
    does not vary enough."""
    x, y = np.log(have), np.log(want)
    exponent = float(np.cov(x, y)[0, 1] / np.var(x, ddof=1))
    with np.errstate(over="ignore"):
        return float(np.exp(y.mean() - exponent * x.mean())), exponent
