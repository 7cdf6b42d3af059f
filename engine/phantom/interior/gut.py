"""Colon with stool and gas, and small bowel in what the visceral fat leaves; which fat is which."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.phantom.interior.organs import Viscera
from engine.phantom.interior.pullback import Pulled
from engine.phantom.shape.canvas import Canvas
from engine.phantom.shape.frame import Box
from engine.phantom.shape.shapes import level
from engine.phantom.tissue import BY_NAME, code, is_of

#: half the sides of the box that holds the bowel of the heaviest, at the reference stature, mm
ABDOMEN = (205.0, 165.0, 195.0)
#: radius of a colon and of a loop, mm of the template: what the pull-back's stretch shall not widen
COLON_RADIUS, LOOP_RADIUS = 19.0, 11.0
#: the sources' colons are emptier than most, mm
WIDER = 3.0
#: fat is perirenal this near to a kidney, mm; omental in this front part of the cavity
NEAR_KIDNEY, OMENTAL = 22.0, 0.72


class Bowel:
    """Places of the abdomen's voxels in the template's cavity, moved a little by the person's own noise."""

    def __init__(self, v: Viscera, pull: Pulled) -> None:
        f = v.frame
        middle = v.skeleton.shift.mean(-1, keepdim=True) + 135.0 * v.skeleton.scale
        self.box: Box = f.box((0.0, middle, f.h * 0.5925), ABDOMEN)
        take = self.box.take
        own = [8.0 * f.noise(f"loop {axis}", (5, 5, 6), self.box) for axis in "xyz"]
        self.x, self.y = take(pull.x) + own[0], take(pull.y) + own[1]
        self.z = take(pull.z) + own[2] + 8.0 * f.trait("colon_loop") * torch.exp(-(((take(pull.z) - 1010) / 60) ** 2))
        s = v.skeleton
        radius = torch.sqrt(
            s.across(self.box.x, take(s.wide)) ** 2 + s.ahead(self.box.y, take(s.middle), take(s.deep)) ** 2
        )
        there = torch.sqrt(take(pull.x) ** 2 + (take(pull.y) - take((s.middle - s.shift) / (s.scale * s.deep))) ** 2)
        self.stretch = (radius / there.clamp(min=4)).clamp(0.6, 2.5) * s.scale

    def distance(self, v: Viscera, name: str, radius: float) -> Tensor:
        """To an organ that keeps its thickness where its course is stretched, mm."""
        found = v.template.organs[name].at(self.x, self.y, self.z)
        return found * self.stretch + radius * (self.stretch - v.skeleton.scale).clamp(min=-6 / radius)


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
    loops = bowel.distance(v, "small_bowel_2", LOOP_RADIUS)
    lump = bowel.distance(v, "small_bowel", LOOP_RADIUS) + 7.0
    wave = f.noise("wave", (20, 18, 28), box)
    field = torch.minimum(loops, lump) + 2.2 * wave
    fat = is_of(box.take(canvas.label), "visceral_fat")
    fat &= (box.take(v.region) < -1.0) & (box.take(v.under) < -8.0)
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
