"""What the table says of a heart, counted on its labels."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, UInt8

from engine.phantom.heart.segments import thickness
from engine.phantom.heart.tissue import DENSITY, LV_BLOOD, LV_MYOCARDIUM, RV_BLOOD


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Volumes in mL, ``lv_ef`` in %, ``lv_mass`` in g at end-diastole, ``wall_thickness`` in mm: the thickest segment's then."""

    lv_edv: float
    lv_esv: float
    lv_ef: float
    lv_mass: float
    rv_edv: float
    rv_esv: float
    wall_thickness: float


def volumes(
    labels: UInt8[np.ndarray, "t x y z"], affine: Float[np.ndarray, "4 4"], codes: Collection[int]
) -> Float[np.ndarray, " t"]:
    """Volume (mL) of the labels with these ``codes`` in every phase."""
    wanted = np.zeros(256, bool)
    wanted[list(codes)] = True
    each = abs(float(np.linalg.det(affine[:3, :3]))) / 1000
    return np.array([np.bincount(phase.ravel(), minlength=256)[wanted].sum() * each for phase in labels])


def ejection_fraction(curve: Float[np.ndarray, " t"]) -> float:
    """Share (%) of the greatest volume that is pumped out at the least; NaN where there is none.

    >>> ejection_fraction(np.array([100.0, 40.0, 80.0]))
    60.0
    """
    most = float(curve.max())
    return 100 * (most - float(curve.min())) / most if most > 0 else float("nan")


def count(labels: UInt8[np.ndarray, "t x y z"], affine: Float[np.ndarray, "4 4"]) -> Counts:
    """What is counted on the labels of a cycle; end-diastole is the phase of the left ventricle's greatest volume."""
    left = volumes(labels, affine, LV_BLOOD)
    right = volumes(labels, affine, RV_BLOOD)
    widest = int(left.argmax())
    return Counts(
        lv_edv=float(left.max()),
        lv_esv=float(left.min()),
        lv_ef=ejection_fraction(left),
        lv_mass=float(volumes(labels[[widest]], affine, LV_MYOCARDIUM)[0]) * DENSITY,
        rv_edv=float(right.max()),
        rv_esv=float(right.min()),
        wall_thickness=float(thickness(labels[widest], affine).max()),
    )
