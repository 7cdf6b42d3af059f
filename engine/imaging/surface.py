"""Surfaces of what is in a scan: closed triangle meshes in RAS mm, and STL files of them. Geometry only, nothing is rendered.

Formalism: the surface is the level set of a scalar field on the voxels (flying edges, Schroeder et al. 2015), smoothed
without shrinking (Taubin 1995) and then thinned out with its topology kept (Schroeder et al. 1992). Beyond the grid the field
is as far below the level as it is above it inside, so a surface is closed where the field of view cuts the body off, half a
voxel beyond the last one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy.ndimage import gaussian_filter, label

from engine.vocabulary.refusal import Refusal

#: triangles of a surface, at most
MOST = 40_000
#: parts smaller than this share of the largest are left out: specks, no organs
SPECK = 0.05
#: rounds of smoothing, and the share of frequencies it lets through
ROUNDS, PASS_BAND = 20, 0.1
#: bytes of the head of a binary STL file
HEAD = 80
_FACET = np.dtype([("normal", "<f4", 3), ("corners", "<f4", (3, 3)), ("attribute", "<u2")])


class SurfaceError(Refusal):
    """Nothing to make a surface of; the message says so."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Surface:
    """Triangles: ``faces`` are indices into ``points`` (RAS mm), counter-clockwise as seen from outside."""

    points: Float[np.ndarray, "n 3"]
    faces: Int[np.ndarray, "m 3"]

    @property
    def corners(self) -> Float[np.ndarray, "m 3 3"]:
        """The three corners of each triangle, mm."""
        return self.points[self.faces]

    @property
    def millilitres(self) -> float:
        """The volume inside, by the divergence theorem."""
        a, b, c = np.moveaxis(self.corners.astype(np.float64), 1, 0)
        return float((a * np.cross(b, c)).sum() / 6000)

    @property
    def square_cm(self) -> float:
        """The area."""
        return float(np.linalg.norm(_doubled_normals(self.corners), axis=1).sum() / 200)

    @property
    def closed(self) -> bool:
        """Is every edge passed as often one way as the other, as on a surface without a border?"""
        edges = np.concatenate([self.faces[:, [0, 1]], self.faces[:, [1, 2]], self.faces[:, [2, 0]]]).astype(np.int64)
        there, back = (edges[:, [i, 1 - i]] @ [len(self.points), 1] for i in (0, 1))
        return np.array_equal(np.sort(there), np.sort(back))


def surface(
    field: Float[np.ndarray, "x y z"], affine: Float[np.ndarray, "4 4"], *, level: float = 0.5, most: int = MOST
) -> Surface:
    """The surface around the voxels where ``field`` is above ``level``, of ``most`` triangles at most (about).

    ``affine`` takes a voxel index to RAS mm. Raises :class:`SurfaceError` where no voxel, or hardly one, is above.
    """
    from pyvista import ImageData  # a second of import, and only where a surface is asked for

    field = without_specks(np.asarray(field, np.float32), level)
    # a voxel exactly on the level would give triangles without area
    field = np.where(np.abs(field - level) < 1e-4, np.float32(level + 1e-4), field)
    inside = np.pad(field, 1, constant_values=min(2 * level - float(field.max()), level - 1e-4))
    grid = ImageData(dimensions=inside.shape, origin=(-1, -1, -1))
    grid.point_data["field"] = inside.ravel(order="F")
    mesh: Any = grid.contour([level], scalars="field", method="flying_edges").triangulate()
    if mesh.n_cells < 4:
        raise SurfaceError("there is nothing of it in this scan")
    mesh.clear_data()
    mesh.points = mesh.points.astype(np.float64) @ affine[:3, :3].T + affine[:3, 3]
    mesh = mesh.smooth_taubin(n_iter=ROUNDS, pass_band=PASS_BAND, feature_smoothing=False, normalize_coordinates=True)
    if mesh.n_cells > most:
        mesh = mesh.decimate_pro(1 - most / mesh.n_cells, preserve_topology=True, splitting=False)
    found = Surface(points=np.asarray(mesh.points, np.float32), faces=mesh.faces.reshape(-1, 4)[:, 1:].astype(np.int32))
    return found if found.millilitres > 0 else Surface(points=found.points, faces=found.faces[:, ::-1].copy())


def without_specks(field: Float[np.ndarray, "x y z"], level: float = 0.5) -> Float[np.ndarray, "x y z"]:
    """The field, below the level in every part of it that has less than :data:`SPECK` of the largest part's voxels."""
    parts, number = cast(tuple[np.ndarray, int], label(field > level, np.ones((3, 3, 3))))
    if number < 2:
        return field
    sizes = np.bincount(parts.ravel())[1:]
    small = np.concatenate([[False], sizes < SPECK * sizes.max()])
    return np.where(small[parts], np.minimum(field, np.float32(level - 0.5)), field)


def softened(mask: Bool[np.ndarray, "x y z"], voxels: float = 0.8) -> Float[np.ndarray, "x y z"]:
    """A mask as a field whose level 0.5 is the mask's border without its steps: blurred by so many ``voxels`` (SD)."""
    return gaussian_filter(np.pad(mask, 1, mode="edge").astype(np.float32), voxels)[1:-1, 1:-1, 1:-1]


def to_stl(found: Surface, head: str) -> bytes:
    """The surface as a binary STL file in mm, ``head`` (ASCII, 80 characters at most) at its beginning.

    Raises :class:`SurfaceError` for a head that does not fit, or that would make readers take the file for text.
    """
    if len(head) > HEAD or not head.isascii() or head.lower().startswith("solid"):
        raise SurfaceError(f"{head!r} is no head of an STL file: give up to {HEAD} plain characters, not solid first")
    facets = np.zeros(len(found.faces), _FACET)
    facets["corners"] = found.corners
    normals = _doubled_normals(found.corners)
    facets["normal"] = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return head.encode().ljust(HEAD) + struct.pack("<I", len(facets)) + facets.tobytes()


def _doubled_normals(corners: Float[np.ndarray, "m 3 3"]) -> Float[np.ndarray, "m 3"]:
    """Outward vectors, each twice as long as its triangle's area."""
    a, b, c = np.moveaxis(corners.astype(np.float64), 1, 0)
    return np.cross(b - a, c - a)
