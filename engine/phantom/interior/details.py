"""What lies below the template's detail: texture, fat between muscle fibres, the gland of the breast."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.phantom.interior.pullback import Covers
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.surface import Surface
from engine.phantom.tissue import BY_NAME, code, is_of

#: muscles that waste from their borders at 80 years, and that fat parts at 40 kg/m2: SDs of the streaks where all neighbours
#: are of another tissue; the most neighbours of eight that count
WASTED: Mapping[str, float] = {"psoas": 4.0, "quadratus_lumborum": 2.5, "paraspinal": 2.5} | dict.fromkeys(
    ("gluteal", "oblique", "transversus", "rectus", "back", "pectoral", "thigh_front", "thigh_back", "thigh_inner"), 2.0
)
OVERGROWN: Mapping[str, float] = dict.fromkeys(("oblique", "transversus", "rectus", "back", "gluteal"), 2.1)
MOST = 4
#: what never touches the air around the body
DEEP = ("liver", "spleen", "heart", "kidney", "stomach", "colon", "small_bowel", "gas", "lung")


def textured(canvas: Canvas, texture: Tensor) -> None:
    """Every tissue's signal varies by a few percent."""
    fine = canvas.frame.noise("fine", (34, 30, 46))
    gain = 1 + 0.02 * texture + 0.02 * fine
    canvas.water.mul_(gain)
    canvas.fat.mul_(gain)


def marbling(canvas: Canvas, covers: Covers) -> None:
    """Streaks of fat between muscle fibres, along the body, more with age and weight; then fat surrounds muscles too."""
    frame = canvas.frame
    imat = frame.value("imat")
    streak = frame.noise("streak", (44, 38, 14))
    muscle = is_of(canvas.label, "muscle")
    older = ((frame.value("age") - 25) / 55).clamp(0, 1.2)
    heavier = ((frame.value("bmi") - 28) / 12).clamp(0, 1.4)
    table = older[..., 0, 0] * _table(WASTED) + heavier[..., 0, 0] * _table(OVERGROWN)
    own = table.to(frame.device).gather(1, canvas.label.flatten(1).long()).reshape(canvas.label.shape)
    wasting = own * _at_border(canvas.label, frame.fine)
    field = 2.0 - 5.5 * imat - streak - wasting
    distance = torch.where(muscle, torch.maximum(field * 9, covers.fascia + 2), 9.0)
    fat = (0.30 + 0.8 * imat).clamp(max=0.8)
    canvas.paint(frame.whole, distance, BY_NAME["intermuscular_fat"], fat=fat)


def _at_border(labels: UInt8[Tensor, "n x y z"], reach: int) -> Float[Tensor, "n x y z"]:
    """Which share of the voxels in the same slice, ``reach`` away, has another label."""
    other = torch.zeros_like(labels)
    for x, y in ((0, 1), (1, 0), (1, 1), (1, -1)):
        for sign in (-reach, reach):
            other += labels.roll((sign * x, sign * y), (1, 2)) != labels
    return other.clamp(max=MOST) / 8


def _table(values: Mapping[str, float]) -> Float[Tensor, "256"]:
    """Values of labels by their codes; 0 where a label has none."""
    table = torch.zeros(256)
    for name, value in values.items():
        table[code(name)] = value
    return table


def breast_gland(canvas: Canvas, surface: Surface, texture: Tensor) -> None:
    """Fibroglandular tissue of the female breast; it fades with age and varies between women."""
    frame = canvas.frame
    box = frame.slab(0.70, 0.79)
    u, h = box.u, frame.h
    density = 0.20 - 0.006 * (frame.value("age") - 30) + 0.25 * frame.trait("breast_density")
    where = torch.exp(-(((box.x.abs() - 0.048 * h) / (0.026 * h)) ** 2) - ((u - 0.735) / 0.021) ** 2)
    within = torch.maximum(-box.take(surface.fascia) + 5, box.take(surface.skin) + 14)
    strands = 9 * (1.1 - 3 * density - box.take(texture) - 0.9 * frame.noise("gland", (34, 30, 46), box))
    distance = torch.maximum(torch.maximum(within, (0.42 - where) * 45), strands)
    distance = distance + 99 * (frame.male + (box.y < 0))
    canvas.paint(box, distance, BY_NAME["breast_gland"])


def under_skin(canvas: Canvas) -> None:
    """An organ that would touch the air in a cleft leaves its outermost voxels to fat."""
    empty = canvas.label == 0
    beside = torch.zeros_like(empty)
    for axis in (1, 2, 3):
        size = empty.shape[axis] - 1
        for start in (0, 1):
            beside.narrow(axis, start, size).logical_or_(empty.narrow(axis, 1 - start, size))
    bare = beside & is_of(canvas.label, *DEEP)
    fat = BY_NAME["subcutaneous_fat_superficial"]
    canvas.label[bare] = fat.code
    canvas.water[bare] = (1 - fat.properties.fat) * fat.properties.water_signal
    canvas.fat[bare] = fat.properties.fat * fat.properties.fat_signal
