"""Synthetic tables side by side: the same measures at equal N against unseen real rows, and the mean rank over them.

Three tables stand beside them unranked: real training rows, the floor of every measure; their bootstrap, whose repeated
rows fall in several folds of the detection and so raise its AUC; and real rows with every column shuffled by itself,
which keep their margins and nothing else.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy.stats import rankdata

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.classify import cross_validated_auc, subject_folds
from engine.evaluation.metrics.interval import Figure, half_sampling
from engine.evaluation.metrics.manifold import supports
from engine.evaluation.metrics.table_encoding import Columns, Table, TableEncoding, as_columns, present, take
from engine.evaluation.metrics.tabular import association_difference, jensen_shannon, wasserstein
from engine.evaluation.metrics.utility import utility
from engine.vocabulary.schema import AttributeSchema, Category

#: measure to what it is at best; the further from that, the worse
BEST = {
    "wasserstein": 0.0,
    "jensen_shannon": 0.0,
    "association": 0.0,
    "detection": 0.5,
    "alpha_precision": 1.0,
    "beta_recall": 1.0,
}
UNRANKED = ("real", "bootstrap", "shuffled")
#: half-samples of an interval
REPEATS = 30
#: bootstrap resamples of a detection AUC
RESAMPLES = 100
#: neighbours of the beta-recall, as for a thousand rows
NEIGHBOURS = 5


@dataclass(frozen=True, kw_only=True)
class Standing:
    """One table's figures and, unless it is unranked, its rank by each (1 is best) and their mean.

    ``wasserstein`` (in real standard deviations; a category's total variation) and ``jensen_shannon`` are means over the
    modelled columns, ``association`` is the mean |difference| of the association matrices, ``detection`` the boosting
    AUC, ``alpha_precision`` and ``beta_recall`` the integrated ones, ``utility`` the score on real test rows of each target.
    """

    name: str
    figures: dict[str, Figure]
    utility: dict[str, Figure]
    ranks: dict[str, float]
    mean_rank: float

    @property
    def ranked(self) -> bool:
        return bool(self.ranks)


@dataclass(frozen=True, kw_only=True)
class Ranking:
    """Standings at ``n`` rows a side, best mean rank first and those unranked last."""

    n: int
    standings: tuple[Standing, ...]

    def __getitem__(self, name: str) -> Standing:
        return next(standing for standing in self.standings if standing.name == name)


def bootstrap_rows(columns: Columns, n: int, rng: np.random.Generator) -> Columns:
    """``n`` rows drawn with replacement: nothing is learnt and nothing is private."""
    return take(columns, rng.integers(len(next(iter(columns.values()))), size=n))


def shuffled_columns(columns: Columns, rng: np.random.Generator) -> Columns:
    """Every column in an order of its own."""
    return {name: cells[rng.permutation(len(cells))] for name, cells in columns.items()}


def ranking(
    real_train: Table,
    real_test: Table,
    candidates: Mapping[str, Table],
    schema: AttributeSchema,
    targets: Sequence[str],
    rng: np.random.Generator,
) -> Ranking:
    """Rank ``candidates`` by their nearness to ``real_test``, rows that no candidate has seen.

    N is the smallest table's size; of larger ones N rows are drawn. Distances are taken in the table encoding of
    ``real_train``; the utility is that of a model trained on N synthetic rows. Every measure has one vote in the mean
    rank, the targets together one; ties share their rank. Raises :class:`EvaluationError` on a missing cell, no
    candidate, no target, or a candidate named as an unranked table is.
    """
    modelled = replace(schema, derived=())
    train, test = _complete(real_train, modelled, "real training"), _complete(real_test, modelled, "real test")
    tables = {name: _complete(table, modelled, name) for name, table in candidates.items()}
    if not tables or not targets:
        raise EvaluationError(
            f"{len(tables)} candidates and {len(targets)} targets rank nothing: give 1 or more of both"
        )
    for name in set(tables) & set(UNRANKED):
        raise EvaluationError(f"a candidate is named {name}, as an unranked table is: give it another name")
    n = min(_rows(columns) for columns in (train, test, *tables.values()))
    space = TableEncoding.fitted(train, modelled)
    reference, learnt = _drawn(test, n, rng), _drawn(train, n, rng)
    tables |= {"real": learnt, "bootstrap": bootstrap_rows(train, n, rng), "shuffled": shuffled_columns(learnt, rng)}
    figures, scores = {}, {}
    for name, table in tables.items():
        drawn = _drawn(table, n, rng)
        figures[name] = _figures(reference, drawn, modelled, space, rng)
        scores[name] = {t: utility(learnt, drawn, test, modelled, t, rng).from_synthetic for t in targets}
    ranks = _ranks({c: figures[c] for c in candidates}, {c: scores[c] for c in candidates})
    standings = [
        Standing(
            name=name,
            figures=figures[name],
            utility=scores[name],
            ranks=ranks.get(name, {}),
            mean_rank=float(np.mean(list(ranks[name].values()))) if name in ranks else math.nan,
        )
        for name in tables
    ]
    standings.sort(key=lambda s: s.mean_rank if s.ranked else math.inf)
    return Ranking(n=n, standings=tuple(standings))


def _rows(columns: Columns) -> int:
    return len(next(iter(columns.values())))


def _complete(table: Table, schema: AttributeSchema, what: str) -> Columns:
    columns = as_columns(table, schema)
    for name, cells in columns.items():
        if gaps := int((~present(cells)).sum()):
            raise EvaluationError(f"{name} is missing in {gaps} rows of the {what} table: rank complete rows only")
    return columns


def _drawn(columns: Columns, n: int, rng: np.random.Generator) -> Columns:
    return take(columns, np.sort(rng.permutation(_rows(columns))[:n]))


def _figures(
    real: Columns, synthetic: Columns, schema: AttributeSchema, space: TableEncoding, rng: np.random.Generator
) -> dict[str, Figure]:
    one, two, n = space(real), space(synthetic), _rows(real)

    def margins(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        found = []
        for column in schema.columns:
            levels = column.levels if isinstance(column, Category) else ()
            a, b = real[column.name], synthetic[column.name]
            sd = 1.0 if levels else float(a.std()) or 1.0
            found.append((wasserstein(a[i], b[j], levels) / sd, jensen_shannon(a[i], b[j], levels)))
        return np.mean(found, axis=0)

    def support(i: np.ndarray, j: np.ndarray) -> np.ndarray:
        found = supports(one[i], two[j], k=NEIGHBOURS)
        return np.array([found.precision, found.recall])

    far, apart = _figure_pair(margins, n, rng, (0.0, math.inf))
    precise, recalled = _figure_pair(support, n, rng, (-1.0, 1.0))
    return {
        "wasserstein": far,
        "jensen_shannon": apart,
        "association": association_difference(real, synthetic, schema, rng, repeats=REPEATS).mean,
        "detection": _detected(one, two, rng),
        "alpha_precision": precise,
        "beta_recall": recalled,
    }


def _detected(real: np.ndarray, synthetic: np.ndarray, rng: np.random.Generator) -> Figure:
    """The boosting AUC of :func:`engine.evaluation.metrics.utility.detection`, in points already made."""
    n, rows = len(real), np.arange(2 * len(real))
    folds = np.concatenate([subject_folds(n, rng), subject_folds(n, rng)])
    inputs = np.concatenate([real, synthetic])
    return cross_validated_auc(inputs, rows >= n, rows, folds, rng, kind="boosting", resamples=RESAMPLES)


def _figure_pair(
    statistic: Callable[[np.ndarray, np.ndarray], np.ndarray],
    n: int,
    rng: np.random.Generator,
    within: tuple[float, float],
) -> tuple[Figure, Figure]:
    """Both figures of a statistic that gives two, on the same halves, each computed once."""
    seen: list[np.ndarray] = []

    def once(i: np.ndarray, j: np.ndarray) -> float:
        seen.append(statistic(i, j))
        return float(seen[-1][0])

    first = half_sampling(once, n, n, rng, repeats=REPEATS, within=within)
    others = iter(seen)
    second = half_sampling(lambda i, j: float(next(others)[1]), n, n, rng, repeats=REPEATS, within=within)
    return first, second


def _ranks(
    figures: Mapping[str, Mapping[str, Figure]], utilities: Mapping[str, Mapping[str, Figure]]
) -> dict[str, dict[str, float]]:
    """For each candidate its rank by each measure, that of the utility averaged over the targets."""
    names = list(figures)
    by = {m: rankdata([abs(figures[name][m].value - best) for name in names]) for m, best in BEST.items()}
    targets = list(utilities[names[0]])
    by["utility"] = np.mean([rankdata([-utilities[name][t].value for name in names]) for t in targets], axis=0)
    return {name: {measure: float(ranks[i]) for measure, ranks in by.items()} for i, name in enumerate(names)}
