"""BIDS out and in again; data sets and folders that cannot be used are refused in one sentence."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cohort.bids_write import cell_text, write_bids
from engine.cohort.sources.bids import BidsError, read_bids
from engine.imaging.grid import frames
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume, centred_affine
from tests.cohort.heads import write_dataset

AFFINE = centred_affine((5, 6, 7), (2.0, 2.0, 2.0))
BY = [{"Name": "somatwin", "Version": "0.1.0", "Model": "tiny"}]


@dataclass(frozen=True)
class Synthetic:
    scan: Volume
    attributes: dict[str, Any]


def synthetic(seed: int, **attributes: Any) -> Synthetic:
    data = np.random.default_rng(seed).random((5, 6, 7), dtype=np.float32)
    return Synthetic(Volume(data, AFFINE), attributes)


def write(out: Path, people: list[Synthetic]) -> Path:
    return write_bids(out, people, name="Synthetic heads", generated_by=BY, licence="CC BY-SA 3.0", acknowledge="IXI")


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    people = [
        synthetic(0, ethnicity="White", sex="F", age=60.0, height=165.5, weight=87.145, bmi=31.8),
        synthetic(1, sex="M", age=41.25, height=None, weight=None, bmi=None),
    ]
    out = write(tmp_path / "out", people)
    data = read_bids(out)
    assert data.rows[0] == {"participant_id": "sub-0001", **people[0].attributes}
    assert data.rows[1] == {"participant_id": "sub-0002", **people[1].attributes, "ethnicity": None}
    assert data.flagged == []
    lines = (out / "participants.tsv").read_text().splitlines()
    assert lines[0].split("\t") == ["participant_id", "age", "sex", "height", "weight", "bmi", "ethnicity"]
    assert lines[2].split("\t") == ["sub-0002", "41.25", "M", "n/a", "n/a", "n/a", "n/a"]
    for person, name in zip(people, ("sub-0001", "sub-0002"), strict=True):
        volume = load_volume(data.images[name])
        np.testing.assert_array_equal(volume.data, person.scan.data)
        np.testing.assert_allclose(volume.affine, AFFINE)
        assert volume.axcodes == "RAS"
    header = gzip.decompress(data.images["sub-0001"].read_bytes())[:348]
    assert header[148:228].rstrip(b"\0") == b"SYNTHETIC - not for diagnosis"
    about = json.loads((out / "dataset_description.json").read_text())
    assert about["DatasetType"] == "derivative"
    assert about["GeneratedBy"] == BY
    assert about["License"] == "CC BY-SA 3.0"
    assert json.loads((out / "participants.json").read_text())["height"]["Units"] == "cm"
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_a_file_for_each_channel(tmp_path: Path) -> None:
    volume = Volume(np.zeros((2, 5, 6, 7), np.float32), AFFINE, ("fat", "water"))
    out = write(tmp_path / "out", [Synthetic(volume, {"age": 3.0})])
    assert sorted(p.name for p in (out / "sub-0001" / "anat").iterdir()) == [
        "sub-0001_fat.nii.gz",
        "sub-0001_water.nii.gz",
    ]


@pytest.mark.parametrize(
    ("cycle", "row", "seconds"), [(0.9, {"heart_rate": 60.0}, 0.9), (None, {"heart_rate": 60.0}, 1.0), (None, {}, None)]
)
def test_a_cine_is_one_file_with_time_as_its_fourth_axis(
    cycle: float | None, row: dict[str, Any], seconds: float | None, tmp_path: Path
) -> None:
    """Its cycle, its own or by the heart rate, stands in the header and in the sidecar, which says that it is synthetic."""
    data = np.random.default_rng(3).random((12, 5, 6, 7), dtype=np.float32)
    volume = Volume(data, AFFINE, frames(["cine"], 12), cycle)
    folder = write(tmp_path / "out", [Synthetic(volume, row)]) / "sub-0001" / "anat"
    assert sorted(p.name for p in folder.iterdir()) == ["sub-0001_cine.json", "sub-0001_cine.nii.gz"]
    found = load_volume(folder / "sub-0001_cine.nii.gz", "cine", phases=12)
    np.testing.assert_array_equal(found.data, data)
    assert found.cycle == (None if seconds is None else pytest.approx(seconds))
    about = json.loads((folder / "sub-0001_cine.json").read_text())
    assert (about["Description"], about["CardiacNumberOfImages"]) == ("SYNTHETIC - not for diagnosis", 12)
    assert about.get("NominalInterval") == seconds
    if seconds is not None:
        assert about["HeartRate"] == round(60 / seconds)
        np.testing.assert_allclose(about["FrameTimesStart"], np.arange(12) * seconds / 12, atol=1e-6)


def test_a_full_folder_is_refused_and_an_empty_one_is_used(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert write(tmp_path / "empty", [synthetic(0)]).is_dir()
    with pytest.raises(BidsError, match="exists and is not empty"):
        write(tmp_path / "empty", [synthetic(0)])


def test_nothing_is_kept_when_writing_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def half() -> Any:
        yield synthetic(0)
        raise RuntimeError("the model failed")

    with pytest.raises(RuntimeError, match="the model failed"):
        write_bids(tmp_path / "out", half(), name="x", generated_by=BY, licence="x")
    with pytest.raises(BidsError, match="no person was given"):
        write(tmp_path / "out", [])

    def full(self: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(BidsError, match="the disk is full"):
        write(tmp_path / "out", [synthetic(0)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "n/a"),
        (60.0, "60"),
        (3, "3"),
        (np.float32(1.5), "1.5"),
        (float("inf"), "n/a"),
        ("a\tb", "a b"),
        ("", "n/a"),
    ],
)
def test_cells(value: Any, text: str) -> None:
    assert cell_text(value) == text


def test_the_table_and_the_folders_are_joined(tmp_path: Path) -> None:
    table = "\ufeffparticipant_id\tage\tsex\n1\t40\tM\nsub-2\tn/a\tF\n"
    root = write_dataset(tmp_path / "d", {"sub-1": b"", "sub-3": b""}, table)
    data = read_bids(root)
    assert [row["participant_id"] for row in data.rows] == ["sub-1", "sub-2", "sub-3"]
    assert data.rows[2] == {"participant_id": "sub-3", "age": None, "sex": None}
    assert sorted(data.images) == ["sub-1", "sub-3"]
    assert data.labels == {}


def test_sessions_and_other_suffixes(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {}, "participant_id\nsub-1\n")
    for session in ("ses-2", "ses-1"):
        folder = root / "sub-1" / session / "anat"
        folder.mkdir(parents=True)
        (folder / f"sub-1_{session}_T1w.nii.gz").write_bytes(b"")
        (folder / f"sub-1_{session}_T1w.json").write_text("{}")
    assert read_bids(root).images["sub-1"].name == "sub-1_ses-1_T1w.nii.gz"
    assert read_bids(root, suffix="T2w").images == {}


def test_flags_reach_the_data_set(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {}, "participant_id\tage\tsex\tbmi\nsub-1\t-3\tX\t900\n")
    data = read_bids(root)
    assert data.rows == [{"participant_id": "sub-1", "age": None, "sex": None, "bmi": None}]
    assert [flag["reason"].split(" lies")[0].split(" is not")[0] for flag in data.flagged] == [
        "age -3",
        "sex 'X'",
        "bmi 900",
    ]


def test_data_sets_that_cannot_be_used(tmp_path: Path) -> None:
    with pytest.raises(BidsError, match="is not a directory"):
        read_bids(tmp_path / "nowhere")
    (tmp_path / "plain").mkdir()
    with pytest.raises(BidsError, match="is not a BIDS data set"):
        read_bids(tmp_path / "plain")
    root = write_dataset(tmp_path / "d", {}, "")
    with pytest.raises(BidsError, match="no participant_id column"):
        read_bids(root)
    (root / "participants.tsv").write_bytes(b"participant_id\n\xff\xfe\n")
    with pytest.raises(BidsError, match="tab-separated UTF-8"):
        read_bids(root)
    (root / "participants.tsv").write_text("participant_id\nsub-1\n1\n")
    with pytest.raises(BidsError, match="names sub-1 twice"):
        read_bids(root)
    (root / "participants.tsv").write_text("participant_id\n../../etc\n")
    with pytest.raises(BidsError, match="use letters and digits"):
        read_bids(root)
    (root / "participants.tsv").unlink()
    with pytest.raises(BidsError, match=r"has no participants\.tsv"):
        read_bids(root)
    (root / "dataset_description.json").write_text("{}")
    with pytest.raises(BidsError, match="names no BIDSVersion"):
        read_bids(root)
    (root / "dataset_description.json").write_text("{")
    with pytest.raises(BidsError, match="cannot be read"):
        read_bids(root)


def test_codes_with_described_levels_are_levels(tmp_path: Path) -> None:
    """sex and smoking by numbers, as many data sets have them; a column of one's own keeps its codes."""
    table = "participant_id\tage\tsex\tschool\nsub-1\t40\t1\t1\nsub-2\t50\t2\t2.0\n"
    root = write_dataset(tmp_path / "set", {}, table)
    said = {"sex": {"1": "male", "2": "female"}, "school": {"1": "primary", "2": "secondary"}}
    (root / "participants.json").write_text(json.dumps({name: {"Levels": levels} for name, levels in said.items()}))
    data = read_bids(root)
    assert data.flagged == []
    assert [(row["sex"], row["school"]) for row in data.rows] == [("M", "1"), ("F", "2")]
