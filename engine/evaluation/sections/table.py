"""Whether the synthetic table has the columns, associations and rules of the real one."""

from __future__ import annotations

import numpy as np

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.interval import Figure, half_sampling
from engine.evaluation.metrics.manifold import supports
from engine.evaluation.metrics.table_encoding import Table, TableEncoding
from engine.evaluation.metrics.tabular import association_difference, marginals, violations
from engine.evaluation.metrics.utility import detection, utility
from engine.evaluation.report.parts import Plot, ReportedFigure, Section, Sheet
from engine.evaluation.subjects.people import Gathered
from engine.vocabulary.schema import AttributeSchema, Number

#: draws of training persons behind a floor
DRAWS = 20
#: entropic regularisation of the Sinkhorn divergence, as a share of the median cost
REGULAR = 0.05
#: columns predicted to test usefulness, the first two that vary
TARGETS = ("age", "bmi", "sex", "body_fat", "vat")


def table_section(data: Gathered, schema: AttributeSchema, rng: np.random.Generator) -> Section:
    """Columns, associations, supports, detection, usefulness and rules, each beside real training rows."""
    n = min(len(data["test"]), len(data["synthetic"]), len(data["train"]))
    schema, missing = varying(data, schema)
    test, made, train = ([*data[side].rows] for side in ("test", "synthetic", "train"))

    def some(rows: list) -> list:
        return [rows[i] for i in rng.permutation(len(rows))[:n]]

    mine, theirs = some(test), some(made)
    figures = [*space_figures(mine, theirs, train, schema, rng, n)]
    parts: list[ReportedFigure | Sheet | Plot] = []
    for part in (_columns, _associations, _detection, _usefulness):
        try:
            parts += part(mine, theirs, some(train), train, schema, rng)
        except EvaluationError as error:
            missing.append(f"{error}.")
    figures += [p for p in parts if isinstance(p, ReportedFigure)]
    return Section(
        key="table",
        title="Table fidelity",
        meaning="Do synthetic rows look like rows of real people: each column, what goes with what, and no impossible person?",
        method="As many synthetic rows as test rows; the floor is the same figure for real training rows. Wasserstein distances are in "
        "units of the column and in real standard deviations; associations are Pearson's r, the correlation ratio or Cramér's V; "
        "detection is the cross-validated AUC of telling both apart (0.5 is ideal).",
        figures=[*figures, *_rules(made, schema)],
        sheets=[p for p in parts if isinstance(p, Sheet)],
        plots=[p for p in parts if isinstance(p, Plot)],
        missing=missing,
    )


def varying(data: Gathered, schema: AttributeSchema, side: str = "test") -> tuple[AttributeSchema, list[str]]:
    """The schema less the columns that are empty or constant over a ``side`` or training, and what to say of them."""
    kept, gone = [], []
    for column in schema.columns:
        cells = {row.get(column.name) for row in data[side].rows} - {None}
        other = {row.get(column.name) for row in data["train"].rows} - {None}
        (kept if min(len(cells), len(other)) > 1 else gone).append(column)
    names = {c.name for c in kept}
    derived = tuple(d for d in schema.derived if all(name in names for name, _ in d.powers))
    if not kept:
        raise EvaluationError(
            f"no column of the store varies over the {side} persons: give a participants.tsv with ages and sexes"
        )
    return AttributeSchema(columns=tuple(kept), derived=derived), [
        f"Column {c.name} is empty or the same for all real persons, and is left out." for c in gone
    ]


def space_figures(
    mine: Table, theirs: Table, train: Table, schema: AttributeSchema, rng: np.random.Generator, n: int
) -> list[ReportedFigure]:
    """Alpha-precision, beta-recall and the Sinkhorn divergence in the table encoding, with floors."""
    space = TableEncoding.fitted(train, schema, beside=mine)
    real, made, other = space(mine), space(theirs), space(train)
    rows = [rng.permutation(len(other))[:n] for _ in range(DRAWS)]
    figures = []
    for key, name in (("precision", "alpha-precision"), ("recall", "beta-recall")):
        floor = quantile_range([getattr(supports(real, other[i], k=1), key) for i in rows], n)
        value = half_sampling(
            lambda i, j, key=key: float(getattr(supports(real[i], made[j], k=1), key)),
            n,
            n,
            rng,
            repeats=50,
            within=(-1, 1),
        )
        figures.append(ReportedFigure(key=f"table_{key}", name=name, figure=value, aim="high", floor=floor))
    floor = quantile_range([sinkhorn(real, other[i]) for i in rows], n)
    ceiling = quantile_range([sinkhorn(real, _shuffled(other[i], rng)) for i in rows[:5]], n)
    value = half_sampling(lambda i, j: sinkhorn(real[i], made[j]), n, n, rng, repeats=20, within=(0, np.inf))
    figures.append(
        ReportedFigure(
            key="sinkhorn",
            name="Sinkhorn divergence",
            figure=value,
            aim="low",
            floor=floor,
            ceiling=ceiling,
            note="ceiling: shuffled columns",
        )
    )
    return figures


def quantile_range(scores: list[float], n: int) -> Figure:
    """Median and central 95% of draws."""
    low, value, high = np.quantile(scores, [0.025, 0.5, 0.975])
    return Figure(value=float(value), low=float(low), high=float(high), n=n)


def _shuffled(points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    return np.stack([rng.permutation(column) for column in points.T], 1)


def sinkhorn(real: np.ndarray, made: np.ndarray) -> float:
    """Debiased entropic optimal transport cost, squared distances (Feydy et al. 2019, equation 3), by POT.

    OT(a, b) - (OT(a, a) + OT(b, b)) / 2, with a regularisation of :data:`REGULAR` of the median cost.
    """
    import ot

    scale = float(np.median(ot.dist(real, made))) or 1.0
    value = ot.bregman.empirical_sinkhorn_divergence(
        real / scale**0.5, made / scale**0.5, REGULAR, numIterMax=200, warn=False
    )
    return float(np.asarray(value).ravel()[0]) * scale


def _columns(mine, theirs, some_train, train, schema, rng) -> list[Sheet]:
    found = marginals(mine, theirs, schema, rng, repeats=50)
    floor = {m.name: m for m in marginals(mine, some_train, schema, rng, repeats=10)}
    return [
        Sheet(
            title="Columns",
            columns=(
                "column",
                "Wasserstein",
                "in real SD",
                "real against real",
                "Jensen-Shannon",
                "real against real",
                "missing real / synthetic",
            ),
            rows=tuple(
                (
                    m.name,
                    m.wasserstein,
                    m.scaled,
                    floor[m.name].scaled,
                    m.jensen_shannon,
                    floor[m.name].jensen_shannon.value,
                    f"{m.missing_real:.0%} / {m.missing_synthetic:.0%}",
                )
                for m in found
            ),
            note="For a category Wasserstein is the total variation distance.",
        )
    ]


def _associations(mine, theirs, some_train, train, schema, rng) -> list[ReportedFigure | Plot]:
    found = association_difference(mine, theirs, schema, rng, repeats=30)
    floor = association_difference(mine, some_train, schema, rng, repeats=30)
    heat = {
        "rows": (found.synthetic - found.real).tolist(),
        "labels": list(found.names),
        "real": found.real.tolist(),
        "synthetic": found.synthetic.tolist(),
    }
    return [
        ReportedFigure(
            key="association", name="mean difference of associations", figure=found.mean, aim="low", floor=floor.mean
        ),
        Plot(title="Associations, synthetic minus real", kind="heat", x="", y="", series=heat),
    ]


def _detection(mine, theirs, some_train, train, schema, rng) -> list[ReportedFigure]:
    found, floor = (detection(mine, other, schema, rng) for other in (theirs, some_train))
    return [
        ReportedFigure(
            key=f"detection_{kind}",
            name=f"detection AUC, {title}",
            figure=getattr(found, kind),
            aim="low",
            floor=getattr(floor, kind),
            target=0.5,
        )
        for kind, title in (("boosting", "gradient boosting"), ("linear", "logistic"))
    ]


def _usefulness(mine, theirs, some_train, train, schema, rng) -> list[ReportedFigure]:
    names = [c.name for c in schema.columns]
    figures = []
    for target in [t for t in TARGETS if t in names][:2]:
        found = utility(some_train, theirs, mine, schema, target, rng, kind="linear")
        score = "R²" if isinstance(schema[target], Number) else "AUC"
        figures.append(
            ReportedFigure(
                key=f"utility_{target}",
                name=f"{target} predicted after training on synthetic rows, {score}",
                figure=found.from_synthetic,
                aim="high",
                floor=found.from_real,
            )
        )
    return figures


def _rules(made: list, schema: AttributeSchema) -> list[ReportedFigure]:
    """Impossible cells of the synthetic table."""
    found = violations(made, schema)
    worst = max(found, key=lambda name: found[name].value if np.isfinite(found[name].value) else -1)
    return [
        ReportedFigure(
            key="violations",
            name=f"rows that break a rule, worst column ({worst})",
            figure=found[worst],
            aim="low",
            floor=Figure(value=0, low=0, high=0, n=found[worst].n),
            note="range, level, or weight = BMI height²",
        )
    ]
