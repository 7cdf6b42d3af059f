"""Whether a scan and its row belong together: seven ways of asking."""

from __future__ import annotations

import numpy as np

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError
from engine.evaluation.metrics.coherence import coherence, match_or_shuffle, response, slope
from engine.evaluation.metrics.interval import Figure, bootstrap, proportion
from engine.evaluation.metrics.table_encoding import TableEncoding
from engine.evaluation.report.parts import Plot, ReportedFigure, Section, Sheet
from engine.evaluation.sections.image import fitted_projection
from engine.evaluation.subjects.people import Gathered, People
from engine.evaluation.subjects.readers import Readers, truth
from engine.vocabulary.schema import AttributeSchema, Category, Number

RESAMPLES = 400
#: attributes that anatomy is compared on
ATTRIBUTES = ("age", "bmi", "height")
#: principal components of the features that a match is learnt from
COMPONENTS = 16


def coherence_section(data: Gathered, schema: AttributeSchema, rng: np.random.Generator) -> Section:
    """Regressors, measured anatomy, requested against measured, matching, scan to table, and learning from made pairs."""
    readers = Readers.fitted(data, schema)
    parts: list[ReportedFigure | Sheet | Plot] = []
    missing: list[str] = []
    for part in (read_figures, anatomy, requested, matching, inferred, learnt_from_pairs):
        try:
            parts += part(data, schema, readers, rng)
        except EvaluationError as error:
            missing.append(f"{error}.")
    if not data.measures:
        missing.append("Measured anatomy: there is no ruler for this anatomy.")
    return Section(
        key="coherence",
        title="Coherence of scan and table",
        meaning="Does the scan show the person that the table describes, as much as in real people, no less and no more? Subgroup "
        "rates have a section of their own.",
        method="Ridge regressors on frozen features and measures, fitted on real training persons, read attributes off the scans; a "
        "ruler measures anatomy. Slopes and correlations are compared with those of real persons (training and test together), "
        "requested against read values within persons and divided by the regressor's own slope on real test persons.",
        figures=[p for p in parts if isinstance(p, ReportedFigure)],
        sheets=[p for p in parts if isinstance(p, Sheet)],
        plots=[p for p in parts if isinstance(p, Plot)],
        missing=missing,
    )


def mean_of(values: np.ndarray, rng: np.random.Generator) -> Figure:
    """The mean of what is finite, bootstrapped."""
    seen = values[np.isfinite(values)]
    return bootstrap(lambda i: float(seen[i].mean()), np.arange(len(seen)), rng, resamples=RESAMPLES)


def read_figures(
    data: Gathered, schema: AttributeSchema, readers: Readers, rng: np.random.Generator
) -> list[ReportedFigure]:
    """Attributes read off synthetic scans against their own rows, beside real test persons; ceiling: shuffled rows."""
    figures = []
    for name in readers.models:
        made, real = (readers.errors(data, data[side], name) for side in ("synthetic", "test"))
        if min(np.isfinite(made).sum(), np.isfinite(real).sum()) < MINIMUM_SUBJECTS:
            continue
        side = data["synthetic"]
        order = rng.permutation(len(side))
        broken = People(ids=side.ids, rows=tuple(side.rows[i] for i in order), arrays=side.arrays)
        kind, unit = (
            ("share read wrong", "")
            if isinstance(schema[name], Category)
            else ("mean error of reading", getattr(schema[name], "unit", ""))
        )
        figures.append(
            ReportedFigure(
                key=f"read_{name}",
                name=f"{name}: {kind}",
                unit=unit,
                figure=mean_of(made, rng),
                aim="low",
                floor=mean_of(real, rng),
                ceiling=mean_of(readers.errors(data, broken, name), rng),
            )
        )
    return figures


def anatomy(
    data: Gathered, schema: AttributeSchema, readers: Readers, rng: np.random.Generator
) -> list[ReportedFigure | Sheet]:
    """Correlation and slope of every measure on every attribute, synthetic beside real, and on what the row itself says of it."""
    if not data.measures:
        return []
    figures, rows = [], []
    for measure, unit in data.measures.items():
        told = (*ATTRIBUTES, measure)
        for attribute in [a for a in told if a in schema.names and isinstance(schema[a], Number)]:
            real, made = (_seen(data, names, measure, attribute) for names in (("train", "test"), ("synthetic",)))
            try:
                found = coherence(real[0], real[1], made[0], made[1], rng, resamples=RESAMPLES)
            except EvaluationError:
                continue
            rows.append(
                (
                    measure,
                    attribute,
                    found.real.correlation,
                    found.synthetic.correlation,
                    found.real.slope,
                    found.synthetic.slope,
                    found.slope_ratio or "real slope not told from 0",
                )
            )
            if found.slope_ratio is not None:
                on = "its own row" if attribute == measure else attribute
                figures.append(
                    ReportedFigure(
                        key=f"slope_{measure}_{attribute}",
                        name=f"{measure} on {on}: synthetic over real slope",
                        figure=found.slope_ratio,
                        aim="equal",
                        target=1.0,
                        note=f"real {found.real.slope.value:.3g}; synthetic {found.synthetic.slope.value:.3g} {unit} per unit",
                    )
                )
    title = "Measured anatomy on attributes"
    columns = ("measure", "attribute", "r real", "r synthetic", "slope real", "slope synthetic", "ratio")
    return [
        *figures,
        Sheet(title=title, columns=columns, rows=tuple(rows), note="Unpaired: free samples of the model."),
    ]


def _seen(data: Gathered, names: tuple[str, ...], measure: str, attribute: str) -> tuple[np.ndarray, np.ndarray]:
    """Measure and attribute of all persons of some sides who have both."""
    x = np.concatenate([data[name].column(attribute) for name in names])
    y = np.concatenate([data.measured(name, measure) for name in names])
    seen = np.isfinite(x) & np.isfinite(y)
    return y[seen], x[seen]


def requested(
    data: Gathered, schema: AttributeSchema, readers: Readers, rng: np.random.Generator
) -> list[ReportedFigure | Plot]:
    """The same noise asked for other values: slope of what is read on what was asked, over the reader's slope on real persons."""
    parts: list[ReportedFigure | Plot] = []
    for name in [n for n in readers.models if f"asked_{n}" in data.sides]:
        side, test = data[f"asked_{name}"], data["test"]
        asked, read = side.column(name), readers.read(data, side, name)
        real, real_read = truth(test, name, schema), readers.read(data, test, name)
        known = np.isfinite(real)
        found = response(asked, read, np.array(side.ids), real[known], real_read[known], rng, resamples=RESAMPLES)
        figure = found.ratio or found.raw.slope
        note = (
            "over the reader's slope on real test persons"
            if found.ratio
            else "raw: the reader's own slope is not told from 0"
        )
        parts.append(
            ReportedFigure(
                key=f"asked_{name}",
                name=f"{name}: read on requested, slope",
                figure=figure,
                aim="equal",
                target=1.0,
                note=note,
            )
        )
        lines = {
            who: [asked[np.array(side.ids) == who].tolist(), read[np.array(side.ids) == who].tolist()]
            for who in dict.fromkeys(side.ids)
        }
        unit = getattr(schema[name], "unit", "")
        parts.append(
            Plot(
                title=f"Requested and read {name}",
                kind="line",
                x=f"requested {name} ({unit})",
                y=f"read off the scan ({unit})",
                series={**lines, "real test persons (regression)": _regression(real[known], real_read[known], asked)},
                note="One line a person: the same noise at several values. Thick: what the reader makes of real persons.",
            )
        )
    return parts


def _regression(x: np.ndarray, y: np.ndarray, over: np.ndarray) -> list[list[float]]:
    """The least-squares line of y on x over the range of ``over``: an aggregate, no person."""
    ends = np.array([over.min(), over.max()])
    return [ends.tolist(), (y.mean() + slope(x, y) * (ends - x.mean())).tolist()]


def matching(
    data: Gathered, schema: AttributeSchema, readers: Readers, rng: np.random.Generator
) -> list[ReportedFigure]:
    """AUC of telling a scan's own row from another's, made and real."""
    space = TableEncoding.fitted(data["train"].rows, schema)
    n = min(len(data["test"]), len(data["synthetic"]))
    projections = [fitted_projection(data["train"].features(name), min(COMPONENTS, n // 3)) for name in data.features]

    def pair(side: str) -> tuple[np.ndarray, np.ndarray]:
        chosen = data[side].take(rng.permutation(len(data[side]))[:n])
        return np.concatenate(
            [p(chosen.features(f)) for p, f in zip(projections, data.features, strict=True)], 1
        ), space(chosen.rows)

    found = match_or_shuffle(pair("test"), pair("synthetic"), rng)
    return [
        ReportedFigure(
            key="match",
            name="own row told from another's, AUC",
            figure=found.synthetic,
            aim="high",
            floor=found.real,
            ceiling=found.shuffled,
        )
    ]


def inferred(
    data: Gathered, schema: AttributeSchema, readers: Readers, rng: np.random.Generator
) -> list[ReportedFigure]:
    """The model's own reading of real test scans, beside the ridge readers on frozen features; coverage of its intervals."""
    side = data.sides.get("test_read")
    if side is None or "inferred" not in side.arrays:
        return []
    figures, draws = [], side.arrays["inferred"]
    count = draws.shape[1]
    for name in readers.models:
        place, column = schema.index(name), schema[name]
        y = truth(side, name, schema)
        known = np.isfinite(y)
        floor = mean_of(readers.errors(data, side, name), rng)
        if isinstance(column, Category):
            cells = [column.decode(d[:, place, : column.width]) for d in draws]
            second = np.array([np.mean([c == column.levels[1] for c in person]) for person in cells])
            wrong = (np.where(second >= 0.5, 1.0, -1.0) != y)[known].astype(float)
            figures.append(
                ReportedFigure(
                    key=f"infer_{name}",
                    name=f"{name} from the bare scan: share wrong",
                    figure=mean_of(wrong, rng),
                    aim="low",
                    floor=floor,
                    note="floor: ridge on frozen features",
                )
            )
            continue
        assert isinstance(column, Number)
        values = np.array([column.decode(d[:, place, :1]) for d in draws], float)
        error = np.abs(values.mean(1) - y)[known]
        figures.append(
            ReportedFigure(
                key=f"infer_{name}",
                name=f"{name} from the bare scan: mean error",
                unit=column.unit,
                figure=mean_of(error, rng),
                aim="low",
                floor=floor,
                note="floor: ridge on frozen features",
            )
        )
        inside = ((values.min(1) <= y) & (y <= values.max(1)))[known]
        nominal = (count - 1) / (count + 1)
        figures.append(
            ReportedFigure(
                key=f"coverage_{name}",
                name=f"{name}: test persons within the range of {count} draws",
                figure=proportion(int(inside.sum()), len(inside)),
                aim="equal",
                target=nominal,
                note=f"{nominal:.1%} when calibrated; exact binomial interval",
            )
        )
    return figures


def learnt_from_pairs(
    data: Gathered, schema: AttributeSchema, readers: Readers, rng: np.random.Generator
) -> list[ReportedFigure]:
    """Readers trained on synthetic pairs, tested on real test persons, beside readers trained on as many real pairs."""
    n = min(len(data["synthetic"]), len(data["train"]))
    sides = [
        Readers.fitted(data, schema, data[s].take(rng.permutation(len(data[s]))[:n])) for s in ("synthetic", "train")
    ]
    figures = []
    for name in [m for m in sides[0].models if m in sides[1].models]:
        made, real = (mean_of(s.errors(data, data["test"], name), rng) for s in sides)
        kind = "share wrong" if isinstance(schema[name], Category) else "mean error"
        figures.append(
            ReportedFigure(
                key=f"pairs_{name}",
                name=f"{name} learnt from {n} made pairs: {kind} on real test scans",
                figure=made,
                aim="low",
                floor=real,
                unit=getattr(schema[name], "unit", ""),
                note="floor: learnt from as many real pairs",
            )
        )
    return figures
