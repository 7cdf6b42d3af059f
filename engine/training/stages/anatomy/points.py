"""Points of a labelled volume with their classes, drawn more often near borders and from small classes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.phantom.atlas.volume import LabelVolume


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How points are drawn: a voxel at no border ``inner`` times as often as one at a border, one of a class of n voxels in
    proportion to n ** -``balance``. ``jitter``: how far from its centre a point may lie, as a share of half a voxel."""

    inner: float = 0.2
    balance: float = 0.1
    jitter: float = 0.5


class Batch(NamedTuple):
    """Points in mm and the class at each."""

    points: Float[Tensor, "n 3"]
    classes: Int[Tensor, " n"]


class Sampler:
    """Draws points of a volume; what it draws depends on the generator alone."""

    def __init__(self, volume: LabelVolume, open_voxels: Bool[np.ndarray, "x y z"], config: Sampling) -> None:
        """``open_voxels`` are those that are drawn at all."""
        self.config = config
        self.shape = volume.labels.shape
        self.origin = torch.tensor(volume.origin)
        self.spacing = torch.tensor(volume.spacing)
        self.voxels = torch.from_numpy(np.flatnonzero(open_voxels))
        self.labels = torch.from_numpy(volume.labels.reshape(-1)[self.voxels.numpy()])
        borders = volume.borders.reshape(-1)[self.voxels.numpy()]
        sizes = torch.bincount(self.labels.long(), minlength=len(volume.classes)).clamp(min=1).double()
        at_border = torch.where(torch.from_numpy(borders), 1.0, config.inner)
        weights = at_border * (sizes**-config.balance)[self.labels.long()]
        self.upto = weights.cumsum(0)

    def draw(self, n: int, generator: torch.Generator) -> Batch:
        """``n`` points, one in each of n equal parts of the total weight: evenly spread, and near each other in memory."""
        quantiles = (torch.arange(n) + torch.rand(n, generator=generator, dtype=torch.float64)) / n
        found = torch.searchsorted(self.upto, quantiles * self.upto[-1]).clamp(max=len(self.voxels) - 1)
        flat = self.voxels[found]
        _, ny, nz = self.shape
        places = torch.stack([flat // (ny * nz), flat // nz % ny, flat % nz], 1)
        off = (torch.rand((n, 3), generator=generator) - 0.5) * self.config.jitter
        return Batch(self.origin + (places + off) * self.spacing, self.labels[found].long())
