"""Arms and thigh muscles. Arms lie beside the trunk and may leave the field of view."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.phantom.shape.frame import Box, Frame
from engine.phantom.shape.shapes import Number, Point, ramp, smooth_min, tube
from engine.phantom.shape.surface import Surface


@dataclass(frozen=True, eq=False)
class Arm:
    """The line of the right arm's humerus and forearm (mirror x for the left) and its radius of flesh and fat, mm."""

    points: list[Point]
    radii: list[Number]
    fat: Tensor


def right_arm(frame: Frame, surface: Surface) -> Arm:
    """Where the right arm lies: from the shoulder, clear of the flank, along the hip."""
    h, d = frame.h, frame.dim
    girth = d("upper_arm_girth") / (2 * torch.pi)
    shoulder = d("shoulder_breadth") / 2 - girth * 0.88
    widest = torch.maximum(
        surface.breadth[..., (frame.u[0, 0, 0] > 0.49) & (frame.u[0, 0, 0] < 0.68)].amax(-1, True), shoulder
    )
    spread = 6 * frame.trait("arm_spread").abs()
    elbow = widest + girth * 0.90 + 7 + spread
    lift = 0.010 * frame.trait("arm_height") * h
    y = -0.010 * h + 8 * frame.trait("arm_bend")
    at = (frame.u - 0.797).abs().argmin(-1, keepdim=True)
    middle = 0.35 * (surface.front - surface.back).gather(-1, at)
    points: list[Point] = [
        (shoulder, middle - 0.004 * h, 0.797 * h),
        (0.55 * shoulder + 0.45 * elbow, 0.5 * middle - 0.010 * h, 0.722 * h),
        (elbow, y - 0.010 * h, 0.632 * h + lift),
        (elbow + spread - 3, y + 0.012 * h, 0.540 * h + lift),
        (elbow + spread - 8, y + 0.020 * h, 0.475 * h + lift),
    ]
    return Arm(
        points,
        [girth * 0.84, girth * 1.04, girth * 0.86, girth * 0.76, girth * 0.55],
        girth * 0.12 + surface.layer * 0.16,
    )


def with_arms(frame: Frame, surface: Surface, arm: Arm) -> tuple[Tensor, Tensor, Tensor]:
    """Skin and fascia of the whole body, arms joined at the shoulder, and the fascia of the arms alone."""
    box = frame.whole
    mirrored = Mirror(box)
    skin = tube(mirrored, arm.points, arm.radii)
    k = 3 + 26 * ramp(frame.u, 0.69, 0.78) + 18 * ramp(frame.u, 0.76, 0.80)
    fascia = smooth_min(surface.fascia, skin + arm.fat, k)
    return smooth_min(surface.skin, skin, k + 2), fascia, skin + arm.fat


class Mirror:
    """Box coordinates with |x|, so that one side stands for both."""

    def __init__(self, box: Box) -> None:
        self.x = box.x.abs()
        self.y, self.z = box.y, box.rows
