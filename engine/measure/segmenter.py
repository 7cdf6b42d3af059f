"""A small network that says of every voxel what it is, and how sure: the ruler behind the anatomical measures.

The network (a MONAI ``DynUNet``, after nnU-Net, Isensee et al. 2021) works on half-resolution maps: cubes of 2 x 2 x 2
voxels are folded into channels at the start and unfolded at the end, which costs a quarter of the time on a CPU and
loses no voxel; of thick slices only squares within them. Its output is a probability, so that a volume is an expectation:
a voxel half in a ventricle counts half.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor, nn

from engine.imaging.volume import Volume, VolumeError, centred_affine
from engine.vocabulary.refusal import ConfigError

#: share of the 99th percentile from which a voxel counts as tissue when brightness is judged
FOREGROUND = 0.15
#: added to the sum of channels before a share is taken of it, so that noise in air has none
DARK = 0.1


@dataclass(frozen=True, kw_only=True)
class SegmenterConfig:
    """Sizes of a segmenter. ``window`` is the grid it sees, of ``spacing`` mm voxels, its middle at ``centre`` (RAS mm);
    ``classes`` are its outputs, the first the background; ``widths`` the channels of each level; ``inputs`` the channels
    of a scan; ``refine`` the width of a last layer that weighs the scores of each voxel with its own intensities, for
    structures as fine as a voxel (0: none); ``fraction`` shows both the share of the last channel in the sum of all, too
    (of water and fat: the fat fraction, which neither coils nor the scale change); ``flat`` of the first halvings, the fold
    among them, lie within slices, for voxels far thicker than wide, and so do the kernels of as many levels; ``fold`` is the
    side of what is folded."""

    classes: tuple[str, ...]
    window: tuple[int, int, int]
    spacing: float | tuple[float, float, float]
    centre: tuple[float, float, float]
    widths: tuple[int, ...] = (32, 48, 64, 96)
    inputs: int = 1
    refine: int = 0
    fraction: bool = False
    flat: int = 0
    fold: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.flat <= len(self.widths):
            raise ConfigError(
                f"{len(self.widths)} halvings cannot have {self.flat} within slices; give that many or fewer"
            )
        if len(self.window) != 3 or any(n % m for n, m in zip(self.window, self.multiples, strict=True)):
            sides = " x ".join(map(str, self.multiples))
            raise ConfigError(f"window {self.window} does not halve {len(self.widths)} times; use multiples of {sides}")
        if len(self.classes) < 2 or len(self.widths) < 3 or min(self.voxel) <= 0 or self.inputs < 1:
            raise ConfigError("a segmenter needs two classes, three levels, a channel and a positive spacing")

    @property
    def halvings(self) -> tuple[tuple[int, int, int], ...]:
        """By how much each halving, the fold first, divides each side."""
        sides = (self.fold, *[2] * (len(self.widths) - 1))
        return tuple((side, side, 1 if level < self.flat else side) for level, side in enumerate(sides))

    @property
    def multiples(self) -> tuple[int, int, int]:
        """What the sides of a grid must be multiples of."""
        x, y, z = (math.prod(sides) for sides in zip(*self.halvings, strict=True))
        return x, y, z

    @property
    def voxel(self) -> tuple[float, float, float]:
        """Size of a voxel in mm along x, y, z."""
        s = self.spacing
        return s if isinstance(s, tuple) else (s, s, s)

    @property
    def voxel_ml(self) -> float:
        """Volume of a voxel in ml."""
        return math.prod(self.voxel) / 1000

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """The window's ``ijk_to_ras``."""
        affine = centred_affine(self.window, self.voxel)
        affine[:3, 3] += self.centre
        return affine


class Segmenter(nn.Module):
    """From intensities to class scores on a grid; the scale of the intensities does not matter."""

    def __init__(self, config: SegmenterConfig) -> None:
        from monai.networks.nets.dynunet import DynUNet

        super().__init__()
        self.config = config
        fold, *strides = config.halvings
        kernels = [(3, 3, 1 if level < config.flat else 3) for level in range(len(config.widths))]
        self.net = DynUNet(
            spatial_dims=3,
            in_channels=math.prod(fold) * (config.inputs + config.fraction),
            out_channels=math.prod(fold) * len(config.classes),
            kernel_size=kernels,
            strides=[(1, 1, 1), *strides],
            upsample_kernel_size=strides,
            filters=list(config.widths),
            norm_name=("INSTANCE", {"affine": True}),
        )
        self.refine = None
        if config.refine:
            classes = len(config.classes)
            last = nn.Conv3d(config.refine, classes, 1)
            nn.init.zeros_(last.weight)
            seen = classes + config.inputs + config.fraction
            self.refine = nn.Sequential(nn.Conv3d(seen, config.refine, 1), nn.LeakyReLU(), last)

    def forward(self, volumes: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b k x y z"]:
        """Scores (logits) of every class."""
        seen = [volumes / brightness(volumes).clamp(min=1e-6)]
        if self.config.fraction:
            seen.append(seen[0][:, -1:] / (seen[0].sum(1, keepdim=True) + DARK))
        i, j, k = self.config.halvings[0]
        folded = rearrange(torch.cat(seen, 1), "b c (x i) (y j) (z k) -> b (c i j k) x y z", i=i, j=j, k=k)
        scores = rearrange(self.net(folded), "b (c i j k) x y z -> b c (x i) (y j) (z k)", i=i, j=j, k=k)
        return scores if self.refine is None else scores + self.refine(torch.cat([scores, *seen], 1))

    def load_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Take the parameters by name, as ``named_parameters`` gives them (DynUNet holds each under two names, so a state
        dict is twice as long). Raises :class:`ValueError` unless names and shapes are exactly those of this network."""
        own = dict(self.named_parameters())
        if {k: v.shape for k, v in own.items()} != {k: v.shape for k, v in weights.items()}:
            raise ConfigError("the weights belong to a network of other sizes")
        with torch.no_grad():
            for name, parameter in own.items():
                parameter.copy_(weights[name])

    @torch.inference_mode()
    def classify(self, data: Float[np.ndarray, "c x y z"]) -> Float[np.ndarray, "k x y z"]:
        """The classes' probabilities on any grid whose sides are multiples of :attr:`SegmenterConfig.multiples`."""
        scores = self(torch.from_numpy(np.ascontiguousarray(data, dtype=np.float32))[None])
        return scores.float().softmax(1)[0].numpy()

    def probabilities(self, volume: Volume) -> Float[np.ndarray, "k x y z"]:
        """The classes' probabilities on the window (:attr:`SegmenterConfig.affine`) of a scan anywhere in RAS mm.

        Outside the scan's field of view the network sees 0. Raises :class:`VolumeError` for a scan of one colour.
        """
        data = volume.resampled(self.config.window, self.config.affine).data.astype(np.float32)
        if float(data.max()) - float(data.min()) < 1e-6:
            raise VolumeError(
                "there is nothing to see in this scan: every voxel where a head should be has the same value"
            )
        return self.classify(data.reshape(-1, *self.config.window))


def brightness(volumes: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b 1 1 1 1"]:
    """The median of each volume's foreground (voxels above :data:`FOREGROUND` of the 99th percentile), from every
    eighth voxel; of several channels, that of their sum."""
    sparse = volumes[:, :, ::2, ::2, ::2].float().sum(1).flatten(1)
    level = torch.quantile(sparse, 0.99, dim=1, keepdim=True) * FOREGROUND
    median = torch.where(sparse > level, sparse, torch.nan).nanmedian(dim=1).values
    return median.nan_to_num(1.0).reshape(-1, 1, 1, 1, 1)
