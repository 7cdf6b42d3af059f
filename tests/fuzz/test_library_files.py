"""The test files of pydicom and nibabel, odd ones among them: what becomes of each. None a traceback, none a scan that is not one."""

from __future__ import annotations

import gzip
import warnings
from collections import Counter
from pathlib import Path

import nibabel
import numpy as np
import pydicom.data
import pytest

from engine.imaging.dicom import LPS_TO_RAS, read_series
from engine.imaging.scan import load_scan
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal

PYDICOM = Path(pydicom.data.__file__).parent / "test_files"
NIBABEL = Path(nibabel.__file__).parent
FOLDERS = [PYDICOM, NIBABEL / "tests" / "data", NIBABEL / "nicom" / "tests" / "data"]
#: the only files that are one scan each: 3D, finite, with a place
SCANS = {"anatomical.nii", "reoriented_anat_moved.nii", "standard.nii.gz"}


def outcomes(folder: Path) -> dict[str, str]:
    """By file and folder, how it was read or the refusal's sentence."""
    found = {}
    for path in [folder, *sorted(folder.rglob("*"))]:
        if path.suffix in (".py", ".pyc"):
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                volume = load_scan(path, ("T1w",)).volume
            found[str(path.relative_to(folder))] = f"read {volume.grid}"
            assert np.isfinite(volume.data).all()
        except Refusal as error:
            found[str(path.relative_to(folder))] = str(error)
    return found


@pytest.mark.slow
@pytest.mark.parametrize("folder", FOLDERS, ids=["pydicom", "nibabel", "nibabel's DICOM"])
def test_each_is_read_or_refused(folder: Path):
    if not folder.is_dir():
        pytest.skip("this version of the library comes without them")
    table = outcomes(folder)
    read = {Path(name).name for name, said in table.items() if said.startswith("read")}
    assert read <= SCANS
    assert all(len(said) > 30 for name, said in table.items() if Path(name).name not in read)
    kinds = Counter("read" if said.startswith("read") else said.split(";")[-1].strip() for said in table.values())
    for said, count in kinds.most_common():
        print(f"{count:4d}  {said}")


def test_a_t2_weighted_slice_of_every_syntax_is_refused_for_its_echo_time():
    """Implicit, explicit, big endian, RLE, JPEG-LS and JPEG 2000: its header is read in all of them."""
    files = sorted(PYDICOM.glob("MR_small*.dcm"))
    for path in files:
        with pytest.raises(Refusal, match="the shortest echo time is 240 ms"):
            read_series(path)


def test_a_mosaic_is_named():
    path = NIBABEL / "nicom" / "tests" / "data" / "0.dcm"
    if not path.is_file():
        pytest.skip("this version of nibabel comes without it")
    with pytest.raises(Refusal, match="mosaics, many slices in one image"):
        read_series(path)


def test_a_scanner_s_enhanced_image_lies_where_nibabel_sees_it(tmp_path: Path):
    """An MPRAGE by Philips, 176 sagittal frames."""
    path = NIBABEL / "nicom" / "tests" / "data" / "philips_mprage.dcm.gz"
    if not path.is_file():
        pytest.skip("this version of nibabel comes without it")
    (tmp_path / "a.dcm").write_bytes(gzip.decompress(path.read_bytes()))
    volume = read_series(tmp_path / "a.dcm").volume
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from nibabel.nicom.dicomwrappers import wrapper_from_file

        seen = wrapper_from_file(tmp_path / "a.dcm")
        data = np.asarray(seen.get_data(), np.float32)
    expected = Volume(data, LPS_TO_RAS @ seen.affine).reoriented("RAS")
    np.testing.assert_allclose(volume.affine, expected.affine, atol=5e-3)  # places in the file have three decimals
    np.testing.assert_allclose(volume.data, expected.data, rtol=1e-5)
