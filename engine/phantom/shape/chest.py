"""Lungs with their vessels, heart with chambers, great vessels, airways, thyroid."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import Box, Frame
from engine.phantom.shape.limbs import Mirror
from engine.phantom.shape.outline import Outline, diaphragm
from engine.phantom.shape.shapes import Number, Point, curve, ellipsoid, tube
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import BLOOD, GAS, LUNG, MEDIASTINAL_FAT, MUSCLE, MYOCARDIUM, THYROID


def thorax(frame: Frame, canvas: Canvas, outline: Outline, surface: Surface) -> None:
    """Fill the chest: mediastinal fat, heart and vessels first, the lungs in what is left."""
    box = frame.slab(0.640, 0.840)
    ceiling = diaphragm(frame, box.x, box.y)
    cavity = torch.maximum(box.take(surface.cavity) + 1, ceiling - box.z + 2)
    apex = (box.u - 0.826 + 0.45 * (box.x.abs() / frame.h - 0.033).clamp(min=0)) * frame.h
    canvas.paint(box, torch.maximum(cavity, (box.u - 0.822) * frame.h), MEDIASTINAL_FAT)
    heart(frame, canvas, outline)
    great_vessels(frame, canvas, outline)
    airway(frame, canvas, outline)
    lungs(frame, canvas, outline, box, torch.maximum(cavity, apex))


def lungs(frame: Frame, canvas: Canvas, outline: Outline, box: Box, cavity: Tensor) -> None:
    """Two lungs beside the mediastinum, with branching vessels from the hila and a basal gradient."""
    s, h, x, y = frame.s, frame.h, box.x, box.y
    fat = (0.5 * (frame.value("vat") - 3)).clamp(-1, 6)
    narrow = curve(box.u, [(0.66, 8.0), (0.74, 11.0), (0.79, 20.0), (0.83, 22.0)]) * torch.exp(-(((y - 6) / 28) ** 2))
    behind = 15 * torch.exp(-(((y - box.take(outline.spine_y) + 4) / 22) ** 2))
    middle = (x + 3 * s).abs() - (7 + fat + narrow + behind) * s
    lung = torch.maximum(cavity + 2, -middle)
    canvas.paint(box, lung, LUNG, gain=1 + 0.35 * ((-y) / (60 * s)).clamp(-1, 1))
    # two noises near zero at once: a net of tubes, denser and wider towards the hila
    first, second = (box.take(frame.noise(f"lung {i}", (30, 26, 44))) for i in (1, 2))
    hilum = torch.sqrt((x.abs() - 30 * s) ** 2 + (y + 4) ** 2 + (box.z - 0.772 * h) ** 2) / (120 * s)
    tree = (torch.sqrt(first**2 + second**2) - 0.28 * (1.25 - hilum).clamp(0.15, 1)) * 11
    canvas.paint(box, torch.maximum(tree, lung + 3), BLOOD, gain=0.8 + 0 * x, signal_only=True)
    line = {
        "upper": [(30, -4, 0.776), (48, 4, 0.793), (58, 2, 0.808)],
        "middle": [(30, -4, 0.773), (60, 12, 0.765), (82, 22, 0.752)],
        "lower": [(30, -6, 0.770), (56, -20, 0.748), (66, -34, 0.722)],
        "back": [(34, -8, 0.768), (74, -30, 0.764), (88, -40, 0.752)],
    }
    within = lung + 4
    for points in line.values():
        branch = tube(Mirror(box), [(a * s, b * s, c * h) for a, b, c in points], [5.5 * s, 3.6 * s, 1.6 * s])
        canvas.paint(box, torch.maximum(branch, within), BLOOD, signal_only=True, gain=0.9 * torch.ones_like(branch))


@dataclass(frozen=True, eq=False)
class HeartPlace:
    """Centre, size relative to 800 mL, and turn of the heart."""

    centre: tuple[Tensor, Tensor, Tensor]
    size: Tensor
    roll: Tensor


def heart_place(frame: Frame, outline: Outline) -> HeartPlace:
    s = frame.s
    size = (frame.value("heart") / 790) ** (1 / 3) * 1.06
    x = (-14 + 4 * frame.trait("heart_place")) * s
    # against the chest wall: in a deeper chest it lies further forward
    at = (frame.u - 0.745).abs().argmin(-1, keepdim=True)
    lean = outline.lean_depth() * outline.thickness(0 * frame.h, 0 * frame.h + 90, slice(None)).gather(-1, at)
    wall = outline.front.gather(-1, at) - lean - outline.wall.gather(-1, at)
    y = (wall - 56 * size).clamp(14, 48)
    base = diaphragm(frame, x, y)
    return HeartPlace(
        (x, y, base + 42 * size),
        size,
        0.55 + 0.12 * frame.trait("heart_axis") - 0.01 * (frame.value("bmi") - 26).clamp(-8, 12),
    )


def heart(frame: Frame, canvas: Canvas, outline: Outline) -> None:
    """Epicardial fat, myocardium, and four chambers."""
    place = heart_place(frame, outline)
    (cx, cy, cz), k, roll = place.centre, place.size, place.roll
    box = frame.box((cx, cy, cz), (75.0, 65.0, 75.0))
    pad = (1.5 + 0.55 * (frame.value("vat") - 2)).clamp(1.0, 7.0)
    floor = diaphragm(frame, box.x, box.y) - box.z + 2

    def part(at: tuple[float, float, float], radii: tuple[float, float, float], grow: Number = 0.0) -> Tensor:
        centre = (cx - at[0] * k, cy + at[1] * k, cz + at[2] * k)
        return ellipsoid(box, centre, tuple(r * k + grow for r in radii), roll=-roll)  # type: ignore[arg-type]

    whole = torch.minimum(part((4, 0, -4), (52, 40, 43)), part((-22, -6, 14), (30, 32, 34)))
    canvas.paint(box, torch.maximum(whole - pad, floor), MEDIASTINAL_FAT, keep=True)
    canvas.paint(box, torch.maximum(whole, floor + 3), MYOCARDIUM, over=True, keep=True)
    chambers = [
        ((14, -7, -6), (30, 18, 20)),
        ((-6, 19, -8), (31, 13, 22)),
        ((-31, 4, 8), (17, 20, 24)),
        ((-4, -28, 15), (27, 13, 17)),
    ]
    for at, radii in chambers:
        canvas.paint(box, torch.maximum(part(at, radii), floor + 6), BLOOD, over=True, keep=True)  # type: ignore[arg-type]


def great_vessels(frame: Frame, canvas: Canvas, outline: Outline) -> None:
    """Aortic arch and descending aorta, pulmonary arteries, caval veins, neck vessels."""
    s, h = frame.s, frame.h
    cx, cy, cz = heart_place(frame, outline).centre
    wide = (12.5 + 0.07 * (frame.value("age") - 40)) * s * (0.90 + 0.10 * frame.male)
    bend = 4 * frame.trait("aorta_course")
    box = frame.box((0.0, 0.0, 0.78 * h), (75.0, 75.0, 85.0))
    arch: list[Point] = [
        (cx + 8 * s, cy + 2, cz + 22 * s),
        (11 * s, 20 * s, 0.786 * h),
        (4 * s, 8 * s, 0.803 * h + bend),
        (-12 * s, -14 * s, 0.803 * h + bend),
        (-17 * s, -28 * s, 0.790 * h),
    ]
    canvas.paint(box, tube(box, arch, [wide * 1.15, wide * 1.12, wide, wide * 0.95, wide * 0.9]), BLOOD, keep=True)
    trunk: list[Point] = [(cx - 2 * s, cy + 16 * s, cz + 26 * s), (-10 * s, 8 * s, 0.785 * h)]
    canvas.paint(box, tube(box, trunk, [13 * s, 12 * s]), BLOOD, keep=True)
    for side in (1, -1):
        one = Mirror(box, side)
        canvas.paint(
            box, tube(one, [(0.0, 6 * s, 0.784 * h), (32 * s, -4 * s, 0.776 * h)], [9 * s, 8 * s]), BLOOD, keep=True
        )
    canvas.paint(
        box, tube(box, [(22 * s, 8 * s, 0.752 * h), (21 * s, 10 * s, 0.808 * h)], [9 * s, 8 * s]), BLOOD, keep=True
    )
    box = frame.box((0.0, 0.0, 0.835 * h), (45.0, 40.0, 65.0))
    for side in (1, -1):
        one = Mirror(box, side)
        neck: list[Point] = [(8 * s, 4 * s, 0.805 * h), (24 * s, 6 * s, 0.832 * h), (26 * s, 4 * s, 0.875 * h)]
        canvas.paint(box, tube(one, neck, [6.5 * s, 6 * s, 5.5 * s]), BLOOD, keep=True)


def airway(frame: Frame, canvas: Canvas, outline: Outline) -> None:
    """Trachea, main bronchi, oesophagus and thyroid."""
    s, h = frame.s, frame.h
    box = frame.box((0.0, 0.0, 0.82 * h), (60.0, 50.0, 95.0))
    thyroid = ellipsoid(Mirror(box), (15 * s, 14 * s, 0.836 * h), (11 * s, 9 * s, 21 * s))
    canvas.paint(box, thyroid, THYROID)
    gullet: list[Point] = [(-6 * s, -6 * s, 0.87 * h), (-5 * s, -14 * s, 0.80 * h), (-4 * s, -16 * s, 0.755 * h)]
    canvas.paint(box, tube(box, gullet, [6.5 * s, 6.5 * s, 7 * s]), MUSCLE, fat=0.08, keep=True)
    pipe: list[Point] = [(0.0, 12 * s, 0.875 * h), (0.0, 6 * s, 0.825 * h), (2 * s, -6 * s, 0.789 * h)]
    walls = tube(box, pipe, [9.5 * s, 9 * s, 9 * s])
    for side in (1, -1):
        reach = 30 if side > 0 else 36
        drop = 0.772 if side > 0 else 0.774
        bronchus = tube(
            Mirror(box, side), [(0.0, -6 * s, 0.789 * h), (reach * s, -10 * s, drop * h)], [7.5 * s, 5.5 * s]
        )
        walls = torch.minimum(walls, bronchus)
    canvas.paint(box, walls - 1.5, MUSCLE, fat=0.15, keep=True)
    canvas.paint(box, walls, GAS, over=True, keep=True)
