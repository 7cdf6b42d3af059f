"""The cortical ribbon of a T1-weighted head: contrast of white and grey matter, and the folded area between them.

Nothing but intensities inside the brain is asked for. White matter is what is brighter than Otsu's threshold of the brain
(Otsu 1979); the border is a level set of the volume blurred by less than a voxel. Contrast is taken on the volume itself, a
step to either side along the border's normal, and fog lowers it. Blotches have a border, too, but few lie as deep as the
folds of a cortex reach: the deep part of the area tells them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from engine.evaluation.metrics.checks import EvaluationError
from engine.imaging.surface import SurfaceError, surface

#: blur (SD, voxels) before the border is drawn, and the step to either side of it (mm)
SOFT, STEP = 0.7, 2.5
#: mm below the brain's surface from which a border is deep: beyond the crowns of gyri
DEEP = 10.0
#: voxels of brain that are needed
FEWEST = 1000
BINS = 128
#: the border is drawn whole: no triangle is thinned out
ALL = 10**7


@dataclass(frozen=True, kw_only=True)
class Ribbon:
    """``contrast`` is 2 (white - grey) / (white + grey) across the border, ``square_cm`` the border's area, ``deep_cm`` that
    (square cm) of what lies :data:`DEEP` or deeper."""

    contrast: float
    square_cm: float
    deep_cm: float


def otsu(values: Float[np.ndarray, " n"]) -> float:
    """The threshold that parts the values into two classes of least variance within; of equal values that value."""
    if np.ptp(values) == 0:
        return float(values[0])
    counts, edges = np.histogram(values, BINS)
    middles = (edges[:-1] + edges[1:]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * middles)
    with np.errstate(invalid="ignore", divide="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    best = np.flatnonzero(between == np.nanmax(between[:-1]))
    return float(edges[1:][best].mean())


def ribbon(head: Float[np.ndarray, "x y z"], brain: Bool[np.ndarray, "x y z"], spacing: float) -> Ribbon:
    """The ribbon of a head whose ``brain`` (tissue without fluid) is known, voxels of ``spacing`` mm.

    Raises :class:`EvaluationError` where there is hardly a brain, or no border in it.
    """
    if brain.sum() < FEWEST:
        raise EvaluationError(f"a brain of {int(brain.sum())} voxels is too small: {FEWEST} or more are needed")
    values = head.astype(np.float32)
    level = otsu(values[brain])
    if np.ptp(values[brain]) == 0:
        raise EvaluationError(f"a brain has no border of grey and white matter: all of it has the intensity {level:g}")

    soft = ndimage.gaussian_filter(values, SOFT)
    dark = float(values[brain].min())
    inside = np.where(brain, soft, np.minimum(soft, min(dark, level - 0.01)))
    try:
        border = surface(inside, np.diag([spacing, spacing, spacing, 1.0]), level=level, most=ALL)
    except SurfaceError:
        raise EvaluationError("a brain has hardly a voxel of white matter: there is no border to draw") from None

    middles = border.corners.mean(1) / spacing
    slope = np.stack([ndimage.map_coordinates(s, middles.T, order=1, mode="nearest") for s in np.gradient(soft)])
    normal = slope / np.maximum(np.linalg.norm(slope, axis=0), 1e-9) * STEP / spacing
    white, grey = (
        ndimage.map_coordinates(values, middles.T + side * normal, order=1, mode="nearest") for side in (1, -1)
    )
    depth = np.asarray(ndimage.distance_transform_edt(ndimage.binary_fill_holes(brain))) * spacing
    deep = ndimage.map_coordinates(depth, middles.T, order=1) >= DEEP
    return Ribbon(
        contrast=float(2 * (white - grey).sum() / (white + grey).sum()),
        square_cm=border.square_cm,
        deep_cm=replace(border, faces=border.faces[deep]).square_cm,
    )
