"""Every DICOM object that is written has what the standard asks of its kind: by highdicom's tables of it, and by dciodvfy where that is
installed (Debian: dicom3tools)."""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from pydicom import Dataset, dcmread

from engine.imaging.dicom.deidentify import deidentified
from engine.imaging.dicom_seg import write_dicom_seg
from engine.imaging.dicom_sr import write_sr
from engine.imaging.dicom_write import Copied, Origin, write_series
from engine.imaging.segmentation import Segmentation
from engine.imaging.volume import Volume

ROW = {"age": 61.4, "sex": "F", "height": 168.2, "weight": 71.25, "bmi": 25.2, "smoking": "never", "vat": 3.2}
ORIGIN = Origin(
    checkpoint="torso-dixon", digest="0123456789ab", seed=7, steps=8, guidance=1.5, given={"sex": "F"}, attributes=ROW
)
COPIED = Copied(scan="x.nii.gz", checkpoint="head-t1", digest="0123456789ab")
SCAN = Volume(np.random.default_rng(3).random((12, 14, 10), np.float32), np.diag([1.5, 2, 3, 1.0]))
#: what a validator says that is older than the standard's Synthetic Data (2023)
NEWER = "(0x0008,0x001c)"

#: the module of a report's tree, whose attributes are those of an item by what it holds; dciodvfy follows it
TREE = "sr-document-content"


@pytest.fixture(scope="module")
def written() -> dict[str, bytes]:
    """One object of each kind that is written."""
    images = [data for _, data in write_series(SCAN, ORIGIN)]
    labels = Segmentation((SCAN.data > 0.5).astype(np.uint8), SCAN.affine, ("background", "liver"))
    sources = [dcmread(io.BytesIO(data)) for data in images]
    words = {"description": "SYNTHETIC - not for diagnosis", "model_name": "torso-dixon", "model_version": "0123"}
    return {
        "image": images[0],
        "copy of a scan": next(data for _, data in write_series(SCAN, COPIED)),
        "report": write_sr(ROW, {"vat": "L"}, ORIGIN),
        "segmentation": write_dicom_seg(labels, sources, **words),
        "de-identified copy": deidentified(images[0], name="sub-0001", secret="secret")[0],
    }


KINDS = ("image", "copy of a scan", "report", "segmentation", "de-identified copy")


def lacking(image: Dataset) -> list[str]:
    """What is missing at the top of an object, of type 1 also what is empty, in the modules that its kind must have (PS3.3 A)."""
    tables = pytest.importorskip(
        "highdicom._standard_utils", reason="this version of highdicom has its tables elsewhere"
    )
    modules = tables.get_iod_module_map()[tables.get_sop_class_iod_map()[image.SOPClassUID]]
    attributes = tables.get_module_attribute_map()
    found = []
    for module in (one["key"] for one in modules if one["usage"] == "M" and one["key"] != TREE):
        for attribute in attributes[module]:
            keyword, kind = attribute["keyword"], attribute["type"]
            if attribute["path"] or kind not in ("1", "2"):
                continue
            if keyword not in image or (kind == "1" and image[keyword].is_empty):
                found.append(f"{module}: {keyword} ({kind})")
    return found


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_standard_requires_is_there(written: dict[str, bytes], kind: str) -> None:
    assert lacking(dcmread(io.BytesIO(written[kind]))) == []


def test_what_is_missing_is_found(written: dict[str, bytes]) -> None:
    image = dcmread(io.BytesIO(written["image"]))
    del image.FrameOfReferenceUID
    image.ImageType = None
    assert {"FrameOfReferenceUID (1)", "ImageType (1)"} <= {said.split(": ")[1] for said in lacking(image)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_validator_finds_no_error(written: dict[str, bytes], kind: str, tmp_path: Path) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("no dciodvfy on this machine (Debian: dicom3tools)")
    (tmp_path / "a.dcm").write_bytes(written[kind])
    done = subprocess.run(["dciodvfy", str(tmp_path / "a.dcm")], capture_output=True, text=True, timeout=60)
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("Error")]
    assert [line for line in errors if NEWER not in line] == []
