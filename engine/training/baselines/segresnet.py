"""A plain SegResNet from scan to classes, the yardstick of ``segment``: the same persons, crops and loss."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from monai.networks.nets.segresnet import SegResNet
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.config import MaskConfig
from engine.training.loop import Limits, Loss, optimise
from engine.training.run import OptimizerConfig, Progress, RunError, Stage
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.local.crops import CropConfig, Crops
from engine.training.stages.mask import class_of_code, label_loss, load_masks


@dataclass(frozen=True, kw_only=True)
class SegmentTraining:
    """AdamW at ``rate``, falling over ``minutes`` as a cosine; ``width`` is the network's channels at full resolution, ``dice`` the
    weight of a soft Dice beside the cross-entropy."""

    minutes: float = 30.0
    crops: CropConfig = field(default_factory=CropConfig)
    width: int = 16
    rate: float = 1e-3
    decay: float = 1e-5
    dice: float = 0.3


def train_segresnet(
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    mask: MaskConfig,
    config: SegmentTraining,
    *,
    seed: int = 0,
    progress: Callable[[Progress], None] | None = None,
) -> SegResNet:
    """Fit the classes of those of the store's ``rows`` who have labels, by MONAI's SegResNet (Myronenko, arXiv 1810.11654)."""
    rows = rows[store.labelled[rows]]
    if not len(rows):
        raise RunError(f"no training person of {store.path} has a label map; give a store that was made with --labels")
    torch.manual_seed(seed)
    table, device = class_of_code(mask), torch.device("cpu")
    net = SegResNet(in_channels=len(store.channels), out_channels=len(mask.classes), init_filters=config.width).train()

    def make(row: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        del generator  # a person is as it is
        which = np.array([row])
        return load_batch(store, which, device)[0, :-1], load_masks(store, which, table)[0]

    crops = Crops(make, rows, store.grid, config.crops, seed)
    begun, seconds = time.monotonic(), config.minutes * 60

    def loss(step: int) -> Loss:
        (scan, labels), _, _ = crops(step)
        entropy, overlap = label_loss(net(scan), labels)
        return Loss(entropy + config.dice * overlap, {"entropy": entropy, "dice": overlap})

    def rate(step: int) -> float:
        share = min((time.monotonic() - begun) / seconds, 1.0)
        return config.rate * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * share))))

    stage = Stage("segresnet", None, net, OptimizerConfig(betas=(0.9, 0.999), decay=config.decay, averaged=False))
    for found in optimise(stage, loss, rate, Limits(steps=10**6, deadline=begun + seconds)):
        if progress:
            progress(found)
    return net.eval()


@torch.inference_mode()
def classes_of(net: SegResNet, scan: Float[np.ndarray, "c x y z"]) -> UInt8[np.ndarray, "x y z"]:
    """The likeliest class of every voxel of a whole scan, in 0..1."""
    return net(torch.from_numpy(scan)[None]).argmax(1)[0].to(torch.uint8).numpy()
