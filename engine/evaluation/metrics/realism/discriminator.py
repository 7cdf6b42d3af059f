"""Whether a network can tell made volumes from real ones it has not seen: the cross-fitted AUC of a small 3D ResNet.

The ResNet of :mod:`engine.training.baselines.resnet`, narrow, learns on the persons of all folds but one and scores the
persons of that one. All of a person's volumes (crops) lie in one fold, and whole persons are drawn for the interval.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, UInt8
from monai.networks.nets.resnet import ResNet
from torch import nn

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.classify import FOLDS, fold_auc, splits, subject_folds
from engine.evaluation.metrics.interval import Figure, bootstrap
from engine.training.baselines.resnet import residual_network
from engine.training.loop import Limits, Loss, optimise
from engine.training.run import OptimizerConfig, Stage, step_generator

#: volumes scored at once
CHUNK = 32


@dataclass(frozen=True, kw_only=True)
class DiscriminatorConfig:
    """AdamW over ``steps`` of ``batch`` volumes, half of them real, at a ``rate`` that falls linearly to zero, with weight
    ``decay``. ``width`` multiplies the network's channels (64 to 512); the first layer sees 3^3 voxels,
    at every ``stride``-th."""

    steps: int = 80
    batch: int = 12
    rate: float = 3e-3
    decay: float = 0.05
    width: float = 0.25
    stride: int = 1

    def __post_init__(self) -> None:
        if self.steps < 1 or self.batch < 4 or self.batch % 2:
            raise EvaluationError(f"{self.steps} steps of {self.batch} volumes: give 1 or more, of an even 4 or more")


def discriminator_auc(
    real: UInt8[np.ndarray, "n k c x y z"],
    made: UInt8[np.ndarray, "m k c x y z"],
    config: DiscriminatorConfig,
    rng: np.random.Generator,
    *,
    judged: int | None = None,
    resamples: int = 500,
) -> Figure:
    """AUC of telling each of a person's ``k`` volumes; .5 cannot be told, 1 is always told.

    Real persons beyond the first ``judged`` (None: all) are only learnt from. Raises :class:`EvaluationError` on unequal
    N, since what a network learns grows with it, and on fewer than ten persons a side.
    """
    n, k = real.shape[:2]
    if len(made) != n:
        raise EvaluationError(f"{n} real and {len(made)} made persons: give as many of each")
    folds = np.concatenate([_spread_folds(n, judged or n, rng), subject_folds(n, rng)])
    volumes = np.concatenate([real, made]).reshape(2 * n * k, *real.shape[2:])
    labels = np.repeat(np.arange(2 * n) >= n, k)
    fold_of = np.repeat(folds, k)
    seed = int(rng.integers(2**31))

    scores = np.zeros(len(volumes))
    for number, (train, test) in enumerate(splits(fold_of)):
        net = trained(volumes[train], labels[train], config, seed + number)
        scores[test] = scored(net, volumes[test])
    person = np.repeat(np.arange(2 * n), k)
    kept = (person < (judged or n)) | (person >= n)
    y, s, f = labels[kept], scores[kept], fold_of[kept]
    return bootstrap(lambda i: fold_auc(y[i], s[i], f[i]), person[kept], rng, resamples=resamples)


def _spread_folds(n: int, judged: int, rng: np.random.Generator) -> Int[np.ndarray, " n"]:
    """Folds of ``n`` persons of which the first ``judged`` are spread evenly, too."""
    if judged >= n:
        return subject_folds(n, rng)
    first = subject_folds(judged, rng)
    return np.concatenate([first, rng.permutation((np.arange(n - judged) + judged) % FOLDS)])


def trained(
    volumes: UInt8[np.ndarray, "n c x y z"], labels: Bool[np.ndarray, " n"], config: DiscriminatorConfig, seed: int
) -> ResNet:
    """The network after its training; the same for the same seed. Volumes are flipped left to right half of the time."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = residual_network(volumes.shape[1], 1, config.width, kernel=3, stride=config.stride).train()
    sides = [torch.from_numpy(np.flatnonzero(labels == side)) for side in (False, True)]
    target = torch.arange(config.batch) % 2

    def loss(step: int) -> Loss:
        generator = step_generator(seed, step)
        picks = [side[torch.randint(len(side), (config.batch // 2,), generator=generator)] for side in sides]
        batch = _intensities(volumes[torch.stack(picks, 1).flatten().numpy()])
        flip = torch.rand(config.batch, generator=generator) < 0.5
        batch[flip] = batch[flip].flip(2)
        error = nn.functional.binary_cross_entropy_with_logits(net(batch)[:, 0], target.float())
        return Loss(error, {"loss": error})

    optimizer = OptimizerConfig(betas=(0.9, 0.999), decay=config.decay, averaged=False)
    stage = Stage("discriminator", None, net, optimizer)
    for _ in optimise(stage, loss, lambda step: config.rate * (1 - step / config.steps), Limits(steps=config.steps)):
        pass
    return net.eval()


@torch.inference_mode()
def scored(net: ResNet, volumes: UInt8[np.ndarray, "n c x y z"]) -> Float[np.ndarray, " n"]:
    """The network's logit that each volume was made."""
    chunks = [net(_intensities(volumes[i : i + CHUNK]))[:, 0] for i in range(0, len(volumes), CHUNK)]
    return torch.cat(chunks).double().numpy()


def _intensities(volumes: UInt8[np.ndarray, "n c x y z"]) -> torch.Tensor:
    return torch.from_numpy(volumes).float() / 255
