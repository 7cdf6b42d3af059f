"""A plain 3D ResNet from scan to attributes, the yardstick of inference: the same persons, the same augmentation."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from monai.networks.nets.resnet import ResNet, resnet10
from torch import Tensor, nn

from engine.cohort.store import CohortStore
from engine.training.augment import Augmentation, augment
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import OptimizerConfig, Progress, Stage, step_generator
from engine.training.stages.features import load_scans


@dataclass(frozen=True, kw_only=True)
class DirectTraining:
    """AdamW with a cosine to zero over ``steps`` of ``batch`` persons; scans are first averaged over ``pool``^3 voxels.
    ``width`` multiplies the network's channels (64 to 512)."""

    steps: int = 1500
    batch: int = 4
    rate: float = 1e-3
    decay: float = 0.05
    pool: int = 2
    width: float = 1.0
    augmentation: Augmentation = field(default_factory=Augmentation)

    def learning_rate(self, step: int) -> float:
        return self.rate * 0.5 * (1 + math.cos(math.pi * step / self.steps))


def residual_network(channels: int, outputs: int, width: float, *, kernel: int = 7, stride: int = 2) -> ResNet:
    """An untrained ResNet-10; its first layer sees ``kernel``^3 voxels at every ``stride``-th, a pooling halves again."""
    return resnet10(
        spatial_dims=3,
        n_input_channels=channels,
        conv1_t_size=kernel,
        conv1_t_stride=stride,
        num_classes=outputs,
        widen_factor=width,
    )


def train_direct(
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    target: Float[Tensor, "n k"],
    binary: Bool[Tensor, " k"],
    config: DirectTraining,
    seed: int = 0,
) -> Iterator[Progress | ResNet]:
    """Fit the ``target`` of the store's ``rows`` (a number standardised, or 0 and 1 where ``binary``; NaN: missing) by a
    ResNet-10 (He et al., arXiv 1512.03385; Hara et al., arXiv 1711.09577); yields progress and at the end the network."""
    torch.manual_seed(seed)
    net = residual_network(len(store.channels), target.shape[1], config.width).train()
    optimizer = OptimizerConfig(betas=(0.9, 0.999), decay=config.decay, clip=None, averaged=False)
    stage = Stage("direct", None, net, optimizer)
    objective = _column_error(net, store, rows, (target, binary), config, seed)
    yield from optimise(stage, objective, config.learning_rate, Limits(steps=config.steps, report_every=1))
    yield net.eval()


def _column_error(
    net: ResNet,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    wanted: tuple[Float[Tensor, "n k"], Bool[Tensor, " k"]],
    config: DirectTraining,
    seed: int,
) -> Objective:
    """Squared error of numbers and cross-entropy of binary columns, over the cells that are there."""
    target, binary = wanted

    def loss(step: int) -> Loss:
        generator = step_generator(seed, step)
        pick = torch.randint(len(rows), (config.batch,), generator=generator)
        scans = load_scans(store, rows[pick.numpy()])
        volumes = augment(scans, config.augmentation, generator, len(store.channels), spacing=store.spacing)
        found = net(nn.functional.avg_pool3d(volumes, config.pool))
        there = target[pick].isfinite()
        cells = target[pick].nan_to_num()
        entropy = nn.functional.binary_cross_entropy_with_logits(found, cells.clamp(0, 1), reduction="none")
        error = torch.where(binary, entropy, (found - cells).square())[there].mean()
        return Loss(error, {"loss": error})

    return loss


@torch.inference_mode()
def read_directly(
    net: ResNet, store: CohortStore, rows: Int[np.ndarray, " n"], config: DirectTraining
) -> Float[np.ndarray, "n k"]:
    """What the network reads off the store's ``rows``, logits where the target was binary."""
    parts = [net(nn.functional.avg_pool3d(load_scans(store, rows[i : i + 1]), config.pool)) for i in range(len(rows))]
    return torch.cat(parts).numpy()
