"""How a grid of voxels is decoded: in blocks, one for each cell of a field's mask, and what a block asks of the nodes."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from engine.phantom.atlas.config import FieldConfig


class Span(NamedTuple):
    """What a block's voxels along an axis ask of a grid: the nodes ``first`` to ``last`` (not included), by ``weights``."""

    first: int
    last: int
    weights: Float[Tensor, "v n"]


class Block(NamedTuple):
    """The voxels in a cell of the mask (slices along x, y, z), and the spans along x, y, z that they ask of each grid."""

    cell: tuple[int, int, int]
    voxels: tuple[slice, slice, slice]
    spans: tuple[tuple[Span, Span, Span], ...]


def blocks(config: FieldConfig, spacing: Sequence[float]) -> Iterator[Block]:
    """The blocks of the grid of voxels of ``spacing`` mm, without those that no voxel lies in."""
    voxels = [_voxels(config, axis, spacing[axis]) for axis in range(3)]
    spans = [
        [_spans(config, axis, spacing[axis], grid.step, of_cell) for axis, of_cell in enumerate(voxels)]
        for grid in config.grids
    ]
    nx, ny, nz = config.cells
    for i, j, k in itertools.product(range(nx), range(ny), range(nz)):
        places = (voxels[0][i], voxels[1][j], voxels[2][k])
        if all(place.stop > place.start for place in places):
            asked = tuple((along[0][i], along[1][j], along[2][k]) for along in spans)
            yield Block((i, j, k), places, asked)


def _voxels(config: FieldConfig, axis: int, spacing: float) -> list[slice]:
    """The voxels whose centres lie in each cell along an axis; the last cell takes all that is left."""
    n = config.shape_at([spacing] * 3)[axis]
    cells = config.cells[axis]
    of_voxel = np.minimum((np.arange(n) + 0.5) * spacing // config.cell, cells - 1)
    edges = np.searchsorted(of_voxel, np.arange(cells + 1))
    return [slice(int(first), int(last)) for first, last in itertools.pairwise(edges)]


def _spans(config: FieldConfig, axis: int, spacing: float, step: float, voxels: Sequence[slice]) -> list[Span]:
    """For each cell along an axis what its voxels ask of the nodes ``step`` mm apart."""
    most = config.nodes(step)[axis] - 2
    found = []
    for of_cell in voxels:
        place = (torch.arange(of_cell.start, of_cell.stop) + 0.5) * spacing / step
        node = place.floor().clamp(max=most).long()
        share = (place - node).clamp(0, 1)
        first, last = (int(node[0]), int(node[-1]) + 2) if len(node) else (0, 2)
        weights = torch.zeros(len(node), last - first)
        each = torch.arange(len(node))
        weights[each, node - first] = 1 - share
        weights[each, node - first + 1] = share
        found.append(Span(first, last, weights))
    return found
