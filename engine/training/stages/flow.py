"""Second stage: the rectified flow on the joint latent, with the autoencoder and the fusion frozen."""

from __future__ import annotations

import time
from collections.abc import Generator, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.flow import Joint, Levels, NoiseMixture, flow_loss, interpolate
from engine.model.joint import JointModel
from engine.training.augment import Augmentation, augment
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

#: the columns' state (n, k, d), which cells are known (n, k), and versions of the state (v, n, k, d)
Tables = tuple[Float[Tensor, "n k d"], Bool[Tensor, "n k"], Float[Tensor, "v n k d"]]


@dataclass(frozen=True, kw_only=True)
class FlowTraining:
    """How the flow is trained. ``copies`` deformed versions of every person are encoded once and kept; ``whitening``
    is the exponent of :meth:`JointModel.fit_standardisation`; ``table_weight`` balances the columns against the image.
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
) -> Generator[Progress, None, Float[Tensor, "n copies tokens latent"]]:
    """Bare latents of every row, the first copy undeformed; yields progress and returns the latents.

    Bare: no column enters here, so the cache leaks nothing. Kept in ``path`` for the next resume.
    """
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    if path.exists():
        return load_tensors(path)[0]["latents"]
    coded, began = [], time.monotonic()
    for done, row in enumerate(rows):
        batch = load_batch(store, rows[done : done + 1], device)[:, :-1]
        versions = []
        for copy in range(config.copies):
            generator = step_generator(seed + 1 + int(row), copy)
            volume = batch
            if copy:
                volume = augment(batch, config.augmentation, generator, len(store.channels), spacing=store.spacing)
            with torch.autocast(device.type, torch.bfloat16, enabled=fast):
                versions.append(model.autoencoder.encode(volume)[0].half().cpu())
        coded.append(torch.stack(versions))
        yield Progress("latents", done + 1, len(rows), time.monotonic() - began, {})
    latents = torch.stack(coded)
    save_tensors(path, {"latents": latents}, {})
    return latents


def train_flow(
    model: JointModel,
    latents: Float[Tensor, "n copies tokens latent"],
    rows: Sequence[Mapping[str, Any]],
    config: FlowTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
    samples: Samples | None = None,
    fit: bool = True,
    name: str = "flow",
) -> Iterator[Progress]:
    """Train on bare latents and the ``rows`` of the same persons until ``config.steps`` or the ``deadline``.

    Resumes from the stage ``name`` in ``run_dir``; ends with the averaged weights in ``model``. Losses are mean squared
    velocity errors. ``samples`` are drawn on the way and at the end, and change nothing. Without ``fit`` the model keeps the
    standardisation and the linear Gaussian part it has, which its network was trained beside.
    """
    device = model.centre.device
    stage = Stage(name, run_dir, model.velocity_net)
    stage.load()
    tables = _tables(model, rows, config.table_versions, seed, device)
    model.velocity_net.requires_grad_(True)
    if fit and model.has_image:
        model.fit_standardisation(latents.flatten(0, 1).float().to(device), config.whitening)
    if fit:
        model.fit_prior(torch.stack([model.standardise(v.float().to(device)) for v in latents]), *tables[:2])

    compiled(model.velocity_net.blocks, device)
    if samples:
        samples.begin(stage.step, stage.seconds)

    def observe(stage: Stage, left: float, last: bool) -> None:
        if samples and (last or samples.due(stage.seconds)):
            samples.draw(model, stage.ema, stage.step, stage.seconds, left)

    objective = _velocity_error(model, latents.to(device), tables, config, seed + 7)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every, report_every=50)
    yield from optimise(stage, objective, config.learning_rate, limits, observe=observe)


def _velocity_error(
    model: JointModel,
    latents: Float[Tensor, "n copies tokens latent"],
    tables: Tables,
    config: FlowTraining,
    seed: int,
) -> Objective:
    """Mean squared velocity errors of the image and of the columns (Liu et al., arXiv 2209.03003, equation 1)."""
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    has_image = torch.ones(config.batch, dtype=torch.bool, device=device)

    def loss(step: int) -> Loss:
        clean, noise, levels, here = _examples(model, latents, tables, config, seed, step)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            predicted = model.velocity(interpolate(clean, noise, levels), levels)
        image, columns = flow_loss(predicted, clean, noise, levels, here, has_image, model.mask)
        parts = {"image": image, "table": columns} if model.has_image else {"table": columns}
        return Loss(image + config.table_weight * columns, parts)

    return loss


@torch.no_grad()
def _examples(
    model: JointModel,
    latents: Float[Tensor, "n copies tokens latent"],
    tables: Tables,
    config: FlowTraining,
    seed: int,
    step: int,
) -> tuple[Joint, Joint, Levels, Bool[Tensor, "b k"]]:
    """A step's clean states, their noise, their levels, and which cells are known."""
    (state, known, spread), device = tables, model.centre.device
    generator = step_generator(seed, step)
    pick = torch.randint(len(latents), (config.batch,), generator=generator)
    copy = torch.randint(latents.shape[1], (config.batch,), generator=generator)
    levels = config.mixture.draw(config.batch, known.shape[1], generator, model.config.shift)
    drawn = generator if device.type == "cpu" else step_generator(seed, step, device)
    index = pick.to(device)
    bare, here = latents[index, copy.to(device)].float(), known[index]
    levels = Levels(levels.image.to(device), torch.where(here, levels.table.to(device), 1.0))
    given = here & (levels.table == 0)
    jitter = torch.randn(bare.shape, generator=drawn, device=device)
    if model.has_image:
        bare = bare + torch.exp(0.5 * model.autoencoder.logvar) * jitter
    version = torch.randint(len(spread), (config.batch,), generator=generator).to(device)
    table = torch.where(given[..., None], state[index], spread[version, index])
    clean = Joint(model.standardise(model.fuse(bare, table, given)), table)
    noise = Joint(*(torch.randn(part.shape, generator=drawn, device=device) for part in clean))
    return clean, noise, levels, here


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
