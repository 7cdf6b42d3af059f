"""Cross-validated AUC of a classifier, averaged over folds, with an interval over subjects."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.interval import Figure, bootstrap

Kind = Literal["boosting", "linear"]
FOLDS = 5
#: fewest subjects a side in a fold
FOLD_SUBJECTS = 2


def classifier(kind: Kind, n: int, seed: int) -> Any:
    """An unfitted two-class model for ``n`` rows; a boosted leaf holds a tenth of them at most."""
    if kind == "linear":
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        return make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier(
        min_samples_leaf=min(20, max(2, n // 10)),
        early_stopping=False,  # pyright: ignore[reportArgumentType]
        random_state=seed,
    )


def regressor(kind: Kind, n: int, seed: int) -> Any:
    """An unfitted model of a number for ``n`` rows."""
    if kind == "linear":
        return ridge(np.logspace(-2, 4, 13))
    from sklearn.ensemble import HistGradientBoostingRegressor

    return HistGradientBoostingRegressor(
        min_samples_leaf=min(20, max(2, n // 10)),
        early_stopping=False,  # pyright: ignore[reportArgumentType]
        random_state=seed,
    )


def ridge(strengths: Float[np.ndarray, " k"], *, per_target: bool = False) -> Any:
    """An unfitted ridge regression on standardised inputs, its strength one of ``strengths`` by leave-one-out."""
    from sklearn.linear_model import RidgeCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), RidgeCV(strengths, alpha_per_target=per_target))


def auc(labels: Bool[np.ndarray, " n"], scores: Float[np.ndarray, " n"]) -> float:
    """Area under the ROC curve, P(score of a positive > of a negative) + half P(equal); NaN where one class lacks."""
    positive = int(labels.sum())
    negative = len(labels) - positive
    if not positive or not negative:
        return float("nan")
    from scipy.stats import rankdata

    return float((rankdata(scores)[labels].sum() - positive * (positive + 1) / 2) / (positive * negative))


def fold_auc(labels: np.ndarray, scores: np.ndarray, folds: np.ndarray) -> float:
    """Mean over folds of the AUC within each: scores of differently fitted models are never compared."""
    found = [auc(labels[folds == f], scores[folds == f]) for f in np.unique(folds)]
    finite = [a for a in found if np.isfinite(a)]
    return float(np.mean(finite)) if finite else float("nan")


def subject_folds(n: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """A fold for each of ``n`` subjects, equally large to one. Raises :class:`EvaluationError` below ten."""
    if n < FOLD_SUBJECTS * FOLDS:
        raise EvaluationError(
            f"{n} subjects a side are too few for {FOLDS} folds: give {FOLD_SUBJECTS * FOLDS} or more"
        )
    return rng.permutation(np.arange(n) % FOLDS)


def splits(folds: Int[np.ndarray, " n"]) -> Iterator[tuple[Bool[np.ndarray, " n"], Bool[np.ndarray, " n"]]]:
    """Training and test rows of each fold."""
    for fold in range(FOLDS):
        yield folds != fold, folds == fold


def cross_validated_auc(
    inputs: Float[np.ndarray, "n d"] | Callable[[Bool[np.ndarray, " n"]], Float[np.ndarray, "n d"]],
    labels: Bool[np.ndarray, " n"],
    subjects: Int[np.ndarray, " n"],
    folds: Int[np.ndarray, " n"],
    rng: np.random.Generator,
    *,
    kind: Kind,
    resamples: int = 500,
) -> Figure:
    """AUC of out-of-fold scores, bootstrapped over ``subjects``.

    ``inputs`` may be a function that makes them of a fold's training rows, where they are themselves learnt.
    """
    scores, seed = np.zeros(len(labels)), int(rng.integers(2**31))
    for train, test in splits(folds):
        x = inputs(train) if callable(inputs) else inputs
        model = classifier(kind, int(train.sum()), seed).fit(x[train], labels[train])
        scores[test] = model.predict_proba(x[test])[:, 1]
    return bootstrap(lambda i: fold_auc(labels[i], scores[i], folds[i]), subjects, rng, resamples=resamples)
