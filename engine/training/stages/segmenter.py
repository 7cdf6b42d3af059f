"""Training of a segmenter on labelled volumes, with the blur, noise and shading that generated scans may have."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor
from torch.nn.functional import conv3d, grid_sample, interpolate, pad

from engine.cohort.store import CohortStore
from engine.measure.segmenter import Segmenter, SegmenterConfig
from engine.training.augment import Augmentation, augment
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import Progress, Schedule, Stage, bfloat16_is_fast, step_generator

#: voxels beside a part that deformation may bring into it
MARGIN = 8
#: from the step and its generator to images (b, c, x, y, z) and their classes but the background (b, k - 1, x, y, z)
BatchOf = Callable[[int, torch.Generator], tuple[Tensor, Tensor]]


@dataclass(frozen=True, kw_only=True)
class SegmenterTraining(Schedule):
    """How a segmenter is trained.

    ``blur`` is the largest SD of the Gaussian blur in voxels and ``coarse`` the largest factor by which resolution is
    lost, each met by half of the volumes; ``noise`` the largest SD of noise, ``shading`` the SD of the log bias field at
    its 4 x 4 x 4 control points, ``shift`` the largest displacement of the window in voxels, ``cut`` the chance that the
    field of view ends inside the window. ``swell`` is the largest relative growth of the middle of the head, met by half
    of the volumes with a third of it as the largest loss: large ventricles are rare in a cohort. A step sees ``width``
    voxels of the window from left to right, somewhere in it: cheaper, and a head is so symmetric that brightness and
    contrast are those of the whole. ``bfloat16`` as in the autoencoder's training.
    """

    steps: int = 1500
    batch: int = 1
    rate: float = 2e-3
    warmup: int = 20
    constant: int = 150
    blur: float = 1.2
    coarse: float = 2.0
    noise: float = 0.05
    shading: float = 0.15
    shift: int = 5
    width: int = 48
    cut: float = 0.25
    swell: float = 0.6
    bfloat16: bool = True
    augmentation: Augmentation = field(
        default_factory=lambda: Augmentation(
            rotation=5.73, scale=0.06, shift=0.0, elastic=(0.38, 0.67, 0.67), gain=0.1, gamma=0.2
        )
    )


def load_labelled(
    store: CohortStore, rows: Int[np.ndarray, " b"], table: UInt8[np.ndarray, " codes"], classes: int
) -> Float[Tensor, "b c x y z"]:
    """Intensities in 0..1, then one channel for each class but the background; ``table`` takes a label code to a class."""
    assert store.labels is not None
    volumes = torch.from_numpy(np.asarray(store.volumes[rows, :1])).float() / 255
    of_class = torch.from_numpy(table[np.asarray(store.labels[rows])])
    return torch.cat([volumes, *[(of_class == c)[:, None].float() for c in range(1, classes)]], 1)


def window_of(
    volumes: Float[Tensor, "b c x y z"], window: tuple[int, int, int], corner: tuple[int, int, int]
) -> Float[Tensor, "b c i j k"]:
    """The block of ``window`` voxels that begins at ``corner``, which may lie outside; there it is 0."""
    grid = volumes.shape[2:]
    before = [max(0, -c) for c in corner]
    after = [max(0, c + w - n) for c, w, n in zip(corner, window, grid, strict=True)]
    padded = pad(volumes, [n for axis in (2, 1, 0) for n in (before[axis], after[axis])])
    for axis, (c, b, w) in enumerate(zip(corner, before, window, strict=True)):
        padded = padded.narrow(2 + axis, c + b, w)
    return padded


def swollen(
    volumes: Float[Tensor, "b c x y z"],
    centre: Float[Tensor, "3"],
    reach: float,
    config: SegmenterTraining,
    generator: torch.Generator,
) -> Float[Tensor, "b c x y z"]:
    """What lies within about ``reach`` voxels of the voxel ``centre`` grown or shrunk, every channel alike."""
    chance, amount = torch.rand(2, generator=generator).tolist()
    if chance > 0.5:
        return volumes
    growth = config.swell * (amount * 4 / 3 - 1 / 3)
    axes = [torch.arange(n, dtype=torch.float32) - c for n, c in zip(volumes.shape[2:], centre, strict=True)]
    offset = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1)
    pull = torch.exp(-offset.square().sum(-1, keepdim=True) / (2 * reach**2)) * (1 / (1 + growth) - 1)
    where = centre + offset * (1 + pull)
    # grid_sample wants -1..1 with the last axis first
    share = (where / (torch.tensor(volumes.shape[2:]) - 1) * 2 - 1).flip(-1)
    return grid_sample(volumes, share[None].expand(len(volumes), -1, -1, -1, -1), align_corners=True)


def deformed_part(
    volumes: Float[Tensor, "b c x y z"],
    origin: list[int],
    window: tuple[int, int, int],
    config: SegmenterTraining,
    generator: torch.Generator,
    spacing: tuple[float, float, float],
) -> Float[Tensor, "b c w y z"]:
    """A part ``config.width`` wide of the window at voxel ``origin``, displaced and deformed; deformed with a margin."""
    width = min(config.width, window[0])
    i, j, k = torch.randint(-config.shift, config.shift + 1, (3,), generator=generator).tolist()
    i += origin[0] + int(torch.randint(window[0] - width + 1, (1,), generator=generator))
    wide = window_of(volumes, (width + 2 * MARGIN, volumes.shape[3], volumes.shape[4]), (i - MARGIN, 0, 0))
    middle = torch.tensor([origin[0] + window[0] / 2 - i + MARGIN, volumes.shape[3] / 2, origin[2] + 0.6 * window[2]])
    wide = swollen(wide, middle, window[2] / 6, config, generator)
    wide = augment(wide, config.augmentation, generator, spacing=spacing)
    return window_of(wide, (width, *window[1:]), (MARGIN, origin[1] + j, origin[2] + k))


def degrade(
    volumes: Float[Tensor, "b c x y z"], config: SegmenterTraining, generator: torch.Generator
) -> Float[Tensor, "b c x y z"]:
    """Blur, lost resolution, shading, noise and a cut field of view, as ``config`` says; the same for a whole batch."""

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator)

    chances, amounts = uniform(3), uniform(3)
    grid, channels = tuple(volumes.shape[2:]), volumes.shape[1]
    if chances[0] < 0.5:
        reach = torch.arange(-4.0, 5.0)
        kernel = torch.exp(-0.5 * (reach / (config.blur * amounts[0]).clamp(min=0.2)) ** 2)
        kernel = kernel / kernel.sum()
        for shape in ((9, 1, 1), (1, 9, 1), (1, 1, 9)):
            each = kernel.reshape(1, 1, *shape).expand(channels, -1, -1, -1, -1)
            volumes = conv3d(volumes, each, padding=[n // 2 for n in shape], groups=channels)
    if chances[1] < 0.5:
        factor = 1 + (config.coarse - 1) * amounts[1]
        small = [max(2, round(n / float(factor))) for n in grid]
        volumes = interpolate(interpolate(volumes, small, mode="trilinear"), grid, mode="trilinear")
    field_ = torch.randn((1, 1, 4, 4, 4), generator=generator) * config.shading
    volumes = volumes * interpolate(field_, grid, mode="trilinear", align_corners=True).exp()
    noise = torch.randn(volumes.shape, generator=generator) * config.noise * amounts[2]
    volumes = (volumes + noise).clamp(min=0)
    if chances[2] < config.cut:
        # scans end below the brain, or just above or before the head
        ends = uniform(2)
        volumes = volumes.clone()
        volumes[..., : int(ends[0] * grid[2] / 6)] = 0
        volumes[:, :, :, grid[1] - int(ends[1] * grid[1] / 16) :] = 0
    return volumes


def segmentation_loss(
    scores: Float[Tensor, "b k x y z"], target: Float[Tensor, "b f x y z"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy with soft targets, and one minus the mean soft Dice of the foreground classes (f = k - 1)."""
    log = scores.float().log_softmax(1)
    background = (1 - target.sum(1, keepdim=True)).clamp(min=0)
    entropy = -(torch.cat([background, target], 1) * log).sum(1).mean()
    found = log[:, 1:].exp()
    axes = (0, 2, 3, 4)
    dice = (2 * (found * target).sum(axes) + 1) / (found.sum(axes) + target.sum(axes) + 1)
    return entropy, 1 - dice.mean()


def head_batches(
    frame: SegmenterConfig,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    table: UInt8[np.ndarray, " codes"],
    config: SegmenterTraining,
) -> BatchOf:
    """Parts of the store's heads ``rows``; ``table`` takes a label code to a class."""
    origin = np.round((frame.affine[:3, 3] - store.affine[:3, 3]) / frame.voxel).astype(int).tolist()

    def batch_of(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        pick = torch.randint(len(rows), (config.batch,), generator=generator).numpy()
        whole = load_labelled(store, rows[pick], table, len(frame.classes))
        part = deformed_part(whole, origin, frame.window, config, generator, store.spacing)
        return degrade(part[:, :1], config, generator), part[:, 1:]

    return batch_of


def train_segmenter(
    net: Segmenter,
    batch_of: BatchOf,
    config: SegmenterTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train on ``batch_of`` until ``config.steps`` or the ``deadline`` (``time.monotonic``), yielding progress.

    Resumes from ``run_dir``; ends with the averaged weights in ``net``.
    """
    run_dir.mkdir(parents=True, exist_ok=True)
    stage = Stage("segmenter", run_dir, net)
    stage.load()
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)
    yield from optimise(stage, _overlap(net, batch_of, config, seed), config.learning_rate, limits)


def _overlap(net: Segmenter, batch_of: BatchOf, config: SegmenterTraining, seed: int) -> Objective:
    """:func:`segmentation_loss` of each step's batch."""
    fast = config.bfloat16 and bfloat16_is_fast(torch.device("cpu"))

    def loss(step: int) -> Loss:
        images, target = batch_of(step, step_generator(seed, step))
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            scores = net(images)
        entropy, overlap = segmentation_loss(scores, target)
        return Loss(entropy + overlap, {"entropy": entropy, "overlap": overlap})

    return loss
