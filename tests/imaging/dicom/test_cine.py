"""A cine in DICOM files: slices by place, phases by time in the heartbeat, whatever the files' order; else one sentence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom.dataset import Dataset, FileDataset
from pydicom.uid import generate_uid

from engine.anatomy.heart import HEART
from engine.imaging.dicom import Series, read_cine, read_series
from engine.imaging.scan import load_scan
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.dicom.cine_files import cine, enhanced_cine, flat, images
from tests.imaging.dicom_files import zipped
from tests.imaging.test_volume import ORIENTATIONS

SHARED = Path(__file__).parents[4] / "shared/data"
REAL = SHARED / "scd-dicom/SCD0000501-cine"
SAME = SHARED / "scd-heart-cine/sub-SCD0000501/cardiac/sub-SCD0000501_cine.nii.gz"
Slices = list[list[FileDataset]]


@pytest.fixture(scope="module")
def volume() -> Volume:
    return cine()


def same(found: Series, volume: Volume) -> None:
    ras = volume.reoriented("RAS")
    assert found.volume.channels == volume.channels
    np.testing.assert_array_equal(found.volume.data, np.rint(ras.data * 1000))
    np.testing.assert_allclose(found.volume.affine, ras.affine, atol=2e-3)


@pytest.mark.parametrize("axcodes", [code for code in ORIENTATIONS if code[2] in "AP"][::3])
def test_slices_and_phases_come_in_order_from_either_end(volume: Volume, axcodes: str):
    found = read_cine(zipped(flat(images(volume, axcodes=axcodes))))
    same(found, volume)
    assert found.volume.cycle == pytest.approx(0.8)
    assert (found.notes, found.row) == ((), {"heart_rate": 75})


def test_an_enhanced_image_is_the_same_cine(volume: Volume):
    found = read_cine(zipped([enhanced_cine(volume)]))
    same(found, volume)
    assert (found.notes, found.volume.cycle) == ((), pytest.approx(0.8))


def test_temporal_positions_order_phases_and_numbers_do_as_a_last_resort(volume: Volume):
    found = read_cine(zipped(flat(images(volume, time="TemporalPositionIdentifier"))))
    same(found, volume)
    assert (found.volume.cycle, found.notes) == (None, ())
    found = read_cine(zipped(flat(images(volume, time="InstanceNumber"))))
    same(found, volume)
    (note,) = found.notes
    assert note.startswith("No trigger time or temporal position says when its phases were taken")


def test_a_series_a_slice_with_beats_of_its_own_is_one_cine(volume: Volume):
    slices = images(volume, intervals=[640, 700, 760, 800, 860, 900, 1000])
    for place in slices:
        uid = generate_uid()
        for one in place:
            one.SeriesInstanceUID = uid
    found = read_cine(zipped(flat(slices)))
    same(found, volume)
    assert found.volume.cycle == pytest.approx(0.8)


def test_missing_phases_lie_between_their_neighbours_and_that_is_said(volume: Volume):
    slices = images(volume, axcodes="LIA")
    del slices[2][3], slices[5][7], slices[5][0]
    found = read_cine(zipped(flat(slices)))
    assert found.notes[-1] == "2 of 7 slices lack phases, 3 of 56 in all; they were interpolated in time."
    whole = np.rint(volume.reoriented("LIA").data * 1000)
    got = found.volume.reoriented("LIA").data
    np.testing.assert_allclose(got[3, ..., 2], (whole[2, ..., 2] + whole[4, ..., 2]) / 2, rtol=1e-6)
    np.testing.assert_allclose(got[7, ..., 5], whole[6, ..., 5] * 2 / 3 + whole[1, ..., 5] / 3, rtol=1e-6)
    got[3, ..., 2], got[[7, 0], ..., 5] = whole[3, ..., 2], whole[[7, 0], ..., 5]
    np.testing.assert_array_equal(got, whole)


def test_what_a_prospective_trigger_leaves_out_is_filled_and_said(volume: Volume):
    """Eight phases of a beat that holds ten: the last two lie between the eighth and the first."""
    slices = images(volume)
    for one in flat(slices):
        one.NominalInterval, one.CardiacNumberOfImages = 1000, 8
    found = read_cine(zipped(flat(slices)))
    assert (found.volume.phases, found.volume.cycle) == (10, pytest.approx(1.0))
    assert found.notes == ("7 of 7 slices lack phases, 14 of 70 in all; they were interpolated in time.",)
    first, eighth = (found.volume.data[k] for k in (0, 7))
    np.testing.assert_allclose(found.volume.data[8], eighth * 2 / 3 + first / 3, rtol=1e-6)


def without(slices: Slices, *names: str) -> Slices:
    for one in flat(slices):
        for name in names:
            if name in one:
                delattr(one, name)
    return slices


def lost(slices: Slices) -> Slices:
    del slices[1][2:5]
    return slices


def untimed(slices: Slices) -> Slices:
    del slices[1][2]
    return without(slices, "TriggerTime", "CardiacNumberOfImages")


def doubled(slices: Slices) -> Slices:
    again = images(cine())[3]
    for one in again:
        one.SeriesInstanceUID = slices[0][0].SeriesInstanceUID
    return [*slices[:3], slices[3] + again, *slices[4:]]


def unnumbered(slices: Slices) -> Slices:
    for one in flat(without(slices, "TriggerTime", "CardiacNumberOfImages")):
        one.InstanceNumber = 1
    return slices


def radial(slices: Slices) -> Slices:
    """Long-axis views: three slices, each in a direction of its own."""
    for k, place in enumerate(slices[:3]):
        at = np.radians(60 * k)
        for one in place:
            one.ImageOrientationPatient = [np.cos(at), np.sin(at), 0, 0, 0, -1]
    return slices[:3]


def axial(slices: Slices) -> Slices:
    for k, place in enumerate(slices):
        for one in place:
            one.ImageOrientationPatient, one.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-100, -90, 8.0 * k]
    return slices


def still(slices: Slices) -> Slices:
    return [place[:1] for place in slices]


def localizer(slices: Slices) -> Slices:
    planes = ([1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0, -1], [0, 1, 0, 0, 0, -1])
    for k, place in enumerate(slices[:6]):
        place[0].ImageOrientationPatient = planes[k % 3]
        place[0].ImagePositionPatient = [20.0 * k] * 3
    return [place[:1] for place in slices[:6]]


def single(slices: Slices) -> Slices:
    return [slices[0][3:4], *slices[1:]]


def apart(slices: Slices) -> Slices:
    return slices[:3] + slices[4:]


def twice(slices: Slices) -> Slices:
    return slices + images(cine())


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lost, "a slice has 5 of 8 phases, at most 25% may be missing; pack the phases of the whole cycle"),
        (untimed, "slices have 7 to 8 phases and no trigger times, so nothing tells which are missing; export"),
        (doubled, r"1 of 7 slices were taken twice \(16 images of one slice\); pack each slice and phase once"),
        (unnumbered, "nothing in the headers tells in which order phases follow each other .* export the series again"),
        (
            radial,
            "at most 1 parallel slices in one of 3 directions, as long-axis views have, .* 6 or more; pack the short-axis",
        ),
        (
            axial,
            r"the series is no short-axis stack: its slices' normal is 69 degrees off .* give the short-axis stack",
        ),
        (still, "the images show one phase at every place, a still scan; pack the short-axis cine"),
        (localizer, "the images lie in three planes, each of a few slices, so they are a localizer; pack the series"),
        (apart, "1 of 7 slices are missing, the first 16 mm into the series; pack all of them"),
        (twice, "there are 2 cines of 7 slices each; pack the one that is meant"),
        (single, "a slice has 1 of 8 phases, at most 25% may be missing"),
    ],
)
def test_what_is_no_cine_is_refused_in_a_sentence(volume: Volume, spoilt: Callable[[Slices], Slices], said: str):
    with pytest.raises(VolumeError, match=said):
        read_cine(zipped(flat(spoilt(images(volume)))))


def test_slices_of_other_directions_are_left_out_and_counted(volume: Volume):
    found = read_cine(zipped(flat(images(volume)) + flat(radial(images(volume)))))
    same(found, volume)
    assert found.notes[0] == "24 images of other series or directions were left out."


def test_a_classic_image_with_empty_groups_of_frames_is_a_classic_image(volume: Volume):
    """As an archive adds them to a scanner's files."""
    slices = images(volume)
    for one in flat(slices):
        one.PerFrameFunctionalGroupsSequence = [Dataset()]
    same(read_cine(zipped(flat(slices))), volume)


def test_as_many_phases_as_a_model_takes(volume: Volume, tmp_path: Path):
    (tmp_path / "cine.zip").write_bytes(zipped(flat(images(volume))))
    found = load_scan(tmp_path / "cine.zip", HEART.frames)
    assert found.volume.channels == HEART.frames
    assert found.notes[-1] == "Its 8 phases were resampled to 12."


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/scd-dicom")
def test_a_real_cine_has_its_geometry_order_and_beat():
    """One patient's DICOM and the same stack as NIfTI: the same voxels at the same places of the body."""
    found = read_cine(REAL)
    assert found.row == {"heart_rate": 88}
    assert found.volume.cycle == pytest.approx(0.681)
    known = nib.nifti1.load(SAME)
    voxels, volume = np.asarray(known.dataobj), found.volume
    to_ours = np.linalg.inv(volume.affine) @ known.affine
    corner = (np.array(np.meshgrid([0, 90, 167], [0, 55, 167], range(11), indexing="ij"))).reshape(3, -1)
    place = to_ours[:3, :3] @ corner + to_ours[:3, 3:]
    np.testing.assert_allclose(place, np.rint(place), atol=1e-4)
    i, j, k = np.rint(place).astype(int)
    np.testing.assert_array_equal(volume.data[:, i, j, k], voxels[tuple(corner)].T)


@pytest.mark.skipif(not REAL.is_dir(), reason="needs ../shared/data/scd-dicom")
@pytest.mark.parametrize("patient", ["SCD0000101", "SCD0000801", "SCD0003801"])
def test_real_localizers_are_refused_as_such(patient: str):
    for read in (read_cine, read_series):
        with pytest.raises(VolumeError, match="in three planes, each of a few slices, so they are a localizer"):
            read(REAL.parent / f"{patient}-localizers")
