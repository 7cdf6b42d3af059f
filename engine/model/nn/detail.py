"""The detail of a scan: what its tokens cannot carry, drawn by a small local network that sees the decoded scan and the mask.

A rectified flow from the decoder's posterior mean to the scan (posterior-mean rectified flow, arXiv 2410.00418). The state is
the residual u = (x - D) / s, where D is what the tokens decode to and s(x) the SD of the residual there; u_t = (1 - t) u + t n,
n ~ N(0, 1). The network tells E[u | u_t, D, mask], preconditioned as for data of variance 1 (EDM, arXiv 2206.00364, table 1):
at t = 1, where the state is noise alone, that is the posterior mean, which one evaluation draws; several draw a sample.
"""

from __future__ import annotations

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.config import DetailConfig
from engine.model.nn.autoencoder import Down, Up, depth_to_space, space_to_depth
from engine.model.nn.embedding import NoiseEmbedding

#: voxels of a side to which the network folds its grid, and which corner and size of a crop are multiples of
FOLD = 8
#: voxels a side of the cubes that share an SD of the residual, and the least of them, of intensities 0 to 1
CUBE, LEAST = 4, 0.004
#: numbers that stand for a class, and for an unknown mask, in the network's input
EMBEDDING = 8

#: where a crop begins, in voxels
Corner = tuple[int, int, int]


class LevelledBlock(nn.Module):
    """A residual block (He et al., arXiv 1603.05027, figure 4e), scaled and shifted by the noise level."""

    def __init__(self, width: int, level: int) -> None:
        super().__init__()
        groups = width // 8
        self.norm1 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv1 = nn.Conv3d(width, width, 3, padding=1)
        self.norm2 = nn.GroupNorm(groups, width, eps=1e-6)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1)
        self.modulation = nn.Linear(level, 2 * width)
        for layer in (self.conv2, self.modulation):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, x: Float[Tensor, "b c x y z"], level: Float[Tensor, "b w"]) -> Float[Tensor, "b c x y z"]:
        scale, shift = self.modulation(level)[..., None, None, None].chunk(2, 1)
        inner = self.conv1(nn.functional.silu(self.norm1(x)))
        return x + self.conv2(nn.functional.silu(self.norm2(inner) * (1 + scale) + shift))


class Detail(nn.Module):
    """The posterior mean of the residual; on whole volumes or, where trained, on crops."""

    variance: Tensor

    def __init__(self, config: DetailConfig, channels: int, classes: int, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, self.grid, self.unknown = config, grid, classes
        w2, w4, w8 = config.widths
        self.register_buffer("variance", torch.ones(channels, *(n // CUBE for n in grid)))
        self.embedding = nn.Embedding(classes + 1, EMBEDDING)
        self.place = nn.Parameter(torch.zeros(w8, *(n // FOLD for n in grid)))
        self.noise = NoiseEmbedding(w8)
        self.into = nn.Conv3d(8 * (2 * channels + EMBEDDING), w2, 1)
        self.down = nn.ModuleList([Down(w2, w4), Down(w4, w8)])
        self.up = nn.ModuleList([Up(w8, w4), Up(w4, w2)])
        self.first = nn.ModuleList([LevelledBlock(w2, w8), LevelledBlock(w4, w8)])
        self.middle = nn.ModuleList([LevelledBlock(w8, w8) for _ in range(config.blocks)])
        self.last = nn.ModuleList([LevelledBlock(w4, w8), LevelledBlock(w2, w8)])
        self.out = nn.Conv3d(w2, 8 * channels, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def residual_sd(self) -> Float[Tensor, "c x y z"]:
        """SD of the residual at every voxel, of intensities 0 to 1."""
        variance = nn.functional.interpolate(self.variance[None], scale_factor=CUBE, mode="trilinear")[0]
        return variance.clamp(min=LEAST**2).sqrt()

    def forward(
        self,
        state: Float[Tensor, "b c x y z"],
        t: Float[Tensor, " b"],
        base: Float[Tensor, "b c x y z"],
        labels: UInt8[Tensor, "b x y z"],
        corners: list[Corner],
    ) -> Float[Tensor, "b c x y z"]:
        """E[u | u_t, D, mask]: ``state`` u_t, ``base`` D in 0..1, ``labels`` of the mask (:attr:`unknown`: there is none), each
        person's crop beginning at its corner."""
        level = nn.functional.silu(self.noise(t))
        seen = torch.cat([state, 2 * base - 1, self.embedding(labels.long()).movedim(-1, 1)], 1)
        x = self.into(space_to_depth(seen))
        skips = []
        for block, down in zip(self.first, self.down, strict=True):
            x = block(x, level)
            skips.append(x)
            x = down(x)
        x = x + self._places(corners, x.shape[2:])
        for block in self.middle:
            x = block(x, level)
        for up, block in zip(self.up, self.last, strict=True):
            x = block(up(x) + skips.pop(), level)
        t = t[:, None, None, None, None]
        total = (1 - t) ** 2 + t**2
        return (1 - t) / total * state + t / total.sqrt() * depth_to_space(self.out(nn.functional.silu(x)))

    def _places(self, corners: list[Corner], size: torch.Size) -> Float[Tensor, "b w x y z"]:
        cut = [[slice(at // FOLD, at // FOLD + n) for at, n in zip(c, size, strict=True)] for c in corners]
        return torch.stack([self.place[:, x, y, z] for x, y, z in cut])

    def draw(
        self,
        base: Float[Tensor, "b c x y z"],
        labels: UInt8[Tensor, "b x y z"],
        noise: Float[Tensor, "b c x y z"],
        evaluations: int = 1,
    ) -> Float[Tensor, "b c x y z"]:
        """Whole scans for their decoded ``base`` and mask: the posterior mean with one evaluation, with more a sample from
        ``noise`` by Euler's rule, t evenly spaced from 1 to 0."""
        state, times = noise, torch.linspace(1, 0, evaluations + 1, device=base.device)
        corners = [(0, 0, 0)] * len(base)
        for t, s in zip(times[:-1], times[1:], strict=True):
            mean = self(state, t.expand(len(base)), base, labels, corners)
            state = mean + s / t * (state - mean)
        return (base + self.residual_sd() * state).clamp(0, 1)
