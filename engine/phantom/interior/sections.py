"""Axial sections in polar coordinates about the middle of the cavity, in mm of the template."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from engine.phantom.interior.skeleton import Skeleton
from engine.phantom.interior.template import ANGLES
from engine.phantom.shape.frame import FORWARD, Frame
from engine.phantom.shape.shapes import ramp
from engine.phantom.shape.voxels import values_at

#: room that a ray without a bone has beyond the template's cavity, and the wall where a bone holds it, mm
ROOM, THIN = 150.0, 8.0
#: least flesh over a rib, mm
OVER_BONE = 2.0
#: height of the neck's beginning and of the lowest ribs in front, mm of the template; wider cage for a kg/m2
NECK, RIBS, CAGE_GROWTH = 1375.0, 1190.0, 0.008
#: how far a ray is followed, and the step between two radii at which it asks for a surface, mm of the template
RADII, RAY = 264.0, 8.0
Rows = Float[Tensor, "n angle z"]


@dataclass(frozen=True, eq=False)
class Polar:
    """Places of voxels in their sections: ``radius`` (n, x, y, z) in mm of the template, the ray below each and the
    part of the way to the next."""

    radius: Tensor
    ray: Tensor
    part: Tensor

    @classmethod
    def about(cls, x: Tensor, y: Tensor) -> Polar:
        """Of points ``x``, ``y`` from their middle, in mm of the template."""
        place = torch.atan2(y, x).mul_(ANGLES / (2 * math.pi))
        ray = place.floor()
        part = place.sub_(ray)
        # atan2 is within half a turn, so that this is the remainder
        ray = ray.add_((ray < 0).float(), alpha=ANGLES)
        return cls((x * x + y * y).sqrt_(), ray.long(), part)

    def look(self, table: Rows, rows: Tensor, person: Tensor | None = None) -> Tensor:
        """A table (angle, slice) at the voxels, of which ``rows`` are the slices and ``person`` the persons (the first
        axis, if not given)."""
        return self.looks([table], rows, person)[0]

    def looks(self, tables: list[Rows], rows: Tensor, person: Tensor | None = None) -> tuple[Tensor, ...]:
        """Several tables at once."""
        n, _, count = tables[0].shape
        if person is None:
            person = torch.arange(n, device=rows.device).reshape(n, *(1,) * (self.ray.ndim - 1))
        base = rows if n == 1 else person * ((ANGLES + 1) * count) + rows
        low = self.ray * count + base
        high = low + count
        # the first ray once more behind the last
        around = [torch.cat([table, table[:, :1]], 1) for table in tables]
        return tuple(torch.lerp(values_at(table, low), values_at(table, high), self.part) for table in around)


class Sections:
    """The template's sections at a person's slices: how far cavity, bones and muscles reach, and the wall's thickness."""

    def __init__(self, skeleton: Skeleton) -> None:
        self.skeleton, self.frame = skeleton, skeleton.frame
        template = skeleton.template
        self.cavity = skeleton.table(template.cavity)
        self.bone = skeleton.table(template.bone)
        self.fascia = skeleton.table(template.fascia)
        self.rigid = skeleton.table(template.rigid)
        self.caged = skeleton.table(template.caged)
        self.limit = self.cavity + (1 - self.rigid) * ROOM * ramp(skeleton.height, NECK, NECK - 50)[:, 0]
        muscle = self._muscle()
        free = (self.fascia - self.cavity) * muscle
        free = torch.lerp(free, torch.maximum(free, self.bone - self.cavity + OVER_BONE), self.caged)
        self.wall = free * (1 - self.rigid) + THIN * self.rigid
        self.cage = self._cage()

    def _muscle(self) -> Float[Tensor, "n 1 1"]:
        """Thickness of the wall's muscle relative to the template's young man."""
        f = self.frame
        one = 1 + 0.10 * f.value("muscle_residual") + 0.06 * f.trait("wall_thickness")
        one = one - 0.0035 * (f.value("age") - 45)
        return (one * (0.88 + 0.12 * f.male)).clamp(0.55, 1.4)[..., 0]

    def _cage(self) -> Rows:
        """How far the fascia may lie around the rib cage, which weight hardly widens; no limit below the ribs."""
        f = self.frame
        wider = 1 + CAGE_GROWTH * (f.value("bmi") - 24).clamp(-8, 20)[..., 0]
        height = self.skeleton.height[:, 0]
        loose = ramp(height, RIBS, RIBS - 170) ** 2 + ramp(height, 1285.0, 1340.0) ** 2
        muscle = (self._muscle() * 1.1).clamp(min=0.9)
        return self.cavity * wider + (self.fascia - self.cavity) * muscle + 130.0 * loose

    def polar(self, every: int = 1) -> Polar:
        """Of every voxel, or of every second one along each axis."""
        cut = slice(None, None, every)
        s = self.skeleton
        x = s.across(self.frame.x[:, cut, cut, cut], s.wide[..., cut])
        y = s.ahead(self.frame.y[:, cut, cut, cut], s.middle[..., cut], s.deep[..., cut])
        return Polar.about(x, y)

    def ray_to(self, field: Float[Tensor, "n x y z"]) -> Rows:
        """How far each ray is within a surface (negative inside), mm of the template; the last such radius."""
        s = self.skeleton
        return reach(self.frame, field, s.scale, s.middle, s.wide, s.deep)


def reach(
    frame: Frame,
    field: Float[Tensor, "n x y z"],
    scale: Tensor,
    middle: Tensor,
    widened: Tensor,
    deepened: Tensor | float = 1.0,
    start: Tensor | None = None,
    first: bool = False,
) -> Rows:
    """Radii at which rays leave a surface in every slice: the last crossing, or the ``first`` one."""
    n, _, _, slices = field.shape
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    radii = torch.arange(0.0, RADII, RAY)
    x, y = torch.cos(angle)[:, None] * radii, torch.sin(angle)[:, None] * radii
    px = scale * widened * x.reshape(1, -1, 1, 1).expand(n, -1, 1, slices)
    py = scale * deepened * y.reshape(1, -1, 1, 1).expand(n, -1, 1, slices) + middle
    if start is not None:
        px = px + start
    i = (px - frame.axes[0][0]) / frame.spacing[0]
    j = (py - frame.axes[1][0] - FORWARD) / frame.spacing[1]
    wide, deep = frame.grid[:2]
    i0 = i.floor().clamp(0, wide - 2)
    j0 = j.floor().clamp(0, deep - 2)
    a, b = (i - i0).clamp(0, 1), (j - j0).clamp(0, 1)
    base = torch.arange(n)[:, None, None, None] * (wide * deep * slices) + torch.arange(slices)
    at = base + (i0 * deep + j0).long() * slices
    found = torch.lerp(
        torch.lerp(values_at(field, at), values_at(field, at + slices), b),
        torch.lerp(values_at(field, at + deep * slices), values_at(field, at + (deep + 1) * slices), b),
        a,
    ).reshape(n, ANGLES, len(radii), slices)
    inside = found < 0
    if first:
        for step in range(1, len(radii)):
            inside[:, :, step] &= inside[:, :, step - 1]
    steps = torch.arange(len(radii))[:, None]
    last = torch.where(inside, steps, -1).amax(2).clamp(0, len(radii) - 2)
    inner = found.gather(2, last[:, :, None])[:, :, 0]
    outer = found.gather(2, last[:, :, None] + 1)[:, :, 0]
    part = (inner / (inner - outer).clamp(max=-1e-3)).clamp(0, 1)
    return (last + part) * RAY
