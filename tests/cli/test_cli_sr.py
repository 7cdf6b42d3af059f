"""``--sr``: rows and measures as DICOM-SR, which comes back as it was."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from pydicom import dcmread

from engine.__main__ import main
from engine.cohort.sources.bids import read_bids
from engine.imaging.dicom_sr import read_sr


@pytest.mark.parametrize("form", ["nifti", "dicom"])
def test_generated_rows_are_written_as_reports(checkpoint: str, tmp_path: Path, form: str) -> None:
    out = tmp_path / "out"
    assert main(["generate", checkpoint, "--n", "2", "--steps", "2", "--sr", "--format", form, "--out", str(out)]) == 0
    with (out / "participants.tsv").open() as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for row in rows:
        path = out / "sourcedata" / row["participant_id"] / f"{row['participant_id']}_sr.dcm"
        found = read_sr(path.read_bytes()).row
        for name, text in row.items():
            if name == "participant_id":
                continue
            value = found.get(name)
            if isinstance(value, float):
                assert value == pytest.approx(float(text), abs=1e-5)
            else:
                assert value == (None if text == "n/a" else text)
        assert dcmread(path).SyntheticData == "YES"
        assert str(dcmread(path).PatientID).startswith("SYN-")
    assert [row["sex"] for row in read_bids(out).rows] == [row["sex"] for row in rows]
