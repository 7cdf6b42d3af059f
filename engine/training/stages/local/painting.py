"""Last stage of a model with detail: its one evaluation learns from a critic what scans look like; all else stays as it is.

The detail's posterior mean is smooth where scan and mask do not tell. Here the network is trained on beside a critic that tells
crops of real scans from those it painted, each beside its mask (arXiv 1611.07004: the critic sees the condition; losses as in
:mod:`engine.training.stages.local.texture`). The noise that it starts from becomes what differs between two paintings.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor, nn

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.detail import EMBEDDING, Detail
from engine.training.loop import Limits, Loss, Objective, ReadAhead, optimise
from engine.training.run import OptimizerConfig, Progress, Stage, bfloat16_is_fast, compiled, step_generator
from engine.training.stages.autoencoder import lay_out, reconstruction_loss
from engine.training.stages.local.crops import CropConfig, Crops, Read, cut
from engine.training.stages.local.detail import Decoded, DetailTraining, decoded, shown
from engine.training.stages.local.texture import LEFT, TextureTraining, judgement, made_critic, ratio

if TYPE_CHECKING:
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator


def train_painting(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: TextureTraining,
    masks: DetailTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train ``model.detail`` on the store's ``rows`` until ``config.steps`` or the ``deadline``, yielding progress; persons are
    seen as the detail saw them (``masks``). Resumes from ``run_dir``; ends with the averaged weights in ``model``."""
    model.requires_grad_(False)
    net = model.detail
    critic = made_critic(config.width, len(store.channels) + EMBEDDING, seed).to(model.centre.device)
    # the classes' numbers are what the critic sees of a mask
    modules = nn.ModuleList([net.noise, net.net, critic]).requires_grad_(True)
    stage = Stage("texture", run_dir, modules, OptimizerConfig(betas=(0.5, 0.9)))
    stage.load()
    lay_out(net, torch.channels_last_3d)
    compiled((net,), model.centre.device)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)

    def make(row: int, generator: torch.Generator) -> Decoded:
        return decoded(model, store, row, masks, generator)

    sides = (config.crop, config.crop, config.crop)
    crops = Crops(make, rows, store.grid, CropConfig(size=sides, batch=config.batch), seed + 42)
    with ReadAhead(crops) as read:
        objective = _adversarial(net, critic, config, masks, read, seed)
        yield from optimise(stage, objective, lambda step: config.rate, limits)
    lay_out(net, torch.contiguous_format)


def _adversarial(
    net: Detail,
    critic: PatchDiscriminator,
    config: TextureTraining,
    masks: DetailTraining,
    read: ReadAhead[Read],
    seed: int,
) -> Objective:
    """The error of the painted scan and the critic's verdict, of adaptive weight, and the critic's own loss."""
    device = net.variance.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    sd, last = net.residual_sd(), net.net.out.weight

    def loss(step: int) -> Loss:
        (scan, *parts), corners, generator = read(step)
        base, labels, template = shown(net, masks, parts, generator)
        drawn = generator if device.type == "cpu" else step_generator(seed + 44, step, device)
        noise = torch.randn(scan.shape, generator=drawn, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            found = net(noise, torch.ones(len(scan), device=device), base, labels, corners, template).float()
        painted = base + cut(sd, corners, scan.shape[2:]) * found
        weight = torch.ones_like(scan[:, :1])
        error = reconstruction_loss(painted, scan, weight, config.edges)
        seen: Tensor = net.embedding(labels.long()).movedim(-1, 1).detach()
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            judged = judgement(critic, torch.cat([painted, seen], 1), torch.cat([scan, seen], 1))
        amount = config.weight * min(1.0, step / config.warmup) * ratio(error, judged.drawn, last)
        total = (error + amount * judged.drawn) / LEFT + judged.critic
        return Loss(total, {"reconstruction": error, "drawn": judged.drawn, "critic": judged.critic})

    return loss
