"""Signed distance to a polar section: a radius over the diamond angle in each row, in units of half breadth and depths."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from engine.phantom.shape.voxels import values_at

#: the radius may turn by this much, relative to a circle, before the distance is held: clefts
STEEPEST = 0.8


class Section:
    """Sections (n, angles, z) of persons, scaled so that each one's own breadth and depths are exactly 1.

    ``sides`` are 1 (mirrored at the midline) or 2 (inner half first), stacked along the angles.
    """

    def __init__(self, radius: Float[Tensor, "n angles z"], sides: int = 1) -> None:
        self.n, self.angles, self.rows = radius.shape
        self.half, self.front, self.back = extents(radius, sides)
        self.sides, self.per_side = sides, self.angles // sides
        step = torch.diff(radius, dim=1, append=radius[:, -1:])
        self.value, self.step = radius.contiguous(), step.contiguous()

    def distance(
        self, x: Tensor, y: Tensor, half: Tensor, front: Tensor, back: Tensor, cut: slice
    ) -> Float[Tensor, "n x y z"]:
        """Distance, mm, true to first order, of places ``x``, ``y`` from the centre; ``half``, ``front`` and ``back`` are
        the rows' half breadth and depths from the centre, mm.

        With two sides, x < 0 is the inner one.
        """
        rows = torch.arange(self.rows, device=x.device, dtype=torch.int32)[cut]
        across = 1 / (half / self.half[..., cut])
        ahead, behind = self.front[..., cut] / front, self.back[..., cut] / back
        up = torch.where(y > 0, ahead, behind)
        p, q = x.abs() * across, y * up
        total = (p + q.abs()).add_(1e-6)
        place = (q / total).add_(1).mul_((self.per_side - 1) / 2)
        cell = place.int().clamp_(max=self.per_side - 2)
        share = place.sub_(cell)
        if self.sides == 2:
            cell = cell + (x > 0) * self.per_side
        index = cell.mul_(self.rows).add_(rows)
        if self.n > 1:
            person = torch.arange(self.n, device=x.device, dtype=torch.int32)[:, None, None, None]
            index = index + person * (self.angles * self.rows)
        turn = values_at(self.step, index)
        rho = torch.addcmul(values_at(self.value, index), turn, share)
        square = (p * p + q * q).add_(1e-6)
        r = square.sqrt()
        k = (
            (turn * ((self.per_side - 1) / 2))
            .mul_(square)
            .div_(rho)
            .div_(total)
            .div_(total)
            .clamp_(-STEEPEST, STEEPEST)
        )
        gx, gy = torch.addcmul(p, k, q).mul_(across), torch.addcmul(q, k, p, value=-1).mul_(up)
        steep = (gx * gx).add_(gy * gy).add_(1e-12).sqrt_()
        return (r - rho).mul_(r).div_(steep)


def directions(angles: int, sides: int = 1) -> tuple[Float[Tensor, "angles 1"], Float[Tensor, "angles 1"]]:
    """Unit vectors of the nodes of the diamond angle, from back to front, once for each side."""
    t = torch.linspace(-1, 1, angles // sides)
    length = torch.sqrt((1 - t.abs()) ** 2 + t**2)
    return ((1 - t.abs()) / length).repeat(sides)[:, None], (t / length).repeat(sides)[:, None]


def extents(radius: Float[Tensor, "n angles z"], sides: int = 1) -> tuple[Tensor, Tensor, Tensor]:
    """Half breadth and depth in front and behind of sections, (n, 1, 1, z) each."""
    p, q = (axis.to(radius) for axis in directions(radius.shape[1], sides))
    x, y = radius * p, radius * q
    if sides == 2:
        inner, outer = x.chunk(2, 1)
        half = (inner.amax(1) + outer.amax(1)) / 2
    else:
        half = x.amax(1)
    return tuple(rows[:, None, None] for rows in (half, y.amax(1), -y.amin(1)))  # type: ignore[return-value]
