"""Whether a scan and its row belong together: what is measured on the scan against what the row says.

Arrays in: ``measured`` on the scan (by a ruler or a regressor), ``attribute`` from the row. Real stands beside
synthetic, and the broken ceiling is the same figure on shuffled pairs.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num, Shaped

from engine.evaluation.metrics.checks import (
    EvaluationError,
    checked_features,
    checked_values,
    checked_varying,
    require_equal_n,
)
from engine.evaluation.metrics.classify import FOLDS, Kind, cross_validated_auc, ridge, subject_folds
from engine.evaluation.metrics.interval import Figure, bootstrap, bootstrap_two

#: derangements of the rows that each match is set against
SHUFFLES = 4


def correlation(x: Num[np.ndarray, " n"], y: Num[np.ndarray, " n"]) -> float:
    """Pearson's r; NaN where either is constant."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return float("nan")
    return float(np.corrcoef(x, y)[0, 1])


def slope(x: Num[np.ndarray, " n"], y: Num[np.ndarray, " n"]) -> float:
    """Least-squares slope of ``y`` on ``x``, in units of y per unit of x; NaN where x is constant."""
    centred = x - x.mean()
    total = float(centred @ centred)
    return float(centred @ y) / total if total > 0 else float("nan")


@dataclass(frozen=True, kw_only=True)
class Line:
    """How a measurement follows an attribute."""

    correlation: Figure
    slope: Figure


def line(
    measured: Num[np.ndarray, " n"],
    attribute: Num[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    subjects: Shaped[np.ndarray, " n"] | None = None,
    name: str = "attribute",
    resamples: int = 1000,
) -> Line:
    """Correlation and slope of ``measured`` on ``attribute``, bootstrapped over ``subjects`` (each row one, unless told).

    Raises :class:`EvaluationError` on a constant attribute. Measurements that never move have slope 0, correlation 0.
    """
    x, y = checked_varying(name, attribute), checked_values("measured", measured)
    who = np.arange(len(x)) if subjects is None else subjects
    flat = Figure(value=0.0, low=0.0, high=0.0, n=len(np.unique(who)))
    return Line(
        correlation=bootstrap(lambda i: correlation(x[i], y[i]), who, rng, resamples=resamples)
        if np.ptp(y) > 0
        else flat,
        slope=bootstrap(lambda i: slope(x[i], y[i]), who, rng, resamples=resamples),
    )


@dataclass(frozen=True, kw_only=True)
class Coherence:
    """A measurement's line on an attribute: synthetic beside real, and on shuffled synthetic pairs.

    ``correlation_gap`` is synthetic minus real. ``slope_ratio`` is synthetic over real, 1 when the synthetic cohort
    moves as the real one does; None where the real slope is not told from 0, since no ratio means anything then.
    """

    real: Line
    synthetic: Line
    shuffled: Line
    correlation_gap: Figure
    slope_ratio: Figure | None


def coherence(
    real_measured: Num[np.ndarray, " n"],
    real_attribute: Num[np.ndarray, " n"],
    synthetic_measured: Num[np.ndarray, " m"],
    synthetic_attribute: Num[np.ndarray, " m"],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
) -> Coherence:
    """The line of each side, and synthetic against real.

    ``real_measured`` must come of the same ruler or regressor as ``synthetic_measured``: a regressor shrinks slopes, by
    the same factor on both sides, which the ratio divides out. One row a subject.
    """
    x, y = checked_varying("real attribute", real_attribute), checked_values("real measured", real_measured)
    u = checked_varying("synthetic attribute", synthetic_attribute)
    v = checked_values("synthetic measured", synthetic_measured)
    real, synthetic = line(y, x, rng, resamples=resamples), line(v, u, rng, resamples=resamples)
    shuffled = line(v[rng.permutation(len(v))], u, rng, resamples=resamples)

    def gap(i: Int[np.ndarray, " n"], j: Int[np.ndarray, " m"]) -> float:
        return (correlation(u[j], v[j]) if np.ptp(v) > 0 else 0.0) - correlation(x[i], y[i])

    ratio = None
    if real.slope.low > 0 or real.slope.high < 0:
        ratio = bootstrap_two(
            lambda i, j: slope(u[j], v[j]) / slope(x[i], y[i]), len(x), len(u), rng, resamples=resamples
        )
    return Coherence(
        real=real,
        synthetic=synthetic,
        shuffled=shuffled,
        correlation_gap=bootstrap_two(gap, len(x), len(u), rng, resamples=resamples),
        slope_ratio=ratio,
    )


@dataclass(frozen=True, kw_only=True)
class Response:
    """Measured on requested along a slider: the raw slope, the regressor's own on real data, and their ratio."""

    raw: Line
    regressor: Line
    ratio: Figure | None


def response(
    requested: Num[np.ndarray, " n"],
    measured: Num[np.ndarray, " n"],
    persons: Shaped[np.ndarray, " n"],
    real_attribute: Num[np.ndarray, " m"],
    real_measured: Num[np.ndarray, " m"],
    rng: np.random.Generator,
    *,
    resamples: int = 1000,
) -> Response:
    """Slope of measured on requested, divided by the regressor's slope on real data; 1 is as asked.

    ``persons`` names who each request was made of: a person's requests are drawn together. Slopes are within persons:
    each person's mean is taken off both, so that differences between persons, which nobody requested, count nothing.
    The ratio is None where the regressor's slope on real data is not told from 0.
    """
    checked_varying("requested", requested)
    asked, seen = (
        _within(checked_values(n, v), persons) for n, v in (("requested", requested), ("measured", measured))
    )
    raw = line(seen, asked, rng, subjects=persons, name="requested, within persons,", resamples=resamples)
    regressor = line(real_measured, real_attribute, rng, name="real attribute", resamples=resamples)
    ratio = None
    if regressor.slope.low > 0 or regressor.slope.high < 0:
        x, y = np.asarray(real_attribute, float), np.asarray(real_measured, float)
        names = np.unique(persons)
        rows = [np.flatnonzero(persons == name) for name in names]

        def quotient(i: Int[np.ndarray, " m"], j: Int[np.ndarray, " k"]) -> float:
            drawn = np.concatenate([rows[k] for k in j])
            return slope(asked[drawn], seen[drawn]) / slope(x[i], y[i])

        ratio = bootstrap_two(quotient, len(x), len(names), rng, resamples=resamples)
    return Response(raw=raw, regressor=regressor, ratio=ratio)


def _within(values: Float[np.ndarray, " n"], persons: Shaped[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, codes = np.unique(persons, return_inverse=True)
    return values - (np.bincount(codes, values) / np.bincount(codes))[codes]


@dataclass(frozen=True, kw_only=True)
class Matching:
    """AUC of telling a scan's own row from another person's: real is what can be reached, ``shuffled`` (0.5) the floor."""

    real: Figure
    synthetic: Figure
    shuffled: Figure


def match_or_shuffle(
    real: tuple[Float[np.ndarray, "n d"], Float[np.ndarray, "n k"]],
    synthetic: tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m k"]],
    rng: np.random.Generator,
    *,
    kind: Kind = "linear",
) -> Matching:
    """A match-or-shuffle classifier on image features (n, d) and encoded attributes (n, k), each side on its own.

    Raises :class:`EvaluationError` on unequal N, since what a classifier learns grows with it, and below ten persons.
    """
    require_equal_n(len(real[0]), len(synthetic[0]), "the matching AUC")
    broken = synthetic[0], synthetic[1][rng.permutation(len(synthetic[1]))]
    figures = [matching_auc(f, a, rng, kind=kind) for f, a in (real, synthetic, broken)]
    return Matching(real=figures[0], synthetic=figures[1], shuffled=figures[2])


def matching_auc(
    features: Float[np.ndarray, "n d"],
    attributes: Float[np.ndarray, "m k"],
    rng: np.random.Generator,
    *,
    kind: Kind = "linear",
) -> Figure:
    """Cross-validated AUC of telling (scan, own row) from (scan, another's row of the same fold).

    In each fold a ridge regression learns each attribute a from the features; the classifier sees (a - a')^2 and a a'
    of its prediction a', which for training persons is made by folds within. Every match is set against four
    derangements. Constant attributes say nothing and are left out. The interval is over persons.
    """
    f, a = checked_features("image", features), checked_features("attribute", attributes)
    if len(f) != len(a):
        raise EvaluationError(f"{len(f)} scans have {len(a)} rows: pair them one to one")
    a = a[:, np.ptp(a, axis=0) > 1e-9]
    if a.shape[1] == 0:
        raise EvaluationError("every attribute is constant: there is nothing to match by")
    n, a = len(f), (a - a.mean(0)) / a.std(0)
    folds = subject_folds(n, rng)
    rows, partners = np.arange(n), [_derangement(folds, rng) for _ in range(SHUFFLES)]
    person, partner = np.tile(rows, 1 + SHUFFLES), np.concatenate([rows, *partners])
    label = np.arange(len(person)) < n

    def inputs(train: np.ndarray) -> np.ndarray:
        known = train[:n]
        predicted = _ridge(f[known], a[known], f)
        inner = folds[known]
        held = np.empty((len(inner), a.shape[1]))
        for fold in np.unique(inner):
            out = inner == fold
            held[out] = _ridge(f[known][~out], a[known][~out], f[known][out])
        predicted[known] = held
        return np.concatenate([(a[partner] - predicted[person]) ** 2, a[partner] * predicted[person]], axis=1)

    return cross_validated_auc(inputs, label, person, folds[person], rng, kind=kind)


def _ridge(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    model = ridge(np.logspace(-1, 4, 11), per_target=True)
    return model.fit(x, y).predict(at).reshape(len(at), -1)


def _derangement(folds: Int[np.ndarray, " n"], rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Another person of the same fold for each: a random cycle."""
    out = np.empty(len(folds), int)
    for fold in range(FOLDS):
        cycle = rng.permutation(np.flatnonzero(folds == fold))
        out[cycle] = np.roll(cycle, 1)
    return out
