"""The velocity network: one transformer over image and mask tokens and columns, each with its own noise level.

Joint attention with adaptive layer norm (DiT, arXiv 2212.09748; MM-DiT, arXiv 2403.03206) over volumetric tokens
(VolDiT), query-key norm (arXiv 2302.05442); in windows where tokens are many (:mod:`engine.model.nn.windows`). The
modulation is computed once per distinct noise level, one for the image and one a column, and gathered by token.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import rms_norm, scaled_dot_product_attention
from torch.utils.checkpoint import checkpoint

from engine.model.config import TransformerConfig
from engine.model.flow import Joint, Levels
from engine.model.nn.embedding import ColumnEmbedding, NoiseEmbedding, grid_positions
from engine.model.nn.windows import CELL, Windows, attended

#: tokens up to which each sees all, a CPU makes the table of all pairs of them, and a block keeps all that its gradient needs
EXPLICIT = 1024


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

    def attention(self, x: Float[Tensor, "b s w"], windows: Windows | None = None) -> Float[Tensor, "b s w"]:
        b, s, w = x.shape
        query, key, value = self.qkv(x).reshape(b, s, 3, self.heads, w // self.heads).permute(2, 0, 3, 1, 4)
        query, key = (rms_norm(part, part.shape[-1:]).to(value.dtype) for part in (query, key))
        if windows is not None:
            mixed = attended(query, key, value, windows)
        elif x.is_cuda or s > EXPLICIT:  # memory in proportion to the tokens
            mixed = scaled_dot_product_attention(query, key, value)
        else:  # for 300 tokens twice as fast on a CPU, forwards and backwards, as the fused kernel
            mixed = (query @ key.transpose(-1, -2) / math.sqrt(key.shape[-1])).softmax(-1).to(value.dtype) @ value
        return self.out(mixed.transpose(1, 2).reshape(b, s, w))

    def forward(
        self, x: Float[Tensor, "b s w"], levels: Float[Tensor, "b l w"], image: int, windows: Windows | None = None
    ) -> Float[Tensor, "b s w"]:
        """``levels``: conditioning of the image's noise level and then of each column's; ``image``: its tokens, which see each other
        in ``windows`` where there are any."""
        by_level = self.modulation(levels)
        by_token = torch.cat([by_level[:, :1].expand(-1, image, -1), by_level[:, 1:]], 1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = by_token.chunk(6, -1)
        x = x + gate_a * self.attention(self.norm(x) * (1 + scale_a) + shift_a, windows)
        return x + gate_m * self.mlp(self.norm(x) * (1 + scale_m) + shift_m)


class MaskTokens(nn.Module):
    """The mask's part of the tokens that it shares with the image, behind a gate by its noise level that starts at 0 (after
    the timestep-gated adapter of VolDiT), so that a network which knew no mask begins as it was.

    Law: an unknown mask (t = 1) has no influence, bit for bit; its state is noise there and tells nothing.
    """

    def __init__(self, width: int, latent: int) -> None:
        super().__init__()
        self.noise = NoiseEmbedding(width)
        self.into = nn.Linear(2 * latent, width)
        self.gate = nn.Linear(width, width)
        self.said = nn.Linear(width, width)
        self.out = nn.Linear(width, latent)
        for layer in (self.gate, self.said, self.out):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(
        self, mask: Float[Tensor, "b n two_m"], t: Float[Tensor, "*b"]
    ) -> tuple[Float[Tensor, "b n w"], Float[Tensor, "*b w"]]:
        """What is added to the tokens, and to the conditioning of their noise."""
        known = (t < 1).to(mask.dtype)[..., None]
        level = nn.functional.silu(self.noise(t))
        gate = known * self.gate(level)
        return gate[:, None] * self.into(mask), known * self.said(level)


class JointTransformer(nn.Module):
    """Velocity of image tokens and columns, up to the closed-form part that :mod:`engine.model.flow` adds."""

    def __init__(
        self,
        config: TransformerConfig,
        *,
        latent: int,
        token_grid: tuple[int, int, int],
        columns: int,
        code: int,
        mask_latent: int = 0,
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
        self.mask_tokens = MaskTokens(width, mask_latent) if mask_latent else None
        many = math.prod(token_grid) > EXPLICIT
        self.windows = [Windows(token_grid, shift=i % 2 * CELL) if many else None for i in range(config.depth)]

    def forward(self, state: Joint, mean: Joint, levels: Levels) -> Joint:
        """The velocity of a ``state``; ``mean``: what its parts are expected to be under the linear Gaussian part.

        Image and mask share the places of the sequence: their channels are added up, and so is what is said of their noise.
        """
        n, k = state.image.shape[1], state.table.shape[1]
        noise = self.noise(torch.cat([levels.image[:, None], levels.table], 1)) + self.kind
        x = self.image_in(torch.cat([state.image, mean.image], -1)) + self.place
        if self.mask_tokens:
            added, said = self.mask_tokens(torch.cat([state.mask, mean.mask], -1), levels.mask)
            x = x + added
            noise = noise + nn.functional.pad(said[:, None], (0, 0, 0, k))
        levels_in = nn.functional.silu(noise)
        x = torch.cat([x, self.column_in(state.table)], 1)
        for block, windows in zip(self.blocks, self.windows, strict=True):
            if torch.is_grad_enabled() and x.shape[1] > EXPLICIT:
                x = checkpoint(block, x, levels_in, n, windows, use_reentrant=False)
            else:
                x = block(x, levels_in, n, windows)
        shift, scale = self.last(levels_in).chunk(2, -1)
        shift, scale = (torch.cat([v[:, :1].expand(-1, n, -1), v[:, 1:]], 1) for v in (shift, scale))
        x = self.norm(x) * (1 + scale) + shift
        table = torch.einsum("bkw,kwd->bkd", x[:, n:], self.column_out)
        mask = self.mask_tokens.out(x[:, :n]) if self.mask_tokens else state.mask
        return Joint(self.image_out(x[:, :n]), table, mask)
