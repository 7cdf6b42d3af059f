"""Bodies of the MakeHuman phenotype basis (CC0) and their sections, from which the shape of the skin is learned.

A section is a radius over the diamond angle t = q / (p + \\|q\\|), p = \\|x\\| / half breadth, q = y / depth, from -1 (back)
over 0 (side) to 1 (front); an ellipse has radius 1 everywhere. Depths in front and behind are measured from the centre
that :meth:`engine.phantom.shape.outline.Outline.trunk` takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components

#: nodes of the diamond angle over half a turn, rows of the trunk and of the thigh
ANGLES, TRUNK_ROWS, THIGH_ROWS = 33, 49, 12
#: heights (fractions of the stature) of the landmarks in the common frame: crotch, navel, shoulder, narrow of the neck
LEVELS = (0.483, 0.600, 0.803, 0.870)
#: where the suprasternal notch lies, and crotch, navel and shoulder of a standing body between crotch and notch
NOTCH, STANDING = 0.819, (0.483, 0.600, 0.820)
#: above this level the arms' holes are bridged and corners rounded off at this radius; necks are half an ellipse
SHOULDER, ROUNDED, NECK = 0.765, 0.99, 0.828
#: between these levels the front is that of a man of the basis' mean weight at most: breasts are painted apart
BREASTS, FLAT_WEIGHT = ((0.645, 0.0), (0.675, 1.0), (0.765, 1.0), (0.79, 0.0)), 0.5
#: first row above the crotch, and the thigh's rows as shares of the way from crotch to knee
LOWEST, THIGH = 0.490, (0.04, 0.85)
#: below this level the front has no cleft: it is as at this level
GROIN = 0.515
#: a lying back is flat: it ends at this share of its depth before it is drawn out again, rounded over so much
FLAT, ROUND = 0.93, 0.13
#: between these levels a lying belly spreads: its front is a superellipse of this exponent at the least, at these BMIs
SPREAD = ((28, 2.3), (42, 2.6))
BELLY = ((0.525, 0.0), (0.55, 1.0), (0.65, 1.0), (0.68, 0.0))
#: the depth behind the body's axis over the whole depth at BMI 24, by height
BACK_SHARE = ((0.483, 0.53), (0.55, 0.484), (0.60, 0.43), (0.65, 0.43), (0.70, 0.455), (0.75, 0.475), (0.80, 0.55),
              (0.83, 0.52), (0.87, 0.52))  # fmt: skip
#: heaviest weight of the basis at which women look human; above, they are inflated along smoothed normals
HEAVIEST_WOMAN, SMOOTHINGS = 1.05, 25
#: share of the inflation by height, and that of the arms
INFLATION = ((0, 0.1), (0.1, 0.35), (0.25, 0.8), (0.4, 1.2), (0.5, 1.3), (0.6, 1.1), (0.7, 0.8), (0.8, 0.6),
             (0.86, 0.25), (1, 0))  # fmt: skip
#: how often the trunk's rows are smoothed (1, 2, 1)
ROW_SMOOTHINGS = 2
#: factors of the phenotype in the order of the basis, and their number of anchors
FACTORS = {"race": 3, "gender": 2, "age": 5, "muscle": 3, "weight": 3, "height": 2, "proportions": 2, "cup": 3, "firm": 3}


def diamond_directions() -> Float[np.ndarray, "2 angles"]:
    """Unit vectors (p, q) of the nodes of the diamond angle."""
    t = np.linspace(-1, 1, ANGLES)
    vectors = np.stack([1 - np.abs(t), t])
    return vectors / np.linalg.norm(vectors, axis=0)


def back_share(level: Float[np.ndarray, " rows"], bmi: float) -> Float[np.ndarray, " rows"]:
    """Depth behind the axis over the whole depth, as the phantom's rows have it."""
    return np.interp(level, *zip(*BACK_SHARE, strict=True)) * (24 / bmi) ** 0.6


@dataclass(frozen=True, kw_only=True)
class Phenotype:
    """Male 0 or 1, age in years, the basis' own muscle, weight, height, proportions; ``inflation`` in m."""

    male: float
    age: float
    muscle: float
    weight: float
    height: float
    proportions: float
    inflation: float = 0.0


@dataclass(frozen=True, eq=False)
class Shape:
    """A body's skin, mm, front +y: vertices (v, 3), and the heights of its landmarks."""

    vertices: Float[np.ndarray, "v 3"]
    bmi: float
    crotch: float
    notch: float
    knee: float
    neck: float

    def height_of(self, level: Float[np.ndarray, " rows"]) -> Float[np.ndarray, " rows"]:
        """Heights, mm, of levels in the common frame."""
        per = (self.notch - self.crotch) / (NOTCH - STANDING[0])
        inner = [self.crotch + per * (level - STANDING[0]) for level in STANDING]
        return np.interp(level, LEVELS, [*inner, self.neck])


class SkinBodies:
    """The basis, read once; ``body`` makes one body."""

    def __init__(self, folder: Path) -> None:
        with np.load(folder / "anny_basis.npz", allow_pickle=False) as file:
            self.arrays: Mapping[str, np.ndarray] = {name: file[name] for name in file.files}
        self.template = self.arrays["template"].astype(float)
        self.shapes = self.arrays["blendshapes"].astype(np.float32).reshape(len(self.arrays["blendshapes"]), -1)
        faces = self.arrays["faces"].astype(int)
        n = len(self.template)
        edges = np.concatenate([faces[:, [0, 1]], faces[:, [1, 2]], faces[:, [2, 0]]])
        links = coo_matrix((np.ones(len(edges)), (edges[:, 0], edges[:, 1])), (n, n))
        _, part = connected_components(links)
        self.main: Bool[np.ndarray, " v"] = part == np.bincount(part).argmax()
        self.faces = faces[self.main[faces[:, 0]]]
        self.arm = self._weight_of("upperarm01.L", "upperarm01.R")
        self.trunk_faces: Integer[np.ndarray, "f 3"] = self.faces[(self.arm[self.faces] < 0.5).all(1)]
        around = ((links + links.T) > 0).astype(float)
        self.smoother = csr_matrix(diags(1 / np.maximum(np.asarray(around.sum(1))[:, 0], 1)) @ around)
        names = list(self.arrays["bone_labels"])
        self.notch, self.knee = names.index("clavicle.L"), names.index("lowerleg01.L")
        hip, spine = (self.arrays["bone_heads"][names.index(name)][2] for name in ("upperleg02.L", "spine04"))
        midline = self.main & (np.abs(self.template[:, 0]) < 1e-4)
        between = midline & (self.template[:, 2] > hip - 0.15) & (self.template[:, 2] < spine)
        self.crotch = int(np.where(between, self.template[:, 2], np.inf).argmin())

    def _weight_of(self, *roots: str) -> Float[np.ndarray, " v"]:
        """Summed bone weights of the named bones and all below them."""
        names, parents = list(self.arrays["bone_labels"]), self.arrays["bone_parents"]
        chosen = np.array([name in roots for name in names])
        for bone in range(len(names)):
            chosen[bone] |= parents[bone] >= 0 and chosen[parents[bone]]
        return (self.arrays["bone_w"].astype(float) * chosen[self.arrays["bone_i"].astype(int)]).sum(1)

    def _coefficients(self, who: Phenotype) -> Float[np.ndarray, " k"]:
        years = 2 / 3 + (who.age - 25) / 65 / 3
        given = {"gender": 1 - who.male, "age": years, "muscle": who.muscle, "weight": who.weight}
        given |= {"height": who.height, "proportions": who.proportions}
        columns = [1 / 3] * 3
        for name, n in list(FACTORS.items())[1:]:
            anchors = self.arrays.get(f"anchors_{name}", np.linspace(0, 1, n))
            columns += _linear(given.get(name, 0.5), anchors)
        mask = self.arrays["mask"]
        return np.where(mask > 0, np.array(columns), 1.0).prod(1) @ self.arrays["projection"]

    def body(self, who: Phenotype) -> Shape:
        """The body of a phenotype, standing."""
        blend = self._coefficients(who)
        vertices = self.template + (blend.astype(np.float32) @ self.shapes).reshape(-1, 3)
        joints = self.arrays["bone_heads"] + np.tensordot(blend, self.arrays["bone_heads_bs"], 1)
        if who.inflation:
            vertices = self._inflated(vertices, who.inflation)
        low, high = (f(vertices[self.main, 2]) for f in (np.min, np.max))
        a, b, c = (vertices[self.faces[:, i]] for i in range(3))
        litres = abs(np.einsum("ij,ij->", a, np.cross(b, c))) / 6 * 1000
        millimetres = (vertices - [0, 0, low]) * [1000, -1000, 1000]
        crotch, notch, knee = vertices[self.crotch, 2], joints[self.notch, 2], joints[self.knee, 2]
        narrow = self._narrow(millimetres, (notch - low) * 1000, (high - low) * 1000)
        shape = ((height - low) * 1000 for height in (crotch, notch, knee))
        return Shape(millimetres, litres / (high - low) ** 2, *shape, narrow)

    def _narrow(self, vertices: Float[np.ndarray, "v 3"], notch: float, height: float) -> float:
        """Height of the narrow of the neck."""
        levels = np.linspace(notch + 0.025 * height, notch + 0.050 * height, 8)
        widths = [np.abs(part[:, :, 0]).max() for part in (segments(vertices, self.trunk_faces, z) for z in levels)]
        return float(levels[int(np.argmin(widths))])

    def _inflated(self, vertices: Float[np.ndarray, "v 3"], metres: float) -> Float[np.ndarray, "v 3"]:
        corners = [vertices[self.faces[:, i]] for i in range(3)]
        across = np.cross(corners[1] - corners[0], corners[2] - corners[0])
        normals = np.zeros_like(vertices)
        for i in range(3):
            np.add.at(normals, self.faces[:, i], across)
        for _ in range(SMOOTHINGS):
            normals = self.smoother @ (normals / np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None])
        normals /= np.maximum(np.linalg.norm(normals, axis=1), 1e-12)[:, None]
        z = vertices[:, 2] - vertices[self.main, 2].min()
        share = np.interp(z / z[self.main].max(), *zip(*INFLATION, strict=True)) * (1 - 0.55 * self.arm)
        return vertices + metres * share[:, None] * normals


def _linear(value: float, anchors: np.ndarray) -> list[float]:
    """Weights of the anchors, straight beyond their ends."""
    i = int(np.clip(np.searchsorted(anchors, value), 1, len(anchors) - 1))
    weights = [0.0] * len(anchors)
    weights[i] = (value - anchors[i - 1]) / (anchors[i] - anchors[i - 1])
    weights[i - 1] = 1 - weights[i]
    return weights


def segments(
    vertices: Float[np.ndarray, "v 3"], faces: Integer[np.ndarray, "f 3"], height: float
) -> Float[np.ndarray, "s 2 2"]:
    """Where a mesh meets an axial plane: the ends (x, y) of its segments, mm."""
    above = vertices[:, 2] > height
    count = above[faces].sum(1)
    cut = faces[(count == 1) | (count == 2)]
    lone = above[cut] == (above[cut].sum(1) == 1)[:, None]
    first = lone.argmax(1)
    rows = np.arange(len(cut))
    a = vertices[cut[rows, first]]
    ends = [vertices[cut[rows, (first + step) % 3]] for step in (1, 2)]
    shares = [((height - a[:, 2]) / (b[:, 2] - a[:, 2]))[:, None] for b in ends]
    return np.stack([(a + s * (b - a))[:, :2] for s, b in zip(shares, ends, strict=True)], 1)


def radii(parts: Float[np.ndarray, "s 2 2"]) -> Float[np.ndarray, " angles"]:
    """Radius of the section along each direction of the half plane p >= 0; gaps are bridged by straight chords.

    ``parts`` are segments in normalised coordinates about the centre.
    """
    directions = diamond_directions()
    directions[0] = np.maximum(directions[0], 1e-3)
    a, b = parts[:, 0, :, None], parts[:, 1, :, None]
    side_a, side_b = (v[:, 0] * directions[1] - v[:, 1] * directions[0] for v in (a, b))
    meets = (side_a > 0) != (side_b > 0)
    share = side_a / np.where(meets, side_a - side_b, 1)
    ahead = ((a + share[:, None] * (b - a)) * directions).sum(1)
    best = np.where(meets & (ahead > 0), ahead, 0).max(0, initial=0)
    found = np.nonzero(best > 0)[0]
    for left, right in zip(found[:-1], found[1:], strict=True):
        if right > left + 1:
            ends = directions[:, [left, right]]
            line = np.linalg.solve(ends.T, 1 / best[[left, right]])
            best[left + 1 : right] = 1 / (line @ directions[:, left + 1 : right])
    best[: found[0]], best[found[-1] + 1 :] = best[found[0]], best[found[-1]]
    return best


def trunk_sections(bodies: SkinBodies, who: Phenotype) -> tuple[float, Float[np.ndarray, "angles rows"]]:
    """BMI, and the trunk's sections from crotch to neck: arms cut off at the shoulder joint, the chest without breasts."""
    shape = bodies.body(who)
    levels = np.linspace(LOWEST, LEVELS[-1], TRUNK_ROWS)
    own = _trunk(bodies, shape, levels)
    flat = bodies.body(replace(who, male=1.0, weight=min(who.weight, FLAT_WEIGHT), inflation=0.0))
    chest = np.interp(levels, *zip(*BREASTS, strict=True))
    front = np.interp(np.linspace(-1, 1, ANGLES), [-0.1, 0.4], [0, 1])
    return shape.bmi, own + front[:, None] * chest * (_trunk(bodies, flat, levels) - own)


def _trunk(bodies: SkinBodies, shape: Shape, levels: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "angles rows"]:
    behind = 0.32 + 0.36 * back_share(levels, shape.bmi)
    found = []
    for height, share in zip(shape.height_of(levels), behind, strict=True):
        parts = segments(shape.vertices, bodies.trunk_faces, float(height))
        half, low, high = np.abs(parts[..., 0]).max(), parts[..., 1].min(), parts[..., 1].max()
        found.append(radii(_normalised(parts, 0.0, low + share * (high - low), half, low, high)))
    return _lying(np.stack(found, 1), levels, shape.bmi)


def _lying(
    sections: Float[np.ndarray, "angles rows"], levels: Float[np.ndarray, " rows"], bmi: float
) -> Float[np.ndarray, "angles rows"]:
    """Sections of a standing body, as they are when it lies; shoulders rounded off, rows smoothed."""
    t = np.linspace(-1, 1, ANGLES)
    groin = int(np.searchsorted(levels, GROIN))
    front = np.interp(t, [0.2, 0.6], [0, 1])[:, None]
    sections[:, :groin] += front * (sections[:, [groin]] - sections[:, :groin])
    belly = np.interp(levels, *zip(*BELLY, strict=True)) * np.interp(t, [0, 0.2], [0, 1])[:, None]
    spread = np.interp(bmi, *zip(*SPREAD, strict=True))
    least = ((np.abs(diamond_directions()) ** spread).sum(0) ** (-1 / spread))[:, None]
    sections += belly * (_soft_maximum(sections, least, 0.06) - sections)
    q = np.maximum(-diamond_directions()[1], 1e-3)[:, None]
    sections = -_soft_maximum(-sections * q, -FLAT, ROUND) / q
    shoulder = np.interp(levels, [SHOULDER, SHOULDER + 0.03], [0, 1])
    sections -= shoulder * np.maximum(sections - ROUNDED, 0)
    sections += (1 - sections) * 0.5 * np.interp(levels, [NECK, NECK + 0.015], [0, 1])
    for _ in range(ROW_SMOOTHINGS):
        padded = np.pad(sections, ((0, 0), (1, 1)), mode="edge")
        sections = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return sections


def _soft_maximum(a: np.ndarray, b: np.ndarray | float, k: float) -> np.ndarray:
    """The larger one, rounded over ``k``."""
    h = np.clip((a - b) / (2 * k) + 0.5, 0, 1)
    return b + h * (a - b) + h * (1 - h) * k


def thigh_sections(bodies: SkinBodies, who: Phenotype) -> Float[np.ndarray, "2 angles rows"]:
    """The right thigh's sections about their own centres: the inner half, the outer half."""
    shape = bodies.body(who)
    found = []
    for share in np.linspace(*THIGH, THIGH_ROWS):
        parts = segments(shape.vertices, bodies.trunk_faces, shape.crotch + share * (shape.knee - shape.crotch))
        parts = parts[(parts[..., 0] >= 0).all(1)]
        (left, low), (right, high) = parts.min((0, 1)), parts.max((0, 1))
        outer = _normalised(parts, (left + right) / 2, (low + high) / 2, (right - left) / 2, low, high)
        inner = outer * [-1, 1]
        found.append(np.stack([radii(inner), radii(outer)]))
    return np.stack(found, 2)


def _normalised(
    parts: Float[np.ndarray, "s 2 2"], x: float, y: float, half: float, low: float, high: float
) -> Float[np.ndarray, "s 2 2"]:
    moved = parts - [x, y]
    deep = np.where(moved[..., 1] > 0, high - y, y - low)
    return moved / np.stack([np.full_like(deep, half), deep], -1)
