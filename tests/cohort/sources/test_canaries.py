"""No identifier that goes in comes out: canaries planted in 40 elements of DICOM files, in sidecars and in tables are in no byte of what
an ingest writes or says."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread
from pydicom.uid import generate_uid

import engine.cohort.ingest
from engine.__main__ import main
from engine.cohort.store import CohortStore
from engine.imaging.dicom import read_series
from engine.imaging.volume import VolumeError
from tests.cohort.heads import brain_of, made_up_head, write_dataset
from tests.imaging.dicom_files import series, zipped

TEXTS = [
    "PatientName",
    "PatientID",
    "OtherPatientNames",
    "PatientBirthName",
    "PatientMotherBirthName",
    "PatientAddress",
    "PatientTelephoneNumbers",
    "MilitaryRank",
    "EthnicGroup",
    "Occupation",
    "AdditionalPatientHistory",
    "PatientComments",
    "PatientReligiousPreference",
    "IssuerOfPatientID",
    "InstitutionName",
    "InstitutionAddress",
    "InstitutionalDepartmentName",
    "ReferringPhysicianName",
    "ReferringPhysicianAddress",
    "PerformingPhysicianName",
    "OperatorsName",
    "NameOfPhysiciansReadingStudy",
    "RequestingPhysician",
    "PhysiciansOfRecord",
    "AccessionNumber",
    "StudyID",
    "StudyDescription",
    "SeriesDescription",
    "ProtocolName",
    "PerformedProcedureStepDescription",
    "DeviceSerialNumber",
    "StationName",
    "RequestedProcedureDescription",
    "AdmissionID",
    "ImageComments",
    "MedicalAlerts",
]
DATES = ("PatientBirthDate", "StudyDate", "SeriesDate", "AcquisitionDate", "ContentDate")
UIDS = ("StudyInstanceUID", "SeriesInstanceUID", "FrameOfReferenceUID")
DAY = "19431127"


def planted(folder: Path) -> set[str]:
    """A DICOM series with canaries in it; returns them."""
    canaries = {name: f"Zq{i:02d}xw" for i, name in enumerate(TEXTS)}
    uids = {name: generate_uid() for name in UIDS}
    found = {*canaries.values(), *uids.values(), DAY}
    for k, image in enumerate(series(made_up_head(), 1.0)):
        for name, text in canaries.items():
            setattr(image, name, text)
        for name in DATES:
            setattr(image, name, DAY)
        for name, uid in uids.items():
            setattr(image, name, uid)
        image.private_block(0x0029, "ZqOwner", create=True).add_new(0x10, "LO", "Zqprivate")
        found.add(str(image.SOPInstanceUID))
        image.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    return {*found, "Zqprivate", "ZqOwner"}


def leaks(place: Path, said: str, canaries: set[str]) -> list[str]:
    """The canaries in any byte of any file, or name of one, at a place, or in what was said."""
    files = [path for path in place.rglob("*") if path.is_file()]
    assert files
    texts = [path.read_bytes() for path in files] + [str(path.relative_to(place)).encode() for path in files]
    return [one for one in sorted(canaries) if any(one.encode() in text for text in [*texts, said.encode()])]


def test_no_identifier_of_forty_elements_comes_out_of_a_dicom_ingest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: brain_of)
    (tmp_path / "data").mkdir()
    canaries = planted(tmp_path / "data")
    assert len(TEXTS) + len(DATES) + len(UIDS) >= 40
    assert main(["ingest", str(tmp_path / "data"), str(tmp_path / "store"), "--recipe", "tiny"]) == 0
    assert main(["ingest", str(tmp_path / "data"), "--recipe", "tiny", "--check", "--json"]) == 0
    said = capsys.readouterr()
    assert leaks(tmp_path / "store", said.out + said.err, canaries) == []
    store = json.loads((tmp_path / "store" / "store.json").read_text())
    assert "never entered the store" in store["deidentified"]


def test_no_identifier_of_a_table_or_a_sidecar_comes_out_of_an_ingest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: brain_of)
    headings = [
        "participant_id",
        "age",
        "Patient Name",
        "MRN",
        "date of birth",
        "Hospital",
        "scanned",
        "StudyInstanceUID",
    ]
    cells = ["sub-a", "40", "Zq1xw", "Zq2xw", "27.11.1943", "Zq3xw", "1999-12-24", "1.2.3.4444"]
    root = write_dataset(
        tmp_path / "data", {"sub-a": made_up_head()}, "\t".join(headings) + "\n" + "\t".join(cells) + "\n"
    )
    sidecar = {"InstitutionName": "Zq4xw", "PatientName": "Zq5xw", "SeriesDescription": "Zq6xw"}
    (root / "sub-a" / "anat" / "sub-a_T1w.json").write_text(json.dumps(sidecar))
    where = ["--where", "age > 1 and series_description.notna()"]
    assert main(["ingest", str(root), str(tmp_path / "store"), "--recipe", "tiny", *where]) == 0
    said = capsys.readouterr()
    canaries = {*cells[2:], *sidecar.values()}
    assert leaks(tmp_path / "store", said.out + said.err, canaries) == []
    assert "column MRN was left out: numbers of a register never reach a store" in said.err
    assert "column scanned was left out: dates never reach a store" in said.err


def test_a_deidentified_copy_names_nobody_and_is_the_same_scan(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source, out = tmp_path / "data", tmp_path / "copy"
    source.mkdir()
    canaries = planted(source)
    for k in (0, 1):
        image = dcmread(source / f"{k}.dcm")
        image.SOPInstanceUID = image.file_meta.MediaStorageSOPInstanceUID = generate_uid()
        image.PatientID, image.StudyDate = f"Zqother{k}", ("19431201", "19431203")[k]
        image.AcquisitionDate = "19431204"
        image.save_as(source / f"other{k}.dcm", enforce_file_format=True)
    burned = dcmread(source / "0.dcm")
    burned.BurnedInAnnotation = "YES"
    burned.save_as(source / "burned.dcm", enforce_file_format=True)
    assert main(["deidentify", str(source), str(out)]) == 0
    said = capsys.readouterr()
    assert leaks(out, said.out + said.err, {*canaries, "Zqother0", "Zqother1"}) == []
    report = json.loads(said.out)
    assert (report["persons"], report["removed_or_replaced"]["InstitutionName"] > 60) == (3, True)
    assert "burned into" in next(iter(report["left_out"]))
    assert report == json.loads((out / "deidentified.json").read_text())
    first, copied = sorted((out / "sub-0001").iterdir()), read_series(out / "sub-0001")
    assert np.array_equal(copied.volume.data, read_series(tuple(source / f"{k}.dcm" for k in range(68))).volume.data)
    images = [dcmread(path) for path in first]
    assert len({image.SeriesInstanceUID for image in images}) == 1
    assert len({image.StudyDate for image in images}) == 1
    assert images[0].PatientIdentityRemoved == "YES"
    for name in ("sub-0002", "sub-0003"):
        (file,) = (out / name).iterdir()
        other = dcmread(file)
        days = date.fromisoformat(other.AcquisitionDate) - date.fromisoformat(other.StudyDate)
        assert days == timedelta({"sub-0002": 3, "sub-0003": 1}[name])  # what lies between two days stays
    assert main(["deidentify", str(source), str(out)]) == 2


def test_numbers_of_a_hospital_become_names_of_nobody(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: brain_of)
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "people.csv").write_text("Patient ID,age\nZq900017,41\nZq900002,42\nZq900003,43\n")
    made_up_head().save(folder / "Zq900017.nii.gz")
    (folder / "Zq900002.nii.gz").write_bytes(b"no image")
    assert main(["ingest", str(folder), str(tmp_path / "store"), "--recipe", "tiny"]) == 0
    said = capsys.readouterr()
    assert leaks(tmp_path / "store", said.out + said.err, {"Zq900017", "Zq900002", "Zq900003"}) == []
    assert "sub-0001 left out" in said.out
    assert CohortStore.open(tmp_path / "store").rows == [{"participant_id": "sub-0003", "age": 41.0}]


def test_text_burned_into_pixels_is_refused() -> None:
    images = series(made_up_head(grid=(12, 14, 16), spacing=16.0))
    for image in images:
        image.BurnedInAnnotation = "YES"
    with pytest.raises(VolumeError, match="burned into their pixels"):
        read_series(zipped(images))
