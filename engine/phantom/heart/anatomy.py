"""The beating heart in its surroundings, phase by phase: signal of water and fat, and exact labels."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from jaxtyping import Float

from engine.phantom.heart.canvas import Canvas, Cover, inside
from engine.phantom.heart.fields import smooth_field
from engine.phantom.heart.people import Heart
from engine.phantom.heart.raster import PLANES, CineRaster, Points, points
from engine.phantom.heart.surroundings import Surroundings, ellipsoid, surround
from engine.phantom.heart.ventricles import ANGLES, THETA, Boundaries, Ventricles

#: papillary muscles: angle (radians), half the height they take, radius by that of the cavity
PAPILLARY = ((2.05, 0.19, 0.165), (-1.85, 0.18, 0.18))
PAPILLARY_MIDDLE = 0.42
#: how far the plane of the mitral valve leans: it lies higher on the side of the lung
LEAN = 0.15


class Anatomy:
    """A heart laid in a raster: where its axis runs, what surrounds it, and every phase of its beat.

    ``shifts`` (z, 3) are how far (mm) each slice was taken from where it should lie.
    """

    def __init__(
        self, heart: Heart, ventricles: Ventricles, raster: CineRaster, shifts: Float[np.ndarray, "z 3"]
    ) -> None:
        self.heart, self.ventricles, self._grid = heart, ventricles, raster.grid
        self.edge, self.deep = raster.spacing[0] * 1.05, raster.thickness / PLANES
        scores = heart.scores
        self.septum = 0.17 + 0.15 * scores["septum"]
        at = points(raster, shifts)
        # the axis leans a little, and the heart does not lie quite in the middle
        aside, above = -11.0 + 2.5 * scores["aside"], 5.0 + 2.5 * scores["above"]
        lean_x, lean_y = 0.05 * scores["lean_x"], 0.05 * scores["lean_y"] - 0.03
        x = at.x - (aside + lean_x * at.z).astype(np.float32)
        y = at.y - (above + lean_y * at.z).astype(np.float32)
        whole = Points(x, y, at.z)
        self._heights = at.z[..., 0, 0]
        self.still = self._surroundings(whole)

        # only voxels that the heart may reach are painted anew in every phase
        radius, index = self._polar(whole)
        sac = self._planes(0).sac
        self._pads(radius - _taken(sac, index))
        high = self._heights.ravel() > ventricles.base(1.0)[1] - 8
        reach = np.where(high[:, None], np.maximum(sac + 3, 92), sac + 3)
        self.near = np.asarray((radius < _taken(reach, index)).any(0))
        self.points = whole.at(self.near)
        self._radius, self._index = radius[:, self.near], index[:, self.near]
        self._plane = self._index // ANGLES
        self._ends = np.concatenate([[0], np.cumsum(self.near.sum((1, 2)))])

    def _span(self, low: float, high: float) -> slice:
        """The voxels to be painted of the slices that have a plane between two heights (mm)."""
        slices = np.flatnonzero(((self._heights > low) & (self._heights < high)).any(0))
        return slice(0, 0) if not len(slices) else slice(int(self._ends[slices[0]]), int(self._ends[slices[-1] + 1]))

    def _pads(self, out: np.ndarray) -> None:
        """Pads of fat where the heart, whose pericardium at end-diastole is ``out`` mm away, is near the chest or diaphragm."""
        lot = float(np.clip(1 + 0.06 * (self.heart.bmi - 25) + 0.3 * self.heart.scores["fat"], 0.4, 2))
        still = self.still
        falling = self._heights[..., None, None] - np.float32(self.ventricles.base(1.0)[1] - 14)
        lot = np.float32(lot) * np.clip(1 - falling / np.float32(14), 0, 1)
        for gap, most in ((-still.chest, np.float32(12) * lot), (still.dome, np.float32(6) * lot)):
            filled = np.float32(1.4) * np.clip(most - np.clip(out, 0, None) - np.clip(gap, 0, None), 0, None)
            there = np.maximum(np.where(filled > 0, out - filled, np.float32(9)), -gap)
            still.canvas.paint("pericardial_fat", inside(there, self.edge) * inside(-still.dome, self.edge))

    def _polar(self, at: Points) -> tuple[np.ndarray, np.ndarray]:
        """Distance from the axis (mm), and the place of every point in a table (m, a) of radii."""
        angle = np.arctan2(at.y, at.x) - np.float32(self.septum)
        index = np.rint(angle * np.float32(ANGLES / (2 * math.pi))).astype(np.int32) % ANGLES
        plane = np.arange(self._heights.size, dtype=np.int32).reshape(self._heights.shape)
        return np.hypot(at.x, at.y), index + (plane * ANGLES)[..., None, None]

    def _planes(self, phase: int) -> Boundaries:
        return self.ventricles.at(phase, self._heights.ravel())

    def _surroundings(self, whole: Points) -> Surroundings:
        z = np.linspace(self.ventricles.apex - 4, self.ventricles.base(0.0)[0], 24)
        sac = self.ventricles.at(0, z).sac[:, ::8]
        angle = THETA[::8] + self.septum
        surface = np.stack([sac * np.cos(angle), sac * np.sin(angle), np.broadcast_to(z[:, None], sac.shape)], -1)
        return surround(self.heart, whole, surface[sac > 0], self.edge)

    def phases(self, flow: Float[np.ndarray, "t z x y"]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Signal and labels (z, x, y) of every phase; blood's signal is multiplied by ``flow``."""
        still, dark = self.still.canvas, self._right_trabeculae()
        around = still.signal
        for phase in range(len(self.ventricles.contraction)):
            canvas = still.at(self.near)
            self._paint(canvas, phase, flow[phase][self.near], dark)
            signal, label = around.copy(), still.label.copy()
            signal[self.near], label[self.near] = canvas.signal, canvas.label
            yield signal, label

    def _within(self, radii: Float[np.ndarray, "m a"]) -> Cover:
        """Share of every voxel within these radii."""
        return inside(self._radius - _taken(radii, self._index), self.edge)

    def _below(self, height: float, lean_x: float, lean_y: float, about: float = 0.0) -> Cover:
        """Share of every voxel that lies below a plane that leans, by y about a line."""
        y = self.points.y - np.float32(about)
        plane = np.float32(height) + np.float32(lean_x) * self.points.x + np.float32(lean_y) * y
        return inside(self.points.z - plane, self.deep)

    def _paint(self, canvas: Canvas, phase: int, flow: np.ndarray, dark: Cover) -> None:
        c, bounds = float(self.ventricles.contraction[phase]), self._planes(phase)
        left, right = self.ventricles.base(c)
        scores = self.heart.scores
        turn = math.pi + 0.5 * scores["tilt_to"]
        lean = LEAN * (1 + 0.35 * scores["tilt"])
        below = self._below(left, lean * math.cos(turn), lean * math.sin(turn))
        below_right = self._below(right, 0.0, 0.09, 45 * math.sin(self.septum + 0.2))

        canvas.paint("pericardial_fat", self._within(bounds.sac))
        wall = self._within(bounds.right_wall) * below_right
        canvas.paint("rv_myocardium", wall)
        cavity = self._within(bounds.right) * below_right
        canvas.paint("rv_cavity", cavity, flow * dark)
        top = self._span(right - 12, 999)
        self._atria(canvas.part(top), self.points.part(top), flow[top], c, 1 - below[:, top], 1 - below_right[:, top])
        canvas.paint("lv_myocardium", self._within(bounds.outer) * below)
        canvas.paint("papillary_muscle", self._within(bounds.inner) * below)
        canvas.paint("lv_cavity", self._within(bounds.blood) * below, flow)
        self._papillary(canvas, bounds, below)
        top = self._span(left - 30, 999)
        self._vessels(canvas.part(top), self.points.part(top), flow[top], c, below_right[:, top])

    def _atria(self, canvas: Canvas, points: Points, flow: np.ndarray, c: float, above: Cover, behind: Cover) -> None:
        """The atria over the valves: they fill while the ventricles empty, and their floor goes down with the base."""
        size, grown = self._size(), 1 + 0.07 * c
        left, right = self.ventricles.base(c)
        wide = (self.heart.edv / 150) ** 0.15
        septum = self.septum
        x, y = -0.18 * size, -0.25 * size
        axes = (size * 1.1 * grown, size * 0.92 * grown, 27.0 * grown)
        atrium = _uneven(ellipsoid(points, (x, y, left + 15), axes), points, x, y, 1.0)
        right_at = 1.95 * size * wide**-1
        rx, ry = right_at * math.cos(septum - 0.42), right_at * math.sin(septum - 0.42)
        second = ellipsoid(points, (rx, ry, right + 14), (25.0 * grown, 28.0 * grown, 30.0 * grown))
        second = _uneven(second, points, rx, ry, 2.0)
        canvas.paint("vessel_wall", inside(second - np.float32(2.0), self.edge) * behind)
        canvas.paint("right_atrium", inside(second, self.edge) * behind, flow)
        canvas.paint("vessel_wall", inside(atrium - np.float32(2.0), self.edge) * above)
        canvas.paint("left_atrium", inside(atrium, self.edge) * above, flow)

    def _vessels(self, canvas: Canvas, points: Points, flow: np.ndarray, c: float, below_right: Cover) -> None:
        """The root of the aorta between the atria, and before it the outflow tract and the pulmonary artery."""
        size, z = self._size(), points.z
        left = self.ventricles.base(c)[0]
        over = np.clip(z - np.float32(left), -20, 60)
        wide = 13.0 + 0.04 * (self.heart.age - 50) + (1.2 if self.heart.sex == "M" else 0.0)
        angle = self.septum + 0.62
        for name, out, at, drift, radius, start in (
            ("pulmonary_artery", size + 17.0, self.septum + 1.05, (-0.35, 0.02), 14.0, -18.0),
            ("aorta", 0.62 * size, angle, (0.12, 0.10), wide, -3.0),
        ):
            x = np.float32(out * math.cos(at)) + np.float32(drift[0]) * over
            y = np.float32(out * math.sin(at)) + np.float32(drift[1]) * over
            far = np.hypot(points.x - x, points.y - y)
            beyond = inside(np.float32(start + left) - z, self.deep)
            share = beyond * (1 - below_right) if name == "pulmonary_artery" else beyond
            canvas.paint("vessel_wall", inside(far - np.float32(radius + 1.8), self.edge) * share)
            canvas.paint(name, inside(far - np.float32(radius), self.edge) * share, flow * np.float32(1 + 0.06 * c))

    def _size(self) -> float:
        """Mean radius (mm) of the left cavity at the base at end-diastole; no more than a large atrium's."""
        base = self.ventricles.base(0.0)[0]
        return float(np.clip(self.ventricles.at(0, np.array([base])).inner.mean(), 18, 30))

    def _right_trabeculae(self) -> Cover:
        """The right cavity's signal is darkened by trabeculae, the more the nearer to the apex."""
        rng = np.random.default_rng([self.heart.seed, 13])
        x, y, slices = self._grid
        pattern = smooth_field(rng, (slices, x // 4, y // 4), (slices, x, y))[self.near]
        relative = (self.points.z - np.float32(self.ventricles.apex)) / np.float32(self.ventricles.length)
        return 1 - np.float32(0.4) * np.clip(0.95 - relative, 0.05, 1) * np.clip(pattern - np.float32(0.4), 0, 1)

    def _papillary(self, canvas: Canvas, bounds: Boundaries, below: Cover) -> None:
        """Two papillary muscles that stand on the wall and turn with it; thicker when shorter."""
        grow = 1 + 0.08 * self.heart.scores["papillary"]
        height = PAPILLARY_MIDDLE * self.ventricles.length
        some = self._span(self.ventricles.apex + 0.35 * height, self.ventricles.apex + 1.6 * height)
        at, plane, canvas = self.points.part(some), self._plane[:, some], canvas.part(some)
        within = inside(self._radius[:, some] - _taken(bounds.inner, self._index[:, some]), self.edge) * below[:, some]
        for angle, half, size in PAPILLARY:
            away = np.clip(np.abs((bounds.relative - PAPILLARY_MIDDLE) / half), 0, 1)
            turned = angle + bounds.twist
            own = np.rint(turned * ANGLES / (2 * math.pi)).astype(int) % ANGLES
            wall = bounds.inner[np.arange(len(own)), own]
            radius = size * grow * self.ventricles.cavity_radius * (1 - away**2) ** 0.35
            middle = np.clip(wall - radius * 0.85, 0.4 * np.abs(wall), None)
            x, y = middle * np.cos(turned + self.septum), middle * np.sin(turned + self.septum)
            px, py, pr = (v.astype(np.float32)[plane] for v in (x, y, np.where(away < 1, radius, -9)))
            far = np.hypot(at.x - px, at.y - py) - pr
            canvas.paint("papillary_muscle", inside(far, self.edge) * within)


def _uneven(distance: np.ndarray, points: Points, x: float, y: float, turn: float) -> np.ndarray:
    """A signed distance (mm) with hills and hollows round a middle: no chamber is an ellipsoid."""
    around = np.arctan2(points.y - np.float32(y), points.x - np.float32(x))
    return distance + np.float32(1.6) * np.cos(2 * around + turn) + np.float32(1.3) * np.cos(3 * around - turn)


def _taken(radii: Float[np.ndarray, "m a"], index: np.ndarray) -> np.ndarray:
    """The radius of the table at every place."""
    return radii.astype(np.float32).ravel().take(index)
