"""What a tape measure reads: the girth of a cross-section, and the level at which a waist is taken."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float
from scipy.spatial import ConvexHull

#: a slice belongs to the pelvis when this many of its voxels do
CREST_VOXELS = 6


def girth(field: Float[np.ndarray, "x y"], spacing: tuple[float, float]) -> float:
    """Length of a tape drawn tight around the region where ``field`` is negative, mm; NaN where it has no inside.

    The region's border is found to a fraction of a voxel by linear interpolation, the tape is its convex hull.

    >>> x, y = np.meshgrid(np.arange(-60.0, 61), np.arange(-60.0, 61), indexing="ij")
    >>> round(girth(np.hypot(x, y) - 50, (1.0, 1.0)) / (2 * np.pi * 50), 2)
    1.0
    """
    points = []
    for axis in (0, 1):
        a, b = (field[:-1], field[1:]) if axis == 0 else (field[:, :-1], field[:, 1:])
        i, j = np.nonzero((a < 0) != (b < 0))
        share = a[i, j] / (a[i, j] - b[i, j])
        points.append(np.stack([i + share * (axis == 0), j + share * (axis == 1)], 1))
    border = np.concatenate(points) * np.asarray(spacing)
    return float(ConvexHull(border).area) if len(border) > 2 else float("nan")


def waist_level(pelvis: Bool[np.ndarray, "x y z"]) -> int | None:
    """The slice just above the iliac crests, where NHANES takes the waist; None where no pelvis is in view."""
    slices = np.nonzero(pelvis.sum((0, 1)) >= CREST_VOXELS)[0]
    return min(int(slices.max()) + 1, pelvis.shape[2] - 1) if len(slices) else None
