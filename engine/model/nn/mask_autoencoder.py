"""The mask autoencoder: a segmentation to tokens on the image's token grid, and back to class probabilities.

A variational autoencoder (Kingma & Welling, arXiv 1312.6114) with a categorical likelihood: cross-entropy and the likeliest
class are crisp where a squared error is fog. It is cheap as the image's is (:mod:`engine.model.nn.autoencoder`): nothing wide
at full resolution, and a linear part that starts as principal components, here of the logarithms of the classes' shares in
cubes of 4 x 4 x 4 voxels, about their mean over the training split (``atlas``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.config import FACTOR, MaskConfig
from engine.model.nn.autoencoder import Down, Up, depth_to_space, space_to_depth, stage

#: side of the cubes whose shares the linear part sees, and what is added to a share before its logarithm is taken
COARSE, LEAST = 4, 0.01
#: numbers that stand for a class in the encoder's input
EMBEDDING = 4


def log_shares(labels: UInt8[Tensor, "b x y z"], classes: int) -> Float[Tensor, "b k x4 y4 z4"]:
    """Logarithms of the classes' shares in cubes of :data:`COARSE` voxels a side, :data:`LEAST` added."""
    cubes = space_to_depth(labels[:, None], COARSE)
    shares = [(cubes == c).float().mean(1) for c in range(classes)]
    return (torch.stack(shares, 1) + LEAST).log()


class MaskAutoencoder(nn.Module):
    """Segmentations to token means, and tokens to class scores; ``atlas`` and the latent's places carry what every person
    shares."""

    atlas: Tensor

    def __init__(self, config: MaskConfig, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.config, self.grid = config, grid
        w2, w4, w8, w16 = config.widths
        classes, sides = len(config.classes), FACTOR // COARSE
        self.register_buffer("atlas", torch.zeros(classes, *(n // COARSE for n in grid)))
        self.into = nn.Conv3d(classes, config.latent, sides, sides, bias=False)
        self.back = nn.ConvTranspose3d(config.latent, classes, sides, sides, bias=False)
        self.embedding = nn.Embedding(classes, EMBEDDING)
        self.encoder = nn.Sequential(
            nn.Sequential(nn.Conv3d(8 * EMBEDDING, w2, 3, padding=1), Down(w2, w4), stage(w4, 1)),
            nn.Sequential(Down(w4, w8), stage(w8, 1)),
            nn.Sequential(Down(w8, w16), stage(w16, config.blocks)),
            nn.Conv3d(w16, config.latent, 1),
        )
        self.logvar = nn.Parameter(torch.full((config.latent,), -4.0))
        self.place = nn.Parameter(torch.zeros(w16, *(n // FACTOR for n in grid)))
        self.head = nn.Conv3d(config.latent, w16, 3, padding=1)
        self.decoder = nn.Sequential(
            stage(w16, config.blocks),
            nn.Sequential(Up(w16, w8), stage(w8, config.blocks)),
            nn.Sequential(Up(w8, w4), stage(w4, 1)),
            nn.Sequential(Up(w4, w2), nn.Conv3d(w2, w2, 3, padding=1), nn.SiLU()),
        )
        self.tail = nn.Conv3d(w2, classes * 8, 1)
        last = self.encoder[-1]
        assert isinstance(last, nn.Conv3d)
        for layer in (last, self.tail):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)

    @property
    def tokens(self) -> int:
        """Tokens of a mask, as many as the image's."""
        return math.prod(n // FACTOR for n in self.grid)

    def encode(self, labels: UInt8[Tensor, "b x y z"]) -> Float[Tensor, "b n m"]:
        """Token means; tokens in C order of the token grid."""
        seen = space_to_depth(self.embedding(labels.long()).movedim(-1, 1))
        means = self.into(log_shares(labels, len(self.config.classes)) - self.atlas) + self.encoder(seen)
        return means.flatten(2).transpose(1, 2)

    def decode(self, tokens: Float[Tensor, "b n m"], box: Sequence[slice] | None = None) -> Float[Tensor, "b k x y z"]:
        """Class scores (logits) of every voxel, or of those in a ``box`` whose sides lie at multiples of :data:`COARSE`: the same,
        and cheaper, since what is wide at full resolution is made there only."""
        sides = [n // FACTOR for n in self.grid]
        grid = tokens.transpose(1, 2).reshape(len(tokens), self.config.latent, *sides)
        coarse = self.atlas + self.back(grid)
        fine = self.decoder(self.head(grid) + self.place)
        if box is None:
            box = [slice(0, n) for n in self.grid]
        halves = [slice(side.start // 2, side.stop // 2) for side in box]
        return _enlarged(coarse, box) + depth_to_space(self.tail(fine[(..., *halves)]))

    def posterior(self, means: Float[Tensor, "b n m"], noise: Float[Tensor, "b n m"]) -> Float[Tensor, "b n m"]:
        """A draw from q(z | mask) = N(means, exp(logvar))."""
        return means + noise * torch.exp(0.5 * self.logvar)

    def kl(self, means: Float[Tensor, "b n m"]) -> Float[Tensor, ""]:
        """KL(q(z | mask) || N(0, 1)) in nats a person (arXiv 1312.6114, appendix B)."""
        return 0.5 * (means**2 + self.logvar.exp() - 1 - self.logvar).sum((1, 2)).mean()


def _enlarged(coarse: Float[Tensor, "b k x4 y4 z4"], box: Sequence[slice]) -> Float[Tensor, "b k x y z"]:
    """What trilinear interpolation to full resolution has in the box: of the cells in it and one on each side."""
    cells = [
        slice(max(side.start // COARSE - 1, 0), min(side.stop // COARSE + 1, n))
        for side, n in zip(box, coarse.shape[2:], strict=True)
    ]
    whole = nn.functional.interpolate(coarse[(..., *cells)], scale_factor=COARSE, mode="trilinear")
    within = [
        slice(side.start - cell.start * COARSE, side.stop - cell.start * COARSE)
        for side, cell in zip(box, cells, strict=True)
    ]
    return whole[(..., *within)]
