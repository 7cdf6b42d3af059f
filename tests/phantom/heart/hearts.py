"""Hearts that several tests look at, made once; and a beating cylinder whose every measure is known."""

from __future__ import annotations

from functools import cache

import numpy as np

from engine.phantom.heart.cohort import HeartPerson, make
from engine.phantom.heart.tissue import CODES

#: seeds by pathology
SEEDS = {"healthy": 16, "hypertrophic": 13, "infarcted": 14}
SPACING = (1.0, 1.0, 8.0)
AFFINE = np.diag([*SPACING, 1.0])
GRID = (96, 96, 9)


@cache
def heart(pathology: str) -> HeartPerson:
    """The person of this pathology."""
    return make([SEEDS[pathology]], {"pathology": pathology})[0]


def volume(labels: np.ndarray, *names: str) -> np.ndarray:
    """Voxels of these tissues in every phase."""
    return np.isin(labels, [CODES[name] for name in names]).sum((1, 2, 3))


def cylinder(inner: float, outer: float, thin: float = 0.0) -> np.ndarray:
    """Labels of a phase: a tube of wall between two radii (mm), the right ventricle beside it at +x; its apical slices are a
    little narrower, so that the apex can be told. The wall anterior (+y) is ``thin`` mm thinner from outside."""
    x, y = ((np.arange(n) - (n - 1) / 2) * s for n, s in zip(GRID[:2], SPACING[:2], strict=True))
    radius, angle = np.hypot(x[:, None], y[None]), np.arctan2(y[None], x[:, None])
    labels = np.zeros(GRID, np.uint8)
    for k in range(GRID[2]):
        narrower = 2.0 if k < 3 else 0.0
        slab = np.zeros(GRID[:2], np.uint8)
        slab[(radius < outer + 12) & (np.abs(angle) < np.pi / 3)] = CODES["rv_cavity"]
        anterior = np.abs(angle - np.pi / 2) < np.pi / 6
        slab[radius < outer - narrower - thin * anterior] = CODES["lv_myocardium"]
        slab[radius < inner - narrower] = CODES["lv_cavity"]
        labels[:, :, k] = slab
    return labels
