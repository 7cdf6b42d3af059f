"""Colon with stool and gas, and small bowel in what the visceral fat leaves; which fat is which."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from engine.phantom.interior.organs import Viscera
from engine.phantom.interior.pullback import Pulled
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import Box
from engine.phantom.shape.shapes import level
from engine.phantom.shape.voxels import places_of, spread_out, values_at
from engine.phantom.tissue import BY_NAME, code, is_of

#: half the sides of the box that holds the bowel of the heaviest, at the reference stature, mm
ABDOMEN = (205.0, 165.0, 195.0)
#: radius of a colon and of a loop, mm of the template: what the pull-back's stretch shall not widen
COLON_RADIUS, LOOP_RADIUS = 19.0, 11.0
#: the sources' colons are emptier than most, mm
WIDER = 3.0
#: bowel is painted no farther than this beyond the abdomen, mm, and what stands for the distance there
BESIDE, AWAY = 1.0, 1e3
#: fat is perirenal this near to a kidney, mm; omental in this front part of the cavity
NEAR_KIDNEY, OMENTAL = 22.0, 0.72


class Bowel:
    """Places of the abdomen's voxels in the template's cavity, moved a little by the person's own noise.

    ``within`` are the flat numbers, in the box, of the voxels where bowel may be; only they have places.
    """

    def __init__(self, v: Viscera, pull: Pulled) -> None:
        f = v.frame
        middle = v.skeleton.shift.mean(-1, keepdim=True) + 135.0 * v.skeleton.scale
        self.box: Box = f.box((0.0, middle, f.h * 0.5925), ABDOMEN)
        take = self.box.take
        self.within = places_of(take(v.region) < BESIDE)
        own = [8.0 * self.at(f.noise(f"loop {axis}", (5, 5, 6), self.box)) for axis in "xyz"]
        x, y, z = (self.at(take(field)) for field in (pull.x, pull.y, pull.z))
        coil = self.at(f.trait("colon_loop"))
        self.x, self.y = x + own[0], y + own[1]
        self.z = z + own[2] + 8.0 * coil * torch.exp(-(((z - 1010) / 60) ** 2))
        s = v.skeleton
        across = self.at(s.across(self.box.x, take(s.wide)))
        ahead = self.at(s.ahead(self.box.y, take(s.middle), take(s.deep)))
        radius = torch.sqrt(across**2 + ahead**2)
        there = torch.sqrt(x**2 + (y - self.at(take((s.middle - s.shift) / (s.scale * s.deep)))) ** 2)
        self.scale = self.at(s.scale)
        self.stretch = (radius / there.clamp(min=4)).clamp(0.6, 2.5) * self.scale

    def at(self, field: Tensor) -> Float[Tensor, " v"]:
        """A field of the box, or a number of each person or slice, where bowel may be."""
        return values_at(field.expand(self.box.x.shape), self.within)

    def distance(self, v: Viscera, name: str, radius: float, only: Tensor | None = None) -> Tensor:
        """To an organ that keeps its thickness where its course is stretched, mm; where bowel may be, or ``only`` in some
        voxels of the box."""
        places = (self.x, self.y, self.z, self.stretch, self.scale, self.within)
        if only is not None:
            chosen = places_of(values_at(only, self.within))
            places = tuple(one.index_select(0, chosen) for one in places)
        x, y, z, stretch, scale, within = places
        found = v.template.organs[name].at(x, y, z)
        found = found * stretch + radius * (stretch - scale).clamp(min=-6 / radius)
        return spread_out(found, within, tuple(self.box.x.shape), AWAY)


def colon(v: Viscera, bowel: Bowel) -> None:
    """One of two courses; wall, stool and gas."""
    f, box = v.frame, bowel.box
    other = f.trait("spare_1") > 0
    # only the courses that somebody has
    courses = [(~other, "colon"), (other, "colon_2")]
    drawn = [(own, bowel.distance(v, name, COLON_RADIUS)) for own, name in courses if bool(own.any())]
    outer = drawn[0][1] if len(drawn) == 1 else torch.where(*drawn[0], drawn[1][1])
    outer = outer - WIDER
    outer = torch.maximum(outer, box.take(v.region) + 2.5)
    canvas = v.canvas
    canvas.paint(box, outer, BY_NAME["colon"], keep=True)
    speck = f.noise("stool", (26, 22, 40), box)
    large = f.noise("filling", (7, 6, 8), box)
    stool = outer + 4.5
    canvas.paint(box, stool, BY_NAME["colon_content"], gain=1.0 + 0.22 * speck, over=True)
    gas = torch.maximum(stool + 1, 12 * (0.5 - 0.35 * f.trait("bowel_gas") - large - 0.3 * speck))
    canvas.paint(box, gas, BY_NAME["colon_gas"], over=True)
    at, distance = v.found("duodenum", 1.4, front=v.front.clamp(0.75, 1.15))
    v.paint(at, torch.maximum(distance, at.box.take(v.region) + 2), "duodenum", keep=True)
    at, distance = v.found("rectum", 1.4)
    v.paint(at, torch.maximum(distance, at.box.take(v.under) + 9), "rectum", keep=True)


def small_bowel(v: Viscera, bowel: Bowel) -> None:
    """Loops, as much as leaves the visceral fat its volume; fluid within, fat between."""
    f, box, canvas = v.frame, bowel.box, v.canvas
    fat = is_of(box.take(canvas.label), "visceral_fat")
    fat &= (box.take(v.region) < -1.0) & (box.take(v.under) < -8.0)
    loops = bowel.distance(v, "small_bowel_2", LOOP_RADIUS, fat)
    lump = bowel.distance(v, "small_bowel", LOOP_RADIUS, fat) + 7.0
    wave = f.noise("wave", (20, 18, 28), box)
    field = torch.minimum(loops, lump) + 2.2 * wave
    total = is_of(canvas.label, "visceral_fat").sum((1, 2, 3)).float()
    room = (total - f.people.vat * 1000 / f.voxel_ml).clamp(min=0)
    edge = level(field, fat, room, -20.0, 90.0)
    distance = torch.where(fat, field - edge, 9.0)
    distance = torch.where(room[:, None, None, None] > 0, distance, 9.0)
    canvas.paint(box, distance, BY_NAME["small_bowel"], gain=1 + 0.10 * wave)
    inner = torch.maximum(distance + 6.0, -6 * (wave + 0.15))
    canvas.paint(box, inner, BY_NAME["small_bowel_content"])


def sort_fat(v: Viscera, pull: Pulled) -> None:
    """Visceral fat is perirenal near the kidneys, omental in front, mesenteric elsewhere."""
    canvas, f = v.canvas, v.frame
    fat = is_of(canvas.label, "visceral_fat")
    ahead = (pull.y - 150.0) / 40.0
    omental = fat & (ahead + 0.25 * f.noise("omentum", (6, 6, 6)) > OMENTAL)
    label = torch.where(fat, code("mesenteric_fat"), canvas.label)
    label = torch.where(omental, code("omental_fat"), label)
    for organ in ("kidney_right", "kidney_left"):
        at, distance = v.found(organ, 1.7, NEAR_KIDNEY)
        near = distance < NEAR_KIDNEY
        own = at.box.take(label)
        mine = is_of(own, "visceral_fat")
        at.box.put(label, torch.where(near & mine, code("perirenal_fat"), own).to(label.dtype))
    canvas.label.copy_(label)


def abdominal_fat(canvas: Canvas, region: Tensor) -> None:
    """Whatever the template leaves below the diaphragm within the cavity is fat until organs are painted."""
    inside = (region < 0) & is_of(canvas.label, "intermuscular_fat")
    canvas.label.copy_(torch.where(inside, code("mesenteric_fat"), canvas.label))
