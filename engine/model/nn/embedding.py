"""What a network reads besides the state itself: noise levels, places in the token grid, columns."""

from __future__ import annotations

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn


def fourier(x: Float[Tensor, "*s"], count: int, longest: float = 1.0) -> Float[Tensor, "*s features"]:
    """Sines and cosines at ``count`` octaves, the slowest of period ``longest * 2`` (arXiv 2006.10739)."""
    angles = x[..., None] * (math.pi / longest) * 2.0 ** torch.arange(count, device=x.device, dtype=x.dtype)
    return torch.cat([angles.sin(), angles.cos()], -1)


class NoiseEmbedding(nn.Module):
    """A noise level in 0..1 to a conditioning vector."""

    def __init__(self, width: int, octaves: int = 6) -> None:
        super().__init__()
        self.octaves = octaves
        self.mlp = nn.Sequential(nn.Linear(2 * octaves + 1, width), nn.SiLU(), nn.Linear(width, width))

    def forward(self, t: Float[Tensor, "*s"]) -> Float[Tensor, "*s width"]:
        return self.mlp(torch.cat([t[..., None], fourier(t, self.octaves)], -1))


def grid_positions(grid: tuple[int, int, int], width: int) -> Float[Tensor, "n width"]:
    """Sine-cosine features of each token's place along the three axes, zero-padded to ``width``."""
    axes = [torch.linspace(-1, 1, n) for n in grid]
    places = torch.stack(torch.meshgrid(*axes, indexing="ij"), -1).reshape(-1, 3)
    features = fourier(places, width // 6, longest=2.0).flatten(1)
    return nn.functional.pad(features, (0, width - features.shape[1]))


class ColumnEmbedding(nn.Module):
    """Each column's code to one token: its own linear map, features of its first dimension, and its name vector."""

    def __init__(self, columns: int, code: int, width: int, octaves: int = 4) -> None:
        super().__init__()
        self.octaves = octaves
        features = code + 2 * octaves
        self.weight = nn.Parameter(torch.randn(columns, features, width) / math.sqrt(features))
        self.name = nn.Parameter(torch.randn(columns, width) * 0.5)

    def forward(self, state: Float[Tensor, "b k d"]) -> Float[Tensor, "b k width"]:
        features = torch.cat([state, fourier(state[..., 0], self.octaves, longest=8.0)], -1)
        return torch.einsum("bkf,kfw->bkw", features, self.weight) + self.name


class Fusion(nn.Module):
    """Given columns enter the image's latent by cross-attention (arXiv 2605.06699): queries are image tokens, keys and
    values the tokens of columns that are GIVEN.

    Law: with no column given the latent comes back bit for bit, and a column that is not given has no influence,
    because its token is masked out and the block's output is exactly zero without keys.
    """

    def __init__(self, latent: int, tokens: int, columns: int, code: int, width: int) -> None:
        super().__init__()
        self.column = ColumnEmbedding(columns, code, width)
        self.place = nn.Parameter(torch.randn(tokens, width) * 0.1)
        self.query = nn.Linear(latent, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, latent, bias=False)
        nn.init.normal_(self.out.weight, std=1e-3)

    def forward(
        self, tokens: Float[Tensor, "b n latent"], state: Float[Tensor, "b k d"], given: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b n latent"]:
        query = self.query(tokens) + self.place
        key, value = self.key_value(self.column(state * given[..., None])).chunk(2, -1)
        scores = query @ key.transpose(1, 2) / math.sqrt(key.shape[-1])
        # a null key with score 0 and value 0 keeps the softmax defined when nothing is given
        scores = torch.cat([scores.masked_fill(~given[:, None], -math.inf), torch.zeros_like(scores[..., :1])], -1)
        attention = scores.softmax(-1)[..., :-1]
        return tokens + self.out(attention @ value)
