"""A heart read off its short-axis cine: volumes of both ventricles over the cycle, ejection fraction, mass, the wall's thickness.

Every phase is labelled by a small network (:mod:`engine.measure.segmenter`) that sees the phase beside the mean and the SD over
the cycle; what the labels say is read by :mod:`engine.measure.heart.reading`. Papillary muscles count as blood.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import label

from engine.anatomy.heart import HEART, LEFT, RIGHT, WALL
from engine.imaging.volume import Volume, VolumeError, finite
from engine.measure.heart.classes import CLASSES, INPUTS, over_cycle
from engine.measure.heart.framing import CineFrame, framed, window_about
from engine.measure.heart.reading import UNITS, HeartCodes, HeartReading, read
from engine.measure.ruler import Classes, LearnedRuler, Reading, RulerKind, StatedError, fields
from engine.measure.segmenter import SegmenterConfig
from engine.vocabulary.refusal import RequestError

NAME = HEART.ruler
#: what :meth:`HeartMeasure.measure` returns, in words and with its unit
MEASURES = HEART.measures
DEFINITIONS = {
    "lv_edv": "Left ventricular end-diastolic volume: the greatest of the cycle, papillary muscles counted as blood.",
    "lv_esv": "Left ventricular end-systolic volume: the least of the cycle.",
    "lv_ef": "Left ventricular ejection fraction: the share of the greatest volume that is pumped out.",
    "lv_mass": "Left ventricular mass: the wall at end-diastole, septum with it, at 1.05 g/mL, by a power law that takes what is "
    "labelled in computed hearts to what is true.",
    "rv_edv": "Right ventricular end-diastolic volume: the greatest of the cycle, trabeculae counted as blood.",
    "rv_esv": "Right ventricular end-systolic volume: the least of the cycle.",
    "rv_ef": "Right ventricular ejection fraction: the share of the greatest volume that is pumped out.",
    "wall_thickness": "Wall thickness: the thickest of the 16 segments at end-diastole, by such a law: the greatest of sixteen "
    "readings is too great.",
    "wall_thickening": "Wall thickening: from end-diastole to end-systole, the mean of the 16 segments.",
    "circumferential_strain": "Circumferential strain: change of the circle halfway through the wall, middle third.",
}
#: how the labels of the ruler are read: its classes by their index
HEART_CODES = HeartCodes(
    lv_blood=(CLASSES.index(LEFT),), lv_myocardium=(CLASSES.index(WALL),), rv_blood=(CLASSES.index(RIGHT),)
)


@dataclass(frozen=True, kw_only=True)
class HeartMeasureConfig:
    """The network's sizes, how a cine is laid for it, the volumes (mL) that are taken for a left ventricle's greatest, and by measure
    the factor and exponent of the power law that takes what the labels of the network say to what is true."""

    segmenter: SegmenterConfig = field(
        default_factory=lambda: SegmenterConfig(
            classes=CLASSES,
            window=(96, 96, 16),
            spacing=(1.6, 1.6, 8.0),
            centre=(0.0, 0.0, 0.0),
            widths=(32, 64, 96),
            inputs=INPUTS,
            flat=2,
        )
    )
    frame: CineFrame = field(default_factory=CineFrame)
    plausible: tuple[float, float] = (5.0, 900.0)
    laws: Mapping[str, tuple[float, float]] = field(default_factory=dict)


def _config(stored: Mapping[str, Any]) -> HeartMeasureConfig:
    parts = {"segmenter": SegmenterConfig(**fields(stored["segmenter"])), "frame": CineFrame(**fields(stored["frame"]))}
    laws = {name: (float(factor), float(power)) for name, (factor, power) in stored.get("laws", {}).items()}
    return HeartMeasureConfig(**{**fields(stored), **parts, "laws": laws})


def _errors(figures: Mapping[str, Any]) -> dict[str, StatedError]:
    """From the figures of the test persons: the SD of the difference, a share but of what is a percentage itself."""
    found = figures.get("measures", {})
    return {
        name: StatedError(sd=float(by["difference"][3]), relative=UNITS[name] != "%")
        for name, by in found.items()
        if by["difference"][3] is not None
    }


@dataclass(frozen=True, eq=False)
class HeartMeasure(LearnedRuler[HeartMeasureConfig]):
    """The ruler: load it once with :meth:`load`, then :meth:`measure` any number of hearts.

    ``cohort`` holds the regressions of in-silico persons measured with this same ruler (aggregates only).
    """

    kind: ClassVar[RulerKind[HeartMeasureConfig]] = RulerKind(
        region=HEART,
        classes=CLASSES,
        measures=MEASURES,
        units=UNITS,
        definitions=DEFINITIONS,
        settings=_config,
        errors=_errors,
    )

    def examine(self, volume: Volume) -> Reading:
        """Read a short-axis cine of two phases or more, of any orientation, voxel size and intensity scale.

        Raises :class:`VolumeError` for a scan that is not finite, is no cine, or holds no heart.
        """
        return Reading(values=self.values_of(self.classes_on(finite(volume))))

    def classes_on(self, volume: Volume) -> Classes:
        """The classes in every phase, on slices as they lie, about the heart; raises as :meth:`examine` does."""
        cine = framed(volume, self.config.frame)
        if float(cine.data.max()) - float(cine.data.min()) < 1e-6:
            raise VolumeError("there is nothing to see in this cine: every voxel has the same value")
        cine = self.found(cine)
        moving = over_cycle(cine.data)
        phases = [tidied(self.classified(phase, moving)) for phase in cine.data]
        return Classes(
            framed=cine,
            probabilities=phases[0],
            affine=cine.affine,
            names=CLASSES,
            placed=True,
            later=tuple(phases[1:]),
        )

    def values_of(self, found: Classes) -> dict[str, float]:
        """The measures from what was told apart, NaN where one cannot be seen."""
        values = self.cycle_of(found).values()
        for name in self.config.laws.keys() & values.keys():
            factor, exponent = self.config.laws[name]
            values[name] = factor * values[name] ** exponent
        return {name: values.get(name, float("nan")) for name in MEASURES}

    def cycle_of(self, found: Classes) -> HeartReading:
        """Volumes over the cycle and the wall's segments; raises :class:`VolumeError` where no left ventricle was found."""
        try:
            reading = read(labels_of(found), found.affine, HEART_CODES)
        except RequestError as error:
            raise VolumeError(f"no heart was found: {error}") from None
        low, high = self.config.plausible
        if not low <= reading.lv.max() <= high:
            raise VolumeError(
                f"no heart was found: {reading.lv.max():.0f} mL look like a left ventricle, {low:.0f} to {high:.0f} are expected"
            )
        return reading

    def found(self, cine: Volume) -> Volume:
        """The framed cine about the heart: itself where its field of view is small enough to have been made about one."""
        window = self.config.frame.window
        if all(n <= most for n, most in zip(cine.grid, window, strict=False)):
            return cine
        heart = tidied(self.classified(cine.data[0], over_cycle(cine.data))).argmax(0)
        inside = np.isin(heart, [CLASSES.index(name) for name in (LEFT, WALL, RIGHT)])
        if not (heart == CLASSES.index(LEFT)).any():
            raise VolumeError("no heart was found in this cine; is it a stack of short-axis slices?")
        return window_about(cine, inside, window)[0]

    def classified(
        self, phase: Float[np.ndarray, "x y z"], moving: Float[np.ndarray, "2 x y z"]
    ) -> Float[np.ndarray, "k x y z"]:
        """The classes' probabilities in one phase; zeros fill its grid up to sides that the network can halve."""
        data = np.concatenate([phase[None], moving])
        gap = [-n % m for n, m in zip(phase.shape, self.config.segmenter.multiples, strict=True)]
        filled = np.pad(data, [(0, 0), *((0, g) for g in gap)])
        x, y, z = phase.shape
        return self.segmenter.classify(filled)[:, :x, :y, :z]


def labels_of(found: Classes) -> UInt8[np.ndarray, "t x y z"]:
    """The likeliest class of every voxel in every phase."""
    return np.stack([found.at(phase).probabilities.argmax(0) for phase in range(found.phases)]).astype(np.uint8)


def tidied(probabilities: Float[np.ndarray, "k x y z"]) -> Float[np.ndarray, "k x y z"]:
    """The probabilities with what is likeliest a ventricle or its wall, but not joined to the largest piece of it, as background:
    a body has one heart."""
    kept, likeliest = probabilities.copy(), probabilities.argmax(0)
    for name in (LEFT, WALL, RIGHT):
        pieces = np.empty(likeliest.shape, np.int32)
        label(likeliest == CLASSES.index(name), np.ones((3, 3, 3)), output=pieces)
        if pieces.max() > 1:
            sizes = np.bincount(pieces.ravel())
            stray = (pieces > 0) & (pieces != 1 + sizes[1:].argmax())
            kept[:, stray] = 0
            kept[0, stray] = 1
    return kept
