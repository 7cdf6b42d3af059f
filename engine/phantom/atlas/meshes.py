"""Triangle meshes of the anatomy folder, and which points of a grid lie inside them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int

from engine.phantom.given.conditioning import PhantomError

#: a ray that grazes an edge would be counted twice: rays are shifted by this part of a voxel
SHIFT = (0.37e-4, 0.53e-4)


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A triangle mesh: ``vertices`` in mm, ``faces`` as indices of them."""

    vertices: Float[np.ndarray, "v 3"]
    faces: Int[np.ndarray, "f 3"]

    def moved(self, scale: np.ndarray | float, shift: np.ndarray) -> Mesh:
        """Scaled about the origin, then shifted, mm."""
        return Mesh(vertices=self.vertices * scale + shift, faces=self.faces)

    @property
    def bounds(self) -> tuple[np.ndarray, np.ndarray]:
        """Least and greatest coordinates, mm."""
        return self.vertices.min(0), self.vertices.max(0)


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Points ``origin + index * spacing``, mm; ``shape`` of them along x, y, z."""

    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]

    def axes(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Coordinates along x, y, z, mm, ready to broadcast."""
        x, y, z = (o + s * np.arange(n) for o, s, n in zip(self.origin, self.spacing, self.shape, strict=True))
        return x[:, None, None], y[None, :, None], z[None, None, :]


def bodyparts(folder: Path) -> dict[str, Mesh]:
    """The parts of BodyParts3D by name; mm, x to the left, y to posterior, z up."""
    archive = _archive(folder / "bodyparts" / "bodyparts_trunk.npz")
    names = [str(name) for name in archive["ids"]]
    return {name: _part(archive, i) for i, name in enumerate(names)}


def reference_organs(folder: Path, sex: str) -> dict[str, Mesh]:
    """The nodes of a HuBMAP reference body ("female" or "male") by name; axes as of :func:`bodyparts`."""
    archive = _archive(folder / "hubmap_vh" / f"vh_{sex}.npz")
    names = [str(name) for name in archive["node"]]
    return {name: _part(archive, i) for i, name in enumerate(names)}


def bowel(folder: Path, which: str) -> Mesh:
    """The closed surface of a real bowel ("small" or "large") from CT, in the units and axes of its own file."""
    path = folder / "gca_bowel" / f"{which}_intestine_100k.vtk"
    try:
        import pyvista

        surface = pyvista.read(path)
        faces = np.asarray(surface.faces).reshape(-1, 4)[:, 1:]  # type: ignore[union-attr]
        return Mesh(vertices=np.asarray(surface.points, float), faces=faces)  # type: ignore[union-attr]
    except (OSError, ValueError, AttributeError) as error:
        raise PhantomError(f"{path} is no surface mesh ({error}): fetch the anatomy folder again") from error


def _archive(path: Path) -> Mapping[str, np.ndarray]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise PhantomError(f"{path} cannot be read ({error}): give the folder that holds the anatomy") from error


def _part(archive: Mapping[str, np.ndarray], i: int) -> Mesh:
    start, faces = int(archive["v_off"][i]), int(archive["f_off"][i])
    vertices = archive["vertices"][start : start + int(archive["v_n"][i])].astype(float)
    return Mesh(vertices=vertices, faces=archive["faces"][faces : faces + int(archive["f_n"][i])].astype(np.int64))


def inside(mesh: Mesh, lattice: Lattice, axes: tuple[int, ...] = (0, 1, 2)) -> Bool[np.ndarray, "x y z"]:
    """Which points lie inside: the non-zero winding rule along each of ``axes``, then the majority.

    Rays that leave an open mesh once more than they enter it do not count.
    """
    low, high = mesh.bounds
    origin, spacing = np.array(lattice.origin), np.array(lattice.spacing)
    first = np.clip(np.floor((low - origin) / spacing).astype(int) - 1, 0, None)
    last = np.minimum(np.ceil((high - origin) / spacing).astype(int) + 2, lattice.shape)
    found = np.zeros(lattice.shape, bool)
    if (last <= first).any():
        return found
    points = (mesh.vertices - origin) / spacing - first
    size = tuple(int(n) for n in last - first)
    votes = np.zeros(size, np.int8)
    for axis in axes:
        votes += _filled(points[mesh.faces], size, axis)
    box = tuple(slice(int(a), int(b)) for a, b in zip(first, last, strict=True))
    found[box] = 2 * votes > len(axes)
    return found


def _filled(triangles: np.ndarray, size: tuple[int, ...], axis: int) -> Bool[np.ndarray, "x y z"]:
    """Winding numbers along one axis, of triangles (f, 3, 3) in voxels."""
    a, b = (other for other in range(3) if other != axis)
    pa, pb, pc = triangles[:, :, a] + SHIFT[0], triangles[:, :, b] + SHIFT[1], triangles[:, :, axis]
    low_a, high_a = _range(pa, size[a])
    low_b, high_b = _range(pb, size[b])
    wide, tall = np.maximum(high_a - low_a + 1, 0), np.maximum(high_b - low_b + 1, 0)
    count = wide * tall
    which = np.repeat(np.arange(len(count)), count)
    local = np.arange(len(which)) - np.repeat(np.cumsum(count) - count, count)
    ia = low_a[which] + local // np.maximum(tall[which], 1)
    ib = low_b[which] + local % np.maximum(tall[which], 1)
    (x0, x1, x2), (y0, y1, y2), (z0, z1, z2) = pa[which].T, pb[which].T, pc[which].T
    area = (x1 - x0) * (y2 - y0) - (x2 - x0) * (y1 - y0)
    safe = np.where(np.abs(area) > 1e-12, area, 1.0)
    w1 = ((ia - x0) * (y2 - y0) - (x2 - x0) * (ib - y0)) / safe
    w2 = ((x1 - x0) * (ib - y0) - (ia - x0) * (y1 - y0)) / safe
    hit = (np.abs(area) > 1e-12) & (w1 >= 0) & (w2 >= 0) & (w1 + w2 <= 1)
    height = (z0 + w1 * (z1 - z0) + w2 * (z2 - z0))[hit]
    at = np.clip(np.ceil(height), 0, size[axis]).astype(int)
    steps = np.zeros((size[a], size[b], size[axis] + 1), np.int16)
    np.add.at(steps, (ia[hit], ib[hit], at), np.sign(area[hit]).astype(np.int16))
    winding = np.cumsum(steps, 2)[:, :, :-1]
    winding[steps.sum(2) != 0] = 0
    return np.moveaxis(winding != 0, 2, axis)


def _range(points: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    low = np.maximum(np.ceil(points.min(1)).astype(int), 0)
    high = np.minimum(np.floor(points.max(1)).astype(int), size - 1)
    return low, high
