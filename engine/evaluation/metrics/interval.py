"""A figure with its interval: bootstrap over subjects, half-sampling, exact binomial, exact and permutation tests.

Which interval when. A mean, a correlation, an AUC: :func:`bootstrap` over subjects. A figure of two samples that
repeated records would bias (nearest neighbours, covariances, kernels): :func:`half_sampling`, which draws without
replacement. A count out of n: :func:`proportion`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Int, Num, Shaped

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError

Rows = Int[np.ndarray, " m"]
#: share of resamples on which a statistic may be undefined before the interval is refused
UNDEFINED = 0.1


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A ``value`` with the interval ``low`` to ``high`` and the number of subjects ``n`` it rests on."""

    value: float
    low: float
    high: float
    n: int

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} to {self.high:.3g}, n = {self.n})"


def _limits(draws: list[float], level: float, what: str) -> tuple[float, float]:
    finite = np.array([d for d in draws if math.isfinite(d)])
    if len(finite) < (1 - UNDEFINED) * len(draws):
        lost = f"{len(draws) - len(finite)} of {len(draws)}"
        raise EvaluationError(f"the statistic is undefined on {lost} {what}: give more subjects")
    low, high = np.quantile(finite, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def bootstrap(
    statistic: Callable[[Rows], float],
    subjects: Shaped[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    level: float = 0.95,
) -> Figure:
    """Percentile bootstrap (Efron 1979) that draws whole subjects.

    ``statistic`` maps row numbers to a number; ``subjects`` names the subject of each row, so that a person's rows
    are drawn together. Resamples on which the statistic is not finite are left out, up to a tenth of them.
    Raises :class:`EvaluationError` on fewer than four subjects.
    """
    names, codes = np.unique(subjects, return_inverse=True)
    if len(names) < MINIMUM_SUBJECTS:
        raise EvaluationError(f"a bootstrap over {len(names)} subjects tells nothing: give {MINIMUM_SUBJECTS} or more")
    order, counts = np.argsort(codes, kind="stable"), np.bincount(codes)
    members = np.split(order, np.cumsum(counts)[:-1])
    draws, single = [], int(counts.max()) == 1
    for _ in range(resamples):
        drawn = rng.integers(len(names), size=len(names))
        draws.append(statistic(order[drawn] if single else np.concatenate([members[i] for i in drawn])))
    low, high = _limits(draws, level, "resamples")
    return Figure(value=float(statistic(np.arange(len(subjects)))), low=low, high=high, n=len(names))


def bootstrap_two(
    statistic: Callable[[Rows, Rows], float],
    n: int,
    m: int,
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
    level: float = 0.95,
) -> Figure:
    """:func:`bootstrap` of a statistic of two independent sets of subjects, each drawn from itself."""
    if min(n, m) < MINIMUM_SUBJECTS:
        raise EvaluationError(
            f"a bootstrap over {n} and {m} subjects tells nothing: give {MINIMUM_SUBJECTS} or more of each"
        )
    draws = [float(statistic(rng.integers(n, size=n), rng.integers(m, size=m))) for _ in range(resamples)]
    low, high = _limits(draws, level, "resamples")
    return Figure(value=float(statistic(np.arange(n), np.arange(m))), low=low, high=high, n=min(n, m))


def half_sampling(
    statistic: Callable[[Rows, Rows], float],
    n: int,
    m: int,
    rng: np.random.Generator,
    *,
    repeats: int = 200,
    level: float = 0.95,
    within: tuple[float, float] = (-math.inf, math.inf),
) -> Figure:
    """Interval of a two-sample figure from halves drawn without replacement (McCarthy 1969).

    The variance of a mean over n // 2 of n subjects about that over all is sigma^2 / n, that of the full figure. The
    halves' quantiles are moved to be centred at the full figure, since its bias depends on n; ``within`` cuts them
    at what the figure can be.
    """
    if min(n, m) < 2 * MINIMUM_SUBJECTS:
        raise EvaluationError(
            f"halves of {n} and {m} subjects are too few: give {2 * MINIMUM_SUBJECTS} or more on each side"
        )
    value = float(statistic(np.arange(n), np.arange(m)))
    draws = [float(statistic(rng.permutation(n)[: n // 2], rng.permutation(m)[: m // 2])) for _ in range(repeats)]
    low, high = _limits(draws, level, "halves")
    shift = value - float(np.nanmedian(draws))
    bounds = np.clip([min(low + shift, value), max(high + shift, value)], *within)
    return Figure(value=value, low=float(bounds[0]), high=float(bounds[1]), n=min(n, m))


def proportion(successes: int, n: int, *, level: float = 0.95) -> Figure:
    """``successes`` of ``n`` with the exact interval of Clopper & Pearson 1934; 0 to 1 where n is 0."""
    if not 0 <= successes <= n:
        raise EvaluationError(f"{successes} of {n} is no proportion: count between 0 and n")
    if n == 0:
        return Figure(value=math.nan, low=0.0, high=1.0, n=0)
    from scipy import stats

    found = stats.binomtest(successes, n).proportion_ci(level, method="exact")
    return Figure(value=successes / n, low=float(found.low), high=float(found.high), n=n)


def p_above(successes: int, n: int, share: float) -> float:
    """One-sided exact binomial p: that ``successes`` or more of ``n`` arise from a true share of at most ``share``."""
    from scipy import stats

    return float(stats.binom.sf(successes - 1, n, share)) if n else 1.0


def p_preceding(preceding: int, m: int, rank: int, n: int) -> float:
    """One-sided exact p of the precedence test (Nelson 1963).

    That ``preceding`` or more of ``m`` values lie below the ``rank``-th smallest of ``n`` others, both drawn from one
    continuous distribution: the tail of the negative hypergeometric.
    """
    from scipy import stats

    return float(stats.nhypergeom.sf(preceding - 1, m + n, m, rank)) if preceding else 1.0


def p_permutation(observed: float, permuted: Num[np.ndarray, " k"] | list[float]) -> float:
    """One-sided permutation p, (1 + #{permuted >= observed}) / (1 + k) (Phipson & Smyth 2010)."""
    drawn = np.asarray(permuted, float)
    tolerance = 1e-12 * max(1.0, abs(observed))
    return float((1 + np.sum(drawn >= observed - tolerance)) / (1 + len(drawn)))
