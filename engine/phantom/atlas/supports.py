"""What a field knows of its volume without any network: the classes of each coarse cell, and the nodes near borders."""

from __future__ import annotations

import itertools
import math

import numpy as np
import torch
from jaxtyping import Bool, Int
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from engine.phantom.atlas.config import FieldConfig, GridConfig
from engine.phantom.atlas.volume import LabelVolume


def allowed_classes(config: FieldConfig, volume: LabelVolume) -> Bool[Tensor, "x y z c"]:
    """Which classes lie in each of the mask's cells, or within a voxel of it."""
    found = np.zeros((*config.cells, len(config.classes)), bool)
    spans = [_spans(config, axis) for axis in range(3)]
    for i, j, k in itertools.product(*[range(n) for n in config.cells]):
        block = volume.labels[spans[0][i], spans[1][j], spans[2][k]]
        found[i, j, k, np.flatnonzero(np.bincount(block.ravel(), minlength=len(config.classes)))] = True
    return torch.from_numpy(found)


def _spans(config: FieldConfig, axis: int) -> list[slice]:
    """The voxels of each cell along an axis and one more on either side."""
    voxels = config.cell / config.spacing[axis]
    starts = [math.floor(i * voxels) - 1 for i in range(config.cells[axis])]
    return [slice(max(0, start), math.ceil(start + 1 + voxels) + 1) for start in starts]


def rows_near(config: FieldConfig, volume: LabelVolume, grid: GridConfig) -> Int[Tensor, "i j k"]:
    """Row numbers of a grid's nodes, from 1 on for those that a voxel within ``grid.reach`` of a border asks, else 0."""
    counts = config.nodes(grid.step)
    if not grid.reach:
        return torch.arange(1, math.prod(counts) + 1).reshape(counts)
    asking = np.asarray(distance_transform_edt(~volume.borders, config.spacing)) <= grid.reach
    return numbered(torch.from_numpy(_asked(asking, config, grid.step)))


def _asked(asking: Bool[np.ndarray, "x y z"], config: FieldConfig, step: float) -> Bool[np.ndarray, "i j k"]:
    """The nodes that are corners of a cell with a voxel of ``asking`` in it."""
    counts = config.nodes(step)
    cell = [
        np.minimum(((np.arange(n) + 0.5) * mm / step).astype(int), count - 2)
        for n, mm, count in zip(config.shape, config.spacing, counts, strict=True)
    ]
    found = np.zeros(counts, bool)
    i, j, k = (of_axis[places] for of_axis, places in zip(cell, np.nonzero(asking), strict=True))
    found[i, j, k] = True
    for axis in range(3):
        shifted = np.moveaxis(found, axis, 0)
        shifted[1:] |= shifted[:-1].copy()
    return found


def numbered(kept: Bool[Tensor, "i j k"]) -> Int[Tensor, "i j k"]:
    """From 1 on the numbers of the nodes that are kept; 0 elsewhere."""
    flat = kept.flatten()
    return torch.where(flat, flat.long().cumsum(0), 0).reshape(kept.shape)
