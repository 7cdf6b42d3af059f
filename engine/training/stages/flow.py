"""Second stage: the rectified flow on the joint latent, with the autoencoder and the fusion frozen."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from engine.cohort.store import CohortStore
from engine.model.config import MaskConfig
from engine.model.flow import Joint, Levels, NoiseMixture, flow_loss, interpolate
from engine.model.joint import JointModel
from engine.model.nn.large import encoded, encoded_mask
from engine.training.augment import Augmentation, Variation, varied
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import (
    Progress,
    Stage,
    bfloat16_is_fast,
    compiled,
    learning_rate,
    load_tensors,
    save_tensors,
    step_generator,
)
from engine.training.samples import Samples
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.mask import class_of_code, load_masks, mirrored_classes
from engine.training.world import ALONE, Shard, World

#: the columns' state (n, k, d), which cells are known (n, k), and versions of the state (v, n, k, d)
Tables = tuple[Float[Tensor, "n k d"], Bool[Tensor, "n k"], Float[Tensor, "v n k d"]]


class Latents(NamedTuple):
    """Bare latents of persons in deformed copies, of image (n, copies, tokens, latent) and mask (n, copies, tokens, m), and
    who has a mask (n,)."""

    image: Tensor
    mask: Tensor
    has_mask: Tensor

    @classmethod
    def of_scans(cls, image: Float[Tensor, "n copies tokens latent"]) -> Latents:
        """Of persons without masks."""
        return cls(image, image.new_zeros(*image.shape[:3], 0), torch.zeros(len(image), dtype=torch.bool))

    @classmethod
    def of_rows(cls, persons: int) -> Latents:
        """Of persons with neither scan nor mask."""
        return cls.of_scans(torch.zeros(persons, 1, 0, 1))


@dataclass(frozen=True, kw_only=True)
class FlowTraining:
    """How the flow is trained. ``copies`` deformed versions of every person are encoded once and kept; ``whitening``
    is the exponent of :meth:`JointModel.fit_standardisation`; ``table_weight`` and ``mask_weight`` balance columns and mask
    against the image.
    A value that owns an interval of scores stands at its middle where it is given, and where it is to be made anywhere in
    it, as in ``table_versions`` drawn beforehand. With ``fsdp`` several ranks keep a part each of the network and of what the
    optimizer knows of it (FSDP2), where they would else keep all of it each."""

    steps: int = 20000
    batch: int = 16
    rate: float = 1e-3
    warmup: int = 200
    constant: int = 2000
    copies: int = 8
    whitening: float = 0.0
    table_weight: float = 0.3
    mask_weight: float = 0.5
    table_versions: int = 16
    bfloat16: bool = True
    fsdp: bool = False
    mixture: NoiseMixture = field(default_factory=NoiseMixture)
    augmentation: Augmentation = field(default_factory=Augmentation)

    def learning_rate(self, step: int) -> float:
        return learning_rate(step, self.rate, self.warmup, self.constant)


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
) -> Iterator[Progress]:
    """Train on bare latents and the ``rows`` of the same persons until ``config.steps`` or the ``deadline``.

    Resumes from the stage ``name`` in ``run_dir``; ends with the averaged weights in ``model``. Losses are mean squared
    velocity errors. ``samples`` are drawn on the way and at the end, and change nothing. Without ``fit`` the model keeps the
    standardisation and the linear Gaussian part it has, which its network was trained beside; so without ``fit_mask`` the
    mask's. With ``only_mask`` just the part of the network that takes the mask in learns.
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
    stage = Stage(name, run_dir, learning, world=world)
    stage.load()
    tables = _tables(model, rows, config.table_versions, seed, device)
    with world.together():
        if world.leads:
            _fit(model, latents, tables, config, fit=fit, fit_mask=fit_mask)
    world.settle_buffers(model)

    compiled(model.velocity_net.blocks, device)
    samples = samples if world.leads else None
    if samples:
        samples.begin(stage.step, stage.seconds)

    def observe(stage: Stage, left: float, last: bool) -> None:
        if samples and (last or samples.due(stage.seconds)):
            samples.draw(model, stage.ema, stage.step, stage.seconds, left)

    on_device = Latents(*(part.to(device) for part in latents))
    objective = _velocity_error(model, on_device, tables, config, seed + 7, world.shard(config.batch))
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
        (clean, noise, levels, here, has_mask), weights = _examples(model, latents, tables, config, seed, step, shard)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            predicted = model.velocity(interpolate(clean, noise, levels), levels)
        found = flow_loss(predicted, clean, noise, levels, here, every[shard.rows], model.codes, has_mask)
        error = Joint(*(weight * part for weight, part in zip(weights, found, strict=True)))
        total, parts = error.image + config.table_weight * error.table, {"table": error.table}
        if model.has_image:
            parts = {"image": error.image, **parts}
        if model.has_mask:
            total, parts = total + config.mask_weight * error.mask, {**parts, "mask": error.mask}
        return Loss(total, parts)

    return loss


class Examples(NamedTuple):
    """Clean states of examples, their noise, their levels, which cells are known (b, k), and who has a mask (b,)."""

    clean: Joint
    noise: Joint
    levels: Levels
    here: Tensor
    has_mask: Tensor


def _weights(
    levels: Levels,
    here: Bool[Tensor, "b k"],
    has_mask: Bool[Tensor, " b"],
    codes: Bool[Tensor, "k d"],
    shard: Shard,
) -> Joint:
    """What makes a shard's means (:func:`flow_loss`) their part of the means over what all examples have to be made."""
    image, mask = levels.image > 0, has_mask & (levels.mask > 0)
    cells = here & (levels.table > 0)
    table = (cells[..., None] & codes).sum((1, 2))
    return Joint(*(shard.part(made[shard.rows].sum(), made.sum()) for made in (image, table, mask)))


@torch.no_grad()
def _examples(
    model: JointModel,
    latents: Latents,
    tables: Tables,
    config: FlowTraining,
    seed: int,
    step: int,
    shard: Shard,
) -> tuple[Examples, Joint]:
    """The shard of a step's examples, drawn among all of them, and the weights of its errors."""
    (state, known, spread), device, mine = tables, model.centre.device, shard.rows
    generator = step_generator(seed, step)
    pick = torch.randint(len(latents.image), (config.batch,), generator=generator)
    copy = torch.randint(latents.image.shape[1], (config.batch,), generator=generator)
    levels = config.mixture.draw(
        config.batch, known.shape[1], generator, model.config.shift, masks=bool(latents.has_mask.any())
    )
    drawn = generator if device.type == "cpu" else step_generator(seed, step, device)

    def normal(part: Tensor) -> Tensor:
        """Noise of the whole batch, as many numbers as ``part``, this rank's examples, has each; the shard of it."""
        return torch.randn((config.batch, *part.shape[1:]), generator=drawn, device=device)[mine]

    index = pick.to(device)
    here, has_mask = known[index], latents.has_mask[index]
    levels = Levels(
        levels.image.to(device),
        torch.where(here, levels.table.to(device), 1.0),
        torch.where(has_mask, levels.mask.to(device), 1.0),
    )
    weights = _weights(levels, here, has_mask, model.codes, shard)
    levels, here, has_mask = Levels(*(part[mine] for part in levels)), here[mine], has_mask[mine]
    index = index[mine]
    bare, mask = (part[index, copy[mine].to(device)].float() for part in latents[:2])
    given = here & (levels.table == 0)
    jitter = normal(bare)
    if model.has_image:
        bare = bare + torch.exp(0.5 * model.autoencoder.logvar) * jitter
    version = torch.randint(len(spread), (config.batch,), generator=generator)[mine].to(device)
    table = torch.where(given[..., None], state[index], spread[version, index])
    if model.has_mask:
        mask = model.standardise_mask(mask + torch.exp(0.5 * model.mask_autoencoder.logvar) * normal(mask))
    clean = Joint(model.standardise(model.fuse(bare, table, given)), table, mask)
    noise = Joint(*(normal(part) for part in clean))
    return Examples(clean, noise, levels, here, has_mask), weights


def _tables(
    model: JointModel, rows: Sequence[Mapping[str, Any]], versions: int, seed: int, device: torch.device
) -> Tables:
    """The columns' state, which cells are known, and versions of the state (:meth:`AttributeSchema.encode`)."""
    state, known = model.schema.encode(rows)
    spread = [model.schema.encode(rows, np.random.default_rng([seed, v]))[0] for v in range(versions)]
    return (
        torch.from_numpy(state).to(device),
        torch.from_numpy(known).to(device),
        torch.from_numpy(np.stack(spread)).to(device),
    )
