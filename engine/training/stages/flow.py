"""Second stage: the rectified flow on the joint latent, with the autoencoder and the fusion frozen."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn
from torch.utils._pytree import tree_map

from engine.cohort.store import CohortStore
from engine.model.config import MaskConfig
from engine.model.flow import Joint, flow_loss, interpolate
from engine.model.joint import JointModel
from engine.model.nn.large import encoded, encoded_mask
from engine.model.nn.transformer import EXPLICIT
from engine.training.augment import Variation, varied
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.privacy.budget import Budget
from engine.training.privacy.gradients import PrivateGradients, Secret
from engine.training.run import (
    ADAMW,
    OptimizerConfig,
    Progress,
    Stage,
    bfloat16_is_fast,
    compiled,
    load_tensors,
    save_tensors,
    step_generator,
)
from engine.training.samples import Samples
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.flow_examples import Examples, FlowTraining, Latents, Tables, examples_of, tables_of
from engine.training.stages.mask import class_of_code, load_masks, mirrored_classes
from engine.training.world import ALONE, Shard, World

#: noised gradients are small and not cut again
NOISED = OptimizerConfig(clip=None)


@torch.no_grad()
def encode_cohort(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: FlowTraining,
    *,
    path: Path,
    seed: int,
    world: World = ALONE,
) -> Generator[Progress, None, Latents]:
    """Bare latents of every row, the first copy undeformed; yields progress and returns the latents.

    Bare: no column enters here, so the cache leaks nothing. Kept in ``path`` for the next resume. Each rank encodes its own
    persons, and then has all.
    """
    with world.together():
        if world.any(path.exists())[0]:
            kept = load_tensors(path)[0]
            return Latents(kept["latents"], kept["masks"], kept["has_mask"])
    tokens, image = model.config.image.tokens, model.config.image.latent
    coded = torch.zeros(len(world.own(len(rows))), config.copies, tokens, image, dtype=torch.half)
    masks = coded.new_zeros(*coded.shape[:3], model.mask_latent)
    with world.together():
        began = time.monotonic()
        for done, place in enumerate(world.own(len(rows))):
            row = int(rows[place])
            for copy in range(config.copies):
                generator = step_generator(seed + 1 + row, copy) if copy else None
                coded[done, copy], masks[done, copy] = _encoded(model, store, row, config, generator)
            reached = min(len(rows), (done + 1) * world.size)
            yield Progress("latents", reached, len(rows), time.monotonic() - began, {})
    has_mask = torch.from_numpy(store.labelled[rows]) & model.has_mask
    latents = Latents(world.rows(coded, len(rows)), world.rows(masks, len(rows)), has_mask)
    with world.together():
        if world.leads:
            save_tensors(path, {"latents": latents.image, "masks": latents.mask, "has_mask": latents.has_mask}, {})
    return latents


def _encoded(
    model: JointModel, store: CohortStore, row: int, config: FlowTraining, generator: torch.Generator | None
) -> tuple[Float[Tensor, "n c"], Float[Tensor, "n m"]]:
    """Latents of a person's image and mask (0 where there is none), varied alike with a ``generator``."""
    device, rows = model.centre.device, np.array([row])
    fast = config.bfloat16 and bfloat16_is_fast(device)
    how = None if generator is None else Variation.draw(config.augmentation, 1, generator)
    image = load_batch(store, rows, device)[:, :-1]
    mask = torch.zeros(model.config.image.tokens, model.mask_latent)
    if how:
        image = varied(image, how, image.shape[1], config.augmentation.moves, store.spacing)
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        if model.config.mask and store.labelled[row]:
            labels = load_masks(store, rows, class_of_code(model.config.mask)).to(device)
            labels = labels if how is None else _varied_labels(labels, model.config.mask, how, config, store.spacing)
            mask = encoded_mask(model.mask_autoencoder, labels)[0]
        return encoded(model.autoencoder, image)[0].half().cpu(), mask.half().cpu()


def _varied_labels(
    labels: UInt8[Tensor, "1 x y z"],
    mask: MaskConfig,
    how: Variation,
    config: FlowTraining,
    spacing: tuple[float, float, float],
) -> UInt8[Tensor, "1 x y z"]:
    """A segmentation varied as its image is; in a mirror, left and right change places."""
    shares = nn.functional.one_hot(labels.long(), len(mask.classes)).movedim(-1, 1).float()
    moved = varied(shares, how, 0, config.augmentation.moves, spacing).argmax(1).to(torch.uint8)
    other = torch.from_numpy(mirrored_classes(mask)).to(labels.device)
    return torch.where(how.mirrored.to(labels.device)[:, None, None, None], other[moved.long()], moved)


def train_flow(
    model: JointModel,
    latents: Latents,
    rows: Sequence[Mapping[str, Any]],
    config: FlowTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
    samples: Samples | None = None,
    fit: bool = True,
    fit_mask: bool = True,
    only_mask: bool = False,
    name: str = "flow",
    world: World = ALONE,
    budget: Budget | None = None,
) -> Iterator[Progress]:
    """Train on bare latents and the ``rows`` of the same persons until ``config.steps`` or the ``deadline``.

    Resumes from the stage ``name`` in ``run_dir``; ends with the averaged weights in ``model``. Losses are mean squared
    velocity errors. ``samples`` are drawn on the way and at the end, and change nothing. Without ``fit`` the model keeps the
    standardisation and the linear Gaussian part it has, which its network was trained beside; so without ``fit_mask`` the
    mask's. With ``only_mask`` just the part of the network that takes the mask in learns. Within a ``budget`` the network learns by
    DP-SGD (:mod:`engine.training.privacy`), and the closed-form parts are fitted as always.
    """
    device = model.centre.device
    net = model.velocity_net
    learning = net.mask_tokens if only_mask and net.mask_tokens else net
    spread = config.fsdp and world.size > 1 and not only_mask
    whole = deepcopy(net) if spread else net
    net.requires_grad_(False)
    learning.requires_grad_(True)
    if spread:
        world.spread(net, net.blocks)
        samples = None  # one rank has too little of the network to draw by
    stage = Stage(name, run_dir, learning, NOISED if budget else ADAMW, world=world)
    stage.load()
    tables = tables_of(model, rows, config.table_versions, seed, device)
    with world.together():
        if world.leads:
            _fit(model, latents, tables, config, fit=fit, fit_mask=fit_mask)
    world.settle_buffers(model)

    if budget is None:
        compiled(model.velocity_net.blocks, device)
    samples = samples if world.leads else None
    if samples:
        samples.begin(stage.step, stage.seconds)

    def observe(stage: Stage, left: float, last: bool) -> None:
        if samples and (last or samples.due(stage.seconds)):
            samples.draw(model, stage.ema, stage.step, stage.seconds, left)

    on_device = Latents(*(part.to(device) for part in latents))
    if budget is None:
        objective = _velocity_error(model, on_device, tables, config, seed + 7, world.shard(config.batch))
    else:
        error = PersonError(model, config)
        many = model.config.image.tokens + len(model.codes) > EXPLICIT
        private = PrivateGradients(stage, error, budget, Secret.of(run_dir, name), alone=many)
        objective = _private_error(model, on_device, tables, config, seed + 7, private)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every, report_every=50)
    yield from optimise(stage, objective, config.learning_rate, limits, observe=observe)
    if spread:
        model.velocity_net = world.collected(net, whole)


@torch.no_grad()
def _fit(
    model: JointModel, latents: Latents, tables: Tables, config: FlowTraining, *, fit: bool, fit_mask: bool
) -> None:
    """The closed-form parts, of all persons: standardisation and linear Gaussian part, and those of the mask."""
    device = model.centre.device
    if fit and model.has_image:
        model.fit_standardisation(latents.image.flatten(0, 1).float().to(device), config.whitening)
    if fit:
        model.fit_prior(torch.stack([model.standardise(v.float().to(device)) for v in latents.image]), *tables[:2])
    if fit_mask and bool(latents.has_mask.any()):
        image, mask = (part[latents.has_mask, 0].float().to(device) for part in latents[:2])
        model.fit_mask(mask, model.standardise(image), config.whitening)


def _velocity_error(
    model: JointModel,
    latents: Latents,
    tables: Tables,
    config: FlowTraining,
    seed: int,
    shard: Shard,
) -> Objective:
    """Mean squared velocity errors of image, columns and mask (Liu et al., arXiv 2209.03003, equation 1), of a shard of each
    step's examples and weighed to be its part of the errors of all."""
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    every = torch.ones(config.batch, dtype=torch.bool, device=device)

    def loss(step: int) -> Loss:
        (clean, noise, levels, here, has_mask), weights = examples_of(model, latents, tables, config, seed, step, shard)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            predicted = model.velocity(interpolate(clean, noise, levels), levels)
        found = flow_loss(predicted, clean, noise, levels, here, every[shard.rows], model.codes, has_mask)
        return _weighed(model, Joint(*(weight * part for weight, part in zip(weights, found, strict=True))), config)

    return loss


def _weighed(model: JointModel, error: Joint, config: FlowTraining) -> Loss:
    """The errors of all parts that a model has as one."""
    total, parts = error.image + config.table_weight * error.table, {"table": error.table}
    if model.has_image:
        parts = {"image": error.image, **parts}
    if model.has_mask:
        total, parts = total + config.mask_weight * error.mask, {**parts, "mask": error.mask}
    return Loss(total, parts)


class PersonError(nn.Module):
    """The velocity error of one person's example: means are over the person's own cells, so that no other has a part in it."""

    def __init__(self, model: JointModel, config: FlowTraining) -> None:
        super().__init__()
        self.model, self.config = model, config
        self.fast = config.bfloat16 and bfloat16_is_fast(model.centre.device)

    def forward(self, example: Examples) -> tuple[Float[Tensor, ""], dict[str, Tensor]]:
        """The error of an ``example`` without a first axis of examples, and its parts."""
        clean, noise, levels, here, has_mask = tree_map(lambda part: part[None], example)
        with torch.autocast(here.device.type, torch.bfloat16, enabled=self.fast):
            predicted = self.model.velocity(interpolate(clean, noise, levels), levels)
        image = torch.ones_like(here[:, 0])
        found = flow_loss(predicted, clean, noise, levels, here, image, self.model.codes, has_mask)
        total, parts = _weighed(self.model, found, self.config)
        assert total is not None
        return total, dict(parts)


def _private_error(
    model: JointModel,
    latents: Latents,
    tables: Tables,
    config: FlowTraining,
    seed: int,
    private: PrivateGradients,
) -> Objective:
    """As :func:`_velocity_error` by DP-SGD: an example of each person of a lot, the gradient left in the parameters."""

    def loss(step: int) -> Loss:
        lot = private.lot(step)
        pick = lot if len(lot) else torch.zeros(1, dtype=torch.long)
        whole = Shard.of(len(pick), 0, 1)
        examples = examples_of(model, latents, tables, config, seed, step, whole, pick)[0]
        return Loss(None, private(step, tree_map(lambda part: part[: len(lot)], examples)))

    return loss
