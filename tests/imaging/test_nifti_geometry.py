"""Where a NIfTI file's voxels lie: read as nibabel reads it where the header says so, refused where it does not or says it twice."""

from __future__ import annotations

import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from nibabel.orientations import apply_orientation, axcodes2ornt, inv_ornt_aff, ornt_transform
from scipy.spatial.transform import Rotation

from engine.imaging.nifti import load_volume, read_volume
from engine.imaging.volume import VolumeError
from tests.imaging.test_volume import ORIENTATIONS

AFFINE = np.array([[2.0, 0, 0, -20], [0, 3.0, 0, -31], [0, 0, 1.5, 4], [0, 0, 0, 1]])
VOXELS = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
KINDS = [nib.Nifti1Image, nib.Nifti2Image]


def made(
    s_code: int = 1,
    q_code: int = 1,
    *,
    sform: np.ndarray = AFFINE,
    qform: np.ndarray = AFFINE,
    kind: type = nib.Nifti1Image,
    voxels: np.ndarray = VOXELS,
    **fields: object,
) -> bytes:
    """A file with these codes and matrices; ``fields`` overwrite the header as they are."""
    image = kind(voxels, None)
    image.set_sform(sform, s_code, update_affine=False)
    image.set_qform(qform, q_code, update_affine=False)
    header = bytearray(image.to_bytes())
    for name, value in fields.items():
        dtype, offset = kind.header_class.template_dtype.fields[name][:2]
        header[offset : offset + dtype.itemsize] = np.asarray(value, dtype.base).tobytes()
    return bytes(header)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1), (4, 1), (2, 2), (5, 0), (0, 3)])
def test_either_code_places_the_voxels(codes: tuple[int, int], kind: type):
    np.testing.assert_allclose(read_volume(made(*codes, kind=kind)).affine, AFFINE, atol=1e-5)


def test_the_sform_goes_before_the_qform():
    shifted = AFFINE.copy()
    shifted[:3, 3] += 7
    np.testing.assert_allclose(read_volume(made(sform=shifted)).affine, shifted, atol=1e-5)
    np.testing.assert_allclose(read_volume(made(s_code=0, sform=shifted)).affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("codes", [(0, 0), (99, 0), (0, -1), (6, 99)])
def test_without_a_code_left_and_right_are_not_guessed(codes: tuple[int, int], kind: type):
    file = made(kind=kind, sform_code=codes[0], qform_code=codes[1])
    with pytest.raises(VolumeError, match=r"does not say where left and right are.*export it again"):
        read_volume(file)


def test_a_pair_without_a_code_is_refused_too(tmp_path: Path):
    image = nib.Nifti1Pair(VOXELS, None)
    image.to_filename(tmp_path / "a.img")
    with pytest.raises(VolumeError, match="does not say where left and right are"):
        load_volume(tmp_path / "a.hdr")


@pytest.mark.parametrize("axis", [0, 1, 2])
def test_forms_of_opposite_handedness_contradict_each_other(axis: int):
    mirrored = AFFINE.copy()
    mirrored[axis] *= -1
    with pytest.raises(VolumeError, match="contradicts itself: its axes point to"):
        read_volume(made(sform=mirrored))
    turned = AFFINE @ np.diag([-1, -1, 1, 1.0])
    with pytest.raises(VolumeError, match="point to LPS by the sform and to RAS by the qform"):
        read_volume(made(sform=turned))


def test_a_scan_registered_to_a_template_keeps_its_sform():
    """A small turn and another size are no contradiction between a template's sform and the scanner's qform."""
    template = np.eye(4)
    template[:3, :3] = Rotation.from_euler("zyx", [8, 12, 20], degrees=True).as_matrix() * 1.15
    sform = template @ AFFINE
    np.testing.assert_allclose(read_volume(made(s_code=4, sform=sform)).affine, sform, atol=1e-4)


def test_a_size_that_the_header_states_twice_must_be_the_same():
    bigger = AFFINE.copy()
    bigger[:3, :3] *= 1.1
    with pytest.raises(VolumeError, match=r"measure 2\.2 x 3\.3 x 1\.65 mm by the sform and 2 x 3 x 1\.5 mm by pixdim"):
        read_volume(made(q_code=0, sform=bigger, pixdim=[1, 2, 3, 1.5, 1, 1, 1, 1]))
    np.testing.assert_allclose(
        read_volume(made(q_code=0, s_code=4, sform=bigger, pixdim=[1, 2, 3, 1.5, 1, 1, 1, 1])).affine, bigger, atol=1e-5
    )


@pytest.mark.parametrize("sizes", [(0, 3, 1.5), (2, -3, 1.5), (2, 3, np.nan), (np.inf, 3, 1.5)])
def test_a_size_of_zero_or_less_is_not_mended(sizes: tuple[float, float, float]):
    pixdim = [1, *sizes, 1, 1, 1, 1]
    with pytest.raises(VolumeError, match="which must be above 0"):
        read_volume(made(s_code=0, pixdim=pixdim))
    # the sform says all there is to say
    np.testing.assert_allclose(read_volume(made(pixdim=pixdim)).affine, AFFINE, atol=1e-5)


def test_units_are_read():
    metres = AFFINE.copy()
    metres[:3] /= 1000
    micrometres = AFFINE.copy()
    micrometres[:3] *= 1000
    for code, affine in ((0, AFFINE), (2, AFFINE), (10, AFFINE), (1, metres), (3, micrometres)):
        for codes in ((1, 0), (0, 1)):
            found = read_volume(made(*codes, sform=affine, qform=affine, xyzt_units=code)).affine
            np.testing.assert_allclose(found, AFFINE, rtol=1e-5, atol=1e-4)
    with pytest.raises(VolumeError, match="unit 5, not mm"):
        read_volume(made(xyzt_units=5))
    for code, affine in ((1, AFFINE), (2, metres)):
        with pytest.raises(VolumeError, match="correct its units or sizes"):
            read_volume(made(sform=affine, qform=affine, xyzt_units=code))


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"srow_x": [np.nan, 0, 0, 0]}, "singular or not finite"),
        ({"srow_x": [0, 0, 0, 0]}, "singular or not finite"),
        ({"sform_code": 0, "quatern_b": 2}, "no rotation"),
        ({"sform_code": 0, "quatern_c": np.nan}, r"no rotation|not finite"),
        ({"sform_code": 0, "qoffset_x": np.inf}, "not finite"),
    ],
)
def test_an_affine_that_is_none_is_refused(fields: dict[str, object], sentence: str):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with pytest.raises(VolumeError, match=sentence):
            read_volume(made(**fields))


@pytest.mark.parametrize("codes", [(1, 0), (0, 1), (1, 1)])
@pytest.mark.parametrize("way", ORIENTATIONS)
def test_a_marker_is_found_on_its_side_whichever_way_the_axes_point(way: str, codes: tuple[int, int]):
    """48 orientations: the voxels of the file differ, the voxel at every point in mm does not."""
    from_ras = ornt_transform(axcodes2ornt(("R", "A", "S")), axcodes2ornt(tuple(way)))
    stored = apply_orientation(VOXELS, from_ras)
    affine = AFFINE @ inv_ornt_aff(from_ras, VOXELS.shape)
    assert "".join(nib.orientations.aff2axcodes(affine)) == way
    volume = read_volume(made(*codes, sform=affine, qform=affine, voxels=stored))
    assert volume.axcodes == way
    back = volume.reoriented("RAS")
    np.testing.assert_array_equal(back.data, VOXELS)
    np.testing.assert_allclose(back.affine, AFFINE, atol=1e-4)


def test_forms_of_one_space_that_are_turned_apart_contradict_each_other():
    """Both claim the scanner's own space; a template's (another code) may be turned."""
    turn = np.eye(4)
    turn[:2, :2] = [[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]]
    with pytest.raises(VolumeError, match=r"sform and qform, both of code 1, lie .* and 29 degrees apart"):
        read_volume(made(sform=turn @ AFFINE))
    np.testing.assert_allclose(read_volume(made(4, 1, sform=turn @ AFFINE)).affine, turn @ AFFINE, atol=1e-5)


def test_a_qfac_that_is_none_is_named():
    with pytest.raises(VolumeError, match=r"has a qfac \(pixdim\[0\]\) of 2, which must be 1 or -1"):
        read_volume(made(0, 1, pixdim=np.array([2, *np.linalg.norm(AFFINE[:3, :3], axis=0), 0, 0, 0, 0], np.float32)))
