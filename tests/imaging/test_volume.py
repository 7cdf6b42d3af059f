"""Laws of a volume: orientation never moves a voxel, files come back as they were, and bad files say what is wrong."""

from __future__ import annotations

import itertools
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from engine.imaging.grid import frames
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume, VolumeError, black_at_zero, centred_affine

ORIENTATIONS = [
    "".join(pair[side] for pair, side in zip(axes, sides, strict=True))
    for axes in itertools.permutations(("LR", "PA", "IS"))
    for sides in itertools.product((0, 1), repeat=3)
]


def numbered(channels: int = 0) -> Volume:
    """An oblique, anisotropic scan in which every voxel has its own value."""
    grid = (5, 6, 7)
    shape = (channels, *grid) if channels else grid
    angle = np.radians(12)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ np.diag([1.5, 2.0, 3.0])
    affine[:3, 3] = (-20, 31, 4)
    data = np.arange(np.prod(shape), dtype=np.float32).reshape(shape)
    return Volume(data, affine, tuple(f"c{i}" for i in range(channels)) or ("T1w",))


def places(volume: Volume) -> np.ndarray:
    """(value, x, y, z) of every voxel, ordered by value."""
    data = volume.data if volume.data.ndim == 3 else volume.data[0]
    ijk = np.stack(np.meshgrid(*(np.arange(n) for n in volume.grid), indexing="ij"), -1).reshape(-1, 3)
    world = ijk @ volume.affine[:3, :3].T + volume.affine[:3, 3]
    table = np.column_stack([data.reshape(-1), world])
    return table[np.argsort(table[:, 0])]


def test_there_are_48_orientations() -> None:
    assert len(set(ORIENTATIONS)) == 48


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_reorienting_keeps_every_voxel_where_it_was(axcodes: str) -> None:
    volume = numbered()
    turned = volume.reoriented(axcodes)
    assert turned.axcodes == axcodes
    np.testing.assert_allclose(places(turned), places(volume), atol=1e-9)
    back = turned.reoriented("RAS")
    np.testing.assert_array_equal(back.data, volume.data)
    np.testing.assert_allclose(back.affine, volume.affine, atol=1e-9)


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_a_saved_file_comes_back(axcodes: str, tmp_path: Path) -> None:
    turned = numbered().reoriented(axcodes)
    turned.save(tmp_path / "a.nii.gz", "SYNTHETIC - not for diagnosis")
    again = load_volume(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(again.data, turned.data)
    np.testing.assert_allclose(again.affine, turned.affine, atol=1e-5)
    assert again.axcodes == axcodes
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_channels_turn_together() -> None:
    volume = numbered(channels=2)
    turned = volume.reoriented("PSR")
    assert turned.data.shape == (2, 6, 7, 5)
    np.testing.assert_array_equal(turned.data[1] - turned.data[0], 5 * 6 * 7)


def test_resampling_onto_its_own_grid_changes_nothing() -> None:
    volume = numbered()
    np.testing.assert_allclose(volume.resampled(volume.grid, volume.affine).data, volume.data, atol=1e-4)
    moved = volume.reoriented("PSR").resampled(volume.grid, volume.affine, order=0)
    np.testing.assert_array_equal(moved.data, volume.data)


def test_a_centred_grid_has_its_middle_at_the_origin() -> None:
    affine = centred_affine((4, 5, 6), (2.0, 1.0, 3.0))
    corners = np.array([[0, 0, 0, 1], [3, 4, 5, 1]]) @ affine.T
    np.testing.assert_allclose(corners.mean(0)[:3], 0, atol=1e-12)


@pytest.mark.parametrize(("shape", "word"), [((4, 4, 1), "single slice"), ((4, 4), "3 axes"), ((3, 4, 4, 4), "3 axes")])
def test_shapes_that_are_no_scan(shape: tuple[int, ...], word: str) -> None:
    with pytest.raises(VolumeError, match=word):
        Volume(np.zeros(shape, np.float32), np.eye(4))


@pytest.mark.parametrize("affine", [np.zeros((4, 4)), np.full((4, 4), np.nan), np.eye(3)])
def test_affines_that_place_nothing(affine: np.ndarray) -> None:
    with pytest.raises(VolumeError, match="affine"):
        Volume(np.zeros((4, 4, 4), np.float32), affine)


def saved(path: Path, data: np.ndarray) -> Path:
    nib.Nifti1Image(data, np.eye(4)).to_filename(path)
    return path


def test_files_that_are_no_scan(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).normal(size=(30, 30, 30)).astype(np.float32)
    whole = saved(tmp_path / "whole.nii.gz", noise)
    cut = tmp_path / "cut.nii.gz"
    cut.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    with pytest.raises(VolumeError, match=r"cut\.nii\.gz cannot be read"):
        load_volume(cut)
    text = tmp_path / "text.nii.gz"
    text.write_text("not an image")
    with pytest.raises(VolumeError, match=r"text\.nii\.gz cannot be read"):
        load_volume(text)
    noise[3, 4, 5] = np.nan
    with pytest.raises(VolumeError, match="1 voxels that are NaN"):
        load_volume(saved(tmp_path / "nan.nii.gz", noise))
    with pytest.raises(VolumeError, match=r"shape \(5, 5, 5, 3\)"):
        load_volume(saved(tmp_path / "four.nii.gz", np.zeros((5, 5, 5, 3), np.float32)))
    with pytest.raises(VolumeError, match="single slice"):
        load_volume(saved(tmp_path / "slice.nii.gz", np.zeros((5, 5, 1), np.float32)))
    with pytest.raises(VolumeError, match="does not exist"):
        load_volume(tmp_path / "nowhere.nii.gz")


def test_the_intensity_scale_is_applied_and_a_fourth_axis_of_one_is_dropped(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(64, dtype=np.uint8).reshape(4, 4, 4, 1), np.eye(4))
    image.header.set_slope_inter(2.5, 1.0)
    image.to_filename(tmp_path / "scaled.nii.gz")
    volume = load_volume(tmp_path / "scaled.nii.gz")
    assert volume.data.shape == (4, 4, 4)
    assert volume.data.dtype == np.float32
    stored = np.asarray(nib.load(tmp_path / "scaled.nii.gz").dataobj)[..., 0]
    np.testing.assert_allclose(volume.data, stored)


def test_a_failed_save_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.nii.gz"
    numbered().save(path)
    before = path.read_bytes()

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space"):
        Volume(np.zeros((4, 4, 4), np.float32), np.eye(4)).save(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.nii.gz"]


def test_the_channels_of_a_volume_come_apart_in_order() -> None:
    data = np.stack([np.full((3, 4, 5), i, np.float32) for i in (1, 2)])
    water, fat = Volume(data, np.eye(4), ("water", "fat")).apart()
    assert (water.channels, fat.channels) == (("water",), ("fat",))
    assert (water.data == 1).all()
    assert (fat.data == 2).all()
    (only,) = Volume(data[0], np.eye(4)).apart()
    assert only.channels == ("T1w",)


@pytest.mark.parametrize(("slope", "constant"), [(1, -1024), (1, 1000), (0.01, -0.5), (2, -50), (0.004, -1.3)])
def test_a_constant_added_to_a_scan_is_taken_away(slope: float, constant: float):
    rng = np.random.default_rng(0)
    data = np.where(rng.random((20, 20, 20)) < 0.5, 0, rng.integers(50, 900, (20, 20, 20))).astype(np.float32)
    found = black_at_zero(Volume(data * np.float32(slope) + np.float32(constant), np.eye(4)))
    np.testing.assert_allclose(found.data, data * slope, atol=1e-3 * slope * 900)
    assert found.data.min() == 0


def test_each_channel_has_its_own_black_and_what_needs_nothing_is_the_same_object():
    rng = np.random.default_rng(0)
    data = np.where(rng.random((2, 20, 20, 20)) < 0.5, 0, rng.integers(50, 900, (2, 20, 20, 20))).astype(np.float32)
    scan = Volume(data, np.eye(4), ("water", "fat"))
    assert black_at_zero(scan) is scan
    moved = Volume(data - np.float32([[[[50]]], [[[0]]]]), np.eye(4), ("water", "fat"))
    np.testing.assert_array_equal(black_at_zero(moved).data, data)


def test_all_phases_of_a_cine_keep_their_brightness_to_each_other():
    """The first phase has no air in view: nothing of it is made black."""
    rng = np.random.default_rng(0)
    data = rng.integers(0, 900, (4, 12, 12, 6)).astype(np.float32)
    data[0] = data[0] / 2 + 400
    cine = Volume(data, np.eye(4), frames(["cine"], 4))
    assert black_at_zero(cine) is cine
    np.testing.assert_array_equal(black_at_zero(Volume(data + 300, np.eye(4), cine.channels)).data, data)


def test_a_few_voxels_below_zero_and_one_far_below_are_no_scale():
    rng = np.random.default_rng(0)
    data = rng.integers(0, 900, (20, 20, 20)).astype(np.float32)
    data[0, 0, :5] = -40
    scan = Volume(data, np.eye(4))
    assert black_at_zero(scan) is scan
    damaged = data - 500
    damaged[0, 0, 0] = -32768
    found = black_at_zero(Volume(damaged, np.eye(4))).data
    assert abs(found[1:] - data[1:]).max() < 10


def test_whole_numbers_do_not_wrap_round():
    data = np.full((20, 20, 20), 100, np.uint8)
    data[5:15], data[0, 0, 0] = 250, 3
    found = black_at_zero(Volume(data, np.eye(4))).data
    assert found[5:15].min() == found.max() == 150


def test_a_phase_of_a_cine_is_a_still_scan_of_its_channels():
    names = frames(("water", "fat"), 3)
    data = np.arange(6.0)[:, None, None, None] * np.ones((6, 2, 3, 4))
    cine = Volume(data, np.eye(4), names, 0.9)
    still = cine.at_phase(2)
    assert (still.channels, still.phases, still.cycle) == (("water", "fat"), 1, None)
    assert [channel.max() for channel in still.data] == [2, 5]
    one = Volume(data[:3], np.eye(4), frames(("cine",), 3)).at_phase(1)
    assert (one.data.shape, one.channels, one.data.max()) == ((2, 3, 4), ("cine",), 1)
    assert still.at_phase(0) is still
    with pytest.raises(VolumeError, match="phase 3 of a cycle of 3 does not exist; give 0 to 2"):
        cine.at_phase(3)
