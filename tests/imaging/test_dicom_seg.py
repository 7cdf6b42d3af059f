"""DICOM-SEG: the same labels in the same places of the patient, on the scan's slices, of the scan's patient."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from highdicom.seg import Segmentation as Seg
from pydicom import Dataset, dcmread
from pydicom.uid import generate_uid

from engine.imaging.dicom_seg import code_of, read_dicom_seg, write_dicom_seg
from engine.imaging.dicom_write import Origin, write_series
from engine.imaging.segmentation import Segmentation, read_segmentation
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.dicom_files import series

CLASSES = ("background", "liver", "left_kidney", "heart", "jelly")
GRID = (12, 14, 10)
ORIGIN = Origin(
    checkpoint="torso-dixon", digest="0123456789ab", seed=7, steps=8, guidance=1.5, given={}, attributes={"sex": "F"}
)
ABOUT = {"description": "SYNTHETIC - not for diagnosis", "model_name": "torso-dixon", "model_version": "0123456789ab"}


@pytest.fixture
def affine() -> np.ndarray:
    """Three spacings, turned by 10 degrees about the vertical."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.17), -np.sin(0.17)], [np.sin(0.17), np.cos(0.17)]]
    made = turn @ np.diag([1.5, 2.0, 3.0, 1.0])
    made[:3, 3] = -20, 11, 5
    return made


@pytest.fixture
def segmentation(affine: np.ndarray) -> Segmentation:
    """Boxes of three classes, none of the fourth, none in the lowest and the highest slices."""
    labels = np.zeros(GRID, np.uint8)
    labels[7:11, 2:7, 3:7] = 1
    labels[1:4, 3:6, 2:4] = 2
    labels[5:7, 8:12, 6:8] = 3
    return Segmentation(labels, affine, CLASSES)


@pytest.fixture
def sources(affine: np.ndarray) -> list[Dataset]:
    scan = Volume(np.random.default_rng(3).random(GRID, np.float32), affine)
    return [dcmread(io.BytesIO(data)) for _, data in write_series(scan, ORIGIN)]


def saved(folder: Path, data: bytes) -> Path:
    (folder / "seg.dcm").write_bytes(data)
    return folder / "seg.dcm"


def opened(data: bytes) -> Dataset:
    return dcmread(io.BytesIO(data))


@pytest.mark.parametrize("axcodes", ["RAS", "LPS", "PSR", "LIA"])
def test_what_is_written_is_read(segmentation: Segmentation, sources: list[Dataset], tmp_path: Path, axcodes: str):
    """Whichever way the labels' axes ran, and in whatever order the slices come."""
    turned = Volume(segmentation.labels, segmentation.affine).reoriented(axcodes)
    made = replace(segmentation, labels=turned.data, affine=turned.affine)
    labels, affine, names = read_dicom_seg(saved(tmp_path, write_dicom_seg(made, sources[::-1], **ABOUT)))
    found = Volume(labels, affine).resampled(GRID, segmentation.affine, order=0)
    np.testing.assert_array_equal(found.data, segmentation.labels)
    assert names == dict(enumerate(CLASSES[1:], 1))


def test_it_is_read_as_any_label_map(segmentation: Segmentation, sources: list[Dataset], tmp_path: Path):
    """By its names, on the model's grid; that it leaves out empty slices is no smaller field of view."""
    path = saved(tmp_path, write_dicom_seg(segmentation, sources, **ABOUT))
    classes = ("background", "jelly", "Heart", "left kidney", "liver", "lung")
    found, notes = read_segmentation(path, classes=classes, grid=GRID, affine=segmentation.affine)
    np.testing.assert_array_equal(found.labels, np.array([0, 4, 3, 2, 1], np.uint8)[segmentation.labels])
    assert len(notes) == 2
    assert notes[0].startswith("seg.dcm was resampled from 12 x 14 x 6 voxels of 1.5 x 2 x 3 mm")
    assert notes[1] == "seg.dcm does not have these classes of the model's: jelly, lung."


def test_the_block_stays_on_its_side(segmentation: Segmentation, sources: list[Dataset]):
    """The liver's middle in mm by the attributes of its frames alone: DICOM's left and back are positive."""
    image = opened(write_dicom_seg(segmentation, sources, **ABOUT))
    shared = image.SharedFunctionalGroupsSequence[0]
    x, y = np.array(shared.PlaneOrientationSequence[0].ImageOrientationPatient, float).reshape(2, 3)
    between_rows, between_columns = shared.PixelMeasuresSequence[0].PixelSpacing
    places = []
    for frame, pixels in zip(image.PerFrameFunctionalGroupsSequence, image.pixel_array, strict=True):
        if frame.SegmentIdentificationSequence[0].ReferencedSegmentNumber == 1:
            rows, columns = np.nonzero(pixels)
            corner = np.array(frame.PlanePositionSequence[0].ImagePositionPatient, float)
            places.append(corner + np.outer(columns, x * between_columns) + np.outer(rows, y * between_rows))
    middle = np.concatenate(places).mean(0) * [-1, -1, 1]
    ijk = np.argwhere(segmentation.labels == 1).mean(0)
    np.testing.assert_allclose(middle, (segmentation.affine @ [*ijk, 1])[:3], atol=1e-4)


def test_it_belongs_to_the_scan_and_says_what_it_is(segmentation: Segmentation, sources: list[Dataset]):
    image = opened(write_dicom_seg(segmentation, sources, **ABOUT))
    for keyword in ("PatientName", "PatientID", "StudyInstanceUID", "FrameOfReferenceUID", "SyntheticData"):
        assert image[keyword].value == sources[0][keyword].value
    assert (image.Modality, image.SegmentationType, image.SegmentsOverlap) == ("SEG", "BINARY", "NO")
    assert image.ContentDescription == image.SeriesDescription == image.ImageComments == ABOUT["description"]
    assert image.SeriesInstanceUID != sources[0].SeriesInstanceUID
    referenced = {one.ReferencedSOPInstanceUID for one in image.SourceImageSequence}
    assert referenced <= {one.SOPInstanceUID for one in sources}
    segment = image.SegmentSequence[1]
    assert (segment.SegmentLabel, segment.SegmentAlgorithmType) == ("left_kidney", "AUTOMATIC")
    assert segment.SegmentAlgorithmName == "torso-dixon"
    assert segment.SegmentedPropertyTypeCodeSequence[0].CodeValue == "64033007"


def test_of_a_scan_without_a_date_it_is_the_same_every_time(segmentation: Segmentation, sources: list[Dataset]):
    first, again = (write_dicom_seg(segmentation, sources, **ABOUT) for _ in range(2))
    assert first == again
    assert not opened(first).StudyDate
    other = replace(segmentation, labels=np.roll(segmentation.labels, 1, 0))
    assert opened(write_dicom_seg(other, sources, **ABOUT)).SOPInstanceUID != opened(first).SOPInstanceUID


def test_a_scanner_s_series_without_what_may_be_empty(segmentation: Segmentation, tmp_path: Path):
    """Pixels are not needed, and a date makes a date."""
    scan = Volume(np.ones(GRID, np.float32), segmentation.affine)
    study, frame = generate_uid(), generate_uid()
    slices = series(scan)
    for one in slices:
        one.StudyInstanceUID, one.FrameOfReferenceUID, one.StudyDate = study, frame, "20240102"
        one.SliceThickness = 3.0
        del one.PixelData
    data = write_dicom_seg(segmentation, slices, **ABOUT)
    labels, affine, _ = read_dicom_seg(saved(tmp_path, data))
    found = Volume(labels, affine).resampled(GRID, segmentation.affine, order=0)
    np.testing.assert_array_equal(found.data, segmentation.labels)
    assert opened(data).ContentDate > "20250101"
    assert "StudyTime" not in slices[0]


def test_labels_of_another_grid_come_onto_the_slices(
    segmentation: Segmentation, sources: list[Dataset], tmp_path: Path
):
    fine = Volume(segmentation.labels, segmentation.affine).resampled(
        (24, 28, 20), segmentation.affine @ np.diag([0.5, 0.5, 0.5, 1]), order=0
    )
    made = Segmentation(fine.data, fine.affine, CLASSES)
    labels, affine, _ = read_dicom_seg(saved(tmp_path, write_dicom_seg(made, sources, **ABOUT)))
    found = Volume(labels, affine).resampled(GRID, segmentation.affine, order=0)
    np.testing.assert_array_equal(found.data, segmentation.labels)


def test_a_single_slice_of_labels_is_read(segmentation: Segmentation, sources: list[Dataset], tmp_path: Path):
    labels = segmentation.labels * (np.arange(10) == 5).astype(np.uint8)
    path = saved(tmp_path, write_dicom_seg(replace(segmentation, labels=labels), sources, **ABOUT))
    found, _ = read_segmentation(path, classes=CLASSES, grid=GRID, affine=segmentation.affine)
    np.testing.assert_array_equal(found.labels, labels)


@pytest.mark.parametrize(
    ("name", "category", "value"),
    [
        ("liver", "91723000", "10200004"),
        ("Left-Kidneys", "91723000", "64033007"),
        ("left_ventricle", "91723000", "87878005"),
        ("third ventricle", "91723000", "35764002"),
        ("brain_stem", "91723000", "119238007"),
        ("gallbladder", "91723000", "28231008"),
        ("visceral_fat", "85756007", "55603005"),
        ("CSF", "91720002", "65216001"),
        ("jelly", "85756007", "85756007"),
        ("fatty", "85756007", "85756007"),
    ],
)
def test_a_class_has_its_code(name: str, category: str, value: str):
    assert [code.value for code in code_of(name)] == [category, value]


def overlapping(segmentation: Segmentation, sources: list[Dataset], kind: str = "BINARY") -> bytes:
    """The liver twice, as two segments."""
    image = opened(write_dicom_seg(segmentation, sources, **ABOUT))
    seg = Seg.from_dataset(image)
    liver = np.stack([one.get_volume(combine_segments=True).array == 1 for one in (seg, seg)], -1)
    volume = seg.get_volume(combine_segments=True)
    made = Seg(
        source_images=sources,
        pixel_array=type(volume)(liver.astype(np.uint8), volume.affine, "PATIENT", channels={"SegmentNumber": [1, 2]}),
        segmentation_type=kind,
        segment_descriptions=[seg.get_segment_description(n) for n in (1, 2)],
        series_instance_uid=generate_uid(),
        series_number=2,
        sop_instance_uid=generate_uid(),
        instance_number=1,
        manufacturer="A",
        manufacturer_model_name="B",
        software_versions="1",
        device_serial_number="1",
    )
    stream = io.BytesIO()
    made.save_as(stream)
    return stream.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(VolumeError) as refused:
        read_dicom_seg(path)
    return str(refused.value)


def test_overlapping_segments_are_refused(segmentation: Segmentation, sources: list[Dataset], tmp_path: Path):
    said = "seg.dcm has segments that overlap, a voxel is of one class only; export them without overlap"
    assert refusal(saved(tmp_path, overlapping(segmentation, sources))) == said


def test_fractions_are_refused(segmentation: Segmentation, sources: list[Dataset], tmp_path: Path):
    said = "seg.dcm is a segmentation of type FRACTIONAL, no labels; export it as BINARY"
    assert refusal(saved(tmp_path, overlapping(segmentation, sources, "FRACTIONAL"))) == said


def test_a_scan_is_no_segmentation(sources: list[Dataset], tmp_path: Path):
    sources[0].save_as(tmp_path / "seg.dcm")
    said = "seg.dcm is a DICOM MR, no segmentation (SEG); give the SEG object, or a NIfTI label map"
    assert refusal(tmp_path / "seg.dcm") == said


def test_what_is_damaged_is_refused(segmentation: Segmentation, sources: list[Dataset], tmp_path: Path):
    data = write_dicom_seg(segmentation, sources, **ABOUT)
    image = opened(data)
    del image.PerFrameFunctionalGroupsSequence
    image.save_as(tmp_path / "seg.dcm")
    assert refusal(tmp_path / "seg.dcm").startswith("seg.dcm cannot be read as DICOM-SEG: it is damaged")
    for cut in (400, len(data) // 2, len(data) - 50):
        assert "seg.dcm" in refusal(saved(tmp_path, data[:cut]))


@pytest.mark.parametrize(
    ("number", "frames", "said"),
    [
        (9, None, "seg.dcm has frames of segment 1, which it does not describe; export it again, or save it as NIfTI"),
        (1, 2, "seg.dcm says it has 2 frames and describes 8; export it again, or save it as NIfTI"),
    ],
)
def test_frames_are_not_left_out(
    segmentation: Segmentation, sources: list[Dataset], tmp_path: Path, number: int, frames: int | None, said: str
):
    image = opened(write_dicom_seg(segmentation, sources, **ABOUT))
    image.SegmentSequence[0].SegmentNumber = number
    image.NumberOfFrames = frames or image.NumberOfFrames
    image.save_as(tmp_path / "seg.dcm")
    assert refusal(tmp_path / "seg.dcm") == said


def test_slices_that_are_no_series_are_refused(segmentation: Segmentation, sources: list[Dataset]):
    for some, said in (
        (sources[:1], "1 images given; give all of one series"),
        ([*sources[:3], *sources[4:]], "the 9 images given are no evenly spaced slices of one series"),
        ([*sources, sources[0]], "the 11 images given are no evenly spaced slices of one series"),
    ):
        with pytest.raises(VolumeError, match=said):
            write_dicom_seg(segmentation, some, **ABOUT)
    away = replace(segmentation, affine=segmentation.affine + _shift(400))
    with pytest.raises(VolumeError, match="no labelled voxel lies within the slices of the series; give the series of"):
        write_dicom_seg(away, sources, **ABOUT)


def _shift(mm: float) -> np.ndarray:
    made = np.zeros((4, 4))
    made[0, 3] = mm
    return made
