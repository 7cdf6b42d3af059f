"""The outline of the trunk: the rows that shape skin, fat, wall and cavity, from a person's dimensions."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

from engine.phantom.interior.sections import Polar, Sections
from engine.phantom.shape.frame import generator
from engine.phantom.shape.section import Section
from engine.phantom.shape.shapes import Number, bump, curve, falling, ramp, smooth_min
from engine.phantom.skin.basis import SkinBasis, at_rows, skin_sections, thigh_row, trunk_row

#: a roomy abdomen draws in by this share of the bulge, and has thicker fat and muscle in front; a full one grows in depth
DRAWN_IN, THICKER, THICKER_WALL, BELLY = 0.2, 3.0, 0.4, 0.65
#: how far the trunk may reach in front of the body's axis, behind it (there lies the table), and to a side, mm
FRONT, TABLE, SIDE = 265.0, 121.0, 233.0
#: over how much these limits are rounded, mm
SOFT = 8.0
#: with weight the navel sinks and the paunch stands over it: this high, by this share more, and so much of it above
PLATEAU, CROWN, PAUNCH = 0.034, 0.025, 0.35
#: below the crotch, over this fraction of the height, the thighs take over from hips and buttocks
JOIN = 0.045
#: depths of the trunk over the middle of a thigh, as shares of its own in front and behind
OVER_THIGH = 0.91, 0.98
#: thickest fat of a thigh, a share of its radius
THICKEST = 0.34
#: soldiers' breadth and depth (ANSUR) and the population's tape (NHANES) disagree by 5% at the waist up to BMI 38:
#: in between; above, the scanner's bore is the limit
TAPE = 0.957, 0.936
#: women's waists over the iliac crest against the level of the navel
SLIMMER = 0.014


class Outline:
    """The rows (n, 1, 1, z) that shape the trunk, and the distances they give at coarse or full resolution."""

    def __init__(self, sections: Sections, skin: SkinBasis) -> None:
        self.frame = sections.frame
        self.sections = sections
        frame = self.frame
        self.crotch = frame.dim("crotch_height") / frame.h
        self.girth = frame.dim("thigh_girth") / (2 * torch.pi)
        self.gap = (3 + 2.0 * frame.trait("thigh_gap")).clamp(0.5, 9)
        across = torch.minimum(0.91 * self.girth, (frame.dim("hip_breadth") / 2 - self.gap) / 2)
        self.thigh_half = across, torch.sqrt(2 * self.girth**2 - across**2)
        self._sections(skin)
        self._skin()
        self._thighs()
        self.belly = bump(frame.u, 0.610, 0.068)
        self.fat_rows = self._fat_rows()
        self.front_fat = self._front_fat()

    def _sections(self, skin: SkinBasis) -> None:
        """The shape of each row, to be drawn out to the person's breadths and depths."""
        f = self.frame
        k = len(skin.spread)
        noise = torch.stack(
            [torch.randn(k, generator=generator(seed, "skin"), device="cpu") for seed in f.people.seeds]
        )
        shape = skin_sections(skin, f.people.male, f.people.age, f.people.bmi, noise.to(f.device))
        u, crotch = f.u.flatten(1), self.crotch.clamp(max=0.495).flatten()
        navel = (f.dim("omphalion_height") / f.h).flatten()
        self.section = Section(at_rows(shape.trunk, trunk_row(u, crotch, navel)))
        self.thigh_section = Section(at_rows(shape.thigh.flatten(1, 2), thigh_row(u, crotch)), sides=2)

    def _skin(self) -> None:
        """Half breadth, depth in front of the axis and behind it."""
        f, d, u = self.frame, self.frame.dim, self.frame.u
        navel, chest = d("omphalion_height") / f.h, d("chest_height") / f.h
        neck = d("neck_girth") / (2 * torch.pi)
        acromion = d("shoulder_breadth") / 2 - d("upper_arm_girth") / (2 * torch.pi) * 0.9
        hip, waist, rib = d("hip_breadth") / 2, d("waist_breadth") / 2, d("chest_breadth") / 2
        outer = 2 * self.thigh_half[0] + self.gap
        rib = rib * (0.98 + 0.02 * f.male)
        still = 0.002 + PLATEAU * ramp(f.value("bmi"), 28, 42)
        crown = 1 + CROWN * ramp(f.value("bmi"), 26, 36)
        large, heavy = ramp(f.value("bmi"), 36, 41), ramp(f.value("bmi"), 28, 42)
        waist = waist * (TAPE[0] + (1 - TAPE[0]) * large) * (1 - SLIMMER * (1 - f.male))
        paunch = d("waist_depth") * (TAPE[1] + (1.035 - TAPE[1]) * large)
        above = torch.lerp(rib, waist, 0.45 + PAUNCH * heavy)
        self.half = curve(u, [
            (0.44, outer), (0.475, 0.5 * (hip + outer)), (0.505, hip), (0.545, 0.72 * hip + 0.28 * waist),
            (navel, waist), (navel + still, waist * crown), (navel + 0.062, above), (chest, rib), (0.775, rib * 1.03),
            (0.793, 0.35 * rib + 0.65 * acromion), (0.803, 0.93 * acromion), (0.814, 0.80 * acromion),
            (0.825, 0.28 * acromion + neck), (0.837, neck * 1.28), (0.851, neck * 1.06), (0.87, neck),
        ])  # fmt: skip
        bust = (d("chest_depth") - self.breast_projection() * 0.85) * (1 - 0.025 * f.male)
        seat, thigh = d("buttock_depth"), 2 * self.thigh_half[1]
        over = torch.lerp(bust, paunch, 0.5 + PAUNCH * heavy)
        self.depth = curve(u, [
            (0.44, thigh), (0.475, 0.6 * seat + 0.4 * thigh), (0.505, seat), (0.55, 0.55 * seat + 0.45 * paunch),
            (navel, paunch), (navel + still, paunch * crown), (navel + 0.062, over), (chest, bust), (0.775, bust * 0.91),
            (0.80, bust * 0.79), (0.82, bust * 0.54 + neck * 0.45), (0.835, neck * 2.15), (0.846, neck * 1.98), (0.87, neck * 2),
        ])  # fmt: skip
        layers = [(0.50, 1.35), (0.56, 1.0), (0.70, 0.8), (0.80, 0.75), (0.84, 0.3)]
        padding = curve(u, layers) * 0.75 * self.lean_depth()
        behind = smooth_min(self.sections.skeleton.back + padding, torch.full_like(u, TABLE), 20.0)
        # what has no room in front of the scanner lies on the table
        behind = torch.maximum(behind, (self.depth - FRONT + SOFT).clamp(max=TABLE))
        self.back = torch.minimum(behind, 0.62 * self.depth)
        self.front = self.depth - self.back

    def _thighs(self) -> None:
        """Half breadth, half depth and centre of a thigh: at the crotch they are those of half the trunk."""
        f, u = self.frame, self.frame.u
        crotch = self.crotch.clamp(max=0.495)
        taper = curve(u, [(0.30, 0.70), (0.40, 0.89), (0.465, 1.0), (0.50, 1.0)])
        across, deep = (radius * taper for radius in self.thigh_half)
        near = ramp(u, crotch - JOIN, crotch)
        near = near * near * (3 - 2 * near)
        middle = torch.maximum(-0.006 * f.h, self.thigh_half[1] - TABLE)
        front, back = OVER_THIGH[0] * self.front, OVER_THIGH[1] * self.back
        self.thigh = torch.lerp(across, (self.half - self.gap) / 2, near), torch.lerp(deep, (front + back) / 2, near)
        self.thigh_y = torch.lerp(middle.expand_as(near), (front - back) / 2, near)
        apart = (self.thigh_half[0] + self.gap) * curve(u, [(0.30, 0.86), (0.46, 1.0)])
        self.thigh_x = torch.lerp(apart, (self.half + self.gap) / 2, near)
        self.above_thigh = ramp(u, crotch + 0.018, crotch + 0.045) * 120
        self.thigh_rows = int((u < crotch + 0.045).sum(-1).max())
        under = ((crotch + 0.021 - u) * f.h).clamp(min=0)
        self.below_trunk = (under + under**2 / 28).clamp(max=400)

    def lean_depth(self) -> Tensor:
        """A first guess of the mean thickness of the subcutaneous fat, mm: its volume over the trunk's skin."""
        d = self.frame.dim
        girth = (d("waist_breadth") + d("waist_depth") + d("chest_breadth") + d("chest_depth")) * 0.80
        return self.frame.value("trunk_sat") * 1e6 / (girth * self.frame.h * 0.345)

    def breast_projection(self) -> Tensor:
        """How far the breast stands out of the chest, mm."""
        f = self.frame
        fat = f.value("body_fat")
        female = (12 + 0.70 * (fat - 20).clamp(0, 32)) * (0.22 * f.trait("breast_size")).exp()
        return (1 - f.male) * female.clamp(8, 62) + f.male * ((fat - 24) * 0.55).clamp(0, 14)

    def ahead(self, bulge: Number) -> Tensor:
        """Depth of the skin in front of the axis; the trunk stays within the scanner."""
        ahead = self.front * (1 + BELLY * self.belly * standing_out(bulge))
        return smooth_min(ahead, torch.full_like(ahead, FRONT), SOFT)

    def aside(self, bulge: Number) -> Tensor:
        """Half breadth of the skin."""
        half = self.half * (1 + 0.30 * self.belly * standing_out(bulge))
        return smooth_min(half, torch.full_like(half, SIDE), SOFT)

    def trunk(self, x: Tensor, y: Tensor, cut: slice, bulge: Number) -> Tensor:
        """Skin of the trunk without breasts: sections with a depth in front and one behind."""
        half, ahead, back = self.aside(bulge)[..., cut], self.ahead(bulge)[..., cut], self.back[..., cut]
        middle = 0.32 * (ahead - back)
        return self.section.distance(x, y - middle, half, ahead - middle, back + middle, cut)

    def thighs(self, x: Tensor, y: Tensor, cut: slice) -> Tensor:
        """Skin of both thighs, fading out above the hips; far away over them."""
        low = slice(None, self.thigh_rows, cut.step)
        half, deep = (radius[..., low] for radius in self.thigh)
        x, y, rows = x[..., : half.shape[-1]], y[..., : half.shape[-1]], x.shape[-1]
        place = x.abs() - self.thigh_x[..., low], y - self.thigh_y[..., low]
        near = self.thigh_section.distance(*place, half, deep, deep, low) + self.above_thigh[..., low]
        return pad(near, (0, rows - near.shape[-1]), value=1e3)

    def base(self, x: Tensor, y: Tensor, cut: slice, bulge: Number, thighs: Tensor) -> Tensor:
        """Trunk and thighs together."""
        return smooth_min(self.trunk(x, y, cut, bulge) + self.below_trunk[..., cut], thighs, 14.0)

    def _fat_rows(self) -> Tensor:
        f = self.frame
        shape = 0.22 * f.trait("gynoid")
        leg, hip = (1.22 - 0.70 * f.male) * shape.exp(), (1.42 - 0.50 * f.male) * (0.7 * shape).exp()
        leg = torch.minimum(leg, THICKEST * self.girth / self.lean_depth())
        belly = 0.42 * ramp(f.value("bmi"), 30, 42)
        return curve(f.u, [
            (0.36, leg), (0.46, leg * 1.1), (0.50, hip), (0.545, hip), (0.58, 1.20 + belly), (0.625, 1.12 + belly),
            (0.66, 0.88 + belly),
            (0.70, 0.66), (0.76, 0.55), (0.81, 0.52), (0.84, 0.42), (0.87, 0.42),
        ])  # fmt: skip

    def _front_fat(self) -> Tensor:
        """What the fat in front is thicker over ribs and pubis, relative to the map: with weight the bones stay."""
        f = self.frame
        extra = (f.value("bmi") - 23).clamp(min=0) / self.lean_depth()
        pubis = [(0.455, 0.0), (0.495, 2.3), (0.545, 2.0), (0.590, 0.0)]
        chest = [(0.640, 0.0), (0.700, 1.7), (0.780, 1.7), (0.820, 0.0)]
        return extra * curve(f.u, [*pubis, *chest]) / self.fat_rows

    def thickness(self, x: Tensor, y: Tensor, cut: slice) -> Tensor:
        """The subcutaneous map: 1 is the mean of the trunk."""
        radius = torch.sqrt(x * x + y * y + 25.0)
        sine = y / radius
        front, behind = sine.clamp(min=0), (-sine).clamp(min=0)
        lobes = 0.80 + (0.42 + 0.10 * self.frame.trait("fat_front")) * front + 0.34 * behind - 0.50 * behind**6
        lobes = lobes + self.front_fat[..., cut] * front
        midline = 1 - 0.06 * falling((x / 15) ** 2) * front
        cleft = ramp(-self.frame.u[..., cut], -0.485, -0.455)
        low = slice(int((cleft > 0).sum(-1).max()))
        midline[..., low] -= 0.45 * falling((x[..., low] / 60) ** 2) * cleft[..., low]
        return self.fat_rows[..., cut] * lobes * midline + 0.06

    def breast(self, x: Tensor, y: Tensor, cut: slice) -> Tensor:
        """How far breasts stand out at each place, mm."""
        f, u = self.frame, self.frame.u[..., cut]
        across = (x.abs() - 0.046 * f.h) / (0.031 * f.h)
        sag = 0.738 - 0.004 * (f.value("age") - 45) / 30
        up = (u - sag) / torch.where(u > sag, 0.037, 0.026)
        return self.breast_projection() * falling(across**2 + up**2) * ramp(y, 0.0, 30.0)

    def within(self, polar: Polar, rows: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """How far places lie beyond the bones that hold a cavity; thickness of the wall under the fascia; how far they lie
        beyond the rib cage and its muscles (far negative where there is no cage), mm."""
        s = self.sections
        limit, wall, cage = polar.looks([s.limit, s.wall, s.cage], rows)
        scale = s.skeleton.scale
        return (polar.radius - limit) * scale, wall * scale, (polar.radius - cage) * scale

    def thicker(self, cut: slice, bulge: Tensor) -> Tensor:
        """A roomy abdomen has a thicker wall: a factor by slice."""
        return 1 + THICKER_WALL * (-bulge).clamp(min=0) * bump(self.frame.u[..., cut], 0.61, 0.09)

    def padded(self, y: Tensor, cut: slice, bulge: Tensor) -> Tensor:
        """A roomy abdomen has more of its fat in front of the wall: a factor of the subcutaneous map."""
        ahead = ((y - 10) / 50).clamp(0, 1)
        return 1 + THICKER * (-bulge).clamp(min=0) * bump(self.frame.u[..., cut], 0.61, 0.09) * ahead


def standing_out(bulge: Number) -> Tensor:
    """How far the skin follows the bulge: outwards wholly, inwards little."""
    bulge = torch.as_tensor(bulge)
    return torch.where(bulge > 0, bulge, DRAWN_IN * bulge)
