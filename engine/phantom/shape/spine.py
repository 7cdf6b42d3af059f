"""Spine and sacrum: bodies with discs, canal, arches, transverse and spinous processes."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import TOP, Frame
from engine.phantom.shape.outline import Outline
from engine.phantom.tissue import CANAL, DISC, MUSCLE, PELVIS, VERTEBRAE, cortical

#: cranial ends of T1..T12 and L1..L5 and the caudal end of L5, as fractions of the height
FIRST, THORACIC, LUMBAR = 0.8285, (0.0108, 0.00035), (0.0175, 0.0004)


def levels() -> list[float]:
    """The 18 borders of the 17 thoracic and lumbar vertebrae, from above.

    >>> len(levels()), round(levels()[-1], 3)
    (18, 0.584)
    """
    borders = [FIRST]
    for i in range(12):
        borders.append(borders[-1] - THORACIC[0] - THORACIC[1] * i)
    for i in range(5):
        borders.append(borders[-1] - LUMBAR[0] - LUMBAR[1] * i)
    return borders


def spine(frame: Frame, canvas: Canvas, outline: Outline) -> None:
    """Vertebrae from the neck to L5, then the sacrum."""
    box = frame.slab(0.555, TOP)
    s, h, x, y, u = frame.s, frame.h, box.x, box.y, box.u
    centre, radius = box.take(outline.spine_y), box.take(outline.spine_r)
    borders = torch.tensor(levels(), device=frame.device)
    index = (torch.searchsorted(-borders, -u.clamp(max=FIRST - 1e-4).contiguous()) - 1).clamp(0, 16)
    top, bottom = borders[index], borders[index + 1]
    place = ((top - u) / (top - bottom)).clamp(0, 1)
    height = (top - bottom) * h
    ends = torch.maximum((u - 0.90) * h, (borders[-1] - u) * h)
    waist = radius * (1 - 0.10 * torch.sin(torch.pi * place))
    body = torch.maximum(torch.sqrt((x / 1.15) ** 2 + (y - centre) ** 2 + 1e-3) - waist, ends)

    spinous_half = (3.5 + 9 * ((place > 0.35) & (place < 0.8))) * s
    behind = centre - radius
    spinous = torch.maximum(torch.maximum(x.abs() - spinous_half, y - behind), behind - 36 * s - y)
    across = torch.maximum(x.abs() - radius - 17 * s, (y - behind * 0.98).abs() - 5 * s)
    across = torch.maximum(across, (place - 0.45).abs() * height - 0.22 * height)
    arch = torch.maximum(torch.minimum(spinous, across), ends)
    marrow = frame.value("marrow_pdff") / 100
    canvas.paint(box, body, cortical(VERTEBRAE), keep=True)
    canvas.paint(box, arch, cortical(VERTEBRAE), keep=True)
    canvas.paint(box, arch + 2.4, VERTEBRAE, fat=(marrow + 0.10).clamp(max=0.9), over=True, keep=True)
    inner = torch.maximum(body + 1.8, ((place - 0.46).abs() - 0.385) * height)
    speckle = 1 + 0.05 * box.take(frame.noise("marrow", (34, 30, 46)))
    canvas.paint(box, inner, VERTEBRAE, fat=marrow, gain=speckle, over=True, keep=True)
    disc = torch.maximum(torch.maximum(body + 1, (0.85 - place) * height), (u - 0.83) * h)
    canvas.paint(box, disc, DISC, over=True, keep=True)
    canal = torch.sqrt(x * x + (y - (behind - 7 * s)) ** 2 + 1e-3) - 8.5 * s
    canal = torch.maximum(canal, torch.maximum((u - 0.90) * h, (0.556 - u) * h))
    canvas.paint(box, canal, CANAL, over=True, keep=True)
    cord = torch.maximum(canal + 4.2 * s, (0.665 - u) * h)
    canvas.paint(box, cord, MUSCLE, fat=0.05, over=True, signal_only=True)
    sacrum(frame, canvas, outline, marrow)


def sacrum(frame: Frame, canvas: Canvas, outline: Outline, marrow: Tensor) -> None:
    """A curved wedge from L5 to the coccyx."""
    box = frame.slab(0.500, 0.590)
    s, h, u = frame.s, frame.h, box.u
    down = ((0.584 - u) / 0.077).clamp(0, 1)
    centre = box.take(outline.spine_y) - (4 + 16 * torch.sin(down * 2.6)) * s
    half = (50 - 37 * down) * s
    wedge = torch.maximum(box.x.abs() - half, (box.y - centre).abs() - (15 - 9 * down) * s)
    wedge = torch.maximum(wedge, torch.maximum((u - 0.584) * h, (0.507 - u) * h))
    canvas.paint(box, wedge, cortical(PELVIS), keep=True)
    canvas.paint(box, wedge + 2.4, PELVIS, fat=(marrow + 0.08).clamp(max=0.9), over=True, keep=True)
