"""Whether synthetic volumes look as real ones do, and whether all kinds of real ones are reached."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.distribution import (
    SMALL_N_COMPONENTS,
    SUBJECTS_PER_FEATURE,
    Projection,
    frechet_distance,
    frechet_test,
    kernel_distance,
    kernel_test,
)
from engine.evaluation.metrics.diversity import ms_ssim_diversity
from engine.evaluation.metrics.interval import Figure, bootstrap
from engine.evaluation.metrics.manifold import manifold, prdc
from engine.evaluation.report.parts import Plot, ReportedFigure, Section, Sheet
from engine.evaluation.sections.realism import realism_parts
from engine.evaluation.subjects.fidelity import decibel
from engine.evaluation.subjects.people import ENCODED, Gathered, People

#: random draws behind a floor or a ceiling
DRAWS = 40
#: principal components at most, and the persons from which five neighbours are counted instead of three
COMPONENTS, MANY = 32, 500
NAMES = {ENCODED: "contrastive encoder", "radiomics": "radiomics"}
#: the sides that stand beside the model, worst first
BASELINES = {
    "mean": "mean image",
    "gaussian": "normal distribution of latents",
    "local": "local score model (training patches)",
    "replay": "memoriser (perturbed training scans)",
    "train": "real training persons",
}


def image_section(data: Gathered, rng: np.random.Generator) -> Section:
    """Distances and neighbours in every feature space, diversity, what the autoencoder loses, and realism in detail."""
    figures, sheets, missing = [*autoencoder_figures(data, rng)], [], []
    for space in data.features:
        found, sheet = space_figures(data, space, rng)
        figures += found
        sheets.append(sheet)
    if ENCODED not in data.features:
        missing.append(
            "Contrastive features: no frozen encoder fits this grid; train one, or give weights with --features."
        )
    figures += diversity_figures(data, rng)
    parts, unseen = realism_parts(data, rng)
    return Section(
        key="image",
        title="Image fidelity",
        meaning="Do synthetic scans look like scans of real people, and do they show the variety that real people have? Precision "
        "asks the first, recall the second: a model that draws one perfect person over and over has precision 1 and recall 0. "
        "Then what the eye sees first: is there as much detail of every size, are borders as sharp, are the parts as large?",
        method="Features are standardised and projected on principal components fitted on training persons. Each figure compares "
        "as many synthetic persons with the test persons, never trained on; the floor does the same with real training "
        f"persons, the ceiling with normal noise of twice the spread ({DRAWS} draws each, 95% of them in brackets). Intervals of figures "
        "are from half-samples; p is of the permutation test that both come of one distribution. "
        "Ratios and Cohen's d set the means of synthetic persons beside those of test persons (bootstrap over both); their floor "
        "sets training beside test persons.",
        figures=[*figures, *(part for part in parts if isinstance(part, ReportedFigure))],
        sheets=[*sheets, *(part for part in parts if isinstance(part, Sheet))],
        plots=[part for part in parts if isinstance(part, Plot)],
        missing=[*missing, *unseen],
    )


def projected(data: Gathered, space: str, n: int) -> tuple[dict[str, np.ndarray], int]:
    """Every side's scores in ``space``, components fitted on training persons, as many as ``n`` persons carry."""
    train = data["train"].features(space)
    most = SMALL_N_COMPONENTS if n < 8 * COMPONENTS else COMPONENTS
    projection = fitted_projection(train, min(most, n // SUBJECTS_PER_FEATURE))
    components = projection.components.shape[1]
    sides = {name: side for name, side in data.sides.items() if space in side.arrays and len(side)}
    scores = {name: projection(_repeated(side, n).features(space)) for name, side in sides.items()}
    return scores, components


def fitted_projection(train: np.ndarray, most: int) -> Projection:
    """At most ``most`` principal components, fewer where training persons span fewer."""
    components = max(1, min(most, len(train) - 2, train.shape[1]))
    while True:
        try:
            return Projection.fitted(train, components)
        except EvaluationError:
            if components == 1:
                raise
            components //= 2


def _repeated(side: People, n: int) -> People:
    """A side of one person (the mean image) as often as others have persons."""
    return side.take([0] * n) if len(side) == 1 else side


def between(
    statistic: Callable[[np.ndarray, np.ndarray], float],
    test: np.ndarray,
    other: np.ndarray,
    n: int,
    rng: np.random.Generator,
) -> Figure:
    """Median and central 95% of the statistic over random draws of ``n`` of each side."""
    scores = [
        statistic(test[rng.permutation(len(test))[:n]], other[rng.permutation(len(other))[:n]]) for _ in range(DRAWS)
    ]
    low, value, high = np.quantile(scores, [0.025, 0.5, 0.975])
    return Figure(value=float(value), low=float(low), high=float(high), n=n)


def noise_like(real: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Independent normal features of twice the spread: what a broken generator scores."""
    return real.mean(0) + 2 * real.std(0) * rng.standard_normal(real.shape)


def space_figures(data: Gathered, space: str, rng: np.random.Generator) -> tuple[list[ReportedFigure], Sheet]:
    """Frechet and kernel distance, precision, recall, density and coverage of the model; a table with the baselines beside."""
    n = min(len(data["test"]), len(data["synthetic"]))
    k = 5 if n >= MANY else 3
    scores, components = projected(data, space, n)
    test, train, made = scores["test"], scores["train"], scores["synthetic"]
    size = min(n, len(train))
    noise = noise_like(np.concatenate([test, train]), rng)
    mine, theirs = test[rng.permutation(len(test))[:n]], made[rng.permutation(len(made))[:n]]
    name = f"{NAMES.get(space, space)}, {components} components"
    figures = []
    for key, title, tested, statistic in (
        ("frechet", "Fréchet distance", frechet_test, frechet_distance),
        ("kernel", "kernel distance (KID)", kernel_test, kernel_distance),
    ):
        found = tested(mine, theirs, rng)
        floor, ceiling = (between(statistic, test, other, size, rng) for other in (train, noise))
        figures.append(
            ReportedFigure(
                key=f"{key}_{space}",
                name=f"{title} ({name})",
                figure=found.distance,
                p=found.p,
                aim="low",
                floor=floor,
                ceiling=ceiling,
            )
        )
    neighbours = manifold(mine, theirs, k, rng)
    for place, key in enumerate(("precision", "recall", "density", "coverage")):

        def one(real: np.ndarray, other: np.ndarray, place: int = place) -> float:
            return prdc(real, other, k)[place]

        floor, ceiling = (between(one, test, other, size, rng) for other in (train, noise))
        figures.append(
            ReportedFigure(
                key=f"{key}_{space}",
                name=f"{key} ({name}, k = {k})",
                figure=getattr(neighbours, key),
                aim="high",
                floor=floor,
                ceiling=ceiling,
            )
        )
    return figures, _beside(scores, space, n, k, rng)


def _beside(scores: dict[str, np.ndarray], space: str, n: int, k: int, rng: np.random.Generator) -> Sheet:
    """The model and the baselines in one table, at equal N."""
    fewest = max(n // 2, SUBJECTS_PER_FEATURE * scores["test"].shape[1])
    sides = {"synthetic": "this model"} | BASELINES
    sides = {side: title for side, title in sides.items() if side in scores and len(scores[side]) >= fewest}
    test, size = scores["test"], min(n, *(len(scores[side]) for side in sides))
    compared = {title: scores[side] for side, title in sides.items()} | {
        "noise of twice the spread": noise_like(test, rng)
    }
    rows = []
    for title, other in compared.items():
        mine, theirs = test[rng.permutation(len(test))[:size]], other[rng.permutation(len(other))[:size]]
        rows.append((title, frechet_distance(mine, theirs), kernel_distance(mine, theirs), *prdc(mine, theirs, k)))
    return Sheet(
        title=f"Beside baselines: {NAMES.get(space, space)}",
        columns=("", "Fréchet", "KID", "precision", "recall", "density", "coverage"),
        rows=tuple(rows),
        note=f"One draw of {size} each. A memoriser may look perfect here: what it does shows in the privacy audit.",
    )


def autoencoder_figures(data: Gathered, rng: np.random.Generator) -> list[ReportedFigure]:
    """PSNR and SSIM of test scans after the autoencoder: no sample can be sharper."""
    side = data["test"]
    if "inside_mse" not in side.arrays:
        return []
    figures, rows = [], np.arange(len(side))
    for key, name in (("inside_mse", "inside the mask"), ("whole_mse", "whole volume")):
        error = side.arrays[key]
        figure = bootstrap(lambda i: decibel(float(error[i].mean())), rows, rng)  # noqa: B023
        figures.append(
            ReportedFigure(key=f"psnr_{key[:-4]}", name=f"autoencoder PSNR, {name}", figure=figure, unit="dB")
        )
    if (few := data.sides.get("test_read")) is not None and "ssim_value" in few.arrays:
        value = few.arrays["ssim_value"]
        figure = bootstrap(lambda i: float(value[i].mean()), np.arange(len(few)), rng)
        figures.append(ReportedFigure(key="ssim", name="autoencoder SSIM", figure=figure))
    return figures


def diversity_figures(data: Gathered, rng: np.random.Generator) -> list[ReportedFigure]:
    """MS-SSIM of pairs, synthetic beside real."""
    sides = [data.sides.get(name) for name in ("synthetic_small", "train_small")]
    if any(s is None or "small" not in s.arrays or len(s) < 4 for s in sides):
        return []
    try:
        made, real = (ms_ssim_diversity(s.arrays["small"].astype(np.float32) / 255, rng) for s in sides)  # pyright: ignore[reportOptionalMemberAccess]
    except EvaluationError:
        return []
    note = "of pairs at half resolution; below real: noise, above: too alike"
    return [
        ReportedFigure(key="ms_ssim", name="MS-SSIM between persons", figure=made, aim="none", floor=real, note=note)
    ]
