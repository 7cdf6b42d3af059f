"""Faces removed: two planes below and in front of the brain, both a fixed distance off its mask.

The first plane is Quickshear (Schimke & Hale, "Quickshear defacing for neuroimages", HealthSec 2011): the first edge of
the lower convex hull of the mask's sagittal profile, shifted by a buffer. That edge is only a few voxels long, so its
angle varies from head to head (40 to 86 degrees over 25 IXI heads) and the steep ones leave the tongue and jaw. The
second plane has a fixed angle in the head's own frame and touches the brain's hull at the same distance, which makes
the cut alike in everybody.
"""

from __future__ import annotations

import warnings

import nibabel as nib
import numpy as np
from jaxtyping import Bool, Float
from quickshear import quickshear

from engine.imaging.volume import Volume, VolumeError


def quickshear_keep(brain: Volume, *, buffer_mm: float) -> Bool[np.ndarray, "x y z"]:
    """Voxels behind Quickshear's plane (True: kept).

    ``brain`` holds a mask, larger than 0 inside; axes may point anywhere. Quickshear counts its buffer in voxels and
    mixes up the lengths of the P and S axes, so the mask is brought to RPS and padded to equal lengths first. Raises
    :class:`VolumeError` when the mask is empty or its profile has no lower edge.
    """
    turned = brain.reoriented("RPS")
    side = max(turned.grid[1:])
    mask = np.zeros((turned.grid[0], side, side), np.uint8)
    mask[:, : turned.grid[1], : turned.grid[2]] = turned.data > 0
    whole = nib.Nifti1Image(np.ones(mask.shape, np.uint8), turned.affine)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Arrays of 2-dimensional vectors", category=DeprecationWarning)
            kept = quickshear(whole, nib.Nifti1Image(mask, turned.affine), round(buffer_mm / turned.spacing[2]))
    except (IndexError, ValueError, ZeroDivisionError):
        raise VolumeError("the brain mask has no lower edge to place the defacing plane; check the scan") from None
    keep = np.asarray(kept.dataobj)[:, : turned.grid[1], : turned.grid[2]].astype(np.uint8)
    back = Volume(keep, turned.affine).reoriented(brain.axcodes)
    return back.data > 0


def cut_normal(angle: float) -> tuple[float, float, float]:
    """The unit vector along RAS of the centred head in whose direction the face lies: what the plane takes away."""
    slope = np.radians(angle)
    return 0.0, float(np.sin(slope)), float(-np.cos(slope))


def tangent_keep(
    brain: Volume,
    head_to_ras: Float[np.ndarray, "4 4"],
    *,
    buffer_mm: float,
    angle: float,
) -> Bool[np.ndarray, "x y z"]:
    """Voxels behind a plane that falls backwards at ``angle`` degrees below the horizontal of the head (True: kept).

    ``head_to_ras`` places the centred head's frame (mm) in the scan's RAS mm. The plane touches the brain mask from
    below and in front, then moves ``buffer_mm`` away from it.
    """
    normal = np.array(cut_normal(angle))
    ijk_to_head = np.linalg.inv(head_to_ras) @ brain.affine
    row = normal @ ijk_to_head[:3]
    height = row[3] + sum(
        row[axis] * np.arange(size).reshape([-1 if a == axis else 1 for a in range(3)])
        for axis, size in enumerate(brain.grid)
    )
    inside = brain.data > 0
    if not inside.any():
        raise VolumeError("the brain mask is empty, so the face cannot be found; check the scan")
    return height <= height[inside].max() + buffer_mm
