"""Editing a segmentation: a region grown, shrunk or moved, its neighbours giving way or filling in."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, UInt8
from scipy.ndimage import distance_transform_edt, gaussian_filter

from engine.imaging.segmentation import Segmentation
from engine.vocabulary.refusal import RequestError

#: how many times as large, and by how many mm, a region may be made or moved
SMALLEST, LARGEST, FURTHEST = 0.25, 3.0, 100.0


def resized(mask: Segmentation, region: str, factor: float, *, kept: Collection[str] = ()) -> Segmentation:
    """The ``region`` with ``factor`` times its volume, to the voxel: its border moves outwards or inwards, everywhere by the
    same distance in mm, but not into the background or the ``kept`` classes.

    Raises :class:`RequestError` for a region that is not there, a factor outside :data:`SMALLEST` to :data:`LARGEST`, and where
    there is no room.
    """
    if not SMALLEST <= factor <= LARGEST:
        raise RequestError(f"{region} {factor:g} times as large: give a factor from {SMALLEST:g} to {LARGEST:g}")
    inside = _present(mask, region)
    count = round(factor * int(inside.sum()))
    spacing = np.linalg.norm(mask.affine[:3, :3], axis=0)
    outside_mm, inside_mm = (np.asarray(distance_transform_edt(m, sampling=spacing)) for m in (~inside, inside))
    outwards = outside_mm - inside_mm
    places = np.flatnonzero(inside | _yielding(mask, kept))
    if count > len(places):
        raise RequestError(f"{region} {factor:g} times as large has no room in this mask; give a smaller factor")
    # of voxels as far away those nearer to more of it come first, and else by lot: the last layer is on all sides
    near = gaussian_filter(inside.astype(np.float32), 2)
    lot = np.random.default_rng(0).permutation(len(places))
    order = np.lexsort((lot, -near.ravel()[places].round(4), outwards.ravel()[places]))
    chosen = np.zeros(inside.size, bool)
    chosen[places[order[:count]]] = True
    return _painted(mask, region, chosen.reshape(inside.shape))


def moved(mask: Segmentation, region: str, by: Sequence[float], *, kept: Collection[str] = ()) -> Segmentation:
    """The ``region`` moved ``by`` mm to the right, to the front and upwards (RAS), to the nearest voxel; what would come to lie in
    the background or the ``kept`` classes is cut off, and the place it leaves is filled by what is nearest.

    Raises :class:`RequestError` for a region that is not there, or a way of more than :data:`FURTHEST` mm.
    """
    if len(by) != 3 or not all(abs(mm) <= FURTHEST for mm in by):
        raise RequestError(f"{region} moved by {tuple(by)} mm: give three numbers of at most {FURTHEST:g} mm")
    inside = _present(mask, region)
    voxels = np.rint(np.linalg.inv(mask.affine[:3, :3]) @ np.asarray(by, float)).astype(int)
    there = np.argwhere(inside) + voxels
    there = there[((there >= 0) & (there < inside.shape)).all(1)]
    chosen = np.zeros(inside.shape, bool)
    chosen[tuple(there.T)] = True
    chosen &= inside | _yielding(mask, kept)
    if not chosen.any():
        raise RequestError(f"{region} moved by {tuple(by)} mm leaves the body; give a shorter way")
    return _painted(mask, region, chosen)


def _present(mask: Segmentation, region: str) -> Bool[np.ndarray, "x y z"]:
    if region not in mask.classes[1:]:
        raise RequestError(f"there is no region {region!r}; the regions are {', '.join(mask.classes[1:])}")
    inside = mask.mask(region)
    if not inside.any():
        raise RequestError(f"the mask has no voxel of {region}; choose another region")
    return inside


def _yielding(mask: Segmentation, kept: Collection[str]) -> Bool[np.ndarray, "x y z"]:
    """Voxels that a region may grow or move into."""
    fixed = [0, *(mask.classes.index(name) for name in kept)]
    return ~np.isin(mask.labels, fixed)


def _painted(mask: Segmentation, region: str, chosen: Bool[np.ndarray, "x y z"]) -> Segmentation:
    """The mask with the region where ``chosen`` and nowhere else; what it leaves is of the nearest other class."""
    index = mask.classes.index(region)
    left = (mask.labels == index) & ~chosen
    labels: UInt8[np.ndarray, "x y z"] = mask.labels.copy()
    if left.any():
        spacing = np.linalg.norm(mask.affine[:3, :3], axis=0)
        other = (labels != index) & (labels != 0) & ~chosen
        nearest = np.asarray(
            distance_transform_edt(~other, sampling=spacing, return_distances=False, return_indices=True)
        )
        labels[left] = labels[tuple(axis[left] for axis in nearest)]
    labels[chosen] = index
    return replace(mask, labels=labels)
