"""DICOM-SR beside scans becomes columns of the cohort: from generate's own reports and from a folder of DICOM files."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from engine.cohort.sources.bids import read_bids
from engine.cohort.sources.dicom import read_dicom
from engine.imaging.dicom_sr import read_sr, write_sr
from engine.imaging.dicom_write import Copied, Origin
from engine.measure.report import write_report
from engine.vocabulary.refusal import RequestError
from tests.cohort.heads import made_up_head, write_dataset
from tests.imaging.dicom_files import series

HEAD = made_up_head(grid=(12, 14, 16), spacing=16.0)


def report(row: dict[str, float | str], units: dict[str, str], patient: str = "X-1") -> bytes:
    origin = Origin(checkpoint="tiny", digest="0123abcd", seed=1, steps=8, guidance=None, given={}, attributes=row)
    made, stream = dcmread(BytesIO(write_sr(row, units, origin))), BytesIO()
    made.PatientID = patient
    made.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def test_reports_beside_a_bids_data_set_are_columns(tmp_path: Path) -> None:
    table = "participant_id\tage\nsub-a\t40\nsub-b\tn/a\nsub-c\t60\n"
    root = write_dataset(tmp_path / "data", {"sub-a": HEAD, "sub-b": HEAD, "sub-c": HEAD}, table)
    for name, row, unit in (
        ("sub-a", {"age": 41.0, "liver_volume": 1500.123456789, "smoking": "former", "iron": 2.0}, "mg"),
        ("sub-b", {"age": 51.0, "iron": 2.0}, "g"),
    ):
        folder = root / "sourcedata" / name
        folder.mkdir(parents=True)
        (folder / "sr.dcm").write_bytes(report(row, {"iron": unit}))
    (root / "sub-c" / "broken.dcm").write_bytes(report({"age": 1.0}, {})[:-40])
    data = read_bids(root)
    assert [row["age"] for row in data.rows] == [40, 51, 60]  # the table goes first
    assert (data.rows[0]["liver_volume"], data.rows[0]["smoking"]) == (1500.123456789, "former")
    assert data.rows[1]["liver_volume"] is None
    assert "iron" not in data.rows[0]
    said = " ".join(flag["reason"] for flag in data.flagged)
    assert "iron is counted in g and mg, so it was left out" in said


def test_reports_among_dicom_files_are_columns_of_their_patient(tmp_path: Path) -> None:
    for k, patient in enumerate(("X-1", "X-2")):
        for i, image in enumerate(series(HEAD)):
            image.PatientID = patient
            image.save_as(tmp_path / f"{k}-{i}.dcm", enforce_file_format=True)
    (tmp_path / "sr1.dcm").write_bytes(report({"vat": 3.25, "age": 44.5}, {}, "X-1"))
    (tmp_path / "sr2.dcm").write_bytes(report({"vat": 4.5}, {}, "X-2"))
    (tmp_path / "sr3.dcm").write_bytes(report({"vat": 4.75}, {}, "X-2"))
    data = read_dicom(tmp_path)
    assert [row["vat"] for row in data.rows] == [3.25, None]
    assert data.rows[0]["age"] == 44.5
    assert {"participant_id": "sub-0002", "reason": "two reports disagree on vat, so it is left open"} in data.flagged


def test_what_was_measured_is_written_as_a_report_that_says_what_it_is(tmp_path: Path) -> None:
    scan = tmp_path / "sub-a_T1w.nii.gz"
    measured = {
        "scan": [str(scan)],
        "measures": {"brain": {"value": 1234.5, "unit": "ml"}, "unseen": {"value": None, "unit": "ml"}},
        "measured_by": {"name": "measure-head", "weights": "0123abcd"},
    }
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), np.eye(4))
    for folder, words, synthetic in (("real", b"", "NO"), ("made", b"SYNTHETIC - not for diagnosis", "YES")):
        image.header["descrip"] = words
        nib.save(image, scan)
        path = write_report(measured, tmp_path / folder)
        data = path.read_bytes()
        assert (read_sr(data).row, read_sr(data).units) == ({"brain": 1234.5}, {"brain": "mL"})
        assert dcmread(path).SyntheticData == synthetic
        with pytest.raises(RequestError, match="exists already"):
            write_report(measured, tmp_path / folder)


def test_a_report_of_a_copy_says_so() -> None:
    data = write_sr({"age": 3.0}, {}, Copied(scan="a", checkpoint="b", digest="c"))
    assert dcmread(BytesIO(data)).PatientName == "ANONYMOUS^"
