"""Ribs, sternum and shoulder girdle; pelvis and femora. (The spine has a file of its own.)"""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import Box, Frame
from engine.phantom.shape.limbs import Arm, Mirror
from engine.phantom.shape.shapes import Number, Point, curve, ellipsoid, tube
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import DISC, FEMUR, PELVIS, RIBS, SHOULDER, Tissue, cortical


def bone(canvas: Canvas, box: Box, distance: Tensor, shell: Number, which: Tissue, fat: Tensor) -> None:
    """A cortical shell of ``shell`` mm around marrow."""
    canvas.paint(box, distance, cortical(which), keep=True, over=True)
    canvas.paint(box, distance + shell, which, fat=fat.clamp(max=0.92), over=True, signal_only=True)


def ribcage(frame: Frame, canvas: Canvas, surface: Surface, wall: Tensor) -> None:
    """Twelve pairs of ribs that run down and forwards within the wall, and the sternum."""
    box = frame.slab(0.635, 0.835)
    s, h, u, x, y = frame.s, frame.h, box.u, box.x, box.y
    out = box.take(surface.fascia) + box.take(wall)
    forward = (torch.atan2(y, x.abs()) + torch.pi / 2) / torch.pi
    pitch = 0.0212 * h
    course = box.rows + 0.105 * h * forward**1.15 * (1 - 0.25 * (forward > 0.8))
    phase = torch.remainder((course - 0.835 * h) / pitch, 1.0)
    rib = torch.maximum(((phase - 0.5).abs() - 0.21) * pitch, (out - 6.5 * s).abs() - 4.6 * s)
    floating = (0.652 - u + 0.075 * (forward - 0.45).clamp(min=0)) * h
    rib = torch.maximum(rib, torch.maximum(floating, (u - 0.822) * h))
    rib = torch.maximum(rib, torch.where(y > 0, 32 * s - x.abs(), 20 * s - x.abs()))
    marrow = frame.value("marrow_pdff") / 100
    cartilage = torch.maximum(rib, (0.80 - forward) * 200)
    bone(canvas, box, rib, 2.4, RIBS, marrow)
    canvas.paint(box, cartilage, DISC, over=True)
    sternum = torch.maximum(x.abs() - (14 + 7 * (u > 0.79)) * s, (out - 8 * s).abs() - 5.5 * s)
    sternum = torch.maximum(sternum, torch.maximum((0.722 - u) * h, (u - 0.811) * h)) + 60.0 * (y < 0)
    bone(canvas, box, sternum, 1.8, RIBS, marrow)


def shoulders(frame: Frame, canvas: Canvas, surface: Surface, arm: Arm) -> None:
    """Humerus, clavicle, and a scapula with its spine and socket."""
    s, h = frame.s, frame.h
    fatty = frame.value("marrow_pdff") / 100 + 0.35
    head = arm.points[0]
    for side in (1, -1):
        centre = (head[0] * side, head[1], head[2])
        box = frame.box((side * 0.125 * h, 0.0, 0.62 * h), (140.0, 90.0, 350.0))
        one = Mirror(box, side)
        line = [head, arm.points[1], arm.points[2]]
        bone(canvas, box, tube(one, line, [11.5 * s, 10.5 * s, 10 * s]), 3.4 * s, SHOULDER, fatty)
        bone(canvas, box, ellipsoid(box, centre, (23 * s, 23 * s, 23 * s)), 1.8, SHOULDER, fatty)
        radius_line: list[Point] = [(p[0] + 9, p[1] + 6, p[2]) for p in arm.points[2:]]
        ulna_line: list[Point] = [(p[0] - 8, p[1] - 6, p[2]) for p in arm.points[2:]]
        for line in (radius_line, ulna_line):
            bone(canvas, box, tube(one, line, [7 * s, 6.5 * s, 6 * s]), 2.6 * s, SHOULDER, fatty)
        _scapula(frame, canvas, surface, head, side, fatty)
        box = frame.box((side * 0.05 * h, 0.025 * h, 0.817 * h), (75.0, 50.0, 30.0))
        one = Mirror(box, side)
        collar: list[Point] = [
            (13 * s, 0.034 * h, 0.812 * h),
            (0.045 * h, 0.030 * h, 0.819 * h),
            (head[0] * 0.93, head[1] + 4, head[2] + 0.014 * h),
        ]
        bone(canvas, box, tube(one, collar, [7 * s, 6 * s, 6.5 * s]), 2.2, SHOULDER, fatty)


def _scapula(frame: Frame, canvas: Canvas, surface: Surface, head: Point, side: int, fat: Tensor) -> None:
    """A triangular blade on the back of the ribs, its spine running to the acromion, the socket at the humerus."""
    s, h = frame.s, frame.h
    box = frame.box((side * 0.062 * h, -0.045 * h, 0.765 * h), (78.0, 75.0, 95.0))
    one = Mirror(box, side)
    glide = 5 * frame.trait("scapula")
    low, medial, socket = 0.712 * h + glide, 0.036 * h, head[0] - 20 * s
    rise = ((one.z - low) / (0.085 * h)).clamp(0, 1)
    lateral = 0.058 * h + (socket - 0.058 * h) * rise**0.85
    sheet = (box.take(surface.fascia) + (21 - 4 * rise) * s).abs() - (1.9 + 0.9 * (one.x > lateral - 9)) * s
    edge = torch.maximum(
        torch.maximum(medial + 0.012 * h * (1 - rise) - one.x, one.x - lateral),
        torch.maximum(low - one.z, one.z - 0.806 * h - glide),
    )
    blade = torch.maximum(torch.maximum(sheet, edge), one.y + 0.010 * h)
    bone(canvas, box, blade, 2.2, SHOULDER, fat)
    ridge: list[Point] = [
        (medial + 8, -0.058 * h, 0.783 * h + glide),
        (0.075 * h, -0.052 * h, 0.796 * h),
        (head[0] * 0.97, head[1] - 8, head[2] + 0.016 * h),
    ]
    bone(canvas, box, tube(one, ridge, [3.5 * s, 5 * s, 7 * s]), 2.2, SHOULDER, fat)
    neck: list[Point] = [
        (lateral_at(socket, s, 34.0), head[1] - 26 * s, head[2] - 8 * s),
        (socket + 2 * s, head[1] - 4 * s, head[2]),
    ]
    bone(canvas, box, tube(one, neck, [8 * s, 12 * s]), 2.2, SHOULDER, fat)


def lateral_at(socket: Number, s: Tensor, back: float) -> Number:
    """A point ``back`` mm (at the reference stature) medial of the socket."""
    return socket - back * s


def pelvis(frame: Frame, canvas: Canvas, surface: Surface) -> None:
    """Iliac wings, ischium, pubis and the femora."""
    s, h = frame.s, frame.h
    marrow = frame.value("marrow_pdff") / 100
    wide = 1 + 0.035 * frame.trait("pelvis_breadth") + 0.05 * (1 - frame.male)
    for side in (1, -1):
        box = frame.box((side * 0.056 * h, -0.012 * h, 0.560 * h), (85.0, 105.0, 95.0))
        one = Mirror(box, side)
        u, lateral = box.u, h * (1 - 0.035 * (1 - frame.male))
        ring = (0.046 + 0.315 * (u - 0.52).clamp(0, 0.085)) * lateral * wide
        shell = (
            torch.sqrt((one.x - 0.004 * lateral) ** 2 + ((one.y - 0.010 * lateral) * 0.95) ** 2 + 1e-3)
            - ring
            - 0.010 * lateral
        )
        crest = torch.exp(-(((u - 0.598) / 0.012) ** 2))
        wing = shell.abs() - (4.6 + 3.6 * crest) * s
        arc = u * h - 0.603 * h + 1.10 * (one.y - 0.002 * h) ** 2 / (0.055 * h)
        limits = torch.maximum(
            torch.maximum((0.526 - u) * h, arc),
            torch.maximum(one.y - (0.030 + 0.35 * (u - 0.56)) * lateral, -(one.y + 0.052 * lateral)),
        )
        wing = torch.maximum(torch.maximum(wing, limits), box.take(surface.fascia) + 6)
        bone(canvas, box, wing, 2.4, PELVIS, marrow + 0.12)
        _hip(frame, canvas, side, marrow, wide)


def _hip(frame: Frame, canvas: Canvas, side: int, marrow: Tensor, wide: Tensor) -> None:
    s, h = frame.s, frame.h
    lateral = h * (1 - 0.035 * (1 - frame.male))
    hx, hy, hz = 0.0495 * lateral * wide, 0.004 * h, 0.519 * h
    box = frame.box((side * 0.045 * h, 0.0, 0.508 * h), (75.0, 90.0, 65.0))
    one = Mirror(box, side)
    socket = ellipsoid(Mirror(box, side), (hx * 0.92, hy, hz + 4), (30 * s, 29 * s, 32 * s))
    ischium: list[Point] = [
        (hx * 0.80, -0.022 * h, 0.492 * h),
        (hx * 0.95, -0.020 * h, 0.505 * h),
        (hx * 0.9, -0.006 * h, hz),
    ]
    pubis: list[Point] = [
        (hx * 0.9, 0.004 * h, hz),
        (hx * 0.45, 0.030 * h, 0.512 * h),
        (5 * s, 0.034 * h, 0.507 * h),
        (hx * 0.42, 0.016 * h, 0.490 * h),
        (hx * 0.80, -0.016 * h, 0.488 * h),
    ]
    whole = torch.minimum(socket, tube(one, ischium, [13 * s, 12 * s, 12 * s]))
    whole = torch.minimum(whole, tube(one, pubis, [11 * s, 8.5 * s, 9.5 * s, 7 * s, 9.5 * s]))
    bone(canvas, box, whole, 2.6, PELVIS, marrow + 0.20)
    symphysis = torch.maximum(
        one.x.abs() - 3.5 * s, ellipsoid(one, (0.0, 0.034 * h, 0.507 * h), (12 * s, 10 * s, 18 * s))
    )
    canvas.paint(box, symphysis, DISC, over=True, keep=True)
    canvas.paint(box, ellipsoid(one, (hx, hy, hz), (25.5 * s, 25.5 * s, 25.5 * s)), DISC, over=True, keep=True)
    fatty = (0.80 + 0.1 * marrow).clamp(max=0.92)
    canvas.paint(box, ellipsoid(one, (hx, hy, hz), (23 * s, 23 * s, 23 * s)), FEMUR, fat=fatty, over=True, keep=True)
    box = frame.box((side * 0.07 * h, 0.0, 0.44 * h), (60.0, 60.0, 160.0))
    one, fx = Mirror(box, side), 0.079 * lateral * wide
    shaft: list[Point] = [
        (hx, hy, hz),
        (fx * 0.98, -0.006 * h, 0.508 * h),
        (fx * 0.93, -0.006 * h, 0.480 * h),
        (0.058 * lateral, 0.004 * h, 0.36 * h),
        (0.052 * lateral, 0.0, 0.27 * h),
    ]
    outer = tube(one, shaft, [13 * s, 17 * s, 15.5 * s, 13.5 * s, 15 * s])
    thick = s * (3.4 + 2.0 * curve(box.u, [(0.40, 1.0), (0.50, 0.0)]))
    bone(canvas, box, outer, thick, FEMUR, fatty)
