"""Attention among many tokens of a grid in proportion to their number: each window of them sees its own tokens and all that stand
on no grid one by one, and what lies around it as cells, a cell by the mean of its keys and values and by how many they are.

Near as in windows (Swin, arXiv 2103.14030: every other layer has its windows elsewhere), far as in pooled attention (arXiv
2107.00641). Laws: a window that holds the whole grid gives the attention of all pairs, and so do any windows where the keys and
values of a cell are alike.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

#: tokens along a side of a window, and of the cells around it, which windows are made of
WINDOW, CELL = 8, 4

Grid = tuple[int, int, int]
Box = tuple[slice, slice, slice]


class Windows(NamedTuple):
    """Windows of ``side`` tokens on a ``grid``, the first along each axis ``shift`` tokens wide (0: as wide as the others); both
    are multiples of :data:`CELL`."""

    grid: Grid
    side: int = WINDOW
    shift: int = 0

    def boxes(self) -> Iterator[Box]:
        """Every token is in one.

        >>> [box[0] for box in Windows((12, 8, 8), shift=4).boxes() if box[1].start == box[2].start == 0]
        [slice(0, 4, None), slice(4, 12, None)]
        """
        axes = []
        for n in self.grid:
            edges = [0, *range(self.shift or self.side, n, self.side), n]
            axes.append([slice(low, high) for low, high in itertools.pairwise(edges)])
        yield from itertools.product(*axes)


def attended(
    query: Float[Tensor, "b h s d"], key: Float[Tensor, "b h s d"], value: Float[Tensor, "b h s d"], windows: Windows
) -> Float[Tensor, "b h s d"]:
    """What the tokens of the grid, in C order, and those after them take in; those after them see all one by one."""
    many = math.prod(windows.grid)
    asked, offered, told = (part[:, :, :many].unflatten(2, windows.grid) for part in (query, key, value))
    cells = [_means(part) for part in (offered, told)]
    after = [part[:, :, many:] for part in (key, value)]
    weight = _sizes(windows.grid, query).log()
    places = torch.arange(many, device=query.device).view(windows.grid)
    mixed, order = [], []
    for box in windows.boxes():
        there = (slice(None), slice(None), *box)
        keys, values = (
            torch.cat([part[there].flatten(2, 4), beside, around.flatten(2, 4)], 2)
            for part, beside, around in zip((offered, told), after, cells, strict=True)
        )
        bias = weight.clone()
        bias[tuple(slice(part.start // CELL, -(-part.stop // CELL)) for part in box)] = -math.inf
        bias = nn.functional.pad(bias.flatten(), (keys.shape[2] - bias.numel(), 0))
        mixed.append(_mixed(asked[there].flatten(2, 4), keys, values, bias))
        order.append(places[box].flatten())
    by_place = torch.cat(mixed, 2)[:, :, torch.cat(order).argsort()]
    return torch.cat([by_place, scaled_dot_product_attention(query[:, :, many:], key, value)], 2)


def _mixed(
    query: Float[Tensor, "b h q d"], key: Float[Tensor, "b h k d"], value: Float[Tensor, "b h k d"], bias: Tensor
) -> Float[Tensor, "b h q d"]:
    """Attention with a bias (k) of its own for each key."""
    if query.is_cuda:
        return scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
    pairs = query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1]) + bias
    return pairs.softmax(-1).to(value.dtype) @ value


def _means(part: Float[Tensor, "b h x y z d"]) -> Float[Tensor, "b h i j k d"]:
    """Of each cell the mean, of those at the end of an axis over the tokens there are; no CPU pools numbers of two bytes."""
    b, h, *_, d = part.shape
    wide = part.float() if part.itemsize == 2 else part
    first = wide.movedim(-1, 2).flatten(0, 2)[:, None]
    means = nn.functional.avg_pool3d(first, CELL, ceil_mode=True, count_include_pad=False)
    return means[:, 0].unflatten(0, (b, h, d)).movedim(2, -1).to(part.dtype)


def _sizes(grid: Grid, like: Tensor) -> Float[Tensor, "i j k"]:
    """How many tokens each cell has."""
    sides = [
        torch.tensor([min(CELL, n - low) for low in range(0, n, CELL)], device=like.device, dtype=torch.float32)
        for n in grid
    ]
    x, y, z = sides
    return x[:, None, None] * y[:, None] * z
