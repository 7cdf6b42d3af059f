"""NIfTI files: the same scan from a path and from bytes, whatever its version, byte order or extensions; else a sentence."""

from __future__ import annotations

import gzip
import io
import math
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.nifti1 import Nifti1Extension

from engine.imaging.nifti import cleaned, load_volume, read_volume, unpacked
from engine.imaging.volume import Volume, VolumeError

HEADS = Path(__file__).parents[3] / "shared/data/ixi-head-t1"
AFFINE = np.array([[-1.5, 0, 0, 20], [0, 0, 2.0, -31], [0, 3.0, 0, 4], [0, 0, 0, 1]])
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)


def made(
    voxels: np.ndarray = VOXELS, *, kind: type = nib.Nifti1Image, order: str = "<", extensions: tuple[int, ...] = ()
) -> bytes:
    """A NIfTI file with header extensions of so many bytes."""
    header = kind.header_class(endianness=order)
    header.set_data_dtype(voxels.dtype)
    image = kind(voxels, AFFINE, header)
    for size in extensions:
        image.header.extensions.append(Nifti1Extension("comment", b"x" * size))
    return image.to_bytes()


def patched(at: int, value: np.ndarray | np.generic) -> bytes:
    """The file with some bytes of its NIfTI-1 header overwritten."""
    file = bytearray(made())
    file[at : at + value.nbytes] = value.tobytes()
    return bytes(file)


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("extensions", [(), (20,), (2550, 300)])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize("kind", [nib.Nifti1Image, nib.Nifti2Image])
def test_bytes_and_path_give_the_same_scan(
    kind: type, order: str, extensions: tuple[int, ...], packed: bool, tmp_path: Path
):
    file = made(kind=kind, order=order, extensions=extensions)
    assert unpacked(gzip.compress(file)) == unpacked(file) == file
    data = gzip.compress(file) if packed else file
    path = tmp_path / f"a.nii{'.gz' * packed}"
    path.write_bytes(data)
    for volume in (read_volume(data, "water"), load_volume(path, "water")):
        assert volume.channels == ("water",)
        assert volume.data.dtype == np.float32
        np.testing.assert_array_equal(volume.data, VOXELS)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8"])
def test_every_plain_number_is_read_as_nibabel_reads_it(dtype: str):
    for order in "<>":
        file = made(VOXELS.astype(dtype), order=order)
        expected = np.asarray(nib.Nifti1Image.from_bytes(file).dataobj, dtype=np.float32)
        np.testing.assert_array_equal(read_volume(file).data, expected)


def test_a_scale_is_applied_and_one_that_is_no_number_is_none():
    # scl_slope and scl_inter stand at bytes 112 and 116
    scaled = patched(112, np.array([2.5, -7], np.float32))
    np.testing.assert_array_equal(read_volume(scaled).data, VOXELS * 2.5 - 7)
    for slope in (np.nan, np.inf, 0):
        plain = patched(112, np.array([slope, np.nan], np.float32))
        np.testing.assert_array_equal(read_volume(plain).data, VOXELS)
    with pytest.raises(VolumeError, match="invalid intercept"):
        read_volume(patched(112, np.array([2, np.nan], np.float32)))


@pytest.mark.parametrize(
    ("voxels", "sentence"),
    [
        (np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1")]), r"colours \(RGB24\).*one grey volume"),
        (np.zeros((4, 4, 4), [("R", "u1"), ("G", "u1"), ("B", "u1"), ("A", "u1")]), r"colours \(RGBA32\)"),
        (np.ones((4, 4, 4), np.complex64) * 1j, r"complex numbers \(complex64\).*magnitude"),
        (np.ones((4, 4, 4), np.complex128) * 1j, r"complex numbers \(complex128\).*magnitude"),
        (np.ones((4, 4, 4, 2), np.float32), r"shape \(4, 4, 4, 2\): one 3D volume is needed, split it"),
        (np.ones((4, 4, 4, 1, 3), np.float32), r"shape \(4, 4, 4, 1, 3\)"),
        (np.ones((4, 4), np.float32), r"shape \(4, 4\)"),
        (np.full((4, 4, 4), np.inf, np.float32), "64 voxels that are NaN or infinite"),
        (np.full((4, 4, 4), 1e300), "64 voxels that are NaN or infinite"),
    ],
)
def test_what_a_volume_cannot_hold_is_refused_by_name(voxels: np.ndarray, sentence: str, tmp_path: Path):
    file = made(voxels)
    (tmp_path / "odd.nii").write_bytes(file)
    with pytest.raises(VolumeError, match=f"the scan .*{sentence}"):
        read_volume(file)
    with pytest.raises(VolumeError, match=rf"odd\.nii .*{sentence}"):
        load_volume(tmp_path / "odd.nii")


@pytest.mark.parametrize(
    ("at", "value", "sentence"),
    [
        (40, np.int16(9), "has 9 axes"),
        (44, np.int16(0), r"shape \(4, 0, 6\), an axis without voxels"),
        (44, np.int16(-5), r"shape \(4, -5, 6\), an axis without voxels"),
        (44, np.int16(500), "the file is cut off, 592 of 24352 bytes"),
        (70, np.int16(0), "data type 0"),
        (70, np.int16(1536), r"128 bits \(float128\)"),
        (70, np.int16(2048), r"complex256"),
        (70, np.int16(1), "binary"),
        (72, np.int16(8), "8 bits a voxel, int16 has 16"),
        (108, np.float32(100), "begin at byte 100, 352 is the first"),
        (108, np.float32(-4), "begin at byte -4"),
        (108, np.float32(np.inf), "begin at byte inf"),
        (108, np.float32(np.nan), "begin at byte nan"),
    ],
)
def test_a_header_that_is_damaged_gets_a_sentence(at: int, value: np.generic, sentence: str):
    with pytest.raises(VolumeError, match=sentence):
        read_volume(patched(at, value))


def test_what_is_no_nifti_file_is_named():
    whole = gzip.compress(made())
    for data, sentence in (
        (whole[: len(whole) // 2], "cut off or damaged"),
        (made()[:-100], "the file is cut off, 492 of 592 bytes are there"),
        (made()[:200], "no NIfTI file but something else"),
        (b"", "this is no NIfTI file but something else"),
        (b"%PDF-1.7 letter", "no NIfTI file but a PDF"),
        (b"\0" * 128 + b"DICM" + b"\0" * 500, "pack the whole series"),
        (gzip.compress(b"PK\3\4", mtime=0), "no NIfTI file"),
    ):
        with pytest.raises(VolumeError, match=sentence):
            read_volume(data)


def test_a_bomb_is_not_inflated_beyond_what_its_header_says():
    """64 MB of zeros behind a small scan: only the scan's bytes are ever made; and a header that promises much is refused."""
    small = Volume(np.full((8, 8, 8), 0.5, np.float32), np.eye(4)).to_nifti().to_bytes()
    stream = io.BytesIO()
    with gzip.GzipFile(fileobj=stream, mode="wb", compresslevel=1) as packed:
        packed.write(small)
        for _ in range(64):
            packed.write(b"\0" * 2**20)
    assert unpacked(stream.getvalue()) == small
    with pytest.raises(VolumeError, match=r"MB are the most; resample it"):
        read_volume(gzip.compress(made()), most=100)


def test_a_flipped_bit_in_a_packed_file_is_refused(tmp_path: Path):
    """The checksum at the end of the file is compared, from a path and from bytes."""
    voxels = np.random.default_rng(0).integers(0, 200, (20, 20, 20)).astype(np.uint8)
    file = gzip.compress(made(voxels), mtime=0)
    for at in np.random.default_rng(1).integers(300, len(file) - 10, 20):
        flipped = bytearray(file)
        flipped[at] ^= 4
        (tmp_path / "flipped.nii.gz").write_bytes(flipped)
        with pytest.raises(VolumeError, match="cut off or damaged"):
            load_volume(tmp_path / "flipped.nii.gz")
        with pytest.raises(VolumeError, match="cut off or damaged"):
            read_volume(bytes(flipped))


def test_a_pair_of_header_and_image_is_one_scan(tmp_path: Path):
    nib.Nifti1Pair(VOXELS, AFFINE).to_filename(tmp_path / "a.img")
    for name in ("a.img", "a.hdr"):
        volume = load_volume(tmp_path / name)
        np.testing.assert_array_equal(volume.data, VOXELS)
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)
    (tmp_path / "a.img").write_bytes(b"short")
    with pytest.raises(VolumeError, match=r"a\.hdr cannot be read.*cut off"):
        load_volume(tmp_path / "a.hdr")
    nib.AnalyzeImage(VOXELS, np.diag([-2.0, 2, 2, 1])).to_filename(tmp_path / "old.img")
    for name in ("old.img", "old.hdr"):
        with pytest.raises(VolumeError, match="no NIfTI file but something else"):
            load_volume(tmp_path / name)


@pytest.mark.skipif(not HEADS.is_dir(), reason="needs the shared heads")
def test_every_shared_head_is_read_from_its_bytes():
    """All have a header extension; their voxels begin at byte 2896 or 2912."""
    files = sorted(HEADS.glob("sub-*/anat/*_T1w.nii.gz"))
    assert len(files) == 148
    offsets = set()
    for file in files:
        data = file.read_bytes()
        offsets.add(float(nib.Nifti1Header.from_fileobj(gzip.GzipFile(fileobj=io.BytesIO(data)))["vox_offset"]))
        volume = read_volume(data)
        assert volume.grid == (120, 120, 90)
    assert len(offsets) >= 1
    image = nib.Nifti1Image.from_filename(files[0])
    np.testing.assert_array_equal(read_volume(files[0].read_bytes()).data, np.asarray(image.dataobj, np.float32))


@pytest.mark.parametrize(
    ("code", "what"), [(5, "statistics"), (22, "statistics"), (1001, "estimates"), (1002, "labels"), (1007, "vectors")]
)
def test_numbers_that_are_no_intensities_are_no_scan(code: int, what: str):
    """A z map, or the label map of another tool, under the name of a scan."""
    data = patched(68, np.int16(code))
    with pytest.raises(VolumeError, match=rf"holds {what}.*intent code {code}.*give the scan itself"):
        read_volume(data)
    assert read_volume(data, "dseg").grid == read_volume(made()).grid


def test_a_stranger_s_file_is_called_what_it_is():
    for data, sentence in (
        (gzip.compress(gzip.compress(made())), "packed twice"),
        (b"<!doctype html><html>" + b" " * 600, "a page or text"),
        (b"\0\0\0\1\0\0\0\x08" + b"\0" * 600, "FreeSurfer"),
        (b"NRRD0004" + b"\0" * 600, "NRRD"),
        (b"", "it is empty"),
    ):
        with pytest.raises(VolumeError, match=sentence):
            read_volume(data)


def test_a_cleaned_file_has_the_same_voxels_and_no_text(tmp_path: Path):
    image = nib.Nifti1Image(np.arange(60, dtype=np.int16).reshape(3, 4, 5), np.diag([-1.0, 2, 3, 1]))
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 1)
    image.header["descrip"], image.header["aux_file"], image.header["db_name"] = b"Zq1", b"Zq2", b"Zq3"
    image.header["intent_name"] = b"Zq4"
    image.header.extensions.append(Nifti1Extension("comment", b"Zq5 was scanned"))
    nib.save(image, tmp_path / "a.nii")
    for data in ((tmp_path / "a.nii").read_bytes(), gzip.compress((tmp_path / "a.nii").read_bytes())):
        bare = cleaned(data)
        assert b"Zq" not in gzip.decompress(bare)
        ours, theirs = read_volume(bare), read_volume(data)
        np.testing.assert_array_equal(ours.data, theirs.data)
        np.testing.assert_array_equal(ours.affine, theirs.affine)


def cine_file(shape: tuple[int, ...] = (4, 5, 6, 8), *, step: float = 0.1, unit: int = 8) -> bytes:
    """A cine of that shape, every voxel another, with its step in time in the unit of that code."""
    image = nib.Nifti1Image(np.arange(math.prod(shape), dtype=np.int16).reshape(shape), AFFINE)
    image.header["pixdim"][4], image.header["xyzt_units"] = step, 2 | unit
    return image.to_bytes()


@pytest.mark.parametrize(("step", "unit"), [(0.1, 8), (100, 16), (1e5, 24)])
def test_a_cine_has_its_phases_and_its_cycle_whatever_the_unit_of_time(step: float, unit: int, tmp_path: Path):
    file = cine_file(step=step, unit=unit)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(file))
    for volume in (read_volume(file, "cine", phases=6), load_volume(tmp_path / "a.nii.gz", "cine", phases=6)):
        assert (volume.kinds, volume.phases, volume.cycle) == (("cine",), 8, pytest.approx(0.8))
        voxels = np.arange(4 * 5 * 6 * 8).reshape(4, 5, 6, 8)
        np.testing.assert_array_equal(volume.data, np.moveaxis(voxels, -1, 0))
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


@pytest.mark.parametrize(("step", "unit"), [(0.1, 0), (0.0, 8), (0.1, 16), (1.0, 8), (float("nan"), 8)])
def test_a_cycle_that_is_not_stated_or_no_hearts_is_unknown(step: float, unit: int):
    assert read_volume(cine_file(step=step, unit=unit), "cine", phases=6).cycle is None


def test_a_cine_that_is_saved_is_read_back(tmp_path: Path):
    cine = read_volume(cine_file(), "cine", phases=6)
    cine.save(tmp_path / "b_cine.nii.gz", "SYNTHETIC")
    found = load_volume(tmp_path / "b_cine.nii.gz", "cine", phases=6)
    np.testing.assert_array_equal(found.data, cine.data)
    assert (found.channels, found.cycle) == (cine.channels, pytest.approx(0.8))


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((4, 5, 6), r"x has shape \(4, 5, 6\), a still scan of one phase; give a cine"),
        ((4, 5, 6, 1), r"x has shape \(4, 5, 6, 1\), a still scan of one phase; give a cine"),
        (
            (4, 5, 6, 2),
            r"x has 2 phases \(end-diastole and end-systole alone are no cycle\), a cycle 6 to 99; give a cine",
        ),
        ((4, 5, 6, 150), "x has 150 phases, a cycle 6 to 99; give a cine, the phases of one whole cycle"),
        ((4, 5, 6, 8, 3), r"x has shape \(4, 5, 6, 8, 3\), a cine has the axes x, y, slice and phase; give a cine"),
        ((4, 5), r"x has shape \(4, 5\), a cine has the axes x, y, slice and phase; give a cine"),
    ],
)
def test_what_is_no_cine_is_refused_for_what_it_is(shape: tuple[int, ...], said: str):
    with pytest.raises(VolumeError, match=said):
        read_volume(cine_file(shape), "cine", name="x", phases=6)


def test_a_cine_is_no_still_scan():
    with pytest.raises(VolumeError, match=r"shape \(4, 5, 6, 8\): one 3D volume is needed, split it first"):
        read_volume(cine_file(), "T1w")


def test_volumes_behind_the_one_that_the_header_counts_are_not_passed_over(tmp_path: Path) -> None:
    """A header of three axes before the voxels of twelve volumes was one still scan."""
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6, 12), np.int16), np.eye(4)), tmp_path / "a.nii")
    data = bytearray((tmp_path / "a.nii").read_bytes())
    data[40:42] = np.int16(3).tobytes()
    for packed in (bytes(data), gzip.compress(bytes(data))):
        with pytest.raises(
            VolumeError, match="has 3 axes, names a further one of 12 and goes on behind the last voxel"
        ):
            read_volume(packed)
