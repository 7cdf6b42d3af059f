"""Counterfactuals of real test scans: does what was set change, does the rest stay, and is nothing else lost?"""

from __future__ import annotations

import numpy as np

from engine.anatomy import regions
from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError
from engine.evaluation.metrics.counterfactual import (
    Likeness,
    composition,
    effectiveness,
    minimality,
    realism,
    reversibility,
)
from engine.evaluation.metrics.interval import Figure
from engine.evaluation.report.parts import ReportedFigure, Section
from engine.evaluation.sections.image import fitted_projection
from engine.evaluation.subjects.people import Gathered
from engine.evaluation.subjects.readers import Readers, truth
from engine.vocabulary.schema import AttributeSchema


def whatif_section(data: Gathered, schema: AttributeSchema, rng: np.random.Generator) -> Section:
    """Effectiveness, composition, reversibility, minimality and realism, attribute by attribute."""
    readers = Readers.fitted(data, schema)
    figures: list[ReportedFigure] = []
    missing = []
    for name in [n for n in readers.models if f"whatif_{n}" in data.sides]:
        for part in (_effect, _faithful, _minimal, _realistic):
            try:
                figures += part(data, schema, readers, name, rng)
            except EvaluationError as error:
                missing.append(f"{name}: {error}.")
    return Section(
        key="whatif",
        title="What-if on real scans",
        meaning="Given a real scan, the same person older or heavier: does the scan change as it does between people, does the rest stay, "
        "and does asking for no change return the scan? What-ifs show associations of the cohort, not what would happen to a person.",
        method="Monteiro et al. 2023 and Melistas et al. 2024, on volumes before the residual is added back. Effectiveness: the change "
        "that frozen regressors read, per unit asked, over their slope on real test persons. Composition and reversibility: "
        "PSNR inside the mask, of which the autoencoder alone loses the most. Minimality: mean change of anatomy that should stay, in SDs "
        "between real persons; broken: another person's. Realism: against other test persons.",
        figures=figures,
        missing=missing,
    )


def _effect(
    data: Gathered, schema: AttributeSchema, readers: Readers, name: str, rng: np.random.Generator
) -> list[ReportedFigure]:
    side, test = data[f"whatif_{name}"], data["test"]
    read = np.stack([readers.read(data, data[f"whatif_{name}_{when}"], name) for when in ("before", "after")], 1)
    real, real_read = truth(test, name, schema), readers.read(data, test, name)
    known = np.isfinite(real)
    found = effectiveness(side.arrays["asked"], read, real[known], real_read[known], rng, resamples=400)
    figure = found.response.ratio or found.response.raw.slope
    note = f"{found.followed.value:.0%} of {found.followed.n} moved the right way"
    return [
        ReportedFigure(
            key=f"effect_{name}",
            name=f"{name}: read change per change asked",
            figure=figure,
            aim="equal",
            target=1.0,
            note=note,
        )
    ]


def _faithful(
    data: Gathered, schema: AttributeSchema, readers: Readers, name: str, rng: np.random.Generator
) -> list[ReportedFigure]:
    side = data[f"whatif_{name}"]
    volumes, mask = side.arrays["volumes"].astype(np.float32) / 255, side.arrays["inside"]
    scan, rebuilt, null, returned = np.moveaxis(volumes, 1, 0)
    figures = []
    for key, title, found in (
        ("composition", "no change asked", composition(scan, rebuilt, null, rng, mask=mask)),
        ("reversibility", "there and back", reversibility(scan, rebuilt, returned, rng, mask=mask)),
    ):
        figures.append(_likeness(key, title, name, found))
    return figures


def _likeness(key: str, title: str, name: str, found: Likeness) -> ReportedFigure:
    note = f"{found.loss.value:+.2f} dB lost beyond the autoencoder ({found.loss.low:+.2f} to {found.loss.high:+.2f})"
    return ReportedFigure(
        key=f"{key}_{name}",
        name=f"{name}, {title}: PSNR",
        unit="dB",
        figure=found.psnr,
        floor=found.autoencoder_psnr,
        note=f"{note}; real: the autoencoder alone",
    )


def _minimal(
    data: Gathered, schema: AttributeSchema, readers: Readers, name: str, rng: np.random.Generator
) -> list[ReportedFigure]:
    kept = [m for region in regions() for m in region.unmoved.get(name, ()) if m in data.measures]
    places = [list(data.measures).index(m) for m in kept]
    if not kept:
        return []
    before, after, real = (
        data[side].arrays["measures"][:, places].astype(float)
        for side in (f"whatif_{name}_before", f"whatif_{name}_after", "test")
    )
    seen, whole = np.isfinite(before + after).all(1), np.isfinite(real).all(1)
    if seen.sum() < MINIMUM_SUBJECTS:
        raise EvaluationError(f"{', '.join(kept)} can be seen in {int(seen.sum())} what-ifs: nothing is said")
    found = minimality(before[seen], after[seen], real[whole], kept, rng)
    title = f"{name}: change of {', '.join(kept)} that should stay, SD"
    return [
        ReportedFigure(
            key=f"minimal_{name}", name=title, figure=found.overall, ceiling=found.replaced, floor=_still(found.overall)
        )
    ]


def _still(like: Figure) -> Figure:
    return Figure(value=0.0, low=0.0, high=0.0, n=like.n)


def _realistic(
    data: Gathered, schema: AttributeSchema, readers: Readers, name: str, rng: np.random.Generator
) -> list[ReportedFigure]:
    after = data[f"whatif_{name}_after"]
    same = set(data[f"whatif_{name}"].ids)
    others = data["test"].take([i for i, who in enumerate(data["test"].ids) if who not in same])
    n, space = min(len(after), len(others)), data.features[0]
    if n < 2 * MINIMUM_SUBJECTS:
        raise EvaluationError(f"{n} test persons are no part of the what-ifs: realism needs {2 * MINIMUM_SUBJECTS}")
    projection = fitted_projection(data["train"].features(space), max(2, n // 4))
    real = projection(others.take(rng.permutation(len(others))[:n]).features(space))
    found = realism(real, projection(after.take(range(n)).features(space)), rng)
    return [
        ReportedFigure(
            key=f"realism_{name}",
            name=f"{name}: kernel distance of what-ifs to other real persons",
            figure=found.kernel.distance,
            aim="test",
            p=found.kernel.p,
            note=f"precision {found.precision.value:.2f}",
        )
    ]
