"""A synthetic person as DICOM: the series that is read back is the scan, it says what it is, and it is the same every time."""

from __future__ import annotations

import io
import math
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from engine.imaging.dicom import Series, read_cine, read_series
from engine.imaging.dicom_write import Origin, write_series
from engine.imaging.grid import frames
from engine.imaging.volume import Volume, VolumeError, centred_affine

ROW = {"age": 61.4, "sex": "F", "height": 168.2, "weight": 71.25, "bmi": 25.2, "smoking": None}
ORIGIN = Origin(
    checkpoint="torso-dixon", digest="0123456789ab", seed=7, steps=8, guidance=1.5, given={"sex": "F"}, attributes=ROW
)
#: attributes that an MR image must have (type 1), and those that may be empty but must be there (type 2): PS3.3 A.4.3
MUST = (
    "StudyInstanceUID Modality SeriesInstanceUID FrameOfReferenceUID InstanceNumber ImageType SamplesPerPixel Rows Columns "
    "PhotometricInterpretation BitsAllocated BitsStored HighBit PixelRepresentation PixelData PixelSpacing SOPClassUID "
    "ImageOrientationPatient ImagePositionPatient ScanningSequence SequenceVariant SOPInstanceUID"
)
MAY_BE_EMPTY = (
    "PatientName PatientID PatientBirthDate PatientSex StudyDate StudyTime ReferringPhysicianName StudyID AccessionNumber "
    "SeriesNumber PositionReferenceIndicator Manufacturer SliceThickness ScanOptions MRAcquisitionType EchoTime "
    "EchoTrainLength RepetitionTime"
)


@pytest.fixture
def torso() -> Volume:
    """Water and fat, a bright block to the right, front and top, three spacings, turned by 10 degrees about the vertical."""
    data = np.random.default_rng(3).random((2, 12, 14, 10), np.float32) * 0.2
    data[:, 8:11, 9:13, 6:9] += [[[[0.9]]], [[[0.5]]]]
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.17), -np.sin(0.17)], [np.sin(0.17), np.cos(0.17)]]
    affine = turn @ np.diag([1.5, 2.0, 3.0, 1.0])
    affine[:3, 3] = -20, 11, 5
    return Volume(data, affine, ("water", "fat"))


def files(volume: Volume, channel: str) -> list[Dataset]:
    return [dcmread(io.BytesIO(data)) for name, data in write_series(volume, ORIGIN) if name.startswith(f"{channel}/")]


def read_back(volume: Volume, channel: str) -> Volume:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in write_series(volume, ORIGIN):
            if name.startswith(f"{channel}/"):
                archive.writestr(name, data)
    return read_series(stream.getvalue(), channel).volume


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PSR", "LIA"])
def test_the_series_is_the_scan(torso: Volume, axcodes: str):
    """Whichever way the axes ran: the same intensity at the same place, within half a step of the int16 grid."""
    for expected in torso.apart():
        (channel,) = expected.channels
        found = read_back(torso.reoriented(axcodes), channel)
        np.testing.assert_allclose(found.affine, torso.affine, atol=1e-6)
        np.testing.assert_allclose(found.data, expected.data, atol=0.51 * float(expected.data.max()) / 32766)


def test_the_block_stays_on_its_side(torso: Volume):
    """Its middle in mm, by the geometry of each file alone: DICOM's left and back are positive."""
    sums, weight = np.zeros(3), 0.0
    for image in files(torso, "water"):
        pixels = image.pixel_array * float(image.RescaleSlope) + float(image.RescaleIntercept)
        rows, columns = np.nonzero(pixels > 0.5)
        x, y = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
        between_rows, between_columns = image.PixelSpacing
        place = (
            np.array(image.ImagePositionPatient)
            + np.outer(columns, x * between_columns)
            + np.outer(rows, y * between_rows)
        )
        sums, weight = sums + place.sum(0), weight + len(rows)
    left, back, up = sums / weight
    expected = (torso.affine @ [9, 10.5, 7, 1])[:3]
    np.testing.assert_allclose([-left, -back, up], expected, atol=1e-3)


def test_negative_and_constant_intensities_survive(torso: Volume):
    shifted = replace(torso, data=torso.data - 0.4)
    np.testing.assert_allclose(read_back(shifted, "fat").data, shifted.data[1], atol=3e-5)
    empty = replace(torso, data=torso.data * 0)
    assert not read_back(empty, "fat").data.any()


def test_every_file_says_what_it_is(torso: Volume):
    for image in files(torso, "fat"):
        assert (str(image.PatientName), image.PatientID) == ("SYNTHETIC^SOMATWIN", "SYN-0123456789ab-7")
        assert (image.PatientSex, image.PatientAge, image.PatientWeight) == ("F", "061Y", 71.25)
        assert math.isclose(image.PatientSize, 1.682)
        assert (image.SyntheticData, image.BurnedInAnnotation, image.QualityControlImage) == ("YES", "NO", "YES")
        assert image.ContentQualification == "RESEARCH"
        assert list(image.ImageType)[:2] == ["DERIVED", "SECONDARY"]
        assert image.SeriesDescription == "SYNTHETIC - not for diagnosis: fat"
        for text in (image.ImageComments, image.DerivationDescription):
            assert text.startswith("SYNTHETIC - not for diagnosis")
            assert all(word in text for word in ("torso-dixon", "0123456789ab", "seed 7", "8 steps", "sex=F"))
        assert "height=168.2" in image.ImageComments
        assert "smoking" not in image.ImageComments
        assert not [e.keyword for e in image if (e.VR in ("DA", "TM", "DT")) and e.value], "nothing ever happened"
        assert not {"InstitutionName", "OperatorsName", "PatientAddress", "DeviceSerialNumber"} & set(image.dir())


def test_the_files_are_mr_images(torso: Volume):
    series = {name: files(torso, name) for name in ("water", "fat")}
    for images in series.values():
        assert all(name in image and str(image[name].value) != "" for image in images for name in MUST.split())
        assert all(name in image for image in images for name in MAY_BE_EMPTY.split())
        assert [image.InstanceNumber for image in images] == list(range(1, 11))
    together = [*series["water"], *series["fat"]]
    assert len({image.SOPInstanceUID for image in together}) == 20
    assert len({image.SeriesInstanceUID for image in together}) == 2
    assert len({(image.StudyInstanceUID, image.FrameOfReferenceUID) for image in together}) == 1
    assert all(image.file_meta.MediaStorageSOPInstanceUID == image.SOPInstanceUID for image in together)


def test_the_same_person_is_the_same_bytes_and_nobody_else(torso: Volume):
    first = list(write_series(torso, ORIGIN))
    assert list(write_series(replace(torso, data=torso.data.copy()), ORIGIN)) == first
    others = [
        (torso, replace(ORIGIN, seed=8)),
        (torso, replace(ORIGIN, attributes={**ROW, "age": 62})),
        (replace(torso, data=torso.data * np.float32(0.5)), ORIGIN),
    ]
    studies = {
        dcmread(io.BytesIO(next(write_series(*each))[1])).StudyInstanceUID for each in [(torso, ORIGIN), *others]
    }
    assert len(studies) == 4


def test_what_dicom_cannot_hold_is_refused(torso: Volume):
    sheared = torso.affine.copy()
    sheared[0, 1] += 0.5
    with pytest.raises(VolumeError, match="not at right angles"):
        next(write_series(replace(torso, affine=sheared), ORIGIN))
    with pytest.raises(VolumeError, match="NaN or infinite"):
        next(write_series(replace(torso, data=np.where(torso.data > 0.9, np.nan, torso.data)), ORIGIN))


def beating(cycle: float | None = 0.8) -> Volume:
    """A cine in the heart's frame, bytes as in-silico hearts have them."""
    data = np.random.default_rng(5).integers(0, 255, (12, 10, 8, 7)).astype(np.float32)
    return Volume(data, centred_affine((10, 8, 7), (1.6, 1.6, 8.0)), frames(["cine"], 12), cycle)


def read_cine_back(volume: Volume, origin: Origin = ORIGIN) -> Series:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name, data in write_series(volume, origin):
            archive.writestr(name, data)
    return read_cine(stream.getvalue())


def test_a_cine_comes_back_voxel_by_voxel_with_its_beat():
    cine = beating()
    found = read_cine_back(cine)
    np.testing.assert_array_equal(found.volume.data, cine.data)
    np.testing.assert_allclose(found.volume.affine, cine.affine, atol=1e-3)
    assert (found.volume.channels, found.volume.cycle) == (cine.channels, pytest.approx(0.8))
    assert (found.notes, found.row["heart_rate"]) == ((), 75)
    fine = replace(cine, data=cine.data / 255)
    np.testing.assert_allclose(read_cine_back(fine).volume.data, fine.data, atol=0.51 / 32766)


def test_all_images_of_a_cine_are_one_series_and_say_their_phase():
    images = files(beating(), "cine")
    assert [image.InstanceNumber for image in images] == list(range(1, 12 * 7 + 1))
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.SOPInstanceUID for image in images}) == 12 * 7
    assert {image.SeriesDescription for image in images} == {"SYNTHETIC - not for diagnosis: cine"}
    for k, image in enumerate(images):
        assert (image.CardiacNumberOfImages, image.NumberOfTemporalPositions) == (12, 12)
        assert (image.ScanOptions, image.NominalInterval, image.HeartRate) == ("CG", 800, 75)
        assert image.TemporalPositionIdentifier == k % 12 + 1
        assert float(image.TriggerTime) == pytest.approx(k % 12 * 800 / 12)
        assert float(image.TemporalResolution) == pytest.approx(800 / 12)
        assert not [name for name in MUST.split() if name not in image or image[name].value in (None, "")]


def test_the_cycle_is_the_cines_own_or_the_heart_rates_or_unknown():
    rated = replace(ORIGIN, attributes={"heart_rate": 60.0})
    assert read_cine_back(beating(None), rated).volume.cycle == pytest.approx(1.0)
    assert read_cine_back(beating(0.5), rated).volume.cycle == pytest.approx(0.5)
    unknown = files(beating(None), "cine")
    assert not [image for image in unknown if "TriggerTime" in image or "HeartRate" in image or image.ScanOptions]
    found = read_cine_back(beating(None))
    np.testing.assert_array_equal(found.volume.data, beating().data)
    assert (found.volume.cycle, found.notes) == (None, ())


def test_a_still_scan_says_nothing_of_a_beat(torso: Volume):
    for image in files(torso, "fat"):
        assert not [name for name in ("TriggerTime", "CardiacNumberOfImages", "HeartRate") if name in image]
