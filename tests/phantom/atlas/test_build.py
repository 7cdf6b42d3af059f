"""Which points lie inside a mesh, distances and morphology, and the body built from the real parts where they are at hand."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from engine.phantom.atlas.build import ABDOMINAL, BODY, NAMES, _belongs, _hull, body, of
from engine.phantom.atlas.meshes import Lattice, Mesh, bodyparts, inside
from engine.phantom.atlas.morphology import closed, distance_to, largest, nearest, wrapped_largest, wrapped_smooth
from engine.phantom.given.conditioning import PhantomError

FOLDER = Path(__file__).parents[3] / "../shared/data/anatomy"
needs_geometry = pytest.mark.skipif(not FOLDER.is_dir(), reason="no geometry here")
LATTICE = Lattice(origin=(-12.0, -12.0, -12.0), spacing=(1.0, 1.0, 1.0), shape=(25, 25, 25))


def ball(radius: float, steps: int = 40) -> Mesh:
    """A triangulated sphere, outwards."""
    around, up = np.linspace(0, 2 * np.pi, steps, endpoint=False), np.linspace(0, np.pi, steps // 2 + 1)
    a, b = np.meshgrid(around, up, indexing="ij")
    points = radius * np.stack([np.sin(b) * np.cos(a), np.sin(b) * np.sin(a), np.cos(b)], -1).reshape(-1, 3)
    faces, rows = [], steps // 2 + 1
    for i in range(steps):
        for j in range(steps // 2):
            p, q = i * rows + j, (i + 1) % steps * rows + j
            faces += [(p, p + 1, q), (q, p + 1, q + 1)]
    return Mesh(vertices=points, faces=np.array(faces))


def test_points_inside_a_ball() -> None:
    found = inside(ball(9.0), LATTICE)
    assert found.sum() == pytest.approx(4 / 3 * math.pi * 9**3, rel=0.03)
    x, y, z = LATTICE.axes()
    assert np.array_equal(found & (x**2 + y**2 + z**2 > 81.5), np.zeros_like(found))
    turned = Mesh(vertices=ball(9.0).vertices, faces=ball(9.0).faces[:, ::-1])
    assert np.array_equal(inside(turned, LATTICE), found), "which way the faces look does not matter"


def test_a_hole_in_one_side_is_outvoted_and_a_mesh_elsewhere_is_empty() -> None:
    whole = ball(9.0)
    open_above = Mesh(vertices=whole.vertices, faces=whole.faces[whole.vertices[whole.faces][..., 2].max(1) < 8.9])
    assert (inside(open_above, LATTICE) == inside(whole, LATTICE)).mean() > 0.99
    assert not inside(whole.moved(1.0, np.array([500.0, 0, 0])), LATTICE).any()


def test_distances_and_the_largest_piece() -> None:
    mask = np.zeros((9, 9, 9), bool)
    mask[1, 1, 1] = mask[7, 7, 5:8] = True
    assert distance_to(mask, (2.0, 2.0, 3.0))[3, 1, 1] == 4.0
    distance, place = nearest(mask, 1.0)
    assert distance[2, 1, 1] == 1
    assert place[:, 2, 1, 1].tolist() == [1, 1, 1]
    assert largest(mask).sum() == 3
    gap = np.zeros((20, 9, 9), bool)
    gap[2:8, 3:6, 3:6] = gap[10:16, 3:6, 3:6] = True
    assert closed(gap, 2.5, (1.0, 1.0, 1.0))[8:10, 4, 4].all()


def test_tables_of_angles_go_round() -> None:
    table = np.zeros((12, 5))
    table[0, 2] = 1.0
    assert wrapped_largest(table, (3, 1))[11, 2] == 1.0
    assert wrapped_smooth(table, (1.0, 0.5)).sum() == pytest.approx(1.0)


def test_names_of_parts_are_not_taken_for_others() -> None:
    assert _belongs("T1", ("T1",))
    assert not _belongs("T10", ("T1",))
    assert _belongs("C4", ("C",))
    assert not _belongs("clavicle_R", ("C",))
    assert _belongs("rib12_L", ("rib",))


def test_a_hull_is_convex() -> None:
    corner = np.zeros((20, 20), bool)
    corner[2, 2:18] = corner[2:18, 2] = True
    assert _hull(corner)[6, 6]
    assert not _hull(corner)[17, 17]


def test_a_folder_without_geometry_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(PhantomError, match="give the folder that holds the anatomy"):
        bodyparts(tmp_path)


@needs_geometry
@pytest.mark.slow
def test_the_body_is_whole() -> None:
    """Every class is there, organs lie in the cavity, the cavity in the envelope; volumes are those of a lean man."""
    built = body(FOLDER)
    counts = np.bincount(built.labels.ravel(), minlength=len(NAMES))
    assert (counts > 0).all()
    organs = of(
        built.labels, *(name for name in ABDOMINAL if name not in ("prostate", "rectum", "iliac_vein", "iliac_artery"))
    )
    assert (organs & ~built.cavity).sum() / organs.sum() < 0.02
    assert (built.cavity & ~built.envelope).sum() / built.cavity.sum() < 0.01
    litres = counts * np.prod(BODY.spacing) / 1e6
    assert 1.3 < litres[NAMES.index("liver")] < 1.8
    assert 2.5 < sum(litres[i] for i, name in enumerate(NAMES) if name.startswith("lung")) < 3.5
