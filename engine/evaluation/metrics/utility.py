"""Whether a classifier tells synthetic rows from real ones, and whether a model learnt on synthetic rows works on real.

Missing cells enter as the training mean with an indicator column beside (:class:`engine.evaluation.metrics.table_encoding.TableEncoding`),
so a wrong pattern of missing cells is detected too. The target of a prediction must be present: rows without are left out.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError, require_equal_n
from engine.evaluation.metrics.classify import Kind, auc, classifier, cross_validated_auc, regressor, subject_folds
from engine.evaluation.metrics.interval import Figure, bootstrap
from engine.evaluation.metrics.table_encoding import Columns, Table, TableEncoding, as_columns, present, size, take
from engine.vocabulary.schema import AttributeSchema, Category, Derived


@dataclass(frozen=True, kw_only=True)
class Detection:
    """Cross-validated AUC of telling synthetic from real rows: 0.5 is not told apart, 1 is always."""

    boosting: Figure
    linear: Figure


def detection(real: Table, synthetic: Table, schema: AttributeSchema, rng: np.random.Generator) -> Detection:
    """Classifier two-sample test (Lopez-Paz & Oquab 2017) by gradient boosting and by logistic regression.

    Both sees the modelled columns in the real table's encoding; the linear one has no products of columns, so it
    sees margins only. Raises :class:`EvaluationError` on unequal N and below ten rows a side.
    """
    require_equal_n(size(real), size(synthetic), "the detection AUC")
    space = TableEncoding.fitted(real, schema, beside=synthetic)
    inputs = np.concatenate([space(real), space(synthetic)])
    n = size(real)
    folds = np.concatenate([subject_folds(n, rng), subject_folds(n, rng)])
    labels, rows = np.arange(2 * n) >= n, np.arange(2 * n)
    figures = [cross_validated_auc(inputs, labels, rows, folds, rng, kind=kind) for kind in ("boosting", "linear")]
    return Detection(boosting=figures[0], linear=figures[1])


@dataclass(frozen=True, kw_only=True)
class Utility:
    """Predicting ``target`` on real test rows after training on synthetic, and on as many real, rows.

    The score is R^2 for a number and the AUC for a category, averaged over its levels against the rest.
    """

    target: str
    kind: Kind
    from_synthetic: Figure
    from_real: Figure


def utility(
    real: Table,
    synthetic: Table,
    test: Table,
    schema: AttributeSchema,
    target: str,
    rng: np.random.Generator,
    *,
    kind: Kind = "boosting",
) -> Utility:
    """Train on synthetic, test on real (Esteban et al. 2017), beside train on real, test on real.

    Inputs are all other modelled columns. Intervals are over test rows. Raises :class:`EvaluationError` on unequal N of
    the training tables, a derived target, and a target that test rows do not vary in. A synthetic table whose target
    does not vary scores what guessing does.
    """
    column = schema[target]
    if isinstance(column, Derived):
        raise EvaluationError(f"{target} is derived from other columns: choose a modelled one")
    if len(schema.columns) < 2:
        raise EvaluationError(f"{target} is the only column: there is nothing to predict it from")
    require_equal_n(size(real), size(synthetic), "a learnt score")
    others = AttributeSchema(columns=tuple(c for c in schema.columns if c.name != target))
    sides = [
        _known(as_columns(t, replace(schema, derived=())), target, side)
        for t, side in ((real, "real"), (synthetic, "synthetic"), (test, "test"))
    ]
    if len(set(sides[2][target].tolist())) < 2:
        raise EvaluationError(f"{target} does not vary over the test rows: no score is defined")
    found = [_score(train, sides[2], others, column, kind, rng) for train in (sides[1], sides[0])]
    return Utility(target=target, kind=kind, from_synthetic=found[0], from_real=found[1])


def _known(columns: Columns, target: str, side: str) -> Columns:
    rows = np.flatnonzero(present(columns[target]))
    if len(rows) < MINIMUM_SUBJECTS:
        raise EvaluationError(
            f"{target} is present in {len(rows)} {side} rows: give {MINIMUM_SUBJECTS} or more, or another target"
        )
    return take(columns, rows)


def _score(train: Columns, test: Columns, others: AttributeSchema, column, kind: Kind, rng) -> Figure:
    space = TableEncoding.fitted({c.name: train[c.name] for c in others.columns}, others, beside=test)
    x, z = space(train), space(test)
    y, truth = train[column.name], test[column.name]
    seed, rows = int(rng.integers(2**31)), np.arange(len(truth))
    if not isinstance(column, Category):
        predicted = regressor(kind, len(y), seed).fit(x, y).predict(z)
        return bootstrap(lambda i: _r_squared(truth[i], predicted[i]), rows, rng)
    levels = [level for level in column.levels if 0 < np.sum(truth == level) < len(truth)]
    scores = np.zeros((len(levels), len(truth)))
    for k, level in enumerate(levels):
        if 0 < (y == level).sum() < len(y):
            scores[k] = classifier(kind, len(y), seed).fit(x, y == level).predict_proba(z)[:, 1]
    return bootstrap(lambda i: _mean_auc(truth[i], scores[:, i], levels), rows, rng)


def _r_squared(truth: np.ndarray, predicted: np.ndarray) -> float:
    total = float(((truth - truth.mean()) ** 2).sum())
    return 1 - float(((truth - predicted) ** 2).sum()) / total if total > 0 else float("nan")


def _mean_auc(truth: np.ndarray, scores: np.ndarray, levels: list[str]) -> float:
    found = [auc(np.asarray(truth == level), s) for level, s in zip(levels, scores, strict=True)]
    finite = [a for a in found if np.isfinite(a)]
    return float(np.mean(finite)) if finite else float("nan")
