"""Body composition read off a torso's water and fat images: no table is asked, only what can be seen.

Volumes are expectations under a network trained on the label maps of the in-silico cohort
(:mod:`engine.measure.segmenter`), counted over the whole field of view, arms as far as they are in it:

* ``sat``, ``vat``: subcutaneous and visceral fat, litres; the fat around heart and between muscles is in neither.
* ``muscle``: muscle without the fat between muscles, litres. ``lungs``: litres.
* ``liver_volume``, ``spleen``, ``kidneys`` (cortex and medulla without the sinus): ml.
* ``liver_pdff``: proton density fat fraction of the liver, percent (:mod:`engine.measure.fat_fraction`).
* ``waist``: girth of the trunk above the iliac crests, cm (:mod:`engine.measure.waist`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Float, UInt8
from scipy.ndimage import binary_erosion

from engine.anatomy.torso import TORSO
from engine.cohort.preprocess.preprocess import antialiased
from engine.imaging.pair import CHANNELS, FAT, WATER
from engine.imaging.volume import Volume, VolumeError, finite
from engine.measure.fat_fraction import liver_fat
from engine.measure.ruler import Classes, LearnedRuler, Reading, RulerKind, StatedError, fields
from engine.measure.segmenter import SegmenterConfig
from engine.measure.waist import waist
from engine.phantom.shape.frame import GRID, SPACING
from engine.phantom.tissue import code, codes

NAME = TORSO.ruler
#: muscles with a class of their own
PSOAS, PARASPINAL = (code("psoas"),), (code("paraspinal"), code("quadratus_lumborum"))
THIGH = tuple(code(name) for name in ("thigh_front", "thigh_back", "thigh_inner"))
#: what each class is made of, in the phantom's label codes; what is in none of them is ``other``
CODES = {
    "background": codes("background"),
    "sat": codes("subcutaneous_fat"),
    "vat": codes("visceral_fat"),
    "imat": codes("intermuscular_fat"),
    "muscle": tuple(sorted({*codes("muscle")} - {*PSOAS, *PARASPINAL, *THIGH})),
    "bone": codes("ribs_and_sternum", "shoulder_girdle_and_arm_bones", "femur"),
    "pelvis": codes("pelvis"),
    "lungs": codes("lung"),
    "liver": codes("liver"),
    "spleen": codes("spleen"),
    "kidneys": codes("kidney"),
    "psoas": PSOAS,
    "paraspinal": PARASPINAL,
    "thigh": THIGH,
    "heart": codes("heart"),
    "vertebrae": codes("vertebrae"),
}
CLASSES = (*CODES, "other")
#: what :meth:`TorsoMeasure.measure` returns, in words and with its unit
MEASURES = TORSO.measures
UNITS = {
    "sat": "l",
    "vat": "l",
    "muscle": "l",
    "liver_volume": "ml",
    "liver_pdff": "%",
    "waist": "cm",
    "lungs": "l",
    "spleen": "ml",
    "kidneys": "ml",
    "psoas": "ml",
    "paraspinal": "ml",
    "thigh": "l",
    "heart": "ml",
    "marrow": "ml",
}
DEFINITIONS = {
    "sat": "Subcutaneous fat: all fat under the skin in the field of view.",
    "vat": "Visceral fat: the fat around the organs of the abdomen, without that around the heart.",
    "muscle": "Muscle: without the fat between muscles, and without the heart.",
    "liver_volume": "Liver: with its vessels, without the gallbladder.",
    "liver_pdff": "Liver fat fraction: share of fat among the protons of the liver's core, relaxation corrected.",
    "waist": "Waist: a tape around the trunk just above the iliac crests, without the arms.",
    "lungs": "Lungs: air and tissue together.",
    "spleen": "Spleen.",
    "kidneys": "Kidneys: cortex and medulla of both.",
    "psoas": "Psoas: both psoas major with iliacus, within the field of view.",
    "paraspinal": "Paraspinal muscle: erector spinae, multifidus and quadratus lumborum of both sides.",
    "thigh": "Thigh muscle: the front, back and inner compartments of both thighs, as far as they are in view.",
    "heart": "Heart: chambers with their blood, and the wall.",
    "marrow": "Vertebrae: bodies and arches, whose marrow is seen, without discs.",
}
#: the measures that are the volume of classes
COUNTED = {
    "sat": ("sat",),
    "vat": ("vat",),
    "muscle": ("muscle", "psoas", "paraspinal", "thigh"),
    "liver_volume": ("liver",),
    "lungs": ("lungs",),
    "spleen": ("spleen",),
    "kidneys": ("kidneys",),
    "psoas": ("psoas",),
    "paraspinal": ("paraspinal",),
    "thigh": ("thigh",),
    "heart": ("heart",),
    "marrow": ("vertebrae",),
}
#: the measures whose stated error is in their unit and not a share of the value
IN_UNITS = ("waist", "liver_pdff")
#: share of surely subcutaneous fat that shows more water than fat, from which an exchange is told
EXCHANGED = 0.01
#: share of the body that is clearly water, and clearly fat: by how much the one outshines the other there, and from which share of
#: the brightest on a voxel is body
PURE, OUTSHINES, BODY = 0.005, 1.25, 0.15


@dataclass(frozen=True, kw_only=True)
class TorsoMeasureConfig:
    """The network's sizes (``window`` is the in-silico cohort's grid), factors by which each class's count is multiplied,
    the most voxels of a field of view along x, y, z, and the body volumes in litres that are taken for a torso."""

    segmenter: SegmenterConfig = field(
        default_factory=lambda: SegmenterConfig(
            classes=CLASSES,
            window=GRID,
            spacing=SPACING,
            centre=(0.0, 0.0, 0.0),
            inputs=len(CHANNELS),
            refine=32,
            fraction=True,
        )
    )
    gains: tuple[float, ...] = (1.0,) * len(CLASSES)
    largest: tuple[int, int, int] = (144, 128, 240)
    plausible: tuple[float, float] = (8.0, 300.0)


def _config(stored: Mapping[str, Any]) -> TorsoMeasureConfig:
    return TorsoMeasureConfig(**{**fields(stored), "segmenter": SegmenterConfig(**fields(stored["segmenter"]))})


def _errors(figures: Mapping[str, Any]) -> dict[str, StatedError]:
    """From the figures of the test persons: the SD of the difference."""
    found = figures.get("measures", {})
    sds = {name: by["difference"][3] for name, by in found.items()}
    return {
        name: StatedError(sd=float(sd), relative=name not in IN_UNITS) for name, sd in sds.items() if sd is not None
    }


@dataclass(frozen=True, eq=False)
class TorsoMeasure(LearnedRuler[TorsoMeasureConfig]):
    """The ruler: load it once with :meth:`load`, then :meth:`measure` any number of torsos.

    ``cohort`` holds the regressions of in-silico persons measured with this same ruler (aggregates only).
    """

    kind: ClassVar[RulerKind[TorsoMeasureConfig]] = RulerKind(
        region=TORSO,
        classes=CLASSES,
        measures=MEASURES,
        units=UNITS,
        definitions=DEFINITIONS,
        settings=_config,
        errors=_errors,
    )

    def examine(self, volume: Volume) -> Reading:
        """Read a torso of the channels ``water`` and ``fat``, of any orientation, voxel size and intensity scale.

        Raises :class:`VolumeError` for a scan that is not finite, has other channels, or holds no torso.
        """
        torso = self.framed(finite(volume))
        if float(torso.data.max()) - float(torso.data.min()) < 1e-6:
            raise VolumeError("there is nothing to see in this scan: every voxel has the same value")
        if all(n <= least for n, least in zip(torso.grid, self.config.segmenter.multiples, strict=True)):
            size = " x ".join(f"{n * mm / 10:.0f}" for n, mm in zip(torso.grid, torso.spacing, strict=True))
            raise VolumeError(
                f"a field of view of {size} cm is smaller than a torso; correct its units or give it whole"
            )
        if (share := least_pure(torso)) < PURE:
            raise VolumeError(
                f"only {share:.1%} of the body shows clearly more of the one image than of the other, so they are no water "
                "and fat images but, say, in phase and opposed phase; give water and fat"
            )
        torso, probabilities, notes = self.classified(torso)
        return replace(self.read(torso, probabilities), notes=notes)

    def classes_on(self, volume: Volume) -> Classes:
        """The classes on the framed torso's voxels; raises :class:`VolumeError` for other channels."""
        torso, found, _ = self.classified(self.framed(volume))
        return Classes(framed=torso, probabilities=found, affine=torso.affine, names=CLASSES, placed=True)

    def values_of(self, found: Classes) -> dict[str, float]:
        """:meth:`read` of what was told apart."""
        return self.read(found.framed, found.probabilities).values

    def read(self, torso: Volume, probabilities: Float[np.ndarray, "k x y z"]) -> Reading:
        """The measures from the classes' probabilities and the framed torso itself."""
        litres = {
            name: gain * float(p.sum(dtype=np.float64)) * math.prod(torso.spacing) / 1e6
            for name, gain, p in zip(CLASSES, self.config.gains, probabilities, strict=True)
        }
        body = sum(litres.values()) - litres["background"]
        low, high = self.config.plausible
        if not low <= body <= high:
            raise VolumeError(f"no torso was found: {body:.0f} l look like body, {low:.0f} to {high:.0f} are expected")
        values = {
            name: sum(litres[part] for part in parts) * (1000 if UNITS[name] == "ml" else 1)
            for name, parts in COUNTED.items()
        }
        hard = probabilities.argmax(0)
        images = torso.data.astype(np.float32)
        pelvis, skin = (hard == CLASSES.index(name) for name in ("pelvis", "sat"))
        air = binary_erosion(hard == CLASSES.index("background"), iterations=3)
        values["liver_pdff"] = liver_fat(images, probabilities[CLASSES.index("liver")], air)
        values["waist"] = waist(images.sum(0), pelvis, skin, torso.spacing)
        return Reading(values={name: values[name] for name in MEASURES}, notes=())

    def framed(self, volume: Volume) -> Volume:
        """Water and fat, float32, RAS, in the ruler's voxels: as they lie where they have that size, otherwise resampled.

        The grid covers the field of view; zeros fill it up to sides that the network can halve. Raises
        :class:`VolumeError` for other channels and for a field of view far larger than a torso.
        """
        missing = [name for name in CHANNELS if volume.data.ndim == 3 or name not in volume.channels]
        if missing:
            raise VolumeError(f"the scan has no channel {missing[0]}; a torso is measured on its water and fat images")
        data = volume.data[[volume.channels.index(name) for name in CHANNELS]].astype(np.float32)
        torso = Volume(data, volume.affine, CHANNELS).reoriented("RAS")
        voxel = self.config.segmenter.voxel
        turned = not np.allclose(torso.affine[:3, :3], np.diag(voxel), atol=0.01 * min(voxel))
        if turned:
            torso = _covering(torso, voxel, self.config.largest)
        gap = [-n % m for n, m in zip(torso.grid, self.config.segmenter.multiples, strict=True)]
        return replace(torso, data=np.pad(torso.data, [(0, 0), *((0, g) for g in gap)])) if any(gap) else torso

    def classified(self, torso: Volume) -> tuple[Volume, Float[np.ndarray, "k x y z"], tuple[str, ...]]:
        """The framed torso, its classes' probabilities, and what is to be said.

        Where the files of water and fat were exchanged the torso returned has them in their places.
        """
        probabilities = self.segmenter.classify(torso.data)
        share = exchanged(torso, probabilities)
        if share > 0.5:
            other = replace(torso, data=np.ascontiguousarray(torso.data[::-1]))
            again = self.segmenter.classify(other.data)
            # somebody lean may look exchanged: the other way round must be the more certain one
            if exchanged(other, again) < 0.5 and again.max(0).mean() > probabilities.max(0).mean():
                return other, again, ("the water and fat files are exchanged; they were read the other way round",)
        if share > EXCHANGED:
            told = f"water and fat are exchanged in about {share:.0%} of the subcutaneous fat; values there may be off"
            return torso, probabilities, (told,)
        return torso, probabilities, ()


def least_pure(torso: Volume) -> float:
    """Share of the body that is clearly water, or clearly fat where that is less: next to none where both images are the same, one is
    empty, or one is the sum of water and fat, which nowhere is less than either or their difference."""
    water, fat = torso.data[CHANNELS.index(WATER)], torso.data[CHANNELS.index(FAT)]
    brighter = np.maximum(water, fat)
    body = brighter > BODY * float(np.quantile(brighter, 0.99))
    pairs = ((water[body], fat[body]), (fat[body], water[body]))
    return min(float((one > OUTSHINES * other).mean()) for one, other in pairs) if body.any() else 0.0


def exchanged(torso: Volume, probabilities: Float[np.ndarray, "k x y z"]) -> float:
    """Share of what is surely subcutaneous fat that shows more water than fat: a swap of the two, whole or in part."""
    surely = binary_erosion(probabilities[CLASSES.index("sat")] > 0.5)
    water, fat = torso.data[CHANNELS.index(WATER)], torso.data[CHANNELS.index(FAT)]
    return float((water > fat)[surely].mean()) if surely.any() else 0.0


def classes_of_codes() -> UInt8[np.ndarray, "256"]:
    """The table from a label code of the phantom to the index of its class in :data:`CLASSES`."""
    table = np.full(256, CLASSES.index("other"), np.uint8)
    for name, labels in CODES.items():
        table[list(labels)] = CLASSES.index(name)
    return table


def perfect(labels: UInt8[np.ndarray, "x y z"]) -> Float[np.ndarray, "k x y z"]:
    """A label map as probabilities 0 and 1: what a perfect network would say."""
    classes = classes_of_codes()[labels]
    return np.stack([classes == c for c in range(len(CLASSES))]).astype(np.float32)


def _covering(torso: Volume, voxel: tuple[float, float, float], largest: tuple[int, int, int]) -> Volume:
    """The torso resampled to ``voxel`` on an upright grid that covers its field of view."""
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in torso.grid])).reshape(3, -1)
    points = torso.affine[:3, :3] @ corners + torso.affine[:3, 3:]
    low, high = points.min(1), points.max(1)
    grid = [max(2, round(float(size / mm))) for size, mm in zip(high - low, voxel, strict=True)]
    if any(n > most for n, most in zip(grid, largest, strict=True)):
        size = " x ".join(f"{length / 10:.0f}" for length in high - low)
        raise VolumeError(f"a field of view of {size} cm is larger than a torso; crop the scan to the torso")
    affine = np.diag([*voxel, 1.0])
    affine[:3, 3] = (low + high) / 2 - (np.array(grid) - 1) / 2 * voxel
    smooth = np.stack([antialiased(c, torso.spacing, voxel) for c in torso.data])
    return replace(torso, data=smooth).resampled((grid[0], grid[1], grid[2]), affine)
