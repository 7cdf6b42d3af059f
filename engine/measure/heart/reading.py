"""A heart read off the labels of a cine: volume-time curves, ejection fraction, mass, thickness and thickening of the wall.

Papillary muscles and trabeculae count as blood, as in the reference values (Petersen et al., J Cardiovasc Magn Reson 2017;19:18).
Volumes are sums of voxels, gap between slices included (Simpson's rule); the wall's segments are those of the American Heart
Association (:mod:`engine.phantom.heart.segments`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from engine.anatomy.heart import HEART
from engine.anatomy.words import within
from engine.phantom.heart import tissue
from engine.phantom.heart.counts import ejection_fraction, volumes
from engine.phantom.heart.segments import Ring, ring_thickness, rings
from engine.vocabulary.refusal import ConfigError, RequestError

UNITS = {
    "lv_edv": "mL",
    "lv_esv": "mL",
    "lv_ef": "%",
    "lv_mass": "g",
    "rv_edv": "mL",
    "rv_esv": "mL",
    "rv_ef": "%",
    "wall_thickness": "mm",
    "wall_thickening": "%",
    "circumferential_strain": "%",
}
#: by measure: its name in words and its unit
MEASURES = {name: (within(HEART.measures[name]), unit) for name, unit in UNITS.items()}
#: fewest slices with a whole ring of wall in which segments can be told
FEWEST_RINGS = 3


@dataclass(frozen=True, kw_only=True)
class HeartCodes:
    """Which labels are what; the defaults are those of the in-silico cohort."""

    lv_blood: Collection[int] = tissue.LV_BLOOD
    lv_myocardium: Collection[int] = tissue.LV_MYOCARDIUM
    rv_blood: Collection[int] = tissue.RV_BLOOD

    def __post_init__(self) -> None:
        groups = [set(self.lv_blood), set(self.lv_myocardium), set(self.rv_blood)]
        together = set().union(*groups)
        if not groups[0] or len(together) != sum(map(len, groups)) or not together <= set(range(1, 256)):
            raise ConfigError(
                "a heart's labels need a left cavity and no code twice, each from 1 to 255; name them apart"
            )

    def standard(self, labels: UInt8[np.ndarray, "t x y z"]) -> UInt8[np.ndarray, "t x y z"]:
        """The same labels in the codes of the in-silico cohort."""
        table = np.zeros(256, np.uint8)
        table[list(self.lv_blood)] = tissue.CODES["lv_cavity"]
        table[list(self.lv_myocardium)] = tissue.CODES["lv_myocardium"]
        table[list(self.rv_blood)] = tissue.CODES["rv_cavity"]
        return table[labels]


@dataclass(frozen=True, kw_only=True, eq=False)
class HeartReading:
    """What was read off a cycle.

    ``lv`` and ``rv`` are volumes (mL) in every phase, ``mass`` that of the left ventricle's wall (g); ``thickness`` (mm) is the
    wall's in each of :data:`engine.phantom.heart.segments.SEGMENTS` in every phase; ``middle_radius`` (mm) is that halfway
    through the wall in the middle third. Where nothing is labelled to read one from, it is None, or NaN in that phase.
    """

    lv: Float[np.ndarray, " t"]
    rv: Float[np.ndarray, " t"] | None
    mass: Float[np.ndarray, " t"] | None
    thickness: Float[np.ndarray, "t 16"] | None
    middle_radius: Float[np.ndarray, " t"] | None

    @property
    def end_diastole(self) -> int:
        """The phase of the left ventricle's greatest volume."""
        return int(self.lv.argmax())

    @property
    def end_systole(self) -> int:
        """The phase of its least volume."""
        return int(self.lv.argmin())

    @property
    def thickening(self) -> Float[np.ndarray, "16"] | None:
        """How much thicker (%) each segment is at end-systole than at end-diastole."""
        if self.thickness is None:
            return None
        return 100 * (self.thickness[self.end_systole] / self.thickness[self.end_diastole] - 1)

    def values(self) -> dict[str, float]:
        """Each of :data:`MEASURES` that could be read."""
        found = {
            "lv_edv": self.lv.max(),
            "lv_esv": self.lv.min(),
            "lv_ef": ejection_fraction(self.lv),
        }
        if self.mass is not None:
            found["lv_mass"] = self.mass[self.end_diastole]
        if self.rv is not None:
            found |= {"rv_edv": self.rv.max(), "rv_esv": self.rv.min(), "rv_ef": ejection_fraction(self.rv)}
        thickening = self.thickening
        if self.thickness is not None and thickening is not None:
            found |= {"wall_thickness": self.thickness[self.end_diastole].max(), "wall_thickening": thickening.mean()}
        if self.middle_radius is not None:
            change = self.middle_radius[self.end_systole] / self.middle_radius[self.end_diastole] - 1
            found["circumferential_strain"] = 100 * change
        return {name: float(found[name]) for name in MEASURES if name in found and np.isfinite(found[name])}


def read(
    labels: UInt8[np.ndarray, "t x y z"], affine: Float[np.ndarray, "4 4"], codes: HeartCodes | None = None
) -> HeartReading:
    """Read a cycle off its labels: short-axis slices along the third axis, ``affine`` from voxel index to mm.

    Raises :class:`RequestError` for labels without a time axis or of one phase, a singular affine, and a phase without a left
    ventricle.
    """
    if labels.ndim != 4 or labels.shape[0] < 2:
        raise RequestError(
            f"labels of shape {labels.shape} are no cycle; give phases, x, y and slices, two phases or more"
        )
    if abs(float(np.linalg.det(affine[:3, :3]))) < 1e-9:
        raise RequestError("the affine of the labels is singular; give the cine's own")
    standard = (codes or HeartCodes()).standard(labels)
    left = volumes(standard, affine, tissue.LV_BLOOD)
    if not left.all():
        raise RequestError(f"phase {int((left == 0).argmax())} has no left ventricle; label its cavity in every phase")
    right = volumes(standard, affine, tissue.RV_BLOOD)
    wall = volumes(standard, affine, tissue.LV_MYOCARDIUM)
    walled = bool(wall.any())
    seen = [rings(phase, affine) for phase in standard] if walled else []
    return HeartReading(
        lv=left,
        rv=right if right.any() else None,
        mass=wall * tissue.DENSITY if walled else None,
        thickness=_thickness(seen, standard, affine) if walled and right.any() else None,
        middle_radius=np.array([_middle_radius(found) for found in seen]) if walled else None,
    )


def _thickness(
    seen: list[list[Ring]], standard: UInt8[np.ndarray, "t x y z"], affine: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "t 16"]:
    """Of every phase, by the rings seen in it; NaN where too few slices show the whole ring, or none the right ventricle."""
    found = np.full((len(standard), 16), np.nan)
    for phase, (whole, labels) in enumerate(zip(seen, standard, strict=True)):
        if len(whole) >= FEWEST_RINGS and any(ring.right.any() for ring in whole):
            found[phase] = ring_thickness(whole, labels, affine)
    return found


def _middle_radius(seen: list[Ring]) -> float:
    """Mean radius (mm) halfway through the wall in the middle third of the slices; NaN where there is none."""
    if len(seen) < FEWEST_RINGS:
        return float("nan")
    middle = np.array_split(np.arange(len(seen)), 3)[1]
    return float(np.mean([seen[k].middle_radius for k in middle]))
