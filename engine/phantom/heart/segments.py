"""The wall of the left ventricle in the 16 segments of the American Heart Association that short-axis slices show.

Cerqueira et al., Circulation 2002;105:539: six segments of the basal third, six of the middle, four of the apical; the 17th, the
tip, is seen on long axes only. Segments are counted from the middle of the septum, which is where the right ventricle is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, UInt8

from engine.phantom.heart.people import HeartError
from engine.phantom.heart.tissue import LV_BLOOD, LV_MYOCARDIUM, RV_BLOOD

#: in the order of the AHA's numbers, from 1
SEGMENTS = (
    *("basal anterior", "basal anteroseptal", "basal inferoseptal", "basal inferior"),
    *("basal inferolateral", "basal anterolateral"),
    *("mid anterior", "mid anteroseptal", "mid inferoseptal", "mid inferior", "mid inferolateral", "mid anterolateral"),
    *("apical anterior", "apical septal", "apical inferior", "apical lateral"),
)
#: of each third from the base: segments, and the angle at which the first begins
_THIRDS = ((6, 2 * math.pi / 3), (6, 2 * math.pi / 3), (4, 3 * math.pi / 4))
#: sectors in each of which a whole ring has wall
_RING = 12
#: least area of a cavity in mm2 about whose middle a wall is measured
SMALLEST = 60.0


@dataclass(frozen=True, eq=False)
class Ring:
    """A slice with the whole ring of the wall: voxels of ``blood``, ``wall`` and the ``right`` cavity, their ``angle`` about
    the cavity's middle (radians, from the array's first axis to its second), ``cell`` mm2 a voxel."""

    blood: Bool[np.ndarray, "x y"]
    wall: Bool[np.ndarray, "x y"]
    right: Bool[np.ndarray, "x y"]
    angle: Float[np.ndarray, "x y"]
    cell: float

    def radii(self, sector: np.ndarray, n: int) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
        """Inner and outer radius (mm) in each of ``n`` equal sectors, whose number every voxel has: those of equal area."""
        inner = np.bincount(sector[self.blood], minlength=n) * self.cell
        whole = inner + np.bincount(sector[self.wall], minlength=n) * self.cell
        return np.sqrt(inner * n / math.pi), np.sqrt(whole * n / math.pi)

    @property
    def middle_radius(self) -> float:
        """Radius (mm) halfway through the wall."""
        inner, outer = self.radii(np.zeros(self.blood.shape, int), 1)
        return float(inner[0] + outer[0]) / 2


def rings(labels: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> list[Ring]:
    """The slices of a phase with a whole ring of wall, from the apex to the base."""
    blood, wall, right = (np.isin(labels, codes) for codes in (LV_BLOOD, LV_MYOCARDIUM, RV_BLOOD))
    side = np.linalg.norm(affine[:3, :2], axis=0)
    cell = float(np.linalg.norm(np.cross(affine[:3, 0], affine[:3, 1])))
    found = []
    for k in np.flatnonzero(blood.any((0, 1)) & wall.any((0, 1))):
        if blood[..., k].sum() * cell < SMALLEST:
            continue
        middle = np.argwhere(blood[..., k]).mean(0)
        x, y = (side[i] * (np.arange(labels.shape[i]) - middle[i]) for i in (0, 1))
        angle = np.arctan2(y[None], x[:, None])
        sector = np.floor((angle + math.pi) * _RING / (2 * math.pi)).astype(int) % _RING
        if len(np.unique(sector[wall[..., k]])) == _RING:
            found.append(Ring(blood[..., k], wall[..., k], right[..., k], angle, cell))
    half = len(found) // 2
    rising = sum(ring.blood.sum() for ring in found[half:]) * half >= sum(ring.blood.sum() for ring in found[:half]) * (
        len(found) - half
    )
    return found if rising else found[::-1]


def thickness(labels: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> Float[np.ndarray, "16"]:
    """Mean thickness (mm) of the wall in each of :data:`SEGMENTS`, slices lying along the third axis; raises as
    :func:`ring_thickness`."""
    return ring_thickness(rings(labels, affine), labels, affine)


def ring_thickness(
    found: list[Ring], labels: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]
) -> Float[np.ndarray, "16"]:
    """As :func:`thickness`, of the :func:`rings` that were found in these labels.

    A sector's thickness is that between the radii of equal area, so that voxels are no steps. Raises :class:`HeartError` for
    fewer than three slices with a whole ring of wall, and where no right ventricle says where the septum is.
    """
    if len(found) < 3:
        raise HeartError(
            f"{len(found)} slices have a whole ring of the left ventricle's wall; give labels of three slices or more"
        )
    septum = _septum(found)
    if septum is None:
        raise HeartError("the labels have no right ventricle to find the septum by; label its cavity too")
    sense = _sense(labels, affine)
    values: list[float] = []
    thirds = np.array_split(np.arange(len(found)), 3)[::-1]
    for slices, (n, start) in zip(thirds, _THIRDS, strict=True):
        each = []
        for k in slices:
            angle = np.angle(np.exp(1j * sense * (found[k].angle - septum)))
            sector = np.floor((start - angle) * n / (2 * math.pi)).astype(int) % n
            inner, outer = found[k].radii(sector, n)
            each.append(outer - inner)
        values += list(np.mean(each, axis=0))
    return np.array(values)


def _septum(found: list[Ring]) -> float | None:
    """The angle of the middle of the septum: the mean direction of the right ventricle."""
    seen = [ring.angle[ring.right] for ring in found if ring.right.any()]
    return float(np.angle(np.exp(1j * np.concatenate(seen)).sum())) if seen else None


def _sense(labels: UInt8[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"]) -> int:
    """1 where angles of the array go from the septum to anterior, -1 where they go to inferior."""
    areas = np.isin(labels, LV_BLOOD).sum((0, 1))
    there = np.flatnonzero(areas)
    half = len(there) // 2
    to_base = 1 if areas[there[-half:]].mean() >= areas[there[:half]].mean() else -1
    return to_base * (1 if np.linalg.det(affine[:3, :3]) > 0 else -1)
