"""How far a measurement of one group lies from that of another, in standard deviations between persons: Cohen's d."""

from __future__ import annotations

import math

import numpy as np
from jaxtyping import Num

from engine.evaluation.metrics.checks import checked_values
from engine.evaluation.metrics.interval import Figure, bootstrap_two


def cohens_d(real: Num[np.ndarray, " n"], made: Num[np.ndarray, " m"]) -> float:
    """Mean of the made minus that of the real, over the pooled standard deviation (Cohen 1988, eq. 2.5.1).

    0 where both groups are one constant, NaN where they are two.

    >>> cohens_d(np.array([1.0, 2.0, 3.0]), np.array([2.0, 3.0, 4.0]))
    1.0
    """
    n, m = len(real), len(made)
    gap = float(np.mean(made) - np.mean(real))
    pooled = ((n - 1) * np.var(real, ddof=1) + (m - 1) * np.var(made, ddof=1)) / (n + m - 2)
    if pooled > 0:
        return gap / math.sqrt(pooled)
    return 0.0 if gap == 0 else math.nan


def effect_size(
    real: Num[np.ndarray, " n"], made: Num[np.ndarray, " m"], rng: np.random.Generator, *, resamples: int = 1000
) -> Figure:
    """:func:`cohens_d` with a bootstrap over the persons of both groups; raises as every figure does on too few."""
    one = checked_values("real", real)
    two = checked_values("made", made)
    return bootstrap_two(lambda i, j: cohens_d(one[i], two[j]), len(one), len(two), rng, resamples=resamples)
