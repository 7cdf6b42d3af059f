"""Whether a synthetic table has the columns, the associations and the rules of the real one.

Missing cells: a column is compared on the cells present, and the shares missing stand beside; an association uses the
rows in which both cells are present; a rule is judged where all its cells are present. A column that is missing in
every row of a side is refused.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.spatial.distance import jensenshannon

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError, require_equal_n
from engine.evaluation.metrics.interval import Figure, half_sampling, proportion
from engine.evaluation.metrics.table_encoding import Columns, Table, as_columns, present, require_present, take
from engine.vocabulary.schema import INCONSISTENT, AttributeSchema, Category, Derived

#: quantile bins of the real column; fewer where they would hold less than five cells
BINS = 20
CELLS_PER_BIN = 5


@dataclass(frozen=True, kw_only=True)
class Marginal:
    """One column, synthetic against real.

    ``wasserstein`` is in the column's unit, ``scaled`` is it over the real standard deviation; for a category both are
    the total variation distance, which is the Wasserstein distance when all levels are 1 apart. ``jensen_shannon`` is
    the distance (root of the divergence, base 2), 0 to 1. The last two are shares of cells missing.
    """

    name: str
    wasserstein: Figure
    scaled: float
    jensen_shannon: Figure
    missing_real: float
    missing_synthetic: float


def _frequencies(cells: np.ndarray, levels: tuple[str, ...]) -> np.ndarray:
    """Shares of the levels and, last, of all that is none of them."""
    counts = np.array([np.sum(cells == level) for level in levels])
    return np.append(counts, len(cells) - counts.sum()) / max(len(cells), 1)


def wasserstein(real: np.ndarray, synthetic: np.ndarray, levels: tuple[str, ...] = ()) -> float:
    """First Wasserstein distance of two columns without missing cells, the integral of |F - G|; with ``levels``,
    categories, 1 apart."""
    if not levels:
        from scipy import stats

        return float(stats.wasserstein_distance(real, synthetic))
    return float(np.abs(_frequencies(real, levels) - _frequencies(synthetic, levels)).sum() / 2)


def jensen_shannon(real: np.ndarray, synthetic: np.ndarray, levels: tuple[str, ...] = ()) -> float:
    """Jensen-Shannon distance (Lin 1991; its root is a metric) on quantile bins of the real column or on ``levels``.

    Ends of bins are open, so that a synthetic value beyond the real range falls in the outer bin.
    """
    if levels:
        p, q = _frequencies(real, levels), _frequencies(synthetic, levels)
    else:
        bins = max(2, min(BINS, len(real) // CELLS_PER_BIN))
        inner = np.unique(np.quantile(real, np.arange(1, bins) / bins))
        p, q = (
            np.bincount(np.searchsorted(inner, x, "right"), minlength=len(inner) + 1) / len(x)
            for x in (real, synthetic)
        )
    return float(jensenshannon(p, q, base=2)) if not np.array_equal(p, q) else 0.0


def marginals(
    real: Table, synthetic: Table, schema: AttributeSchema, rng: np.random.Generator, *, repeats: int = 100
) -> tuple[Marginal, ...]:
    """Every column of the schema, derived ones too. Raises :class:`EvaluationError` on unequal N."""
    one, two = _pair(real, synthetic, schema, "a column's distance")
    for name in schema.names:
        require_present(name, one[name], "real")
        require_present(name, two[name], "synthetic")
    return tuple(_marginal(name, one[name], two[name], schema, rng, repeats) for name in schema.names)


def _marginal(
    name: str,
    real: np.ndarray,
    synthetic: np.ndarray,
    schema: AttributeSchema,
    rng: np.random.Generator,
    repeats: int,
) -> Marginal:
    a, b = real[present(real)], synthetic[present(synthetic)]
    column = schema[name]
    levels = column.levels if isinstance(column, Category) else ()

    def figure(distance: Callable[..., float], top: float) -> Figure:
        return half_sampling(
            lambda i, j: distance(a[i], b[j], levels), len(a), len(b), rng, repeats=repeats, within=(0, top)
        )

    moved, sd = figure(wasserstein, np.inf), 1.0 if levels else float(a.std())
    return Marginal(
        name=name,
        wasserstein=moved,
        scaled=moved.value / sd if sd > 0 else (0.0 if moved.value == 0 else np.inf),
        jensen_shannon=figure(jensen_shannon, 1.0),
        missing_real=1 - len(a) / len(real),
        missing_synthetic=1 - len(b) / len(synthetic),
    )


def _pair(real: Table, synthetic: Table, schema: AttributeSchema, figure: str) -> tuple[Columns, Columns]:
    one, two = as_columns(real, schema), as_columns(synthetic, schema)
    require_equal_n(len(one[schema.names[0]]), len(two[schema.names[0]]), figure)
    return one, two


def _pearson(x: np.ndarray, y: np.ndarray) -> float:
    if min(np.ptp(x), np.ptp(y)) == 0:
        return 0.0
    return float(np.corrcoef(x, y)[0, 1])


def _correlation_ratio(groups: np.ndarray, y: np.ndarray) -> float:
    total = float(((y - y.mean()) ** 2).sum())
    if total == 0:
        return 0.0
    members = [y[groups == level] for level in set(groups)]
    return float(np.sqrt(sum(len(m) * (m.mean() - y.mean()) ** 2 for m in members) / total))


def _cramer(a: np.ndarray, b: np.ndarray) -> float:
    (rows, i), (columns, j) = (np.unique(x.astype(str), return_inverse=True) for x in (a, b))
    if min(len(rows), len(columns)) < 2:
        return 0.0
    seen = np.zeros((len(rows), len(columns)))
    np.add.at(seen, (i, j), 1)
    expected = seen.sum(1, keepdims=True) * seen.sum(0, keepdims=True) / len(a)
    chi = float(((seen - expected) ** 2 / expected).sum())
    return float(np.sqrt(chi / len(a) / (min(seen.shape) - 1)))


def association(columns: Columns, schema: AttributeSchema) -> Float[np.ndarray, "k k"]:
    """How the modelled columns go together, on rows where both cells are present.

    Two numbers: Pearson's r, -1 to 1. A number and a category: the correlation ratio eta, 0 to 1 (Fisher 1925), the
    root of between-group over total sum of squares. Two categories: Cramer's V, sqrt(chi^2 / n / (min(r, c) - 1)), 0 to
    1 (Cramer 1946, 21.9). A constant goes with nothing: 0. V and eta are biased upwards at small N, alike on both
    sides when N is equal. Raises :class:`EvaluationError` when fewer than four rows have both cells.
    """
    names, k = [c.name for c in schema.columns], len(schema.columns)
    out = np.eye(k)
    for i in range(k):
        for j in range(i):
            a, b = columns[names[i]], columns[names[j]]
            both = present(a) & present(b)
            if both.sum() < MINIMUM_SUBJECTS:
                fault = f"{names[i]} and {names[j]} are both present in {int(both.sum())} rows"
                raise EvaluationError(f"{fault}: leave one out of the schema, or give more rows")
            out[i, j] = out[j, i] = _associated(a[both], b[both])
    return out


def _associated(a: np.ndarray, b: np.ndarray) -> float:
    if a.dtype == object and b.dtype == object:
        return _cramer(a, b)
    if a.dtype == object or b.dtype == object:
        return _correlation_ratio(*((a, b) if a.dtype == object else (b, a)))
    return _pearson(a, b)


@dataclass(frozen=True, kw_only=True)
class AssociationDifference:
    """Association matrices of both sides over ``names``, and the mean and the largest |difference| over pairs."""

    names: tuple[str, ...]
    real: np.ndarray
    synthetic: np.ndarray
    mean: Figure
    largest: float

    @property
    def worst(self) -> tuple[str, str]:
        """The pair of columns that differs most."""
        i, j = np.unravel_index(np.abs(self.real - self.synthetic).argmax(), self.real.shape)
        return self.names[i], self.names[j]


def association_difference(
    real: Table, synthetic: Table, schema: AttributeSchema, rng: np.random.Generator, *, repeats: int = 50
) -> AssociationDifference:
    """The mixed association matrix of each side and their difference.

    A column constant in the real table is refused; one constant in the synthetic has lost its associations, which
    counts. Raises :class:`EvaluationError` on that, on unequal N and on fewer than two columns.
    """
    one, two = _pair(real, synthetic, schema, "an association's difference")
    if len(schema.columns) < 2:
        raise EvaluationError("one column is associated with nothing: give two or more")
    for column in schema.columns:
        require_present(column.name, one[column.name], "real")
        require_present(column.name, two[column.name], "synthetic")
        cells = one[column.name][present(one[column.name])]
        if len(set(cells.tolist())) < 2:
            raise EvaluationError(f"column {column.name} is {cells[0]!r} in every real row: leave it out of the schema")
    above = np.triu_indices(len(schema.columns), 1)

    def gap(i: np.ndarray, j: np.ndarray) -> float:
        difference = association(take(one, i), schema) - association(take(two, j), schema)
        return float(np.abs(difference[above]).mean())

    n = len(one[schema.columns[0].name])
    matrices = association(one, schema), association(two, schema)
    return AssociationDifference(
        names=tuple(c.name for c in schema.columns),
        real=matrices[0],
        synthetic=matrices[1],
        mean=half_sampling(gap, n, n, rng, repeats=repeats, within=(0, 2)),
        largest=float(np.abs(matrices[0] - matrices[1])[above].max()),
    )


def violations(table: Table, schema: AttributeSchema) -> dict[str, Figure]:
    """For each column, the share of present cells that break its rule, with the exact binomial interval.

    A number: outside ``low`` to ``high``. A category: none of the levels. A derived column: more than 1% off the
    product it stands for, where the table gives it and all factors, or out of range. ``n`` counts the cells judged.
    """
    columns = as_columns(table, schema)
    found = {}
    for name in schema.names:
        column, cells = schema[name], columns[name]
        judged = present(cells)
        if isinstance(column, Category):
            broken = np.array([c not in column.levels for c in cells])
        else:
            broken = (cells < column.low) | (cells > column.high)
            if isinstance(column, Derived):
                with np.errstate(invalid="ignore", divide="ignore"):
                    product = column.product(columns)
                    broken |= np.abs(product / cells - 1) > INCONSISTENT
        found[name] = proportion(int((broken & judged).sum()), int(judged.sum()))
    return found
