"""What lies below the template's detail: texture, fat between muscle fibres, the gland of the breast."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.interior.pullback import Covers
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import BY_NAME, codes


def textured(canvas: Canvas, texture: Tensor) -> None:
    """Every tissue's signal varies by a few percent."""
    fine = canvas.frame.noise("fine", (34, 30, 46))
    gain = 1 + 0.02 * texture + 0.02 * fine
    canvas.water.mul_(gain)
    canvas.fat.mul_(gain)


def marbling(canvas: Canvas, covers: Covers) -> None:
    """Streaks of fat between muscle fibres, along the body, more with age and weight."""
    frame = canvas.frame
    imat = frame.value("imat")
    streak = frame.noise("streak", (44, 38, 14))
    muscle = torch.isin(canvas.label, torch.tensor(codes("muscle")))
    field = 2.0 - 5.5 * imat - streak
    distance = torch.where(muscle, torch.maximum(field * 9, covers.fascia + 2), 9.0)
    fat = (0.30 + 0.8 * imat).clamp(max=0.8)
    canvas.paint(frame.whole, distance, BY_NAME["intermuscular_fat"], fat=fat)


def breast_gland(canvas: Canvas, surface: Surface, texture: Tensor) -> None:
    """Fibroglandular tissue of the female breast; it fades with age and varies between women."""
    frame = canvas.frame
    box = frame.slab(0.70, 0.79)
    u, h = box.u, frame.h
    density = 0.20 - 0.006 * (frame.value("age") - 30) + 0.25 * frame.trait("breast_density")
    where = torch.exp(-(((box.x.abs() - 0.048 * h) / (0.026 * h)) ** 2) - ((u - 0.735) / 0.021) ** 2)
    within = torch.maximum(-box.take(surface.fascia) + 5, box.take(surface.skin) + 14)
    strands = 9 * (1.1 - 3 * density - box.take(texture) - 0.9 * box.take(frame.noise("gland", (34, 30, 46))))
    distance = torch.maximum(torch.maximum(within, (0.42 - where) * 45), strands)
    distance = distance + 99 * (frame.male + (box.y < 0))
    canvas.paint(box, distance, BY_NAME["breast_gland"])
