"""Writing a store: one person at a time, continued after an interruption, never half.

The store is built in a hidden sibling ``.NAME.part`` and renamed when whole. The persons already done stay there, and
the same build again continues. Arrays are appended by plain writes (a memory map would end the process on a full disk), or
chunked (:mod:`engine.cohort.chunked`) where volumes are large or that is asked for.
"""

from __future__ import annotations

import errno
import json
import math
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool, Float, Integer, UInt8

from engine.cohort.chunked import write_chunked
from engine.cohort.split import VERSION as SPLIT_VERSION
from engine.cohort.store import CHUNKED, FORMAT, VERSION, CohortStore, StoreError, forget_work, opened, part_of
from engine.storage.whole import put_in_place, settled, whole_file, write_text

Report = Callable[[Path, CohortStore], None]
#: bytes of a volume from which a store is chunked: a map of 1 x 96 x 112 x 112 is read in a millisecond, while of a large volume
#: mostly a slab is wanted, and half of it is air, which chunks do not keep
LARGE = 8 * 2**20


class StoreBuilder:
    """Writes a store one person at a time.

    ``plan`` is everything that decides a person's arrays (settings and source, as JSON): unfinished work under another
    plan is discarded, under the same plan continued. ``info`` is stored beside it (licence, acknowledgement, name).
    ``chunked`` None: where a volume has :data:`LARGE` bytes or more.
    Raises :class:`StoreError` when ``path`` exists already or cannot be written.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        recipe: str,
        grid: tuple[int, int, int],
        affine: Float[np.ndarray, "4 4"],
        channels: tuple[str, ...],
        plan: Mapping[str, Any],
        info: Mapping[str, Any] | None = None,
        chunked: bool | None = None,
    ) -> None:
        self.path, self.part = settled(Path(path)), part_of(Path(path))
        if self.path.exists() and (not self.path.is_dir() or any(self.path.iterdir())):
            raise StoreError(f"{self.path} exists already; delete it or choose another directory for the store")
        spacing = [float(s) for s in np.linalg.norm(affine[:3, :3], axis=0)]
        self.chunked = len(channels) * math.prod(grid) >= LARGE if chunked is None else chunked
        self.head: dict[str, Any] = {
            "format": FORMAT,
            "version": CHUNKED if self.chunked else VERSION,
            "split": SPLIT_VERSION,
            "recipe": recipe,
            "grid": list(grid),
            "affine": affine.tolist(),
            "spacing": spacing,
            "channels": list(channels),
            "plan": json.loads(json.dumps(plan)),
            **(info or {}),
        }
        stamp = json.dumps(self.head, sort_keys=True)
        with self._writing():
            if self.part.exists() and (
                not (self.part / "plan.json").is_file() or (self.part / "plan.json").read_text() != stamp
            ):
                shutil.rmtree(self.part)
            (self.part / "people").mkdir(parents=True, exist_ok=True)
            if not (self.part / "plan.json").exists():  # another rank may read it just now
                write_text(self.part / "plan.json", stamp)

    def has(self, name: str) -> bool:
        """Is this person's work already done?"""
        return self._person(name).is_file()

    def add(
        self,
        name: str,
        volume: UInt8[np.ndarray, "f x y z"],
        mask: Bool[np.ndarray, "x y z"],
        labels: Integer[np.ndarray, "*t x y z"] | None = None,
        quality: Mapping[str, Any] | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """Put one person's arrays aside, with what is to be said of them, whole or not at all; raises :class:`StoreError` like the rest."""
        expected = (len(self.head["channels"]), *self.head["grid"])
        if volume.shape != expected or mask.shape != expected[1:]:
            raise StoreError(f"{name} has a volume of shape {volume.shape} where the store's is {expected}")
        arrays = {
            "volumes": volume,
            "mask": mask,
            "quality": np.frombuffer(json.dumps(dict(quality or {})).encode(), np.uint8),
            "notes": np.frombuffer(json.dumps(list(notes)).encode(), np.uint8),
        }
        if labels is not None and labels.shape not in (mask.shape, volume.shape):
            raise StoreError(f"{name} has labels of shape {labels.shape} where the volume's is {volume.shape}")
        if labels is not None:
            arrays["labels"] = labels.astype(np.uint8 if labels.max(initial=0) < 256 else np.int16)
        with self._writing(), whole_file(self._person(name)) as partial, partial.open("wb") as file:
            np.savez(file, **arrays)

    def quality(self, name: str) -> dict[str, Any]:
        """What :meth:`add` was told of one person beside the arrays."""
        with self._arrays(name) as person:
            return json.loads(person["quality"].tobytes())

    def notes(self, name: str) -> list[str]:
        """What :meth:`add` was told is to be said of one person."""
        with self._arrays(name) as person:
            return json.loads(person["notes"].tobytes()) if "notes" in person else []

    def finish(
        self,
        rows: list[dict[str, Any]],
        *,
        left_out: list[dict[str, str]] | None = None,
        flagged: list[dict[str, str]] | None = None,
        report: Report | None = None,
    ) -> CohortStore:
        """Join the persons of ``rows`` (in that order) into the store and give it its name.

        ``left_out`` and ``flagged`` are lists of {participant_id, reason}; ``report`` draws into the directory before
        it is named.
        """
        if not rows:
            shutil.rmtree(self.part, ignore_errors=True)
            first = "".join(f"; {who['participant_id']}: {who['reason']}" for who in (left_out or [])[:1])
            raise StoreError(f"no person is left to store of {len(left_out or [])}{first or '; mend the data set'}")
        with self._writing():
            arrays, labelled, quality = self._join([str(row["participant_id"]) for row in rows])
            text = json.dumps(rows, ensure_ascii=False, indent=1, allow_nan=False).encode()
            (self.part / "participants.json").write_bytes(text)
            meta = {
                **self.head,
                "n": len(rows),
                "labelled": labelled,
                "participants_sha256": sha256(text).hexdigest(),
                "left_out": left_out or [],
                "flagged": flagged or [],
                "quality": quality,
                "arrays": arrays,
            }
            if report:
                report(self.part, self._preview(meta, rows))
            write_text(self.part / "store.json", json.dumps(meta, ensure_ascii=False, indent=1))
            put_in_place(self.part, self.path)
        forget_work(self.path)
        return CohortStore.open(self.path)

    def _preview(self, meta: dict[str, Any], rows: list[dict[str, Any]]) -> CohortStore:
        maps = {name: opened(self.part, name, facts) for name, facts in meta["arrays"].items()}
        return CohortStore(self.part, meta, rows, maps["volumes"], maps["mask"], maps.get("labels"))

    def _person(self, name: str) -> Path:
        return self.part / "people" / f"{name}.npz"

    def _join(self, names: list[str]) -> tuple[dict[str, dict[str, Any]], list[bool], dict[str, dict[str, float]]]:
        """One array file for each kind: its facts; who has labels; every person's quality."""
        quality: dict[str, dict[str, float]] = {}
        kinds: dict[str, set[np.dtype]] = {}
        shapes: dict[str, tuple[int, ...]] = {}
        labelled: list[bool] = []
        for name in names:
            with self._arrays(name) as person:
                quality[name] = json.loads(person["quality"].tobytes())
                labelled.append("labels" in person)
                for kind in set(person) - {"quality", "notes"}:
                    kinds.setdefault(kind, set()).add(person[kind].dtype)
                    shapes[kind] = person[kind].shape
        facts = {
            kind: self._append(kind, np.result_type(*dtypes), shapes[kind], names)
            for kind, dtypes in sorted(kinds.items())
        }
        return facts, labelled, quality

    def _append(self, kind: str, dtype: np.dtype, one: tuple[int, ...], names: list[str]) -> dict[str, Any]:
        """Write one kind of array person after person; who lacks it gets zeros."""
        shape, persons = (len(names), *one), self._each(kind, one, dtype, names)
        if self.chunked:
            shutil.rmtree(self.part / f"{kind}.zarr", ignore_errors=True)
            return write_chunked(self.part / f"{kind}.zarr", shape, dtype, persons)
        file, total = self.part / f"{kind}.npy", sha256()
        with file.open("wb+") as stream:
            header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(stream, header)
            stream.seek(0)
            total.update(stream.read())
            for array in persons:
                total.update(array.data)
                stream.write(array.data)
        return {"dtype": str(dtype), "shape": list(shape), "bytes": file.stat().st_size, "sha256": total.hexdigest()}

    def _each(self, kind: str, one: tuple[int, ...], dtype: np.dtype, names: list[str]) -> Iterator[np.ndarray]:
        for name in names:
            with self._arrays(name) as person:
                array = np.ascontiguousarray(person.get(kind, np.zeros(one, dtype)), dtype=dtype)
            yield array

    @contextmanager
    def _arrays(self, name: str) -> Iterator[Mapping[str, np.ndarray]]:
        try:
            with np.load(self._person(name), allow_pickle=False) as person:
                yield person
        except (ValueError, KeyError, EOFError, zipfile.BadZipFile):
            self._person(name).unlink(missing_ok=True)
            raise StoreError(
                f"the unfinished work on {name} is damaged and was discarded; run the ingest again"
            ) from None

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """A full or read-only disk becomes one sentence; on a full one the unfinished store is removed."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                shutil.rmtree(self.part, ignore_errors=True)
                raise StoreError(
                    f"the disk of {self.path} is full, nothing was kept; free some space and run it again"
                ) from None
            raise StoreError(
                f"{self.path} cannot be written ({error.strerror or error}); choose another directory"
            ) from None
