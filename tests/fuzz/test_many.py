"""A cohort of very many tiny volumes: memory stays flat, processes share the work, and what was done is not done again."""

from __future__ import annotations

import gc
import json
import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from engine.cohort.ingest import ingest
from engine.cohort.preprocess.preprocess import PreprocessConfig
from engine.cohort.store import CohortStore
from tests.cohort.heads import brain_of, made_up_head

#: persons of the small and of the large cohort, and bytes by which the large one may need more a person
FEW, MANY, A_PERSON = 40, 240, 16_000
CONFIG = PreprocessConfig(grid=(24, 28, 28), spacing=8.0, rotate=False, deface=False, order=1)
ROOT = Path(__file__).parents[2]


def cohort(root: Path, n: int) -> Path:
    """A BIDS data set of ``n`` persons, all with links to one tiny head."""
    root.mkdir()
    head = made_up_head(grid=(26, 32, 34), spacing=8.0)
    head.save(root / "head.nii.gz")
    (root / "dataset_description.json").write_text(json.dumps({"Name": "many", "BIDSVersion": "1.10.0"}))
    rows = [f"sub-{i:05d}\t{20 + i % 60}\t{'FM'[i % 2]}" for i in range(n)]
    (root / "participants.tsv").write_text("\n".join(["participant_id\tage\tsex", *rows]) + "\n")
    for i in range(n):
        folder = root / f"sub-{i:05d}" / "anat"
        folder.mkdir(parents=True)
        (folder / f"sub-{i:05d}_T1w.nii.gz").symlink_to("../../head.nii.gz")
    return root


def peak(source: Path, store: Path) -> int:
    """Bytes that Python and numpy held at most during an ingest."""
    gc.collect()
    tracemalloc.start()
    for _ in ingest(source, store, CONFIG, masker=brain_of, workers=1):
        pass
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return most


@pytest.mark.slow
def test_memory_does_not_grow_with_the_cohort(tmp_path: Path) -> None:
    """But for its table and what is said of each person, a few kB a person; one volume has 19 kB on the grid, 113 kB as it comes."""
    peak(cohort(tmp_path / "first", 4), tmp_path / "warm")
    few = peak(cohort(tmp_path / "few", FEW), tmp_path / "a")
    many = peak(cohort(tmp_path / "many", MANY), tmp_path / "b")
    assert (many - few) / (MANY - FEW) < A_PERSON
    assert len(CohortStore.open(tmp_path / "b")) == MANY


@pytest.mark.slow
def test_processes_share_the_work_and_what_is_done_is_not_done_again(tmp_path: Path) -> None:
    source = cohort(tmp_path / "source", MANY)
    steps = ingest(source, tmp_path / "parallel", CONFIG, masker=brain_of, workers=2)
    for _ in range(MANY // 2):
        next(steps)
    steps.close()
    done = sum(1 for _ in (tmp_path / ".parallel.part" / "people").iterdir())
    assert done >= MANY // 2
    before = {p.name: p.stat().st_mtime_ns for p in (tmp_path / ".parallel.part" / "people").iterdir()}
    for step in ingest(source, tmp_path / "parallel", CONFIG, masker=brain_of, workers=2):
        if f"{step.subject}.npz" in before:
            path = tmp_path / ".parallel.part" / "people" / f"{step.subject}.npz"
            assert not path.exists() or path.stat().st_mtime_ns == before[path.name]
    for _ in ingest(source, tmp_path / "alone", CONFIG, masker=brain_of, workers=1):
        pass
    first, second = CohortStore.open(tmp_path / "parallel"), CohortStore.open(tmp_path / "alone")
    np.testing.assert_array_equal(first.volumes, second.volumes)
    assert (first.rows, first.meta["flagged"]) == (second.rows, second.meta["flagged"])
