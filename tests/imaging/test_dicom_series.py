"""What a hospital's DICOM looks like: which series is taken, what is found in a header, and what is said of the rest."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import numpy as np
import pydicom
import pytest
from pydicom.fileset import FileSet
from pydicom.uid import CTImageStorage, ImplicitVRLittleEndian, generate_uid
from scipy.spatial.transform import Rotation

from engine.imaging.dicom import Series, read_dixon, read_series
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.dicom_files import enhanced, image, series, zipped
from tests.imaging.test_volume import ORIENTATIONS


@pytest.fixture(scope="module")
def scan() -> Volume:
    """Every voxel different and even, three spacings, oblique about two axes."""
    data = np.arange(12 * 14 * 10, dtype=np.float32).reshape(12, 14, 10) * 2 / 1000
    affine = np.eye(4)
    affine[:3, :3] = Rotation.from_euler("xz", [12, 7], degrees=True).as_matrix() @ np.diag([1.5, 2.0, 3.0])
    affine[:3, 3] = -20, 11, 5
    return Volume(data, affine)


def same(found: Series, scan: Volume) -> None:
    np.testing.assert_array_equal(found.volume.data, np.rint(scan.data * 1000))
    np.testing.assert_allclose(found.volume.affine, scan.affine, atol=2e-3)


@pytest.mark.parametrize("axcodes", ORIENTATIONS)
def test_a_marker_is_found_on_its_side_whichever_way_slices_run(scan: Volume, axcodes: str):
    """Axial, coronal and sagittal slices from either side, columns and rows either way, head or feet first."""
    same(read_series(zipped(series(scan, axcodes=axcodes))), scan)


@pytest.mark.parametrize("axcodes", ORIENTATIONS[::7])
def test_an_enhanced_image_is_the_same_scan(scan: Volume, axcodes: str):
    found = read_series(zipped([enhanced(scan, axcodes=axcodes)]))
    same(found, scan)
    assert found.notes == ()


def test_frames_without_places_and_frames_of_phase_are_no_scan(scan: Volume):
    short = enhanced(scan)
    del short.PerFrameFunctionalGroupsSequence[3:]
    with pytest.raises(VolumeError, match="has 10 frames and describes 3"):
        read_series(zipped([short]))
    phase = enhanced(scan)
    for group in phase.PerFrameFunctionalGroupsSequence:
        group.MRImageFrameTypeSequence[0].ComplexImageComponent = "PHASE"
    with pytest.raises(VolumeError, match="only localizers, projections or phase images"):
        read_series(zipped([phase]))


def test_last_digits_of_a_direction_and_of_a_size_do_not_split_a_series(scan: Volume):
    files = series(scan)
    for k, file in enumerate(files):
        axes = [float(v) for v in file.ImageOrientationPatient]
        file.ImageOrientationPatient = [round(v + (-1) ** k * 1e-5, 7) for v in axes]
        file.PixelSpacing = [2.0 + k * 1e-5, 1.5]
        file.EchoTime = ("2.98", "2.980")[k % 2]
        file.ImageType = ["ORIGINAL", "PRIMARY", "M", ("ND", "NORM")[k % 2]]
    found = read_series(zipped(files))
    np.testing.assert_array_equal(found.volume.data, np.rint(scan.data * 1000))
    assert found.notes == ()


def test_several_echoes_are_told_apart_and_asked_about(scan: Volume):
    first, second = series(scan), series(Volume(scan.data + 1, scan.affine))
    for file in first:
        file.EchoTime = 2.5
    for file in second:
        file.EchoTime, file.SeriesInstanceUID = 5, first[0].SeriesInstanceUID
    with pytest.raises(VolumeError, match=r"2 series of 10 slices each, with echo times of 2\.5, 5 ms; pack the one"):
        read_series(zipped([*first, *second]))
    # of a T1-weighted scan the long echo is not meant
    for file in second:
        file.EchoTime = 90
    same(read_series(zipped([*first, *second])), scan)


def test_phases_localizers_and_projections_are_left_and_said(scan: Volume):
    files, phase, scout = series(scan), series(scan), series(scan, axcodes="PSR")
    for file in phase:
        file.ImageType, file.SeriesInstanceUID = ["ORIGINAL", "PRIMARY", "P", "ND"], files[0].SeriesInstanceUID
    for file in scout:
        file.ImageType = ["ORIGINAL", "PRIMARY", "LOCALIZER"]
    found = read_series(zipped([*scout, *phase, *files]))
    same(found, scan)
    assert found.notes == ("The archive holds 3 series; the largest, of 10 slices, was taken.",)
    for file in files:
        file.add_new(0x00430010, "LO", "GEMS_PARM_01")
        file.add_new(0x0043102F, "SS", 1)
    with pytest.raises(VolumeError, match="only localizers, projections or phase images"):
        read_series(zipped([*scout, *files]))


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "M", "MOSAIC"]}, "mosaics, many slices in one image"),
        ({"Modality": "CT"}, r"no MR images \(CT\)"),
        ({"SOPClassUID": CTImageStorage}, "no MR images"),
        ({"PhotometricInterpretation": "MONOCHROME1"}, "not grey with black as 0"),
        ({"HighBit": 11}, "unusual place"),
        ({"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "lacks its geometry"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 1]}, "lacks its geometry"),
        ({"PixelSpacing": [0, 1]}, "lacks its geometry"),
        ({"RescaleSlope": 0}, "lacks its geometry"),
        ({"ImagePositionPatient": [0, 0]}, "lacks its geometry"),
    ],
)
def test_one_file_that_is_no_slice_is_never_just_left_out(scan: Volume, change: dict, sentence: str):
    files = series(scan)
    for name, value in change.items():
        setattr(files[0], name, value)
    with pytest.raises(VolumeError, match=sentence):
        read_series(zipped(files))


def test_a_sheared_stack_is_read_as_it_lies_and_said(scan: Volume):
    tilted = scan.affine.copy()
    tilted[:3, 2] += scan.affine[:3, 1] / 2 * np.tan(np.radians(15)) * 3
    files = series(scan)
    lps = np.diag([-1.0, -1, 1, 1]) @ tilted @ np.diag([-1, -1, 1, 1.0])
    corner = np.diag([-1.0, -1, 1, 1]) @ scan.affine @ [scan.grid[0] - 1, scan.grid[1] - 1, 0, 1]
    for k, file in enumerate(files):
        file.ImagePositionPatient = [float(v) for v in (corner + lps @ [0, 0, k, 0])[:3]]
    found = read_series(zipped(files))
    np.testing.assert_allclose(found.volume.affine[:3, :3], tilted[:3, :3], atol=1e-3)
    assert found.notes == ("Its slices are sheared by 15.0 degrees (gantry tilt), as they were taken.",)


def test_slices_that_wander_are_no_stack(scan: Volume):
    files = series(scan)
    files[4].ImagePositionPatient = [float(files[4].ImagePositionPatient[0]) + 5, *files[4].ImagePositionPatient[1:]]
    with pytest.raises(VolumeError, match="do not lie in a row"):
        read_series(zipped(files))


def test_mixed_orientations_are_told_apart(scan: Volume):
    """Three planes in one series, as a radiologist's reformats come: the largest is taken, and that is said."""
    files = series(scan)
    others = [*series(scan, axcodes="LSP")[:6], *series(scan, axcodes="PSR")[:7]]
    for file in others:
        file.SeriesInstanceUID = files[0].SeriesInstanceUID
    found = read_series(zipped([*others, *files]))
    same(found, scan)
    assert found.notes == ("The archive holds 3 series; the largest, of 10 slices, was taken.",)


def test_images_that_may_be_missing_at_the_end_are_said(scan: Volume):
    files = series(scan)
    for k, file in enumerate(files):
        file.InstanceNumber = k + 5
    assert read_series(zipped(files)).notes == ("Its images are numbered from 5, so some at its end may be missing.",)


@pytest.mark.parametrize("form", ["no preamble", "no meta", "implicit without meta"])
def test_files_as_older_archives_write_them(scan: Volume, form: str):
    files, stream = series(scan), io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for k, file in enumerate(files):
            part = io.BytesIO()
            if form == "no preamble":
                file.preamble = None
                pydicom.dcmwrite(part, file, enforce_file_format=False)
            else:
                del file.file_meta
                file.preamble = None
                implicit = form.startswith("implicit")
                pydicom.dcmwrite(part, file, implicit_vr=implicit, little_endian=True, enforce_file_format=False)
            archive.writestr(f"IM{k}", part.getvalue())
    same(read_series(stream.getvalue()), scan)


def test_bits_above_those_stored_are_no_signal(scan: Volume):
    files = series(scan)
    for file in files:
        file.BitsStored, file.HighBit = 12, 11
    same(read_series(zipped(files)), scan)
    for file in files:
        pixels = file.pixel_array.copy()
        pixels[0, 0] |= 0x8000  # an overlay, as older scanners draw it
        file.PixelData = pixels.tobytes()
    same(read_series(zipped(files)), scan)


def test_a_folder_archives_in_it_and_a_dicomdir_are_read(scan: Volume, tmp_path: Path):
    files = series(scan)
    folder, medium = tmp_path / "folder", tmp_path / "medium"
    (folder / "deep" / "er").mkdir(parents=True)
    for k, file in enumerate(files):
        file.StudyInstanceUID, file.PatientID, file.SeriesNumber, file.InstanceNumber = "1.2.3", "77", 1, k + 1
        file.StudyDate, file.StudyTime, file.StudyID = "20200101", "10", "1"
        file.save_as(folder / "deep" / "er" / f"{files[-k].SOPInstanceUID}", enforce_file_format=True)
    (folder / "notes.txt").write_text("no image" * 40)
    same(read_series(folder), scan)
    written = FileSet()
    for file in files:
        written.add(file)
    written.write(medium)
    same(read_series(medium / "DICOMDIR"), scan)
    same(read_series(medium), scan)
    (tmp_path / "zips").mkdir()
    (tmp_path / "zips" / "a.zip").write_bytes(zipped(files))
    same(read_series(tmp_path / "zips"), scan)
    next(p for p in medium.rglob("*") if p.is_file() and p.name != "DICOMDIR").unlink()
    with pytest.raises(VolumeError, match="1 of 10 files that DICOMDIR names are not there"):
        read_series(medium / "DICOMDIR")
    with pytest.raises(VolumeError, match="does not exist"):
        read_series(tmp_path / "nowhere")


def test_age_sex_and_size_come_with_the_scan(scan: Volume):
    files = series(scan)
    for file in files:
        file.PatientAge, file.PatientSex, file.PatientSize, file.PatientWeight = "061Y", "F", "1.65", "70.5"
    found = read_series(zipped(files))
    assert found.row == {"age": 61.0, "sex": "F", "height": 165.0, "weight": 70.5}
    assert found.notes == ()
    for file in files:
        file.PatientAge, file.PatientSex, file.PatientSize, file.PatientWeight = "018M", "O", "165", "0"
    found = read_series(zipped(files))
    assert found.row == {"age": 1.5}
    assert found.notes == (
        "The header says: height 16500 lies outside 40 to 250 cm; correct the cell or leave it n/a.",
    )


def dixon(scan: Volume, words: dict[str, list[str]], **more: str) -> list[pydicom.FileDataset]:
    files = []
    for k, (name, kind) in enumerate(words.items()):
        part = series(Volume(scan.data + k, scan.affine))
        for file in part:
            file.ImageType, file.SeriesDescription = kind, more.get(name, "t1_vibe_dixon")
        files += part
    return files


@pytest.mark.parametrize(
    "words",
    [
        {"water": ["DERIVED", "PRIMARY", "DIXON", "WATER"], "fat": ["DERIVED", "PRIMARY", "DIXON", "FAT"]},
        {"water": ["DERIVED", "PRIMARY", "W", "W", "DERIVED"], "fat": ["DERIVED", "PRIMARY", "F", "F", "DERIVED"]},
    ],
)
def test_water_and_fat_are_told_by_their_headers(scan: Volume, words: dict[str, list[str]]):
    every = {**words, "in": ["DERIVED", "PRIMARY", "DIXON", "IN_PHASE"], "out": ["DERIVED", "PRIMARY", "DIXON", "OPP"]}
    for together in (False, True):
        files = dixon(scan, every)
        if together:
            for file in files:
                file.SeriesInstanceUID = files[0].SeriesInstanceUID
        found = read_dixon(zipped(files))
        assert found.volume.channels == ("water", "fat")
        assert found.notes == ("The archive holds 4 series; its water and fat images were taken.",)
        np.testing.assert_array_equal(found.volume.data[0], np.rint(scan.data * 1000))
        np.testing.assert_array_equal(found.volume.data[1], np.rint((scan.data + 1) * 1000))
    with pytest.raises(VolumeError, match="no series says that it shows fat"):
        read_dixon(zipped(dixon(scan, {k: v for k, v in every.items() if k != "fat"})))
    with pytest.raises(VolumeError, match="4 series of 10 slices each"):
        read_series(zipped(dixon(scan, every)))


def test_water_and_fat_are_told_by_the_name_of_their_series(scan: Volume):
    plain = ["ORIGINAL", "PRIMARY", "OTHER"]
    files = dixon(scan, {"water": plain, "fat": plain}, water="WATER: Ax LAVA-Flex", fat="FAT: Ax LAVA-Flex")
    np.testing.assert_array_equal(read_dixon(zipped(files)).volume.data[1], np.rint((scan.data + 1) * 1000))


def test_a_single_picture_is_no_scan():
    one = image(np.zeros((20, 20)), [0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], generate_uid())
    one.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    with pytest.raises(VolumeError, match="the largest series has 1 slices, 8 are the least"):
        read_series(zipped([one]))


def raw(file: pydicom.FileDataset) -> bytearray:
    stream = io.BytesIO()
    file.save_as(stream, enforce_file_format=True)
    return bytearray(stream.getvalue())


@pytest.mark.parametrize("fault", ["transfer syntax", "length", "cut off", "magic", "class"])
def test_a_file_that_fuzzing_broke_is_said_and_never_left_out(scan: Volume, fault: str, tmp_path: Path):
    """Found by damaged bytes: two that raised, three that were passed over, so that the stack was one slice shorter."""
    files = series(scan)
    for k, file in enumerate(files):
        file.save_as(tmp_path / f"{k}.dcm", enforce_file_format=True)
    broken = raw(files[0])
    if fault == "transfer syntax":
        at = broken.index(b"1.2.840.10008.1.2.1")
        broken[at : at + 19] = b"1.2.840.99999.1.2.1"
    elif fault == "length":
        broken[138:140] = b"\5\0"
    elif fault == "cut off":
        broken = broken[:300]
    elif fault == "magic":
        broken[128:132] = b"XICM"
    else:
        at = broken.rindex(b"1.2.840.10008.5.1.4.1.1.4")
        broken[at : at + 8] = b"9.9.9999"
    (tmp_path / "0.dcm").write_bytes(broken)
    with pytest.raises(VolumeError, match=r"damaged|no MR images|compressed in a way"):
        read_series(tmp_path)
