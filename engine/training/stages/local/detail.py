"""Last stage: a local flow learns what the tokens cannot carry, on crops; all else stays as it is.

It is trained on what it will see: scans decoded from tokens as the flow draws them for the person's mask and row, or with the
noise of their posterior, and masks as they are given, or unknown. Of tokens that were only encoded it would learn to believe
the decoded scan more than the mask.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.inference.conditioning import given_rows
from engine.inference.generate import IMAGE_POWER
from engine.model.flow import shifted
from engine.model.joint import JointModel
from engine.model.nn.detail import CUBE, Corner, Detail
from engine.model.sampler import Known, integrate, schedule
from engine.training.loop import Limits, Loss, Objective, ReadAhead, optimise
from engine.training.run import Progress, Stage, bfloat16_is_fast, compiled, learning_rate, step_generator
from engine.training.stages.autoencoder import lay_out, load_batch
from engine.training.stages.local.crops import CropConfig, Crops, cut
from engine.training.stages.mask import class_of_code, load_masks

#: a step's crops of every part of persons, where they begin, and its randomness
Read = tuple[list[Tensor], list[Corner], torch.Generator]
#: persons whose residual's variance is measured first
FIRST = 32
#: network evaluations of tokens that are redrawn whole
REDRAWN_STEPS = 4


@dataclass(frozen=True, kw_only=True)
class DetailTraining:
    """How the detail is learned, on ``crops``. In the share ``mean`` of the examples the state is noise alone (t = 1), in the
    others t is even. The mask is the true one in the share ``given``, in ``unknown`` there is none, in the rest, if any, it is as
    its tokens decode to: painting for such masks the least squared error is fog along their borders, so a drawn mask is painted as
    if it were true. The share ``redrawn`` of the persons has tokens as the flow draws them (:func:`redrawn`)."""

    steps: int = 6000
    crops: CropConfig = field(default_factory=CropConfig)
    rate: float = 1e-3
    warmup: int = 50
    constant: int = 1500
    mean: float = 0.9
    given: float = 0.85
    unknown: float = 0.15
    redrawn: float = 0.7
    bfloat16: bool = True

    def learning_rate(self, step: int) -> float:
        return learning_rate(step, self.rate, self.warmup, self.constant)


class Decoded(NamedTuple):
    """A person: the scan (c, x, y, z), what its tokens decode to, its mask and what the mask's tokens decode to (x, y, z)."""

    scan: Tensor
    base: Tensor
    mask: Tensor
    drawn: Tensor


def train_detail(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: DetailTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train ``model.detail`` on the store's ``rows`` until ``config.steps`` or the ``deadline``; yields progress.

    Resumes from ``run_dir``; ends with the averaged weights in ``model``. Losses are mean squared errors of the residual in SDs,
    preconditioned (EDM, arXiv 2206.00364, equation 8).
    """
    device = model.centre.device
    model.requires_grad_(False)
    net = model.detail.requires_grad_(True)
    stage = Stage("detail", run_dir, net)
    extra = stage.load()
    if extra:
        net.variance.copy_(extra["variance"])
    else:
        first = rows[:: max(1, len(rows) // FIRST)][:FIRST]
        net.variance.copy_(_residual_variance(model, store, first, config, seed))
    stage.extra = {"variance": net.variance}
    lay_out(net, torch.channels_last_3d)
    compiled((net,), device)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)

    def make(row: int, generator: torch.Generator) -> Decoded:
        return decoded(model, store, row, config, generator)

    with ReadAhead(Crops(make, rows, store.grid, config.crops, seed + 22)) as read:
        yield from optimise(stage, _residual_error(net, config, read, seed), config.learning_rate, limits)
    lay_out(net, torch.contiguous_format)


@torch.no_grad()
def _residual_variance(
    model: JointModel, store: CohortStore, rows: Int[np.ndarray, " n"], config: DetailTraining, seed: int
) -> Float[Tensor, "c x4 y4 z4"]:
    """The mean square of the residual in cubes of voxels, over persons, smoothed over neighbouring cubes."""
    squares = [
        (person.scan - person.base).square()
        for person in (
            decoded(model, store, int(row), config, step_generator(seed + 21, k)) for k, row in enumerate(rows)
        )
    ]
    coarse = torch.nn.functional.avg_pool3d(torch.stack(squares).mean(0), CUBE)
    return torch.nn.functional.avg_pool3d(coarse[None], 3, 1, 1, count_include_pad=False)[0]


@torch.no_grad()
def decoded(
    model: JointModel, store: CohortStore, row: int, config: DetailTraining, generator: torch.Generator
) -> Decoded:
    """A person of the store as it will be seen: tokens redrawn, or with the noise of their posterior, and decoded."""
    device, rows = model.centre.device, np.array([row])
    fast = bfloat16_is_fast(device)
    scan = load_batch(store, rows, device)[:, :-1]
    labelled = model.config.mask is not None and bool(store.labelled[row])
    labels = torch.full((1, *store.grid), model.detail.unknown, dtype=torch.uint8, device=device)
    if model.config.mask is not None and labelled:
        labels = load_masks(store, rows, class_of_code(model.config.mask)).to(device)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(device)

    known = given_rows(model, [store.rows[row]])
    again = bool(torch.rand((), generator=generator) < config.redrawn)
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        means = model.autoencoder.encode(scan).float()
        tokens = model.autoencoder.posterior(means, noise(means))
        drawn = labels
        if labelled:
            coder = model.mask_autoencoder
            coded = coder.encode(labels).float()
            drawn = coder.decode(coder.posterior(coded, noise(coded))).argmax(1).to(torch.uint8)
            known = known._replace(
                value=known.value._replace(mask=model.standardise_mask(coded)), mask=torch.ones_like(known.mask)
            )
    if again:
        fused = model.fuse(tokens, known.value.table, known.table)
        tokens = model.restore(redrawn(model, known, model.standardise(fused), noise(means), generator))
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        base = model.autoencoder.decode(tokens).float().clamp(0, 1)[0]
    return Decoded(scan[0], base, labels[0], drawn[0])


def redrawn(
    model: JointModel,
    known: Known,
    image: Float[Tensor, "b n c"],
    noise: Float[Tensor, "b n c"],
    generator: torch.Generator,
) -> Float[Tensor, "b n c"]:
    """The diffused state of an ``image``, noised to one of the levels that a draw passes, at random, and drawn from there on for
    what else is ``known``: from the first level on it is another person's of the same mask and row."""
    times = schedule(REDRAWN_STEPS, power=IMAGE_POWER)
    times = times[int(torch.randint(REDRAWN_STEPS, (), generator=generator)) :]
    level = shifted(times[0], model.config.shift)
    state = known.value._replace(image=(1 - level) * image + level * noise)
    linear = model.linear(known)
    *_, last = integrate(model.velocity, state, known, times, shift=model.config.shift, linear=linear)
    return last.image


def _residual_error(net: Detail, config: DetailTraining, read: ReadAhead[Read], seed: int) -> Objective:
    """The squared error of the residual's posterior mean over that of the best guess without a network."""
    device = net.variance.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    sd = net.residual_sd()

    def loss(step: int) -> Loss:
        (scan, base, mask, decoded_mask), corners, generator = read(step)
        labels = shown_masks(net, config, mask, decoded_mask, generator)
        drawn = generator if device.type == "cpu" else step_generator(seed + 24, step, device)
        t = torch.rand(len(scan), generator=generator)
        t = torch.where(torch.rand(len(scan), generator=generator) < config.mean, 1.0, t.clamp(min=0.02)).to(device)
        residual = (scan - base) / cut(sd, corners, scan.shape[2:])
        at = t[:, None, None, None, None]
        state = (1 - at) * residual + at * torch.randn(scan.shape, generator=drawn, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            found = net(state, t, base, labels, corners).float()
        weight = ((1 - at) ** 2 + at**2) / at**2
        error = ((found - residual).square() * weight).mean((1, 2, 3, 4))
        mean = t == 1
        parts = {"mean": _over(error, mean), "sample": _over(error, ~mean)}
        return Loss(error.mean(), parts)

    return loss


def shown_masks(
    net: Detail,
    config: DetailTraining,
    mask: UInt8[Tensor, "b x y z"],
    drawn: UInt8[Tensor, "b x y z"],
    generator: torch.Generator,
) -> UInt8[Tensor, "b x y z"]:
    """The masks that examples are shown with: the true one, none, or as it is decoded, in the shares of ``config``."""
    lot = torch.rand(len(mask), 1, 1, 1, generator=generator).to(mask.device)
    labels = torch.where(lot < config.given, mask, drawn)
    return torch.where(lot > 1 - config.unknown, torch.full_like(mask, net.unknown), labels)


def _over(error: Float[Tensor, " b"], which: Tensor) -> Tensor:
    """The mean over ``which``; of none the mean of all."""
    return error[which].mean() if bool(which.any()) else error.mean()
