"""The finished joint model as a checkpoint, and its card: what it is, what it saw and what it is not for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from engine.checkpoints.checkpoint import save_checkpoint
from engine.cohort.missing import missing_cells
from engine.cohort.participants import recorded
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import decoder_flops
from engine.training.recipes import Recipe
from engine.training.stages.heart.card import PATIENTS
from engine.vocabulary.schema import AttributeSchema, Number

#: facts of a store that say where its persons come from
SOURCE = ("source_name", "licence", "acknowledgement")
NOT_FOR = "Not for diagnosis. It shows associations in its cohort, not causes, and only of people like them."


def model_card(
    model: JointModel, recipe: Recipe, store: CohortStore | TableCohort, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    """The facts of the card, ready for JSON; ``provenance`` is what the stages say of themselves and of the store."""
    imaged = isinstance(store, CohortStore)
    what = "the scan and its table" if imaged else "the columns of a table; it knows no scans"
    detail = ""
    if provenance.get("texture_steps"):
        detail = " Fine detail is drawn to look like that of scans: plausible, not measured."
    if model.atlas is not None:
        detail += " Its fine anatomy is that of an atlas, the mean of registered training persons, moved to each: plausible, not theirs."
    if model.calibration is not None:
        detail += " It is calibrated: the ruler reads on average off drawn scans what it reads off others', so that is no test of either."
    warm = " --from CHECKPOINT" if "from" in provenance else ""
    privacy = provenance.get("privacy")
    if privacy:
        warm += f" --epsilon {privacy['epsilon']:g}"
    return {
        "what_it_is": f"{recipe.title}: one latent flow over {what}. Every person it makes is synthetic.{detail}",
        "what_it_is_not": NOT_FOR,
        "trained_on": _trained_on(model, recipe, store, provenance),
        "licence": f"weights and what is made with them: {provenance.get('licence', 'that of the cohort')}",
        "columns": _columns(model.schema),
        "size": {
            "parameters": sum(p.numel() for p in model.parameters()),
            **(_image_size(store, recipe) if isinstance(store, CohortStore) else {}),
        },
        **({"privacy": privacy} if privacy else {}),
        "training": {
            **{key: value for key, value in provenance.items() if key != "privacy"},
            "command": f"somatwin train {recipe.name} STORE --run-dir DIR{warm}",
        },
    }


def _trained_on(
    model: JointModel, recipe: Recipe, store: CohortStore | TableCohort, provenance: Mapping[str, Any]
) -> dict[str, Any]:
    found: dict[str, Any] = {key: provenance[key] for key in SOURCE if key in provenance}
    found["persons"] = provenance["persons"]
    if patients := provenance.get("patients"):
        found["patients"] = f"{patients}, of whom end-diastole and end-systole were scanned"
    if "selection" in provenance:
        found["chosen"] = "; ".join(line.strip() for line in provenance["selection"])
    if isinstance(store, CohortStore):
        found["faces"] = _faces(recipe)
    if missing := missing_cells([store.rows[i] for i in store.split()["train"]], model.schema):
        found["missing"] = missing
    return found


def _columns(schema: AttributeSchema) -> dict[str, str]:
    words = {}
    for column in schema.columns:
        if isinstance(column, Number):
            low, high = column.seen
            words[column.name] = f"{low:.4g} to {high:.4g} {column.unit} in training"
        else:
            words[column.name] = ", ".join(column.levels)
    return {**words, **{derived.name: f"computed, {derived.unit}" for derived in schema.derived}}


def _faces(recipe: Recipe) -> str:
    if recipe.preprocess is None:
        return "none in view"
    return "removed" if recipe.preprocess.deface else "kept"


def _image_size(store: CohortStore, recipe: Recipe) -> dict[str, Any]:
    grid = " x ".join(map(str, store.grid))
    spacing = " x ".join(f"{mm:g}" for mm in store.spacing)
    return {
        "grid": f"{grid} voxels of {spacing} mm",
        "image_tokens": recipe.model.image.tokens,
        "decoder_mflop_per_voxel": round(decoder_flops(recipe.model.image) / 1e6, 4),
    }


def _of_patients(provenance: Mapping[str, Any]) -> dict[str, str]:
    """Where the persons come from, where patients were learned after those of a store."""
    if not (found := provenance.get("patients")):
        return {}
    short = PATIENTS.partition(" (")[0]
    said = {
        "source_name": f", then {found} patients of the {short}",
        "acknowledgement": f" Then {found} patients, two phases each: {PATIENTS}.",
    }
    return {key: provenance[key] + more for key, more in said.items() if key in provenance}


def save_model(
    path: Path, model: JointModel, recipe: Recipe, store: CohortStore | TableCohort, training: dict[str, Any]
) -> None:
    """The finished model as a checkpoint."""
    provenance = {"recipe": recipe.name, "seed": recipe.seed, **training}
    provenance |= {key: store.meta[key] for key in SOURCE if key in store.meta}
    provenance |= _of_patients(provenance)
    save_checkpoint(
        path,
        model,
        name=recipe.name.replace("_", "-"),
        title=recipe.title,
        affine=store.affine if isinstance(store, CohortStore) else np.eye(4),
        channels=store.channels,
        preprocess=asdict(recipe.preprocess) if recipe.preprocess else {},
        provenance=provenance,
        guidance=recipe.guidance,
        card=model_card(model, recipe, store, provenance),
        participants=recorded(store),
    )
