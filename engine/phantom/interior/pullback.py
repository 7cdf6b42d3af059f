"""The pull-back: for every voxel of a person the place of the template that lies there, and the tissue of that place.

Trunk: polar coordinates about the middle of the cavity; along a ray three radii of the person meet those of the template
(cavity, outermost bone, fascia), so that bones keep their place and muscles fill what is left. Legs and arms: the same about
femur and arm, with the bone kept and the muscle stretched. Edges are drawn at half voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import UInt8
from torch import Tensor

from engine.phantom.interior.sections import ANGLES, Polar, Rows, Sections, reach
from engine.phantom.shape.limbs import Arm
from engine.phantom.shape.shapes import ramp
from engine.phantom.shape.surface import Surface
from engine.phantom.shape.voxels import places_of, spread_out, values_at

#: radius about the axis of a limb within which its bone is kept, mm of the template
LEG_BONE, ARM_BONE = 24.0, 14.0
#: voxels this far from the skin are pulled back too, mm
NEAR = 10.0
#: between these heights of the template a leg takes over from the trunk, mm
LEG_FROM, LEG_TO = 815.0, 745.0
#: heights of the template's shoulder joint, elbow and wrist, mm
ARM_HEIGHTS = (1322.0, 1052.0, 830.0)


@dataclass(frozen=True, eq=False)
class Covers:
    """Signed distances (n, x, y, z), mm: skin and fascia of the whole body, and the fascia of the arms alone."""

    skin: Tensor
    fascia: Tensor
    arm: Tensor


@dataclass(frozen=True, eq=False)
class Pulled:
    """Template places (n, x, y, z) of the trunk and legs in mm, and of the right and left arm (mirrored to the right)."""

    x: Tensor
    y: Tensor
    z: Tensor
    arm_x: Tensor
    arm_y: Tensor
    arm_z: Tensor


class _Near:
    """Voxels of a batch that are near a surface or within it, as flat arrays: places, persons and slices.

    ``rows`` (n, 1, 1, z) says which slices count.
    """

    def __init__(self, sections: Sections, skin: Tensor, rows: Tensor) -> None:
        self.sections, self.shape = sections, skin.shape
        self.index = places_of((skin < NEAR) & rows)
        self.slices = self.index.int() % skin.shape[-1] if len(skin) == 1 else self.index % skin.shape[-1]
        self.persons = self.index // skin[0].numel() if len(skin) > 1 else None
        frame = sections.frame
        self.x, self.y = (values_at(field.expand(skin.shape), self.index) for field in (frame.x, frame.y))

    def row(self, values: Tensor) -> Tensor:
        """A value by slice (n, 1, 1, z) or by person (n, 1, 1, 1), at the voxels."""
        if self.persons is None:
            return values.reshape(-1) if values.numel() == 1 else values_at(values, self.slices)
        if values.shape[-1] == 1:
            return values_at(values, self.persons)
        return values_at(values.expand(len(values), 1, 1, self.shape[-1]), self.persons * self.shape[-1] + self.slices)

    def look(self, polar: Polar, *tables: Rows) -> tuple[Tensor, ...]:
        return polar.looks(list(tables), self.slices, self.persons)

    def spread(self, values: Tensor) -> Tensor:
        """Back to (n, x, y, z); 0 far from the body."""
        return spread_out(values, self.index, tuple(self.shape))


def pulled(sections: Sections, surface: Surface, fascia: Rows, arm: Arm, covers: Covers) -> Pulled:
    """Places of the template for every voxel near the body; ``fascia`` is how far the rays reach to it."""
    height = sections.skeleton.height
    trunk = _trunk(_Near(sections, covers.skin, height > LEG_TO), surface, fascia)
    leg = _leg(_Near(sections, covers.skin, height < LEG_FROM), surface)
    share = ramp(height, LEG_FROM, LEG_TO)
    x, y = (torch.lerp(a, b, share) for a, b in zip(trunk, leg, strict=True))
    z = sections.skeleton.up(sections.frame.z + sections.frame.lift)
    arms = _Near(sections, covers.arm, torch.ones_like(height, dtype=torch.bool))
    arm_x, arm_y, arm_z = _arm(sections, arms, arm, covers.arm)
    return Pulled(x, y, z, arm_x, arm_y, arm_z)


def _trunk(near: _Near, surface: Surface, fascia: Rows) -> tuple[Tensor, Tensor]:
    sections = near.sections
    fascia = fascia.clamp(min=14.0)
    cavity = torch.minimum(fascia - sections.wall * surface.thicker[:, 0], sections.limit).clamp(min=6.0)
    cavity = torch.minimum(cavity, fascia - 3)
    stretch = (fascia - cavity) / (sections.fascia - sections.cavity)
    thick = torch.lerp(stretch, torch.ones_like(stretch), sections.caged)
    bone = torch.lerp(cavity + (sections.bone - sections.cavity) * thick, sections.bone, sections.rigid)
    bone = torch.minimum(torch.maximum(bone, cavity + 1), fascia - 1)
    s = sections.skeleton
    wide, middle = near.row(s.wide), near.row(s.middle)
    scale = near.row(s.scale)
    deep = scale * near.row(s.deep)
    x, y = near.x / (scale * wide), (near.y - middle) / deep
    polar = Polar.about(x, y)
    radius = polar.radius
    found = near.look(polar, cavity, bone, fascia, sections.cavity, sections.bone, sections.fascia)
    mine, theirs = found[:3], found[3:]
    inner = radius * theirs[0] / mine[0]
    wall = theirs[0] + (radius - mine[0]) * (theirs[1] - theirs[0]) / (mine[1] - mine[0])
    outer = theirs[1] + (radius - mine[1]) * (theirs[2] - theirs[1]) / (mine[2] - mine[1])
    there = torch.where(radius < mine[0], inner, torch.where(radius < mine[1], wall, outer))
    ratio = there / radius.clamp(min=1e-3)
    return near.spread(x * ratio), near.spread(y * ratio + (middle - near.row(s.shift)) / deep)


def _stretched(radius: Tensor, bone: float, mine: Tensor, theirs: Tensor) -> Tensor:
    """Radii about a limb's axis: within the bone as they are, beyond it stretched to the template's fascia."""
    beyond = bone + (radius - bone) * (theirs - bone) / (mine - bone).clamp(min=2.0)
    return torch.where(radius < bone, radius, beyond)


def _leg(near: _Near, surface: Surface) -> tuple[Tensor, Tensor]:
    s, frame = near.sections.skeleton, near.sections.frame
    axis = s.table(s.template.leg)
    leg_x, leg_y = axis[:, 0][:, None, None], axis[:, 1][:, None, None]
    table = s.table(s.template.leg_fascia).clamp(min=LEG_BONE + 4)
    start = s.scale * s.wide * leg_x
    middle = s.scale * leg_y + s.shift
    mine = reach(frame, surface.fascia, s.scale, middle, s.wide, start=start, first=True)
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    inward = (-torch.cos(angle)).clamp(min=1e-3)[:, None]
    midline = torch.where(torch.cos(angle)[:, None] < 0, axis[:, :1] / inward, torch.inf)
    mine = torch.minimum(mine, midline).clamp(min=LEG_BONE + 4)
    scale = near.row(s.scale)
    x = near.x / (scale * near.row(s.wide))
    y = (near.y - near.row(s.shift)) / scale
    side = torch.where(x < 0, -1.0, 1.0)
    own_x, own_y = near.row(leg_x), near.row(leg_y)
    dx, dy = x.abs() - own_x, y - own_y
    polar = Polar.about(dx, dy)
    there = _stretched(polar.radius, LEG_BONE, *near.look(polar, mine, table))
    ratio = there / polar.radius.clamp(min=1e-3)
    return near.spread(side * (own_x + dx * ratio)), near.spread(own_y + dy * ratio)


def _arm(sections: Sections, near: _Near, arm: Arm, fascia: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    s, frame = sections.skeleton, sections.frame
    points = [arm.points[0], arm.points[2], arm.points[4]]
    z = frame.z
    tops = [point[2] for point in points]
    t = (z - tops[1]) / (tops[0] - tops[1])
    upper = ARM_HEIGHTS[1] + t * (ARM_HEIGHTS[0] - ARM_HEIGHTS[1])
    down = (z - tops[1]) / (tops[1] - tops[2])
    lower = ARM_HEIGHTS[1] + down * (ARM_HEIGHTS[1] - ARM_HEIGHTS[2])
    height = torch.where(z > tops[1], upper, lower)
    own = [
        torch.where(z > tops[1], points[1][i] + t * (points[0][i] - points[1][i]), points[1][i] + down * (points[1][i] - points[2][i]))
        for i in (0, 1)
    ]  # fmt: skip
    template = s.template
    axis = s.table_at(template.arm, height)
    arm_x, arm_y = axis[:, 0][:, None, None], axis[:, 1][:, None, None]
    table = s.table_at(template.arm_fascia, height).clamp(min=ARM_BONE + 4)
    one = torch.ones_like(s.wide)
    mine: Rows = reach(frame, fascia, s.scale, own[1].expand_as(z), one, start=own[0].expand_as(z), first=True).clamp(
        min=ARM_BONE + 4
    )
    scale = near.row(s.scale)
    dx = (near.x.abs() - near.row(own[0].expand_as(z))) / scale
    dy = (near.y - near.row(own[1].expand_as(z))) / scale
    polar = Polar.about(dx, dy)
    there = _stretched(polar.radius, ARM_BONE, *near.look(polar, mine, table))
    ratio = there / polar.radius.clamp(min=1e-3)
    arm_x, arm_y = near.row(arm_x) + dx * ratio, near.row(arm_y) + dy * ratio
    return near.spread(arm_x), near.spread(arm_y), height


def looked_up(
    labels: UInt8[Tensor, "x y z"],
    origin: tuple[float, ...],
    spacing: tuple[float, ...],
    x: Tensor,
    y: Tensor,
    z: Tensor,
) -> UInt8[Tensor, "..."]:
    """The label nearest to each place, mm; the lattice's border beyond it."""
    size = labels.shape
    i, j, k = (
        (p - o).div_(s).round_().clamp_(0, n - 1).to(torch.int32)
        for p, o, s, n in zip((x, y, z), origin, spacing, size, strict=True)
    )
    return values_at(labels, (i * size[1] + j) * size[2] + k)
