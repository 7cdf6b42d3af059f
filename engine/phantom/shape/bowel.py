"""Colon with haustra, and small bowel in what the visceral fat leaves."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import VOXEL_ML, Frame
from engine.phantom.shape.outline import Outline
from engine.phantom.shape.shapes import Number, Point, level, tube
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import BOWEL, COLON, GAS, VAT


def colon(frame: Frame, canvas: Canvas, outline: Outline, surface: Surface, region: Tensor) -> None:
    """Caecum, ascending, transverse, descending, sigmoid and rectum; folds, stool and gas."""
    s, h = frame.s, frame.h
    at = (frame.u - 0.62).abs().argmin(-1, keepdim=True)
    wide = (surface.breadth.gather(-1, at) - surface.layer - outline.wall.gather(-1, at) - 26 * s).clamp(70, 175)
    ahead = (surface.front.gather(-1, at) - 1.2 * surface.layer - outline.wall.gather(-1, at) - 22 * s).clamp(25, 190)
    sag = 0.010 * frame.trait("colon_loop") * h
    zero = 0 * h
    line: list[Point] = [
        (wide * 0.90, -8 * s, 0.580 * h),
        (wide, -6 * s, 0.612 * h),
        (wide * 0.98, zero, 0.642 * h),
        (wide * 0.62, ahead * 0.78, 0.634 * h - 0.5 * sag),
        (zero, ahead, 0.618 * h - sag),
        (-wide * 0.62, ahead * 0.75, 0.644 * h - 0.4 * sag),
        (-wide * 0.98, -6 * s, 0.672 * h),
        (-wide, -12 * s, 0.632 * h),
        (-wide * 0.96, -12 * s, 0.598 * h),
        (-wide * 0.70, zero, 0.573 * h),
        (-wide * 0.25, 10 * s, 0.560 * h + sag),
        (0.012 * h, -18 * s, 0.549 * h),
        (zero, -0.030 * h, 0.526 * h),
        (zero, -0.034 * h, 0.500 * h),
    ]
    radii: list[Number] = [r * s for r in (26, 24, 23, 19, 19, 19, 19, 17, 16, 14, 15, 15, 17, 12)]
    box = frame.slab(0.490, 0.700)
    inside = box.take(region) + 3
    outer = tube(box, line, radii)
    folds = torch.cos((box.x + 1.3 * box.z + 0.7 * box.y) * (2 * torch.pi / 27))
    outer = outer + 2.2 * folds.clamp(min=0) ** 2
    outer = torch.maximum(outer, torch.where(box.u > 0.545, inside, -99.0))
    canvas.paint(box, outer, COLON, keep=True, gain=1 - 0.10 * folds)
    stool = outer + 5.0
    speck = box.take(frame.noise("stool", (26, 22, 40)))
    canvas.paint(box, stool, COLON, fat=0.10, gain=0.75 + 0.15 * speck, over=True, signal_only=True)
    gas = torch.maximum(stool + 1, 30 * (0.35 - 0.3 * frame.trait("bowel_gas") - speck))
    gas = torch.maximum(gas, 0.2 * ahead - box.y)
    canvas.paint(box, gas, GAS, over=True, signal_only=True)


def small_bowel(frame: Frame, canvas: Canvas, surface: Surface, region: Tensor) -> None:
    """Loops in the middle of the abdomen, as much as leaves the visceral fat its volume.

    A warped gyroid gives the loops; a threshold on it gives their volume.
    """
    h = frame.h
    box = frame.slab(0.495, 0.700)
    x, y, z = box.x, box.y, box.z
    a, b, c = (box.take(frame.noise(f"loop {axis}", (14, 12, 20))) for axis in "xyz")
    k = 2 * torch.pi / 62
    gx, gy, gz = x * k + 0.8 * a, y * k * 1.05 + 0.8 * b, z * k + 0.8 * c
    gyroid = torch.sin(gx) * torch.cos(gy) + torch.sin(gy) * torch.cos(gz) + torch.sin(gz) * torch.cos(gx)
    wide, ahead = box.take(surface.breadth) * 0.72, box.take(surface.front) * 0.72
    centre = torch.sqrt((x / wide) ** 2 + ((y - 0.12 * ahead) / ahead) ** 2 + ((z - 0.588 * h) / (0.085 * h)) ** 2)
    far = 1.7 * (centre - 0.60).clamp(0, 3) + 1.2 * (-(y + 0.020 * h) / 25).clamp(0, 3)
    field = -gyroid.abs() + far
    fat = (box.take(canvas.label) == VAT.code) & (box.take(region) < 0)
    total = ((canvas.label == VAT.code) & (region < 0)).sum((1, 2, 3)).float()
    room = (total - frame.people.vat * 1000 / VOXEL_ML).clamp(min=0)
    edge = level(field, fat & (box.take(region) < -3), room, -4.0, 8.0)
    distance = torch.where(fat, (field - edge) * 13, 9.0)
    distance = torch.where(room[:, None, None, None] > 0, distance, 9.0)
    canvas.paint(box, distance, BOWEL, gain=1 + 0.12 * c)
