"""Which image, which row, which person: a rule that never changes, and a sentence wherever there was a doubt."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from engine.cohort.sources.bids import BidsError, read_bids
from engine.cohort.sources.bids_files import choose, natural
from engine.vocabulary.units import UnitError
from tests.cohort.heads import write_dataset


def touched(root: Path, *names: str) -> Path:
    """A person's folder with empty images of these names."""
    for name in names:
        session = [part for part in name.split("_") if part.startswith("ses-")]
        file = root.joinpath(*session, "anat", f"sub-01_{name}.nii.gz")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    return root


@pytest.mark.parametrize(
    ("names", "taken"),
    [
        (["acq-scout_T1w", "rec-norm_T1w"], "rec-norm_T1w"),
        (["run-10_T1w", "run-2_T1w"], "run-2_T1w"),
        (["ses-10_T1w", "ses-2_T1w"], "ses-2_T1w"),
        (["ses-2_run-1_T1w", "ses-1_run-3_T1w"], "ses-1_run-3_T1w"),
        (["part-phase_T1w", "part-mag_T1w"], "part-mag_T1w"),
        (["ce-gadolinium_T1w", "run-2_T1w"], "run-2_T1w"),
        (["T1w", "acq-highres_T1w", "rec-norm_T1w"], "T1w"),
        (["acq-localizer2_T1w", "acq-mprage_run-1_T1w"], "acq-mprage_run-1_T1w"),
        (["echo-2_T1w", "echo-1_T1w"], "echo-1_T1w"),
        (["chunk-1_T1w", "acq-full_T1w"], "acq-full_T1w"),
    ],
)
def test_the_image_that_is_taken_and_what_is_said(names: list[str], taken: str, tmp_path: Path):
    choice = choose(touched(tmp_path, *names), "T1w")
    assert choice.file is not None
    assert choice.file.name == f"sub-01_{taken}.nii.gz"
    assert choice.file.name in choice.note
    assert all(f"sub-01_{name}.nii.gz" in choice.note for name in names)


def test_no_image_is_better_than_a_phase_or_a_scout(tmp_path: Path):
    choice = choose(touched(tmp_path, "part-phase_T1w", "acq-scout_T1w"), "T1w")
    assert choice.file is None
    assert "sub-01_acq-scout_T1w.nii.gz is a scout; sub-01_part-phase_T1w.nii.gz is a phase image" in choice.note


def test_a_link_to_nowhere_and_what_a_mac_leaves_are_no_images(tmp_path: Path):
    folder = touched(tmp_path, "run-2_T1w")
    (folder / "anat" / "sub-01_run-1_T1w.nii.gz").symlink_to(".git/annex/objects/gone")
    (folder / "anat" / "._sub-01_run-2_T1w.nii.gz").touch()
    choice = choose(folder, "T1w")
    assert choice.file == folder / "anat" / "sub-01_run-2_T1w.nii.gz"
    assert "sub-01_run-1_T1w.nii.gz is a link to a file that was not fetched" in choice.note


def test_one_image_needs_no_words(tmp_path: Path):
    assert choose(touched(tmp_path, "T1w"), "T1w").note == ""
    assert choose(tmp_path, "T2w") == choose(tmp_path / "nowhere", "T1w")


def test_numbers_in_names_are_numbers():
    assert sorted(["b", "a10", "a9", "a", "10", "9"], key=natural) == ["9", "10", "a", "a9", "a10", "b"]


def test_folders_and_rows_that_do_not_match_are_said(tmp_path: Path):
    root = write_dataset(
        tmp_path / "d", {"sub-01": b"", "sub-AB": b""}, "participant_id\tage\n1\t40\nsub-ab\t50\nz\t3\n"
    )
    data = read_bids(root)
    said = {flag["participant_id"]: flag["reason"] for flag in data.flagged}
    assert said["sub-01"].startswith("this folder is not in participants.tsv")
    assert "the table has sub-1, which is another name" in said["sub-01"]
    assert "the table has sub-ab" in said["sub-AB"]
    assert sorted(data.images) == ["sub-01", "sub-AB"]


@pytest.mark.parametrize(
    "header", ["Participant_ID\tAge\tGender", "participant_id\tage_years\tSEX", "ID\tAlter\tGeschlecht"]
)
def test_headings_in_other_words_are_found(header: str, tmp_path: Path):
    root = write_dataset(tmp_path / "d", {}, f"{header}\nSUB-1\t40\tw\n")
    assert read_bids(root).rows == [{"participant_id": "sub-1", "age": 40.0, "sex": "F"}]


def test_a_table_between_semicolons_is_read_and_said(tmp_path: Path):
    root = write_dataset(tmp_path / "d", {}, "participant_id;age\nsub-1;40,5\n")
    data = read_bids(root)
    assert data.rows == [{"participant_id": "sub-1", "age": 40.5}]
    assert [flag["participant_id"] for flag in data.flagged] == ["participants.tsv"] * 2


def test_units_of_participants_json_are_honoured_or_refused(tmp_path: Path):
    root = write_dataset(tmp_path / "d", {}, "participant_id\tage\theight\tweight\nsub-1\t36\t70\t165\n")
    about = {"age": {"Units": "months"}, "height": {"Units": "inch"}, "weight": {"Units": "lb"}}
    (root / "participants.json").write_text(json.dumps(about))
    data = read_bids(root)
    assert data.rows[0] == {
        "participant_id": "sub-1",
        "age": 3.0,
        "height": 177.8,
        "weight": pytest.approx(74.84, abs=0.01),
    }
    assert [flag["reason"] for flag in data.flagged] == [
        "age was brought to years from months",
        "height was brought to cm from inch",
        "weight was brought to kg from lb",
    ]
    (root / "participants.json").write_text(json.dumps({"age": {"Units": "scans"}}))
    with pytest.raises(UnitError, match="age is counted in 'scans'"):
        read_bids(root)


def test_who_is_scanned_twice_has_the_age_of_the_scan(tmp_path: Path):
    root = write_dataset(tmp_path / "d", {}, "participant_id\tage\tsex\nsub-01\t40\tF\n")
    touched(root / "sub-01", "ses-2_T1w", "ses-10_T1w")
    table = "session_id\tage\nses-10\t48\nses-2\t41.5\n"
    (root / "sub-01" / "sub-01_sessions.tsv").write_text(table)
    assert read_bids(root).rows == [{"participant_id": "sub-01", "age": 41.5, "sex": "F"}]


def test_an_id_that_is_no_folder_is_refused(tmp_path: Path):
    for name in ("a b", "x/y", "né", "a_b", "sub-"):
        root = write_dataset(tmp_path / "d", {}, f"participant_id\n{name}\n")
        with pytest.raises(BidsError, match="use letters and digits"):
            read_bids(root)
        shutil.rmtree(root)
