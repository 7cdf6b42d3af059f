"""The mask autoencoder, trained on the label maps of a cohort; beside the image's, before the flow."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from torch import Tensor, nn

from engine.cohort.store import CohortStore
from engine.model.config import FACTOR, DetailConfig, MaskConfig
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder
from engine.model.nn.autoencoder import patch_components, space_to_depth
from engine.model.nn.mask_autoencoder import COARSE, MaskAutoencoder, log_shares
from engine.model.nn.warp import STRIDE
from engine.training.ema import PowerEMA
from engine.training.loop import Limits, Loss, Objective, ReadAhead, optimise
from engine.training.run import Progress, RunError, Schedule, Stage, bfloat16_is_fast, compiled, some_of, step_generator
from engine.training.stages.autoencoder import lay_out

#: persons whose segmentations the linear part starts from
FIRST = 128
#: penalty of a displacement's regression, in variances of a score
RIDGE = 0.01


@dataclass(frozen=True, kw_only=True)
class MaskTraining(Schedule):
    """How the mask autoencoder is trained, on whole segmentations: ``beta`` weighs the divergence of the evidence bound and
    ``dice`` a soft Dice beside its cross-entropy, in nats a voxel. ``mirror`` is the chance of a
    left-right flip; classes named left and right change places with it. The error is that of a random box of half the grid
    along each axis: scores of every class at every voxel are most of a step's cost, and neighbours say much the same. Where an
    atlas is displaced, ``field`` weighs the mean square by which the displacement is off the registered one, in voxels."""

    steps: int = 3000
    batch: int = 1
    constant: int = 800
    beta: float = 0.05
    dice: float = 0.1
    mirror: float = 0.0
    field: float = 0.5
    bfloat16: bool = True


def class_of_code(config: MaskConfig | DetailConfig) -> UInt8[np.ndarray, " codes"]:
    """The table from a code of the cohort's label maps to the index of its class; what is in none is of the last."""
    highest = max(code for codes in config.codes for code in codes)
    table = np.full(max(256, highest + 1), len(config.classes) - 1, np.uint8)
    for index, codes in enumerate(config.codes):
        table[list(codes)] = index
    return table


def mirrored_classes(config: MaskConfig) -> UInt8[np.ndarray, " k"]:
    """Which class each becomes in a mirror: names with left and right in them change places, where both are classes."""
    sides = {"left": "right", "right": "left"}
    other = [re.sub("left|right", lambda side: sides[side[0]], name) for name in config.classes]
    found = [b if b in config.classes else a for a, b in zip(config.classes, other, strict=True)]
    return np.array([config.classes.index(name) for name in found], np.uint8)


def load_masks(
    store: CohortStore, rows: Int[np.ndarray, " b"], table: UInt8[np.ndarray, " codes"]
) -> UInt8[Tensor, "b *t x y z"]:
    """Segmentations of the store's ``rows``, class by class (:func:`class_of_code`)."""
    if store.labels is None:
        raise RunError(f"{store.path} has no label maps; make it with --labels, or ingest a data set that has some")
    return torch.from_numpy(table[np.asarray(store.labels[rows])])


class Example(NamedTuple):
    """A step's randomness, segmentations and, of those who were registered, their fields (voxels)."""

    generator: torch.Generator
    labels: UInt8[Tensor, "b x y z"]
    fields: list[Float[Tensor, "3 x2 y2 z2"] | None]


@torch.no_grad()
def initialise(coder: MaskAutoencoder, masks: UInt8[Tensor, "n x y z"]) -> None:
    """The atlas, and the linear part as principal components of what differs from it, scores of one scale."""
    classes = len(coder.config.classes)
    seen = torch.cat([log_shares(mask[None], classes) for mask in masks])
    coder.atlas.copy_(seen.mean(0))
    side = FACTOR // COARSE
    components, _ = patch_components(seen - coder.atlas, coder.config.latent, side)
    kernels = components.reshape(len(components), classes, side, side, side)
    scores = nn.functional.conv3d(seen - coder.atlas, kernels, stride=side)
    spread = scores.square().mean((0, 2, 3, 4)).sqrt().clamp(min=1e-3).reshape(-1, 1, 1, 1, 1)
    coder.into.weight.zero_()[: len(kernels)] = kernels / spread.sqrt()
    if not isinstance(coder, AtlasAutoencoder):
        coder.back.weight.zero_()[: len(kernels)] = kernels * spread.sqrt()


@torch.no_grad()
def initialise_fields(coder: AtlasAutoencoder, masks: UInt8[Tensor, "n x y z"], fields: Sequence[Tensor]) -> None:
    """The linear part of the displacement: ridge regression of its cubes on the linear part's scores of ``masks``."""
    classes, side = len(coder.config.classes), FACTOR // COARSE
    scores, wanted = [], []
    for mask, field in zip(masks, fields, strict=True):
        found = coder.into(log_shares(mask[None], classes) - coder.atlas)
        scores.append(found.flatten(2)[0].T)
        coarse = nn.functional.avg_pool3d(field[None].float(), COARSE // STRIDE)
        wanted.append(space_to_depth(coarse, side).flatten(2)[0].T)
    x, y = torch.cat(scores).double(), torch.cat(wanted).double()
    slopes = torch.linalg.solve(x.T @ x + len(x) * RIDGE * torch.eye(x.shape[1]), x.T @ y)
    coder.back.weight.copy_(slopes.reshape(-1, 3, side, side, side))


def label_loss(
    scores: Float[Tensor, "b k *t x y z"], labels: UInt8[Tensor, "b *t x y z"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy, and one minus the mean soft Dice of the foreground classes that are there, without a one-hot copy."""
    log = scores.float().log_softmax(1)
    index = labels.long()
    likelihood = log.gather(1, index[:, None])[:, 0]
    classes = scores.shape[1]
    shared = log.new_zeros(classes).index_add(0, index.flatten(), likelihood.exp().flatten())
    count = torch.bincount(index.flatten(), minlength=classes)
    dice = 2 * shared / (log.exp().movedim(1, 0).flatten(1).sum(1) + count)
    there = count[1:] > 0
    return -likelihood.mean(), 1 - (dice[1:] * there).sum() / there.sum().clamp(min=1)


def train_mask_autoencoder(
    coder: MaskAutoencoder,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: MaskTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
    fields: Mapping[int, Tensor] | None = None,
) -> Iterator[Progress]:
    """Train on those of the store's ``rows`` who have labels, until ``config.steps`` or the ``deadline``; yields progress.
    ``fields`` are those
    of rows that were registered to the atlas of ``coder`` (3, x2, y2, z2), in voxels.

    Resumes from ``run_dir``; ends with the averaged weights in ``coder``. Raises :class:`RunError` for a store without labels.
    """
    rows = rows[store.labelled[rows]]
    table = class_of_code(coder.config)
    if not len(rows):
        raise RunError(f"no training person of {store.path} has a label map; leave the mask out")
    coder.requires_grad_(True)
    stage = Stage("mask", run_dir, coder)
    extra = stage.load()
    if extra:
        coder.atlas.copy_(extra["atlas"])
    else:
        first = some_of(rows, FIRST)
        initialise(coder, load_masks(store, first, table).to(coder.atlas.device))
        if isinstance(coder, AtlasAutoencoder) and fields:
            told = list(fields)[:FIRST]
            masks = load_masks(store, np.array(told), table)
            initialise_fields(coder, masks.to(coder.atlas.device), [fields[row] for row in told])
        stage.ema = PowerEMA(coder)
    stage.extra = {"atlas": coder.atlas}

    lay_out(coder, torch.channels_last_3d)
    compiled((coder.encoder, coder.decoder), coder.atlas.device)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every, closes=True)

    def prepare(step: int) -> Example:
        generator = step_generator(seed + 11, step)
        pick = torch.randint(len(rows), (config.batch,), generator=generator).numpy()
        known = [None if fields is None else fields.get(int(row)) for row in rows[pick]]
        return Example(generator, load_masks(store, rows[pick], table), known)

    with ReadAhead(prepare) as read:
        yield from optimise(stage, _evidence_bound(coder, config, read), config.learning_rate, limits)
    lay_out(coder, torch.contiguous_format)


def _evidence_bound(
    coder: MaskAutoencoder,
    config: MaskTraining,
    read: ReadAhead[Example],
) -> Objective:
    """Minus the evidence lower bound of a segmentation (Kingma and Welling, arXiv 1312.6114, equation 3), the divergence
    weighed, and a soft Dice beside the cross-entropy, for structures of few voxels."""
    device = coder.atlas.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    mirror = torch.from_numpy(mirrored_classes(coder.config))

    def loss(step: int) -> Loss:
        generator, labels, fields = read(step)
        flipped: Bool[Tensor, " b"] = torch.rand(len(labels), generator=generator) < config.mirror
        seen = torch.where(flipped[:, None, None, None], mirror[labels.flip(1).long()], labels).to(device)
        noise = torch.randn(len(labels), coder.tokens, coder.config.latent, generator=generator).to(device)
        box = [_half(n, generator) for n in coder.grid]
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            means = coder.encode(seen)
            tokens = coder.posterior(means.float(), noise)
            if isinstance(coder, AtlasAutoencoder):
                field = coder.field(tokens)
                scores = coder.seen(field, box)
            else:
                field = None
                scores = coder.decode(tokens, box)
        error, overlap = label_loss(scores, seen[(..., *box)])
        divergence = coder.kl(means.float()) / labels[0].numel()
        total = error + config.dice * overlap + config.beta * divergence
        parts = {"entropy": error, "dice": overlap, "divergence": divergence}
        known = {k: one for k, one in enumerate(fields) if one is not None and not flipped[k]}
        if field is not None and known:
            off = field[list(known)].float() - torch.stack(list(known.values())).to(device).float()
            parts["field"] = off.square().mean()
            total = total + config.field * parts["field"]
        return Loss(total, parts)

    return loss


def _half(n: int, generator: torch.Generator) -> slice:
    """A random half of an axis of ``n`` voxels, or a little more, between corners of cubes."""
    cells = n // COARSE
    size = (cells + 1) // 2
    start = int(torch.randint(cells - size + 1, (), generator=generator))
    return slice(start * COARSE, (start + size) * COARSE)
