"""Whether made scans are as detailed, as sharp and as large in their parts as real ones: figures of the image section."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError
from engine.evaluation.metrics.interval import Figure, bootstrap_two, half_sampling
from engine.evaluation.metrics.realism.edges import QUANTILES, strength_ratio
from engine.evaluation.metrics.realism.effect import cohens_d, effect_size
from engine.evaluation.report.parts import Plot, ReportedFigure, Sheet
from engine.evaluation.subjects.people import Gathered
from engine.imaging.spectrum import EDGES, RADII, blurred_power, power_ratio, worst_deviation

#: random draws behind a floor, and resamples behind an interval
DRAWS, RESAMPLES = 40, 400
#: what is asked of a good model: deviation of the spectrum, of edges and of the ribbon from 1, and Cohen's d
SPECTRUM, SHARPNESS, RIBBON, EFFECT = 0.15, 0.1, 0.2, 0.2
#: what is told of the ribbon, in the order of the array
RIBBONS = {
    "ribbon_contrast": ("contrast of grey and white matter across their border", "lower: the ribbon is foggy"),
    "ribbon_area": ("area of the border of grey and white matter", "lower: fewer or smoother folds, higher: blotches"),
    "ribbon_deep": ("area of that border 1 cm deep and deeper", "lower: folds do not reach as deep as real ones"),
}

#: what is told of a cine's motion, in the order of the array
MOTIONS = {
    "cycle_roughness": (
        "second differences over the cycle beside first ones",
        "higher: phases flicker, lower: too smooth",
    ),
    "cycle_closure": ("step from the last phase to the first", "higher: the cycle is not closed"),
    "slice_jump": ("second differences from slice to slice", "higher: slices do not go together"),
    "cycle_motion": ("step from phase to phase", "lower: the heart moves too little"),
}

Parts = list[ReportedFigure | Sheet | Plot]
#: one number of the values of two sides
Statistic = Callable[[np.ndarray, np.ndarray], float]


def realism_parts(data: Gathered, rng: np.random.Generator) -> tuple[Parts, list[str]]:
    """Spectrum, edges, the cortical ribbon, a cine's motion and region volumes, made beside test
    persons; and what could not be computed."""
    parts: Parts = []
    missing: list[str] = []
    for part in (spectrum, edges, cortex, cycle, volumes):
        try:
            parts += part(data, rng)
        except EvaluationError as error:
            missing.append(f"{part.__name__.capitalize()}: {error}.")
    return parts, missing


def _sides(data: Gathered, name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """An array of test, training and made persons, without those of whom it could not be taken; None if not gathered."""
    sides = [data[side].arrays.get(name) for side in ("test", "train", "synthetic")]
    if any(side is None for side in sides):
        return None
    whole = [side[np.isfinite(side.reshape(len(side), -1)).all(1)].astype(float) for side in sides]  # pyright: ignore[reportOptionalMemberAccess,reportOptionalSubscript,reportArgumentType]
    fewest = min(len(side) for side in whole)
    if fewest < 2 * MINIMUM_SUBJECTS:
        raise EvaluationError(f"{fewest} persons of a side can be seen: {2 * MINIMUM_SUBJECTS} or more are needed")
    return whole[0], whole[1], whole[2]


def _drawn(statistic: Statistic, one: np.ndarray, other: np.ndarray, n: int, rng: np.random.Generator) -> Figure:
    """Median and central 95% of the statistic over random draws of ``n`` of each side."""
    scores = [statistic(rng.permutation(one)[:n], rng.permutation(other)[:n]) for _ in range(DRAWS)]
    low, value, high = np.quantile(scores, [0.025, 0.5, 0.975])
    return Figure(value=float(value), low=float(low), high=float(high), n=n)


def _beside(statistic: Statistic, real: np.ndarray, made: np.ndarray, rng: np.random.Generator) -> Figure:
    """The statistic with a bootstrap over the persons of both sides."""
    return bootstrap_two(lambda i, j: statistic(real[i], made[j]), len(real), len(made), rng, resamples=RESAMPLES)


def _ratio_of(
    key: str,
    name: str,
    sides: tuple[np.ndarray, np.ndarray, np.ndarray],
    statistic: Statistic,
    note: str,
    rng: np.random.Generator,
) -> ReportedFigure:
    """A figure that is 1 where made persons are as real ones; the floor is training beside test persons."""
    test, train, made = sides
    size = min(len(test), len(train), len(made))
    return ReportedFigure(
        key=key,
        name=name,
        figure=_beside(statistic, test, made, rng),
        aim="equal",
        target=1.0,
        floor=_drawn(statistic, test, train, size, rng),
        note=note,
    )


def _channel(place: int, names: Sequence[str], channels: int) -> str:
    """Which channel a figure is of, where there are several: by its name, where names were gathered."""
    if channels == 1:
        return ""
    return f", {names[place]}" if len(names) == channels else f", channel {place + 1}"


def spectrum(data: Gathered, rng: np.random.Generator) -> Parts:
    """The worst deviation of the mean power from that of test persons, and the ratio at every radius."""
    sides = _sides(data, "power")
    if sides is None:
        return []
    test, train, made = sides
    n = min(len(test), len(made))
    size = min(n, len(train))
    mine, theirs = rng.permutation(test)[:n], rng.permutation(made)[:n]
    worst = ReportedFigure(
        key="spectrum",
        name=f"power spectrum: worst deviation from real, {EDGES[0]:g} to {EDGES[-1]:g} of Nyquist",
        figure=half_sampling(lambda i, j: worst_deviation(mine[i], theirs[j]), n, n, rng, within=(0, np.inf)),
        aim="low",
        floor=_drawn(worst_deviation, test, train, size, rng),
        ceiling=_drawn(lambda a, b: worst_deviation(a, blurred_power(b)), test, train, size, rng),
        note=f"is there as much detail of every size as in real scans? asked: {SPECTRUM:g} or less; broken: a blur of one voxel",
    )
    rows, series = [], {}
    for channel in range(test.shape[1]):
        curves = {"real (training beside test)": train, "synthetic": made}
        for title, other in curves.items():
            name = title + _channel(channel, data.channels, test.shape[1])
            series[name] = [RADII.tolist(), power_ratio(test, other)[channel].tolist()]
        for place, radius in enumerate(RADII):

            def at(real: np.ndarray, other: np.ndarray, place: int = place, channel: int = channel) -> float:
                return float(power_ratio(real, other)[channel, place])

            figure, floor = _beside(at, test, made, rng), _drawn(at, test, train, size, rng)
            rows.append(
                (
                    _channel(channel, data.channels, test.shape[1])[2:] or 1,
                    float(radius),
                    2 / float(radius),
                    figure,
                    floor,
                )
            )
    columns = ("channel", "radius, of Nyquist", "wave, voxels", "synthetic over real", "real over real")
    note = "Below 1 detail of this size lacks (blur), above 1 there is too much of it (grain, weave)."
    title = "Power spectrum: mean power of synthetic over that of test persons"
    return [
        worst,
        Sheet(title=title, columns=columns, rows=tuple(rows), note=note),
        Plot(title=title, kind="line", x="radius, of Nyquist", y="ratio", series=series, note=note),
    ]


def edges(data: Gathered, rng: np.random.Generator) -> Parts:
    """Gradient along edges at upper quantiles, made over real."""
    sides = _sides(data, "edges")
    if sides is None:
        return []
    figures: Parts = []
    channels = sides[0].shape[1]
    for channel in range(channels):
        for place, quantile in enumerate(QUANTILES):

            def at(real: np.ndarray, other: np.ndarray, place: int = place, channel: int = channel) -> float:
                return float(strength_ratio(real, other)[channel, place])

            strongest = f"strongest {100 * (1 - quantile):.0f}% of voxels"
            key = f"edges_{round(100 * quantile)}" + (f"_{channel + 1}" if channels > 1 else "")
            name = f"edge sharpness, {strongest}{_channel(channel, data.channels, channels)}: made over real"
            note = f"below 1: borders are blurred; asked: within {SHARPNESS:.0%}"
            figures.append(_ratio_of(key, name, sides, at, note, rng))
    return figures


def cortex(data: Gathered, rng: np.random.Generator) -> Parts:
    """Heads: the cortical ribbon's contrast and area, made over real."""
    sides = _sides(data, "ribbon")
    if sides is None:
        return []
    figures: Parts = []
    for place, (key, (name, gloss)) in enumerate(RIBBONS.items()):

        def at(real: np.ndarray, other: np.ndarray, place: int = place) -> float:
            return float(other[:, place].mean() / real[:, place].mean())

        note = f"{gloss}; asked: within {RIBBON:.0%}"
        figures.append(_ratio_of(key, f"{name}: made over real", sides, at, note, rng))
    return figures


def cycle(data: Gathered, rng: np.random.Generator) -> Parts:
    """Cines: how smooth, closed and even their motion is, made over real."""
    sides = _sides(data, "motion")
    if sides is None:
        return []
    figures: Parts = []
    for place, (key, (name, gloss)) in enumerate(MOTIONS.items()):

        def at(real: np.ndarray, other: np.ndarray, place: int = place) -> float:
            return float(other[:, 0, place].mean() / real[:, 0, place].mean())

        figures.append(_ratio_of(key, f"{name}: made over real", sides, at, gloss, rng))
    return figures


def volumes(data: Gathered, rng: np.random.Generator) -> Parts:
    """Cohen's d of everything the ruler measures, made beside test persons."""
    figures: Parts = []
    for measure in data.measures:
        test, train, made = (_finite(data.measured(side, measure)) for side in ("test", "train", "synthetic"))
        if min(len(test), len(train), len(made)) < MINIMUM_SUBJECTS:
            continue
        size = min(len(test), len(train), len(made))
        figures.append(
            ReportedFigure(
                key=f"d_{measure}",
                name=f"{measure}: made beside real persons, Cohen's d",
                figure=effect_size(test, made, rng, resamples=RESAMPLES),
                unit="SD",
                aim="equal",
                target=0.0,
                floor=_drawn(cohens_d, test, train, size, rng),
                note=f"is it as large as in real persons? asked: within {EFFECT:g} SD",
            )
        )
    return figures


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
