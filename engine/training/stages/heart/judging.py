"""How well the heart's ruler reads: against the labels of in-silico persons, and against patients' contours."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from engine.anatomy.heart import LEFT
from engine.imaging.volume import VolumeError
from engine.measure.heart.classes import CLASSES
from engine.measure.heart.ruler import MEASURES, UNITS, HeartMeasure
from engine.phantom.heart.counts import ejection_fraction
from engine.training.stages.heart.patients import Patient
from engine.training.stages.measure_head import correlation

#: fewest persons of whom something must be read to be reported
MINIMUM_READ = 5


@dataclass(frozen=True, kw_only=True)
class PatientJudged:
    """One patient: Dice of the cavity in all slices with a contour together and in end-diastole and end-systole, ejection fraction
    (%) by the contours and as read, and both volumes (mL) by the contours and as read."""

    name: str
    dice: float
    by_phase: tuple[float, float]
    ef: tuple[float, float]
    volumes: tuple[tuple[float, float], tuple[float, float]]


def dice(a: Bool[np.ndarray, "*s"], b: Bool[np.ndarray, "*s"]) -> float:
    """Twice what two masks share over what both have; 1 where both are empty.

    >>> dice(np.array([True, True]), np.array([True, False]))
    0.6666666666666666
    """
    total = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / total if total else 1.0


def judge_patient(ruler: HeartMeasure, patient: Patient) -> PatientJudged:
    """Read a patient whom the network was not tuned on; a heart that is not found has Dice 0 and an ejection fraction of 0."""
    each = abs(float(np.linalg.det(patient.cine.affine[:3, :3]))) / 1000
    truth = patient.cavity & patient.contoured[:, None, None]
    drawn = truth.sum((1, 2, 3)) * each
    try:
        found = ruler.classes_on(patient.cine)
    except VolumeError:
        read = np.zeros_like(truth)
    else:
        read = np.stack([found.at(phase).on(patient.cine, (LEFT,)) for phase in range(found.phases)])
    read = read & patient.contoured[:, None, None]
    volumes = read.sum((1, 2, 3)) * each
    fractions = [ejection_fraction(curve) if curve.max() > 0 else 0.0 for curve in (drawn, volumes)]
    return PatientJudged(
        name=patient.name,
        dice=dice(read, truth),
        by_phase=(dice(read[0], truth[0]), dice(read[1], truth[1])),
        ef=(fractions[0], fractions[1]),
        volumes=((float(drawn[0]), float(drawn[1])), (float(volumes[0]), float(volumes[1]))),
    )


def judged_patients(found: Sequence[PatientJudged]) -> dict[str, Any]:
    """Over patients: Dice of the cavity (mean, least, by phase), the ejection fraction's mean absolute difference, its mean
    difference and SD in percentage points, and r and mean relative difference of both volumes. Aggregates only."""
    off = np.array([one.ef[1] - one.ef[0] for one in found])
    drawn, read = (np.array([one.volumes[i] for one in found]) for i in (0, 1))
    scores = np.array([one.dice for one in found])
    rng = np.random.default_rng(0)
    means = scores[rng.integers(0, len(scores), (2000, len(scores)))].mean(1)
    return {
        "n": len(found),
        "dice": [float(scores.mean()), *(float(v) for v in np.quantile(means, [0.025, 0.975])), float(scores.min())],
        "dice_by_phase": [float(np.mean([one.by_phase[p] for one in found])) for p in (0, 1)],
        "ef_absolute": float(np.abs(off).mean()),
        "ef_difference": [float(off.mean()), float(off.std(ddof=1))],
        "ef_r": correlation(np.array([one.ef[0] for one in found]), np.array([one.ef[1] for one in found])),
        "volume_r": [correlation(drawn[:, p], read[:, p]) for p in (0, 1)],
        "volume_difference": [float((read[:, p] / drawn[:, p] - 1).mean()) for p in (0, 1)],
    }


def agreement(
    want: Sequence[Mapping[str, float]], have: Sequence[Mapping[str, float]], overlap: Sequence[Mapping[str, float]]
) -> dict[str, Any]:
    """How well the ruler reproduces what labels say of these persons.

    For each measure: Pearson r with a 95 % bootstrap interval over persons, and the mean difference with its interval and SD, a
    share of the labels' (of what is a percentage itself: in percentage points); for each class mean and least Dice. What was
    read of fewer than :data:`MINIMUM_READ` is left out.
    """
    measures = {}
    for name in MEASURES:
        pairs = np.array([(w[name], h[name]) for w, h in zip(want, have, strict=True)], float)
        pairs = pairs[np.isfinite(pairs).all(1)]
        if len(pairs) < MINIMUM_READ:
            continue
        asked, read = pairs.T
        off = read - asked if UNITS[name] == "%" else read / asked - 1
        measures[name] = {
            "n": len(pairs),
            "r": correlation(asked, read),
            "difference": [float(off.mean()), *_interval(off), float(off.std(ddof=1))],
        }
    scores = {name: [one[name] for one in overlap] for name in CLASSES}
    return {
        "n": len(want),
        "measures": measures,
        "dice": {name: [float(np.mean(values)), float(np.min(values))] for name, values in scores.items()},
    }


def _interval(values: Float[np.ndarray, " n"]) -> list[float]:
    """The 95 % percentile bootstrap interval of the mean."""
    rng = np.random.default_rng(0)
    means = values[rng.integers(0, len(values), (2000, len(values)))].mean(1)
    return [float(v) for v in np.quantile(means, [0.025, 0.975])]
