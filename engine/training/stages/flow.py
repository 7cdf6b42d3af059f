"""Second stage: the rectified flow on the joint latent, with the autoencoder and the fusion frozen."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
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
    it, as in ``table_versions`` drawn beforehand."""

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
) -> Generator[Progress, None, Latents]:
    """Bare latents of every row, the first copy undeformed; yields progress and returns the latents.

    Bare: no column enters here, so the cache leaks nothing. Kept in ``path`` for the next resume.
    """
    if path.exists():
        kept = load_tensors(path)[0]
        return Latents(kept["latents"], kept["masks"], kept["has_mask"])
    has_mask = torch.from_numpy(store.labelled[rows]) & model.has_mask
    coded, masks, began = [], [], time.monotonic()
    for done, row in enumerate(rows):
        versions = [
            _encoded(model, store, int(row), config, step_generator(seed + 1 + int(row), copy) if copy else None)
            for copy in range(config.copies)
        ]
        coded.append(torch.stack([image for image, _ in versions]))
        masks.append(torch.stack([mask for _, mask in versions]))
        yield Progress("latents", done + 1, len(rows), time.monotonic() - began, {})
    latents = Latents(torch.stack(coded), torch.stack(masks), has_mask)
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
    stage = Stage(name, run_dir, learning)
    stage.load()
    tables = _tables(model, rows, config.table_versions, seed, device)
    net.requires_grad_(False)
    learning.requires_grad_(True)
    if fit and model.has_image:
        model.fit_standardisation(latents.image.flatten(0, 1).float().to(device), config.whitening)
    if fit:
        model.fit_prior(torch.stack([model.standardise(v.float().to(device)) for v in latents.image]), *tables[:2])
    if fit_mask and bool(latents.has_mask.any()):
        image, mask = (part[latents.has_mask, 0].float().to(device) for part in latents[:2])
        model.fit_mask(mask, model.standardise(image), config.whitening)

    compiled(model.velocity_net.blocks, device)
    if samples:
        samples.begin(stage.step, stage.seconds)

    def observe(stage: Stage, left: float, last: bool) -> None:
        if samples and (last or samples.due(stage.seconds)):
            samples.draw(model, stage.ema, stage.step, stage.seconds, left)

    on_device = Latents(*(part.to(device) for part in latents))
    objective = _velocity_error(model, on_device, tables, config, seed + 7)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every, report_every=50)
    yield from optimise(stage, objective, config.learning_rate, limits, observe=observe)


def _velocity_error(
    model: JointModel,
    latents: Latents,
    tables: Tables,
    config: FlowTraining,
    seed: int,
) -> Objective:
    """Mean squared velocity errors of image, columns and mask (Liu et al., arXiv 2209.03003, equation 1)."""
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    has_image = torch.ones(config.batch, dtype=torch.bool, device=device)

    def loss(step: int) -> Loss:
        clean, noise, levels, here, has_mask = _examples(model, latents, tables, config, seed, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            predicted = model.velocity(interpolate(clean, noise, levels), levels)
        error = flow_loss(predicted, clean, noise, levels, here, has_image, model.codes, has_mask)
        total, parts = error.image + config.table_weight * error.table, {"table": error.table}
        if model.has_image:
            parts = {"image": error.image, **parts}
        if model.has_mask:
            total, parts = total + config.mask_weight * error.mask, {**parts, "mask": error.mask}
        return Loss(total, parts)

    return loss


@torch.no_grad()
def _examples(
    model: JointModel,
    latents: Latents,
    tables: Tables,
    config: FlowTraining,
    seed: int,
    step: int,
) -> tuple[Joint, Joint, Levels, Bool[Tensor, "b k"], Bool[Tensor, " b"]]:
    """A step's clean states, their noise, their levels, which cells are known, and who has a mask."""
    (state, known, spread), device = tables, model.centre.device
    generator = step_generator(seed, step)
    pick = torch.randint(len(latents.image), (config.batch,), generator=generator)
    copy = torch.randint(latents.image.shape[1], (config.batch,), generator=generator)
    levels = config.mixture.draw(
        config.batch, known.shape[1], generator, model.config.shift, masks=bool(latents.has_mask.any())
    )
    drawn = generator if device.type == "cpu" else step_generator(seed, step, device)
    index = pick.to(device)
    bare, mask = (part[index, copy.to(device)].float() for part in latents[:2])
    here, has_mask = known[index], latents.has_mask[index]
    levels = Levels(
        levels.image.to(device),
        torch.where(here, levels.table.to(device), 1.0),
        torch.where(has_mask, levels.mask.to(device), 1.0),
    )
    given = here & (levels.table == 0)
    jitter = torch.randn(bare.shape, generator=drawn, device=device)
    if model.has_image:
        bare = bare + torch.exp(0.5 * model.autoencoder.logvar) * jitter
    version = torch.randint(len(spread), (config.batch,), generator=generator).to(device)
    table = torch.where(given[..., None], state[index], spread[version, index])
    if model.has_mask:
        jitter = torch.randn(mask.shape, generator=drawn, device=device)
        mask = model.standardise_mask(mask + torch.exp(0.5 * model.mask_autoencoder.logvar) * jitter)
    clean = Joint(model.standardise(model.fuse(bare, table, given)), table, mask)
    noise = Joint(*(torch.randn(part.shape, generator=drawn, device=device) for part in clean))
    return clean, noise, levels, here, has_mask


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
