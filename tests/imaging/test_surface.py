"""Surfaces: a ball's has the ball's volume, area and place and no hole; an STL file is the surface."""

from __future__ import annotations

import subprocess
import sys
from math import pi
from pathlib import Path

import numpy as np
import pytest
import pyvista

from engine.figures.surface import Part, surface_figure
from engine.imaging.surface import Surface, SurfaceError, softened, surface, to_stl

#: voxels of 2 x 3 x 2.5 mm, the first axis to the left
AFFINE = np.array([[-2.0, 0, 0, 60], [0, 3, 0, -40], [0, 0, 2.5, 10], [0, 0, 0, 1]])
GRID, MIDDLE, RADIUS = (60, 40, 48), np.array([5.0, 20.0, 70.0]), 28.0


def distance(middle: np.ndarray = MIDDLE) -> np.ndarray:
    """mm from ``middle`` at each voxel."""
    voxels = np.stack(np.meshgrid(*map(np.arange, GRID), indexing="ij"), -1)
    return np.linalg.norm(voxels @ AFFINE[:3, :3].T + AFFINE[:3, 3] - middle, axis=-1)


def likely(middle: np.ndarray = MIDDLE, radius: float = RADIUS) -> np.ndarray:
    """A ball as probabilities, as a ruler sees one: 3 mm from 0 to 1."""
    return np.clip((radius - distance(middle)) / 3 + 0.5, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def ball() -> Surface:
    return surface(likely(), AFFINE)


def test_a_ball_is_a_ball(ball: Surface):
    assert ball.closed
    assert ball.millilitres == pytest.approx(4 / 3 * pi * RADIUS**3 / 1000, rel=0.02)
    assert ball.square_cm == pytest.approx(4 * pi * RADIUS**2 / 100, rel=0.02)
    np.testing.assert_allclose(np.linalg.norm(ball.points - MIDDLE, axis=1), RADIUS, atol=0.6)


def test_a_mask_and_few_triangles_change_little():
    for found in (
        surface(softened(distance() < RADIUS), AFFINE),
        surface(softened(distance() < RADIUS), AFFINE, most=2000),
    ):
        assert found.closed
        assert found.millilitres == pytest.approx(4 / 3 * pi * RADIUS**3 / 1000, rel=0.03)
        np.testing.assert_allclose(found.points.mean(0), MIDDLE, atol=1.5)
    assert len(found.faces) <= 2020


def test_what_the_field_of_view_cuts_off_is_closed_there():
    """Half a ball at the lower end of the grid, whose outer face lies half a voxel below the lowest slice."""
    low = np.array([5.0, 20.0, 10.0 - 1.25])
    found = surface(likely(low), AFFINE)
    assert found.closed
    assert found.millilitres == pytest.approx(2 / 3 * pi * RADIUS**3 / 1000, rel=0.04)
    assert found.points[:, 2].min() == pytest.approx(8.75, abs=0.7)


def test_specks_are_left_out_and_twins_stay():
    twins = likely(np.array([40.0, 20, 70]), 14) + likely(np.array([-20.0, 20, 70]), 12)
    found = surface(twins + likely(np.array([5.0, -20, 40]), 4), AFFINE)
    assert found.millilitres == pytest.approx(4 / 3 * pi * (14**3 + 12**3) / 1000, rel=0.05)
    assert found.points[:, 1].min() > 0


def test_nothing_is_no_surface():
    with pytest.raises(SurfaceError, match="nothing of it"):
        surface(np.zeros((8, 8, 8), np.float32), AFFINE)


def test_an_stl_file_is_the_surface(ball: Surface, tmp_path: Path):
    data = to_stl(ball, "SYNTHETIC - not for diagnosis; seed 7; checkpoint 0123456789ab; RAS mm")
    assert data.startswith(b"SYNTHETIC - not for diagnosis; seed 7; checkpoint 0123456789ab")
    assert len(data) == 84 + 50 * len(ball.faces)
    assert data == to_stl(ball, data[:80].decode())
    (tmp_path / "ball.stl").write_bytes(data)
    read = pyvista.read(tmp_path / "ball.stl")
    assert (read.n_cells, read.n_open_edges, read.n_points) == (len(ball.faces), 0, len(ball.points))
    assert read.volume == pytest.approx(ball.millilitres * 1000, rel=1e-4)
    corners = read.points[read.faces.reshape(-1, 4)[:, 1:]]
    np.testing.assert_array_equal(corners, ball.corners)
    normals = np.frombuffer(data[84:], np.dtype([("normal", "<f4", 3), ("rest", "V38")]))["normal"]
    assert ((ball.corners.mean(1) - MIDDLE) * normals).sum(1).min() > 0, "normals point outwards"
    for head in ("solid ball", "x" * 81, "Köln"):
        with pytest.raises(SurfaceError, match="no head"):
            to_stl(ball, head)


def test_the_figure_holds_the_triangles_in_mm(ball: Surface):
    figure = surface_figure([Part("Skin", ball, "#cfa98c", 0.2)])
    (mesh,) = figure.data
    np.testing.assert_array_equal(np.stack([mesh.x, mesh.y, mesh.z], 1), ball.points)
    np.testing.assert_array_equal(np.stack([mesh.i, mesh.j, mesh.k], 1), ball.faces)
    assert figure.layout.scene.aspectmode == "data"
    assert "SYNTHETIC" in figure.layout.annotations[0].text


def test_no_window_is_ever_opened():
    """Geometry only: what draws is not even loaded, for it would end a server without OpenGL."""
    code = (
        "import sys, numpy as np; from engine.imaging.surface import surface; "
        "surface(np.pad(np.ones((9, 9, 9), np.float32), 3), np.eye(4), most=200); "
        "print([m for m in sys.modules if 'vtkRendering' in m or m == 'pyvista.plotting'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout.strip()) == (0, "[]"), done.stderr
