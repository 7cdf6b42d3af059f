"""The in-silico cohort on disk: persons to an ingest store, with a table counted and measured on their label maps."""

from __future__ import annotations

import multiprocessing
import time
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import UInt8

from engine.cohort.bids_write import write_bids
from engine.cohort.builder import StoreBuilder
from engine.cohort.ingest import write_quality
from engine.cohort.store import CohortStore, part_of
from engine.imaging.volume import Volume, centred_affine
from engine.phantom.anthropometry import People, PhantomError
from engine.phantom.body import Body, build
from engine.phantom.dixon import CHANNELS, scan
from engine.phantom.fitting import fit
from engine.phantom.girth import girth, waist_level
from engine.phantom.process import keep_freed, one_thread
from engine.phantom.shape.frame import HD, RASTER, Raster
from engine.phantom.tissue import TISSUES, codes
from engine.storage.ranks import SINGLE, Ranks
from engine.vocabulary.catalogue import CATALOGUE

RECIPE, LICENCE = "torso_dixon", "CC0-1.0"
#: what the recipes of computed persons are trained on
RASTERS = {RECIPE: RASTER, "torso_dixon_hd": HD}
NAME = "In-silico torso Dixon MRI"
ABOUT = (
    "Computed anatomy, not scans of persons: a procedural population calibrated on published statistics. "
    "Associations, not causes; not for diagnosis."
)
#: version of the phantom: another one makes other persons of the same seeds
PHANTOM = 2
BATCH_GPU = 16
#: the columns of the table beside age, sex, height, weight and bmi
COUNTED = ("ethnicity", "waist", "body_fat", "sat", "vat", "muscle", "liver_volume", "liver_pdff", "smoking")
#: what participants.json says of the columns that every BIDS export does not know already
COLUMNS: dict[str, dict[str, Any]] = {
    **{name: CATALOGUE[name].bids() for name in COUNTED},
    "quality": {"Description": "good, or fat_water_swap: water and fat exchanged in a region"},
    "seed": {"Description": "seed of the person; the same seed makes the same person again"},
}
#: below this many persons a second process is not worth its start
ALONE = 6


@dataclass(frozen=True, eq=False)
class PhantomPerson:
    """One person's images (uint8, 2 x y z; 255 = intensity 1), label map (uint8, x y z) and row of the table."""

    images: UInt8[np.ndarray, "2 x y z"]
    labels: UInt8[np.ndarray, "x y z"]
    row: dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class PhantomProgress:
    """``done`` of ``total`` persons are made; ``seconds`` since the start."""

    done: int
    total: int
    seconds: float


def person_seeds(seed: int, n: int) -> list[int]:
    """The seeds of a cohort's persons: the first n of a cohort of more are the same."""
    return [(seed * 1_000_003 + i) % 2**32 for i in range(n)]


def make(
    seeds: Sequence[int], given: Any = None, device: str = "cpu", *, raster: Raster = RASTER
) -> list[PhantomPerson]:
    """Persons of these seeds whose table shows what is ``given``: any of its columns, for all or one mapping for each.

    What is counted on the label map comes out to :data:`engine.phantom.counted.TOLERANCE` and costs some more bodies
    (:func:`engine.phantom.fitting.fit`); the rest comes out as it is given, rounded as the table is (weight to .1 kg).
    On the CPU one after another on one thread, so that a person never depends on the company; on a GPU all at once.
    Raises :class:`PhantomError` for what cannot be.
    """

    def count(people: People) -> dict[str, float]:
        body = build(people.to(device), raster=raster)
        return counts(body, 0, body.label[0].cpu().numpy())

    if device != "cpu":
        return _draw(fit(seeds, given, count).to(device), raster)
    with one_thread():
        people = fit(seeds, given, count)
        return [person for i in range(len(people)) for person in _draw(people[[i]], raster)]


def _draw(people: People, raster: Raster) -> list[PhantomPerson]:
    body = build(people, raster=raster)
    taken = scan(body)
    images, labels = taken.images.cpu().numpy(), body.label.cpu().numpy()
    drawn = []
    for i in range(len(people)):
        drawn.append(PhantomPerson(images[i], labels[i], _row(people, i, body, labels[i], taken.swapped[i])))
    return drawn


def counts(body: Body, i: int, labels: UInt8[np.ndarray, "x y z"]) -> dict[str, float]:
    """What is counted on the label map of person ``i`` (L; the liver in mL) and measured by the tape (cm)."""

    voxels = np.bincount(labels.reshape(-1), minlength=256)

    def litres(group: str) -> float:
        return int(voxels[list(codes(group))].sum()) * body.frame.voxel_ml / 1000

    pelvis = np.zeros(256, bool)
    pelvis[list(codes("pelvis"))] = True
    level = waist_level(pelvis.take(labels))
    tape = (
        float("nan")
        if level is None
        else girth(body.trunk[i, :, :, level].cpu().double().numpy(), body.frame.spacing[:2])
    )
    return {
        "sat": litres("subcutaneous_fat"),
        "vat": litres("visceral_fat"),
        "muscle": litres("muscle"),
        "liver_volume": litres("liver") * 1000,
        "waist": tape / 10,
    }


def _row(people: People, i: int, body: Body, labels: np.ndarray, swapped: bool) -> dict[str, Any]:
    """The table's row: who the person is, and what is counted or measured on the label map."""
    found = counts(body, i, labels)
    row: dict[str, Any] = {
        "age": round(float(people.age[i]), 1),
        "sex": people.sex[i],
        "ethnicity": people.ethnicity[i],
        "height": round(float(people.height[i]), 1),
        "bmi": round(float(people.bmi[i]), 2),
    }
    row |= {
        "weight": round(row["bmi"] * (row["height"] / 100) ** 2, 1),
        "waist": None if np.isnan(found["waist"]) else round(found["waist"], 1),
        "body_fat": round(float(people.body_fat[i]), 1),
        "sat": round(found["sat"], 3),
        "vat": round(found["vat"], 3),
        "muscle": round(found["muscle"], 3),
        "liver_volume": round(round(found["liver_volume"] / 1000, 3) * 1000),
        "liver_pdff": round(float(people.liver_pdff[i]), 2),
        "smoking": people.smoking[i],
        "quality": "fat_water_swap" if swapped else "good",
        "seed": people.seeds[i],
    }
    return row


def write_cohort(
    store: str | Path,
    *,
    n: int,
    seed: int = 0,
    device: str = "cpu",
    labels: bool = False,
    nifti: int = 0,
    recipe: str = RECIPE,
    chunked: bool | None = None,
    workers: int | None = None,
    ranks: Ranks = SINGLE,
) -> Generator[PhantomProgress, None, CohortStore]:
    """Make ``n`` persons into the new store ``store``; yields as they are done, returns the open store. Of several ``ranks`` each
    makes its own, and rank 0 joins them.

    The same call again resumes, and ends in the same store; ``nifti`` is only checked here, before the work
    (:func:`write_nifti`); ``recipe`` says of which voxels (:data:`RASTERS`), ``chunked`` how they are stored
    (:class:`~engine.cohort.builder.StoreBuilder`). Raises :class:`PhantomError` for an n below 1,
    :class:`~engine.cohort.store.StoreError` when the store exists or cannot be written.
    """
    if n < 1:
        raise PhantomError(f"n is {n}; ask for one person or more")
    if not 0 <= nifti <= n:
        raise PhantomError(f"{nifti} persons as NIfTI of {n}; ask for 0 to {n}")
    if not 0 <= seed < 4000:
        raise PhantomError(f"the cohort's seed is {seed}; give one from 0 to 3999")
    if recipe not in RASTERS:
        raise PhantomError(f"recipe {recipe} takes no computed persons; name {' or '.join(RASTERS)}")
    raster = RASTERS[recipe]
    plan = {"phantom": PHANTOM, "seed": seed, "n": n, "labels": labels, "device": device.partition(":")[0]}
    builder = _builder(Path(store), recipe, plan, chunked, ranks)
    seeds, width = person_seeds(seed, n), len(str(max(n, 9999)))
    names = [f"sub-{i + 1:0{width}d}" for i in range(n)]
    own = ranks.own(n)
    missing = [i for i in own if not builder.has(names[i])]
    started, done = time.monotonic(), len(own) - len(missing)
    yield PhantomProgress(done=min(n, done * ranks.size), total=n, seconds=0.0)
    with ranks.together():
        people = stream([seeds[i] for i in missing], device, workers or ranks.cores, raster)
        for i, person in zip(missing, people, strict=True):
            mask = person.labels > 0
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
    raster = RASTERS[recipe]

    def begun() -> StoreBuilder:
        return StoreBuilder(
            store,
            recipe=recipe,
            grid=raster.grid,
            affine=centred_affine(raster.grid, raster.spacing),
            channels=CHANNELS,
            plan=plan,
            info={
                "source_name": NAME,
                "licence": LICENCE,
                "acknowledgement": ABOUT,
                "label_names": {str(tissue.code): tissue.name for tissue in TISSUES},
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

    Each has ``*_water``, ``*_fat`` and ``*_dseg`` files (255 = intensity 1; codes in dseg.tsv). Raises
    :class:`PhantomError` when the store holds fewer persons.
    """
    if not 1 <= count <= len(store):
        raise PhantomError(f"{count} persons as NIfTI, but the store holds {len(store)}; ask for 1 to {len(store)}")

    def people() -> Iterator[_Saved]:
        for i in range(count):
            row = {key: value for key, value in store.rows[i].items() if key != "participant_id"}
            labels = np.asarray(store.labels[i]) if store.labels is not None else None
            if labels is None:
                (person,) = make([row["seed"]], device=device, raster=RASTERS[store.meta["recipe"]])
                labels = person.labels
            data = np.concatenate([np.asarray(store.volumes[i]), labels[None].astype(np.uint8)])
            yield _Saved(Volume(data, store.affine, (*CHANNELS, "dseg")), row)

    out = write_bids(
        store.path / "bids",
        people(),
        name=f"{NAME}, {count} persons",
        generated_by=[{"Name": "Somatwin phantom", "Version": str(PHANTOM), "Description": ABOUT}],
        licence=LICENCE,
        acknowledge=ABOUT,
        columns=COLUMNS,
        description="IN SILICO - not for diagnosis",
    )
    names = "".join(f"{tissue.code}\t{tissue.name}\n" for tissue in TISSUES)
    (out / "dseg.tsv").write_text("index\tname\n" + names, "utf-8")
    return out


def stream(
    seeds: list[int], device: str, workers: int | None = None, raster: Raster = RASTER
) -> Iterator[PhantomPerson]:
    """The persons in order: on a GPU in batches, on the CPU by as many processes as there are cores."""
    if device != "cpu":
        for start in range(0, len(seeds), BATCH_GPU):
            yield from make(seeds[start : start + BATCH_GPU], device=device, raster=raster)
        return
    count = workers or SINGLE.cores
    if count == 1 or len(seeds) < ALONE:
        for seed in seeds:
            yield from make([seed], raster=raster)
        return
    # fork would copy the parent's threads' locks
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), keep_freed)
    try:
        window = 4 * count
        waiting = [pool.submit(make, [seed], raster=raster) for seed in seeds[:window]]
        for k in range(len(seeds)):
            (person,) = waiting.pop(0).result()
            if k + window < len(seeds):
                waiting.append(pool.submit(make, [seeds[k + window]], raster=raster))
            yield person
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
