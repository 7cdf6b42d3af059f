"""The ventricles in motion, as radii about the long axis of the left one by height and angle.

Every boundary is star-shaped about that axis, so volumes are integrals of half the squared radius and the sizes that are asked
for are met exactly, by the roots of quadratics. A point of the wall keeps its height relative to the long axis; what the
wall's cross-section loses in length it gains in area, so the muscle's volume is the same in every phase.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from engine.phantom.heart.cycle import Beat
from engine.phantom.heart.people import Heart
from engine.phantom.heart.tissue import DENSITY

#: angles of a table of radii, and heights of the integrals
ANGLES, HEIGHTS = 360, 64
THETA: Float[np.ndarray, " a"] = (np.arange(ANGLES) * 2 * math.pi / ANGLES + math.pi) % (2 * math.pi) - math.pi
#: height of the widest part of the left ventricle, and how much narrower its end at the valve is
WIDEST, NARROWER = 0.68, 0.12
#: length of a cavity of 150 mL in mm; wider ones are rounder, and the longest must leave room for the atria in the stack
LENGTH, LENGTH_POWER, LONGEST = 89.0, 0.2, 104.0
#: share by which a heart of EF 60 shortens along its axis (mitral plane excursion of 13 to 15 mm) and its right base descends
SHORTENING, RIGHT_SHORTENING = 0.155, 0.21
#: rotation of apex and base at end-systole and EF 60, radians, seen from the apex counterclockwise (here: to less)
TWIST_APEX, TWIST_BASE = -0.19, 0.07
#: what the still part of an infarct does: a little outwards, so that shortening elsewhere does not thicken it
STILL, THINNED = -0.28, 0.42
#: thickness of the right ventricle's wall in mm
RIGHT_WALL = 3.0
#: height of the right ventricle's apex
RIGHT_APEX = 0.13


@dataclass(frozen=True, eq=False)
class Boundaries:
    """Radii (mm) about the long axis in some planes of one phase, -9 where there is nothing.

    Shape: (m, a): ``inner`` is the endocardium, ``blood`` that of the cavity between trabeculae, ``outer`` the epicardium,
    ``right`` the right cavity's free side, ``right_wall`` the outside of its wall, ``sac`` the pericardium.
    ``relative`` (m,) is each plane's height along the axis: 0 the apex, 1 the base; ``twist`` (m,) its rotation.
    """

    inner: Float[np.ndarray, "m a"]
    blood: Float[np.ndarray, "m a"]
    outer: Float[np.ndarray, "m a"]
    right: Float[np.ndarray, "m a"]
    right_wall: Float[np.ndarray, "m a"]
    sac: Float[np.ndarray, "m a"]
    relative: Float[np.ndarray, " m"]
    twist: Float[np.ndarray, " m"]


def profile(height: Float[np.ndarray, "..."]) -> Float[np.ndarray, "..."]:
    """Radius of a truncated ellipsoid by height: 0 at the apex (0), 1 at its widest, narrower at the base (1) and on."""
    below = np.sqrt(np.clip(1 - ((height - WIDEST) / WIDEST) ** 2, 0, None))
    above = 1 - NARROWER * (np.clip(height - WIDEST, 0, None) / (1 - WIDEST)) ** 2
    return np.where(height < 0, 0.0, np.where(height < WIDEST, below, np.clip(above, 0.5, 1)))


class Ventricles:
    """The two ventricles of a heart over its cycle.

    ``apex`` is the height (mm) of the epicardial apex at end-diastole, ``length`` that from there to the base, ``contraction``
    (t,) how far each phase is from end-diastole (0) to end-systole (1).
    """

    def __init__(self, heart: Heart, beat: Beat, phases: int, apex: float) -> None:
        self.heart, self.apex = heart, apex
        self.contraction = beat.contraction(phases)
        scores = heart.scores
        cavity = LENGTH * (heart.edv / 150) ** LENGTH_POWER * (1 + 0.04 * scores["length"])
        if heart.pathology == "hypertrophic":
            cavity *= 1.03
        self.length = min(cavity, LONGEST) + 5.0
        self._start = 5.0 / self.length
        self._s = (np.arange(HEIGHTS) + 0.5) / HEIGHTS
        self._bump = np.random.default_rng([heart.seed, 5]).standard_normal((3, 6))
        weak = heart.ef / 60 * (0.75 if heart.infarct else 1)
        self.shortening = min(SHORTENING * weak, 0.21)
        self.right_shortening = min(RIGHT_SHORTENING * (0.4 + 0.6 * heart.rv_ef / 55), 0.25)
        self._turn = heart.ef / 60
        self._size_left()
        self._size_right()

    def lengths(self, c: float) -> tuple[float, float]:
        """Length from apex to base of the left and the right ventricle, mm, when contracted by ``c``."""
        return self.length * (1 - self.shortening * c), self.length * (1 - self.right_shortening * c)

    def base(self, c: float) -> tuple[float, float]:
        """Heights of the left and the right base, mm."""
        left, right = self.lengths(c)
        return self.apex + left, self.apex + right

    # the left ventricle

    def _oval(self, s: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "m a"]:
        """Section of the cavity relative to a circle: a little oval, flatter at the septum, wavy."""
        scores, at = self.heart.scores, THETA[None]
        oval = 0.035 * (1 + 0.5 * scores["oval"]) * np.cos(2 * (at - 1.3 - 0.4 * scores["oval_to"]))
        waves = sum(
            0.012 * float(self._bump[0, i]) * np.cos((i + 2) * at + 2 * float(self._bump[1, i]) + 2 * s)
            for i in range(4)
        )
        return 1 + oval - 0.02 * np.cos(at) + waves

    def _share(self, s: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "m a"]:
        """Thickness of the wall relative to the rest of it."""
        heart, at = self.heart, THETA[None]
        away = np.angle(np.exp(1j * (at - heart.bulge_at)))
        bulge = heart.bulge * _bell(away, heart.bulge_wide) * _bell(s - 0.62, 0.36)
        waves = sum(0.02 * float(self._bump[2, i]) * np.cos((i + 1) * at + i + 3 * s) for i in range(4))
        return (1 + bulge + waves) * (0.86 + 0.14 * np.clip(s / 0.5, 0, 1)) * (1 - THINNED * self.still(s))

    def still(self, s: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "m a"]:
        """1 in the core of an infarct, 0 away from it."""
        infarct = self.heart.infarct
        if infarct is None:
            return np.zeros((len(s), ANGLES))
        away = np.angle(np.exp(1j * (THETA[None] - infarct.angle))) / infarct.wide
        far = np.sqrt(away**2 + ((s - infarct.height) / infarct.high) ** 2)
        return 1 / (1 + np.exp((far - 0.95) / 0.1))

    def _size_left(self) -> None:
        """Radius of the cavity and thickness of the wall at which volume and mass are those asked for."""
        s, each = self._s[:, None], self.length / 1000 / HEIGHTS * 2 * math.pi / ANGLES / 2
        inner = self._inner_shape(s)
        self.cavity_radius = math.sqrt(self.heart.edv / (each * float((inner**2).sum())))
        shape, share = profile(s), self._share(s)
        wall = self.heart.mass / DENSITY
        square = each * float(((share * shape) ** 2).sum())
        linear = each * float((2 * self.cavity_radius * self._oval(s) * share * shape**2).sum())
        rest = each * float(((self.cavity_radius * self._oval(s) * shape) ** 2).sum()) - self.heart.edv - wall
        self._wall = (-linear + math.sqrt(max(linear**2 - 4 * square * rest, 0.0))) / (2 * square)
        rest_inner = self.cavity_radius * inner
        moves = self._moves(s) * rest_inner
        self._each = each
        self._sums = [float(v) for v in ((rest_inner**2).sum(), (rest_inner * moves).sum(), (moves**2).sum())]

    def _inner_shape(self, s: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "m a"]:
        return profile((s - self._start) / (1 - self._start)) * self._oval(s)

    def _moves(self, s: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "m a"]:
        """How much each part contracts relative to the rest: the apex more than the base, an infarct not."""
        return (1.12 - 0.2 * s + 0 * THETA[None]) * (1 - (1 - STILL) * self.still(s))

    def squeeze(self, c: float) -> float:
        """The share by which the cavity's radius shrinks where it moves by 1, so that its volume is right."""
        volume = self.heart.edv - c * self.heart.stroke
        a, b, m = (self._each * v * (1 - self.shortening * c) for v in self._sums)
        rest = a - volume
        return float((b - math.sqrt(max(b * b - m * rest, 0.0))) / m) if m else 0.0

    def _left(self, s: Float[np.ndarray, "m 1"], c: float) -> tuple[np.ndarray, np.ndarray]:
        """Endocardium and epicardium (m, a) at these heights, mm."""
        inner0 = self.cavity_radius * self._inner_shape(s)
        outer0 = (self.cavity_radius * self._oval(s) + self._wall * self._share(s)) * profile(s)
        area = np.clip(outer0**2 - inner0**2, (0.25 * self._wall) ** 2, None) * (s > 0)
        inner = np.clip(inner0 * (1 - self.squeeze(c) * self._moves(s)), 0, None)
        return inner, np.sqrt(inner**2 + area / (1 - self.shortening * c))

    # the right ventricle

    def _depth(self, s: Float[np.ndarray, "m 1"], outer: Float[np.ndarray, "m a"]) -> Float[np.ndarray, "m a"]:
        """Depth of the right cavity before it is scaled: from the left epicardium to six rounded sides."""
        scores = self.heart.scores
        mean = outer.mean(1, keepdims=True)
        grown = np.sqrt(np.clip((s - RIGHT_APEX) / 0.6, 0, 1)) * (0.97 + 0.03 * np.clip(s, 0, 1))
        turned = -0.05 + 0.22 * np.clip(s - 0.3, 0, 0.8) + 0.07 * scores["turn_rv"]
        mean, deep = np.clip(mean, 1, None), mean * grown
        away = THETA[None] - turned
        # the free wall, the acute margin, the side on the diaphragm, the front
        sides = (
            (1.72, mean * 0.965 + 0.03 * deep),
            (1.30, mean + 0.27 * deep),
            (0.75, mean + 0.72 * deep),
            (-0.10 + 0.12 * scores["right_shape"], mean + 0.95 * deep),
            (-0.80, mean + 0.62 * deep),
            (-1.38, mean * 0.955 + 0.03 * deep),
        )
        sharp = 9.0
        total = sum(np.clip(np.cos(away - at) * (mean / far), 0, None) ** sharp for at, far in sides)
        depth = mean * np.clip(total, 1e-6, None) ** (-1 / sharp) - outer
        return np.where((away > -1.38) & (away < 1.72), np.clip(depth, 0, None), 0.0) * (s > RIGHT_APEX)

    def _size_right(self) -> None:
        """Scale of the right cavity's depth in every phase, so that its volume is right."""
        self._scale = []
        for c in self.contraction:
            left, right = self.lengths(float(c))
            s = self._s * right / left
            outer = self._left(s[:, None], float(c))[1]
            depth = self._depth(s[:, None] * left / right, self._left(s[:, None], 0.0)[1])
            each = right / 1000 / HEIGHTS * 2 * math.pi / ANGLES / 2
            square, linear = each * float((depth**2).sum()), each * float((2 * outer * depth).sum())
            volume = self.heart.rv_edv * (1 - self.heart.rv_ef / 100 * float(c))
            self._scale.append((-linear + math.sqrt(linear**2 + 4 * square * volume)) / (2 * square))

    # both

    def at(self, phase: int, z: Float[np.ndarray, " m"]) -> Boundaries:
        """The boundaries of a phase in planes of these heights (mm)."""
        c, scores = float(self.contraction[phase]), self.heart.scores
        left, right = self.lengths(c)
        relative = (np.asarray(z, float) - self.apex) / left
        s = np.clip(relative, -0.2, 1.15)[:, None]
        inner, outer = self._left(s, c)
        depth = self._depth(s * left / right, self._left(s, 0.0)[1]) * self._scale[phase]
        there = np.clip(depth / 3.0, 0, 1)
        rough = self._rough(s, self._turn * c)
        blood = inner - rough * (1.4 + 1.5 * c * self._turn) * (1 + 0.35 * scores["trabeculae"])
        thick = RIGHT_WALL * (1 + 0.25 * c)
        right_side = outer + depth
        right_wall = right_side + thick * there
        fat = self._fat(s)
        smooth = _smooth(right_wall, 14)
        sac = np.maximum(right_wall, 0.5 * (smooth + np.maximum(smooth, right_wall))) + fat
        nothing = (relative < 0)[:, None] & np.ones((1, ANGLES), bool)
        beneath = -9.0
        beyond = np.clip(relative - 1.02, 0, 0.4)[:, None]
        sac_below = np.sqrt(np.clip(1 - (relative / 0.09) ** 2, 0, None))[:, None] * (8 + fat)
        return Boundaries(
            np.where(inner > 0.3, inner, beneath),
            np.where(blood > 0.3, blood, beneath),
            np.where(nothing, beneath, outer),
            np.where(nothing | (depth <= 0.2), beneath, right_side),
            np.where(nothing | (depth <= 0.2), beneath, right_wall),
            np.where(nothing, np.where(sac_below > 0, sac_below, beneath), sac * (1 - 0.6 * beyond)),
            relative,
            self.twist(relative, c),
        )

    def twist(self, relative: Float[np.ndarray, " m"], c: float) -> Float[np.ndarray, " m"]:
        """Rotation of each plane in radians."""
        at = np.clip(relative, 0, 1)
        return self._turn * c * (TWIST_APEX * (1 - at) + TWIST_BASE * at)

    def _rough(self, s: Float[np.ndarray, "m 1"], turned: float) -> Float[np.ndarray, "m a"]:
        """How far trabeculae reach into the cavity, 0 to about 2: more to the apex, none at the base or the septum's base."""
        rng = np.random.default_rng([self.heart.seed, 7])
        at = THETA[None] - turned * (TWIST_APEX * (1 - s) + TWIST_BASE * s)
        waves = np.zeros((len(s), ANGLES))
        for cycles in (5, 7, 10, 13, 15):
            phase, drift, weight = rng.uniform(0, 2 * math.pi), rng.normal(0, 6), rng.uniform(0.2, 1)
            waves += weight * np.cos(cycles * at + phase + drift * s)
        where = _bell(s - 0.40, 0.40) * (0.62 - 0.38 * np.cos(at))
        return np.clip(waves - 0.3, 0, None) * where

    def _fat(self, s: Float[np.ndarray, "m 1"]) -> Float[np.ndarray, "m a"]:
        """Thickness of pericardial fat, mm: in the grooves, over the right ventricle, at base and apex; little on the left."""
        heart, at = self.heart, THETA[None]
        lot = np.clip(2.6 + 0.16 * (heart.bmi - 25) + 0.025 * (heart.age - 50) + 0.9 * heart.scores["fat"], 0.9, 7.5)
        front, under = _bell(at - 1.05, 0.55), _bell(at + 1.15, 0.45)
        wave = 1 + 0.3 * np.cos(3 * at + 6 * s + self._bump[1, 4]) + 0.2 * np.cos(7 * at - 4 * s + self._bump[1, 5])
        groove, apex = _bell(np.minimum(s, 1.0) - 1.0, 0.16), _bell(s, 0.15)
        return 0.4 + lot * wave * (0.12 + 0.8 * front + 0.75 * under + 0.45 * groove + 0.5 * apex)


def _bell(away: Float[np.ndarray, "..."], width: float) -> Float[np.ndarray, "..."]:
    """A Gaussian hill of height 1; never so small that processors take a hundred times as long for it."""
    return np.exp(-np.minimum((away / width) ** 2, 60))


def _smooth(radii: Float[np.ndarray, "m a"], width: int) -> Float[np.ndarray, "m a"]:
    """Radii averaged round the circle over a Gaussian of this many degrees."""
    cycles = np.fft.rfftfreq(ANGLES, 1 / ANGLES)
    keep = np.exp(-((cycles * math.radians(width)) ** 2) / 2)
    return np.fft.irfft(np.fft.rfft(radii, axis=1) * keep, ANGLES, axis=1)
