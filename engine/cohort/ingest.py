"""A cohort's scans to a store, one person after another, with a page to check it by eye."""

from __future__ import annotations

import html
import multiprocessing
import os
import struct
import time
import zlib
from collections import deque
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from engine.cohort.builder import StoreBuilder
from engine.cohort.preprocess.outside_brain import OUTSIDE, with_skull_and_scalp
from engine.cohort.preprocess.preprocess import BrainMasker, PreprocessConfig, deepbet_masker, preprocess
from engine.cohort.sources.opened import opened
from engine.cohort.sources.proposal import TablePlan
from engine.cohort.sources.selected import Wanted, selected
from engine.cohort.sources.source import Source
from engine.cohort.store import CohortStore, StoreError
from engine.imaging.volume import VolumeError
from engine.vocabulary.refusal import Refusal

#: what libraries raise for a file that they cannot make sense of
UNFORESEEN = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    RuntimeError,
    TypeError,
    ValueError,
    OSError,
    struct.error,
    zlib.error,
)
#: persons below which one process is enough, most processes (each holds a brain finder), and how many persons each has waiting
ALONE, PROCESSES, WINDOW = 8, 4, 4
MIN_BRAIN_IN_GRID = 0.98
SHEET = 300


@dataclass(frozen=True, kw_only=True)
class IngestProgress:
    """One person done: ``done`` of ``total``, the seconds it took, and why it was left out (empty when it was not)."""

    done: int
    total: int
    subject: str
    seconds: float
    left_out: str = ""


def ingest(
    source: str | Path | Source,
    store: str | Path,
    config: PreprocessConfig,
    *,
    recipe: str = "head_t1",
    masker: BrainMasker | None = None,
    labels_from: str | None = "dlmuse",
    plan: TablePlan | None = None,
    wanted: Wanted | None = None,
    workers: int | None = None,
    chunked: bool | None = None,
) -> Generator[IngestProgress, None, CohortStore]:
    """Build ``store`` from ``source``, a path being that of a BIDS data set, of a table with NIfTI files, or of
    DICOM files; yields after each person, returns the open store. A ``plan`` says how the columns of a table are read,
    ``wanted`` which persons, columns and series are taken. ``workers`` is the number of processes (default: as many as cores,
    four at most, one for few persons or with a ``masker`` of the caller's); ``chunked`` as of
    :class:`~engine.cohort.builder.StoreBuilder`.

    An interrupted ingest continues when it is called again. A person without a readable image or a plausible brain is
    left out, with the reason in the store's report. Raises :class:`~engine.cohort.sources.bids.BidsError` when the data set as
    a whole is unusable and :class:`~engine.cohort.store.StoreError` when the store exists already, cannot be written,
    or nobody is left.
    """
    data = cohort_at(source, config, labels_from, plan, wanted)
    builder = StoreBuilder(
        store,
        recipe=recipe,
        grid=config.grid,
        affine=config.affine,
        channels=config.channels,
        plan={
            "preprocess": asdict(config),
            "labels_from": labels_from,
            "outside": OUTSIDE,
            "source_sha256": data.digest(),
            **({"schema": plan.to_json()} if plan else {}),
            **({"wanted": wanted.to_json()} if wanted else {}),
        },
        info=data.provenance(),
        chunked=chunked,
    )
    left_out: list[dict[str, str]] = []
    flagged = list(data.flagged)
    names = [str(row["participant_id"]) for row in data.rows]
    todo = [i for i, name in enumerate(names) if not builder.has(name)]
    count = workers or (1 if masker or len(todo) < ALONE else min(len(os.sched_getaffinity(0)), PROCESSES))
    waiting = frozenset(todo)
    done = _persons(_Work(builder=builder, data=data, config=config, masker=masker), todo, count)
    for i, name in enumerate(names):
        began, reason = time.monotonic(), ""
        if i in waiting:
            reason, notes = next(done)
        else:
            notes = builder.notes(name)
        if reason:
            left_out.append({"participant_id": name, "reason": reason})
        flagged += [{"participant_id": name, "reason": note} for note in notes]
        yield IngestProgress(
            done=i + 1, total=len(names), subject=name, seconds=time.monotonic() - began, left_out=reason
        )
    gone = {entry["participant_id"] for entry in left_out}
    rows: list[dict[str, Any]] = [dict(row) for row in data.rows if row["participant_id"] not in gone]
    return builder.finish(rows, left_out=left_out, flagged=flagged, report=write_quality)


@dataclass(kw_only=True)
class _Work:
    """What a process needs for any person; the masker is made when the first scan needs it."""

    builder: StoreBuilder
    data: Source
    config: PreprocessConfig
    masker: BrainMasker | None

    def person(self, i: int) -> tuple[str, list[str]]:
        """Why person ``i`` was left out ("" for one who is stored), and what is to be said of the scan."""
        name = str(self.data.rows[i]["participant_id"])
        before = self._said(name)
        self.masker = self.masker or deepbet_masker()
        reason = ""
        try:
            _add(self.builder, self.data, i, self.config, self.masker, lambda: self._said(name)[len(before) :])
        except StoreError:
            raise
        except Refusal as error:
            reason = str(error)
        except UNFORESEEN as error:  # one person's file must not end the ingest of ten thousand
            reason = unusable(error)
        return reason, self._said(name)[len(before) :]

    def _said(self, name: str) -> list[str]:
        return [flag["reason"] for flag in self.data.flagged if flag["participant_id"] == name]


def _persons(work: _Work, todo: list[int], count: int) -> Iterator[tuple[str, list[str]]]:
    """What became of each person, in order; a few ahead of the one that is waited for, so that no process idles."""
    if count == 1:
        yield from (work.person(i) for i in todo)
        return
    # fork would copy the parent's threads' locks
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begun, (work,))
    try:
        window = WINDOW * count
        waiting = deque(pool.submit(_one, i) for i in todo[:window])
        for k in range(len(todo)):
            found = waiting.popleft().result()
            if k + window < len(todo):
                waiting.append(pool.submit(_one, todo[k + window]))
            yield found
    except BrokenProcessPool:
        raise StoreError(
            "a process of the ingest ended, for lack of memory as a rule; run it again, it goes on"
        ) from None
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_WORK: list[_Work] = []


def _begun(work: _Work) -> None:
    """Keep, in a new process, what it needs for every person."""
    _WORK.append(work)


def _one(i: int) -> tuple[str, list[str]]:
    return _WORK[0].person(i)


def cohort_at(
    source: str | Path | Source,
    config: PreprocessConfig,
    labels_from: str | None,
    plan: TablePlan | None,
    wanted: Wanted | None,
) -> Source:
    """The cohort at a path, or the one given, and of it what is ``wanted``."""
    if isinstance(source, str | Path):
        series = wanted.series if wanted else ""
        source = opened(source, channel=config.channels[0], labels_from=labels_from, plan=plan, series=series)
    return selected(source, wanted) if wanted else source


def unusable(error: Exception) -> str:
    """What is said of a scan that a library stumbled over."""
    return f"the scan cannot be used ({type(error).__name__}: {error}); copy or export it again"


def _add(
    builder: StoreBuilder,
    data: Source,
    i: int,
    config: PreprocessConfig,
    masker: BrainMasker,
    notes: Callable[[], list[str]],
) -> None:
    scan, codes = data.scan(i)
    done = preprocess(scan, config, masker)
    if (share := done.quality["brain_in_grid"]) < MIN_BRAIN_IN_GRID:
        raise VolumeError(f"only {share:.0%} of the brain lies in the recipe's grid; check the scan's geometry")
    labels = None
    if codes is not None:
        brain = np.round(done.resample(codes, 0).data).astype(np.int16)
        labels = with_skull_and_scalp(brain, done.volume.data)
    name = str(data.rows[i]["participant_id"])
    builder.add(name, done.volume.data[None], done.brain, labels, done.quality, notes())


def write_quality(directory: Path, store: CohortStore) -> None:
    """``quality.png`` (each person's middle slices) and ``quality.html`` (with names, who was left out, and why)."""
    contact_sheet(store.volumes[:SHEET, 0]).save(directory / "quality.png", optimize=True)
    faults = "".join(
        f"<h2>{title}: {len(entries)}</h2><ul>"
        + "".join(f"<li>{html.escape(e['participant_id'])}: {html.escape(e['reason'])}</li>" for e in entries)
        + "</ul>"
        for title, entries in (("Left out", store.meta["left_out"]), ("Cells set missing", store.meta["flagged"]))
    )
    title = html.escape(str(store.meta.get("source_name", "A cohort")))
    measures = list(dict.fromkeys(key for one in store.meta["quality"].values() for key in one))
    head = "".join(f"<th>{html.escape(key)}</th>" for key in measures)
    table = "".join(
        f"<tr><td>{html.escape(name)}</td>" + "".join(f"<td>{one.get(key, '')}</td>" for key in measures) + "</tr>"
        for name, one in store.meta["quality"].items()
    )
    (directory / "quality.html").write_text(
        "<!doctype html><meta charset='utf-8'><title>Quality of the store</title>"
        "<style>body{font-family:sans-serif;margin:2em}td{padding:0 .6em;text-align:right}img{max-width:100%}</style>"
        f"<h1>{title}: {len(store)} persons stored</h1>{faults}"
        "<h2>Middle slices, in the order of the table (rows first)</h2><img src='quality.png' alt='middle slices'>"
        f"<h2>Measures</h2><table><tr><th>person</th>{head}</tr>{table}</table>",
        "utf-8",
    )


def contact_sheet(volumes: UInt8[np.ndarray, "n x y z"], columns: int = 5) -> Image.Image:
    """A grey page with the middle sagittal, coronal and axial slice of each volume, superior and anterior upwards."""
    tiles = []
    for volume in volumes:
        middle = [size // 2 for size in volume.shape]
        views = [volume[middle[0]], volume[:, middle[1]], volume[:, :, round(volume.shape[2] * 0.6)]]
        height = max(view.shape[1] for view in views)
        tiles.append(np.concatenate([np.pad(v.T[::-1], ((0, height - v.shape[1]), (0, 2))) for v in views], axis=1))
    blank = np.zeros_like(tiles[0])
    tiles += [blank] * (-len(tiles) % columns)
    lines = [np.concatenate(tiles[i : i + columns], axis=1) for i in range(0, len(tiles), columns)]
    return Image.fromarray(np.concatenate(lines, axis=0))
