"""Copies that name nobody: tables beside DICOM files, and whole BIDS data sets; what lies between two days of a person stays."""

from __future__ import annotations

import gzip
import json
from datetime import date, timedelta
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from pydicom import dcmread

from engine.__main__ import main
from engine.cohort.clean import clean_sidecar, clean_table, shifted
from engine.cohort.sources.bids import read_bids
from engine.cohort.sources.dicom import read_dicom
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume
from tests.imaging.dicom_files import series

SCAN = Volume(np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10), np.diag([1.5, 2, 3, 1]))
HEADINGS = ["Patient ID", "Age", "weight_kg", "date of birth", "scanned", "report", "Clinic", "score", "case"]


def leaked(place: Path, said: str, canaries: set[str]) -> list[str]:
    files = [path for path in place.rglob("*") if path.is_file()]
    assert files
    texts = [path.read_bytes() for path in files]
    texts += [gzip.decompress(text) for text in texts if text[:2] == b"\x1f\x8b"]
    texts += [str(path.relative_to(place)).encode() for path in files] + [said.encode()]
    return [one for one in sorted(canaries) if any(one.encode() in text for text in texts)]


def test_days_of_a_table_move_with_those_of_the_headers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """They were dropped; another constant than the headers' would tear apart what belongs together."""
    source, out = tmp_path / "data", tmp_path / "copy"
    source.mkdir()
    for number, day in (("Zq17", "20190301"), ("Zq18", "20190409")):
        for k, image in enumerate(series(SCAN, 1)):
            image.PatientID, image.StudyDate = number, day
            image.StudyInstanceUID = f"1.2.3.{number[2:]}"
            image.save_as(source / f"{number}{k}.dcm", enforce_file_format=True)
    rows = [
        ["Zq17", "40", "70", "1970-01-31", "2019-03-04", "Zq was well", "Zq Basel", "3", "8300017"],
        ["Zq18", "41", "80", "1971-01-31", "unknown", "n/a", "Zq Bern", "4", "8300018"],
        ["Zq99", "42", "90", "1972-01-31", "2019-06-04", "", "", "5", "8300019"],
    ]
    text = "\n".join("\t".join(line) for line in [HEADINGS, *rows]) + "\n"
    (source / "participants.tsv").write_text(text)
    assert main(["deidentify", str(source), str(out)]) == 0
    said = capsys.readouterr()
    numbers = {cell for row in rows for cell in (row[0], row[3], row[8])}
    assert leaked(out, said.out, {*numbers, "Zq", "2019-03-04", "Basel"}) == []
    report = json.loads(said.out)
    assert report["removed_or_replaced"]["row of nobody who was copied"] == 1
    assert report["removed_or_replaced"]["column of dates of birth"] == 1
    heads, *lines = [line.split("\t") for line in (out / "participants.tsv").read_text().splitlines()]
    assert heads == ["participant_id", "Age", "weight_kg", "scanned", "score"]
    assert [line[0] for line in lines] == ["sub-0001", "sub-0002"]
    assert lines[1][3] == "n/a"
    study = date.fromisoformat(dcmread(out / "sub-0001" / "0001.dcm").StudyDate)
    assert date.fromisoformat(lines[0][3]) - study == timedelta(days=3)
    assert date(2016, 1, 1) < study < date(2019, 1, 1)
    cohort = read_dicom(out)
    assert [row["age"] for row in cohort.rows] == [40, 41]


def planted(root: Path) -> set[str]:
    """A BIDS data set with names wherever a text may stand; returns them."""
    (root / "sub-Zq1" / "ses-a" / "anat").mkdir(parents=True)
    anat, stem = root / "sub-Zq1" / "ses-a" / "anat", "sub-Zq1_ses-a_T1w"
    image = nib.Nifti1Image(np.arange(720, dtype=np.int16).reshape(8, 9, 10), np.diag([-1.5, 2, 3, 1]))
    image.set_sform(image.affine, 1)
    image.header["descrip"], image.header["aux_file"] = b"Zq2", b"Zq3"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Zq4"))
    nib.save(image, anat / f"{stem}.nii")
    sidecar = {"PatientName": "Zq5", "AcquisitionTime": "10:11", "EchoTime": 0.003, "DeviceSerialNumber": 424242}
    sidecar |= {"Manufacturer": "SIEMENS", "SeriesDescription": "Zq6", "SliceTiming": [0.0, 0.5], "StudyDate": 20190301}
    (anat / f"{stem}.json").write_text(json.dumps(sidecar))
    (anat / "sub-Zq1_report.pdf").write_bytes(b"Zq7")
    said = "filename\tacq_time\n" + f"anat/{stem}.nii\t2019-03-01T10:00:00\n"
    (root / "sub-Zq1" / "ses-a" / "sub-Zq1_ses-a_scans.tsv").write_text(said)
    (root / "participants.tsv").write_text("participant_id\tage\tname\nsub-Zq1\t40\tZq8\n")
    (root / "dataset_description.json").write_text('{"Name": "Zq9", "BIDSVersion": "1.10.0"}')
    (root / "README").write_text("Zq10")
    return {"Zq", "424242", "2019-03-01", "20190301"}


def test_a_bids_data_set_is_copied_without_a_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source, out = tmp_path / "data", tmp_path / "copy"
    canaries = planted(source)
    assert main(["deidentify", str(source), str(out)]) == 0
    said = capsys.readouterr()
    assert leaked(out, said.out + said.err, canaries) == []
    report = json.loads(said.out)
    assert (report["persons"], report["files"]) == (1, 1)
    assert "faces are as they were" in report["not_done"]
    assert report["left_out"] == {
        "files of persons that are no scan, sidecar or table were not copied": 1,
        "files beside the folders of persons (derivatives, code, texts) were not copied": 1,
    }
    copy = read_bids(out)
    assert copy.rows == [{"participant_id": "sub-0001", "age": 40.0}]
    before = load_volume(source / "sub-Zq1" / "ses-a" / "anat" / "sub-Zq1_ses-a_T1w.nii")
    np.testing.assert_array_equal(copy.scan(0)[0].data, before.data)
    image = copy.images["sub-0001"]
    kept = json.loads(image.with_name(image.name.replace(".nii.gz", ".json")).read_text())
    assert kept == {"EchoTime": 0.003, "Manufacturer": "SIEMENS", "SliceTiming": [0.0, 0.5]}
    line = (out / "sub-0001" / "ses-a" / "sub-0001_ses-a_scans.tsv").read_text().splitlines()[1].split("\t")
    assert line[0] == f"anat/{image.name}"
    assert line[1].endswith("00:00")
    assert main(["deidentify", str(source), str(out)]) == 2


@pytest.mark.parametrize(
    ("text", "moved"),
    [
        ("2019-03-01", "2019-02-27"),
        ("20190301", "2019-02-27"),
        ("1.3.2019 10:30", "2019-02-27T10:30:00"),
        ("2019-03-01T10:30:00Z", "2019-02-27T10:30:00"),
        ("03/01/2019", "n/a"),
        ("1.3.19", "n/a"),
        ("soon", "n/a"),
        ("0001-01-01", "n/a"),
    ],
)
def test_a_day_that_could_be_two_is_left_open(text: str, moved: str) -> None:
    assert shifted(text, timedelta(days=-2)) == moved


def test_of_a_table_stays_what_is_listed(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("ID,sex,remark,phone,bmi\n01,F,tall,1,22\n02,M,,2,n/a\n")
    text, columns, gone = clean_table(tmp_path / "t.csv", {"01": "a", "sub-02": "b"}, lambda _: timedelta(0))
    assert columns == ["participant_id", "sex", "bmi"]
    assert text.splitlines()[1:] == ["a\tF\t22", "b\tM\tn/a"]
    assert gone == {"column of words": 1, "column of ways to reach somebody": 1}


def test_of_a_sidecar_stays_what_is_listed() -> None:
    said = {
        "FlipAngle": 9,
        "PatientWeight": 70,
        "ImageType": ["M"],
        "AcquisitionDateTime": "x",
        "Notes": "x",
        "a": True,
    }
    kept, gone = clean_sidecar(said)
    assert kept == {"FlipAngle": 9, "ImageType": ["M"]}
    assert set(gone) == {"PatientWeight", "AcquisitionDateTime", "Notes", "a"}
