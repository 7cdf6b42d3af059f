"""Volumes a reader measures on a T1-weighted head: brain, ventricles, soft tissue of the neck. Millilitres throughout.

* ``brain_ml``: brain tissue, that is grey and white matter with cerebellum and brainstem, without any cerebrospinal fluid.
* ``ventricles_ml``: lateral ventricles with their inferior horns, third and fourth ventricle.
* ``intracranial_ml``: brain, ventricles and the fluid around the brain.
* ``neck_ml``: soft tissue of the back of the neck, fat and muscle alike: voxels brighter than 0.3 of the median brain
  tissue, outside the intracranial space, 60 to 100 mm below and at least 20 mm behind the brain's centroid. The slab hangs
  on the brain, lies within every scan of the training cohort, and is behind all that defacing removes. NaN where the scan
  ends above the slab. Bone and air do not count. It is a volume within a fixed slab, not of the neck as a whole.

The first three are expectations under a network trained on DLMUSE labels (:mod:`engine.measure.segmenter`). Codes of
DLMUSE, which come without names, were identified by looking and by their course with age: 4, 11, 49 to 52 are the
ventricles, 1 the fluid around the brain, 46 the fluid between the bodies of the lateral ventricles; all others are tissue.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt8

from engine.anatomy.head import HEAD
from engine.cohort.preprocess.centring import centring
from engine.cohort.preprocess.outside_brain import SCALP, SKULL
from engine.cohort.preprocess.preprocess import PreprocessConfig, antialiased
from engine.imaging.grid import in_words
from engine.imaging.volume import Volume, VolumeError, finite
from engine.measure.ruler import Classes, LearnedRuler, Reading, RulerKind, StatedError, fields
from engine.measure.segmenter import SegmenterConfig

NAME = HEAD.ruler
CLASSES = ("background", "fluid", "brain", "ventricles")
FLUID_CODES = (1, 46)
VENTRICLE_CODES = (4, 11, 49, 50, 51, 52)
#: what :meth:`HeadMeasure.measure` returns, in words; the unit is ml
MEASURES = HEAD.measures
DEFINITIONS = {
    "ventricles_ml": "Ventricles: lateral, third and fourth.",
    "brain_ml": "Brain: grey and white matter with cerebellum and brainstem, without fluid.",
    "neck_ml": "Neck: fat and muscle in a slab of 40 mm below and behind the brain, not of the neck as a whole.",
    "intracranial_ml": "Intracranial space: brain, ventricles and the fluid around the brain.",
}
#: mm from the top of a head down to the centroid of its brain, to look for the brain in a scan that lies anywhere
CROWN = 78.0


@dataclass(frozen=True, kw_only=True)
class NeckSlab:
    """Where the soft tissue of the neck is counted: mm from the brain's centroid along S (``low`` to ``high``) and A (less
    than ``behind``), and the ``threshold`` as a share of the median intensity of brain tissue."""

    low: float = -100.0
    high: float = -60.0
    behind: float = -20.0
    threshold: float = 0.3


@dataclass(frozen=True, kw_only=True)
class HeadMeasureConfig:
    """The frame in which heads are measured (that of a recipe's store: origin at the brain's centroid), the network's
    sizes, the neck's slab, the factor and the exponent that take the expected ventricles in ml to what the labels of the
    training cohort say (the network reads small ones too large), and the intracranial volumes in ml taken for a head."""

    grid: tuple[int, int, int] = PreprocessConfig().grid
    spacing: float = PreprocessConfig().spacing
    centre: tuple[float, float, float] = PreprocessConfig().centre
    segmenter: SegmenterConfig = field(
        default_factory=lambda: SegmenterConfig(
            classes=CLASSES, window=(80, 112, 96), spacing=2.0, centre=(0.0, 6.0, -16.0)
        )
    )
    neck: NeckSlab = field(default_factory=NeckSlab)
    ventricles: tuple[float, float] = (1.0, 1.0)
    plausible: tuple[float, float] = (600.0, 2500.0)

    @property
    def frame(self) -> PreprocessConfig:
        """The same frame as preprocessing settings."""
        return PreprocessConfig(grid=self.grid, spacing=self.spacing, centre=self.centre)


def _config(stored: Mapping[str, Any]) -> HeadMeasureConfig:
    parts = {"segmenter": SegmenterConfig(**fields(stored["segmenter"])), "neck": NeckSlab(**stored["neck"])}
    return HeadMeasureConfig(**{**fields(stored), **parts})


def _errors(figures: Mapping[str, Any]) -> dict[str, StatedError]:
    """From the figures of the test persons: the SD of the relative difference."""
    volumes = figures.get("test", {}).get("volumes", {})
    sds = {name: by["relative_difference"][1] for name, by in volumes.items()}
    return {name: StatedError(sd=float(sd), relative=True) for name, sd in sds.items() if sd is not None}


@dataclass(frozen=True, eq=False)
class HeadMeasure(LearnedRuler[HeadMeasureConfig]):
    """The ruler: load it once with :meth:`load`, then :meth:`measure` any number of heads.

    ``cohort`` holds the regressions of the real cohort measured with this same ruler (aggregates only).
    """

    kind: ClassVar[RulerKind[HeadMeasureConfig]] = RulerKind(
        region=HEAD,
        classes=CLASSES,
        measures=MEASURES,
        units=dict.fromkeys(MEASURES, "ml"),
        definitions=DEFINITIONS,
        settings=_config,
        errors=_errors,
    )

    def measure(self, volume: Volume) -> dict[str, float]:
        """Millilitres by name (:data:`MEASURES`), the same for the same scan whatever its orientation.

        A scan on the ruler's own grid is measured as it lies. Any other is first centred and turned as at ingest
        (:func:`engine.cohort.preprocess.preprocess.centring`) and resampled. Intensities may have any scale. Raises
        :class:`VolumeError` for a scan that is not finite, has several channels and no ``T1w``, or holds no head.
        """
        return self.examine(volume).values

    def examine(self, volume: Volume) -> Reading:
        """What :meth:`measure` says, with nothing to note."""
        return Reading(values=self.values_of(self.classes_on(finite(volume))))

    def classes_on(self, volume: Volume) -> Classes:
        """The classes on the segmenter's window of the head as it was framed; raises as :meth:`measure` does."""
        upright = _single(volume).reoriented("RAS")
        head = self.framed(upright)
        window = self.config.segmenter
        return Classes(
            framed=head,
            probabilities=self.segmenter.probabilities(head),
            affine=window.affine,
            names=window.classes,
            placed=head is upright,
        )

    def values_of(self, found: Classes) -> dict[str, float]:
        """:meth:`read` of what was told apart."""
        return self.read(found.framed, found.probabilities)

    def read(self, head: Volume, probabilities: Float[np.ndarray, "k x y z"]) -> dict[str, float]:
        """Millilitres from the classes' probabilities on the segmenter's window and the framed head itself."""
        millilitres = self.config.segmenter.voxel_ml
        fluid, brain, ventricles = (float(p.sum(dtype=np.float64)) * millilitres for p in probabilities[1:])
        total = fluid + brain + ventricles
        low, high = self.config.plausible
        if not low <= total <= high:
            raise VolumeError(
                f"no head was found: {total:.0f} ml look like brain, {low:.0f} to {high:.0f} are expected"
            )
        neck = self._neck(head, probabilities)
        factor, exponent = self.config.ventricles
        return {
            "ventricles_ml": factor * ventricles**exponent,
            "brain_ml": brain,
            "neck_ml": neck,
            "intracranial_ml": total,
        }

    def framed(self, head: Volume) -> Volume:
        """The RAS head on the ruler's grid: itself when it lies there already, otherwise centred and turned."""
        frame = self.config.frame
        if head.grid == frame.grid and np.allclose(head.affine, frame.affine, atol=0.01 * frame.spacing):
            return head
        smooth = antialiased(head.data.astype(np.float32), head.spacing, frame.spacing)
        head = Volume(smooth, head.affine)
        guess = _crown(head) - (0.0, 0.0, CROWN)
        window = self.config.segmenter
        for attempt in range(2):
            near = _shifted(head, guess)
            inside = self.segmenter.probabilities(near)[0] < 0.5
            if attempt == 0 and inside.any():
                guess = guess + np.argwhere(inside).mean(0) @ window.affine[:3, :3].T + window.affine[:3, 3]
        if inside.sum() * window.voxel_ml < self.config.plausible[0]:
            raise VolumeError("no brain was found in this scan; is it a T1-weighted head?")
        seen = near.resampled(window.window, window.affine)
        rigid, _ = centring(seen, inside, rotate=frame.rotate, pitch=frame.pitch)
        placed = Volume(near.data, np.linalg.inv(rigid) @ near.affine)
        cubic = placed.resampled(frame.grid, frame.affine, order=3)
        return Volume(np.maximum(cubic.data, 0), frame.affine)

    def _neck(self, head: Volume, probabilities: Float[np.ndarray, "k x y z"]) -> float:
        config, slab = self.config, self.config.neck
        window = config.segmenter.affine
        intracranial = Volume(1 - probabilities[0], window).resampled(head.grid, head.affine).data
        surely = Volume(probabilities[CLASSES.index("brain")], window).resampled(head.grid, head.affine).data
        if not (surely > 0.5).any():
            return float("nan")
        centroid = np.argwhere(intracranial > 0.5).mean(0) @ head.affine[:3, :3].T + head.affine[:3, 3]
        _, y, z = (head.affine[a, 3] + head.affine[a, a] * np.arange(head.grid[a]) - centroid[a] for a in range(3))
        soft = (head.data > slab.threshold * np.median(head.data[surely > 0.5])) & (intracranial < 0.5)
        slices = soft[:, y < slab.behind][:, :, (z >= slab.low) & (z < slab.high)].sum((0, 1))
        if len(slices) == 0 or slices[0] == 0:
            return float("nan")
        return float(slices.sum()) * config.spacing**3 / 1000


def classes_of_codes() -> UInt8[np.ndarray, "256"]:
    """The table from a DLMUSE code to the index of its class in :data:`CLASSES`."""
    table = np.full(256, CLASSES.index("brain"), np.uint8)
    table[[0, SKULL, SCALP]] = CLASSES.index("background")
    table[list(FLUID_CODES)] = CLASSES.index("fluid")
    table[list(VENTRICLE_CODES)] = CLASSES.index("ventricles")
    return table


def _single(volume: Volume) -> Volume:
    """The T1-weighted channel alone."""
    if volume.data.ndim == 3:
        return volume
    (channel,) = HEAD.channels
    if channel not in volume.channels:
        raise VolumeError(f"none of the channels {in_words(volume.channels)} is {channel}; give a T1-weighted head")
    return Volume(volume.data[volume.channels.index(channel)], volume.affine)


def _shifted(head: Volume, origin: Float[np.ndarray, "3"]) -> Volume:
    affine = head.affine.copy()
    affine[:3, 3] -= origin
    return Volume(head.data, affine)


def _crown(head: Volume) -> Float[np.ndarray, "3"]:
    """The top of the head in RAS mm: the highest slice with 10 cm2 of foreground, at the middle of what lies below it."""
    level = 0.15 * float(np.percentile(head.data, 99))
    points = np.argwhere(head.data > max(level, 0.0)) @ head.affine[:3, :3].T + head.affine[:3, 3]
    if len(points) == 0:
        raise VolumeError("there is nothing to see in this scan: every voxel has the same value")
    height, area = points[:, 2], float(np.prod(head.spacing)) / 1000
    counts, edges = np.histogram(height, np.arange(height.min() - 5, height.max() + 15, 10.0))
    top = float(edges[1:][counts * area >= 10.0].max(initial=edges[1]))
    below = points[(height <= top) & (height > top - 150)]
    return np.array([*below[:, :2].mean(0), top])
