"""From a store to a checkpoint: every stage in order, resumable, within a time limit."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from engine.checkpoints.checkpoint import Checkpoint, load_checkpoint
from engine.checkpoints.typicality import write_fingerprint
from engine.cohort.filter import narrowed
from engine.cohort.participants import inherited, read_participants
from engine.cohort.sources.table import TableCohort
from engine.cohort.store import CohortStore
from engine.model.extended import extended
from engine.model.joint import JointModel
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder
from engine.training.card import save_model
from engine.training.claim import check_begun, claim_together, claimed, fitted_schema, with_mask
from engine.training.privacy.budget import Budget, Privacy
from engine.training.privacy.plan import planned, privacy_facts
from engine.training.recipes import Recipe
from engine.training.run import Progress
from engine.training.samples import Samples
from engine.training.stages.atlas.fit import Cohort, below, fields_of, fit_atlas
from engine.training.stages.atlas.residual import fit_residual
from engine.training.stages.autoencoder import train_autoencoder
from engine.training.stages.correction import fit_correction
from engine.training.stages.flow import encode_cohort, train_flow
from engine.training.stages.flow_examples import Latents
from engine.training.stages.heart.calibration import fit_calibration
from engine.training.stages.heart.partial import check_patients, joined
from engine.training.stages.local.coarse import coarse_store, make_coarser
from engine.training.stages.local.detail import train_detail
from engine.training.stages.local.mask_detail import train_mask_detail
from engine.training.stages.local.painting import train_painting
from engine.training.stages.local.refiner import train_refiner
from engine.training.stages.local.spectrum import fit_spectrum
from engine.training.stages.local.texture import train_texture
from engine.training.stages.local.tissues import train_tissues
from engine.training.stages.mask import train_mask_autoencoder
from engine.training.world import ALONE, World
from engine.vocabulary.schema import Row

#: part of a limited training time that is kept for what is computed after the flow, and for reading drawn persons at the end
CORRECTION_SHARE = 0.05
#: and, where there are any, for the flow to learn patients in
PATIENTS_SHARE = 0.1


def train(
    recipe: Recipe,
    store: CohortStore | TableCohort,
    run_dir: Path,
    *,
    device: str = "cpu",
    minutes: float | None = None,
    source: str | Path | None = None,
    add_mask: bool = False,
    where: str = "",
    save_every: float = 120.0,
    world: World = ALONE,
    privacy: Privacy | None = None,
    patients: Path | None = None,
) -> Iterator[Progress]:
    """Train ``recipe`` on the training split of ``store``; yields progress and leaves ``run_dir/checkpoint``.

    A table without scans has no first stage. ``source``, a checkpoint of the same recipe by name or path, is where a warm
    start begins: its encoder, its columns' transforms, its standardisation and its linear Gaussian part are kept, so that
    its latents stay what they are; decoder, rows and flow learn on.

    A cohort with label maps, of all persons or of some, gives the model a mask where the recipe has one; a ``source`` that was
    trained without gets it by ``add_mask``: first the part of the network that takes it in learns, then all of it.

    ``where`` leaves persons out (:func:`engine.cohort.filter.narrowed`).

    The same call again resumes; a finished stage is not repeated. ``minutes`` limits this call, each stage to its share of it in the
    ``recipe``. Raises :class:`RunError` for a run directory of another recipe, store, source or ``where``, and for a
    source of another recipe, at the call and not at the first step.

    Under several ranks (``world``) autoencoder, rows and flow are trained by all of them, latents encoded a person by one; all else
    is done by rank 0, and the others then have the result.

    With ``privacy`` rows and flow learn by DP-SGD within its budget (:func:`engine.training.privacy.plan.planned`).

    With ``patients``, a folder of hearts of whom two phases were scanned, the flow then learns these beside the store's
    (:mod:`engine.training.stages.heart.partial`).
    """
    with world.together(prompt=True):
        if patients is not None:
            check_patients(patients)
        begun = None if source is None else load_checkpoint(source, device)
        if begun is not None:
            store = inherited(store, read_participants(begun.path))
        store, selection = narrowed(store, where)
        schema = fitted_schema(recipe, store)
        recipe = with_mask(recipe, store, begun, add_mask)
        if begun is not None:
            check_begun(begun, recipe)
        budget = planned(privacy, recipe, store, begun, world)
        wanted = claimed(recipe, store, begun, where, budget, patients)
    claim_together(run_dir, wanted, world)
    if begun is None:
        torch.manual_seed(recipe.seed)
        model = JointModel(recipe.model, schema).to(device)
    else:
        model = extended(begun.model, recipe.model, recipe.seed)
    stages = _Stages(
        recipe=recipe,
        store=store,
        model=model,
        begun=begun,
        run_dir=run_dir,
        seconds=None if minutes is None else minutes * 60,
        save_every=save_every,
        world=world,
        budget=budget,
        patients=patients,
        facts={"selection": selection.lines()} if where.strip() else {},
    )
    return stages.run()


class _Settings(TypedDict):
    """What every stage is called with."""

    run_dir: Path
    seed: int
    save_every: float


class _Shared(_Settings):
    """What a stage is called with that all ranks train."""

    world: World


class _Guarded(_Shared):
    """What a stage is called with that a privacy budget covers."""

    budget: Budget | None


@dataclass(frozen=True, kw_only=True)
class _Stages:
    """All stages of one call on the training split; ``seconds`` limits them together, each to its share in the recipe."""

    recipe: Recipe
    store: CohortStore | TableCohort
    model: JointModel
    begun: Checkpoint | None
    run_dir: Path
    seconds: float | None
    save_every: float
    world: World
    budget: Budget | None = None
    patients: Path | None = None
    began: float = field(default_factory=time.monotonic)
    #: what the card says of the stages
    facts: dict[str, Any] = field(default_factory=dict)
    #: of rows that were registered to the atlas, how they lie in it (3, x2, y2, z2), in voxels
    fields: dict[int, Tensor] = field(default_factory=dict)

    def run(self) -> Iterator[Progress]:
        """Every stage in order, then the checkpoint."""
        rows = self.store.split()["train"]
        people = [self.store.rows[i] for i in rows]
        device = self.model.centre.device.type
        self.facts.update(persons=len(rows), device=device)
        latents = Latents.of_rows(len(rows))
        if isinstance(self.store, CohortStore):
            latents = yield from self._image(self.store, rows)
        yield from self._rows(people)
        yield from self._flow(latents, people)
        if isinstance(self.store, CohortStore):
            yield from self._local(self.store, rows)
            yield from self._texture(self.store, rows)
            how = {"guidance": self.recipe.guidance, "deadline": self._until(1)}
            yield from self.world.led(fit_calibration(self.model, self.store, **how, **self._settings()))
            self.world.settle_buffers(self.model)
        if self.begun:
            steps = self.begun.config.provenance["flow_steps"]
            self.facts["from"] = f"{self.begun.config.name} {self.begun.digest}, after {steps} steps"
        if self.budget:
            taken = {name: self.facts[f"{name}_steps"] for name in self.budget.stages}
            how = {"scans": self.model.has_image, "begun": self.begun is not None}
            self.facts["privacy"] = privacy_facts(self.budget, taken, **how)
        yield from self.world.led(self._written(device))

    def _written(self, device: str) -> Iterator[Progress]:
        """The checkpoint and its fingerprint."""
        save_model(self.run_dir / "checkpoint", self.model, self.recipe, self.store, self.facts)
        if isinstance(self.store, CohortStore):
            yield Progress("fingerprint", 0, 1, 0.0, {})
            write_fingerprint(self.run_dir / "checkpoint", self.store, device)
            yield Progress("fingerprint", 1, 1, 0.0, {})

    def _image(self, store: CohortStore, rows: Int[np.ndarray, " n"]) -> Generator[Progress, None, Latents]:
        """The autoencoders of image and mask; returns the bare latents of the training persons."""
        recipe, model = self.recipe, self.model
        yield from self.world.led(make_coarser(store, rows, model.cascade, self.run_dir))
        store = coarse_store(store, model.cascade, self.run_dir)
        yield from train_autoencoder(
            model,
            store,
            rows,
            model.schema.encode(store.rows),
            recipe.autoencoder,
            deadline=self._until(recipe.autoencoder_share),
            decoder_only=self.begun is not None,
            **self._shared(),
        )
        if model.has_mask and not (self.begun and self.begun.model.has_mask):
            begins, limit = (self._until(recipe.autoencoder_share + part * recipe.mask_share) for part in (0.5, 1))
            coder, how = model.mask_autoencoder, recipe.mask_training
            yield from self.world.led(self._atlas(store, rows, begins))
            steps = train_mask_autoencoder(
                coder, store, rows, how, deadline=limit, fields=self.fields, **self._settings()
            )
            yield from self._led("mask_steps", how.steps, steps, coder)
            if isinstance(coder, AtlasAutoencoder):
                with self.world.together():
                    if self.world.leads:
                        cohort = Cohort.of(store, rows, coder.config, recipe.atlas)
                        fit_residual(coder, cohort, self.fields, recipe.atlas, below(self.run_dir))
                self.world.settle(coder)
        path = self.run_dir / "latents.safetensors"
        return (
            yield from encode_cohort(model, store, rows, recipe.flow, path=path, seed=recipe.seed, world=self.world)
        )

    def _atlas(self, store: CohortStore, rows: Int[np.ndarray, " n"], deadline: float | None) -> Iterator[Progress]:
        """The atlas, where masks are decoded to one, and how its persons lie in it."""
        coder, how = self.model.mask_autoencoder, self.recipe.atlas
        if isinstance(coder, AtlasAutoencoder):
            yield from fit_atlas(coder, store, rows, how, run_dir=self.run_dir, deadline=deadline)
            registered = Cohort.of(store, rows, coder.config, how).rows.tolist()
            self.fields.update(zip(registered, fields_of(self.run_dir), strict=True))

    def _rows(self, people: Sequence[Row]) -> Iterator[Progress]:
        """The network of rows, where the recipe has one."""
        recipe, net = self.recipe, self.model.rows
        if net is None or recipe.rows is None:
            return
        fresh = self.begun is None or self.begun.model.rows is None
        limit = self._until(recipe.autoencoder_share + self._mask_share + recipe.rows_share)
        steps = train_flow(
            net,
            Latents.of_rows(len(people)),
            people,
            recipe.rows,
            deadline=limit,
            fit=fresh,
            name="rows",
            **self._guarded(),
        )
        yield from self._counted("rows_steps", recipe.rows.steps, steps)

    @property
    def _mask_share(self) -> float:
        return self.recipe.mask_share if self.model.has_mask else 0.0

    def _flow(self, latents: Latents, people: Sequence[Row]) -> Iterator[Progress]:
        """The joint flow, and what its mean images lack; where a mask is new to it, first what takes the mask in."""
        recipe, model = self.recipe, self.model
        fits_mask = self.begun is None or not self.begun.model.has_mask
        if self.begun is not None and model.has_mask and fits_mask:
            limit = self._until(0.5 * self._flow_ends)
            how = replace(recipe.flow, steps=recipe.flow.steps // 2)
            steps = train_flow(
                model,
                latents,
                people,
                how,
                deadline=limit,
                fit=False,
                only_mask=True,
                name="adapter",
                **self._guarded(),
            )
            yield from self._counted("adapter_steps", how.steps, steps)
        store, samples = self.store, None
        if isinstance(store, CohortStore):
            where = {"run_dir": self.run_dir, "affine": store.affine, "channels": store.channels}
            samples = Samples(**where, guidance=recipe.guidance)
        steps = train_flow(
            model,
            latents,
            people,
            recipe.flow,
            deadline=self._until(self._flow_ends - CORRECTION_SHARE - (PATIENTS_SHARE if self.patients else 0)),
            samples=samples,
            fit=self.begun is None,
            fit_mask=fits_mask,
            **self._guarded(),
        )
        yield from self._counted("flow_steps", recipe.flow.steps, steps)
        if self.patients is not None and isinstance(store, CohortStore):
            yield from self._patients(store, latents, people, self.patients)
        if model.has_image:
            until = self._until(self._flow_ends)
            steps = fit_correction(model, latents.image, people, seed=recipe.seed, deadline=until)
            yield from self.world.led(steps)
            self.world.settle_buffers(model)

    def _patients(
        self, store: CohortStore, latents: Latents, people: Sequence[Row], folder: Path
    ) -> Iterator[Progress]:
        """The flow learns patients of whom two phases were scanned, beside all others; the closed-form parts stay."""
        rows, recipe = store.split()["train"], self.recipe
        both, more = yield from joined(self.model, store, rows, latents, folder)
        self.facts["patients"] = len(more)
        how = replace(recipe.flow, steps=recipe.patient_steps, rate=recipe.flow.rate / 2, warmup=50)
        until = self._until(self._flow_ends - CORRECTION_SHARE)
        everybody = [*people, *more]
        steps = train_flow(
            self.model, both, everybody, how, deadline=until, fit=False, name="patients", **self._guarded()
        )
        yield from self._counted("patient_steps", how.steps, steps)

    @property
    def _flow_ends(self) -> float:
        """The share of the time after which the stages follow that leave the flow as it is."""
        recipe = self.recipe
        after = recipe.texture_share if recipe.texture else CORRECTION_SHARE * bool(recipe.model.calibrated)
        if self.model.config.detail:
            after += recipe.detail_share + recipe.refiner_share + self.model.draws_masks * recipe.mask_detail_share
        return 1 - after

    def _local(self, store: CohortStore, rows: Int[np.ndarray, " n"]) -> Iterator[Progress]:
        """The local networks, where the model has them: of masks whose scan is known, and of scans."""
        recipe, model = self.recipe, self.model
        if model.config.detail is None:
            return
        ends = self._flow_ends + recipe.refiner_share
        until, detail = self._until(ends), recipe.detail_training
        if model.has_mask:
            steps = train_refiner(model, store, rows, recipe.refiner, deadline=until, **self._settings())
            yield from self._led("refiner_steps", recipe.refiner.steps, steps, model.refiner)
        if model.tells_tissues:
            steps = train_tissues(model, store, rows, recipe.refiner, detail, deadline=until, **self._settings())
            yield from self._led("tissue_steps", recipe.refiner.steps, steps, model.tissues)
        if model.draws_masks:
            ends, masks = ends + recipe.mask_detail_share, recipe.mask_detail
            steps = train_mask_detail(model, store, rows, masks, deadline=self._until(ends), **self._settings())
            yield from self._led("mask_detail_steps", masks.steps, steps, model.mask_detail)
        until = self._until(ends + recipe.detail_share)
        steps = train_detail(model, store, rows, detail, deadline=until, fields=self.fields, **self._settings())
        yield from self._led("detail_steps", detail.steps, steps, model.detail)
        with self.world.together():
            if self.world.leads:
                fit_spectrum(model, store, rows, guidance=recipe.guidance, seed=recipe.seed)
        self.world.settle(model.detail)

    def _texture(self, store: CohortStore, rows: Int[np.ndarray, " n"]) -> Iterator[Progress]:
        """The texture of scans, where the recipe has this stage: the detail's, or the decoder's where there is no detail."""
        recipe, model, how, until = self.recipe, self.model, self.recipe.texture, self._until(1)
        if how is None:
            return
        if model.config.detail:
            masks = recipe.detail_training
            steps = train_painting(model, store, rows, how, masks, deadline=until, **self._settings())
        else:
            table, coarse = model.schema.encode(store.rows), coarse_store(store, model.cascade, self.run_dir)
            steps = train_texture(model, coarse, rows, table, how, deadline=until, **self._settings())
        yield from self._led("texture_steps", how.steps, steps, model)

    def _settings(self) -> _Settings:
        return {"run_dir": self.run_dir, "seed": self.recipe.seed, "save_every": self.save_every}

    def _shared(self) -> _Shared:
        return {**self._settings(), "world": self.world}

    def _guarded(self) -> _Guarded:
        return {**self._shared(), "budget": self.budget}

    def _led(self, fact: str, steps: int, stage: Iterator[Progress], learned: nn.Module) -> Iterator[Progress]:
        """:meth:`_counted` of a stage that rank 0 trains and whose module all then have."""
        yield from self._counted(fact, steps, self.world.led(stage))
        self.world.settle(learned)

    def _until(self, share: float) -> float | None:
        """When a stage has to end that may take the time up to this share of the limit."""
        return None if self.seconds is None else self.began + share * self.seconds

    def _counted(self, fact: str, steps: int, stage: Iterator[Progress]) -> Iterator[Progress]:
        """The progress of a stage, its last step noted; one that had ended before has all of its ``steps``."""
        self.facts[fact] = steps
        for progress in stage:
            yield progress
            self.facts[fact] = progress.step
