"""The waist as a tape reads it: the girth of the trunk without the arms, just above the iliac crests."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import binary_erosion, binary_fill_holes, distance_transform_edt
from scipy.ndimage import label as components

from engine.phantom.girth import girth, waist_level

#: voxels that a part of a slice must have, after erosion, to be an arm and not a speck; depths of erosion, in voxels
ARM, DEPTHS = 4, (0, 1, 2, 3, 4, 5)
#: share of the skin's level from which a voxel is body: organs and muscle are darker than fat
BODY = 0.4


def waist(
    inphase: Float[np.ndarray, "x y z"],
    pelvis: Bool[np.ndarray, "x y z"],
    fat: Bool[np.ndarray, "x y z"],
    spacing: tuple[float, float, float],
) -> float:
    """Waist in cm; NaN where no pelvis or no body is in view.

    ``inphase`` is water plus fat, any scale; ``pelvis`` and ``fat`` (subcutaneous) say where these are; x and y lie in
    the slices, ``spacing`` is in mm. The skin is where the signal is half of that of the fat under it.
    """
    level = waist_level(pelvis)
    if level is None or not fat[:, :, level].any():
        return float("nan")
    plane = inphase[:, :, level].astype(np.float64)
    return girth(trunk_field(plane, float(np.median(plane[fat[:, :, level]])) / 2), spacing[:2]) / 10


def trunk_field(plane: Float[np.ndarray, "x y"], level: float) -> Float[np.ndarray, "x y"]:
    """``level`` minus the signal, negative within the trunk: arms that lie beside it are set outside.

    The slice's body is eroded until the most parts fall off it: the largest is the trunk, the others are arms, even
    where they touch it. A voxel belongs to whichever core is nearer.
    """
    field = level - plane
    body = binary_fill_holes(plane > BODY * level)
    # a field of view may cut an arm: beyond its border there may be more of it
    cores = [_parts(np.asarray(binary_erosion(body, iterations=d, border_value=1) if d else body)) for d in DEPTHS]
    trunk, arms, count = max(cores, key=lambda core: core[2])
    if count == 0:
        return field
    to_arms, to_trunk = (np.asarray(distance_transform_edt(~core)) for core in (arms, trunk))
    return np.where(to_arms < to_trunk, abs(level), field)


def _parts(cores: Bool[np.ndarray, "x y"]) -> tuple[Bool[np.ndarray, "x y"], Bool[np.ndarray, "x y"], int]:
    """The largest part, the other parts without specks, and how many these are."""
    parts, _ = cast(Any, components(cores))
    sizes = np.bincount(parts.ravel())
    sizes[0] = 0
    trunk = int(sizes.argmax())
    others = [i for i, size in enumerate(sizes) if size >= ARM and i != trunk]
    return parts == trunk, np.isin(parts, others), len(others)
