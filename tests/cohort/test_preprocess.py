"""Laws of preprocessing: storage never matters, pose hardly does, the face goes, the brain stays, labels follow."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from engine.cohort.preprocess.deface import quickshear_keep, tangent_keep
from engine.cohort.preprocess.preprocess import PreprocessConfig, Preprocessed, antialiased, deepbet_masker, preprocess
from engine.cohort.sources.bids import read_bids
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume, VolumeError
from tests.cohort.heads import CONFIG, brain_of, made_up_head
from tests.imaging.test_volume import ORIENTATIONS

IXI = Path(__file__).parents[2] / "../shared/data/ixi-head-t1"


@pytest.fixture(scope="module")
def upright() -> Preprocessed:
    return preprocess(made_up_head(), CONFIG, brain_of)


@pytest.mark.parametrize("axcodes", ORIENTATIONS[1::5])
def test_storage_orientation_does_not_matter(upright: Preprocessed, axcodes: str) -> None:
    other = preprocess(made_up_head().reoriented(axcodes), CONFIG, brain_of)
    assert np.abs(other.volume.data.astype(int) - upright.volume.data).max() <= 1
    assert (other.brain == upright.brain).mean() > 0.9999


def test_a_pure_function(upright: Preprocessed) -> None:
    head = made_up_head()
    before = head.data.copy()
    again = preprocess(head, CONFIG, brain_of)
    np.testing.assert_array_equal(head.data, before)
    np.testing.assert_array_equal(again.volume.data, upright.volume.data)
    assert again.quality == upright.quality


def test_intensity_is_robust_and_scale_free(upright: Preprocessed) -> None:
    head = made_up_head()
    assert upright.volume.data.dtype == np.uint8
    middle = np.median(upright.volume.data[upright.brain])
    assert middle == pytest.approx(255 * 800 / 1000 / 1.25, abs=2) or middle == pytest.approx(255 / 1.25, abs=2)
    louder = preprocess(replace(head, data=head.data * 7), CONFIG, lambda v: v.data > 7 * 650)
    assert np.abs(louder.volume.data.astype(int) - upright.volume.data).max() <= 1


@pytest.mark.parametrize(("slope", "constant"), [(1.0, -1024.0), (1.0, 1000.0), (0.01, -1.3)])
def test_an_offset_of_the_intensities_does_not_matter(upright: Preprocessed, slope: float, constant: float) -> None:
    """scl_inter, z-scores: the air of a scan need not be 0."""
    head = made_up_head()
    moved = preprocess(replace(head, data=head.data * slope + constant), CONFIG, lambda v: v.data > 650 * slope)
    assert np.abs(moved.volume.data.astype(int) - upright.volume.data).max() <= 1


@pytest.mark.parametrize("turn", [(8.0, 0.0, 0.0), (0.0, -6.0, 0.0), (0.0, 0.0, 10.0), (6.0, 5.0, -9.0)])
def test_a_turned_and_shifted_head_comes_back(upright: Preprocessed, turn: tuple[float, float, float]) -> None:
    turned = preprocess(made_up_head(turn=turn, shift=(9, -13, 6)), CONFIG, brain_of)
    unturned = preprocess(made_up_head(turn=turn, shift=(9, -13, 6)), replace(CONFIG, rotate=False), brain_of)
    still = preprocess(made_up_head(), replace(CONFIG, rotate=False), brain_of)

    def dice(a: Preprocessed, b: Preprocessed) -> float:
        return 2 * float((a.brain & b.brain).sum()) / float(a.brain.sum() + b.brain.sum())

    assert dice(turned, upright) > 0.96
    assert dice(turned, upright) > dice(unturned, still)
    relative = Rotation.from_matrix(
        turned.head_to_ras[:3, :3].T @ Rotation.from_euler("zyx", turn, degrees=True).as_matrix()
    )
    own = Rotation.from_matrix(upright.head_to_ras[:3, :3].T)
    assert np.degrees((relative * own.inv()).magnitude()) < 2.5


def test_the_transform_is_rigid_and_places_the_brain_at_the_origin(upright: Preprocessed) -> None:
    turn = upright.head_to_ras[:3, :3]
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-9)
    assert np.linalg.det(turn) == pytest.approx(1)
    ijk = np.argwhere(upright.brain).mean(0)
    place = upright.volume.affine[:3, :3] @ ijk + upright.volume.affine[:3, 3]
    np.testing.assert_allclose(place, 0, atol=CONFIG.spacing / 2)


def test_labels_follow_the_scan() -> None:
    head = made_up_head(turn=(5, 3, -6)).reoriented("PSR")
    done = preprocess(head, CONFIG, brain_of)
    labels = done.resample(Volume((brain_of(head) * 7).astype(np.uint8), head.affine))
    assert set(np.unique(labels.data)) == {0, 7}
    assert ((labels.data > 0) == done.brain).mean() > 0.99


def test_the_nose_goes_and_the_brain_stays(upright: Preprocessed) -> None:
    nose = Volume((made_up_head().data == 500).astype(np.float32), made_up_head().affine)
    kept = preprocess(made_up_head(), replace(CONFIG, deface=False), brain_of)
    where = upright.resample(nose).data > 0
    assert where.sum() > 50
    assert (kept.volume.data[where] > 80).mean() > 0.9
    assert (upright.volume.data[where] == 0).all()
    np.testing.assert_array_equal(upright.volume.data[upright.brain] > 0, True)
    assert upright.quality["removed_fraction"] > 0.03


@pytest.mark.parametrize("axcodes", ["RAS", "PSR", "LIA"])
def test_quickshear_whatever_the_axes_and_their_lengths(axcodes: str) -> None:
    head = made_up_head(grid=(52, 60, 72))
    mask = Volume(brain_of(head).astype(np.float32), head.affine)
    turned = mask.reoriented(axcodes)
    keep = quickshear_keep(turned, buffer_mm=10)
    assert keep.shape == turned.data.shape
    assert keep[turned.data > 0].all()
    back = Volume(keep.astype(np.float32), turned.affine).reoriented("RAS").data > 0
    np.testing.assert_array_equal(back, quickshear_keep(mask, buffer_mm=10))


def test_the_tangent_plane_stays_its_buffer_away() -> None:
    head = made_up_head()
    mask = Volume(brain_of(head).astype(np.float32), head.affine)
    near = tangent_keep(mask, np.eye(4), buffer_mm=0, angle=50)
    far = tangent_keep(mask, np.eye(4), buffer_mm=20, angle=50)
    assert near[brain_of(head)].all()
    assert (far | ~near).all()
    assert far.sum() > near.sum()
    gone = tangent_keep(Volume(mask.data[:, ::-1].copy(), head.affine), np.eye(4), buffer_mm=0, angle=50)
    assert not gone.all()


def test_finer_scans_are_blurred_before_they_are_resampled() -> None:
    noise = np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32)
    assert antialiased(noise, (2.0, 2.0, 2.0), 2.0) is noise
    assert antialiased(noise, (1.0, 1.0, 1.0), 2.0).std() < 0.4


def test_scans_without_a_brain_are_refused() -> None:
    head = made_up_head()
    with pytest.raises(VolumeError, match="same value"):
        preprocess(replace(head, data=np.ones_like(head.data)), CONFIG, brain_of)
    with pytest.raises(VolumeError, match="has 0 ml"):
        preprocess(head, CONFIG, lambda v: np.zeros(v.grid, bool))
    with pytest.raises(VolumeError, match="outside 500 to 2500"):
        preprocess(head, CONFIG, lambda v: v.data > 0)
    with pytest.raises(VolumeError, match="one channel at a time"):
        preprocess(Volume(np.stack([head.data] * 2), head.affine, ("a", "b")), CONFIG, brain_of)
    with pytest.raises(VolumeError, match="NaN"):
        preprocess(replace(head, data=np.where(brain_of(head), np.nan, head.data)), CONFIG, brain_of)


@pytest.mark.parametrize("wrong", [{"grid": (2, 112, 112)}, {"spacing": 0.0}, {"order": 7}, {"percentile": 120.0}])
def test_settings_are_checked_where_they_are_made(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"grid|positive|order"):
        replace(CONFIG, **wrong)  # type: ignore[arg-type]


@pytest.mark.skipif(not IXI.is_dir(), reason="the IXI heads are not here")
def test_a_real_head_through_deepbet_and_quickshear(recwarn: pytest.WarningsRecorder) -> None:
    data = read_bids(IXI)
    config, masker = PreprocessConfig(), deepbet_masker()
    name = "sub-IXI146"
    head = load_volume(data.images[name])
    inside = masker(head.reoriented("RAS"))
    done = preprocess(head, config, lambda _: inside)
    faced = preprocess(head, replace(config, deface=False), lambda _: inside)
    labels = done.resample(load_volume(data.labels[name])).data > 0
    dice = 2 * float((labels & done.brain).sum()) / float(labels.sum() + done.brain.sum())
    assert dice > 0.95
    assert done.quality["brain_in_grid"] > 0.99
    assert done.quality["removed_fraction"] > 0.1
    x, y, z = np.meshgrid(*(np.arange(n) for n in config.grid), indexing="ij")
    place = np.stack([x, y, z], -1) * config.spacing + config.affine[:3, 3]
    face = (np.abs(place[..., 0]) < 40) & (place[..., 1] > 65) & (place[..., 2] < -60)
    assert (faced.volume.data[face] > 40).sum() > 1000
    assert (done.volume.data[face] == 0).all()
    assert not [w for w in recwarn if "torch.jit" in str(w.message)]
