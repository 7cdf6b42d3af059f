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
from engine.imaging.volume import Volume
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


def test_one_unusable_file_never_ends_the_ingest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Colours, an unknown type, a damaged scale, a pointer, a dangling link, and what a library stumbles over."""

    def masker(head: Volume) -> np.ndarray:
        if float(head.data.max()) == 7:
            raise IndexError("list index out of range")
        return brain_of(head)

    # other processes would take the real one
    monkeypatch.setattr(engine.cohort.ingest, "PROCESSES", 1)
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: masker)
    rgb = np.zeros((20, 20, 20), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    code, inter = bytearray(nib.Nifti1Image(HEAD.data, HEAD.affine).to_bytes()), bytearray(nifti_of(HEAD.data))
    code[70:72] = b"\0\0"
    inter[112:120] = np.array([2, np.nan], np.float32).tobytes()
    odd = HEAD.data.copy() / HEAD.data.max() * 7
    images = {
        "sub-a": HEAD,
        "sub-b": gzip.compress(nib.Nifti1Image(rgb, np.eye(4)).to_bytes()),
        "sub-c": gzip.compress(bytes(code)),
        "sub-d": gzip.compress(bytes(inter)),
        "sub-e": b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "sub-f": b"../.git/annex/objects/gone",
        "sub-g": nifti(odd),
        "sub-h": b"",
    }
    rows = "".join(f"{name}\t50\tM\n" for name in [*images, "sub-i"])
    root = write_dataset(tmp_path / "data", images, f"participant_id\tage\tsex\n{rows}")
    (root / "sub-i" / "anat").mkdir(parents=True)
    (root / "sub-i" / "anat" / "sub-i_T1w.nii.gz").symlink_to("gone")
    assert main(["ingest", str(root), str(tmp_path / "store"), "--recipe", "tiny"]) == 0
    said = capsys.readouterr()
    summary, *left_out = said.out.splitlines()
    assert "1 persons, 32 x 32 x 32 voxels, 8 left out" in summary
    reasons = (
        "colours",
        "data type 0",
        "invalid intercept",
        "git lfs pull",
        "a pointer",
        "IndexError",
        "NIfTI",
        "no T1w",
    )
    for line, words in zip(left_out, reasons, strict=True):
        assert words in line
    assert "sub-i_T1w.nii.gz is a link to a file that was not fetched" in said.err


def nifti_of(data: np.ndarray) -> bytes:
    return nib.Nifti1Image(data.astype(np.float32), HEAD.affine).to_bytes()
