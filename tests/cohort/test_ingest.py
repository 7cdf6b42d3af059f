"""From a made-up data set to a store: who enters, who is left out and why, and how it continues."""

from __future__ import annotations

import gzip
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import nibabel as nib
import numpy as np
import pytest

from engine.cohort.builder import StoreBuilder
from engine.cohort.ingest import IngestProgress, contact_sheet, ingest
from engine.cohort.preprocess.outside_brain import SCALP, SKULL
from engine.cohort.preprocess.preprocess import PreprocessConfig, PreprocessError
from engine.cohort.sources.bids import BidsError
from engine.cohort.store import CohortStore, StoreError, part_of
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.row import Row
from tests.cohort.heads import CONFIG, brain_of, made_up_head, write_dataset

T = TypeVar("T")
TABLE = "participant_id\tage\tsex\theight\tweight\n" + "".join(
    f"sub-{name}\t{age}\t{sex}\t{height}\t70\n"
    for name, age, sex, height in (("a", 30, "F", 170), ("b", -3, "M", 180), ("c", 50, "X", "n/a"))
)


def drained(steps: Generator[IngestProgress, None, T]) -> tuple[list[IngestProgress], T]:
    seen = []
    while True:
        try:
            seen.append(next(steps))
        except StopIteration as end:
            return seen, end.value


def heads() -> dict[str, Volume]:
    return {
        "sub-a": made_up_head(),
        "sub-b": made_up_head(turn=(4, 0, 5), size=0.95).reoriented("PSR"),
        "sub-c": made_up_head(shift=(0, 9, -7), size=1.05).reoriented("LPI"),
    }


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_dataset(tmp_path_factory.mktemp("bids") / "d", dict(heads()), TABLE, labels=True)


def test_a_data_set_becomes_a_store(source: Path, tmp_path: Path) -> None:
    seen, store = drained(ingest(source, tmp_path / "s", CONFIG, masker=brain_of))
    assert [(p.done, p.total, p.subject, p.left_out) for p in seen] == [
        (1, 3, "sub-a", ""),
        (2, 3, "sub-b", ""),
        (3, 3, "sub-c", ""),
    ]
    assert store.path == tmp_path / "s"
    assert store.volumes.shape == (3, 1, *CONFIG.grid)
    assert [row["age"] for row in store.rows] == [30.0, None, 50.0]
    assert [row["sex"] for row in store.rows] == ["F", "M", None]
    assert store.rows[2]["height"] is None
    assert {flag["reason"].split(" ")[0] for flag in store.meta["flagged"]} == {"age", "sex"}
    np.testing.assert_array_equal(store.affine, CONFIG.affine)
    assert store.labels is not None
    assert store.labelled.all()
    for i in range(3):
        assert {0, 7} <= set(np.unique(store.labels[i])) <= {0, 7, SKULL, SCALP}
        assert ((store.labels[i] == 7) == store.mask[i]).mean() > 0.99
    assert store.meta["licence"] == "CC0"
    assert store.meta["acknowledgement"] == "nobody"
    assert store.meta["recipe"] == "head_t1"
    report = (store.path / "quality.html").read_text()
    assert "sub-b: age -3 lies outside" in report
    assert (store.path / "quality.png").stat().st_size > 1000


def test_bad_persons_are_left_out_with_their_reason(tmp_path: Path) -> None:
    good = made_up_head()
    good.save(tmp_path / "whole.nii.gz")
    whole = (tmp_path / "whole.nii.gz").read_bytes()

    def nifti(data: np.ndarray) -> bytes:
        return gzip.compress(nib.Nifti1Image(data.astype(np.float32), good.affine).to_bytes(), mtime=0)

    broken: dict[str, Volume | bytes | None] = {
        "sub-good": good,
        "sub-none": None,
        "sub-cut": whole[: len(whole) // 2],
        "sub-nan": nifti(np.where(good.data > 650, np.nan, good.data)),
        "sub-four": nifti(np.zeros((6, 6, 6, 3))),
        "sub-slice": nifti(np.zeros((6, 6, 1))),
        "sub-empty": replace(good, data=np.zeros_like(good.data)),
        "sub-tiny": made_up_head(size=0.5),
    }
    table = "participant_id\tage\n" + "".join(f"{name}\t40\n" for name in broken)
    root = write_dataset(tmp_path / "d", broken, table)
    seen, store = drained(ingest(root, tmp_path / "s", CONFIG, masker=brain_of))
    assert [row["participant_id"] for row in store.rows] == ["sub-good"]
    reasons = {entry["participant_id"]: entry["reason"] for entry in store.meta["left_out"]}
    expected = {
        "sub-none": "has no T1w image",
        "sub-cut": "cannot be read as NIfTI",
        "sub-nan": "NaN or infinite",
        "sub-four": "one 3D volume is needed",
        "sub-slice": "single slice",
        "sub-empty": "same value",
        "sub-tiny": "outside 500 to 2500",
    }
    assert set(reasons) == set(expected)
    for name, words in expected.items():
        assert words in reasons[name]
    assert {p.subject: p.left_out for p in seen if p.left_out} == reasons
    assert "sub-slice" in (store.path / "quality.html").read_text()


def test_an_interrupted_ingest_continues(source: Path, tmp_path: Path) -> None:
    calls: list[int] = []

    def counting(volume: Volume) -> np.ndarray:
        calls.append(1)
        return brain_of(volume)

    steps = ingest(source, tmp_path / "s", CONFIG, masker=counting)
    next(steps)
    steps.close()
    assert not (tmp_path / "s").exists()
    with pytest.raises(StoreError, match="unfinished"):
        CohortStore.open(tmp_path / "s")
    _, store = drained(ingest(source, tmp_path / "s", CONFIG, masker=counting))
    assert len(calls) == 3
    _, whole = drained(ingest(source, tmp_path / "t", CONFIG, masker=brain_of))
    assert store.meta == whole.meta


def test_a_changed_image_is_not_taken_from_the_unfinished_store(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", dict(heads()), TABLE)
    steps = ingest(root, tmp_path / "s", CONFIG, masker=brain_of)
    next(steps)
    steps.close()
    made_up_head(size=0.9).save(root / "sub-a" / "anat" / "sub-a_T1w.nii.gz")
    _, store = drained(ingest(root, tmp_path / "s", CONFIG, masker=brain_of))
    assert store.meta["quality"]["sub-a"]["brain_ml"] < 0.8 * store.meta["quality"]["sub-c"]["brain_ml"]


def test_nobody_usable_is_refused(tmp_path: Path) -> None:
    root = write_dataset(tmp_path / "d", {"sub-a": None}, TABLE)
    with pytest.raises(StoreError, match="no person is left"):
        drained(ingest(root, tmp_path / "s", CONFIG, masker=brain_of))
    assert not (tmp_path / "s").exists()


def test_not_bids_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(BidsError):
        drained(ingest(tmp_path, tmp_path / "s", CONFIG, masker=brain_of))
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_nothing(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StoreError, match="is full"):
        drained(ingest(source, tmp_path / "s", CONFIG, masker=brain_of))
    assert list(tmp_path.iterdir()) == []


def test_an_existing_store_is_refused_before_any_work(source: Path, tmp_path: Path) -> None:
    (tmp_path / "s").mkdir()
    (tmp_path / "s" / "mine.txt").write_text("keep me")
    with pytest.raises(StoreError, match="exists already"):
        next(ingest(source, tmp_path / "s", CONFIG, masker=brain_of))
    assert not part_of(tmp_path / "s").exists()


def test_a_builder_needs_no_files_of_a_data_set(tmp_path: Path) -> None:
    build = StoreBuilder(
        tmp_path / "s", recipe="torso", grid=(4, 4, 4), affine=np.eye(4), channels=("fat", "water"), plan={}
    )
    build.add("p1", np.zeros((2, 4, 4, 4), np.uint8), np.ones((4, 4, 4), bool))
    assert build.finish([{"participant_id": "p1"}]).channels == ("fat", "water")


def test_a_contact_sheet_shows_everybody() -> None:
    page = contact_sheet(np.full((7, 10, 12, 14), 200, np.uint8), columns=5)
    assert page.size == (5 * (12 + 10 + 10 + 6), 2 * 14)


class TwoHeads:
    """A source that is no data set on disk."""

    def __init__(self) -> None:
        names = (("a", 40.0, "F"), ("b", 50.0, "M"))
        self.rows: list[Row] = [{"participant_id": name, "age": age, "sex": sex} for name, age, sex in names]
        self.flagged: list[dict[str, str]] = []

    def scan(self, i: int) -> tuple[Volume, Volume | None]:
        if i == 1:
            raise VolumeError("b has no scan; add one")
        return made_up_head(), None

    def provenance(self) -> dict[str, Any]:
        return {"source_name": "two heads", "licence": "CC0"}

    def digest(self) -> str:
        return "two heads"


def test_a_source_need_not_be_a_data_set_on_disk(tmp_path: Path) -> None:
    steps = ingest(TwoHeads(), tmp_path / "s", CONFIG, masker=brain_of)
    list(steps)
    store = CohortStore.open(tmp_path / "s")
    assert [row["participant_id"] for row in store.rows] == ["a"]
    assert store.meta["source_name"] == "two heads"
    assert store.meta["left_out"] == [{"participant_id": "b", "reason": "b has no scan; add one"}]


@pytest.mark.parametrize("wrong", [{"grid": (4, 8, 8)}, {"spacing": 0.0}, {"percentile": 101.0}, {"order": 7}])
def test_settings_that_cannot_be_used_are_a_refusal(wrong: dict[str, Any]) -> None:
    with pytest.raises(PreprocessError):
        PreprocessConfig(**wrong)
