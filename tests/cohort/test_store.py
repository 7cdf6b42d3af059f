"""The store: what is written is read back, and half, foreign or damaged stores are refused in one sentence."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cohort.builder import StoreBuilder
from engine.cohort.chunked import ChunkedArray, StoredArray
from engine.cohort.split import split
from engine.cohort.store import CohortStore, StoreError, part_of
from engine.imaging.volume import centred_affine

GRID = (6, 7, 8)
AFFINE = centred_affine(GRID, (2.0, 2.0, 2.0))


@pytest.fixture(params=[False, True], ids=["mapped", "chunked"])
def chunked(request: pytest.FixtureRequest) -> bool:
    """Both kinds of store are held to the same."""
    return request.param


def builder(
    path: Path,
    *,
    plan: dict[str, Any] | None = None,
    channels: tuple[str, ...] = ("T1w",),
    chunked: bool | None = None,
) -> StoreBuilder:
    return StoreBuilder(
        path,
        chunked=chunked,
        recipe="tiny",
        grid=GRID,
        affine=AFFINE,
        channels=channels,
        plan=plan or {"order": 3},
        info={"licence": "CC0", "source_name": "made up"},
    )


def arrays(seed: int, channels: int = 1) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.default_rng(seed)
    volume = random.integers(0, 256, (channels, *GRID), dtype=np.uint8)
    return volume, random.random(GRID) < 0.5, random.integers(0, 208, GRID)


def rows(n: int) -> list[dict[str, Any]]:
    return [{"participant_id": f"sub-{i}", "age": 20.0 + i, "sex": "FM"[i % 2], "bmi": None} for i in range(n)]


def small_store(path: Path, n: int = 4, *, labelled: int = 2, chunked: bool | None = None) -> CohortStore:
    build = builder(path, chunked=chunked)
    for i in range(n):
        volume, brain, labels = arrays(i)
        build.add(f"sub-{i}", volume, brain, labels if i < labelled else None, {"brain_ml": float(i)})
    return build.finish(rows(n), left_out=[{"participant_id": "sub-9", "reason": "no image"}])


def test_what_was_written_is_read_back(tmp_path: Path, chunked: bool) -> None:
    small_store(tmp_path / "s", chunked=chunked)
    store = CohortStore.open(tmp_path / "s")
    assert len(store) == 4
    assert store.rows == rows(4)
    assert store.grid == GRID
    assert store.spacing == (2.0, 2.0, 2.0)
    assert store.channels == ("T1w",)
    np.testing.assert_array_equal(store.affine, AFFINE)
    assert isinstance(store.volumes, ChunkedArray if chunked else np.memmap)
    assert isinstance(store.volumes, StoredArray)
    assert store.labels is not None
    assert store.labels.dtype == np.uint8
    for i in range(4):
        volume, brain, labels = arrays(i)
        np.testing.assert_array_equal(store.volumes[i], volume)
        np.testing.assert_array_equal(store.mask[i], brain)
        np.testing.assert_array_equal(store.labels[i], labels if i < 2 else 0)
    assert store.labelled.tolist() == [True, True, False, False]
    assert store.meta["licence"] == "CC0"
    assert store.meta["quality"]["sub-3"] == {"brain_ml": 3.0}
    assert store.meta["left_out"][0]["reason"] == "no image"
    assert sum(len(part) for part in store.split().values()) == 4
    store.verify()
    assert not part_of(tmp_path / "s").exists()


def test_memory_maps_are_read_only(tmp_path: Path) -> None:
    store = small_store(tmp_path / "s")
    with pytest.raises(ValueError, match="read-only"):
        store.volumes[0] = 0


def files_of(path: Path) -> list[Path]:
    return [file for file in sorted(path.rglob("*")) if file.is_file()]


def test_two_builds_are_the_same_to_the_byte(tmp_path: Path, chunked: bool) -> None:
    first, second = small_store(tmp_path / "a", chunked=chunked), small_store(tmp_path / "b", chunked=chunked)
    assert first.meta == second.meta
    for file in files_of(first.path):
        assert file.read_bytes() == (second.path / file.relative_to(first.path)).read_bytes()


def test_several_channels_and_no_labels(tmp_path: Path, chunked: bool) -> None:
    build = builder(tmp_path / "s", channels=("fat", "water"), chunked=chunked)
    volume, brain, _ = arrays(0, channels=2)
    build.add("sub-0", volume, brain)
    store = build.finish(rows(1))
    assert store.volumes.shape == (1, 2, *GRID)
    assert store.labels is None
    assert store.labelled.tolist() == [False]


def test_large_label_codes_keep_their_value(tmp_path: Path, chunked: bool) -> None:
    build = builder(tmp_path / "s", chunked=chunked)
    volume, brain, labels = arrays(0)
    build.add("sub-0", volume, brain, labels)
    build.add("sub-1", volume, brain, labels + 1000)
    store = build.finish(rows(2))
    assert store.labels is not None
    np.testing.assert_array_equal(store.labels[1], labels + 1000)
    np.testing.assert_array_equal(store.labels[0], labels)


def test_an_unfinished_store_is_none_and_is_continued(tmp_path: Path, chunked: bool) -> None:
    path = tmp_path / "s"
    volume, brain, _ = arrays(0)
    builder(path, chunked=chunked).add("sub-0", volume, brain)
    with pytest.raises(StoreError, match="unfinished one is there"):
        CohortStore.open(path)
    again = builder(path, chunked=chunked)
    assert again.has("sub-0")
    assert not again.has("sub-1")
    again.add("sub-1", volume, brain)
    assert len(again.finish(rows(2))) == 2


def test_work_under_another_plan_is_discarded(tmp_path: Path) -> None:
    volume, brain, _ = arrays(0)
    builder(tmp_path / "s").add("sub-0", volume, brain)
    assert not builder(tmp_path / "s", plan={"order": 1}).has("sub-0")


def test_a_person_damaged_in_the_unfinished_store_is_done_again(tmp_path: Path, chunked: bool) -> None:
    build = builder(tmp_path / "s", chunked=chunked)
    volume, brain, _ = arrays(0)
    build.add("sub-0", volume, brain)
    file = next((part_of(tmp_path / "s") / "people").glob("*.npz"))
    file.write_bytes(file.read_bytes()[:200])
    with pytest.raises(StoreError, match="sub-0 is damaged and was discarded"):
        build.finish(rows(1))
    assert not builder(tmp_path / "s", chunked=chunked).has("sub-0")


def test_a_finished_store_is_not_overwritten(tmp_path: Path, chunked: bool) -> None:
    small_store(tmp_path / "s", chunked=chunked)
    with pytest.raises(StoreError, match="exists already"):
        builder(tmp_path / "s", chunked=chunked)


def test_shapes_must_fit(tmp_path: Path) -> None:
    volume, brain, _ = arrays(0)
    with pytest.raises(StoreError, match="has a volume of shape"):
        builder(tmp_path / "s").add("sub-0", volume[:, 1:], brain[1:])


def test_nobody_left_is_refused(tmp_path: Path, chunked: bool) -> None:
    with pytest.raises(StoreError, match="no person is left"):
        builder(tmp_path / "s", chunked=chunked).finish([])
    assert not (tmp_path / "s").exists()


def edit(path: Path, **changes: Any) -> None:
    meta = json.loads((path / "store.json").read_text())
    (path / "store.json").write_text(json.dumps(meta | changes))


def test_damage_is_named(tmp_path: Path) -> None:
    whole = small_store(tmp_path / "s").path

    def copy(name: str) -> Path:
        shutil.copytree(whole, tmp_path / name)
        return tmp_path / name

    with pytest.raises(StoreError, match="ingest a data set first"):
        CohortStore.open(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(StoreError, match=r"has no store\.json"):
        CohortStore.open(tmp_path / "empty")
    edit(path := copy("foreign"), format="other")
    with pytest.raises(StoreError, match="not of a Somatwin store"):
        CohortStore.open(path)
    edit(path := copy("future"), version=99)
    with pytest.raises(StoreError, match="version 99, this program reads"):
        CohortStore.open(path)
    ((path := copy("garbled")) / "store.json").write_text('{"format": ')
    with pytest.raises(StoreError, match="is damaged"):
        CohortStore.open(path)
    volumes = (path := copy("cut")) / "volumes.npy"
    volumes.write_bytes(volumes.read_bytes()[:-9])
    with pytest.raises(StoreError, match="missing or cut short"):
        CohortStore.open(path)
    ((path := copy("edited")) / "participants.json").write_text("[]")
    with pytest.raises(StoreError, match="was changed after the ingest"):
        CohortStore.open(path)
    volumes = (path := copy("flipped")) / "volumes.npy"
    content = volumes.read_bytes()
    volumes.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(StoreError, match="checksum differs"):
        CohortStore.open(path).verify()


@pytest.mark.parametrize("moment", ["add", "finish"])
def test_a_full_disk_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, moment: str) -> None:
    build = builder(tmp_path / "s")
    volume, brain, _ = arrays(0)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    if moment == "finish":
        build.add("sub-0", volume, brain)
        monkeypatch.setattr(np.lib.format, "write_array_header_1_0", full)
    else:
        monkeypatch.setattr(np, "savez", full)
    with pytest.raises(StoreError, match="is full, nothing was kept"):
        build.add("sub-0", volume, brain) if moment == "add" else build.finish(rows(1))
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        builder(tmp_path / "file" / "s")


def rewritten(path: Path, **changed: Any) -> dict[str, Any]:
    """A store whose store.json says something else."""
    meta = json.loads((path / "store.json").read_text("utf-8")) | changed
    (path / "store.json").write_text(json.dumps(meta), "utf-8")
    return meta


def test_a_new_store_has_the_split_that_asks_nobody_else(tmp_path: Path) -> None:
    store = small_store(tmp_path / "s", 40)
    assert (store.meta["version"], store.meta["split"]) == (3, 2)
    expected = split(store.rows, store.meta, version=2)
    assert {k: v.tolist() for k, v in store.split().items()} == {k: v.tolist() for k, v in expected.items()}


def test_an_older_store_opens_and_keeps_its_split(tmp_path: Path) -> None:
    path = tmp_path / "s"
    new = small_store(path, 40)
    expected = {k: v.tolist() for k, v in split(new.rows, new.meta, version=1).items()}
    meta = rewritten(path, version=2)
    del meta["split"]
    (path / "store.json").write_text(json.dumps(meta), "utf-8")
    second = CohortStore.open(path)
    second.verify()
    assert {k: v.tolist() for k, v in second.split().items()} == expected
    (path / "mask.npy").rename(path / "brain.npy")
    arrays = {("brain" if name == "mask" else name): facts for name, facts in meta["arrays"].items()}
    rewritten(path, version=1, arrays=arrays)
    first = CohortStore.open(path)
    first.verify()
    np.testing.assert_array_equal(first.mask, new.mask)
    assert {k: v.tolist() for k, v in first.split().items()} == expected


class Killed(BaseException):
    """The process ends here."""


#: counts down the changes to the file system; a hook cannot be taken off again, so it is switched
fuse: dict[str, int | None] = {"left": None}
CHANGES = ("os.rename", "os.remove", "os.rmdir", "os.mkdir")


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    left = fuse["left"]
    if left is None:
        return
    writes = event == "open" and (arguments[2] or 0) & (os.O_WRONLY | os.O_RDWR | os.O_CREAT)
    if not writes and event not in CHANGES:
        return
    if left == 0:
        fuse["left"] = None
        raise Killed
    fuse["left"] = left - 1


def test_finish_goes_on_wherever_it_was_stopped_and_redoes_nobody(tmp_path: Path) -> None:
    """Stopped before every single change that it makes to the file system."""
    sys.addaudithook(_audit)
    whole = small_store(tmp_path / "whole")
    expected = {file.name: file.read_bytes() for file in whole.path.iterdir()}
    left_out = [{"participant_id": "sub-9", "reason": "no image"}]
    step, stopped = 0, 0
    while True:
        path = tmp_path / f"s{step}"
        build = builder(path)
        for i in range(4):
            volume, brain, labels = arrays(i)
            build.add(f"sub-{i}", volume, brain, labels if i < 2 else None, {"brain_ml": float(i)})
        fuse["left"] = step
        try:
            build.finish(rows(4), left_out=left_out)
        except Killed:
            stopped += 1
        done = fuse["left"] is not None
        fuse["left"] = None
        if done:
            break
        if path.exists() and any(path.iterdir()):
            with pytest.raises(StoreError, match="exists already"):
                builder(path)
        else:
            again = builder(path)
            assert all(again.has(f"sub-{i}") for i in range(4)), f"somebody is redone after step {step}"
            again.finish(rows(4), left_out=left_out)
        CohortStore.open(path).verify()
        assert {file.name: file.read_bytes() for file in path.iterdir()} == expected
        assert not part_of(path).exists()
        step += 1
    assert stopped >= 8
