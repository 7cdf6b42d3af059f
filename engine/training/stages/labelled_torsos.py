"""From a labelled store of in-silico torsos to ``measure-torso``: its training persons, calibrated and tested on its others."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from engine.anatomy.torso import TORSO
from engine.cohort.store import CohortStore
from engine.imaging.grid import in_words
from engine.phantom.cohort import person_seeds
from engine.phantom.tissue import TISSUES
from engine.phantom.torsos import PhantomPerson
from engine.training.run import Progress, RunError
from engine.training.stages.measure_torso import MINIMUM_READ, BodyRecipe, train_body
from engine.training.stages.torso_examples import Maker


def train_body_on(
    recipe: BodyRecipe, store: CohortStore, run_dir: Path, *, minutes: float | None = None
) -> Iterator[Progress]:
    """:func:`engine.training.stages.measure_torso.train_body` on the persons of a store, as many as it has of each part.

    Raises :class:`RunError`, at once and before anything is written, for a store of other scans, without label maps, or of
    too few persons.
    """
    require_labelled_torsos(store)
    parts = store.split()
    sizes = {part: min(getattr(recipe, part), len(parts[part])) for part in ("validation", "test")}
    recipe = replace(recipe, **sizes)
    maker, available = persons_of(store, recipe), len(parts["train"])
    return train_body(recipe, run_dir, minutes=minutes, maker=maker, available=available)


def require_labelled_torsos(store: CohortStore) -> None:
    """Refuse a store from which the torso's ruler cannot learn; raises :class:`RunError`."""
    codes = {str(tissue.code): tissue.name for tissue in TISSUES}
    if store.channels != TORSO.channels:
        raise RunError(
            f"{store.path} holds {in_words(store.channels)} and no torsos; give a store made by somatwin phantom"
        )
    if store.labels is None or not store.labelled.all() or store.meta.get("label_names") != codes:
        raise RunError(
            f"{store.path} has no labels, so there is nothing to learn from; make it with somatwin phantom --labels"
        )
    for part, rows in store.split().items():
        if len(rows) < MINIMUM_READ:
            raise RunError(
                f"{store.path} has {len(rows)} {part} persons, {MINIMUM_READ} are needed; make one of more persons"
            )


def persons_of(store: CohortStore, recipe: BodyRecipe) -> Maker:
    """The store's persons by the seeds that the recipe asks for: each part of the split where it is wanted.

    Training persons come in the store's order, again and again; the others once.
    """
    parts, labels = store.split(), store.labels
    assert labels is not None
    (first,) = person_seeds(recipe.seed, 1)
    held: dict[int, int] = {}
    for part, seed in (("validation", recipe.seed + 1), ("test", recipe.seed + 2)):
        held |= zip(person_seeds(seed, len(parts[part])), parts[part].tolist(), strict=True)

    def person(seed: int) -> PhantomPerson:
        train = parts["train"]
        row = held.get(seed, int(train[(seed - first) % 2**32 % len(train)]))
        return PhantomPerson(np.array(store.volumes[row]), np.array(labels[row]), dict(store.rows[row]))

    def maker(seeds: Sequence[int]) -> list[PhantomPerson]:
        return [person(seed) for seed in seeds]

    return maker
