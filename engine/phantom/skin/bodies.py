"""Bodies of the MakeHuman phenotype basis (CC0), on which the shape of the skin is learned, and their axial cuts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Integer
from scipy.sparse import coo_matrix, csr_matrix, diags
from scipy.sparse.csgraph import connected_components

from engine.phantom.skin.basis import LEVELS

#: where the suprasternal notch lies, and crotch, navel and shoulder of a standing body between crotch and notch
NOTCH, STANDING = 0.819, (0.483, 0.600, 0.820)
#: heaviest weight of the basis at which women look human; above, they are inflated along smoothed normals
HEAVIEST_WOMAN, SMOOTHINGS = 1.05, 25
#: share of the inflation by height, and that of the arms
INFLATION = ((0, 0.1), (0.1, 0.35), (0.25, 0.8), (0.4, 1.2), (0.5, 1.3), (0.6, 1.1), (0.7, 0.8), (0.8, 0.6),
             (0.86, 0.25), (1, 0))  # fmt: skip
#: factors of the phenotype in the order of the basis, and their number of anchors
FACTORS = {
    "race": 3,
    "gender": 2,
    "age": 5,
    "muscle": 3,
    "weight": 3,
    "height": 2,
    "proportions": 2,
    "cup": 3,
    "firm": 3,
}


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
        crotch, notch, knee = ((height - low) * 1000 for height in (crotch, notch, knee))
        return Shape(millimetres, litres / (high - low) ** 2, crotch, notch, knee, narrow)

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
        share = between(z / z[self.main].max(), INFLATION) * (1 - 0.55 * self.arm)
        return vertices + metres * share[:, None] * normals


def between(at: Float[np.ndarray, "*s"] | float, knots: Sequence[tuple[float, float]]) -> Float[np.ndarray, "*s"]:
    """Straight lines through (place, value) knots."""
    places, values = np.array(knots).T
    return np.asarray(np.interp(at, places, values))


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
