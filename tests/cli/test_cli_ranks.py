"""Commands by several ranks: the same files as by one process, and one sentence from rank 0 for what cannot be."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

import engine
import engine.phantom.kinds
from engine.__main__ import main
from engine.cohort.store import CohortStore
from engine.phantom.shape.frame import GRID
from engine.phantom.torsos import PhantomPerson
from tests.conftest import contents
from tests.training.crew import Ran, commands


def refused(found: list[Ran]) -> str:
    """The one sentence of ranks that were all refused."""
    assert [ran.code for ran in found] == [2] * len(found), found
    assert [ran.out for ran in found] == [""] * len(found)
    assert all(not ran.err for ran in found[1:]), "only rank 0 speaks"
    (sentence,) = [line for line in found[0].err.splitlines() if not line.endswith("left")]
    assert sentence.startswith("somatwin: ")
    return sentence


@pytest.mark.parametrize("form", [pytest.param("bids", marks=pytest.mark.slow), "parquet+zarr"])
def test_ranks_generate_the_files_of_one_process(checkpoint: str, tmp_path: Path, form: str) -> None:
    asked = ("generate", checkpoint, "--n", 5, "--seed", 7, "--set", "sex=F", "--format", form, "--device", "cpu")
    assert main([str(word) for word in (*asked, "--out", tmp_path / "1")]) == 0
    expected = contents(tmp_path / "1")
    for n in (2, 3):
        found = commands(n, tmp_path / f"crew{n}", *asked, "--out", tmp_path / f"{n}")
        assert [ran.code for ran in found] == [0] * n, found
        assert [ran.out for ran in found] == [f"{tmp_path / str(n)}\n"] + [""] * (n - 1)
        assert contents(tmp_path / f"{n}") == expected
    assert not list(tmp_path.glob(".*.part"))


@pytest.mark.slow
def test_torchrun_itself_generates_the_files_of_one_process(checkpoint: str, tmp_path: Path) -> None:
    asked = ["generate", checkpoint, "--n", "3", "--device", "cpu", "--format", "parquet+zarr", "--out"]
    assert main([*asked, str(tmp_path / "1")]) == 0
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", "-m", "--"]
    ran = subprocess.run(
        [*torchrun, "engine", *asked, str(tmp_path / "2")],
        capture_output=True,
        text=True,
        cwd=Path(engine.__file__).parents[1],
        timeout=600,
    )
    assert ran.returncode == 0, ran.stderr
    assert contents(tmp_path / "2") == contents(tmp_path / "1")


def test_more_ranks_than_persons_are_no_harm(checkpoint: str, tmp_path: Path) -> None:
    for n in (1, 3):
        asked = ("generate", checkpoint, "--n", 1, "--device", "cpu", "--out", tmp_path / f"{n}")
        assert [ran.code for ran in commands(n, tmp_path / f"crew{n}", *asked)] == [0] * n
    assert contents(tmp_path / "1") == contents(tmp_path / "3")


def test_parquet_and_zarr_hold_what_the_model_draws(checkpoint: str, tmp_path: Path) -> None:
    model = engine.load(checkpoint)
    argv = ["generate", checkpoint, "--n", "3", "--seed", "4", "--format", "parquet+zarr", "--out"]
    assert main([*argv, str(tmp_path / "made")]) == 0
    rows = pq.read_table(tmp_path / "made" / "rows.parquet").to_pylist()
    volumes = zarr.open_array(tmp_path / "made" / "volumes.zarr", mode="r")
    assert volumes.metadata.zarr_format == 3
    assert volumes.attrs["channels"] == ["T1w"]
    assert np.array_equal(volumes.attrs["ijk_to_ras"], model.checkpoint.affine)
    for place, person in enumerate(model.generate(n=3, seed=4)):
        assert rows[place] == {"participant_id": f"sub-{place + 1:04d}", "seed": 4 + place, **person.attributes}
        assert np.array_equal(volumes[place, 0], person.volume.data)
    about = json.loads((tmp_path / "made" / "dataset.json").read_text("utf-8"))
    assert about["GeneratedBy"][0]["Request"]["seed"] == 4
    assert "Not for diagnosis" in about["GeneratedBy"][0]["Description"]


def test_masks_are_in_an_array_too(masked: str, tmp_path: Path) -> None:
    argv = ["generate", masked, "--n", "2", "--labels", "--format", "parquet+zarr", "--out", str(tmp_path / "made")]
    assert main(argv) == 0
    masks = zarr.open_array(tmp_path / "made" / "masks.zarr", mode="r")
    assert masks.attrs["classes"] == ["background", "brain", "ventricles", "other"]
    for place, person in enumerate(engine.load(masked).generate(n=2, with_mask=True)):
        assert person.mask is not None
        assert np.array_equal(masks[place], person.mask.labels)


def test_arrays_that_cannot_be_written_are_refused(checkpoint: str, tmp_path: Path, refused) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").write_text("")
    asked = ("generate", checkpoint, "--format", "parquet+zarr")
    assert "exists and is not empty" in refused(*asked, "--out", tmp_path / "full")
    assert "leave one of them out" in refused(*asked, "--sr", "--out", tmp_path / "new")
    assert "n is 0; ask for one person or more" in refused(*asked, "--n", 0, "--out", tmp_path / "new")


def test_what_ranks_cannot_generate_is_one_sentence(checkpoint: str, tmp_path: Path) -> None:
    asked, out = ("generate", checkpoint, "--n", 4, "--device", "cpu"), ("--out", tmp_path / "out")
    found = commands(2, tmp_path / "a", *asked, *out, of=lambda rank: ["--seed", rank])
    assert "the ranks disagree on the command: rank 1 has another than rank 0" in refused(found)
    found = commands(2, tmp_path / "b", "generate", of=lambda rank: ["none" if rank else checkpoint, *out])
    assert "rank 1: " in refused(found)
    found = commands(2, tmp_path / "c", *asked, of=lambda rank: ["--out", tmp_path / f"{rank}" / "out"])
    assert "where rank 0 writes, is not seen by this rank; name a folder that all ranks share" in refused(found)
    found = commands(2, tmp_path / "d", *asked, *out, "--set", "age=900")
    assert "age" in refused(found)
    assert not (tmp_path / "out").exists()


def fake_person(
    seeds: list[int], given: object = None, device: str = "cpu", raster: object = None
) -> list[PhantomPerson]:
    """A person of no anatomy whose voxels are the seed's."""
    rng = np.random.default_rng(seeds[0])
    labels = rng.integers(0, 3, GRID).astype(np.uint8)
    row = {"age": 50.0, "sex": "F", "bmi": 25.0, "height": 170.0, "quality": "good", "seed": seeds[0]}
    return [PhantomPerson(rng.integers(0, 255, (2, *GRID)).astype(np.uint8), labels, row)]


def test_ranks_make_the_computed_cohort_of_one_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(engine.phantom.kinds, "make_torsos", fake_person)
    asked = ("phantom", "--n", 3, "--labels", "--device", "cpu")
    for n in (1, 2):
        found = commands(n, tmp_path / f"crew{n}", *asked, of=lambda rank, n=n: [tmp_path / f"{n}"])
        assert [ran.code for ran in found] == [0] * n, found
        assert all(ran.out == "" for ran in found[1:])
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    found = commands(2, tmp_path / "apart", *asked, of=lambda rank: [tmp_path / f"apart{rank}"])
    assert "not seen by this rank; name a store on a disk that all ranks share" in refused(found)


def test_a_store_that_one_rank_cannot_see_is_one_sentence(tiny_store: CohortStore, tmp_path: Path) -> None:
    run = ("--run-dir", tmp_path / "run", "--device", "cpu")
    began = time.monotonic()
    found = commands(
        3, tmp_path / "a", "train", "tiny", *run, of=lambda rank: ["/none" if rank == 1 else tiny_store.path]
    )
    assert refused(found) == "somatwin: rank 1: /none is not a store; ingest a data set first"
    assert time.monotonic() - began < 60
    found = commands(2, tmp_path / "b", "train", "measure_head", tiny_store.path, *run)
    assert "measure_head is trained by one process; start it without torchrun" in refused(found)
    assert not (tmp_path / "run").exists()
