"""The array store: a cohort as a few arrays that open in milliseconds, memory-mapped or chunked.

A store is a directory: ``volumes.npy`` (uint8, n c x y z, 255 = intensity 1.0), ``mask.npy`` (bool, n x y z: a head's
brain, a torso's body), ``labels.npy`` (uint8 or int16, n x y z; only where the source has them), ``participants.json`` (a
list of rows), and ``store.json``, which is written last (:mod:`engine.cohort.builder`). An older version opens by a reader
of its own: version 2 names no version of the split and keeps the first, version 1 calls the mask ``brain``. Version 4 is
version 3 with chunked arrays (:mod:`engine.cohort.chunked`), folders ``volumes.zarr`` and so on in place of the files.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float

from engine.cohort.chunked import ChunkedArray, StoredArray, StoreError
from engine.cohort.participants import Roles
from engine.cohort.split import Parts, split
from engine.storage.whole import file_sha256, settled

FORMAT = "somatwin-store"
#: of a store with memory-mapped arrays, and with chunked ones
VERSION, CHUNKED = 3, 4


def _as_it_is(meta: dict[str, Any]) -> dict[str, Any]:
    return meta


def _from_second(meta: dict[str, Any]) -> dict[str, Any]:
    """Version 2 knew one split only."""
    return {**meta, "split": 1}


def _from_first(meta: dict[str, Any]) -> dict[str, Any]:
    """Version 1 held heads only, whose mask was the brain."""
    arrays = {"mask" if name == "brain" else name: facts for name, facts in meta["arrays"].items()}
    return {**_from_second(meta), "arrays": arrays, "files": {"mask": "brain"}}


#: what each version of store.json says, in the words of the newest
READERS: dict[int, Callable[[dict[str, Any]], dict[str, Any]]] = {
    1: _from_first,
    2: _from_second,
    3: _as_it_is,
    4: _as_it_is,
}


@dataclass(frozen=True, eq=False)
class CohortStore:
    """An open store; the arrays are read-only memory maps, or chunked arrays that are indexed like them.

    Shape: ``volumes`` uint8 (n, f, x, y, z), frames in C order of channel and phase; ``mask`` bool (n, x, y, z); ``labels`` like
    mask, of cines like volumes, or None. ``rows`` has
    one dict per person: numbers as float, text as str, missing as None. ``roles`` take the place of the store's own split.
    """

    path: Path
    meta: dict[str, Any]
    rows: list[dict[str, Any]]
    volumes: StoredArray
    mask: StoredArray
    labels: StoredArray | None
    roles: Roles | None = None

    @classmethod
    def open(cls, path: str | Path) -> CohortStore:
        """Map a finished store. Raises :class:`StoreError` with what is wrong and what to do."""
        path = settled(Path(path))
        if not path.is_dir():
            half = part_of(path).is_dir()
            remedy = "an unfinished one is there, run the ingest again" if half else "ingest a data set first"
            raise StoreError(f"{path} is not a store; {remedy}")
        if not (path / "store.json").is_file():
            raise StoreError(f"{path} has no store.json, so it is not a finished store; ingest the data set again")
        forget_work(path)
        try:
            meta = json.loads((path / "store.json").read_text("utf-8"))
            if not isinstance(meta, dict) or meta.get("format") != FORMAT:
                raise StoreError(f"{path}/store.json is not of a Somatwin store; choose another directory")
            if meta["version"] not in READERS:
                found, known = f"{path} has store version {meta['version']}", ", ".join(map(str, READERS))
                raise StoreError(f"{found}, this program reads {known}; use the version that wrote it")
            meta = READERS[meta["version"]](meta)
            files = meta.get("files", {})
            arrays = {name: opened(path, files.get(name, name), facts) for name, facts in meta["arrays"].items()}
            text = (path / "participants.json").read_bytes()
            if sha256(text).hexdigest() != meta["participants_sha256"]:
                raise StoreError(f"{path}/participants.json was changed after the ingest; ingest the data set again")
            rows = json.loads(text)
            store = cls(path, meta, rows, arrays["volumes"], arrays["mask"], arrays.get("labels"))
        except StoreError:
            raise
        except (OSError, KeyError, TypeError, ValueError) as error:
            raise StoreError(
                f"{path} is damaged ({type(error).__name__}: {error}); ingest the data set again"
            ) from None
        if not len(rows) == len(store.volumes) == len(store.mask) == meta["n"]:
            raise StoreError(
                f"{path} is damaged: {len(rows)} rows but {len(store.volumes)} volumes; ingest the data set again"
            )
        return store

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def grid(self) -> tuple[int, int, int]:
        """Voxels along x, y, z."""
        x, y, z = self.meta["grid"]
        return x, y, z

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel size in mm along x, y, z."""
        x, y, z = self.meta["spacing"]
        return x, y, z

    @property
    def channels(self) -> tuple[str, ...]:
        """The frames' names, such as ``("T1w",)`` (:mod:`engine.imaging.grid`)."""
        return tuple(self.meta["channels"])

    @cached_property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """The grid's ``ijk_to_ras`` in mm."""
        return np.array(self.meta["affine"], dtype=np.float64)

    @property
    def labelled(self) -> Bool[np.ndarray, " n"]:
        """Who has labels."""
        return np.array(self.meta["labelled"], dtype=bool)

    def scan(self, row: int | np.integer) -> Float[np.ndarray, "c x y z"]:
        """The volume of a row in memory, float32, intensities 0 to 1."""
        return np.asarray(self.volumes[row], np.float32) / 255

    def split(self) -> Parts:
        """Row indices under ``train``, ``validation``, ``test``: the ``roles`` given to the persons, or else the store's own
        split, in the version that it was made with (:func:`engine.cohort.split.split`)."""
        return self.roles.parts if self.roles else split(self.rows, self.meta, version=self.meta["split"])

    def older_split(self) -> Parts:
        """The split by version 1, whatever the store's own is."""
        return split(self.rows, self.meta, version=1)

    def with_roles(self, roles: Roles) -> CohortStore:
        """The same store with other parts for its persons."""
        return replace(self, roles=roles)

    def verify(self) -> None:
        """Read every array through and compare its SHA-256; seconds, not milliseconds. Raises :class:`StoreError`."""
        for name, facts in self.meta["arrays"].items():
            array = opened(self.path, self.meta.get("files", {}).get(name, name), facts)
            file = array.folder if isinstance(array, ChunkedArray) else Path(str(array.filename))
            found = array.digest() if isinstance(array, ChunkedArray) else file_sha256(file)
            if found != facts["sha256"]:
                raise StoreError(f"{file} is damaged (its checksum differs); ingest the data set again")


def part_of(path: Path) -> Path:
    """The hidden sibling in which the store ``path`` is built."""
    return path.absolute().with_name(f".{path.absolute().name}.part")


def forget_work(path: Path) -> None:
    """Delete from a finished store what it was joined from, should whoever finished it have been killed before."""
    for name in ("people", "plan.json"):
        if (path / name).is_dir():
            shutil.rmtree(path / name, ignore_errors=True)
        elif (path / name).exists():
            with suppress(OSError):  # it does no harm where it cannot be deleted
                (path / name).unlink()


def opened(path: Path, name: str, facts: Mapping[str, Any]) -> np.memmap | ChunkedArray:
    """One array of a store to read from; raises :class:`StoreError` unless it is what ``facts`` say."""
    if "sizes" in facts:
        return ChunkedArray(path / f"{name}.zarr", facts)
    file = path / f"{name}.npy"
    if not file.is_file() or file.stat().st_size != facts["bytes"]:
        raise StoreError(f"{file} is missing or cut short; ingest the data set again")
    array = np.load(file, mmap_mode="r", allow_pickle=False)
    if list(array.shape) != facts["shape"] or str(array.dtype) != facts["dtype"]:
        raise StoreError(f"{file} is not the array that store.json describes; ingest the data set again")
    return array
