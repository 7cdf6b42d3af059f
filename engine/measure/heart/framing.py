"""A cine of any orientation and voxel size as the heart's network sees it: slices as they lie, voxels within them of one size."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float

from engine.anatomy.heart import HEART
from engine.cohort.preprocess.preprocess import antialiased
from engine.imaging.volume import Volume, VolumeError


@dataclass(frozen=True, kw_only=True)
class CineFrame:
    """``voxel`` is that of the network (mm); slices whose distance lies within ``slices`` (mm) stay where they lie, others are
    resampled to ``voxel``. ``window`` is the part of a larger field of view that is kept about the heart (voxels of a slice),
    ``largest`` the most voxels along x, y, z before that."""

    voxel: tuple[float, float, float] = (1.6, 1.6, 8.0)
    slices: tuple[float, float] = (5.0, 12.0)
    window: tuple[int, int] = (112, 112)
    largest: tuple[int, int, int] = (320, 320, 48)


def framed(volume: Volume, frame: CineFrame) -> Volume:
    """The cine (t, x, y, z), float32: itself where its voxels are the network's, otherwise slices last and resampled.

    Raises :class:`VolumeError` for a scan that is no cine, of one phase, or far larger than a chest.
    """
    if volume.data.ndim == 3 or volume.kinds != HEART.channels:
        raise VolumeError(
            f"the scan has no channel {HEART.channels[0]}; a heart is measured on the phases of its short-axis cine"
        )
    if volume.phases < 2:
        raise VolumeError("the cine has one phase; a heart is measured over its cycle, so give two phases or more")
    cine = slices_last(replace(volume, data=volume.data.astype(np.float32)))
    apart = cine.spacing[2]
    low, high = frame.slices
    mm = (*frame.voxel[:2], apart if low <= apart <= high else frame.voxel[2])
    if np.allclose(cine.spacing, mm, rtol=0.01):
        return cine
    grid = [max(2, round(n * own / new)) for n, own, new in zip(cine.grid, cine.spacing, mm, strict=True)]
    if any(n > most for n, most in zip(grid, frame.largest, strict=True)):
        size = " x ".join(f"{n * own / 10:.0f}" for n, own in zip(cine.grid, cine.spacing, strict=True))
        raise VolumeError(f"a field of view of {size} cm is larger than a chest; crop the cine to the heart")
    smooth = np.stack([antialiased(phase, cine.spacing, mm) for phase in cine.data])
    return replace(cine, data=smooth).resampled((grid[0], grid[1], grid[2]), _filling(cine, grid, mm))


def slices_last(volume: Volume) -> Volume:
    """The same cine with the axis along which its voxels are the largest as the last, if they are no cubes."""
    thick = int(np.argmax(volume.spacing))
    if thick == 2 or volume.spacing[thick] < 1.5 * float(np.median(volume.spacing)):
        return volume
    order = [axis for axis in range(3) if axis != thick] + [thick]
    data = np.ascontiguousarray(volume.data.transpose(0, *(1 + axis for axis in order)))
    affine = volume.affine.copy()
    affine[:, :3] = affine[:, order]
    return replace(volume, data=data, affine=affine)


def window_about(
    volume: Volume, inside: Bool[np.ndarray, "x y z"], window: tuple[int, int]
) -> tuple[Volume, tuple[int, int]]:
    """The part of each slice about the middle of what is ``inside``, and its first voxel; whole along an axis that is shorter."""
    middle = np.argwhere(inside).mean(0)
    start = [0, 0]
    for axis, side in enumerate(window):
        last = max(0, volume.grid[axis] - side)
        start[axis] = int(np.clip(round(float(middle[axis]) - side / 2), 0, last))
    x, y = start
    part = volume.data[:, x : x + window[0], y : y + window[1]]
    affine = volume.affine.copy()
    affine[:3, 3] += affine[:3, :2] @ np.array([x, y], float)
    return replace(volume, data=np.ascontiguousarray(part), affine=affine), (x, y)


def _filling(cine: Volume, grid: list[int], mm: tuple[float, ...]) -> Float[np.ndarray, "4 4"]:
    """The affine of another grid over the same field of view, its axes along the cine's."""
    affine = cine.affine.copy()
    affine[:3, :3] = cine.affine[:3, :3] / cine.spacing * mm
    middle = cine.affine[:3, :3] @ ((np.array(cine.grid) - 1) / 2) + cine.affine[:3, 3]
    affine[:3, 3] = middle - affine[:3, :3] @ ((np.array(grid) - 1) / 2)
    return affine
