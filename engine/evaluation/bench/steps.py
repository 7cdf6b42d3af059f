"""What few network evaluations cost in quality: the same persons drawn with 4, 8 and 32, beside real ones, in one run."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from engine.cohort.participants import judged, read_participants
from engine.cohort.store import CohortStore
from engine.evaluation.bench.sampling import machine
from engine.evaluation.metrics.coherence import correlation, slope
from engine.evaluation.metrics.distribution import SUBJECTS_PER_FEATURE, Projection, frechet_distance
from engine.evaluation.subjects.plan import extractors
from engine.inference.generate import Model, load
from engine.measure.features import FeatureEncoder
from engine.measure.shipped import load_ruler
from engine.vocabulary.refusal import RequestError
from engine.vocabulary.schema import Row

#: components of the projection at most
COMPONENTS = 8


def benchmark_steps(
    checkpoint: str | Path,
    store: CohortStore,
    *,
    persons: int = 64,
    steps: Sequence[int] = (4, 8, 32),
    seed: int = 0,
    device: str = "auto",
    progress: Callable[[str, int, int], None] | None = None,
) -> dict[str, Any]:
    """For each number of evaluations: Fréchet distance to real test persons in the space of the frozen encoder, and slope
    and correlation of what a ruler reads on what was asked for, ready for JSON.

    Real test persons (at most ``persons``) lend their rows: each synthetic person is asked for the numbers of one, from the
    same seed at every number of evaluations. Raises :class:`RequestError` for fewer than 12 test persons.
    """
    model = load(checkpoint, device)
    store, _ = judged(store, read_participants(model.checkpoint.path), model.name)
    test = store.split()["test"][:persons]
    if len(test) < 4 * SUBJECTS_PER_FEATURE:
        raise RequestError(f"{len(test)} test persons carry no distance; give a store with 12 or more")
    used = extractors(store, None)
    if used.encoder is None or used.region is None:
        raise RequestError("no encoder or no ruler at hand sees such scans; train one with somatwin train features_...")
    encoder, ruler = FeatureEncoder.load(used.encoder), load_ruler(used.region)
    train = store.split()["train"][: 3 * persons]
    components = min(COMPONENTS, len(test) // SUBJECTS_PER_FEATURE)
    project = Projection.fitted(_features(encoder, [store.scan(i) for i in train]), components)
    real = project(_features(encoder, [store.scan(i) for i in test]))
    report = progress or (lambda _what, _done, _total: None)
    found: dict[str, Any] = {}
    for k in steps:
        report(f"{k} evaluations", 0, len(test))
        scans, began, seconds = [], time.perf_counter(), []
        for i, row in enumerate(test):
            asked = _asked(model, store.rows[row])
            (person,) = model.generate(given=asked, seed=seed + i, steps=k)
            scans.append(person.volume)
            seconds.append(time.perf_counter() - began)
            began = time.perf_counter()
            report(f"{k} evaluations", i + 1, len(test))
        distance = frechet_distance(real, project(_features(encoder, [scan.data for scan in scans])))
        found[str(k)] = {"frechet": round(distance, 3), "seconds_a_person": round(float(np.median(seconds)), 3)}
        read = [ruler.measure(scan) for scan in scans]
        for attribute, measure in used.region.relations:
            x = np.array([float(store.rows[i].get(attribute) or np.nan) for i in test])
            y = np.array([one.get(measure, np.nan) for one in read])
            ok = np.isfinite(x) & np.isfinite(y)
            found[str(k)][f"{measure} on {attribute}"] = {
                "slope": round(slope(x[ok], y[ok]), 4),
                "correlation": round(correlation(x[ok], y[ok]), 3),
            }
    return {
        "checkpoint": {"name": model.name, "digest": model.digest},
        "machine": machine(model.device),
        "persons": len(test),
        "components": components,
        "steps": found,
    }


def _asked(model: Model, row: Row) -> Row:
    """The numbers and sex of a real person that the model can be asked for."""
    return {
        column.name: row[column.name]
        for column in model.schema.columns
        if column.name in ("age", "sex", "height", "bmi") and row.get(column.name) is not None
    }


def _features(encoder: FeatureEncoder, scans: Sequence[np.ndarray]) -> Float[np.ndarray, "n f"]:
    """Features in the first fold; one scan at a time."""
    grid = encoder.grid
    return np.concatenate([encoder.encode(scan.reshape(1, -1, *grid))[:, 0] for scan in scans]).astype(np.float64)
