"""Signed distances of simple shapes, smooth joins, curves through knots, and thresholds that meet a volume exactly."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.phantom.shape.voxels import places_of, values_at

Number = float | Tensor
Point = tuple[Number, Number, Number]
BISECTIONS = 18
#: minus the logarithm of a number that is nothing beside others, and not denormal in single precision
SMALLEST = 70.0


@runtime_checkable
class Coordinates(Protocol):
    """Anything with the body coordinates of some voxels, (n, x, y, z) each or broadcastable to it, in mm."""

    x: Tensor
    y: Tensor
    z: Tensor


def smooth_min(a: Tensor, b: Tensor, k: Number) -> Tensor:
    """Union of two signed distances, rounded over ``k`` mm (Quilez, polynomial smooth minimum)."""
    h = ((b - a) / k).mul_(0.5).add_(0.5).clamp_(0, 1)
    return torch.lerp(b, a, h).sub_((1 - h).mul_(h).mul_(k))


def bump(u: Tensor, centre: Number, width: Number) -> Tensor:
    """A Gaussian hill of height 1."""
    return falling(((u - centre) / width) ** 2)


def falling(value: Tensor) -> Tensor:
    """The exponential of minus a number; never so small that processors take a hundred times as long for it."""
    return torch.exp(-value.clamp(max=SMALLEST))


def ramp(value: Tensor, low: Number, high: Number) -> Tensor:
    """0 below ``low``, 1 above ``high``, linear between."""
    return ((value - low) / (high - low)).clamp(0, 1)


def tube(p: Coordinates, points: Sequence[Point], radii: Sequence[Number]) -> Tensor:
    """A chain of round cones through ``points`` with the radii there."""
    distance: Tensor | None = None
    for a, b, ra, rb in zip(points[:-1], points[1:], radii[:-1], radii[1:], strict=True):
        part = cone(p, a, b, ra, rb)
        distance = part if distance is None else torch.minimum(distance, part)
    if distance is None:
        raise ValueError(f"a tube needs two points or more, got {len(points)}")
    return distance


def cone(p: Coordinates, a: Point, b: Point, ra: Number, rb: Number) -> Tensor:
    """A round cone from ``a`` with radius ``ra`` to ``b`` with ``rb``."""
    lx, ly, lz = b[0] - a[0], b[1] - a[1], b[2] - a[2]
    dx, dy, dz = p.x - a[0], p.y - a[1], p.z - a[2]
    t = ((dx * lx + dy * ly + dz * lz) / (lx * lx + ly * ly + lz * lz + 1e-6)).clamp(0, 1)
    return torch.sqrt((dx - t * lx) ** 2 + (dy - t * ly) ** 2 + (dz - t * lz) ** 2) - (ra + t * (rb - ra))


def curve(u: Tensor, knots: Sequence[tuple[Number, Number]]) -> Tensor:
    """A smooth curve through (place, value) knots, never overshooting them (Fritsch and Carlson 1980).

    ``u`` is (n, 1, 1, z) or of any shape when all knots are floats; places must rise. Beyond the ends it is constant.
    """
    values = [torch.as_tensor(value, dtype=u.dtype, device=u.device) for knot in knots for value in knot]
    both = torch.stack(torch.broadcast_tensors(*values))
    both = both.reshape(len(values), *(1,) * (u.ndim + 1 - both.ndim), *both.shape[1:])
    xs, ys = both[0::2], both[1::2]
    width = xs[1:] - xs[:-1]
    slope = (ys[1:] - ys[:-1]) / width
    same = slope[1:] * slope[:-1] > 0
    inner = torch.where(same, 2 * slope[1:] * slope[:-1] / (slope[1:] + slope[:-1] + 1e-12 * ~same), 0.0)
    tangent = torch.cat([torch.zeros_like(slope[:1]), inner, torch.zeros_like(slope[:1])])
    piece = (u > xs[1:-1]).sum(0, keepdim=True)

    def at(table: Tensor, step: int = 0) -> Tensor:
        return table.expand(-1, *piece.shape[1:]).gather(0, piece + step)[0]

    x0, y0, y1, span = at(xs), at(ys), at(ys, 1), at(width)
    t = ((u - x0) / span).clamp(0, 1)
    m0, m1 = at(tangent) * span, at(tangent, 1) * span
    return y0 + t * (m0 + t * (3 * (y1 - y0) - 2 * m0 - m1 + t * (2 * (y0 - y1) + m0 + m1)))


def level(
    field: Float[Tensor, "n x y z"], mask: Bool[Tensor, "n x y z"], voxels: Float[Tensor, " n"], low: float, high: float
) -> Float[Tensor, "n 1 1 1"]:
    """The threshold t in [low, high] for which the set {field < t} within ``mask`` holds ``voxels`` voxels.

    By bisection, so that the answer does not depend on the device.
    """
    deciding = torch.stack([_nth(field[i], mask[i], voxels[i]) for i in range(len(field))])
    lower = torch.full_like(deciding, low)
    upper = torch.full_like(deciding, high)
    for _ in range(BISECTIONS):
        middle = (lower + upper) / 2
        few = deciding >= middle
        lower, upper = torch.where(few, middle, lower), torch.where(few, upper, middle)
    return upper.to(field.device)[:, None, None, None]


def _nth(field: Float[Tensor, "x y z"], mask: Bool[Tensor, "x y z"], voxels: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """The value of the last of the least ``voxels`` values within a mask (rounded up): thresholds above it, and no others,
    hold as many. Infinite where there are too few, or none is wanted."""
    values = values_at(field, places_of(mask)).cpu().numpy()
    wanted = math.ceil(float(voxels))
    if not 0 < wanted <= len(values):
        return torch.tensor(-torch.inf if wanted <= 0 else torch.inf)
    return torch.tensor(np.partition(values, wanted - 1)[wanted - 1])


def spread(
    noise: Float[Tensor, "n i j k"], grid: tuple[int, ...], part: tuple[slice, slice, slice] | None = None
) -> Float[Tensor, "n x y z"]:
    """Coarse values drawn out over ``grid`` by a smooth (quadratic B-spline) interpolation along each axis; the voxels of
    it that ``part`` says, or all."""
    for axis, (size, own) in enumerate(zip(grid, part or (slice(None),) * 3, strict=True), 1):
        weights = _spline(noise.shape[axis], size)[:, own].to(noise)
        noise = torch.movedim(torch.movedim(noise, axis, -1) @ weights, -1, axis)
    return noise.contiguous()


@lru_cache(maxsize=64)
def _spline(coarse: int, fine: int) -> Float[Tensor, "coarse fine"]:
    """Quadratic B-spline weights of ``coarse`` control points over ``fine`` places, normalised to unit variance."""
    place = torch.linspace(0.5, coarse - 1.5, fine)
    distance = (place[None] - torch.arange(coarse)[:, None]).abs()
    weights = torch.where(distance < 0.5, 0.75 - distance**2, 0.5 * (1.5 - distance).clamp(0) ** 2)
    return weights / weights.norm(dim=0, keepdim=True)
