"""The command line's ``ingest``: who is left out and why, and every bad input is one sentence."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

import engine.cohort.ingest
from engine.__main__ import main
from engine.cohort.store import CohortStore
from tests.cli.test_cli import no_space
from tests.cohort.heads import brain_of, made_up_head, write_dataset

TABLE = "participant_id\tage\tsex\nsub-a\t40\tF\n"
HEAD = made_up_head()


@pytest.fixture(autouse=True)
def quick_masker(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: brain_of)


def nifti(data: np.ndarray) -> bytes:
    return gzip.compress(nib.Nifti1Image(data.astype(np.float32), HEAD.affine).to_bytes(), mtime=0)


def test_ingest_says_who_was_left_out_and_why(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    heads = {"sub-a": HEAD, "sub-b": None, "sub-c": nifti(np.zeros((6, 6, 6, 3)))}
    root = write_dataset(tmp_path / "data", heads, TABLE + "sub-b\t50\tM\nsub-c\t60\tM\n")
    assert main(["ingest", str(root), str(tmp_path / "store"), "--recipe", "tiny"]) == 0
    said = capsys.readouterr()
    assert "3 of 3 persons (sub-c), 0 s left" in said.err
    summary, *left_out = said.out.splitlines()
    assert "1 persons, 32 x 32 x 32 voxels, 2 left out" in summary
    assert left_out[0].startswith("sub-b left out: sub-b has no T1w image")
    assert "one 3D volume is needed" in left_out[1]
    assert len(CohortStore.open(tmp_path / "store")) == 1


@pytest.mark.parametrize(
    ("image", "words"),
    [
        (None, "has no T1w image"),
        (nifti(HEAD.data)[: len(nifti(HEAD.data)) // 2], "cannot be read as NIfTI"),
        (b"not an image", "cannot be read as NIfTI"),
        (nifti(np.where(HEAD.data > 650, np.nan, HEAD.data)), "NaN or infinite"),
        (nifti(np.zeros((6, 6, 6, 3))), "one 3D volume is needed"),
        (nifti(np.zeros((6, 6, 1))), "single slice"),
    ],
)
def test_an_unusable_image_is_refused(
    refused: Callable[..., str], tmp_path: Path, image: bytes | None, words: str
) -> None:
    root = write_dataset(tmp_path / "data", {"sub-a": image}, TABLE)
    sentence = refused("ingest", root, tmp_path / "store", "--recipe", "tiny")
    assert "no person is left to store of 1; sub-a: " in sentence
    assert words in sentence


def test_what_is_no_data_set_is_refused(refused: Callable[..., str], tmp_path: Path) -> None:
    store = tmp_path / "store"
    assert "is not a directory" in refused("ingest", tmp_path / "none", store)
    root = write_dataset(tmp_path / "data", {"sub-a": HEAD}, TABLE)
    assert "there is no recipe 'arm'" in refused("ingest", root, store, "--recipe", "arm")
    (root / "participants.tsv").unlink()
    assert "has no participants.tsv" in refused("ingest", root, store)
    (root / "dataset_description.json").unlink()
    assert "is not a BIDS data set" in refused("ingest", root, store)


def test_ingest_on_a_full_disk_leaves_nothing(
    refused: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_dataset(tmp_path / "data", {"sub-a": HEAD}, TABLE)
    monkeypatch.setattr(np, "savez", no_space)
    assert "is full, nothing was kept" in refused("ingest", root, tmp_path / "store", "--recipe", "tiny")
