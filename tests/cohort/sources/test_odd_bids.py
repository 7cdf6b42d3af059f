"""BIDS data sets as strangers leave them: no other person's image, no other session's labels, what a scan's own table says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.cohort.sources.bids import BidsDataset, read_bids
from engine.imaging.volume import Volume

SCAN = Volume(np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10), np.diag([1.5, 2, 3, 1]))
TABLE = "participant_id\tage\nsub-01\t40\n"


def dataset(
    root: Path, images: list[str], texts: dict[str, str] | None = None, **asked: str
) -> tuple[BidsDataset, str]:
    """A data set of these images and texts, and all that is said of it."""
    for name in images:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        SCAN.save(root / name)
    given = {"dataset_description.json": json.dumps({"Name": "x", "BIDSVersion": "1.10.0"}), "participants.tsv": TABLE}
    for name, text in (given | (texts or {})).items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    found = read_bids(root, **asked)  # pyright: ignore[reportArgumentType]
    return found, "; ".join(flag["reason"] for flag in found.flagged)


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("anat/sub-02_T1w.nii.gz", "is named after another person than its folder"),
        ("ses-1/anat/sub-01_ses-2_T1w.nii.gz", "is named after another session than its folder"),
    ],
)
def test_a_file_in_another_s_folder_is_not_taken(tmp_path: Path, name: str, words: str) -> None:
    found, said = dataset(tmp_path, [f"sub-01/{name}"])
    assert found.images == {}
    assert words in said


@pytest.mark.parametrize(
    ("image", "label", "words"),
    [
        ("ses-2/anat/sub-01_ses-2", "ses-1/anat/sub-01_ses-1", "is of another session than the image"),
        ("anat/sub-01_run-1", "anat/sub-01_run-2", "is of another run than the image"),
        ("anat/sub-01", "anat/sub-01_space-MNI152NLin6Asym", "lies in another space (MNI152NLin6Asym) than the image"),
        ("anat/sub-01", "anat/sub-01_hemi-L", "is of L alone"),
    ],
)
def test_labels_of_another_scan_are_not_this_one_s(tmp_path: Path, image: str, label: str, words: str) -> None:
    labels = f"derivatives/dlmuse/sub-01/{label}_dseg.nii.gz"
    found, said = dataset(tmp_path, [f"sub-01/{image}_T1w.nii.gz", labels])
    assert (len(found.images), found.labels) == (1, {})
    assert words in said
    again, _ = dataset(tmp_path, [f"derivatives/dlmuse/sub-01/{image}_dseg.nii.gz"])
    assert again.labels["sub-01"].name.startswith(Path(image).name)


def test_what_the_data_set_ignores_is_ignored(tmp_path: Path) -> None:
    images = [f"sub-01/anat/sub-01_run-{k}_T1w.nii.gz" for k in (1, 2)]
    found, said = dataset(tmp_path, images, {".bidsignore": "*_run-1_*\n"})
    assert found.images["sub-01"].name == "sub-01_run-2_T1w.nii.gz"
    assert "sub-01_run-1_T1w.nii.gz is listed in .bidsignore" in said


def test_what_is_known_of_the_scan_goes_before_what_is_known_of_the_person(tmp_path: Path) -> None:
    images = [f"sub-01/ses-{k}/anat/sub-01_ses-{k}_T1w.nii.gz" for k in (1, 2)]
    said_of = "filename\tacq_time\tage\tmotion\toperator_note\n"
    scans = {
        f"sub-01/ses-{k}/sub-01_ses-{k}_scans.tsv": said_of
        + f"anat/sub-01_ses-{k}_T1w.nii.gz\t201{k}-05-06T10:11:12\t{50 + k}\t0.{k}\tMrs Doe slept\n"
        for k in (1, 2)
    }
    found, _ = dataset(tmp_path, images, scans)
    assert found.rows == [{"participant_id": "sub-01", "age": 51.0, "motion": 0.1}]
    found, _ = dataset(tmp_path, [], scans, series="ses-2")
    assert found.rows == [{"participant_id": "sub-01", "age": 52.0, "motion": 0.2}]
    twice = scans["sub-01/ses-1/sub-01_ses-1_scans.tsv"]
    _, said = dataset(tmp_path, [], {"sub-01/ses-1/sub-01_ses-1_scans.tsv": twice + twice.splitlines()[1] + "\n"})
    assert "names sub-01_ses-1_T1w.nii.gz twice, so it was not read" in said


@pytest.mark.parametrize(
    ("sidecar", "words"),
    [
        ({"ImageType": ["ORIGINAL", "PRIMARY", "P", "ND"]}, "is no image of magnitudes, as its sidecar says"),
        ({"ImageType": ["DERIVED", "PRIMARY", "T1 MAP"]}, "is a map computed from scans, as its sidecar says"),
        (
            {"ImageType": ["DERIVED", "PRIMARY", "M"], "SeriesDescription": "SUB post - pre"},
            "is a map computed from scans",
        ),
        ({"ComplexImageComponent": "PHASE"}, "is no image of magnitudes, as its sidecar says"),
        ({"SeriesDescription": "AAHead_Scout"}, "is a scout, as its sidecar says"),
        ({"Modality": "CT"}, "is no MR image, as its sidecar says"),
        ({"EchoTime": 0.1}, "has an echo time of 100 ms in its sidecar, so it is not T1-weighted"),
    ],
)
def test_an_image_that_is_no_t1_by_its_sidecar_is_not_taken(tmp_path: Path, sidecar: dict, words: str) -> None:
    found, said = dataset(
        tmp_path, ["sub-01/anat/sub-01_T1w.nii.gz"], {"sub-01/anat/sub-01_T1w.json": json.dumps(sidecar)}
    )
    assert found.images == {}
    assert words in said


def test_an_image_is_chosen_by_what_its_sidecar_says(tmp_path: Path) -> None:
    images = [f"sub-01/anat/sub-01_run-{k}_T1w.nii.gz" for k in (1, 2)]
    sidecars = {
        f"sub-01/anat/sub-01_run-{k}_T1w.json": json.dumps({"EchoTime": 0.002 * k, "RepetitionTime": 2.0})
        for k in (1, 2)
    }
    found, _ = dataset(tmp_path, images, sidecars, series="echo_time > 3 and repetition_time == 2000")
    assert found.images["sub-01"].name == "sub-01_run-2_T1w.nii.gz"
    found, said = dataset(tmp_path, [], {}, series="inversion_time > 3")
    assert found.images == {}
    assert "is not the one that is asked for" in said


@pytest.mark.parametrize(
    ("sidecar", "taken"), [("T1w.json", 0), ("sub-01/sub-01_T1w.json", 0), ("acq-fast_T1w.json", 1), ("T2w.json", 1)]
)
def test_a_sidecar_above_is_inherited(tmp_path: Path, sidecar: str, taken: int) -> None:
    found, _ = dataset(tmp_path, ["sub-01/anat/sub-01_T1w.nii.gz"], {sidecar: json.dumps({"EchoTime": 0.1})})
    assert len(found.images) == taken
    own = {"sub-01/anat/sub-01_T1w.json": json.dumps({"EchoTime": 0.003})}
    assert len(dataset(tmp_path, [], own)[0].images) == 1


SESSION = ["sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz"]


@pytest.mark.parametrize(
    ("texts", "row", "words"),
    [
        ({"sessions.json": {"age": {"Units": "months"}}}, {"age": 3.0}, ""),
        (
            {"participants.json": {"age": {"Units": "months"}}},
            {"age": 40 / 12},
            "sessions.tsv gives age without a unit",
        ),
        ({"sub-01/sub-01_sessions.tsv": "session_id\tage\nses-2\t36\n"}, {"age": 40.0}, "has no row for ses-1"),
        (
            {
                "participants.tsv": "participant_id\tsex\nsub-01\t1\n",
                "participants.json": {"sex": {"Levels": {"1": "male", "2": "female"}}},
                "sub-01/sub-01_sessions.tsv": "session_id\tsex\nses-1\t1\n",
                "sessions.json": {"sex": {"Levels": {"1": "female", "2": "male"}}},
            },
            {"sex": "F"},
            "",
        ),
    ],
)
def test_a_table_of_sessions_is_read_by_its_own_dictionary(tmp_path: Path, texts: dict, row: dict, words: str) -> None:
    """That of the whole data set was passed over: months were years, and its codes were read as those of participants.tsv."""
    given = {"sub-01/sub-01_sessions.tsv": "session_id\tage\nses-1\t36\n"} | texts
    found, said = dataset(tmp_path, SESSION, {k: v if isinstance(v, str) else json.dumps(v) for k, v in given.items()})
    assert found.rows == [{"participant_id": "sub-01", **{name: pytest.approx(value) for name, value in row.items()}}]
    assert words in said


def test_a_row_of_one_session_has_no_scan_of_another(tmp_path: Path) -> None:
    table = {"participants.tsv": "participant_id\tsession_id\tage\nsub-01\tses-2\t42\n"}
    found, said = dataset(tmp_path, SESSION, table)
    assert found.images == {}
    assert "is not of the session of its row (ses-2)" in said
    found, _ = dataset(tmp_path, ["sub-01/ses-2/anat/sub-01_ses-2_T1w.nii.gz"], table)
    assert found.images["sub-01"].name == "sub-01_ses-2_T1w.nii.gz"


def test_a_sex_that_table_and_sidecar_disagree_on_is_said(tmp_path: Path) -> None:
    texts = {
        "participants.tsv": "participant_id\tsex\nsub-01\tM\n",
        "sub-01/anat/sub-01_T1w.json": json.dumps({"PatientSex": "F"}),
    }
    _, said = dataset(tmp_path, ["sub-01/anat/sub-01_T1w.nii.gz"], texts)
    assert "the table says sex M and the sidecar of the scan F" in said
