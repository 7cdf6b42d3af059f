"""Registration of an atlas to a person: the displacement field through which the atlas looks most like them.

A field minimises the squared difference of locally normalised scans (which sees what local correlation sees: Avants et al., Med
Image Anal 12, 2008) and of outlines, and the squares of its own second differences; by Adam (arXiv 1412.6980), at half the
resolution first.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from engine.model.nn.blur import blurred, convolved
from engine.model.nn.warp import STRIDE, displacement, sampled, voxels

#: voxels a side of the box that a scan is normalised in, the least SD there, and its weight beside an outline
BOX, LEAST, WEIGHT = 7, 0.04, 0.6
#: weight of the squared second differences of a field, in cells
SMOOTH = 0.02

Box = tuple[slice, slice, slice]


class Pass(NamedTuple):
    """``steps`` at ``rate`` cells on a field that is blurred by a Gaussian of ``sd`` cells; ``fine``: compared at full resolution
    within a box, else at half of it everywhere."""

    steps: int
    sd: float
    rate: float
    fine: bool


@dataclass(frozen=True, eq=False)
class Parts:
    """What is compared: ``scan`` (c, x, y, z), 0 to 1, and ``outlines`` (o, x, y, z), the shares of a few structures."""

    scan: Tensor
    outlines: Tensor

    @cached_property
    def fine(self) -> Float[Tensor, "k x y z"]:
        """The features, kept: an atlas is compared with many persons."""
        return self.features()

    @cached_property
    def coarse(self) -> Float[Tensor, "k x2 y2 z2"]:
        """The features at half the resolution, kept."""
        return self.halved().features()

    def stacked(self) -> Float[Tensor, "k x y z"]:
        return torch.cat([self.scan, self.outlines])

    def features(self) -> Float[Tensor, "k x y z"]:
        """The scan normalised in a box about each voxel, beside the outlines."""
        ones = [torch.full((BOX,), 1 / BOX)] * 3
        mean = convolved(self.scan, ones)
        variance = (convolved(self.scan.square(), ones) - mean.square()).clamp(min=0)
        return torch.cat([WEIGHT * (self.scan - mean) / (variance.sqrt() + LEAST), self.outlines])

    def halved(self) -> Parts:
        """At half the resolution."""
        both = nn.functional.avg_pool3d(self.stacked(), STRIDE)
        return Parts(both[: len(self.scan)], both[len(self.scan) :])


def registered(
    atlas: Parts, person: Parts, field: Float[Tensor, "3 x2 y2 z2"], passes: Sequence[Pass], box: Box
) -> tuple[Float[Tensor, "3 x2 y2 z2"], float]:
    """The ``field`` (voxels, from the person's to the atlas') after these passes, and the squared difference at the end."""
    cells, error = field / STRIDE, 0.0
    for one in passes:
        theirs, mine = (p.fine if one.fine else p.coarse for p in (atlas, person))
        cells, error = _moved(theirs, mine, cells, one, box)
    return cells * STRIDE, error


def _moved(
    atlas: Float[Tensor, "k i j l"],
    person: Float[Tensor, "k i j l"],
    cells: Float[Tensor, "3 x2 y2 z2"],
    one: Pass,
    box: Box,
) -> tuple[Float[Tensor, "3 x2 y2 z2"], float]:
    """A pass: the field in cells, and the difference before its last step."""
    free = cells.clone().requires_grad_(True)
    adam = torch.optim.Adam([free], lr=one.rate)
    here, error = voxels(person.shape[1:], person.device)[None], 0.0
    for _ in range(one.steps):
        adam.zero_grad()
        field = blurred(free, one.sd)
        if one.fine:
            places = (here + displacement(STRIDE * field[None]))[(..., *box)]
            difference = sampled(atlas[None], places) - person[(None, slice(None), *box)]
        else:
            difference = sampled(atlas[None], here + field) - person
        distance = difference.square().mean()
        bending = sum(torch.diff(field, n=2, dim=axis).square().mean() for axis in (1, 2, 3))
        (distance + SMOOTH * bending).backward()
        adam.step()
        error = distance.item()
    return blurred(free.detach(), one.sd), error


def splatted(
    values: Float[Tensor, "c x y z"], field: Float[Tensor, "3 x2 y2 z2"]
) -> tuple[Float[Tensor, "c x y z"], Float[Tensor, "x y z"]]:
    """The person's ``values`` summed where the ``field`` (voxels) says that they lie in the atlas, and the weights: the adjoint of
    sampling, so that sums over weights are the least squares' atlas but for what voxels share."""
    grid = values.shape[1:]
    places = (voxels(grid, values.device) + displacement(field[None])[0]).flatten(1)
    whole, given = places.floor(), torch.cat([values.flatten(1), values.new_ones(1, places.shape[1])])
    rest, out = places - whole, torch.zeros_like(given)
    for corner in itertools.product((0, 1), repeat=3):
        weight = torch.stack([r if c else 1 - r for r, c in zip(rest, corner, strict=True)]).prod(0)
        x, y, z = ((w.long() + c).clamp(0, n - 1) for w, c, n in zip(whole, corner, grid, strict=True))
        out.index_add_(1, (x * grid[1] + y) * grid[2] + z, given * weight)
    out = out.reshape(-1, *grid)
    return out[:-1], out[-1]
