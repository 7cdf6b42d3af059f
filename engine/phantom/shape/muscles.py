"""Flesh: subcutaneous fat, the muscle compartment, and the fat between muscles."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import Frame
from engine.phantom.shape.limbs import Mirror
from engine.phantom.shape.outline import Outline
from engine.phantom.shape.shapes import bump, ellipsoid, tube
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import GLAND, IMAT, MUSCLE, SAT


def flesh(frame: Frame, canvas: Canvas, surface: Surface, skin: Tensor, fascia: Tensor, texture: Tensor) -> None:
    """Fill the body: fat under the skin, muscle under the fascia."""
    canvas.paint(frame.whole, skin, SAT, gain=1 + 0.025 * texture)
    canvas.paint(frame.whole, fascia, MUSCLE, fat=muscle_fat(frame), gain=1 + 0.035 * texture)


def muscle_fat(frame: Frame) -> Tensor:
    """Fat fraction within muscle, rising from the psoas level at the front to the erector level behind and below."""
    low, high = frame.value("psoas_pdff") / 100, frame.value("muscle_pdff") / 100
    behind = ((-frame.y - 20) / 60).clamp(0, 1) * bump(frame.u, 0.60, 0.09)
    return low + (high - low) * behind


def fat_planes(frame: Frame, canvas: Canvas, outline: Outline, surface: Surface, fascia: Tensor) -> None:
    """Fat between the muscles: gluteal plane, thigh compartments, wall layers, axilla, midline of the back."""
    h, s, imat = frame.h, frame.s, frame.value("imat")
    streak, fine = frame.noise("streak", (26, 22, 18)), frame.noise("fine", (34, 30, 46))
    slab = frame.whole
    marbling = (streak + 0.35 * fine).abs() - 0.02 - 0.9 * imat
    canvas.paint(slab, torch.maximum(fascia + 5, marbling * 26), IMAT, fat=(0.35 + 0.8 * imat).clamp(max=0.8))

    box = frame.slab(0.455, 0.600)
    depth = box.take(fascia)
    plane = (depth + 0.026 * h).abs() - 1.2 - 10 * imat
    behind = torch.maximum(box.y + 0.018 * h, torch.maximum((box.u - 0.585) * h, (0.465 - box.u) * h))
    canvas.paint(box, torch.maximum(plane, behind), IMAT, fat=0.75)

    box = frame.slab(0.36, 0.475)
    inward = frame.dim("thigh_girth") / (2 * torch.pi) * 0.9
    dx, dy = box.x.abs() - inward, box.y - box.take(outline.thigh_y)
    radius, angle = torch.sqrt(dx * dx + dy * dy), torch.atan2(dy, dx)
    turned = [(torch.sin((angle - a - 0.12 * box.take(fine)) / 2)).abs() * 2 * radius for a in (-2.4, -0.5, 0.35, 2.2)]
    septa = torch.stack(turned).amin(0) - 1.0 - 14 * imat
    canvas.paint(box, torch.maximum(torch.maximum(septa, box.take(fascia) + 4), (box.u - 0.47) * h), IMAT, fat=0.75)

    box = frame.slab(0.56, 0.70)
    depth, wall = box.take(fascia), box.take(outline.wall)
    layers = torch.minimum((depth + 0.36 * wall).abs(), (depth + 0.68 * wall).abs()) - 0.1 - 5 * imat
    flank = torch.maximum((0.030 * h - box.x.abs()) * 0.8, -box.y - 0.010 * h)
    canvas.paint(box, torch.maximum(layers, flank), IMAT, fat=0.6)
    alba = torch.maximum(box.x.abs() - 2.0, -depth - wall * 0.9)
    semilunar = torch.maximum((box.x.abs() - 0.042 * h).abs() - 1.0 - 5 * imat, -depth - wall)
    canvas.paint(box, torch.maximum(torch.maximum(torch.minimum(alba, semilunar), depth), -box.y), IMAT, fat=0.6)

    box = frame.slab(0.575, 0.83)
    y, r = box.take(outline.spine_y), box.take(outline.spine_r)
    cleft = torch.maximum(torch.maximum(box.x.abs() - 1.2 - 14 * imat, box.y - (y - r - 18 * s)), box.take(fascia) + 2)
    lateral = torch.maximum(
        (box.x.abs() - 62 * s).abs() - 0.6 - 10 * imat, torch.maximum(box.y - (y - r), box.take(fascia) + 3)
    )
    lateral = torch.maximum(lateral, (box.u - 0.66) * h)
    canvas.paint(box, torch.minimum(cleft, lateral), IMAT, fat=0.75)
    for side in (-1, 1):
        centre = (side * 0.080 * h, -0.004 * h, 0.782 * h)
        box = frame.box(centre, (20.0, 20.0, 38.0))
        canvas.paint(box, ellipsoid(box, centre, (14 * s, 15 * s, 32 * s)), IMAT, fat=0.8)


def psoas(frame: Frame, canvas: Canvas, outline: Outline) -> None:
    """Psoas and iliacus, from the lumbar spine over the pelvic brim to the thigh."""
    s, h = frame.s, frame.h
    strength = (1 + 0.12 * frame.value("muscle_residual") - 0.004 * (frame.value("age") - 45)).clamp(0.6, 1.4)
    strength = strength * (0.86 + 0.14 * frame.male)
    box = frame.slab(0.500, 0.672)
    right = Mirror(box)
    line = [(30, -22, 0.660), (40, -14, 0.620), (51, -2, 0.588), (60, 14, 0.553), (62, 14, 0.520)]
    points = [(x * s, y * s, z * h) for x, y, z in line]
    radii = [8 * s, 17 * s * strength, 19 * s * strength, 15 * s * strength, 12 * s * strength]
    canvas.paint(box, tube(right, points, radii), MUSCLE, fat=frame.value("psoas_pdff") / 100, keep=True)


def glandular(frame: Frame, canvas: Canvas, surface: Surface, skin: Tensor, texture: Tensor) -> None:
    """Fibroglandular tissue of the female breast; it fades with age and varies between women."""
    box = frame.slab(0.70, 0.79)
    u, h = box.u, frame.h
    density = 0.20 - 0.006 * (frame.value("age") - 30) + 0.25 * frame.trait("breast_density")
    where = torch.exp(-(((box.x.abs() - 0.048 * h) / (0.026 * h)) ** 2) - ((u - 0.735) / 0.021) ** 2)
    within = torch.maximum(-box.take(surface.fascia) + 5, box.take(skin) + 14)
    strands = 9 * (1.1 - 3 * density - box.take(texture) - 0.9 * box.take(frame.noise("gland", (34, 30, 46))))
    distance = torch.maximum(torch.maximum(within, (0.42 - where) * 45), strands)
    distance = distance + 99 * (frame.male + (box.y < 0))
    canvas.paint(box, distance, GLAND)
