"""What a training may begin from, and what its run directory is noted to hold, so that nothing else is trained there."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from engine.checkpoints.checkpoint import Checkpoint
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.imaging.grid import in_words
from engine.model.extended import finer_image
from engine.storage.whole import write_text
from engine.training.privacy.budget import Budget
from engine.training.recipes import Recipe
from engine.training.run import RunError
from engine.training.world import World
from engine.vocabulary.schema import AttributeSchema, Number


def check_begun(source: Checkpoint, recipe: Recipe) -> None:
    """Raises :class:`RunError` unless the recipe makes such a model."""
    wanted, found = (
        [(c.name, None if isinstance(c, Number) else c.levels) for c in schema.columns]
        for schema in (recipe.schema, source.model.schema)
    )
    grown = {"rows": recipe.model.rows, "mask": recipe.model.mask, "detail": recipe.model.detail}
    grown["calibrated"] = source.model.config.calibrated or recipe.model.calibrated
    image = finer_image(source.model.config.image, recipe.model.image)
    config = replace(source.model.config, image=image, **grown)
    if config != recipe.model or found != wanted:
        what = "sizes" if found == wanted else "columns"
        raise RunError(
            f"{source.path} has other {what} than {recipe.name} gives a model; "
            f"it was trained by recipe {source.config.provenance.get('recipe')}: start from another, or from nothing"
        )


def with_mask(recipe: Recipe, store: CohortStore | TableCohort, begun: Checkpoint | None, add_mask: bool) -> Recipe:
    """The recipe, its model with a mask where it is to have one; raises :class:`RunError` where it cannot be added."""
    labelled = isinstance(store, CohortStore) and bool(store.labelled[store.split()["train"]].any())
    mask = recipe.mask if labelled else None
    if begun is not None:
        mask = begun.model.config.mask or (mask if add_mask else None)
    if add_mask and (begun is None or begun.model.has_mask or mask is None):
        fault = "no model to add it to" if begun is None else "no label maps of training persons to learn it from"
        fault = "one already in the model" if begun is not None and begun.model.has_mask else fault
        raise RunError(
            f"a mask cannot be added: there is {fault}; leave --add out, or give --from and a store with labels"
        )
    # of a recipe with a mask, detail is drawn for it
    alone = recipe.mask is None and (labelled or not (recipe.detail and recipe.detail.classes))
    detail = recipe.detail if mask or alone else None
    if begun is not None:
        detail = begun.model.config.detail or (detail if add_mask else None)
    image = recipe.model.image
    if begun is not None:
        image = replace(image, skip=begun.model.config.image.skip)
    return replace(recipe, model=replace(recipe.model, image=image, mask=mask, detail=detail))


def fitted_schema(recipe: Recipe, store: CohortStore | TableCohort) -> AttributeSchema:
    """The recipe's columns, fitted to the training split; raises :class:`RunError` for a store of another grid."""
    remedy = f"ingest it with --recipe {recipe.name}" if recipe.preprocess else "make one with somatwin phantom"
    if store.grid != recipe.model.image.grid:
        raise RunError(f"the store's grid {store.grid} is not the recipe's {recipe.model.image.grid}; {remedy}")
    if len(store.channels) != recipe.model.image.channels:
        found = in_words(store.channels)
        raise RunError(f"the store's channels are {found}, the recipe takes {recipe.model.image.channels}; {remedy}")
    return recipe.schema.fitted([store.rows[i] for i in store.split()["train"]])


def claimed(
    recipe: Recipe,
    store: CohortStore | TableCohort,
    begun: Checkpoint | None,
    where: str,
    budget: Budget | None = None,
    patients: Path | None = None,
) -> dict[str, Any]:
    """What a run directory is noted to hold."""
    wanted: dict[str, Any] = json.loads(
        json.dumps({"recipe": asdict(recipe), "participants": store.meta["participants_sha256"]})
    )
    if begun:
        wanted["from"] = begun.digest
    if where.strip():
        wanted["where"] = where.strip()
    if patients is not None:
        wanted["patients"] = str(patients.absolute())
    if budget:
        stages = {name: lots._asdict() for name, lots in budget.stages.items()}
        wanted["privacy"] = {"epsilon": budget.epsilon, "delta": budget.delta, "stages": stages}
    return wanted


def claim_together(run_dir: Path, wanted: dict[str, Any], world: World) -> None:
    """:func:`_claim` by rank 0, once all ranks want the same; raises where one does not, or does not see the directory."""
    names = {"recipe": "recipe", "participants": "store", "from": "model to go on from", "where": "choice of persons"}
    world.agree({word: json.dumps(wanted.get(name), sort_keys=True) for name, word in names.items()})
    with world.together():
        if world.leads:
            _claim(run_dir, wanted)
    with world.together():
        if not (run_dir / "run.json").is_file():
            raise RunError(f"{run_dir} is not seen by this rank; name a --run-dir on a disk that all ranks share")


def _claim(run_dir: Path, wanted: dict[str, Any]) -> None:
    """Note in the run directory what is trained there, or refuse when it is something else."""
    path = run_dir / "run.json"
    if path.exists():
        try:
            found = _what_matters(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError, AttributeError):
            raise RunError(f"{path} is damaged; choose a new --run-dir") from None
        if found.get("privacy") != wanted.get("privacy"):
            raise RunError(
                f"{run_dir} was begun with {_in_words(found)} and this asks for {_in_words(wanted)}; ask for the same, or "
                "choose a new --run-dir"
            )
        if found != _what_matters(wanted):
            raise RunError(
                f"{run_dir} holds a run of another recipe, store or start, or of other persons; choose a new --run-dir"
            )
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    write_text(path, json.dumps(wanted, indent=1))


def _in_words(claim: Mapping[str, Any]) -> str:
    """The privacy budget of a claim."""
    budget = claim.get("privacy")
    if not budget:
        return "no epsilon"
    steps = " and ".join(f"{lots['steps']} steps of {name}" for name, lots in budget["stages"].items())
    return f"epsilon {budget['epsilon']:g} at delta {budget['delta']:.4g} in {steps}"


def _what_matters(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim without what may change while a run goes on: how long its stages are, and those beside the main ones."""
    local = ("detail", "detail_training", "refiner", "mask_detail")
    free = ("rows", "texture", "mask", "mask_training", "atlas", "patient_steps", *local)
    recipe = {k: v for k, v in claim.get("recipe", {}).items() if k not in free and not k.endswith("_share")}
    recipe["model"] = {k: v for k, v in recipe.get("model", {}).items() if k != "rows" and v is not None}
    for part in ("autoencoder", "flow"):
        recipe[part] = {k: v for k, v in recipe.get(part, {}).items() if k not in ("steps", "fsdp")}
    return {**claim, "recipe": recipe}
