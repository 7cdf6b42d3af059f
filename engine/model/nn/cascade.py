"""Between a model's grid and one a whole number of times as coarse, on which its autoencoders stand.

A box of voxels becomes one, its mean or its commonest class; back go trilinear interpolations of intensities and of class
scores. Where the model's grid is no multiple of whole tokens it is padded with nothing, as much on either side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.config import AutoencoderConfig
from engine.model.nn.autoencoder import space_to_depth
from engine.model.nn.tiles.boxes import Box, enlarged, in_tiles

#: voxels above which classes are scored in tiles
WHOLE = 2**21


@dataclass(frozen=True)
class Cascade:
    """The way between a model's ``grid`` and one ``by`` times as coarse, on which ``margin`` voxels of the model's lie outside its grid
    at either end of each axis. Nothing is done, and nothing copied, where ``by`` is 1."""

    grid: tuple[int, ...]
    by: int
    margin: tuple[int, ...]

    @classmethod
    def of(cls, image: AutoencoderConfig) -> Cascade:
        """That of a model of these sizes."""
        by = image.reduction
        margin = [(by * coded - n) // 2 for n, coded in zip(image.grid, image.coded, strict=True)]
        return cls(tuple(image.grid), by, tuple(margin))

    @property
    def coded(self) -> tuple[int, ...]:
        """The coarse grid."""
        return tuple((n + 2 * margin) // self.by for n, margin in zip(self.grid, self.margin, strict=True))

    def coarser(self, volume: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c i j k"]:
        """Means of boxes."""
        return volume if self.by == 1 else nn.functional.avg_pool3d(self._padded(volume), self.by)

    def finer(self, volume: Float[Tensor, "b c i j k"]) -> Float[Tensor, "b c x y z"]:
        """Interpolated between the middles of boxes, along each axis."""
        if self.by == 1:
            return volume
        return nn.functional.interpolate(volume, scale_factor=self.by, mode="trilinear")[(..., *self._inside)]

    def coarser_labels(self, labels: UInt8[Tensor, "b x y z"] | Tensor) -> UInt8[Tensor, "b i j k"] | Tensor:
        """The commonest class of each box, of equals one that is there."""
        if self.by == 1:
            return labels
        boxes = space_to_depth(self._padded(labels)[:, None], self.by)
        count = torch.stack([(boxes == boxes[:, k, None]).sum(1, dtype=torch.uint8) for k in range(boxes.shape[1])], 1)
        return boxes.gather(1, count.argmax(1, keepdim=True))[:, 0]

    def likeliest(self, scores: Float[Tensor, "b k i j k2"]) -> UInt8[Tensor, "b x y z"]:
        """Of each voxel of the model's grid the likeliest class, in tiles where it is large; ``scores`` are on the coarse one."""
        if self.by == 1 or math.prod(self.grid) <= WHOLE:
            return self.finer(scores).argmax(1).to(torch.uint8)
        out = torch.empty(len(scores), *self.grid, dtype=torch.uint8, device=scores.device)
        told = Scores(self, scores)
        return in_tiles(lambda box: told.within(box).argmax(1).to(torch.uint8), (), self.grid, out)

    def _padded(self, values: Float[Tensor, "*b x y z"] | Tensor) -> Tensor:
        around = [n for margin in reversed(self.margin) for n in (margin, margin)]
        return nn.functional.pad(values, around) if any(around) else values

    @property
    def _inside(self) -> Box:
        return tuple(slice(margin, margin + n) for margin, n in zip(self.margin, self.grid, strict=True))


class Scores:
    """Class scores on the coarse grid, seen box by box on the model's."""

    def __init__(self, cascade: Cascade, scores: Float[Tensor, "b k i j k2"]) -> None:
        self.cascade, self.scores = cascade, scores

    def within(self, box: Box) -> Float[Tensor, "b k x y z"]:
        """The logits of the voxels in a ``box`` of voxels."""
        moved = zip(box, self.cascade.margin, strict=True)
        return enlarged(self.scores, tuple(slice(s.start + m, s.stop + m) for s, m in moved), self.cascade.by)
