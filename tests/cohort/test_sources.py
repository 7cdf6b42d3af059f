"""Cohorts that are no BIDS data set: DICOM of many persons, and a table beside NIfTI files, to the same rows and scans."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.cohort.ingest import ingest
from engine.cohort.sources.bids import BidsError
from engine.cohort.sources.dicom import DicomCohort, read_dicom
from engine.cohort.sources.folder import FolderCohort, read_folder
from engine.cohort.sources.opened import opened
from engine.cohort.sources.source import Source
from engine.cohort.sources.table import TableError
from engine.imaging.volume import Volume, VolumeError
from tests.cohort.heads import CONFIG, brain_of, made_up_head, write_dataset
from tests.imaging.dicom_files import BIRTH, HOSPITAL, NAME, series, zipped

HEAD = made_up_head()
SMALL = Volume(np.random.default_rng(0).random((12, 14, 10), np.float32), np.diag([2.0, 2, 3, 1]))


def person(folder: Path, number: str, volume: Volume = SMALL, **header: str) -> None:
    """A series of DICOM files of the person with this PatientID, scattered over a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for k, file in enumerate(series(volume, 1)):
        file.PatientID = number
        for name, value in header.items():
            setattr(file, name, value)
        file.save_as(folder / f"{(k * 7) % 101:03d}_{number}_{k}", enforce_file_format=True)


def test_persons_are_told_apart_and_get_names_of_their_own(tmp_path: Path):
    person(tmp_path / "a", "KH-10", PatientAge="061Y", PatientSex="F", PatientSize="1.65", PatientWeight="70")
    person(tmp_path / "a", "KH-9", PatientAge="050Y", PatientSex="M", PatientSize="165")
    (tmp_path / "a" / "letter.txt").write_text("Dear colleague, " * 20)
    data = read_dicom(tmp_path / "a")
    assert isinstance(data, Source)
    assert data.rows == [
        {"participant_id": "sub-0001", "age": 50.0, "sex": "M", "height": None, "weight": None},
        {"participant_id": "sub-0002", "age": 61.0, "sex": "F", "height": 165.0, "weight": 70.0},
    ]
    assert [flag["reason"][:41] for flag in data.flagged] == ["height 16500 lies outside 40 to 250 cm; c"]
    scan, labels = data.scan(1)
    assert labels is None
    np.testing.assert_array_equal(scan.data, np.rint(SMALL.data))
    np.testing.assert_allclose(scan.affine, SMALL.affine, atol=1e-3)


def test_a_table_goes_before_the_header(tmp_path: Path):
    person(tmp_path / "x", "7", PatientAge="061Y", PatientSex="F")
    person(tmp_path / "x", "8", PatientAge="040Y", PatientSex="M")
    (tmp_path / "x" / "participants.csv").write_text("PatientID;Alter;BMI;smoker\n7;62,5;23,5;no\n99;1;20;yes\n")
    data = read_dicom(tmp_path / "x")
    assert data.rows == [
        {"age": 62.5, "sex": "F", "bmi": 23.5, "smoker": "no", "participant_id": "sub-0001"},
        {"age": 40.0, "sex": "M", "bmi": None, "smoker": None, "participant_id": "sub-0002"},
    ]
    said = " ".join(flag["reason"] for flag in data.flagged)
    assert "the table has no row for this person" in said
    assert "1 rows are of nobody whose files are here (lines 3)" in said
    assert "99" not in said


def test_an_archive_a_person_or_one_of_one_person_alone(tmp_path: Path):
    for number in ("1", "2"):
        files = series(SMALL, 1)
        for file in files:
            file.PatientID = number
        (tmp_path / f"{number}.zip").write_bytes(zipped(files))
    assert len(opened(tmp_path).rows) == 2
    assert len(opened(tmp_path / "1.zip").rows) == 1
    both = [*series(SMALL, 1), *series(SMALL, 1)]
    for k, file in enumerate(both):
        file.PatientID = str(k % 2)
    (tmp_path / "1.zip").write_bytes(zipped(both))
    with pytest.raises(VolumeError, match=r"1\.zip holds files of 2 persons"):
        opened(tmp_path)


def test_dicom_is_ingested_and_no_name_is_in_the_store(tmp_path: Path):
    person(tmp_path / "d", "KH4711", HEAD, PatientAge="061Y", PatientSex="F", PatientName=NAME)
    person(tmp_path / "d", "KH4712", Volume(HEAD.data[..., :6], HEAD.affine), PatientAge="030Y")
    steps = ingest(tmp_path / "d", tmp_path / "store", CONFIG, masker=brain_of)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            store = end.value
            break
    assert [row["participant_id"] for row in store.rows] == ["sub-0001"]
    assert store.meta["left_out"] == [
        {
            "participant_id": "sub-0002",
            "reason": "the largest series has 6 slices, 8 are the least; pack the whole series",
        }
    ]
    every = b"".join(p.read_bytes() for p in (tmp_path / "store").rglob("*") if p.is_file())
    for secret in ("KH4711", "KH4712", NAME, "Doe", BIRTH, HOSPITAL):
        assert secret.encode() not in every


def test_a_table_and_files_named_after_its_ids(tmp_path: Path):
    for name in (
        "p1.nii.gz",
        "p2_T1w.nii.gz",
        "p10.nii",
        "deep/p3/scan.nii.gz",
        "stranger.nii.gz",
        "p4_a.nii",
        "p4_b.nii",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        SMALL.save(tmp_path / name)
    rows = "".join(f"{name},{30 + i}\n" for i, name in enumerate(("p1", "p2", "p10", "p3", "p4", "p5")))
    (tmp_path / "people.csv").write_text(f"Subject ID,Age\n{rows}")
    data = opened(tmp_path)
    assert isinstance(data, FolderCohort)
    assert isinstance(data, Source)
    assert {name: file.name for name, file in data.images.items()} == {
        "p1": "p1.nii.gz",
        "p2": "p2_T1w.nii.gz",
        "p10": "p10.nii",
        "p3": "scan.nii.gz",
    }
    assert [row["age"] for row in data.rows] == [30, 31, 32, 33, 34, 35]
    np.testing.assert_array_equal(data.scan(0)[0].data, SMALL.data)
    with pytest.raises(VolumeError, match="2 files are named after p4; say which in a column scan"):
        data.scan(4)
    with pytest.raises(VolumeError, match="no file is named after p5"):
        data.scan(5)
    assert any("3 files are of nobody in the table" in flag["reason"] for flag in data.flagged)
    assert opened(tmp_path / "people.csv").digest() == data.digest()


def test_a_column_says_which_file(tmp_path: Path):
    SMALL.save(tmp_path / "a.nii.gz")
    (tmp_path / "t.tsv").write_text("participant_id\tScan\nx1\ta.nii.gz\nx2\tb.nii.gz\nx3\tn/a\n")
    data = read_folder(tmp_path)
    assert data.images == {"x1": tmp_path / "a.nii.gz"}
    assert data.rows == [{"participant_id": name} for name in ("x1", "x2", "x3")]
    with pytest.raises(VolumeError, match=r"b\.nii\.gz does not exist; correct the column scan"):
        data.scan(1)
    (tmp_path / "t.tsv").write_text("participant_id\tScan\n../x\ta.nii.gz\n")
    with pytest.raises(TableError, match="use letters, digits, points and dashes"):
        read_folder(tmp_path)
    (tmp_path / "u.csv").write_text("participant_id\nx\n")
    with pytest.raises(TableError, match=r"holds 2 tables \(t\.tsv, u\.csv\)"):
        read_folder(tmp_path)


def test_which_kind_a_path_is(tmp_path: Path):
    assert not isinstance(opened(write_dataset(tmp_path / "b", {}, "participant_id\n1\n")), DicomCohort | FolderCohort)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BidsError, match="is not a BIDS data set"):
        opened(tmp_path / "empty")
    with pytest.raises(BidsError, match="is not a directory"):
        opened(tmp_path / "nowhere")
    (tmp_path / "b" / "participants.json").write_text(json.dumps({}))
