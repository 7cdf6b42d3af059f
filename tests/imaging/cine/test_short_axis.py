"""A short-axis stack in the heart's frame: from however it is stored the same voxels, upright, its left ventricle in its place."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from engine.imaging.cine.short_axis import (
    LEFT_VENTRICLE,
    check_short_axis,
    heart_axes,
    in_heart_frame,
    left_ventricle,
    on_grid,
    place,
)
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.cine.hearts import GRID, POSE, SPACING, heart_frame, patient
from tests.imaging.test_volume import ORIENTATIONS

SLICES = (np.arange(GRID[2]) - (GRID[2] - 1) / 2) * SPACING[2]


def turned(degrees: float, about: tuple[float, float, float]) -> Volume:
    """The patient turned about an axis of the body."""
    from scipy.spatial.transform import Rotation

    pose = np.eye(4)
    pose[:3, :3] = Rotation.from_rotvec(np.radians(degrees) * np.array(about)).as_matrix()
    cine = patient()
    return replace(cine, affine=pose @ cine.affine)


@pytest.fixture(scope="module")
def placed() -> Volume:
    heart = heart_frame()
    return on_grid(place(patient(), SLICES).cine, heart.grid, heart.affine)


def test_a_patients_heart_comes_to_lie_as_the_one_in_the_hearts_frame(placed: Volume):
    """Every slice in its place, the marker on its side, within a voxel."""
    heart = heart_frame()
    same = np.corrcoef(placed.data.ravel(), heart.data.ravel())[0, 1]
    assert same > 0.97
    for cine in (placed, heart):
        i, j, k = np.argwhere(cine.data[0] > 0.9).mean(0)
        assert k == 2
        x, y, _ = heart.affine[:3, :3] @ [i, j, k] + heart.affine[:3, 3]
        assert (x, y) == (pytest.approx(45, abs=3.3), pytest.approx(40, abs=3.3))


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_however_the_array_is_stored_the_voxels_are_the_same(axcodes: str, placed: Volume):
    heart = heart_frame()
    found = on_grid(place(patient().reoriented(axcodes), SLICES).cine, heart.grid, heart.affine)
    np.testing.assert_allclose(found.data, placed.data, atol=1e-4)


def test_the_axes_are_those_of_the_heart():
    np.testing.assert_allclose(heart_axes(patient()), POSE, atol=0.02)
    axes = heart_axes(patient())
    np.testing.assert_allclose(axes @ axes.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(axes) == pytest.approx(1)


def test_the_left_ventricle_is_found_wherever_it_lies_whatever_the_coil_does():
    heart = heart_frame()
    where, sure = left_ventricle(heart)
    np.testing.assert_allclose(where, LEFT_VENTRICLE, atol=4)
    assert sure > 0.4
    moved = replace(heart, data=np.roll(heart.data, (5, -4), (1, 2)))
    np.testing.assert_allclose(left_ventricle(moved)[0], where + np.array([16, -12.8]), atol=4)
    bright = 1 + 8 * np.exp(-np.arange(GRID[0]) / 8.0)[:, None, None]
    shaded = replace(heart, data=(heart.data * bright * 300).astype(np.float32))
    np.testing.assert_allclose(left_ventricle(shaded)[0], where, atol=4)


def test_what_does_not_beat_is_no_heart():
    cine = patient()
    noise = np.random.default_rng(2).random(cine.data.shape, np.float32)
    (doubt,) = place(replace(cine, data=noise), SLICES).doubts
    assert doubt.startswith("no left ventricle is to be found in it (certainty 0.")
    still = replace(cine, data=np.broadcast_to(cine.data[:1], cine.data.shape).copy())
    assert place(still, SLICES).doubts
    assert not place(cine, SLICES).doubts


def test_what_lies_in_the_hearts_frame_stays_where_it_is():
    heart = heart_frame()
    assert in_heart_frame(heart)
    assert not in_heart_frame(patient())
    found = place(heart, SLICES)
    assert (found.cine, found.notes, found.doubts) == (heart, [], [])


@pytest.mark.parametrize("degrees", [-25, 25])
@pytest.mark.parametrize("about", [(1, 0, 0), (0, 1, 0), (0, 0, 1)])
def test_hearts_lie_more_or_less_steeply(degrees: float, about: tuple[float, float, float]):
    check_short_axis(turned(degrees, about))


def test_long_axis_and_axial_stacks_are_refused():
    """Axial, coronal and sagittal slices, and long-axis ones: the stack's normal along the heart's x or y."""
    cine = patient()
    for columns in ((0, 1, 2), (0, 2, 1), (1, 2, 0)):
        affine = np.eye(4)
        affine[:3, :3] = np.eye(3)[:, columns] * SPACING
        affine[:3, 3] = 40, -80, 60
        with pytest.raises(
            VolumeError, match=r"x is no short-axis stack: .* (4[6-9]|5\d|6\d) degrees off .* 40 are the most; give"
        ):
            check_short_axis(replace(cine, affine=affine), "x")
    for columns in ((1, 2, 0), (2, 0, 1)):
        affine = cine.affine.copy()
        affine[:3, :3] = POSE.T[:, columns] * SPACING
        with pytest.raises(VolumeError, match="no short-axis stack"):
            check_short_axis(replace(cine, affine=affine))


def test_outermost_slices_keep_their_brightness_and_beyond_them_is_nothing():
    """Slices 10 mm apart on a grid of 8 mm: no slice is dimmed by what was not seen."""
    cine = heart_frame()
    ones = replace(cine, data=np.ones_like(cine.data), affine=cine.affine @ np.diag([1, 1, 10 / 8, 1.0]))
    affine = cine.affine.copy()
    affine[2, 3] = -64
    found = on_grid(ones, (*GRID[:2], 17), affine).data[0, 24, 22]
    heights = -64 + 8 * np.arange(17)
    middle = float((ones.affine @ [0, 0, 4, 1])[2])
    np.testing.assert_allclose(found, np.abs(heights - middle) <= 45, atol=1e-6)
