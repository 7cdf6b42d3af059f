"""The trunk from the outside in: skin, subcutaneous fat, fascia, and the cavity within.

The skin follows the ANSUR II dimensions of the person. The subcutaneous layer is a thickness map times one number, set
so that its volume is met; the abdomen bulges or draws in until its cavity holds organs, bowel and visceral fat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.phantom.atlas.skin import SkinBasis
from engine.phantom.shape.frame import VOXEL_ML, Frame, column
from engine.phantom.shape.outline import Outline, diaphragm
from engine.phantom.shape.shapes import level

#: how often fat and bulge are solved in turn, bisections of the bulge, its range, and the stride of the coarse grid
ROUNDS, BULGES, BULGE, STRIDE = 2, 7, (-0.55, 0.55), 2


@dataclass(frozen=True, eq=False)
class Surface:
    """Signed distances (n, x, y, z) in mm: ``skin``, ``fascia`` (under the subcutaneous fat), ``cavity`` of the trunk.

    ``bulge`` is how far the abdomen stands out against the average of its dimensions, ``layer`` the thickness of the
    subcutaneous fat in mm where the map is 1; ``waist`` the half breadth and the front depth at the navel.
    """

    skin: Tensor
    fascia: Tensor
    cavity: Tensor
    bulge: Tensor
    layer: Tensor
    breadth: Tensor
    front: Tensor
    back: Tensor


def solve(frame: Frame, contents: Tensor, skin: SkinBasis) -> tuple[Outline, Surface]:
    """Skin, fascia and cavity of every person; ``contents`` (n,) is what the abdomen shall hold, in litres.

    Bulge and fat layer are found in turn on every second voxel, the layer once more on all of them.
    """
    outline = Outline(frame, skin)
    every = slice(None, None, STRIDE)
    x, y = frame.x[:, every, every, every], frame.y[:, every, every, every]
    ceiling = diaphragm(frame, x, y)
    litre = 1000 / (VOXEL_ML * STRIDE**3)
    rows = (frame.u > outline.crotch) & (frame.u < 0.832)
    thick, lift = outline.thickness(x, y, every), outline.breast(x, y, every)
    thighs, bones = outline.thighs(x, y, every), outline.within_bones(x, y, every)
    below = frame.z[..., every] < ceiling
    bulge = torch.zeros_like(frame.h)
    layer = outline.lean_depth()
    want_fat, want_room = frame.people.trunk_sat * litre, contents * litre
    for _ in range(ROUNDS):
        base = outline.base(x, y, every, bulge, thighs)
        layer = _layer(base, lift, thick, rows[..., every], want_fat)
        fat = layer * thick
        low, high = torch.full_like(bulge, BULGE[0]), torch.full_like(bulge, BULGE[1])
        for _ in range(BULGES):
            bulge = (low + high) / 2
            fascia = outline.base(x, y, every, bulge, thighs) + fat
            room = (outline.cavity(fascia, bones, every, bulge) < 0) & below
            small = column(room.sum((1, 2, 3)).float() < want_room)
            low, high = torch.where(small, bulge, low), torch.where(small, high, bulge)
    whole = slice(None)
    x, y = frame.x, frame.y
    base = outline.base(x, y, whole, bulge, outline.thighs(x, y, whole))
    thick = outline.thickness(x, y, whole)
    thick = thick * (1 + (0.05 + 0.02 * frame.trait("subcut_unevenness").abs()) * frame.noise("fat", (8, 8, 9)))
    lift = outline.breast(x, y, whole)
    layer = _layer(base, lift, thick, rows, want_fat * STRIDE**3)
    fascia = base + layer * thick
    cavity = outline.cavity(fascia, outline.within_bones(x, y, whole), whole, bulge)
    return outline, Surface(
        skin=base - lift,
        fascia=fascia,
        cavity=cavity,
        bulge=bulge,
        layer=layer,
        breadth=outline.aside(bulge),
        front=outline.ahead(bulge),
        back=outline.back,
    )


def _layer(base: Tensor, lift: Tensor, thick: Tensor, rows: Tensor, voxels: Tensor) -> Tensor:
    """The layer for which {0 > depth, depth < layer x map} holds the wanted volume, mm."""
    return level(-base / thick, (base < lift) & rows, voxels, -60.0, 120.0)
