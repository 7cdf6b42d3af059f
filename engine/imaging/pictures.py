"""Slices of a volume as grey pictures, pixels square in millimetres."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from PIL import Image

from engine.imaging.volume import Volume


class Planes(NamedTuple):
    """Three slices through one voxel, uint8 (height, width). Radiological: the patient's right on the left, the front on top
    of the axial and on the left of the sagittal one, the head on top of the others."""

    axial: np.ndarray
    coronal: np.ndarray
    sagittal: np.ndarray


def planes(volume: Volume, pixel: float, up: float = 0.5) -> Planes:
    """The middle slices of a volume of 0 to 1 (what is not finite is 0), channels added up; a pixel has ``pixel`` mm. The axial
    one lies ``up`` the grid, a share of 0 to 1."""
    turned = volume.reoriented("RAS")
    i, j, k = (n // 2 for n in turned.grid)
    k = k if up == 0.5 else min(turned.grid[2] - 1, int(up * turned.grid[2]))
    data = turned.data if turned.data.ndim == 4 else turned.data[None]
    x, y, z = turned.spacing
    return Planes(
        axial=_grey(data[:, ::-1, ::-1, k], (x, y), pixel),
        coronal=_grey(data[:, ::-1, j, ::-1], (x, z), pixel),
        sagittal=_grey(data[:, i, ::-1, ::-1], (y, z), pixel),
    )


def _grey(plane: np.ndarray, spacing: tuple[float, float], pixel: float) -> np.ndarray:
    """A plane (channel, width, height) as a picture, its pixels ``spacing`` mm wide and high."""
    light = np.clip(np.nan_to_num(plane.sum(0, dtype=np.float32)), 0, 1)
    picture = Image.fromarray(np.ascontiguousarray(np.rint(light * 255).astype(np.uint8).T))
    wide, high = (max(1, round(n * mm / pixel)) for n, mm in zip(light.shape, spacing, strict=True))
    return np.asarray(picture.resize((wide, high), Image.Resampling.BICUBIC))
