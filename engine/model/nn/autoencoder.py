"""The image autoencoder: a volume to a small grid of latent tokens and back.

A 3D convolutional variational autoencoder (Kingma & Welling, arXiv 1312.6114) with one posterior variance a channel,
space-to-depth at both ends so that nothing wide runs at full resolution, and two priors that cost nothing: the mean
volume of the training split (``template``), which leaves the network only what differs between persons, and a linear
patch encoder, and with ``skip`` decoder, that start as principal components, so that channels come ordered by variance.

Each token covers 16 x 16 x 16 voxels, or a flatter box where voxels are thick: a grid of 96 x 112 x 112 makes 6 x 7 x 7 = 294
tokens. Channels are frames (:mod:`engine.imaging.grid`), so that a token of a cine holds its voxels over the whole cycle.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from jaxtyping import Float, Num
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from engine.model.config import FACTOR, AutoencoderConfig

#: numbers of a person's map from which a residual block keeps only its input for the gradient and computes the rest twice
#: (activation checkpointing, arXiv 1604.06174): none on the grids of 2 mm heads, 115 MB a block on 2 x 2 x 3 mm torsos
RECOMPUTED = 2**23


#: voxels folded along all three axes, or along each
Factor = int | tuple[int, int, int]


def space_to_depth(x: Num[Tensor, "b c x y z"], factor: Factor = 2) -> Num[Tensor, "b c_f x_f y_f z_f"]:
    """Fold each box of ``factor`` voxels into channels; :func:`depth_to_space` undoes it exactly."""
    b, c, i, j, k = x.shape
    f, g, h = _each(factor)
    x = x.reshape(b, c, i // f, f, j // g, g, k // h, h).permute(0, 1, 3, 5, 7, 2, 4, 6)
    return x.reshape(b, c * f * g * h, i // f, j // g, k // h)


def depth_to_space(x: Float[Tensor, "b c_f x_f y_f z_f"], factor: Factor = 2) -> Float[Tensor, "b c x y z"]:
    """Unfold channels into boxes of ``factor`` voxels."""
    b, c, i, j, k = x.shape
    f, g, h = _each(factor)
    x = x.reshape(b, c // (f * g * h), f, g, h, i, j, k).permute(0, 1, 5, 2, 6, 3, 7, 4)
    return x.reshape(b, c // (f * g * h), i * f, j * g, k * h)


def _each(factor: Factor) -> tuple[int, int, int]:
    return (factor, factor, factor) if isinstance(factor, int) else factor


def _convolution(width: int) -> nn.Sequential:
    return nn.Sequential(OrderedDict(conv=nn.Conv3d(width, width, 3, padding=1)))


class ResidualBlock(nn.Module):
    """Twice normalisation, SiLU and convolution, added to what came in (He et al., arXiv 1603.05027, figure 4e).

    Weights are named as those of MONAI's ``AEKLResBlock``, whose import alone takes seconds.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        groups = min(8, width // 4)
        self.norm1 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv1 = _convolution(width)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv2 = _convolution(width)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        if torch.is_grad_enabled() and x[0].numel() > RECOMPUTED:
            return x + checkpoint(self._residual, x, use_reentrant=False)
        return x + self._residual(x)

    def _residual(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        inner = self.conv1(nn.functional.silu(self.norm1(x)))
        return self.conv2(nn.functional.silu(self.norm2(inner)))


def stage(width: int, blocks: int) -> nn.Sequential:
    return nn.Sequential(*[ResidualBlock(width) for _ in range(blocks)])


class Down(nn.Module):
    """Halve the resolution, or lower it by the ``stride`` of each axis: space to depth, then a pointwise map."""

    def __init__(self, inside: int, outside: int, stride: tuple[int, int, int] = (2, 2, 2)) -> None:
        super().__init__()
        self.stride = stride
        self.map = nn.Conv3d(inside * math.prod(stride), outside, 1)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x2 y2 z2"]:
        return self.map(space_to_depth(x, self.stride))


class Up(nn.Module):
    """Double the resolution, or raise it by the ``stride`` of each axis: a pointwise map, then depth to space."""

    def __init__(self, inside: int, outside: int, stride: tuple[int, int, int] = (2, 2, 2)) -> None:
        super().__init__()
        self.stride = stride
        self.map = nn.Conv3d(inside, outside * math.prod(stride), 1)

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x2 y2 z2"]:
        return depth_to_space(self.map(x), self.stride)


class Autoencoder(nn.Module):
    """Volume to token means and back; ``template`` and the latent's places carry what every person shares."""

    template: Tensor

    def __init__(self, config: AutoencoderConfig) -> None:
        super().__init__()
        self.config = config
        w2, w4, w8, w16 = config.widths
        self.first, fourth, eighth, last = config.strides
        cells = math.prod(self.first)
        self.register_buffer("template", torch.zeros(config.channels, *config.coded))
        self.linear = nn.Conv3d(config.channels, config.latent, config.patch, config.patch, bias=False)
        self.encoder = nn.Sequential(
            nn.Sequential(nn.Conv3d(config.channels * cells, w2, 3, padding=1), Down(w2, w4, fourth), stage(w4, 1)),
            nn.Sequential(Down(w4, w8, eighth), stage(w8, 1)),
            nn.Sequential(Down(w8, w16, last), stage(w16, config.blocks)),
            nn.Conv3d(w16, config.latent, 1),
        )
        self.logvar = nn.Parameter(torch.full((config.latent,), -4.0))
        self.place = nn.Parameter(torch.zeros(w16, *config.token_grid))
        self.head = nn.Conv3d(config.latent, w16, 3, padding=1)
        self.decoder = nn.Sequential(
            stage(w16, config.blocks),
            nn.Sequential(Up(w16, w8, last), stage(w8, config.blocks)),
            nn.Sequential(Up(w8, w4, eighth), stage(w4, config.blocks)),
            nn.Sequential(Up(w4, w2, fourth), stage(w2, 1)),
        )
        self.tail = nn.Conv3d(w2, config.channels * cells, 3, padding=1)
        self.back = None
        if config.skip:
            self.back = nn.ConvTranspose3d(config.latent, config.channels, config.patch, config.patch, bias=False)
        for layer in (self.encoder[-1], self.tail):
            assert isinstance(layer, nn.Conv3d)
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)

    def encode(self, volume: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b n latent"]:
        """Token means of volumes scaled to 0..1; tokens in C order of the token grid."""
        difference = volume - self.template
        means = self.linear(difference) + self.encoder(space_to_depth(difference, self.first))
        return means.flatten(2).transpose(1, 2)

    def decode(self, tokens: Float[Tensor, "b n latent"]) -> Float[Tensor, "b c x y z"]:
        """Volumes of the given tokens, not clipped."""
        grid = tokens.transpose(1, 2).reshape(len(tokens), self.config.latent, *self.config.token_grid)
        return self.linear_part(grid) + depth_to_space(
            self.tail(self.decoder(self.head(grid) + self.place)), self.first
        )

    def linear_part(self, grid: Float[Tensor, "b latent x16 y16 z16"]) -> Float[Tensor, "b c x y z"]:
        """The template, and what the linear map makes of tokens on their grid, where there is one."""
        if self.back is None:
            return self.template.expand(len(grid), *self.template.shape)
        return self.template + self.back(grid)

    def posterior(
        self, means: Float[Tensor, "b n latent"], noise: Float[Tensor, "b n latent"]
    ) -> Float[Tensor, "b n latent"]:
        """A draw from q(z | x) = N(means, exp(logvar))."""
        return means + noise * torch.exp(0.5 * self.logvar)

    def kl(self, means: Float[Tensor, "b n latent"]) -> Float[Tensor, ""]:
        """KL(q(z | x) || N(0, 1)) in nats a person (arXiv 1312.6114, appendix B)."""
        return 0.5 * (means**2 + self.logvar.exp() - 1 - self.logvar).sum((1, 2)).mean()


def decoder_flops(config: AutoencoderConfig) -> float:
    """Multiply-adds times two of one decoded volume, convolutions only, divided by its voxels on the coded grid."""
    x, y, z = config.coded
    w2, w4, w8, w16 = config.widths
    strides, places, per = config.strides, x * y * z, []
    for stride in strides:
        places /= math.prod(stride)
        per.append(places)
    total = per[3] * 27 * config.latent * w16
    counts = (1, config.blocks, config.blocks, config.blocks)
    for places, width, count in zip(per, config.widths, counts, strict=True):
        total += places * 27 * width * width * 2 * count
    for places, wide, narrow, stride in zip(per[1:], (w4, w8, w16), (w2, w4, w8), strides[1:], strict=True):
        total += places * wide * math.prod(stride) * narrow
    total += per[0] * 27 * w2 * math.prod(strides[0]) * config.channels
    if config.skip:
        total += x * y * z * config.latent * config.channels
    return 2 * total / (x * y * z)


@torch.no_grad()
def patch_components(
    volumes: Float[Tensor, "n c x y z"], count: int, patch: Factor = FACTOR
) -> tuple[Float[Tensor, "count voxels"], Float[Tensor, " voxels"]]:
    """Principal components of non-overlapping boxes of ``patch`` voxels, by decreasing variance, and the mean cube.

    Also the yardstick of an autoencoder: the same number of latent values, the best linear map.
    """
    cubes = torch.cat([space_to_depth(v[None], patch).flatten(2)[0].T for v in volumes])
    mean = cubes.mean(0)
    rank = min(count, *cubes.shape)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        # randomised subspace iteration (arXiv 0909.4061): a full decomposition of 4096 voxels takes minutes
        vectors = torch.svd_lowrank(cubes - mean, min(rank + 8, *cubes.shape), niter=8)[2]
    return vectors[:, :rank].T.contiguous(), mean
