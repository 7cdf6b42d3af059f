"""Solid organs and great vessels of the abdomen: kidneys, aorta and cava, spleen, liver, gallbladder, pancreas, stomach."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import VOXEL_ML, Frame
from engine.phantom.shape.limbs import Mirror
from engine.phantom.shape.outline import Outline, diaphragm, spine_course
from engine.phantom.shape.shapes import Point, ellipsoid, level, smooth_min, tube
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import (
    BLOOD,
    CORTEX,
    GALLBLADDER,
    GAS,
    LIVER,
    MEDULLA,
    PANCREAS,
    SINUS,
    SPLEEN,
    STOMACH,
    VAT,
)

#: distance of what is not near the abdomen, mm
OUTSIDE = 99.0


def abdomen(frame: Frame, canvas: Canvas, outline: Outline, surface: Surface, texture: Tensor) -> Tensor:
    """Fill the abdomen with fat, then its organs from behind to the front; returns the abdominal region (mm)."""
    box = frame.slab(0.480, 0.780)
    within = torch.maximum(box.take(surface.cavity), box.z - diaphragm(frame, box.x, box.y))
    region = torch.full_like(surface.cavity, OUTSIDE)
    box.put(region, within)
    canvas.paint(box, within, VAT, gain=1 + 0.025 * box.take(texture))
    vessels(frame, canvas)
    kidneys(frame, canvas, surface)
    spleen(frame, canvas, region)
    pancreas(frame, canvas)
    stomach(frame, canvas, surface, region)
    liver(frame, canvas, outline, surface, region, texture)
    return region


def spine_front(frame: Frame, u: float) -> Tensor:
    """y of the front of the vertebral bodies at height ``u``, mm."""
    centre, radius = spine_course(frame, torch.full_like(frame.h, u))
    return centre + radius


def vessels(frame: Frame, canvas: Canvas) -> None:
    """Descending and abdominal aorta, inferior vena cava, iliac and femoral vessels."""
    s, h = frame.s, frame.h
    wide = (9.0 + 0.06 * (frame.value("age") - 40)) * s * (0.90 + 0.10 * frame.male)
    bend = 5 * frame.trait("aorta_course") * ((frame.value("age") - 40) / 40).clamp(0, 1)

    def front(u: float, ahead: float = 0.0) -> Tensor:
        return spine_front(frame, u) + ahead * s

    box = frame.box((0.0, 0.0, 0.69 * h), (45.0, 75.0, 195.0))
    aorta: list[Point] = [
        (-17 * s, front(0.79) - 18 * s, 0.790 * h), (-18 * s, front(0.75) - 8 * s, 0.750 * h), (-10 * s, front(0.70, 4), 0.700 * h),
        (-6 * s + bend, front(0.65, 8), 0.650 * h), (-3 * s, front(0.605, 8), 0.605 * h),
    ]  # fmt: skip
    canvas.paint(box, tube(box, aorta, [wide * 1.15, wide * 1.12, wide * 1.05, wide, wide * 0.92]), BLOOD, keep=True)
    cava: list[Point] = [
        (21 * s, front(0.725, 14), 0.728 * h), (20 * s, front(0.69, 10), 0.690 * h), (17 * s, front(0.65, 8), 0.650 * h),
        (13 * s, front(0.603, 7), 0.603 * h),
    ]  # fmt: skip
    canvas.paint(box, tube(box, cava, [12.5 * s, 12 * s, 11 * s, 10 * s]), BLOOD, keep=True)
    for side in (1, -1):
        box = frame.box((side * 0.022 * h, 0.0, 0.49 * h), (70.0, 90.0, 235.0))
        one = Mirror(box, side)
        line: list[Point] = [
            (5 * s, front(0.605, 7), 0.605 * h), (28 * s, front(0.58, 4), 0.579 * h), (50 * s, 0.018 * h, 0.546 * h),
            (0.043 * h, 0.033 * h, 0.515 * h), (0.041 * h, 0.024 * h, 0.460 * h), (0.040 * h, 0.010 * h, 0.36 * h),
        ]  # fmt: skip
        canvas.paint(box, tube(one, line, [7.5 * s, 7 * s, 6.5 * s, 6 * s, 5.5 * s, 4.5 * s]), BLOOD, keep=True)


def kidneys(frame: Frame, canvas: Canvas, surface: Surface) -> None:
    """Cortex, medullary pyramids and sinus, in their own fat, in front of psoas and quadratus."""
    s, h = frame.s, frame.h
    perirenal = (frame.value("vat") - 3).clamp(-2, 6)
    for side, name, z in ((1, "right", 0.657), (-1, "left", 0.666)):
        drop = frame.trait("kidney_drop_r" if side > 0 else "kidney_drop_l") * 7
        k = (frame.value(f"kidney_{name}") / 132) ** (1 / 3)
        x, y, top = side * (58 * s + 1.6 * perirenal), -0.028 * h + 2 + 0.8 * perirenal, z * h - drop
        box = frame.box((x, y, top), (48.0, 42.0, 72.0))
        tilt = side * (0.22 + 0.05 * frame.trait("kidney_tilt"))
        whole = ellipsoid(box, (x, y, top), (26.5 * k, 22 * k, 54 * k), roll=tilt)
        hilum = ellipsoid(box, (x - side * 24 * k, y + 4, top), (11 * k, 12 * k, 17 * k), roll=tilt)
        whole = torch.maximum(whole, -hilum)
        canvas.paint(box, whole, CORTEX, keep=True)
        pyramids = ellipsoid(box, (x - side * 1.5, y + 1, top), (19.5 * k, 15 * k, 45 * k), roll=tilt)
        columns = 2.6 * torch.cos((box.z - top) * (2 * torch.pi / 17) / k) - 1.0
        canvas.paint(box, torch.maximum(pyramids, columns), MEDULLA, over=True, keep=True)
        sinus = ellipsoid(box, (x - side * 12 * k, y + 2, top), (13 * k, 9.5 * k, 25 * k), roll=tilt)
        canvas.paint(box, torch.maximum(sinus, whole + 3), SINUS, over=True, keep=True)


def spleen(frame: Frame, canvas: Canvas, region: Tensor) -> None:
    """Under the left dome, against the ribs; its volume is met exactly."""
    s, h = frame.s, frame.h
    centre = (
        (-0.061 * h - 4) + 0.0 * h,
        -0.026 * h + 4 * frame.trait("spleen_place"),
        0.689 * h - 6 * frame.trait("spleen_place"),
    )
    box = frame.box(centre, (85.0, 75.0, 95.0))
    long = (0.14 * frame.trait("spleen_shape")).exp()
    x, y, z = box.x - centre[0], box.y - centre[1], box.z - centre[2]
    radius = torch.sqrt((x / 34) ** 2 + ((y + 0.25 * z) / 27) ** 2 + (z / (48 * long)) ** 2 + 1e-4)
    radius = radius + 0.5 * torch.exp(-(((x - 26 * s) / 14) ** 2) - (y / 20) ** 2 - (z / 30) ** 2)
    inside = box.take(region) + 3
    free = (inside < 0) & ~box.take(canvas.taken)
    edge = level(radius, free, frame.people.spleen / VOXEL_ML, 0.0, 6.0)
    canvas.paint(box, torch.maximum((radius - edge) * 30, inside), SPLEEN, keep=True)


def liver(frame: Frame, canvas: Canvas, outline: Outline, surface: Surface, region: Tensor, texture: Tensor) -> None:
    """Right lobe under the dome, left lobe across the midline, a slanted lower edge; the volume is met exactly."""
    s, h = frame.s, frame.h
    box = frame.slab(0.575, 0.765)
    x, y, z = box.x, box.y, box.z
    shape, tilt = frame.trait("liver_shape"), frame.trait("liver_tilt")
    left = (-x).clamp(min=0)
    inside = torch.maximum(
        box.take(region) + 2, left - (0.050 + 0.010 * shape) * h + 0.30 * (0.715 * h - z).clamp(min=0)
    )
    behind = box.take(outline.spine_y) - 4 * s - 24 * s * ((x.abs() - 30 * s) / (45 * s)).clamp(0, 1) + 0.9 * left
    inside = torch.maximum(inside, behind - y)
    # height of the lower surface: falls to the right and, in the right lobe, backwards; the left lobe is thin
    lower = 0.655 * h - (0.40 + 0.06 * tilt) * (x - 0.06 * h) - (0.20 + 0.06 * frame.trait("liver_drop")) * y
    lower = lower + 4 * box.take(frame.noise("liver", (10, 9, 12)))
    lower = (
        lower
        - 0.0016 * x.clamp(min=0) ** 2
        + 0.022 * left**1.5
        - 0.35 * (-y - 10 * s).clamp(0, 60) * ((x - 40 * s) / 30).clamp(0, 1)
    )
    free = (inside < 0) & ~box.take(canvas.taken)
    edge = level(lower - z, free, frame.people.liver / VOXEL_ML, -300.0, 300.0)
    whole = torch.maximum(inside, (lower - z - edge) * 0.9)
    fissure = 7 * torch.exp(-(((x + 10 * s) / (9 * s)) ** 2)) * ((0.70 * h - z) / (0.03 * h)).clamp(0, 1)
    whole = whole + fissure
    pdff = frame.value("liver_pdff") / 100
    canvas.paint(box, whole, LIVER, fat=pdff, gain=1 + 0.02 * box.take(texture), keep=True)
    lines = {
        "portal": [(24, -6, 0.699), (58, 5, 0.690), (95, 0, 0.682)],
        "right vein": [(14, -22, 0.722), (48, -12, 0.715), (92, -8, 0.703)],
        "middle vein": [(14, -18, 0.724), (40, 18, 0.714), (66, 42, 0.700)],
        "left vein": [(8, -6, 0.716), (-14, 24, 0.713), (-34, 36, 0.706)],
    }
    for line in lines.values():
        points = [(a * s, b * s, c * h) for a, b, c in line]
        branch = tube(box, points, [5.5 * s, 4.2 * s, 2.2 * s])
        canvas.paint(box, torch.maximum(branch, whole + 5), BLOOD, over=True, signal_only=True)
    bag = (46 * s, 34 * s + 10 * surface.bulge, 0.655 * h)
    near = frame.box(bag, (25.0, 25.0, 40.0))
    canvas.paint(near, ellipsoid(near, bag, (12 * s, 13 * s, 25 * s), pitch=0.4), GALLBLADDER, over=True, keep=True)


def stomach(frame: Frame, canvas: Canvas, surface: Surface, region: Tensor) -> None:
    """A J under the left dome with a gas bubble; its fill varies."""
    s, h = frame.s, frame.h
    fill = (0.14 * frame.trait("stomach_fill")).exp()
    place = 5 * frame.trait("stomach_place")
    front = 14 * surface.bulge.clamp(0)
    box = frame.box((-40 * s, 18 * s, 0.68 * h), (95.0, 75.0, 100.0))
    body = ellipsoid(
        box, (-50 * s + place, 14 * s + front, 0.692 * h), (32 * s * fill, 31 * s * fill, 50 * s), roll=-0.4
    )
    line: list[Point] = [
        (-34 * s + place, 26 * s + front, 0.668 * h),
        (-6 * s, 36 * s + front, 0.660 * h),
        (20 * s, 28 * s + front, 0.667 * h),
    ]
    whole = smooth_min(body, tube(box, line, [22 * s * fill, 17 * s, 11 * s]), 10.0)
    whole = torch.maximum(whole, box.take(region) + 3)
    canvas.paint(box, whole, STOMACH, keep=True)
    content = ellipsoid(
        box, (-50 * s + place, 10 * s + front, 0.690 * h), (25 * s * fill, 24 * s * fill, 41 * s), roll=-0.4
    )
    canvas.paint(box, torch.maximum(content, whole + 5), GALLBLADDER, over=True, signal_only=True)
    level_line = (18 * s + 4 * place) - box.y
    bubble = torch.maximum(torch.maximum(whole + 6, level_line), torch.maximum(0.690 * h - box.z, box.x + 20 * s))
    canvas.paint(box, bubble, GAS, over=True, signal_only=True)


def pancreas(frame: Frame, canvas: Canvas) -> None:
    """From the duodenum behind the stomach to the hilum of the spleen, lobulated."""
    s, h = frame.s, frame.h
    k = 1.15 * (frame.value("pancreas") / 110) ** 0.5
    line: list[Point] = [
        (27 * s, spine_front(frame, 0.655) + 24 * s, 0.653 * h), (4 * s, spine_front(frame, 0.662) + 28 * s, 0.661 * h),
        (-28 * s, spine_front(frame, 0.67) + 14 * s, 0.671 * h), (-54 * s, -14 * s, 0.682 * h),
    ]  # fmt: skip
    box = frame.box((-14 * s, 4 * s, 0.667 * h), (65.0, 60.0, 55.0))
    distance = tube(box, line, [16 * s * k, 13 * s * k, 12 * s * k, 10 * s * k])
    distance = distance + 1.2 * box.take(frame.noise("lobules", (34, 30, 46)))
    canvas.paint(box, distance, PANCREAS, fat=frame.value("pancreas_pdff") / 100, keep=True)
