"""A store in chunks (zarr v3) beside one that is mapped: the same voxels, the same refusals, memory flat."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore, StoreError, part_of
from engine.imaging.volume import centred_affine
from tests.cohort.test_store import arrays, builder, rows, small_store


def both(tmp_path: Path, n: int = 5) -> tuple[CohortStore, CohortStore]:
    return small_store(tmp_path / "mapped", n), small_store(tmp_path / "chunked", n, chunked=True)


KEYS = [
    0,
    -1,
    np.int64(2),
    slice(1, 3),
    slice(None),
    slice(0, 0),
    np.array([3, 1, 1]),
    np.array([], dtype=np.int64),
    (2, 0),
    (slice(0, 2), 0),
    (np.array([4, 0]), slice(0, 1)),
    (1, slice(None), slice(2, 5), slice(0, 3)),
    (0, 0, 3),
    (1, 0, slice(None), slice(None), 7),
]


@pytest.mark.parametrize("key", KEYS, ids=str)
def test_a_chunked_store_gives_what_a_mapped_one_gives(tmp_path: Path, key: Any) -> None:
    mapped, chunked = both(tmp_path)
    expected, found = mapped.volumes[key], chunked.volumes[key]
    assert isinstance(found, np.ndarray)
    assert (found.dtype, found.shape) == (expected.dtype, expected.shape)
    np.testing.assert_array_equal(found, expected)


def test_a_chunked_store_is_the_mapped_one_bit_for_bit(tmp_path: Path) -> None:
    mapped, chunked = both(tmp_path)
    assert mapped.labels is not None
    assert chunked.labels is not None
    pairs = [(getattr(mapped, k), getattr(chunked, k)) for k in ("volumes", "mask", "labels")]
    for one, other in pairs:
        assert (one.shape, one.dtype, len(one)) == (other.shape, other.dtype, len(other))
        np.testing.assert_array_equal(one[:], other[:])
    np.testing.assert_array_equal(mapped.scan(3), chunked.scan(3))
    assert {k: v.tolist() for k, v in mapped.split().items()} == {k: v.tolist() for k, v in chunked.split().items()}
    assert {**mapped.meta, "version": 4, "arrays": {}} == {**chunked.meta, "arrays": {}}
    with pytest.raises(IndexError):
        chunked.volumes[5]


def test_large_volumes_are_chunked_and_small_ones_are_mapped(tmp_path: Path) -> None:
    def made(name: str, grid: tuple[int, int, int], channels: tuple[str, ...]) -> bool:
        affine = centred_affine(grid, (1.0, 1.0, 1.0))
        return StoreBuilder(tmp_path / name, recipe="r", grid=grid, affine=affine, channels=channels, plan={}).chunked

    assert not made("head", (96, 112, 112), ("T1w",))
    assert not made("torso", (96, 80, 144), ("water", "fat"))
    assert made("head_1mm", (192, 224, 224), ("T1w",))
    assert made("torso_hd", (240, 208, 288), ("water", "fat"))


def test_damage_to_chunks_is_named(tmp_path: Path) -> None:
    whole = small_store(tmp_path / "s", chunked=True).path

    def copy(name: str) -> Path:
        shutil.copytree(whole, tmp_path / name)
        return tmp_path / name

    shutil.rmtree(copy("gone") / "volumes.zarr")
    with pytest.raises(StoreError, match="missing or cut short"):
        CohortStore.open(tmp_path / "gone")
    shard = (path := copy("lost")) / "volumes.zarr/c/1/0/0/0/0"
    shard.unlink()
    store = CohortStore.open(path)
    np.testing.assert_array_equal(store.volumes[0], arrays(0)[0])
    with pytest.raises(StoreError, match="missing or cut short"):  # and not zeros
        store.volumes[1]
    shard = (path := copy("flipped")) / "volumes.zarr/c/2/0/0/0/0"
    content = bytearray(shard.read_bytes())
    content[40] ^= 1
    shard.write_bytes(bytes(content))
    store = CohortStore.open(path)
    with pytest.raises(StoreError, match="is damaged"):
        store.volumes[2]
    with pytest.raises(StoreError, match="checksum differs"):
        store.verify()
    text = (path := copy("other")) / "mask.zarr/zarr.json"
    text.write_text(text.read_text().replace('"bool"', '"uint8"'))
    with pytest.raises(StoreError, match="not the array that"):
        CohortStore.open(path)


def test_a_full_disk_keeps_nothing_of_chunks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import zarr

    build = builder(tmp_path / "s", chunked=True)
    volume, brain, _ = arrays(0)
    build.add("sub-0", volume, brain)

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(zarr, "create_array", full)
    with pytest.raises(StoreError, match="is full, nothing was kept"):
        build.finish(rows(1))
    assert list(tmp_path.iterdir()) == []


def test_chunks_are_continued_after_a_finish_that_was_stopped(tmp_path: Path) -> None:
    path = tmp_path / "s"
    build = builder(path, chunked=True)
    for i in range(2):
        volume, brain, _ = arrays(i)
        build.add(f"sub-{i}", volume, brain)
    half = part_of(path) / "volumes.zarr"
    half.mkdir()
    (half / "zarr.json").write_text("{")
    store = builder(path, chunked=True).finish(rows(2))
    store.verify()
    np.testing.assert_array_equal(store.volumes[1], arrays(1)[0])


def test_opening_reads_no_persons_and_waits_for_no_library(tmp_path: Path) -> None:
    """A store of whichever size opens from two small files; zarr is imported with the first person read."""
    store = small_store(tmp_path / "s", chunked=True)
    for shard in (store.path / "volumes.zarr" / "c").iterdir():
        shutil.rmtree(shard)
    code = f"import sys; from engine.cohort.store import CohortStore as S; S.open({str(store.path)!r}); print('zarr' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


@pytest.mark.slow
def test_streaming_persons_keeps_memory_flat(tmp_path: Path) -> None:
    """The peak of a process that reads slabs of many persons is that of one which reads few."""
    grid = (64, 96, 96)
    build = StoreBuilder(
        tmp_path / "s",
        recipe="r",
        grid=grid,
        affine=centred_affine(grid, (1.0, 1.0, 1.0)),
        channels=("T1w",),
        plan={},
        chunked=True,
    )
    volume = np.random.default_rng(0).integers(0, 256, (1, *grid), dtype=np.uint8)
    for i in range(120):
        build.add(f"sub-{i}", volume, volume[0] > 9)
    build.finish(rows(120))
    code = (
        "import sys, resource; from engine.cohort.store import CohortStore as S\n"
        "s = S.open(sys.argv[1])\n"
        "for i in range(int(sys.argv[2])): s.volumes[i], s.volumes[i, 0, 5:9]\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )

    def peak(n: int) -> int:
        command = [sys.executable, "-c", code, str(tmp_path / "s"), str(n)]
        return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)

    few, many = peak(10), peak(120)
    # 120 volumes have 70 MB
    assert many - few < 12_000
