"""First stage: the image autoencoder and the fusion of given columns into its latent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import patch_components
from engine.training.augment import Augmentation, Variation, varied
from engine.training.ema import PowerEMA
from engine.training.loop import Limits, Loss, Objective, ReadAhead, optimise
from engine.training.run import Progress, Schedule, Stage, bfloat16_is_fast, compiled, some_of, step_generator
from engine.training.world import ALONE, Shard, World

#: state (m, k, d) and known cells (m, k) of every row of a store
Table = tuple[Float[np.ndarray, "m k d"], Bool[np.ndarray, "m k"]]
#: persons whose mean is the template, and voxels of them that are held in memory at once to find components
FIRST, HELD = 128, 2**27


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining(Schedule):
    """How the autoencoder is trained. ``noise`` is the assumed SD of a voxel: with it the loss is the evidence bound;
    ``beta`` weighs its divergence term, ``edges`` the error of voxel differences, ``inside`` the extra weight inside
    the mask, ``moving`` that of what changes over a cycle (:func:`movement`).
    ``bfloat16`` is used where the device has it; off for grids under 48 voxels a side, whose 2 x 2 x 2 maps get
    wrong bfloat16 convolution gradients on CPUs (torch 2.15)."""

    batch: int = 2
    rate: float = 5e-4
    warmup: int = 100
    noise: float = 0.05
    beta: float = 0.3
    edges: float = 0.5
    inside: float = 1.0
    moving: float = 0.0
    bfloat16: bool = True
    augmentation: Augmentation = field(default_factory=Augmentation)


def load_batch(store: CohortStore, rows: Int[np.ndarray, " b"], device: torch.device) -> Float[Tensor, "b c x y z"]:
    """Volumes in 0..1, and the mask as the last channel."""
    return scaled(_read(store, rows), device)


def _read(store: CohortStore, rows: Int[np.ndarray, " b"]) -> tuple[np.ndarray, np.ndarray]:
    return np.array(store.volumes[rows]), np.array(store.mask[rows])


def scaled(read: tuple[np.ndarray, np.ndarray], device: torch.device) -> Float[Tensor, "b c x y z"]:
    """Volumes and masks as they are stored, to volumes in 0..1 and the mask as the last channel."""
    volumes, mask = (torch.from_numpy(part).to(device).float() for part in read)
    return torch.cat([volumes / 255, mask[:, None]], 1)


def initialise(model: JointModel, store: CohortStore, rows: Int[np.ndarray, " n"], *, mirrored: bool) -> None:
    """Template and linear maps from :data:`FIRST` training rows: mean, and components divided by sqrt of their SD, times it to decode.
    Components are those of as many rows as :data:`HELD` voxels allow."""
    coder, device = model.autoencoder, model.centre.device
    rows = some_of(rows, FIRST)

    def scan(k: int) -> Float[Tensor, "c x y z"]:
        return load_batch(store, rows[k : k + 1], device)[0, :-1]

    mean = sum((scan(k) for k in range(len(rows))), torch.zeros(())) / len(rows)
    # where half of the training volumes are mirrored, a template that is its own mirror image
    coder.template.copy_((mean + mean.flip(1)) / 2 if mirrored else mean)
    step = -(-len(rows) * coder.template.numel() // HELD)
    volumes = torch.stack([scan(k) - coder.template for k in range(0, len(rows), step)])
    components, _ = patch_components(volumes, min(coder.config.latent, len(rows) * 8), coder.config.patch)
    kernels = components.reshape(len(components), -1, *coder.config.patch)
    scores = torch.stack([nn.functional.conv3d(v[None], kernels, stride=coder.config.patch) for v in volumes])
    spread = scores.square().mean((0, 1, 3, 4, 5)).sqrt().clamp(min=1e-3)
    with torch.no_grad():
        coder.linear.weight.zero_()
        scale = spread.sqrt().reshape(-1, 1, 1, 1, 1)
        coder.linear.weight[: len(components)] = kernels / scale
        if coder.back is not None:
            coder.back.weight.zero_()
            coder.back.weight[: len(components)] = kernels * scale


def reconstruction_loss(
    output: Float[Tensor, "b c x y z"],
    target: Float[Tensor, "b c x y z"],
    weight: Float[Tensor, "b 1 x y z"],
    edges: float,
) -> Float[Tensor, ""]:
    """Weighted mean squared error of voxels, plus ``edges`` times that of their differences along each axis."""
    error = output.float() - target
    loss = (error.square() * weight).mean()
    for axis in (2, 3, 4):
        loss = (
            loss + edges / 3 * (error.diff(dim=axis).square() * weight.narrow(axis, 1, weight.shape[axis] - 1)).mean()
        )
    return loss


def movement(volumes: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b 1 x y z"]:
    """How much each voxel of a cine changes over its phases: its SD over the mean SD, so 1 on average; 0 of what is still."""
    spread = volumes.std(1, correction=0, keepdim=True)
    return spread / spread.mean((1, 2, 3, 4), keepdim=True).clamp(min=1e-6)


def train_autoencoder(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    table: Table,
    config: AutoencoderTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
    decoder_only: bool = False,
    world: World = ALONE,
) -> Iterator[Progress]:
    """Train on the store's ``rows`` until ``config.steps`` or the ``deadline`` (``time.monotonic``), yielding progress.

    Resumes from ``run_dir``; ends with the averaged weights in ``model``. ``table`` holds the state and the known cells of
    every row of the store. With ``decoder_only`` a trained model's latents stay what they are, and so does what a flow has
    learned of them.
    """
    device = model.centre.device
    coder = model.autoencoder
    modules = nn.ModuleList([coder] if model.fusion is None else [coder, model.fusion]).requires_grad_(True)
    if decoder_only:
        for part in (coder.linear, coder.encoder, coder.logvar, model.fusion):
            if part is not None:
                part.requires_grad_(False)

    stage = Stage("autoencoder", run_dir, modules, world=world)
    extra = stage.load()
    if extra:
        coder.template.copy_(extra["template"])
    elif not decoder_only:
        if world.leads:
            initialise(model, store, rows, mirrored=config.augmentation.mirror > 0)
        world.settle(coder)
        stage.ema = PowerEMA(modules)
    stage.extra = {"template": coder.template}

    lay_out(coder, torch.channels_last_3d)
    compiled((coder.encoder, coder.decoder), device)
    # the latents of everything that follows are this stage's, so once ended it stays as it is
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every, closes=True)
    with batches(store, rows, config.batch, seed, world.shard(config.batch)) as read:
        objective = _evidence_bound(model, store, rows, table, config, read, seed)
        yield from optimise(stage, objective, config.learning_rate, limits)
    lay_out(coder, torch.contiguous_format)


def _evidence_bound(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    table: Table,
    config: AutoencoderTraining,
    read: ReadAhead[Batch],
    seed: int,
) -> Objective:
    """Minus the evidence lower bound of volumes (Kingma and Welling, arXiv 1312.6114, equation 3), the divergence weighed."""
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    state, known = (torch.from_numpy(part).to(device) for part in table)

    def loss(step: int) -> Loss:
        batch = read(step)
        scans, shard = scaled(batch.scans, device), batch.shard
        how = Variation.draw(config.augmentation, len(batch.pick), batch.generator).of(shard.rows)
        seen = varied(scans, how, len(store.channels), config.augmentation.moves, store.spacing)
        volumes, mask = seen[:, :-1], seen[:, -1:]
        index = torch.from_numpy(rows[batch.pick]).to(device)
        cells = state[index], known[index]
        means, tokens = encoded(model, volumes, cells, batch.generator, (seed, step), fast, shard)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            output = model.autoencoder.decode(tokens)
        weight = 1 + config.inside * mask
        if config.moving:
            weight = weight + config.moving * movement(volumes)
        error = reconstruction_loss(output, volumes, weight, config.edges)
        divergence = model.autoencoder.kl(means.float()) / volumes[0].numel()
        total = error / (2 * config.noise**2) + config.beta * divergence
        parts = {"reconstruction": error, "divergence": divergence}
        return Loss(shard.weight * total, {name: shard.weight * part for name, part in parts.items()})

    return loss


def encoded(
    model: JointModel,
    volumes: Float[Tensor, "b c x y z"],
    table: tuple[Float[Tensor, "batch k d"], Bool[Tensor, "batch k"]],
    generator: torch.Generator,
    seeded: tuple[int, int],
    fast: bool,
    shard: Shard | None = None,
) -> tuple[Float[Tensor, "b n latent"], Float[Tensor, "b n latent"]]:
    """Bare means of volumes, and tokens drawn about them with a random part of the known columns fused in.

    ``table``: state and known cells of the whole batch, of which the volumes are the ``shard`` (None: all); ``seeded``: the seed
    and step of noise that is drawn on another device than the CPU.
    """
    state, known = table
    device, batch = volumes.device, len(known)
    mine = slice(None) if shard is None else shard.rows
    share = torch.rand(batch, 1, generator=generator)
    given = known & (torch.rand(batch, known.shape[1], generator=generator) < share).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        means = model.autoencoder.encode(volumes)
    fused = model.fuse(means.float(), state[mine], given[mine])
    drawn = generator if device.type == "cpu" else step_generator(*seeded, device)
    noise = torch.randn((batch, *fused.shape[1:]), generator=drawn, device=device)[mine]
    return means, model.autoencoder.posterior(fused, noise)


def lay_out(module: nn.Module, form: torch.memory_format) -> None:
    """Channels last take a seventh off a training step on a CPU; but then a person depends on how many are drawn at once."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            layer.to(memory_format=form)


class Batch(NamedTuple):
    """A step's persons (b,), places in the rows that are trained on; its randomness; scans and masks as stored of the ``shard`` of
    them that is this rank's."""

    pick: Int[np.ndarray, " b"]
    generator: torch.Generator
    scans: tuple[np.ndarray, np.ndarray]
    shard: Shard


def batches(
    store: CohortStore, rows: Int[np.ndarray, " n"], batch: int, seed: int, shard: Shard | None = None
) -> ReadAhead[Batch]:
    """The batch of every step, read while the step before is computed; without a ``shard`` all of it."""
    mine = shard or ALONE.shard(batch)

    def prepare(step: int) -> Batch:
        generator = step_generator(seed, step)
        pick = torch.randint(len(rows), (batch,), generator=generator).numpy()
        return Batch(pick, generator, _read(store, rows[pick[mine.rows]]), mine)

    return ReadAhead(prepare)
