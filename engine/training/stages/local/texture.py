"""Last stage: the decoder learns what the texture of scans looks like from a critic; encoder, latents and flow stay as they are.

A decoder trained on squared errors draws the mean of all scans that fit its tokens, which is blurred. Here it is trained
on beside a critic that tells patches of real scans from patches it drew (arXiv 2012.09841: hinge loss, adaptive weight).
What is sharper afterwards is plausible, not known: squared errors rise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.func import functional_call

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.training.loop import Limits, Loss, Objective, ReadAhead, optimise
from engine.training.run import OptimizerConfig, Progress, Stage, bfloat16_is_fast, compiled
from engine.training.stages.autoencoder import (
    Batch,
    Table,
    batches,
    encoded,
    lay_out,
    reconstruction_loss,
    scaled,
)

if TYPE_CHECKING:
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

#: the loss that a trained decoder has left, about; it brings gradients to the size that :class:`Stage` cuts them at
LEFT = 0.005


@dataclass(frozen=True, kw_only=True)
class TextureTraining:
    """How the texture is learned. ``weight`` is the critic's gradient relative to that of the reconstruction, reached after
    ``warmup`` steps; the critic, ``width`` channels wide at first, sees a cube of ``crop`` voxels a side round a voxel of the
    mask. Scans are mirrored by chance ``mirror`` and never deformed: that would smooth them."""

    steps: int = 6000
    batch: int = 1
    rate: float = 2e-4
    warmup: int = 100
    weight: float = 2.0
    crop: int = 64
    width: int = 24
    mirror: float = 0.0
    edges: float = 0.5
    inside: float = 1.0
    bfloat16: bool = True


def train_texture(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    table: Table,
    config: TextureTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train the decoder on the store's ``rows`` until ``config.steps`` or the ``deadline``, yielding progress.

    Resumes from ``run_dir``; ends with the averaged weights in ``model``. ``table`` as in
    :func:`engine.training.stages.autoencoder.train_autoencoder`.
    """
    device, coder = model.centre.device, model.autoencoder
    model.requires_grad_(False)
    critic = made_critic(config.width, len(store.channels), seed).to(device)
    modules = nn.ModuleList([coder.head, coder.decoder, coder.tail, critic]).requires_grad_(True)
    stage = Stage("texture", run_dir, modules, OptimizerConfig(betas=(0.5, 0.9)))
    stage.load()
    lay_out(coder, torch.channels_last_3d)
    compiled((coder.decoder,), device)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)
    with batches(store, rows, config.batch, seed + 3) as read:
        objective = _adversarial(model, critic, rows, table, config, read, seed + 3)
        yield from optimise(stage, objective, lambda step: config.rate, limits)
    lay_out(coder, torch.contiguous_format)


def _adversarial(
    model: JointModel,
    critic: PatchDiscriminator,
    rows: Int[np.ndarray, " n"],
    table: Table,
    config: TextureTraining,
    read: ReadAhead[Batch],
    seed: int,
) -> Objective:
    """Reconstruction and the critic's verdict, of adaptive weight (arXiv 2012.09841, equation 7), and the critic's own loss."""
    device, coder = model.centre.device, model.autoencoder
    fast = config.bfloat16 and bfloat16_is_fast(device)
    state, known = (torch.from_numpy(part).to(device) for part in table)

    def loss(step: int) -> Loss:
        batch = read(step)
        real = scaled(batch.scans, device)
        mirrored = torch.rand(len(real), generator=batch.generator) < config.mirror
        real[mirrored] = real[mirrored].flip(2)
        volumes, mask = real[:, :-1], real[:, -1:]
        index = torch.from_numpy(rows[batch.pick]).to(device)
        with torch.no_grad():
            cells = state[index], known[index]
            _, tokens = encoded(model, volumes, cells, batch.generator, (seed, step), fast)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            output = coder.decode(tokens).float()
        error = reconstruction_loss(output, volumes, 1 + config.inside * mask, config.edges)
        where = _cube(mask, config.crop, batch.generator)
        judged = judgement(critic, output[where], volumes[where])
        ramp = min(1.0, step / config.warmup)
        amount = config.weight * ramp * ratio(error, judged.drawn, coder.tail.weight)
        total = (error + amount * judged.drawn) / LEFT + judged.critic
        return Loss(total, {"reconstruction": error, "drawn": judged.drawn, "critic": judged.critic})

    return loss


def made_critic(width: int, channels: int, seed: int) -> PatchDiscriminator:
    """A critic of so many channels that begins as ``seed`` says, whatever was drawn before."""
    from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return PatchDiscriminator(spatial_dims=3, channels=width, in_channels=channels, norm="INSTANCE")


@dataclass(frozen=True)
class Judgement:
    """What the critic is to learn from a step (its hinge loss), and the decoder (to be taken for real, by verdict and features)."""

    critic: Float[Tensor, ""]
    drawn: Float[Tensor, ""]


def judgement(
    critic: PatchDiscriminator, drawn: Float[Tensor, "b c x y z"], real: Float[Tensor, "b c x y z"]
) -> Judgement:
    """Losses of both, each of which moves its own network only.

    ``drawn``: minus the verdict on what was drawn, plus the mean absolute difference of the critic's features from those of
    the real patch (feature matching, arXiv 1512.09300).
    """
    of_real, of_drawn = critic(real), critic(drawn.detach())
    hinge = torch.relu(1 - of_real[-1]).mean() + torch.relu(1 + of_drawn[-1]).mean()
    still = {name: value.detach() for name, value in (*critic.named_parameters(), *critic.named_buffers())}
    features = functional_call(critic, still, drawn)
    matching = torch.stack([(a - b.detach()).abs().mean() for a, b in zip(features[:-1], of_real[:-1], strict=True)])
    return Judgement(hinge, matching.mean() - features[-1].mean())


def ratio(error: Tensor, drawn: Tensor, last: Tensor) -> Tensor:
    """How much larger the gradient of ``error`` is than that of ``drawn`` in the ``last`` weights (arXiv 2012.09841, eq. 7)."""
    one, other = (torch.autograd.grad(loss, last, retain_graph=True)[0].norm() for loss in (error, drawn))
    return (one / (other + 1e-8)).clamp(max=1e4).detach()


def _cube(mask: Float[Tensor, "b 1 x y z"], crop: int, generator: torch.Generator) -> tuple[slice, ...]:
    """A cube round a voxel of the first person's mask, inside the grid."""
    inside = mask[0, 0].nonzero()
    middle = inside[int(torch.randint(max(len(inside), 1), (), generator=generator))] if len(inside) else [0, 0, 0]
    low = [max(0, min(int(at) - crop // 2, side - crop)) for at, side in zip(middle, mask.shape[2:], strict=True)]
    return (slice(None), slice(None), *(slice(at, at + crop) for at in low))
