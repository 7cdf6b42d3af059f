"""The trunk from the outside in: skin, subcutaneous fat, fascia, and the cavity within.

The skin follows the ANSUR II dimensions of the person. The subcutaneous layer is a thickness map times one number, set
so that its volume is met; the abdomen bulges or draws in until its cavity holds organs, bowel and visceral fat.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from engine.phantom.interior.sections import Polar, Sections
from engine.phantom.shape.frame import Frame, column
from engine.phantom.shape.outline import Outline
from engine.phantom.shape.shapes import bump, level
from engine.phantom.shape.voxels import box_of

#: fat and bulge are solved in turn: bisections of the bulge each time (then nearby), its range, the coarse grid's stride
BULGES, BULGE, STRIDE = (5, 3), 0.55, 2


#: how much of what the contents ask for the wall gives
YIELDING = 0.6
#: what is drawn in front of the skin at least: the warp, and the voxels beside it, mm
BEFORE = 22.0
#: the abdomen's border is not asked farther than this beyond the cavity, mm
BEYOND = 20.0
#: the template breathed out more than persons in the scanner, mm
DEEPER = 8.0


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
    polar: Polar
    thicker: Tensor


def farthest(outline: Outline, bulge: Tensor) -> float:
    """Nothing is drawn further in front than this, mm."""
    trunk = outline.ahead(bulge) + outline.breast_projection() * bump(outline.frame.u, 0.738, 0.04)
    thigh = outline.thigh_y + outline.thigh[1]
    arm = 0.35 * outline.front + outline.frame.dim("upper_arm_girth") / 5
    return float(torch.stack([part.max() for part in (trunk, thigh, arm)]).max()) + BEFORE


def bulged(outline: Outline, contents: Tensor) -> Tensor:
    """How far the abdomen stands out (n, 1, 1, 1), so that it holds its ``contents`` (n,), in litres.

    Bulge and fat layer are found in turn on every second voxel.
    """
    frame, sections = outline.frame, outline.sections
    stride = STRIDE * frame.fine
    every = slice(None, None, stride)
    x, y = frame.x[:, every, every, every], frame.y[:, every, every, every]
    ceiling = dome(sections, (slice(None), every, every, every))
    polar, slices = sections.polar(stride), torch.arange(0, frame.z.shape[-1], stride)
    litre = 1000 / (frame.voxel_ml * stride**3)
    rows = (frame.u > outline.crotch) & (frame.u < 0.832)
    thick, lift = outline.thickness(x, y, every), outline.breast(x, y, every)
    thighs = outline.thighs(x, y, every)
    bones, wall, cage = outline.within(polar, slices)
    below = sections.skeleton.height[..., every] < ceiling
    # only here can there be a cavity
    box = box_of(below & (bones < 0))
    here = slice(box[3].start * stride, box[3].stop * stride, stride)
    x_here, y_here, thick_here, thighs_here = x[box], y[box], thick[box], thighs[box]
    bones, wall, cage_here, below = bones[box], wall[box], cage[box], below[box]
    bulge = torch.zeros_like(frame.h)
    layer = outline.lean_depth()
    want_fat, want_room = frame.people.trunk_sat * litre, contents * litre
    for count in BULGES:
        base = outline.base(x, y, every, bulge, thighs)
        padded = thick * outline.padded(y, every, bulge)
        layer = _layer(base, lift, padded, cage, rows[..., every], want_fat)
        reach = BULGE if count == BULGES[0] else BULGE / 4
        low, high = (bulge - reach).clamp(min=-BULGE), (bulge + reach).clamp(max=BULGE)
        for _ in range(count):
            bulge = (low + high) / 2
            fat = layer * thick_here * outline.padded(y_here, here, bulge)
            fascia = torch.maximum(outline.base(x_here, y_here, here, bulge, thighs_here) + fat, cage_here)
            room = (torch.maximum(fascia + wall * outline.thicker(here, bulge), bones) < 0) & below
            small = column(room.sum((1, 2, 3)).float() < want_room)
            low, high = torch.where(small, bulge, low), torch.where(small, high, bulge)
    # the bowel, which varies anyway, takes up the rest
    return YIELDING * bulge


def surface_of(outline: Outline, bulge: Tensor) -> Surface:
    """Skin, fascia and cavity of every person, the fat layer found on all voxels."""
    frame, sections = outline.frame, outline.sections
    whole = slice(None)
    rows = (frame.u > outline.crotch) & (frame.u < 0.832)
    want_fat = frame.people.trunk_sat * (1000 / frame.voxel_ml)
    x, y = frame.x, frame.y
    base = outline.base(x, y, whole, bulge, outline.thighs(x, y, whole))
    thick = outline.thickness(x, y, whole)
    thick = thick * (1 + (0.05 + 0.02 * frame.trait("subcut_unevenness").abs()) * frame.noise("fat", (8, 8, 9)))
    lift = outline.breast(x, y, whole)
    thick = thick * outline.padded(y, whole, bulge)
    polar, slices = sections.polar(), torch.arange(frame.z.shape[-1])
    bones, wall, cage = outline.within(polar, slices)
    layer = _layer(base, lift, thick, cage, rows, want_fat)
    fascia = torch.maximum(base + layer * thick, cage)
    cavity = torch.maximum(fascia + wall * outline.thicker(whole, bulge), bones)
    return Surface(
        skin=base - lift,
        fascia=fascia,
        cavity=cavity,
        bulge=bulge,
        layer=layer,
        breadth=outline.aside(bulge),
        front=outline.ahead(bulge),
        back=outline.back,
        polar=polar,
        thicker=outline.thicker(whole, bulge),
    )


def dome(sections: Sections, box: tuple[slice, ...]) -> Tensor:
    """Height of the diaphragm over each place of a box, mm of the template."""
    skeleton, frame = sections.skeleton, sections.frame
    x = skeleton.across(frame.x[box], skeleton.wide[..., box[3]])
    y = skeleton.ahead(frame.y[box], skeleton.shift[..., box[3]], skeleton.deep[..., box[3]])
    return skeleton.template.under_lungs(x, y) + lifted(frame)


def lifted(frame: Frame) -> Tensor:
    """How far the diaphragm stands above the template's, mm: a heavy abdomen presses it up, and each person differs."""
    return 0.8 * (frame.value("bmi") - 26).clamp(-6, 16) + 7 * frame.trait("diaphragm") - DEEPER


def abdomen(sections: Sections, surface: Surface, height: Tensor) -> Tensor:
    """Signed distance to the abdomen: within the cavity and below the diaphragm, mm; of no account far beyond the cavity.

    ``height`` (n, x, y, z) is that of the voxels, mm of the template.
    """
    region = surface.cavity.clone()
    box = box_of(region < BEYOND)
    above = (height[box] - dome(sections, box) + 5) * sections.skeleton.scale
    region[box] = torch.maximum(region[box], above)
    return region


def _layer(base: Tensor, lift: Tensor, thick: Tensor, cage: Tensor, rows: Tensor, voxels: Tensor) -> Tensor:
    """The layer for which {0 > depth, depth < layer x map} and what lies beyond the rib cage hold the volume, mm."""
    depth = torch.where(cage > 0, -200.0, -base / thick)
    return level(depth, (base < lift) & rows, voxels, -60.0, 120.0)
