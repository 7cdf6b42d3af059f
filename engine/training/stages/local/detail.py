"""Last stage: a local flow learns what the tokens cannot carry, on crops; all else stays as it is.

It is trained on what it will see: scans decoded from tokens as the flow draws them for the person's mask and row, or with the
noise of their posterior, and masks as they are given, or unknown. Of tokens that were only encoded it would learn to believe
the decoded scan more than the mask. A mask is the true one, and an atlas lies as it was registered: painting for masks that were
decoded the least squared error is fog along their borders, so that a drawn mask is painted as if it were true.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.inference.conditioning import given_rows
from engine.inference.generate import IMAGE_POWER
from engine.model.flow import shifted
from engine.model.joint import JointModel
from engine.model.nn import large
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder, laid
from engine.model.nn.detail import CUBE, Detail
from engine.model.sampler import Known, integrate, schedule
from engine.training.loop import Limits, Loss, Objective, ReadAhead
from engine.training.run import Progress, Schedule, bfloat16_is_fast, some_of, step_generator
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.local.crops import CropConfig, Crops, Read, begun, cut, learn
from engine.training.stages.mask import class_of_code, load_masks

#: persons whose residual's variance is measured first, and of large scans the voxels of all, in at least :data:`FEWEST`
FIRST, VOXELS, FEWEST = 32, 2**26, 4
#: network evaluations of tokens that are redrawn whole
REDRAWN_STEPS = 4
#: from how many of the last of them on it is much the same person's scan without a mask too
SAME = 3


@dataclass(frozen=True, kw_only=True)
class DetailTraining(Schedule):
    """How the detail is learned, on ``crops``. In the share ``mean`` of the examples the state is noise alone (t = 1), in the
    others t is even. In the share ``unknown`` there is no mask. The share ``redrawn`` of the persons has tokens as the flow draws
    them (:func:`redrawn`)."""

    crops: CropConfig = field(default_factory=CropConfig)
    mean: float = 0.9
    unknown: float = 0.15
    redrawn: float = 0.7
    bfloat16: bool = True


class Decoded(NamedTuple):
    """A person: the scan (c, x, y, z), what its tokens decode to, the same with an atlas ``laid`` on it (as ``base`` where there is
    none), its mask (x, y, z), or (f, x, y, z) of every frame, and the atlas' mean scan in it (c, x, y, z; 0 where there is none)."""

    scan: Tensor
    base: Tensor
    laid: Tensor
    mask: Tensor
    template: Tensor


class Shown(NamedTuple):
    """What the network sees of examples: decoded scan (b, c, x, y, z), classes (b, x, y, z), the atlas' mean scan (b, c, x, y, z)."""

    base: Tensor
    labels: Tensor
    template: Tensor


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
    fields: Mapping[int, Tensor] | None = None,
) -> Iterator[Progress]:
    """Train ``model.detail`` on the store's ``rows`` until ``config.steps`` or the ``deadline``; yields progress. ``fields`` are
    those of rows that were registered to the model's atlas (3, x2, y2, z2), in voxels.

    Resumes from ``run_dir``; ends with the averaged weights in ``model``. Losses are mean squared errors of the residual in SDs,
    preconditioned (EDM, arXiv 2206.00364, equation 8).
    """
    net = model.detail
    stage, extra = begun(model, net, "detail", run_dir)
    if extra:
        net.variance.copy_(extra["variance"])
    else:
        some = max(FEWEST, min(FIRST, VOXELS // math.prod(store.grid)))
        first = some_of(rows, some)
        net.variance.copy_(_residual_variance(model, store, first, config, seed))
    stage.extra = {"variance": net.variance}

    def make(row: int, generator: torch.Generator) -> Decoded:
        return decoded(model, store, row, config, generator, (fields or {}).get(row))

    def objective(read: ReadAhead[Read]) -> Objective:
        return _residual_error(net, config, read, seed)

    crops = Crops(make, rows, store.grid, config.crops, seed + 22)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)
    yield from learn(stage, crops, objective, config.learning_rate, limits)


@torch.no_grad()
def _residual_variance(
    model: JointModel, store: CohortStore, rows: Int[np.ndarray, " n"], config: DetailTraining, seed: int
) -> Float[Tensor, "c x4 y4 z4"]:
    """The mean square of the residual in cubes of voxels, over persons, smoothed over neighbouring cubes."""
    total = torch.zeros_like(model.detail.variance)
    for k, row in enumerate(rows):
        person = decoded(model, store, int(row), config, step_generator(seed + 21, k))
        total += torch.nn.functional.avg_pool3d((person.scan - person.laid).square(), CUBE)
    coarse = total / len(rows)
    return torch.nn.functional.avg_pool3d(coarse[None], 3, 1, 1, count_include_pad=False)[0]


@torch.no_grad()
def decoded(
    model: JointModel,
    store: CohortStore,
    row: int,
    config: DetailTraining,
    generator: torch.Generator,
    field: Float[Tensor, "3 x2 y2 z2"] | None = None,
) -> Decoded:
    """A person of the store as it will be seen: tokens redrawn, or with the noise of their posterior, and decoded; an atlas by its
    ``field``, or as the mask is encoded."""
    device, rows = model.centre.device, np.array([row])
    fast = bfloat16_is_fast(device)
    scan = load_batch(store, rows, device)[:, :-1]
    there, classes = bool(store.labelled[row]), model.config.mask or model.config.detail
    labelled = model.has_mask and there
    maps = () if model.detail.maps == 1 else (model.detail.maps,)
    labels = torch.full((1, *maps, *store.grid), model.detail.unknown, dtype=torch.uint8, device=device)
    if there and classes and classes.classes:
        labels = load_masks(store, rows, class_of_code(classes)).to(device)

    def noise(like: Tensor) -> Tensor:
        return torch.randn(like.shape, generator=generator).to(device)

    known = given_rows(model, [store.rows[row]])
    again = bool(torch.rand((), generator=generator) < config.redrawn)
    atlas = labelled and isinstance(model.mask_autoencoder, AtlasAutoencoder)
    template = torch.zeros_like(scan)
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        means = large.encoded(model.autoencoder, scan, model.cascade).float()
        tokens = model.autoencoder.posterior(means, noise(means))
        if labelled:
            coder = model.mask_autoencoder
            coded = large.encoded_mask(coder, labels, model.cascade).float()
            known = known._replace(
                value=known.value._replace(mask=model.standardise_mask(coded)), mask=torch.ones_like(known.mask)
            )
            if isinstance(coder, AtlasAutoencoder):
                lies = coder.field(coded) if field is None else field[None].to(device)
                template = model.cascade.finer(coder.mean_scan(lies.float()))
    if again:
        fused = model.fuse(tokens, known.value.table, known.table)
        tokens = model.restore(redrawn(model, known, model.standardise(fused), noise(means), generator))
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        base = large.decoded(model.autoencoder, tokens).float()
    seen = laid(base, template, model.cascade.by) if atlas else base
    return Decoded(scan[0], base[0], seen[0], labels[0], template[0])


def redrawn(
    model: JointModel,
    known: Known,
    image: Float[Tensor, "b n c"],
    noise: Float[Tensor, "b n c"],
    generator: torch.Generator,
) -> Float[Tensor, "b n c"]:
    """The diffused state of an ``image``, noised to one of the levels that a draw passes, at random, and drawn from there on for
    what else is ``known``: from the first level on it is another person's of the same mask and row. Without a mask that would be
    somebody of other tissues, so that it begins at one of the last levels (:data:`SAME`)."""
    times = schedule(REDRAWN_STEPS, power=IMAGE_POWER)
    first = REDRAWN_STEPS - SAME if model.tells_tissues else 0
    times = times[int(torch.randint(first, REDRAWN_STEPS, (), generator=generator)) :]
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
        (scan, *seen), corners, generator = read(step)
        base, labels, template = shown(net, config, seen, generator)
        drawn = generator if device.type == "cpu" else step_generator(seed + 24, step, device)
        t = torch.rand(len(scan), generator=generator)
        t = torch.where(torch.rand(len(scan), generator=generator) < config.mean, 1.0, t.clamp(min=0.02)).to(device)
        residual = (scan - base) / cut(sd, corners, scan.shape[2:])
        at = t[:, None, None, None, None]
        state = (1 - at) * residual + at * torch.randn(scan.shape, generator=drawn, device=device)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            found = net(state, t, base, labels, corners, template).float()
        weight = ((1 - at) ** 2 + at**2) / at**2
        error = ((found - residual).square() * weight).mean((1, 2, 3, 4))
        mean = t == 1
        parts = {"mean": _over(error, mean), "sample": _over(error, ~mean)}
        return Loss(error.mean(), parts)

    return loss


def shown(net: Detail, config: DetailTraining, parts: Sequence[Tensor], generator: torch.Generator) -> Shown:
    """What the examples are shown with of ``parts`` (:class:`Decoded`, but for the scan): in the share ``config.unknown`` there is
    no mask, and no atlas."""
    base, on_it, mask, template = parts
    none = (torch.rand(len(mask), 1, 1, 1, 1, generator=generator) < config.unknown).to(mask.device)
    labels = torch.where(none.reshape(-1, *[1] * (mask.ndim - 1)), torch.full_like(mask, net.unknown), mask)
    return Shown(torch.where(none, base, on_it), labels, template * ~none)


def _over(error: Float[Tensor, " b"], which: Tensor) -> Tensor:
    """The mean over ``which``; of none the mean of all."""
    return error[which].mean() if bool(which.any()) else error.mean()
