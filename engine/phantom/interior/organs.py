"""Organs from the template, each with a place and a size of its own; their volumes are met."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from engine.phantom.interior.sections import Sections
from engine.phantom.interior.template import ANGLES
from engine.phantom.shape.canvas import SOFT, Canvas
from engine.phantom.shape.frame import Box
from engine.phantom.shape.shapes import Number, Point, level, tube
from engine.phantom.shape.surface import lifted
from engine.phantom.shape.voxels import box_of
from engine.phantom.tissue import BY_NAME, code, is_of

#: organs that are enlarged beyond their boxes, or cut by them
FAR = ("liver", "ovary", "kidney_right", "kidney_left")
#: growth of the aorta's radius with age, mm a year
AORTIC_GROWTH = 0.035
#: breadth of the liver against the template's, which is young and thin
LIVER_SIDE = 0.87
#: least wall of a chamber of the heart, mm
THINNEST = 2.5
#: an organ is painted as far as this, mm; every so many voxels it is asked first, and how far its distance changes between
NEAR, COARSE, SLACK = 14.0, 3, 28.0
#: a stomach with too little room takes what there is in its whole box
ANYWHERE = 1e6
#: courses of the liver's vessels, mm of the template
LIVER_VESSELS: Mapping[str, tuple[tuple[tuple[float, float, float], ...], ...]] = {
    "portal_vein": (
        ((14, 118, 1078), (34, 118, 1096), (62, 112, 1104), (88, 108, 1100)),
        ((34, 118, 1096), (38, 150, 1112), (10, 160, 1124)),
        ((62, 112, 1104), (76, 130, 1128), (92, 138, 1148)),
    ),
    "hepatic_vein": (
        ((16, 108, 1178), (52, 100, 1168), (92, 96, 1140)),
        ((16, 112, 1178), (46, 134, 1160), (66, 152, 1128)),
        ((14, 116, 1178), (-4, 148, 1162), (-22, 160, 1150)),
    ),
}


@dataclass(frozen=True, eq=False)
class Places:
    """Template coordinates of a box of voxels (x, y, z; mm), mm of the person for one of the template, and the box."""

    box: Box
    x: Tensor
    y: Tensor
    z: Tensor
    scale: Tensor


class Viscera:
    """Paints organs onto a canvas.

    Signed distances, mm: ``cavity`` to that of the trunk, ``region`` to the abdomen, ``under`` to the fascia, in a cleft to the
    skin. ``fascia`` is how far the rays of the sections reach.
    """

    def __init__(
        self, sections: Sections, canvas: Canvas, cavity: Tensor, region: Tensor, under: Tensor, fascia: Tensor
    ) -> None:
        self.sections, self.canvas = sections, canvas
        self.cavity, self.region, self.under = cavity, region, under
        self.skeleton, self.frame = sections.skeleton, sections.frame
        self.template = sections.skeleton.template
        self.tall = (self.skeleton.notch - self.skeleton.crest) / 379.0
        self.front, self.side = self._room(fascia)

    def _room(self, fascia: Tensor) -> tuple[Tensor, Tensor]:
        """The person's cavity over the template's, to the front and to the sides, at the liver's height."""
        s = self.sections
        cavity = torch.minimum(fascia - s.wall, s.limit) / s.cavity.clamp(min=8.0)
        height = self.skeleton.height[:, 0, 0]
        near = ((height > 1030) & (height < 1190)).float()[:, None]
        quarter = ANGLES // 4
        ahead = cavity[:, quarter - 6 : quarter + 7].mean(1, keepdim=True)
        aside = torch.cat([cavity[:, :5], cavity[:, 2 * quarter - 4 : 2 * quarter + 5]], 1).mean(1, keepdim=True)
        total = near.sum(-1, keepdim=True)
        return tuple(((one * near).sum(-1, keepdim=True) / total)[..., None] for one in (ahead, aside))  # type: ignore[return-value]

    def box(self, name: str, room: float) -> Box:
        """A box that holds an organ wherever persons have it: ``room`` times as long."""
        organ, s = self.template.organs[name], self.skeleton
        size = torch.tensor(organ.distance.shape) * torch.tensor(organ.spacing)
        middle = torch.tensor(organ.origin) + size / 2
        centre = (
            s.scale * float(middle[0]),
            s.scale * s.chest * float(middle[1]) + s.shift.amin(-1, keepdim=True),
            s.down(float(middle[2])),
        )
        half = tuple(float(v) / 2 * room for v in size)
        return self.frame.box(centre, half)  # type: ignore[arg-type]

    def within(self, box: Box, every: int = 1) -> Places:
        """Places of a box's voxels, or of every so many of them along each axis."""
        s, cut = self.skeleton, slice(None, None, every)
        wide, shift, deep = (box.take(rows)[..., cut] for rows in (s.wide, s.shift, s.deep))
        x = s.across(box.x[:, cut, cut, cut], wide)
        y = s.ahead(box.y[:, cut, cut, cut], shift, deep)
        z = box.rows[..., cut] + box.take(self.frame.lift)[:, cut, cut, cut]
        return Places(box, x, y, s.up(z), s.scale)

    def found(self, name: str, room: float, reach: float = NEAR, **placed: Any) -> tuple[Places, Tensor]:
        """The voxels around an organ and their :meth:`distance` to it, all those within ``reach`` mm among them.

        The box of every person is much larger than an organ: it is asked coarsely first.
        """
        box = self.box(name, room)
        coarse = self.distance(name, self.within(box, COARSE), far=True, **placed)
        _, *spans = box_of(coarse < reach + SLACK)
        low = [max((span.start - 1) * COARSE + 1, 0) for span in spans]
        high = [min(span.stop * COARSE, size) for span, size in zip(spans, box.size, strict=True)]
        at = self.within(box.cropped(low, high))
        return at, self.distance(name, at, **placed)

    def distance(
        self,
        name: str,
        at: Places,
        *,
        grown: Number = 1.0,
        moved: Point = (0.0, 0.0, 0.0),
        anchor: tuple[float, float, float] | None = None,
        front: Number = 1.0,
        side: Number = 1.0,
        turn: Number = 0.0,
        far: bool = False,
    ) -> Tensor:
        """Signed distance to an organ that is enlarged about ``anchor`` and ``moved``, mm; stretched to the front
        (about the back of the abdomen) and to the sides, and turned in the coronal plane (radians)."""
        organ = self.template.organs[name]
        a = anchor or organ.centre
        x = at.x / side - a[0] - moved[0]
        y = 70.0 + (at.y - 70.0) / front - a[1] - moved[1]
        z = at.z - a[2] - moved[2]
        turned = torch.as_tensor(turn)
        c, s = turned.cos(), turned.sin()
        x, z = x * c + z * s, z * c - x * s
        found = organ.at(a[0] + x / grown, a[1] + y / grown, a[2] + z / grown, far=far or name in FAR)
        return found * grown * at.scale

    def enlargement(self, name: str, wanted: Tensor) -> Tensor:
        """By how much an organ of ``wanted`` mL (n,) is longer than the template's in this person."""
        own = self.template.organs[name].volume * self.skeleton.scale**2 * self.skeleton.chest * self.tall
        return (wanted[:, None, None, None] / own) ** (1 / 3)

    def paint(self, at: Places, distance: Tensor, name: str, fat: Number | None = None, **more: object) -> None:
        self.canvas.paint(at.box, distance, BY_NAME[name], fat=fat, **more)  # type: ignore[arg-type]

    def met(self, at: Places, distance: Tensor, inside: Tensor, wanted: Tensor, by: float = 9.0) -> Tensor:
        """The distance moved by up to ``by`` mm so that ``wanted`` mL (n,) are free and inside."""
        free = (inside < 0) & ~at.box.take(self.canvas.taken)
        edge = level(distance, free, wanted / self.frame.voxel_ml, -by, by)
        return torch.maximum(distance - edge, inside)


def vessels(v: Viscera) -> None:
    """Great vessels below the diaphragm; the aorta widens with age."""
    age = v.frame.value("age")
    wider = AORTIC_GROWTH * (age - 40) + 0.6 * v.frame.trait("aorta_course").clamp(-2, 2)
    for name, by in (
        ("aorta", wider),
        ("vena_cava", 1.5),
        ("iliac_artery", 0.3 * wider),
        ("iliac_vein", 0.5),
        ("renal_vessel", 0.0),
    ):
        at, distance = v.found(name, 1.15)
        distance = distance - by
        if name in ("aorta", "vena_cava"):
            distance = torch.maximum(distance, at.box.take(v.region) - 12)
        v.paint(at, distance, name, keep=True)


def kidneys(v: Viscera) -> None:
    """Cortex, pyramids and sinus; they lie lower in some and under the liver, and further from the spine in the fat."""
    fat = (v.frame.value("vat") - 2).clamp(-1.5, 7)
    for side, name in ((1, "right"), (-1, "left")):
        organ = f"kidney_{name}"
        grown = v.enlargement(organ, getattr(v.frame.people, organ))
        drop = 6 * v.frame.trait(f"kidney_drop_{name[0]}")
        moved = (side * (1.5 + 1.4 * fat), 3 + 1.0 * fat, 2 - 5 * side - drop)
        tilt = side * 0.05 * v.frame.trait("kidney_tilt")
        at, distance = v.found(organ, 1.5, grown=grown, moved=moved, turn=tilt)
        distance = v.met(at, distance, at.box.take(v.region) - 6, getattr(v.frame.people, organ), 5.0)
        v.paint(at, distance, "renal_cortex", keep=True)
        z = at.z - v.template.organs[organ].centre[2]
        columns = 2.2 * torch.cos(z * (2 * torch.pi / 15)) - 0.6
        v.paint(at, torch.maximum(distance + 6.5, columns), "renal_medulla", over=True, keep=True)
        x = (at.x.abs() - abs(v.template.organs[organ].centre[0]) - 1.4 * fat) * v.skeleton.scale
        sinus = torch.maximum(distance + 10, torch.maximum(x - 2, z.abs() - 24))
        v.paint(at, sinus, "renal_sinus", over=True, keep=True)
    at, distance = v.found("adrenal", 1.2, moved=(0.0, 2.0, 6.0))
    v.paint(at, distance, "adrenal", keep=True)


def spleen(v: Viscera) -> None:
    wanted = v.frame.people.spleen
    place = v.frame.trait("spleen_place")
    at, distance = v.found(
        "spleen", 1.6, grown=v.enlargement("spleen", wanted), moved=(0.0, 2.0 * place, 0.7 * lifted(v.frame) - 5.0 * place),
        anchor=(-105.0, 70.0, 1125.0), side=v.side.clamp(0.85, 1.12),
    )  # fmt: skip
    distance = v.met(at, distance, at.box.take(v.region) + 1.5, wanted)
    v.paint(at, distance, "spleen", keep=True)


def pancreas(v: Viscera) -> None:
    """Lobulated; the source's is thin, so it is enlarged to the person's volume."""
    wanted = v.frame.people.pancreas
    grown = v.enlargement("pancreas", wanted).clamp(0.8, 1.35)
    front = v.front.clamp(0.75, 1.15)
    at, distance = v.found("pancreas", 1.5, 20.0, grown=grown, moved=(0.0, 2.0, 0.0), front=front)
    distance = distance + 1.2 * v.frame.noise("lobules", (34, 30, 46), at.box)
    distance = v.met(at, distance, at.box.take(v.region) + 2, wanted)
    v.paint(at, distance, "pancreas", fat=v.frame.value("pancreas_pdff") / 100, keep=True)


def liver(v: Viscera, texture: Tensor) -> None:
    """Under the right dome, with its veins; the volume is met. Flatter and narrower than the template's, so that a lean
    person's front wall does not cut it: weight then changes its size, not its shape."""
    f = v.frame
    wanted = f.people.liver
    front = 0.72 + 0.06 * f.male
    at, distance = v.found(
        "liver", 1.45, 56.0, grown=v.enlargement("liver", wanted) * (1.06 + 0.04 * f.male), anchor=(75.0, 60.0, 1190.0),
        moved=(-4.0, 0.0, lifted(f) - 6.0), turn=0.05 * f.trait("liver_tilt"), front=front, side=LIVER_SIDE,
    )  # fmt: skip
    distance = distance + 2.0 * f.noise("liver", (7, 7, 9), at.box)
    distance = v.met(at, distance, at.box.take(v.region) + 1.0, wanted, 40.0)
    gain = 1 + 0.02 * at.box.take(texture)
    v.paint(at, distance, "liver", fat=f.value("liver_pdff") / 100, gain=gain, keep=True)
    _liver_vessels(v, front)
    bag, own = v.found(
        "gallbladder", 1.8, grown=v.enlargement("gallbladder", 32.0 * torch.ones_like(wanted)),
        moved=(0.0, -4.0, lifted(f) - 14.0), front=v.front.clamp(0.75, 1.10),
    )  # fmt: skip
    distance = torch.maximum(own, bag.box.take(v.region) + 3)
    v.paint(bag, distance, "gallbladder", over=True, keep=True)


def _liver_vessels(v: Viscera, front: Tensor) -> None:
    """Portal branches and hepatic veins as tubes in the template's frame; signal only, their voxels stay liver."""
    s = v.skeleton
    middle = (30.0 * LIVER_SIDE * s.scale, s.scale * s.chest * 122.0 + s.shift.amin(-1, keepdim=True), s.down(1132.0))
    at = v.within(v.frame.box(middle, (85.0, 60.0, 85.0)))
    inside = at.box.take(v.canvas.label) == code("liver")

    class _Points:
        x, y, z = at.x / LIVER_SIDE, 70.0 + (at.y - 70.0) / front, at.z - lifted(v.frame)

    for name, branches in LIVER_VESSELS.items():
        for line in branches:
            radii = [6.0 - 3.6 * i / (len(line) - 1) for i in range(len(line))]
            branch = tube(_Points, line, radii) * at.scale  # type: ignore[arg-type]
            v.paint(at, torch.where(inside, branch, SOFT), name, over=True, signal_only=True)


def stomach(v: Viscera) -> None:
    f = v.frame
    fill = (0.10 * f.trait("stomach_fill")).exp() * 0.88
    at, distance = v.found(
        "stomach", 1.5, ANYWHERE, grown=fill, moved=(4.0 * f.trait("stomach_place") - 8.0, -3.0, 0.7 * lifted(f)),
        anchor=(-58.0, 130.0, 1165.0), front=v.front.clamp(0.70, 1.25), side=v.side.clamp(0.85, 1.1),
    )  # fmt: skip
    s = v.skeleton
    own = v.template.organs["stomach"].volume * (s.scale**2 * s.chest * v.tall * fill**3)[:, 0, 0, 0]
    distance = v.met(at, distance, at.box.take(v.region) + 2, 0.8 * own, 16.0)
    v.paint(at, distance, "stomach", keep=True)
    distance = torch.where(at.box.take(v.canvas.label) == code("stomach"), distance, SOFT)
    v.paint(at, distance + 5.5, "stomach_content", over=True)
    middle = 140.0 + 6 * f.trait("stomach_fill")
    surface = (middle - at.y) * v.skeleton.scale
    v.paint(at, torch.maximum(distance + 6.5, surface), "stomach_gas", over=True)


def pelvic(v: Viscera) -> None:
    """Bladder with what it holds, and prostate, or uterus and ovaries."""
    f = v.frame
    fill = (0.16 * f.trait("bladder_fill")).exp()
    at, distance = v.found("bladder", 1.5, grown=fill, anchor=(1.0, 92.0, 796.0))
    distance = torch.maximum(distance, at.box.take(v.under) + 8)
    v.paint(at, distance, "bladder", keep=True)
    if bool((f.male > 0).any()):
        older = 1.1 + 0.008 * (f.value("age") - 40).clamp(0, 45)
        at, distance = v.found("prostate", 1.6, grown=older, anchor=(1.0, 84.0, 790.0))
        v.paint(at, distance + 99.0 * (1 - f.male), "prostate", keep=True)
    if bool((f.male < 1).any()):
        after = 1 - 0.010 * (f.value("age") - 50).clamp(0, 25)
        for name in ("uterus", "ovary"):
            at, distance = v.found(name, 1.6, grown=after, moved=(0.0, -4.0, 4.0), anchor=(0.0, 80.0, 830.0))
            v.paint(at, distance + 99.0 * f.male, name, keep=True)


def heart(v: Viscera) -> None:
    """Chambers and wall, scaled as a whole to the person's volume; epicardial fat is what stays around it."""
    f = v.frame
    grown = v.enlargement("heart", f.people.heart)
    organ = v.template.organs["heart"]
    lift = 0.5 * lifted(f) + 3.0 * f.trait("heart_place")
    front, side = v.front.clamp(0.85, 1.10), v.side.clamp(0.92, 1.08)
    grown = grown / (front * side) ** (1 / 3)
    placed = {"grown": grown, "moved": (0.0, 0.0, lift), "front": front, "side": side, "anchor": organ.centre}
    at, whole = v.found("heart", 1.5, 30.0, **placed)
    within = at.box.take(v.cavity) + 1.0
    distance = v.met(at, whole, within, f.people.heart)
    around = torch.maximum(distance - 4 - f.value("vat").clamp(0, 6), -distance)
    soft = is_of(at.box.take(v.canvas.label), "lung", "mediastinal_fat", "heart")
    v.paint(at, torch.where(soft, around, 9.0), "epicardial_fat")
    v.paint(at, distance, "ventricle_wall", keep=True, over=True)
    for name in ("left_ventricle", "right_ventricle", "left_atrium", "right_atrium"):
        chamber = torch.maximum(v.distance(name, at, **placed), distance + THINNEST)
        v.paint(at, chamber, name, over=True, keep=True)
