"""The in-silico cohort on disk: persons to an ingest store, with a table counted and measured on their label maps."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Generator, Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from engine.cohort.bids_write import write_bids
from engine.cohort.builder import StoreBuilder
from engine.cohort.ingest import write_quality
from engine.cohort.store import CohortStore, part_of
from engine.imaging.grid import cycle_by, frames
from engine.imaging.volume import Volume, centred_affine
from engine.phantom.anthropometry import PhantomError
from engine.phantom.kinds import TORSO, InSilico, kind_of, made
from engine.phantom.process import keep_freed
from engine.phantom.torsos import PhantomPerson, make
from engine.storage.ranks import SINGLE, Ranks

#: torsos are made here by seed, too, as a notebook does it
__all__ = ["PhantomPerson", "PhantomProgress", "make", "person_seeds", "stream", "write_cohort", "write_nifti"]
LICENCE = "CC0-1.0"
ABOUT = (
    "Computed anatomy, not scans of persons: a procedural population calibrated on published statistics. "
    "Associations, not causes; not for diagnosis."
)
BATCH_GPU = 16
#: below this many persons a second process is not worth its start
ALONE = 6


@dataclass(frozen=True, kw_only=True)
class PhantomProgress:
    """``done`` of ``total`` persons are made; ``seconds`` since the start."""

    done: int
    total: int
    seconds: float


def person_seeds(seed: int, n: int) -> list[int]:
    """The seeds of a cohort's persons: the first n of a cohort of more are the same."""
    return [(seed * 1_000_003 + i) % 2**32 for i in range(n)]


def write_cohort(
    store: str | Path,
    *,
    n: int,
    seed: int = 0,
    device: str = "cpu",
    labels: bool = False,
    nifti: int = 0,
    recipe: str = TORSO,
    chunked: bool | None = None,
    workers: int | None = None,
    ranks: Ranks = SINGLE,
) -> Generator[PhantomProgress, None, CohortStore]:
    """Make ``n`` persons into the new store ``store``; yields as they are done, returns the open store. Of several ``ranks`` each
    makes its own, and rank 0 joins them.

    The same call again resumes, and ends in the same store; ``nifti`` is only checked here, before the work
    (:func:`write_nifti`); ``recipe`` says of which kind (:data:`engine.phantom.kinds.KINDS`), ``chunked`` how they are stored
    (:class:`~engine.cohort.builder.StoreBuilder`). Raises :class:`PhantomError` for an n below 1,
    :class:`~engine.cohort.store.StoreError` when the store exists or cannot be written.
    """
    if n < 1:
        raise PhantomError(f"n is {n}; ask for one person or more")
    if not 0 <= nifti <= n:
        raise PhantomError(f"{nifti} persons as NIfTI of {n}; ask for 0 to {n}")
    if not 0 <= seed < 4000:
        raise PhantomError(f"the cohort's seed is {seed}; give one from 0 to 3999")
    kind = kind_of(recipe)
    plan = {"phantom": kind.version, "seed": seed, "n": n, "labels": labels, "device": device.partition(":")[0]}
    builder = _builder(Path(store), recipe, plan, chunked, ranks)
    seeds, width = person_seeds(seed, n), len(str(max(n, 9999)))
    names = [f"sub-{i + 1:0{width}d}" for i in range(n)]
    own = ranks.own(n)
    missing = [i for i in own if not builder.has(names[i])]
    started, done = time.monotonic(), len(own) - len(missing)
    yield PhantomProgress(done=min(n, done * ranks.size), total=n, seconds=0.0)
    with ranks.together():
        people = stream([seeds[i] for i in missing], device, workers or ranks.cores, recipe)
        for i, person in zip(missing, people, strict=True):
            mask = np.any(person.labels.reshape(-1, *kind.grid), axis=0)
            builder.add(names[i], person.images, mask, person.labels if labels else None, person.row)
            done += 1
            yield PhantomProgress(done=min(n, done * ranks.size), total=n, seconds=time.monotonic() - started)
    with ranks.together():
        if ranks.leads:
            rows = [{"participant_id": name, **builder.quality(name)} for name in names]
            builder.finish(rows, report=write_quality)
    return CohortStore.open(store)


def _builder(store: Path, recipe: str, plan: dict[str, Any], chunked: bool | None, ranks: Ranks) -> StoreBuilder:
    """The builder of the store, whose folder rank 0 makes ready and all then see."""
    kind = kind_of(recipe)

    def begun() -> StoreBuilder:
        return StoreBuilder(
            store,
            recipe=recipe,
            grid=kind.grid,
            affine=centred_affine(kind.grid, kind.spacing),
            channels=kind.frames,
            plan=plan,
            info={
                "source_name": kind.name,
                "licence": LICENCE,
                "acknowledgement": ABOUT,
                "label_names": {str(code): name for code, name in kind.label_names.items()},
            },
            chunked=chunked,
        )

    with ranks.together():
        builder = begun() if ranks.leads else None
    with ranks.together():
        if builder is None and not part_of(store).is_dir():
            raise PhantomError(f"{store} is not seen by this rank; name a store on a disk that all ranks share")
        return builder or begun()


@dataclass(frozen=True, eq=False)
class _Saved:
    """What :func:`engine.cohort.bids_write.write_bids` needs of a person."""

    scan: Volume
    attributes: dict[str, Any]


def write_nifti(store: CohortStore, count: int, device: str = "cpu") -> Path:
    """The first ``count`` persons of a phantom store as a BIDS data set in its folder ``bids``; returns that folder.

    Each has a file a channel and ``*_dseg`` (255 = intensity 1; codes in dseg.tsv). Raises
    :class:`PhantomError` when the store holds fewer persons.
    """
    if not 1 <= count <= len(store):
        raise PhantomError(f"{count} persons as NIfTI, but the store holds {len(store)}; ask for 1 to {len(store)}")

    kind = kind_of(store.meta["recipe"])

    def people() -> Iterator[_Saved]:
        for i in range(count):
            row = {key: value for key, value in store.rows[i].items() if key != "participant_id"}
            labels = np.asarray(store.labels[i]) if store.labels is not None else None
            if labels is None:
                (person,) = kind.make([row["seed"]], device)
                labels = person.labels
            codes = labels.reshape(kind.phases, *kind.grid).astype(np.uint8)
            data = np.concatenate([np.asarray(store.volumes[i]), codes])
            names = (*kind.frames, *frames(["dseg"], kind.phases))
            yield _Saved(Volume(data, store.affine, names, cycle_by(row.get("heart_rate"))), row)

    out = write_bids(
        store.path / "bids",
        people(),
        name=f"{kind.name}, {count} persons",
        generated_by=[{"Name": "Somatwin phantom", "Version": str(kind.version), "Description": ABOUT}],
        licence=LICENCE,
        acknowledge=ABOUT,
        columns=kind.columns,
        description="IN SILICO - not for diagnosis",
    )
    names = "".join(f"{code}\t{name}\n" for code, name in kind.label_names.items())
    (out / "dseg.tsv").write_text("index\tname\n" + names, "utf-8")
    return out


def stream(seeds: list[int], device: str, workers: int | None = None, recipe: str = TORSO) -> Iterator[InSilico]:
    """The persons in order: on a GPU in batches, on the CPU by as many processes as there are cores."""
    if device != "cpu":
        kind = kind_of(recipe)
        for start in range(0, len(seeds), BATCH_GPU):
            yield from kind.make(seeds[start : start + BATCH_GPU], device)
        return
    count = workers or SINGLE.cores
    if count == 1 or len(seeds) < ALONE:
        for seed in seeds:
            yield made(recipe, seed)
        return
    # fork would copy the parent's threads' locks
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), keep_freed)
    try:
        window = 4 * count
        waiting = [pool.submit(made, recipe, seed) for seed in seeds[:window]]
        for k in range(len(seeds)):
            person = waiting.pop(0).result()
            if k + window < len(seeds):
                waiting.append(pool.submit(made, recipe, seeds[k + window]))
            yield person
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
