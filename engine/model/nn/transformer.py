"""The velocity network: one transformer over image tokens and columns, each with its own noise level.

Joint attention with adaptive layer norm (DiT, arXiv 2212.09748; MM-DiT, arXiv 2403.03206) over volumetric tokens
(VolDiT), query-key norm (arXiv 2302.05442). The modulation is computed once per distinct noise level, one for the image
and one a column, and gathered by token.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention

from engine.model.config import TransformerConfig
from engine.model.nn.embedding import ColumnEmbedding, NoiseEmbedding, grid_positions


class Block(nn.Module):
    """Attention and a two-layer perceptron, both modulated by the token's own noise level."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(approximate="tanh"), nn.Linear(4 * width, width))
        self.modulation = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.modulation.weight)
        nn.init.zeros_(self.modulation.bias)

    def attention(self, x: Float[Tensor, "b s w"]) -> Float[Tensor, "b s w"]:
        b, s, w = x.shape
        query, key, value = self.qkv(x).reshape(b, s, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        query, key = (rms_norm(part, part.shape[-1:]).to(value.dtype) for part in (query, key))
        if x.is_cuda:
            mixed = scaled_dot_product_attention(query, key, value)
        else:  # for 300 tokens twice as fast on a CPU, forwards and backwards, as the fused kernel
            mixed = (query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])).softmax(-1).to(value.dtype) @ value
        return self.out(mixed.transpose(1, 2).reshape(b, s, w))

    def forward(self, x: Float[Tensor, "b s w"], levels: Float[Tensor, "b l w"], image: int) -> Float[Tensor, "b s w"]:
        """``levels``: conditioning of the image's noise level and then of each column's; ``image``: its tokens."""
        by_level = self.modulation(levels)
        by_token = torch.cat([by_level[:, :1].expand(-1, image, -1), by_level[:, 1:]], 1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = by_token.chunk(6, -1)
        x = x + gate_a * self.attention(self.norm(x) * (1 + scale_a) + shift_a)
        return x + gate_m * self.mlp(self.norm(x) * (1 + scale_m) + shift_m)


class JointTransformer(nn.Module):
    """Velocity of image tokens and columns, up to the closed-form part that :mod:`engine.model.flow` adds."""

    def __init__(
        self, config: TransformerConfig, *, latent: int, token_grid: tuple[int, int, int], columns: int, code: int
    ) -> None:
        super().__init__()
        width = config.width
        self.image_in = nn.Linear(2 * latent, width)
        self.place = nn.Parameter(grid_positions(token_grid, width))
        self.column_in = ColumnEmbedding(columns, code, width)
        self.noise = NoiseEmbedding(width)
        self.kind = nn.Parameter(torch.randn(columns + 1, width) * 0.1)
        self.blocks = nn.ModuleList(Block(width, config.heads) for _ in range(config.depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.last = nn.Linear(width, 2 * width)
        self.image_out = nn.Linear(width, latent)
        self.column_out = nn.Parameter(torch.zeros(columns, width, code))
        for layer in (self.last, self.image_out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self,
        image: Float[Tensor, "b n two_c"],
        table: Float[Tensor, "b k d"],
        t_image: Float[Tensor, " b"],
        t_table: Float[Tensor, "b k"],
    ) -> tuple[Float[Tensor, "b n c"], Float[Tensor, "b k d"]]:
        """``image``: each token's state beside its mean under the linear Gaussian part."""
        n = image.shape[1]
        levels = nn.functional.silu(self.noise(torch.cat([t_image[:, None], t_table], 1)) + self.kind)
        x = torch.cat([self.image_in(image) + self.place, self.column_in(table)], 1)
        for block in self.blocks:
            x = block(x, levels, n)
        shift, scale = self.last(levels).chunk(2, -1)
        shift, scale = (torch.cat([v[:, :1].expand(-1, n, -1), v[:, 1:]], 1) for v in (shift, scale))
        x = self.norm(x) * (1 + scale) + shift
        return self.image_out(x[:, :n]), torch.einsum("bkw,kwd->bkd", x[:, n:], self.column_out)
