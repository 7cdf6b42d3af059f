"""Who is gathered for an evaluation and for an audit, and the checks that refuse before hours are spent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from engine.anatomy import region_of
from engine.anatomy.region import Region
from engine.checkpoints.files import directory
from engine.cohort.store import CohortStore
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.radiomics import radiomics_hash
from engine.evaluation.subjects.extract import Task, encoder_at
from engine.evaluation.subjects.gather import people
from engine.evaluation.subjects.people import ENCODED, RADIOMICS, Gathered
from engine.imaging.grid import in_words
from engine.inference.generate import Model
from engine.measure.features import NAMES as ENCODERS
from engine.measure.features import FeatureEncoder
from engine.measure.shipped import load_ruler
from engine.vocabulary.schema import AttributeSchema, Number

#: fewest test persons that anything is said of
MINIMUM_SIDE = 8
#: training and test persons gathered at most, those of a baseline, those read by the model, and those kept at half resolution
TRAINING, TEST, BASELINE, READ, SMALL = 300, 1000, 200, 64, 24
#: persons a side of whom a classifier sees crops; draws of the local score model in an audit, and of whose patches they are made
JUDGED, LOCAL, PATCHED = 100, 8, 24
#: persons asked for other values of an attribute, and where in the training distribution the values lie
ASKED, VALUES = 16, (0.1, 0.37, 0.63, 0.9)
#: attributes they are asked for
SLIDERS = ("age", "bmi")
#: test persons whose counterfactuals are drawn, and by what share of the training range they are moved
WHATIFS, SHIFT = 12, 0.35
#: seeds of one purpose never meet those of another
BLOCK = 1_000_000


@dataclass(frozen=True, eq=False)
class Extractors:
    """What sees the scans, with the hash of each: the frozen encoder (None: none fits), the ruler of ``region`` (None: none
    fits)."""

    encoder: Path | None
    region: Region | None
    pins: dict[str, str]


def checked(model: Model, store: CohortStore) -> None:
    """Refuse a store that the model was not made for, or one of too few persons; raises :class:`EvaluationError`."""
    image, config = model.checkpoint.model.config.image, model.checkpoint.config
    if store.channels != config.channels:
        raise EvaluationError(
            f"the store holds {in_words(store.channels)} and {model.name} makes {in_words(config.channels)}: that is another anatomy; "
            "choose the store of its recipe"
        )
    if store.grid != image.grid or not np.allclose(store.affine, model.checkpoint.affine, atol=1e-3):
        raise EvaluationError(
            f"the store's grid {store.grid} is not {model.name}'s {image.grid}: ingest it with the recipe of that model"
        )
    split = store.split()
    for part in ("test", "train"):
        unseen = f" whom {model.name} has not seen in training" if part == "test" else ""
        if len(split[part]) < MINIMUM_SIDE:
            found = f"the store has {len(split[part])} {part} persons of {len(store)}"
            raise EvaluationError(f"{found}: an evaluation needs {MINIMUM_SIDE} or more with age and sex{unseen}")
    if not any(name in store.rows[0] for name in model.schema.names):
        raise EvaluationError(
            f"the store's table has none of {', '.join(model.schema.names)}: give it the columns of {model.name}"
        )


def extractors(store: CohortStore, features: Path | None) -> Extractors:
    """The encoder and the ruler that fit the store, the hashes of both and of the radiomics."""
    pins = {RADIOMICS: radiomics_hash(len(store.channels))}
    encoder = None
    if features is not None:
        found = encoder_at(features, len(store.channels))
        if isinstance(found, FeatureEncoder) and (found.grid, found.channels) != (store.grid, store.channels):
            raise EvaluationError(
                f"the encoder in {features} sees {found.grid} voxels, the store has {store.grid}: give another"
            )
        encoder, pins[ENCODED] = features, f"{features.name} {found.digest[:12]}"
    for path in [directory() / name for name in ENCODERS if features is None]:
        if (path / "config.json").is_file():
            found = FeatureEncoder.load(path)
            if found.grid == store.grid and found.channels == store.channels:
                encoder, pins[ENCODED] = path, f"{found.name} {found.digest}"
    region = _measurable(store)
    if region is not None:
        pins["ruler"] = f"{region.ruler} {load_ruler(region).digest}"
    return Extractors(encoder, region, pins)


def _measurable(store: CohortStore) -> Region | None:
    """The region that a store's scans are of, where its ruler can read them."""
    region = region_of(store.channels)
    longest = max(n * mm for n, mm in zip(store.grid, store.spacing, strict=True))
    if region is None or longest > region.largest_mm or max(store.spacing) > region.coarsest_mm:
        return None
    return region


def _sample(
    side: str, seeds: Sequence[int], given: Sequence[tuple] = (), wants: tuple[str, ...] = ("features", "measures")
) -> list[Task]:
    return [
        Task(side=side, number=i, make="sample", index=seed, given=given[i] if given else (), wants=wants)
        for i, seed in enumerate(seeds)
    ]


def _real(side: str, rows: np.ndarray, wants: Sequence[tuple[str, ...]], make: str = "real") -> list[Task]:
    return [
        Task(side=side, number=i, make=make, index=int(row), wants=wants[min(i, len(wants) - 1)])
        for i, row in enumerate(rows)
    ]


def subsample(rows: np.ndarray, most: int, seed: int) -> np.ndarray:
    """At most ``most`` of the rows, drawn without replacement."""
    return rows if len(rows) <= most else np.sort(np.random.default_rng([seed, 7]).permutation(rows)[:most])


def _also(tasks: Sequence[Task], want: str, most: int) -> list[Task]:
    """The tasks, of whose first ``most`` something more is wanted."""
    return [replace(t, wants=(*t.wants, want)) if t.number < most else t for t in tasks]


def _local(n: int, base: int, wants: tuple[str, ...]) -> list[Task]:
    return [Task(side="local", number=i, make="local", index=base + i, wants=wants) for i in range(n)]


def evaluation_tasks(model: Model, store: CohortStore, n: int, seed: int, local: int = 0) -> list[Task]:
    """Test and training persons, free samples, the same noise at other values, what-ifs, and the baselines, among them
    ``local`` draws of the local score model."""
    split = store.split()
    test, train = subsample(split["test"], min(TEST, n), seed), subsample(split["train"], TRAINING, seed)
    seen, base = ("features", "measures", "appearance"), seed * BLOCK
    tested = _real("test", test, [(*seen, "reconstruction", "infer")] * READ + [(*seen, "reconstruction")])
    known = _real("train", train, [(*seen, "small")] * SMALL + [seen])
    made = _also(_sample("synthetic", range(base, base + n), wants=(*seen, "slices")), "small", SMALL)
    tasks = [task for side in (tested, known, made) for task in _also(side, "crops", JUDGED)]
    for k, name in enumerate(sliders(model.schema)):
        column = model.schema[name]
        assert isinstance(column, Number)
        values = [round(float(np.quantile(column.knots, q)), 1) for q in VALUES]
        seeds = [base + (k + 1) * BLOCK // 10 + i for i in range(ASKED) for _ in values]
        tasks += _sample(f"asked_{name}", seeds, [((name, v),) for _ in range(ASKED) for v in values])
    for name in sliders(model.schema):
        tasks += whatif_tasks(model, store, test, name)
    rng = np.random.default_rng([seed, 8])
    for i in range(min(n, BASELINE)):
        row = store.rows[int(rng.choice(train))]
        given = tuple((c.name, row[c.name]) for c in model.schema.columns if row.get(c.name) is not None)
        tasks.append(Task(side="gaussian", number=i, make="gaussian", index=base + i, given=given, wants=("features",)))
    tasks.append(Task(side="mean", number=0, make="mean", index=0))
    tasks += _local(local, base, ("features",))
    return tasks + _real("replay", train[: min(n, len(train), BASELINE)], [("features",)], "replay")


def tasks(kind: str, model: Model, store: CohortStore, n: int, seed: int, local: int) -> list[Task]:
    """What an evaluation or, as ``audit``, an audit has to make and to read."""
    return evaluation_tasks(model, store, n, seed, local) if kind == "evaluate" else audit_tasks(model, store, n, seed)


def whatif_tasks(model: Model, store: CohortStore, test: np.ndarray, name: str) -> list[Task]:
    """Test persons who would be older (heavier), or younger (leaner) where they are beyond the middle of training."""
    column = model.schema[name]
    assert isinstance(column, Number)
    low, high = column.seen
    step = round(SHIFT * (high - low), 1)
    known = [int(row) for row in test if store.rows[row].get(name) is not None][:WHATIFS]
    values = [float(store.rows[row][name]) for row in known]
    moved = [round(v + step if v < (low + high) / 2 else v - step, 1) for v in values]
    return [
        Task(side=f"whatif_{name}", number=i, make="real", index=row, given=((name, value),), wants=("whatif",))
        for i, (row, value) in enumerate(zip(known, moved, strict=True))
    ]


def audit_tasks(model: Model, store: CohortStore, n: int, seed: int) -> list[Task]:
    """Training and held-out persons with the losses they have, free samples, a memoriser's replays, and mosaics of training
    patches by the local score model."""
    split = store.split()
    train = subsample(split["train"], TRAINING, seed)
    held = subsample(np.sort(np.concatenate([split["validation"], split["test"]])), TRAINING, seed)
    seen = [("features", "reconstruction", "loss", "patches")]
    tasks = _real("train", train, seen) + _real("holdout", held, seen)
    tasks += _sample("synthetic", range(seed * BLOCK, seed * BLOCK + n), wants=("features", "patches"))
    tasks += _real("replay", train, [("features", "patches")], "replay")
    return tasks + _local(LOCAL, seed * BLOCK, ("patches",))


def sliders(schema: AttributeSchema) -> list[str]:
    """The attributes whose sliders are tried."""
    return [c.name for c in schema.columns if c.name in SLIDERS and isinstance(c, Number) and c.knots]


def assembled(
    work: Path, tasks: Sequence[Task], about: dict[str, Any], used: Extractors, measures: dict[str, str]
) -> Gathered:
    """The gathered sides; beside whole ones those first persons of whom more was extracted, as ``NAME_read``,
    ``NAME_small`` and ``NAME_crops``."""
    sides = {}
    for side in dict.fromkeys(task.side for task in tasks):
        mine = [t for t in tasks if t.side == side]
        sides[side] = people(work, mine)
        for extra, want in (("read", "infer"), ("small", "small"), ("crops", "crops")):
            some = [t for t in mine if want in t.wants]
            if some and want in some[0].wants:
                sides[f"{side}_{extra}"] = people(work, some)
    features = (ENCODED, RADIOMICS) if used.encoder else (RADIOMICS,)
    for name in [name for name in sides if name.startswith("whatif_")]:
        for when in ("before", "after"):
            arrays = {k.removeprefix(f"{when}_"): v for k, v in sides[name].arrays.items() if k.startswith(f"{when}_")}
            sides[f"{name}_{when}"] = replace(sides[name], arrays=arrays)
    for name in ("synthetic", "test", "train"):
        if name in sides and len(sides[name]) < MINIMUM_SIDE:
            raise EvaluationError(
                f"{len(sides[name])} of the {name} persons can be used, the others are empty: {MINIMUM_SIDE} or more are needed"
            )
    return Gathered(sides=sides, measures=measures, features=features, about=about)
