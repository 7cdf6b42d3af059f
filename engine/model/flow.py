"""The rectified flow on the joint latent, with a noise level of its own for the image and for every column.

State z = (image tokens, columns); noise e ~ N(0, 1); interpolant z_t = (1 - t) z + t e; velocity v = e - z
(Liu et al., arXiv 2209.03003). t = 0: given; t = 1: unknown (UniDiffuser, arXiv 2303.06555; MetaVoxel,
arXiv 2512.10041).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from engine.vocabulary.refusal import ConfigError


class Joint(NamedTuple):
    """The one state: image tokens (b, n, c) and columns (b, k, d)."""

    image: Tensor
    table: Tensor


class Levels(NamedTuple):
    """Noise levels in 0..1: of the image (b,) and of each column (b, k)."""

    image: Tensor
    table: Tensor


#: velocity of a state at its noise levels
VelocityField = Callable[[Joint, Levels], Joint]


def interpolate(clean: Joint, noise: Joint, levels: Levels) -> Joint:
    """z_t = (1 - t) z + t e, each part at its own t."""
    t_image, t_table = levels.image[:, None, None], levels.table[..., None]
    return Joint(
        (1 - t_image) * clean.image + t_image * noise.image, (1 - t_table) * clean.table + t_table * noise.table
    )


def shifted(t: Tensor | float, shift: float) -> Any:
    """The image's noise level where the columns' is t: ``shift`` > 1 spends more of the way at high noise, where the large
    structures of many tokens are decided (arXiv 2403.03206, equation 23)."""
    return shift * t / (1 + (shift - 1) * t)


@dataclass(frozen=True, kw_only=True)
class NoiseMixture:
    """How often a training example has which pattern of noise levels; the shares sum to 1.

    The image's level is :func:`shifted` from the columns'. ``reveal``: on top, the chance that a single column is given
    (t = 0) or hidden (t = 1) whatever the pattern.
    """

    equal: float = 0.30
    table_clean: float = 0.25
    image_clean: float = 0.15
    table_noise: float = 0.10
    independent: float = 0.20
    reveal: float = 0.5
    spread: float = 1.0

    def __post_init__(self) -> None:
        total = self.equal + self.table_clean + self.image_clean + self.table_noise + self.independent
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"the shares of the noise mixture sum to {total}; make them sum to 1")

    def draw(self, rows: int, columns: int, generator: torch.Generator, shift: float = 1.0) -> Levels:
        """Noise levels of ``rows`` training examples; t is logit-normal (arXiv 2403.03206), then shifted for the image."""

        def logit_normal(*shape: int) -> Tensor:
            return torch.sigmoid(torch.randn(shape, generator=generator) * self.spread)

        shares = torch.tensor([self.equal, self.table_clean, self.image_clean, self.table_noise, self.independent])
        pattern = torch.multinomial(shares, rows, replacement=True, generator=generator)
        image = logit_normal(rows)
        table = image[:, None].expand(rows, columns).clone()
        table[pattern == 1] = 0.0
        own = logit_normal(rows, columns)
        table[pattern == 2] = own[pattern == 2, :1].expand(-1, columns)
        image[pattern == 2] = 0.0
        table[pattern == 3] = 1.0
        table[pattern == 4] = own[pattern == 4]
        # on half of the examples a random share of the columns is given, another hidden
        touched = torch.rand(rows, 1, generator=generator) < self.reveal
        share = torch.rand(rows, 1, generator=generator)
        lot = torch.rand(rows, columns, generator=generator)
        table = torch.where(touched & (lot < share / 2), 0.0, table)
        table = torch.where(touched & (lot > 1 - share / 2), 1.0, table)
        return Levels(shifted(image, shift), table)


def flow_loss(
    predicted: Joint,
    clean: Joint,
    noise: Joint,
    levels: Levels,
    known: Bool[Tensor, "b k"],
    has_image: Bool[Tensor, " b"],
    mask: Bool[Tensor, "k d"],
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Mean squared velocity error of the image and of the columns, each over what was neither given nor missing."""
    image = (predicted.image - (noise.image - clean.image)).square().flatten(1)
    image = image.sum(1) / max(1, image.shape[1])
    image_on = (has_image & (levels.image > 0)).float()
    table = (predicted.table - (noise.table - clean.table)).square()
    table_on = (known & (levels.table > 0))[..., None] & mask
    return (
        (image * image_on).sum() / image_on.sum().clamp(min=1),
        (table * table_on).sum() / table_on.sum().clamp(min=1),
    )
