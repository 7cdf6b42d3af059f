"""From a labelled store of in-silico hearts, and patients with contours, to ``measure-heart``: train, judge, write the ruler.

What patients teach is judged five-fold, each fold by a network tuned on the others; the ruler that is written is tuned on all.
"""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from engine.anatomy.heart import HEART
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume, VolumeError
from engine.measure.heart.classes import CLASSES, classes_of_codes
from engine.measure.heart.reading import read
from engine.measure.heart.ruler import MEASURES, HeartMeasure, HeartMeasureConfig, labels_of
from engine.measure.reference import CohortBand
from engine.measure.relation import power_law
from engine.measure.segmenter import Segmenter
from engine.phantom.heart.cohort import PHANTOM
from engine.phantom.heart.tissue import CODES
from engine.storage import strict_json
from engine.training.run import Progress, RunError
from engine.training.stages.heart.card import model_card
from engine.training.stages.heart.judging import (
    MINIMUM_READ,
    PatientJudged,
    agreement,
    dice,
    judge_patient,
    judged_patients,
)
from engine.training.stages.heart.patients import Patient, folds, read_patients, taught
from engine.training.stages.heart.training import HeartTraining, learn_hearts, learn_patients

#: attributes whose regressions over the test persons are kept
ATTRIBUTES = ("age", "bmi", "height", "weight", *dict.fromkeys(attribute for attribute, _ in HEART.relations))
#: fewest persons of each part of a store
MINIMUM = 3
#: measures that follow a power law of what is read, and the correlation from which on it is fitted
LAWFUL, FOLLOWS = ("lv_mass", "wall_thickness"), 0.8


@dataclass(frozen=True, kw_only=True)
class HeartRecipe:
    """All that makes a ``measure-heart`` besides cohort and patients; ``test`` is the most test persons that are measured,
    ``folds`` the parts into which patients are divided."""

    measure: HeartMeasureConfig = field(default_factory=HeartMeasureConfig)
    training: HeartTraining = field(default_factory=HeartTraining)
    seed: int = 0
    test: int = 60
    folds: int = 5


@dataclass(frozen=True, kw_only=True)
class HeartJudged:
    """One in-silico person measured: what their labels say, what was read, and Dice by class over the cycle."""

    want: Mapping[str, float]
    have: Mapping[str, float]
    dice: Mapping[str, float]


def train_heart(
    recipe: HeartRecipe,
    store: CohortStore,
    run_dir: Path,
    *,
    minutes: float | None = None,
    patients: Path | None = None,
) -> Iterator[Progress]:
    """Train on the store's training persons, then on the ``patients`` of a folder
    (:mod:`engine.training.stages.heart.patients`); yields progress and leaves ``run_dir/checkpoint``.

    The same call again resumes; ``minutes`` limits the training on in-silico persons. Raises :class:`RunError` at once for a
    store of other scans, without label maps or of too few persons, and for a folder without patients.
    """
    require_labelled_hearts(store)
    real = [] if patients is None else read_patients(patients)
    return _train(recipe, store, real, run_dir, None if minutes is None else time.monotonic() + 60 * minutes)


def _train(
    recipe: HeartRecipe, store: CohortStore, real: Sequence[Patient], run_dir: Path, deadline: float | None
) -> Iterator[Progress]:
    run_dir.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(recipe.seed)
    net, rows = Segmenter(recipe.measure.segmenter), store.split()
    steps: dict[str, int] = {}
    for progress in learn_hearts(
        net, store, rows["train"], recipe.training, run_dir=run_dir, seed=recipe.seed, deadline=deadline
    ):
        steps[progress.stage] = progress.step
        yield progress

    examples = [taught(one, recipe.measure.segmenter.voxel) for one in real]
    tune = partial(
        learn_patients, store=store, rows=rows["train"], config=recipe.training, run_dir=run_dir, seed=recipe.seed
    )
    judged: list[PatientJudged] = []
    for k, part in enumerate(folds(real, recipe.folds) if real else []):
        tuned = deepcopy(net)
        others = [one for i, one in enumerate(examples) if i not in part]
        yield from tune(f"fold-{k}", tuned, patients=others)
        ruler = _ruler(recipe, tuned)
        judged += [judge_patient(ruler, real[i]) for i in part]
    if real:
        yield from tune("patients", net, patients=examples)

    ruler = _ruler(recipe, net)
    others = yield from _judged(ruler, store, rows["validation"][: recipe.test], "validation")
    ruler = replace(ruler, config=replace(ruler.config, laws=laws_of(others)))
    people = rows["test"][: recipe.test]
    found = yield from _judged(ruler, store, people, "test")
    band = CohortBand.fit([store.rows[i] for i in people], [one.have for one in found], ATTRIBUTES)
    figures = agreement([one.want for one in found], [one.have for one in found], [one.dice for one in found])
    if judged:
        figures["patients"] = judged_patients(judged)
    card = model_card(store, len(rows["train"]), figures)
    about = {
        "recipe": asdict(recipe),
        "steps": sum(steps.values()),
        "phantom": PHANTOM,
        "figures": strict_json.defined(figures),
    }
    replace(ruler, cohort=band, card=card).save(run_dir / "checkpoint", about)


def require_labelled_hearts(store: CohortStore) -> None:
    """Refuse a store from which the heart's ruler cannot learn; raises :class:`RunError`."""
    if store.channels != HEART.frames:
        raise RunError(
            f"{store.path} holds {', '.join(store.channels)} and no cines; give a store made by somatwin phantom "
            f"--recipe {HEART.recipe} --labels"
        )
    if store.labels is None or not store.labelled.all() or store.meta.get("label_names") != _names():
        raise RunError(
            f"{store.path} has no labels of hearts, so there is nothing to learn from; make it with somatwin phantom "
            f"--recipe {HEART.recipe} --labels"
        )
    for part, rows in store.split().items():
        if len(rows) < MINIMUM:
            raise RunError(
                f"{store.path} has {len(rows)} {part} persons, {MINIMUM} are needed; make one of more persons"
            )


def _judged(
    ruler: HeartMeasure, store: CohortStore, people: Int[np.ndarray, " n"], part: str
) -> Generator[Progress, None, list[HeartJudged]]:
    """In-silico persons measured; yields progress."""
    found, began = list[HeartJudged](), time.monotonic()
    for row in people:
        found.append(judge(ruler, store, int(row)))
        yield Progress(part, len(found), len(people), time.monotonic() - began, {})
    return found


def laws_of(found: Sequence[HeartJudged]) -> dict[str, tuple[float, float]]:
    """Factor and exponent that take each of :data:`LAWFUL` as it was read to what the labels say, by least squares of
    their logarithms; of too few persons, or where what is read does not vary with them, none."""
    laws = {}
    for name in LAWFUL:
        pairs = np.array([(one.have[name], one.want[name]) for one in found], float).reshape(-1, 2)
        have, want = pairs[np.isfinite(pairs).all(1) & (pairs > 0).all(1)].T
        if len(have) < MINIMUM_READ or have.std() == 0 or np.corrcoef(np.log(have), np.log(want))[0, 1] < FOLLOWS:
            continue
        laws[name] = power_law(have, want)
    return laws


def judge(ruler: HeartMeasure, store: CohortStore, row: int) -> HeartJudged:
    """Measure one in-silico person, and what their labels say; NaN where no heart was found."""
    assert store.labels is not None
    scan = Volume(np.array(store.volumes[row]), store.affine, store.channels)
    labels = np.array(store.labels[row])
    want = {**dict.fromkeys(MEASURES, float("nan")), **read(labels, store.affine).values()}
    try:
        found = ruler.classes_on(scan)
        have, told = ruler.values_of(found), labels_of(found)
    except VolumeError:
        return HeartJudged(want=want, have=dict.fromkeys(MEASURES, float("nan")), dice=dict.fromkeys(CLASSES, 0.0))
    truth = classes_of_codes()[labels]
    return HeartJudged(want=want, have=have, dice={name: dice(told == c, truth == c) for c, name in enumerate(CLASSES)})


def _ruler(recipe: HeartRecipe, net: Segmenter) -> HeartMeasure:
    """The ruler of a network as it is stored: in bfloat16."""
    net = deepcopy(net)
    net.load_weights({k: v.detach().bfloat16() for k, v in net.named_parameters()})
    empty = CohortBand(lines={}, curves={}, levels={})
    return HeartMeasure(recipe.measure, net.requires_grad_(False).eval(), empty, {})


def _names() -> dict[str, str]:
    return {str(code): name for name, code in CODES.items()}
