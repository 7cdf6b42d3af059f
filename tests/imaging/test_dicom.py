"""A DICOM series comes back as the volume it was made of; what is missing, compressed or doubled is said, names never are."""

from __future__ import annotations

import copy
import io
import zipfile

import numpy as np
import pytest
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLSLossless,
    RLELossless,
)

from engine.imaging.dicom import TAGS, read_series
from engine.imaging.dicom import files as dicom_files
from engine.imaging.volume import Volume, VolumeError
from tests.imaging.dicom_files import BIRTH, HOSPITAL, NAME, series, zipped


@pytest.fixture
def scan() -> Volume:
    """Every voxel different, three different spacings, turned by 10 degrees about the axis from left to right."""
    data = np.arange(12 * 14 * 10, dtype=np.float32).reshape(12, 14, 10) / 1000
    turn = np.eye(4)
    turn[1:3, 1:3] = [[np.cos(0.17), -np.sin(0.17)], [np.sin(0.17), np.cos(0.17)]]
    affine = turn @ np.diag([1.5, 2.0, 3.0, 1.0])
    affine[:3, 3] = -20, 11, 5
    return Volume(data, affine)


@pytest.mark.parametrize("axcodes", ["RAS", "PSR", "LIA"])
def test_a_series_is_the_volume_it_was_made_of(scan: Volume, axcodes: str):
    found = read_series(zipped(series(scan.reoriented(axcodes))))
    assert found.notes == ()
    assert (found.volume.axcodes, found.volume.channels) == ("RAS", ("T1w",))
    np.testing.assert_array_equal(found.volume.data, np.rint(scan.data * 1000))
    np.testing.assert_allclose(found.volume.affine, scan.affine, atol=1e-3)


def test_the_rescale_is_applied_and_the_syntax_may_be_implicit(scan: Volume):
    files = series(scan)
    for file in files:
        file.RescaleSlope, file.RescaleIntercept = 2, -100
        file.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian
    np.testing.assert_array_equal(read_series(zipped(files)).volume.data, np.rint(scan.data * 1000) * 2 - 100)


def test_of_several_series_the_largest_is_taken_and_said(scan: Volume):
    short = Volume(scan.data[..., :4] + 1, scan.affine)
    more = {"README.txt": b"no image", "DICOMDIR": b"\0" * 200}
    found = read_series(zipped([*series(short), *series(scan)], more))
    assert found.volume.grid == scan.grid
    assert found.notes == ("The archive holds 2 series; the largest, of 10 slices, was taken.",)


def test_a_missing_slice_a_doubled_one_and_a_short_series_are_said(scan: Volume):
    files = series(scan)
    with pytest.raises(VolumeError, match=r"2 of 10 slices are missing, the first 9 mm into the series"):
        read_series(zipped([file for k, file in enumerate(files) if k not in (4, 5)]))
    other = copy.deepcopy(files[3])
    other.PixelData = bytes(len(other.PixelData))
    with pytest.raises(VolumeError, match="several images lie at the same place"):
        read_series(zipped([*files, other]))
    again = read_series(zipped([*files, files[3], files[4]]))
    np.testing.assert_array_equal(again.volume.data, read_series(zipped(files)).volume.data)
    assert again.notes == ("2 files are copies of others, byte for byte; each was taken once.",)
    with pytest.raises(VolumeError, match="has 6 slices, 8 are the least"):
        read_series(zipped(files[:6]))
    files[5].ImagePositionPatient = [float(v) + 0.6 for v in files[5].ImagePositionPatient]
    with pytest.raises(VolumeError, match="unevenly spaced"):
        read_series(zipped(files))


@pytest.mark.parametrize("syntax", [JPEG2000Lossless, RLELossless, JPEGLSLossless, DeflatedExplicitVRLittleEndian])
def test_compressed_pixels_are_read(scan: Volume, syntax: str):
    scan = Volume(np.pad(scan.data, [(20, 20), (20, 20), (0, 0)]), scan.affine)
    files = series(scan)
    for file in files:
        if syntax == DeflatedExplicitVRLittleEndian:
            file.file_meta.TransferSyntaxUID = syntax
        else:
            file.compress(syntax, generate_instance_uid=False)
    found = read_series(zipped(files))
    np.testing.assert_array_equal(found.volume.data, np.rint(scan.data * 1000))
    assert found.notes == ()


def test_pixels_that_cannot_be_decompressed_are_refused(
    scan: Volume, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
):
    files = series(scan)
    for file in files:
        file.file_meta.TransferSyntaxUID = JPEGBaseline8Bit
        file.PixelData = b"\xfe\xff\x00\xe0\x00\x00\x00\x00\xfe\xff\x00\xe0\x02\x00\x00\x00\xff\xd8"
        file["PixelData"].is_undefined_length = True
    with pytest.raises(
        VolumeError, match=r"compressed in a way that cannot be read, or damaged; export them uncompressed"
    ):
        read_series(zipped(files))
    assert caplog.text == ""
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"SamplesPerPixel": 3}, "in colour"),
        ({"NumberOfFrames": 12}, "multi-frame"),
        ({"PixelData": b"\0" * 4}, "damaged or lacks its geometry"),
        ({"PixelSpacing": None}, "damaged or lacks its geometry"),
    ],
)
def test_what_is_no_plain_image_is_refused(scan: Volume, change: dict, sentence: str):
    files = series(scan)
    for name, value in change.items():
        setattr(files[0], name, value)
    with pytest.raises(VolumeError, match=sentence):
        read_series(zipped(files))


def test_what_is_no_archive_or_a_bomb_is_refused_before_it_is_unpacked(scan: Volume, monkeypatch: pytest.MonkeyPatch):
    whole = zipped(series(scan))
    for broken in (b"%PDF-1.7", whole[: len(whole) // 2]):
        with pytest.raises(VolumeError, match="damaged or incomplete"):
            read_series(broken)
    with pytest.raises(VolumeError, match="holds no DICOM image"):
        read_series(zipped([], {"letter.txt": b"no image"}))
    bomb = _bomb(8 * 2**20)
    monkeypatch.setattr(dicom_files, "MOST_BYTES", 2**20)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(VolumeError, match="unpacks to 8 MB, 1 MB are the most"):
        read_series(bomb)


def _bomb(size: int) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("IM0000", b"\0" * size)
    return stream.getvalue()


def test_no_name_comes_out(scan: Volume, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture):
    """Neither in what is returned, nor in a refusal, nor in a log; not even what is read holds the name."""
    found = read_series(zipped(series(scan)))
    said = [repr(found.notes), repr(found.volume.channels), repr(TAGS)]
    files = series(scan)
    files[2].PixelSpacing = None
    with pytest.raises(VolumeError) as refused:
        read_series(zipped(files))
    captured = capfd.readouterr()
    said += [str(refused.value), captured.out, captured.err, caplog.text]
    for secret in (NAME, "Doe", BIRTH, HOSPITAL, "PatientName"):
        assert not any(secret in text for text in said)


def test_only_a_locked_archive_is_called_locked(scan: Volume, monkeypatch: pytest.MonkeyPatch):
    archive = bytearray(zipped(series(scan)))
    for magic, flags in ((b"PK\1\2", 8), (b"PK\3\4", 6)):
        at = archive.find(magic)
        archive[at + flags] |= 1
    with pytest.raises(VolumeError, match="locked with a password"):
        read_series(bytes(archive))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("no handler is able to decode the pixels")

    monkeypatch.setattr(dicom_files, "dcmread", broken)
    with pytest.raises(VolumeError, match="a DICOM file is damaged"):
        read_series(zipped(series(scan)))
