"""Chunked arrays of a store: zarr version 3, one shard a person, cubes in it that are read on their own.

For volumes too large to be read whole: a slab costs what it holds, and memory is what was asked for, however many persons
there are. Opening reads nothing; a person's file is looked for when the person is read.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

from engine.vocabulary.refusal import Refusal

if TYPE_CHECKING:
    import zarr

#: voxels a side of the cubes at most
CUBE = 64


class StoreError(Refusal):
    """A store that is missing, unfinished, damaged or of another format, or that cannot be written."""


@runtime_checkable
class StoredArray(Protocol):
    """What a store's array is asked: as a numpy array, by persons first. An index gives a numpy array in memory or a map."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> np.dtype[Any]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, key: Any, /) -> Any: ...


class ChunkedArray:
    """A read-only zarr array of a store, indexed as numpy's: persons by number, slice or array, then numbers and slices.

    Only the cubes that an index touches are read. ``facts`` are those of ``store.json``. Raises :class:`StoreError` when a
    person is read whose file is missing or cut short, or whose cubes are damaged.
    """

    def __init__(self, folder: Path, facts: Mapping[str, Any]) -> None:
        self.folder = folder
        self.shape: tuple[int, ...] = tuple(facts["shape"])
        self.dtype = np.dtype(facts["dtype"])
        self.sizes: list[int] = facts["sizes"]
        if not (folder / "zarr.json").is_file() or len(self.sizes) != len(self):
            raise StoreError(f"{folder} is missing or cut short; ingest the data set again")
        said = json.loads((folder / "zarr.json").read_text("utf-8"))
        if (said["shape"], said["data_type"]) != (list(self.shape), self.dtype.name):
            raise StoreError(f"{folder} is not the array that store.json describes; ingest the data set again")

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, key: Any) -> np.ndarray:
        first, *rest = key if isinstance(key, tuple) else (key,)
        if isinstance(first, int | np.integer):
            return self._person(range(len(self))[int(first)], rest)
        persons = [self._person(int(row), rest) for row in np.arange(len(self))[first]]
        if persons:
            return np.stack(persons)
        return np.empty((0, *np.empty(self.shape[1:], np.bool_)[tuple(rest)].shape), self.dtype)

    def digest(self) -> str:
        """SHA-256 of its files, one after the other."""
        return _digest(self.folder, shard_files(self.folder, self.shape))

    def _person(self, row: int, rest: Sequence[Any]) -> np.ndarray:
        file = self.folder / shard_name(row, len(self.shape))
        found = file.stat().st_size if file.is_file() else 0
        if found != self.sizes[row]:
            raise StoreError(f"{file} is missing or cut short; ingest the data set again")
        try:
            return np.asarray(self._zarr[(row, *rest)])
        except (ValueError, RuntimeError) as error:
            raise StoreError(f"{file} is damaged ({type(error).__name__}); ingest the data set again") from None

    @cached_property
    def _zarr(self) -> zarr.Array:
        import zarr  # takes half a second, which opening a store does not wait for

        return zarr.open_array(store=self.folder, mode="r", zarr_format=3)


def write_chunked(folder: Path, shape: Sequence[int], dtype: np.dtype, persons: Iterable[np.ndarray]) -> dict[str, Any]:
    """Write a new array person after person; its facts for ``store.json``. Who is 0 everywhere has no file."""
    import zarr
    from zarr.codecs import ZstdCodec

    # a cube is one channel's; sides that have no divisor are not cut
    cube = [max(d for d in range(1, CUBE + 1) if n % d == 0) if n > CUBE else n for n in shape[-3:]]
    cube = [n if d < CUBE // 4 < n else d for n, d in zip(shape[-3:], cube, strict=True)]
    array = zarr.create_array(
        store=folder,
        shape=tuple(shape),
        dtype=dtype,
        chunks=(*(1 for _ in shape[:-3]), *cube),
        shards=(1, *shape[1:]),
        compressors=ZstdCodec(level=3, checksum=True),
        fill_value=0,
    )
    for row, person in enumerate(persons):
        array[row] = person
    files = shard_files(folder, shape)
    sizes = [file.stat().st_size if file.is_file() else 0 for file in files]
    facts = {"dtype": str(dtype), "shape": list(shape), "bytes": sum(sizes), "sha256": _digest(folder, files)}
    return {**facts, "sizes": sizes}


def shard_name(row: int, axes: int) -> str:
    """Where zarr puts the shard of a person.

    >>> shard_name(3, 5)
    'c/3/0/0/0/0'
    """
    return "/".join(["c", str(row), *["0"] * (axes - 1)])


def shard_files(folder: Path, shape: Sequence[int]) -> list[Path]:
    return [folder / shard_name(row, len(shape)) for row in range(shape[0])]


def _digest(folder: Path, files: Iterable[Path]) -> str:
    total = sha256((folder / "zarr.json").read_bytes())
    for file in files:
        total.update(file.read_bytes() if file.is_file() else b"")
    return total.hexdigest()
