"""The pull-back: for every voxel of a person the place of the template that lies there, and the tissue of that place.

Trunk: polar coordinates about the middle of the cavity; along a ray three radii of the person meet those of the template
(cavity, outermost bone, fascia), so that bones keep their place and muscles fill what is left. Legs and arms: the same about
femur and arm, with the bone kept and the muscle stretched. Edges are drawn at half voxels.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.phantom.shape.frame import Frame
from engine.phantom.shape.limbs import Arm
from engine.phantom.shape.sections import ANGLES, RADII, Polar, Rows, Sections, reach
from engine.phantom.shape.shapes import ramp
from engine.phantom.shape.surface import Surface

#: radius about the axis of a limb within which its bone is kept, mm of the template
LEG_BONE, ARM_BONE = 24.0, 14.0
#: between these heights of the template a leg takes over from the trunk, mm
LEG_FROM, LEG_TO = 815.0, 745.0
#: heights of the template's shoulder joint, elbow and wrist, mm
ARM_HEIGHTS = (1322.0, 1052.0, 830.0)


@dataclass(frozen=True, eq=False)
class Pulled:
    """Template places (n, x, y, z) of the trunk and legs in mm, and of the right and left arm (mirrored to the right)."""

    x: Tensor
    y: Tensor
    z: Tensor
    arm_x: Tensor
    arm_y: Tensor
    arm_z: Tensor


def pulled(sections: Sections, surface: Surface, arm: Arm, arm_fascia: Tensor) -> Pulled:
    """Places of the template for every voxel."""
    trunk = _trunk(sections, surface)
    leg = _leg(sections, surface)
    height = sections.skeleton.height
    share = ramp(height, LEG_FROM, LEG_TO)
    x, y = (torch.lerp(a, b, share) for a, b in zip(trunk, leg, strict=True))
    z = sections.skeleton.up(sections.frame.z + sections.frame.lift)
    arm_x, arm_y, arm_z = _arm(sections, arm, arm_fascia)
    return Pulled(x, y, z, arm_x, arm_y, arm_z)


def _trunk(sections: Sections, surface: Surface) -> tuple[Tensor, Tensor]:
    fascia = sections.ray_to(surface.fascia).clamp(min=14.0)
    polar, rows = surface.polar, torch.arange(fascia.shape[-1])
    rigid = sections.rigid
    cavity = torch.minimum(fascia - sections.wall, sections.limit).clamp(min=6.0)
    cavity = torch.minimum(cavity, fascia - 3)
    stretch = (fascia - cavity) / (sections.fascia - sections.cavity)
    bone = torch.lerp(cavity + (sections.bone - sections.cavity) * stretch, sections.bone, rigid)
    bone = torch.minimum(torch.maximum(bone, cavity + 1), fascia - 1)
    radius = polar.radius
    mine = [polar.look(table, rows) for table in (cavity, bone, fascia)]
    theirs = [polar.look(table, rows) for table in (sections.cavity, sections.bone, sections.fascia)]
    inner = radius * theirs[0] / mine[0]
    wall = theirs[0] + (radius - mine[0]) * (theirs[1] - theirs[0]) / (mine[1] - mine[0])
    outer = theirs[1] + (radius - mine[1]) * (theirs[2] - theirs[1]) / (mine[2] - mine[1])
    there = torch.where(radius < mine[0], inner, torch.where(radius < mine[1], wall, outer))
    s = sections.skeleton
    ratio = there / radius.clamp(min=1e-3)
    x = s.across(sections.frame.x, s.wide) * ratio
    y = s.ahead(sections.frame.y, s.middle) * ratio
    axis = (s.middle - s.shift) / s.scale
    return x, y + axis


def _stretched(radius: Tensor, bone: float, mine: Tensor, theirs: Tensor) -> Tensor:
    """Radii about a limb's axis: within the bone as they are, beyond it stretched to the template's fascia."""
    beyond = bone + (radius - bone) * (theirs - bone) / (mine - bone).clamp(min=2.0)
    return torch.where(radius < bone, radius, beyond)


def _leg(sections: Sections, surface: Surface) -> tuple[Tensor, Tensor]:
    s, frame = sections.skeleton, sections.frame
    axis = s.table(s.template.leg)
    leg_x, leg_y = axis[:, 0][:, None, None], axis[:, 1][:, None, None]
    table = s.table(s.template.leg_fascia).clamp(min=LEG_BONE + 4)
    start = s.scale * s.wide * leg_x
    middle = s.scale * leg_y + s.shift
    mine = _reach(frame, surface.fascia, s.scale, middle, s.wide, start)
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    inward = (-torch.cos(angle)).clamp(min=1e-3)[:, None]
    midline = torch.where(torch.cos(angle)[:, None] < 0, axis[:, :1] / inward, torch.inf)
    mine = torch.minimum(mine, midline).clamp(min=LEG_BONE + 4)
    x = s.across(frame.x, s.wide)
    side = torch.where(x < 0, -1.0, 1.0)
    dx, dy = x.abs() - leg_x, s.ahead(frame.y, s.shift) - leg_y
    polar, rows = Polar.about(dx, dy), torch.arange(mine.shape[-1])
    there = _stretched(polar.radius, LEG_BONE, polar.look(mine, rows), polar.look(table, rows))
    ratio = there / polar.radius.clamp(min=1e-3)
    return side * (leg_x + dx * ratio), leg_y + dy * ratio


def _reach(
    frame: Frame, field: Tensor, scale: Tensor, middle: Tensor, wide: Tensor, start: Tensor
) -> Float[Tensor, "n a z"]:
    angle = torch.arange(ANGLES) * (2 * math.pi / ANGLES)
    x, y = torch.cos(angle)[:, None] * RADII, torch.sin(angle)[:, None] * RADII
    return reach(frame, field, x, y, scale, middle, wide, start, first=True)


def _arm(sections: Sections, arm: Arm, fascia: Tensor) -> tuple[Tensor, Tensor, Tensor]:
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
    mine: Rows = _reach(frame, fascia, s.scale, own[1].expand_as(z), one, own[0].expand_as(z)).clamp(min=ARM_BONE + 4)
    dx = (frame.x.abs() - own[0]) / s.scale
    dy = (frame.y - own[1]) / s.scale
    polar, rows = Polar.about(dx, dy), torch.arange(mine.shape[-1])
    there = _stretched(polar.radius, ARM_BONE, polar.look(mine, rows), polar.look(table, rows))
    ratio = there / polar.radius.clamp(min=1e-3)
    return arm_x + dx * ratio, arm_y + dy * ratio, height.expand_as(dx)


def looked_up(
    labels: UInt8[Tensor, "x y z"], origin: tuple[float, ...], spacing: tuple[float, ...], x: Tensor, y: Tensor, z: Tensor
) -> UInt8[Tensor, "..."]:
    """The label nearest to each place, mm; the lattice's border beyond it."""
    size = labels.shape
    i, j, k = (
        ((p - o) / s).round().clamp(0, n - 1).to(torch.int32)
        for p, o, s, n in zip((x, y, z), origin, spacing, size, strict=True)
    )
    return labels.reshape(-1)[((i * size[1] + j) * size[2] + k).long()]
