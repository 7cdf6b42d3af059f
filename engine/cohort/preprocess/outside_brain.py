"""Skull and scalp, from the scan itself: what a brain's label map leaves out of a head."""

from __future__ import annotations

import numpy as np
from jaxtyping import Integer, UInt8
from scipy import ndimage

#: codes that no DLMUSE region has
SKULL, SCALP = 250, 251
#: version of what is drawn here; part of a store's plan
OUTSIDE = 1
#: share of the 99th percentile from which a voxel counts as tissue, and voxels by which the outline is closed
TISSUE, CLOSED = 0.1, 4
#: share of the median of tissue outside the brain below which a voxel is dark
DARK = 0.5


def with_skull_and_scalp(
    labels: Integer[np.ndarray, "x y z"], volume: UInt8[np.ndarray, "x y z"]
) -> Integer[np.ndarray, "x y z"]:
    """The label map of a T1-weighted head's brain (0: no region), with :data:`SKULL` where the rest of the head is dark (bone, and
    air within it) and :data:`SCALP` where it is bright (skin, fat, muscle, marrow).

    The head is its largest bright piece, closed by :data:`CLOSED` voxels, its holes filled in each axial slice.
    """
    level = TISSUE * float(np.percentile(volume, 99))
    bright = (volume > level) | (labels > 0)
    ball = ndimage.generate_binary_structure(3, 1)
    wide = np.pad(bright, CLOSED)
    closed = np.asarray(ndimage.binary_closing(wide, ball, iterations=CLOSED), bool)
    closed = closed[(slice(CLOSED, -CLOSED),) * 3] | bright
    slices = [np.asarray(ndimage.binary_fill_holes(closed[:, :, k]), bool) for k in range(closed.shape[2])]
    filled = np.stack(slices, -1)
    pieces = np.zeros(filled.shape, np.int32)
    ndimage.label(filled, output=pieces)
    sizes = np.bincount(pieces.ravel())
    sizes[0] = 0
    outside = (pieces == sizes.argmax()) & (labels == 0)
    tissue = volume[outside & bright]
    dark = volume < DARK * float(np.median(tissue)) if len(tissue) else outside
    # the skin's outermost voxels are half air
    dark = dark & np.asarray(ndimage.binary_erosion(filled, iterations=2, border_value=1), bool)
    return np.where(outside, np.where(dark, SKULL, SCALP), labels).astype(labels.dtype)
