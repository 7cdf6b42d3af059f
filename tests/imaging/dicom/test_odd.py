"""DICOM as strangers bring it: read right, or refused with the value and the remedy; nothing of a file is quoted anywhere."""

from __future__ import annotations

import io
import logging
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydicom import FileDataset
from pydicom.dataset import Dataset
from pydicom.uid import CTImageStorage

from engine.cohort.sources.choosing import chooser
from engine.cohort.sources.dicom import read_dicom
from engine.imaging.dicom import files as dicom_files
from engine.imaging.dicom import read_series
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.dicom_files import enhanced, series, zipped

SCAN = Volume(np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10), np.diag([1.5, 2, 3, 1]))


def made(**elements: Any) -> list[FileDataset]:
    """The slices of :data:`SCAN`, these elements set in every one."""
    files = series(SCAN, 1)
    for file in files:
        for name, value in elements.items():
            setattr(file, name, value)
    return files


def same(files: list[FileDataset]) -> tuple[str, ...]:
    """The notes on a series that is read as :data:`SCAN`."""
    found = read_series(zipped(files))
    np.testing.assert_array_equal(found.volume.data, SCAN.data)
    np.testing.assert_allclose(found.volume.affine, SCAN.affine, atol=1e-3)
    return found.notes


@pytest.mark.parametrize(("signed", "padding", "written"), [(0, 65535, 65535), (1, -2000, -2000), (1, -2000, 63536)])
def test_what_only_fills_up_the_image_is_dark(signed: int, padding: int, written: int) -> None:
    """A bright or far negative frame of padding would be taken for tissue, or for the scan's air; its sign may be written wrong."""
    files = made(PixelRepresentation=signed)
    for file in files:
        pixels = file.pixel_array.astype(np.int32)
        pixels[0] = padding
        file.PixelData = pixels.astype(np.int16 if signed else np.uint16).tobytes()
        file.add_new("PixelPaddingValue", "US" if written >= 0 else "SS", written)
    found = read_series(zipped(files))
    kept = found.volume.data[:, :-1]
    np.testing.assert_array_equal(kept, SCAN.data[:, :-1])
    assert np.all(found.volume.data[:, -1] == kept.min())
    assert found.notes == ("11% of its voxels only fill it up (PixelPaddingValue); they were made dark.",)


def test_padding_as_dark_as_air_changes_nothing() -> None:
    files = made()
    for file in files:
        file.add_new("PixelPaddingValue", "US", 0)
    assert same(files) == ()


MAPS = [
    "ECV_MAP",
    "R2_STAR_MAP",
    "SUB",
    "SWI",
    "KTRANS",
    "TRACE",
    "CSA MIP THICK",
    "MAX_IP",
    "T1 MAP",
    "DIFFUSION",
    "ADC",
    "FA",
    "SUBTRACTION",
    "B1 MAP",
    "PERFUSION",
    "MASK",
    "VELOCITY MAP",
    "FF",
]


@pytest.mark.parametrize("word", MAPS)
def test_a_map_that_was_computed_is_no_scan(word: str) -> None:
    with pytest.raises(VolumeError, match="or maps computed from scans; pack the series of the scan itself"):
        read_series(zipped(made(ImageType=["DERIVED", "PRIMARY", word])))
    scan = made(ImageType=["DERIVED", "PRIMARY", "M", "UNI"])
    assert same([*scan, *made(ImageType=["DERIVED", "PRIMARY", word])])[0].startswith("The archive holds 2 series")


@pytest.mark.parametrize(
    ("kind", "description"),
    [
        ("ORIGINAL", "AAHead_Scout_32ch"),
        ("ORIGINAL", "3-plane Localizer"),
        ("ORIGINAL", "SmartBrain Survey"),
        ("DERIVED", "Apparent Diffusion Coefficient (mm2/s)"),
        ("DERIVED", "SUB t1 post - pre"),
    ],
)
def test_a_description_tells_what_no_image_type_does(kind: str, description: str) -> None:
    """A scout of more slices was taken in place of the scan."""
    larger = series(Volume(np.ones((8, 9, 14), np.float32), SCAN.affine), 1)
    for file in larger:
        file.ImageType, file.SeriesDescription = [kind, "PRIMARY", "OTHER"], description
    assert same([*made(SeriesDescription="t1 localised head"), *larger])[0].startswith("The archive holds 2 series")
    with pytest.raises(VolumeError, match="only localizers, projections or phase images, or maps"):
        read_series(zipped(larger))


@pytest.mark.parametrize(
    ("elements", "sentence"),
    [
        ({"ComplexImageComponent": "PHASE"}, "only localizers, projections or phase images"),
        ({"VolumeBasedCalculationTechnique": "MAX_IP"}, "only localizers, projections or phase images"),
        ({"AcquisitionContrast": "T2"}, "no series is T1-weighted: the header says T2"),
        ({"InConcatenationNumber": 1, "InConcatenationTotalNumber": 2}, "1 of the 2 files of one image are here"),
    ],
)
def test_what_an_enhanced_image_says_as_a_whole_counts(elements: dict[str, Any], sentence: str) -> None:
    """It was read only of each frame, and half a head was a head."""
    image = enhanced(SCAN, 1)
    for group in image.PerFrameFunctionalGroupsSequence:
        del group.MRImageFrameTypeSequence
    read_series(zipped([image]))
    for name, value in elements.items():
        setattr(image, name, value)
    with pytest.raises(VolumeError, match=sentence):
        read_series(zipped([image]))


def test_slices_of_two_echoes_are_never_one_scan() -> None:
    """Where they do not lie at the same places they were stacked."""
    first, second = made(EchoTime=5), made(EchoTime=20)
    for k, file in enumerate(second):
        file.SeriesInstanceUID = first[0].SeriesInstanceUID
        file.ImagePositionPatient = [*first[k].ImagePositionPatient[:2], first[k].ImagePositionPatient[2] + 1.5]
    with pytest.raises(VolumeError, match="2 series of 10 slices each, with echo times of 5, 20 ms"):
        read_series(zipped([*first, *second]))


def test_files_that_the_header_counts_and_that_are_not_here_are_said() -> None:
    assert same(made(ImagesInAcquisition=10)) == ()
    assert same(made(ImagesInAcquisition=20)) == ("Its header counts 20 images, 10 are here, so some may be missing.",)


def test_a_man_and_a_woman_of_one_number_are_two_persons() -> None:
    mine, other = made(PatientID="ANON", PatientSex="M"), made(PatientID="ANON", PatientSex="F")
    with pytest.raises(VolumeError, match=r"of a man and of a woman by their headers \(PatientSex\)"):
        read_series(zipped([*mine, *other[:9]]))
    assert read_series(zipped(mine)).row == {"sex": "M"}


def test_what_two_visits_say_of_a_person_is_left_open(tmp_path: Path) -> None:
    """The age of one visit stood beside the scan of the other."""
    visits = (made(PatientID="1", PatientAge="045Y", PatientWeight="80"), made(PatientID="1", PatientAge="050Y")[:9])
    for k, file in enumerate([*visits[0], *visits[1]]):
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
        file.SeriesDescription = "t1 first" if k < len(visits[0]) else "t1 again"
        file.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    found = read_dicom(tmp_path)
    assert found.rows == [{"participant_id": "sub-0001", "weight": 80.0}]
    assert found.flagged[0]["reason"].startswith("the headers give 2 values of age (45, 50), so it is left open")
    assert read_dicom(tmp_path, series="first").rows[0]["age"] == 45


def test_an_image_weighted_by_diffusion_is_no_scan() -> None:
    with pytest.raises(VolumeError, match="maps computed from scans"):
        read_series(zipped(made(DiffusionBValue=1000.0)))
    same(made(DiffusionBValue=0.0))


@pytest.mark.parametrize(
    ("elements", "sentence"),
    [
        ({"AnatomicalOrientationType": "QUADRUPED"}, "are of an animal"),
        ({"ModalityLUTSequence": [Dataset()]}, r"translate their pixels by a table \(Modality LUT\)"),
        ({"PixelSpacing": [0.002, 0.0015]}, r"voxels of 0.0015 x 0.002 x 3 mm, a scan's measure 0.05 to 50 mm"),
        ({"PixelSpacing": None}, r"lacks its geometry \(PixelSpacing\)"),
        ({"ImageOrientationPatient": None, "PixelSpacing": None}, r"\(ImageOrientationPatient, PixelSpacing\)"),
        ({"AngioFlag": "Y"}, "no series is T1-weighted: the header says TOF"),
        ({"PresentationLUTShape": "INVERSE"}, r"are not grey with black as 0 \(MONOCHROME2\)"),
        ({"EchoTime": "80"}, "the shortest echo time is 80 ms, 30 ms are the most; pack the one that is"),
    ],
)
def test_what_is_odd_is_named_with_its_remedy(elements: dict[str, Any], sentence: str) -> None:
    with pytest.raises(VolumeError, match=sentence):
        read_series(zipped(made(**elements)))


def test_files_of_two_persons_are_never_one_scan() -> None:
    """The larger of two persons' series was taken, with the note that there are two series."""
    mine, other = made(PatientID="1"), made(PatientID="2")
    with pytest.raises(VolumeError, match="the files are of 2 persons; give those of one"):
        read_series(zipped([*mine, *other[:9]]))
    same(mine)


def raw(files: list[FileDataset], keyword: str, value: bytes) -> bytes:
    """An archive of the files with a value that pydicom would not write."""
    vr = {"PatientSize": b"DS", "EchoTime": b"DS", "PatientAge": b"AS", "InstanceNumber": b"IS"}[keyword]
    place, stream = "#" * len(value), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k, file in enumerate(files):
            file.add_new(keyword, "LO", place)
            part = io.BytesIO()
            file.save_as(part, enforce_file_format=True)
            data = part.getvalue()
            at = data.index(place.encode())
            archive.writestr(f"{k:03d}", data[: at - 4] + vr + data[at - 2 : at] + value + data[at + len(value) :])
    return stream.getvalue()


@pytest.mark.parametrize(
    ("keyword", "value", "said"),
    [
        ("PatientSize", b"1,75", "height '1,75' is not a number"),
        ("PatientSize", b"175 ", "height 17500 lies outside 40 to 250 cm"),
        ("PatientAge", b"90+ ", "age '90+' is not a number"),
        ("EchoTime", b"2,98", ""),
        ("InstanceNumber", b"1x", ""),
    ],
)
def test_a_number_that_is_written_wrong_costs_that_number_not_the_scan(keyword: str, value: bytes, said: str) -> None:
    found = read_series(raw(made(), keyword, value))
    np.testing.assert_array_equal(found.volume.data, SCAN.data)
    assert said in " ".join(found.notes)
    assert found.row == {}


def test_what_is_no_mr_beside_it_is_counted(tmp_path: Path) -> None:
    """A CT in the same archive was passed over, and that was said nowhere; nor which of a cohort's files were."""
    other = made(Modality="CT", SOPClassUID=CTImageStorage)
    found = read_series(zipped([*made(PatientID="1"), *other[:3]]))
    np.testing.assert_array_equal(found.volume.data, SCAN.data)
    assert found.notes == ("3 files were left out: the DICOM files are no MR images (CT Image Storage).",)
    for k, file in enumerate([*made(PatientID="1"), *other[:3]]):
        file.file_meta.MediaStorageSOPClassUID = file.SOPClassUID
        file.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    said = [flag["reason"] for flag in read_dicom(tmp_path).flagged]
    assert said == ["3 are no MR images (CT Image Storage), so they were left out"]


Told = Callable[[Dataset, int], None]


def _repetition(group: Dataset, j: int) -> None:
    group.MRTimingAndRelatedParametersSequence = [Dataset()]
    group.MRTimingAndRelatedParametersSequence[0].RepetitionTime = (500.0, 3000.0)[j]


def _echo(group: Dataset, j: int) -> None:
    group.MREchoSequence = [Dataset()]
    group.MREchoSequence[0].EffectiveEchoTime = (5.0, 20.0)[j]


def _stack(group: Dataset, j: int) -> None:
    group.FrameContentSequence = [Dataset()]
    group.FrameContentSequence[0].StackID = str(j)


def _flip(group: Dataset, j: int) -> None:
    group.MRTimingAndRelatedParametersSequence = [Dataset()]
    group.MRTimingAndRelatedParametersSequence[0].FlipAngle = (4.0, 20.0)[j]


def twice(told: Told) -> FileDataset:
    """One enhanced image of two volumes, the second 1 brighter, told apart by ``told``; its frames alternate."""
    first, second = enhanced(SCAN, 1), enhanced(Volume(SCAN.data + 2, SCAN.affine), 1)
    pixels = np.stack([first.pixel_array, second.pixel_array], 1).reshape(-1, *first.pixel_array.shape[1:])
    groups = []
    for pair in zip(first.PerFrameFunctionalGroupsSequence, second.PerFrameFunctionalGroupsSequence, strict=True):
        for j, group in enumerate(pair):
            group.PixelValueTransformationSequence[0].RescaleSlope = 1
            told(group, j)
            groups.append(group)
    scales = [1 + k % 2 for k in range(len(first.PerFrameFunctionalGroupsSequence)) for _ in range(2)]
    first.PixelData = (pixels * np.array(scales)[:, None, None]).astype(np.uint16).tobytes()
    first.PerFrameFunctionalGroupsSequence, first.NumberOfFrames = groups, len(groups)
    return first


@pytest.mark.parametrize(
    ("told", "asked", "words", "wanted"),
    [
        (_repetition, "repetition_time < 1000", "repetition times of 500, 3000 ms", 0),
        (_echo, "echo_time == 20", "echo times of 5, 20 ms", 1),
        (_flip, "flip_angle > 10", "flip angles of 4, 20 degrees", 1),
        (_stack, "stack == '0'", "2 series of 10 slices each", 0),
    ],
)
def test_of_an_enhanced_image_the_volume_is_chosen_by_what_its_frames_say(
    told: Told, asked: str, words: str, wanted: int
) -> None:
    archive = zipped([twice(told)])
    with pytest.raises(VolumeError, match=words):
        read_series(archive)
    found = read_series(archive, "T1w", chooser(asked))
    data = np.floor(SCAN.data / 2) * 2 if wanted == 0 else np.floor((SCAN.data + 2) / 2) * 2
    assert np.abs(found.volume.data - data).max() <= 1
    assert np.abs(found.volume.data - SCAN.data - 2 * wanted).max() <= 1
    with pytest.raises(VolumeError, match="no series of this person is the one that is asked for"):
        read_series(archive, "T1w", chooser("echo_time == 77"))


def test_classic_images_of_two_repetition_times_are_told_apart() -> None:
    first, second = made(RepetitionTime=500), made(RepetitionTime=3000)
    for file in second:
        file.SeriesInstanceUID = first[0].SeriesInstanceUID
    with pytest.raises(VolumeError, match="with repetition times of 500, 3000 ms; pack the one that is meant"):
        read_series(zipped([*first, *second]))
    found = read_series(zipped([*first, *second]), "T1w", chooser("repetition_time < 1000"))
    np.testing.assert_array_equal(found.volume.data, SCAN.data)


def test_nothing_that_a_damaged_file_holds_reaches_a_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: pytest.WarningsRecorder
) -> None:
    """Found by 10,000 damaged files: elements are converted when they are asked for, and pydicom quotes those that are odd."""
    files = made()
    for k, file in enumerate(files):
        file.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    data = bytearray((tmp_path / "0.dcm").read_bytes())
    at = data.index(b"\x20\x00\x0e\x00UI")
    data[at + 8 : at + 16] = b"Doe^Jane"
    (tmp_path / "0.dcm").write_bytes(data)
    with caplog.at_level(logging.DEBUG):
        assert read_series(tmp_path).volume.grid == (8, 9, 9)  # the file is of a series of its own now
    assert "Doe" not in caplog.text + "".join(str(one.message) for one in recwarn)


def test_what_a_damaged_length_makes_pydicom_raise_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Found by 10,000 damaged files."""

    def broken(*_: object, **__: object) -> None:
        raise struct.error("unpack requires a buffer of 4 bytes")

    monkeypatch.setattr(dicom_files, "dcmread", broken)
    with pytest.raises(VolumeError, match="a DICOM file is damaged"):
        read_series(zipped(made()))
