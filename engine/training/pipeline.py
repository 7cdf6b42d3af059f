"""From a store to a checkpoint: every stage in order, resumable, within a time limit."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from engine.checkpoints.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from engine.checkpoints.typicality import write_fingerprint
from engine.cohort.missing import missing_cells
from engine.cohort.participants import inherited, read_participants, recorded
from engine.cohort.preprocess.preprocess import PreprocessConfig
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.model.joint import JointModel, ModelConfig, with_rows
from engine.model.nn.autoencoder import decoder_flops
from engine.training.run import Progress, RunError
from engine.training.samples import Samples
from engine.training.stages.autoencoder import AutoencoderTraining, train_autoencoder
from engine.training.stages.correction import fit_correction
from engine.training.stages.flow import FlowTraining, encode_cohort, train_flow
from engine.training.stages.texture import TextureTraining, train_texture
from engine.vocabulary.schema import AttributeSchema, Number

#: part of a limited training time that is kept for what is computed after the flow
CORRECTION_SHARE = 0.05


@dataclass(frozen=True, kw_only=True)
class Recipe:
    """All that makes a checkpoint besides the cohort: grid, columns, networks, training stages, seed.

    ``preprocess`` is None where the store is computed and not ingested, ``rows`` where the model has no network of rows,
    ``texture`` where the decoder is left as it is; ``autoencoder_share``, ``rows_share`` and ``texture_share`` are the parts of
    a limited training time that go to these stages, ``guidance`` is the default weight of the finished model.
    """

    name: str
    title: str
    schema: AttributeSchema
    preprocess: PreprocessConfig | None
    model: ModelConfig
    autoencoder: AutoencoderTraining = field(default_factory=AutoencoderTraining)
    flow: FlowTraining = field(default_factory=FlowTraining)
    rows: FlowTraining | None = None
    texture: TextureTraining | None = None
    autoencoder_share: float = 0.4
    rows_share: float = 0.1
    texture_share: float = 0.0
    guidance: float = 1.0
    seed: int = 0


def train(
    recipe: Recipe,
    store: CohortStore | TableCohort,
    run_dir: Path,
    *,
    device: str = "cpu",
    minutes: float | None = None,
    source: str | Path | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train ``recipe`` on the training split of ``store``; yields progress and leaves ``run_dir/checkpoint``.

    A table without scans has no first stage. ``source``, a checkpoint of the same recipe by name or path, is where a warm
    start begins: its encoder, its columns' transforms, its standardisation and its linear Gaussian part are kept, so that
    its latents stay what they are; decoder, rows and flow learn on.

    The same call again resumes; a finished stage is not repeated. ``minutes`` limits this call, each stage to its share of
    it in the ``recipe``. Raises :class:`RunError` for a run directory of another
    recipe, store or source, and for a source of another recipe, at the call and not at the first step.
    """
    schema = fitted_schema(recipe, store)
    begun = None if source is None else _begun(load_checkpoint(source, device), recipe)
    if begun is not None:
        store = inherited(store, read_participants(begun.path))
    _claim(run_dir, recipe, store, begun)
    if begun is None:
        torch.manual_seed(recipe.seed)
        model = JointModel(recipe.model, schema).to(device)
    else:
        model = with_rows(begun.model, recipe.model.rows, recipe.seed)
    seconds = None if minutes is None else minutes * 60
    return _stages(recipe, store, model, begun, run_dir, seconds, save_every)


def _begun(source: Checkpoint, recipe: Recipe) -> Checkpoint:
    """The checkpoint, once it is sure that the recipe makes such a model."""
    wanted, found = (
        [(c.name, None if isinstance(c, Number) else c.levels) for c in schema.columns]
        for schema in (recipe.schema, source.model.schema)
    )
    if replace(source.model.config, rows=recipe.model.rows) != recipe.model or found != wanted:
        what = "sizes" if found == wanted else "columns"
        raise RunError(
            f"{source.path} has other {what} than {recipe.name} gives a model; "
            f"it was trained by recipe {source.config['provenance'].get('recipe')}: start from another, or from nothing"
        )
    return source


def fitted_schema(recipe: Recipe, store: CohortStore | TableCohort) -> AttributeSchema:
    """The recipe's columns, fitted to the training split; raises :class:`RunError` for a store of another grid."""
    remedy = f"ingest it with --recipe {recipe.name}" if recipe.preprocess else "make one with somatwin phantom"
    if store.grid != recipe.model.image.grid:
        raise RunError(f"the store's grid {store.grid} is not the recipe's {recipe.model.image.grid}; {remedy}")
    if len(store.channels) != recipe.model.image.channels:
        found = ", ".join(store.channels)
        raise RunError(f"the store's channels are {found}, the recipe takes {recipe.model.image.channels}; {remedy}")
    return recipe.schema.fitted([store.rows[i] for i in store.split()["train"]])


def _stages(
    recipe: Recipe,
    store: CohortStore | TableCohort,
    model: JointModel,
    begun: Checkpoint | None,
    run_dir: Path,
    seconds: float | None,
    save_every: float,
) -> Iterator[Progress]:
    """Every stage on the training split, then the checkpoint."""
    began, rows = time.monotonic(), store.split()["train"]
    people = [store.rows[i] for i in rows]
    bare = latents = torch.zeros(len(rows), 1, 0, 1)
    stage: dict[str, Any] = {"run_dir": run_dir, "seed": recipe.seed, "save_every": save_every}
    facts: dict[str, Any] = {"persons": len(rows), "device": model.centre.device.type}

    def until(share: float) -> float | None:
        return None if seconds is None else began + share * seconds

    if isinstance(store, CohortStore):
        yield from train_autoencoder(
            model,
            store,
            rows,
            model.schema.encode(store.rows),
            recipe.autoencoder,
            deadline=until(recipe.autoencoder_share),
            decoder_only=begun is not None,
            **stage,
        )
        path = run_dir / "latents.safetensors"
        for item in encode_cohort(model, store, rows, recipe.flow, path=path, seed=recipe.seed):
            if isinstance(item, Progress):
                yield item
            else:
                latents = item
    if model.rows and recipe.rows:
        facts["rows_steps"] = recipe.rows.steps
        fresh, limit = begun is None or begun.model.rows is None, until(recipe.autoencoder_share + recipe.rows_share)
        for last in train_flow(model.rows, bare, people, recipe.rows, deadline=limit, fit=fresh, name="rows", **stage):
            yield last
            facts["rows_steps"] = last.step
    samples = _samples(store, recipe, run_dir) if isinstance(store, CohortStore) else None
    limit, facts["flow_steps"] = until(1 - recipe.texture_share - CORRECTION_SHARE), recipe.flow.steps
    for last in train_flow(
        model, latents, people, recipe.flow, deadline=limit, samples=samples, fit=begun is None, **stage
    ):
        yield last
        facts["flow_steps"] = last.step
    if isinstance(store, CohortStore):
        limit = until(1 - recipe.texture_share)
        yield from fit_correction(model, latents, people, seed=recipe.seed, deadline=limit)
    if recipe.texture and isinstance(store, CohortStore):
        facts["texture_steps"] = recipe.texture.steps
        for last in train_texture(
            model, store, rows, model.schema.encode(store.rows), recipe.texture, deadline=until(1), **stage
        ):
            yield last
            facts["texture_steps"] = last.step
    if begun:
        facts |= {
            "from": f"{begun.config['name']} {begun.digest}, after {begun.config['provenance']['flow_steps']} steps"
        }
    _save(run_dir / "checkpoint", model, recipe, store, facts)
    if isinstance(store, CohortStore):
        yield Progress("fingerprint", 0, 1, 0.0, {})
        write_fingerprint(run_dir / "checkpoint", store, model.centre.device.type)
        yield Progress("fingerprint", 1, 1, 0.0, {})


def _samples(store: CohortStore, recipe: Recipe, run_dir: Path) -> Samples:
    return Samples(run_dir=run_dir, affine=store.affine, channels=store.channels, guidance=recipe.guidance)


def _save(
    path: Path, model: JointModel, recipe: Recipe, store: CohortStore | TableCohort, training: dict[str, Any]
) -> None:
    """The finished model as a checkpoint whose card says what it is, what it saw and what it is not for."""
    imaged = isinstance(store, CohortStore)
    trained = [store.rows[i] for i in store.split()["train"]]
    what = "the scan and its table" if imaged else "the columns of a table; it knows no scans"
    source = {k: store.meta[k] for k in ("source_name", "licence", "acknowledgement") if k in store.meta}
    provenance = {"recipe": recipe.name, "seed": recipe.seed, **training, **source}
    begun = " --from CHECKPOINT" if "from" in training else ""
    drawn = training.get("texture_steps")
    detail = " Fine detail is drawn to look like that of scans: plausible, not measured." if drawn else ""
    columns = {
        c.name: f"{c.seen[0]:.4g} to {c.seen[1]:.4g} {c.unit} in training"
        if isinstance(c, Number)
        else ", ".join(c.levels)
        for c in model.schema.columns
    }
    card = {
        "what_it_is": f"{recipe.title}: one latent flow over {what}. Every person it makes is synthetic.{detail}",
        "what_it_is_not": "Not for diagnosis. It shows associations in its cohort, not causes, and only of people like them.",
        "trained_on": {
            **source,
            "persons": training["persons"],
            **({"faces": _faces(recipe)} if imaged else {}),
            **({"missing": missing} if (missing := missing_cells(trained, model.schema)) else {}),
        },
        "licence": f"weights and what is made with them: {source.get('licence', 'that of the cohort')}",
        "columns": {**columns, **{d.name: f"computed, {d.unit}" for d in model.schema.derived}},
        "size": {
            "parameters": sum(p.numel() for p in model.parameters()),
            **(_image_size(store, recipe) if isinstance(store, CohortStore) else {}),
        },
        "training": {**provenance, "command": f"somatwin train {recipe.name} STORE --run-dir DIR{begun}"},
    }
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
        card=card,
        participants=recorded(store),
    )


def _faces(recipe: Recipe) -> str:
    return "none in view" if recipe.preprocess is None else "removed" if recipe.preprocess.deface else "kept"


def _image_size(store: CohortStore, recipe: Recipe) -> dict[str, Any]:
    grid, spacing = " x ".join(map(str, store.grid)), " x ".join(f"{mm:g}" for mm in store.spacing)
    return {
        "grid": f"{grid} voxels of {spacing} mm",
        "image_tokens": recipe.model.image.tokens,
        "decoder_mflop_per_voxel": round(decoder_flops(recipe.model.image) / 1e6, 4),
    }


def _claim(run_dir: Path, recipe: Recipe, store: CohortStore | TableCohort, begun: Checkpoint | None) -> None:
    """Note in the run directory what is trained there, or refuse when it is something else."""
    wanted: dict[str, Any] = json.loads(
        json.dumps({"recipe": asdict(recipe), "participants": store.meta["participants_sha256"]})
    )
    if begun:
        wanted["from"] = begun.digest
    path = run_dir / "run.json"
    if path.exists():
        try:
            found = _what_matters(json.loads(path.read_text("utf-8")))
        except (ValueError, TypeError, AttributeError):
            raise RunError(f"{path} is damaged; choose a new --run-dir") from None
        if found != _what_matters(wanted):
            raise RunError(f"{run_dir} holds a run of another recipe, store or start; choose a new --run-dir")
        return
    run_dir.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(wanted, indent=1), "utf-8")


def _what_matters(claim: dict[str, Any]) -> dict[str, Any]:
    """A claim without what may change while a run goes on: how long its stages are, and those beside the main ones."""
    free = ("rows", "texture", "autoencoder_share", "rows_share", "texture_share")
    recipe = {k: v for k, v in claim.get("recipe", {}).items() if k not in free}
    recipe["model"] = {k: v for k, v in recipe.get("model", {}).items() if k != "rows"}
    for part in ("autoencoder", "flow"):
        recipe[part] = {k: v for k, v in recipe.get(part, {}).items() if k != "steps"}
    return {**claim, "recipe": recipe}
