"""First stage: the image autoencoder and the fusion of given columns into its latent."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import FACTOR, patch_components
from engine.training.augment import Augmentation, augment
from engine.training.run import Progress, Stage, bfloat16_is_fast, compiled, learning_rate, step_generator

#: persons whose volumes are held in memory at once to start from
FIRST = 128


@dataclass(frozen=True, kw_only=True)
class AutoencoderTraining:
    """How the autoencoder is trained. ``noise`` is the assumed SD of a voxel: with it the loss is the evidence bound;
    ``beta`` weighs its divergence term, ``edges`` the error of voxel differences, ``inside`` the extra weight inside
    the mask. ``bfloat16`` is used where the device has it; off for grids under 48 voxels a side, whose 2 x 2 x 2 maps get
    wrong bfloat16 convolution gradients on CPUs (torch 2.15)."""

    steps: int = 6000
    batch: int = 2
    rate: float = 5e-4
    warmup: int = 100
    constant: int = 1500
    noise: float = 0.05
    beta: float = 0.3
    edges: float = 0.5
    inside: float = 1.0
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
    """Template and linear encoder from :data:`FIRST` training rows: mean, and components divided by sqrt of their SD."""
    coder, device = model.autoencoder, model.centre.device
    rows = rows[:: max(1, len(rows) // FIRST)][:FIRST]
    volumes = torch.stack([load_batch(store, rows[i : i + 1], device)[0, :-1] for i in range(len(rows))])
    mean = volumes.mean(0)
    # where half of the training volumes are mirrored, a template that is its own mirror image
    coder.template.copy_((mean + mean.flip(1)) / 2 if mirrored else mean)
    components, _ = patch_components(volumes - coder.template, min(coder.config.latent, len(rows) * 8))
    scores = torch.stack(
        [
            nn.functional.conv3d((v - coder.template)[None], _kernels(components, v.shape[0]), stride=FACTOR)
            for v in volumes
        ]
    )
    spread = scores.square().mean((0, 1, 3, 4, 5)).sqrt().clamp(min=1e-3)
    with torch.no_grad():
        coder.linear.weight.zero_()
        coder.linear.weight[: len(components)] = _kernels(components, volumes.shape[1]) / spread.sqrt().reshape(
            -1, 1, 1, 1, 1
        )


def _kernels(components: Float[Tensor, "k voxels"], channels: int) -> Float[Tensor, "k c f f f"]:
    """Components of ``space_to_depth`` order (channel, then offsets) as convolution kernels."""
    return components.reshape(-1, channels, FACTOR, FACTOR, FACTOR)


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


def train_autoencoder(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    table: tuple[Float[np.ndarray, "m k d"], Bool[np.ndarray, "m k"]],
    config: AutoencoderTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
    decoder_only: bool = False,
) -> Iterator[Progress]:
    """Train on the store's ``rows`` until ``config.steps`` or the ``deadline`` (``time.monotonic``), yielding progress.

    Resumes from ``run_dir``; ends with the averaged weights in ``model``. ``table`` holds the state and the known cells of
    every row of the store. With ``decoder_only`` a trained model's latents stay what they are, and so does what a flow has
    learned of them.
    """
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    coder = model.autoencoder
    modules = nn.ModuleList([coder] if model.fusion is None else [coder, model.fusion]).requires_grad_(True)
    if decoder_only:
        for part in (coder.linear, coder.encoder, coder.logvar, model.fusion):
            if part is not None:
                part.requires_grad_(False)
    stage = Stage("autoencoder", run_dir, modules, config.rate)
    extra = stage.load()
    if extra:
        model.autoencoder.template.copy_(extra["template"])
    elif not decoder_only:
        initialise(model, store, rows, mirrored=config.augmentation.mirror > 0)
        stage.ema.__init__(modules)
    stage.extra = {"template": model.autoencoder.template}
    lay_out(coder, torch.channels_last_3d)
    compiled((coder.encoder, coder.decoder), device)
    state, known = (torch.from_numpy(part).to(device) for part in table)
    began, saved, sums, count = time.monotonic() - stage.seconds, time.monotonic(), {}, 0
    for pick, generator, read in batches(stage, store, rows, config.batch, config.steps, seed):
        scan = scaled(read, device)
        batch = augment(scan, config.augmentation, generator, len(store.channels), spacing=store.spacing)
        volumes, mask = batch[:, :-1], batch[:, -1:]
        index = torch.from_numpy(rows[pick]).to(device)
        means, tokens = encoded(model, volumes, (state[index], known[index]), generator, (seed, stage.step), fast)
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            output = model.autoencoder.decode(tokens)
        error = reconstruction_loss(output, volumes, 1 + config.inside * mask, config.edges)
        divergence = model.autoencoder.kl(means.float()) / volumes[0].numel()
        loss = error / (2 * config.noise**2) + config.beta * divergence
        stage.advance(loss, learning_rate(stage.step, config.rate, config.warmup, config.constant))
        for name, value in (("reconstruction", error), ("divergence", divergence)):
            sums[name] = sums.get(name, 0.0) + value.detach()
        count, stage.seconds = count + 1, time.monotonic() - began
        late = deadline is not None and time.monotonic() > deadline
        if late or stage.step == config.steps or time.monotonic() - saved > save_every:
            stage.done = late or stage.step == config.steps
            stage.save()
            saved = time.monotonic()
        if stage.done or stage.step % 25 == 0:
            losses = {name: float(value) / count for name, value in sums.items()}
            sums, count = {}, 0
            yield Progress("autoencoder", stage.step, config.steps, stage.seconds, losses)
    stage.ema.copy_to(modules)
    lay_out(coder, torch.contiguous_format)


def encoded(
    model: JointModel,
    volumes: Float[Tensor, "b c x y z"],
    table: tuple[Float[Tensor, "b k d"], Bool[Tensor, "b k"]],
    generator: torch.Generator,
    seeded: tuple[int, int],
    fast: bool,
) -> tuple[Float[Tensor, "b n latent"], Float[Tensor, "b n latent"]]:
    """Bare means of volumes, and tokens drawn about them with a random part of the known columns fused in.

    ``table``: state and known cells; ``seeded``: the seed and step of noise that is drawn on another device than the CPU.
    """
    state, known = table
    device = volumes.device
    share = torch.rand(len(volumes), 1, generator=generator)
    given = known & (torch.rand(len(volumes), known.shape[1], generator=generator) < share).to(device)
    with torch.autocast(device.type, torch.bfloat16, enabled=fast):
        means = model.autoencoder.encode(volumes)
    fused = model.fuse(means.float(), state, given)
    drawn = generator if device.type == "cpu" else step_generator(*seeded, device)
    noise = torch.randn(fused.shape, generator=drawn, device=device)
    return means, model.autoencoder.posterior(fused, noise)


def lay_out(module: nn.Module, form: torch.memory_format) -> None:
    """Channels last take a seventh off a training step on a CPU; but then a person depends on how many are drawn at once."""
    for layer in module.modules():
        if isinstance(layer, nn.Conv3d):
            layer.to(memory_format=form)


def batches(
    stage: Stage, store: CohortStore, rows: Int[np.ndarray, " n"], batch: int, steps: int, seed: int
) -> Iterator[tuple[Int[np.ndarray, " b"], torch.Generator, tuple[np.ndarray, np.ndarray]]]:
    """Which persons, the randomness and the scans of every step that is left, read while the step before is computed."""

    def prepare(step: int) -> tuple[Int[np.ndarray, " b"], torch.Generator, tuple[np.ndarray, np.ndarray]]:
        generator = step_generator(seed, step)
        pick = torch.randint(len(rows), (batch,), generator=generator).numpy()
        return pick, generator, _read(store, rows[pick])

    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(prepare, stage.step)
        while stage.step < steps and not stage.done:
            ready, coming = coming.result(), reader.submit(prepare, stage.step + 1)
            yield ready
