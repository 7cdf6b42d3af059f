"""Distances and morphology of masks, in mm and of known types."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import ndimage

Mask = Bool[np.ndarray, "..."]


def distance_to(mask: Mask, spacing: float | Sequence[float]) -> Float[np.ndarray, "..."]:
    """mm to the mask, 0 within it."""
    found = ndimage.distance_transform_edt(~mask, sampling=spacing, return_distances=False, return_indices=True)
    place = np.asarray(found)
    # scipy would draw out the voxels' own places as arrays: half of its time
    square = np.zeros(mask.shape)
    for axis, mm in enumerate(np.broadcast_to(spacing, mask.ndim)):
        own = np.arange(mask.shape[axis]).reshape(-1, *(1,) * (mask.ndim - 1 - axis))
        difference = np.subtract(place[axis], own, dtype=float)
        difference *= mm
        difference *= difference
        square += difference
    return np.sqrt(square, out=square)


def nearest(mask: Mask, spacing: float | Sequence[float]) -> tuple[Float[np.ndarray, "..."], Int[np.ndarray, "d ..."]]:
    """mm to the mask, and the indices (axis first) of its nearest place."""
    distance = ndimage.distance_transform_edt(~mask, sampling=spacing, return_indices=True)
    assert isinstance(distance, tuple)
    return np.asarray(distance[0]), np.asarray(distance[1])


def closed(mask: Mask, radius: float, spacing: Sequence[float]) -> Mask:
    """Closing by a ball of ``radius`` mm."""
    grown = distance_to(mask, spacing) <= radius
    return (distance_to(~grown, spacing) > radius) | mask


def filled(section: Mask) -> Mask:
    """A mask with its holes."""
    return np.asarray(ndimage.binary_fill_holes(section), bool)


def opened(mask: Mask, times: int) -> Mask:
    """Eroded, then dilated, voxel by voxel."""
    return np.asarray(ndimage.binary_opening(mask, iterations=times), bool)


def joined(mask: Mask, times: int) -> Mask:
    """Dilated, then eroded, voxel by voxel."""
    return np.asarray(ndimage.binary_closing(mask, iterations=times), bool)


def eroded(mask: Mask, times: int) -> Mask:
    """Without its outer layers of voxels."""
    return np.asarray(ndimage.binary_erosion(mask, iterations=times), bool)


def largest(mask: Mask) -> Mask:
    """The largest piece of a mask; nothing of an empty one."""
    pieces, _ = _labelled(mask)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    return (pieces == sizes.argmax()) & mask


def _labelled(mask: Mask) -> tuple[Int[np.ndarray, "..."], int]:
    found = ndimage.label(mask)
    assert isinstance(found, tuple)
    return np.asarray(found[0]), int(found[1])


def wrapped_smooth(table: Float[np.ndarray, "angle z"], by: tuple[float, float]) -> Float[np.ndarray, "angle z"]:
    """A table of sections, smoothed by a Gaussian; its angles go round."""
    around = ndimage.gaussian_filter1d(table, by[0], axis=0, mode="wrap")
    return np.asarray(ndimage.gaussian_filter1d(around, by[1], axis=1, mode="nearest"))


def wrapped_largest(table: Float[np.ndarray, "angle z"], size: tuple[int, int]) -> Float[np.ndarray, "angle z"]:
    """The largest value of a table of sections in a window; its angles go round."""
    around = ndimage.maximum_filter1d(table, size[0], axis=0, mode="wrap")
    return np.asarray(ndimage.maximum_filter1d(around, size[1], axis=1, mode="nearest"))
