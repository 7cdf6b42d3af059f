"""The rectified flow on the joint latent, with a noise level of its own for the image, the mask and every column.

State z = (image tokens, mask tokens, columns); noise e ~ N(0, 1); interpolant z_t = (1 - t) z + t e; velocity v = e - z
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

#: of a state without a mask, the level of a mask that is unknown, and that none is given: they broadcast against any batch
NO_MASK, UNKNOWN, NOT_GIVEN = torch.zeros(0), torch.ones(1), torch.zeros(1, dtype=torch.bool)


class Joint(NamedTuple):
    """The one state: image tokens (b, n, c), columns (b, k, d) and mask tokens (b, n, m), m = 0 where a model has none."""

    image: Tensor
    table: Tensor
    mask: Tensor = NO_MASK


class Levels(NamedTuple):
    """Noise levels in 0..1: of the image (b,), of each column (b, k) and of the mask (b,)."""

    image: Tensor
    table: Tensor
    mask: Tensor = UNKNOWN

    def by_part(self) -> Joint:
        """The levels, each in the shape that broadcasts against its part of a state."""
        return Joint(self.image[:, None, None], self.table[..., None], self.mask[:, None, None])


#: velocity of a state at its noise levels
VelocityField = Callable[[Joint, Levels], Joint]


def interpolate(clean: Joint, noise: Joint, levels: Levels) -> Joint:
    """z_t = (1 - t) z + t e, each part at its own t."""
    return Joint(*((1 - t) * z + t * e for z, e, t in zip(clean, noise, levels.by_part(), strict=True)))


def shifted(t: Tensor | float, shift: float) -> Any:
    """The image's noise level where the columns' is t: ``shift`` > 1 spends more of the way at high noise, where the large
    structures of many tokens are decided (arXiv 2403.03206, equation 23)."""
    return shift * t / (1 + (shift - 1) * t)


@dataclass(frozen=True, kw_only=True)
class NoiseMixture:
    """How often a training example has which pattern of noise levels; the shares sum to 1.

    The image's level is :func:`shifted` from the columns'. ``reveal``: on top, the chance that a single column is given
    (t = 0) or hidden (t = 1) whatever the pattern.

    A mask, where there are masks, is given (t = 0) in the share ``mask_given``, at the image's level in ``mask_equal``, at a
    level of its own in ``mask_own``, half of these without an image (t = 1), and unknown (t = 1) in the rest.
    """

    equal: float = 0.30
    table_clean: float = 0.25
    image_clean: float = 0.15
    table_noise: float = 0.10
    independent: float = 0.20
    reveal: float = 0.5
    spread: float = 1.0
    mask_given: float = 0.3
    mask_equal: float = 0.2
    mask_own: float = 0.2

    def __post_init__(self) -> None:
        if min(self.mask_given, self.mask_equal, self.mask_own) < 0 or self.mask_unknown < 0:
            raise ConfigError("the shares of what is known of masks are not 0 to 1 together; make them so")
        total = self.equal + self.table_clean + self.image_clean + self.table_noise + self.independent
        if abs(total - 1) > 1e-6:
            raise ConfigError(f"the shares of the noise mixture sum to {total}; make them sum to 1")

    @property
    def mask_unknown(self) -> float:
        """The share of examples whose mask is unknown."""
        return 1 - self.mask_given - self.mask_equal - self.mask_own

    def draw(
        self, rows: int, columns: int, generator: torch.Generator, shift: float = 1.0, *, masks: bool = False
    ) -> Levels:
        """Noise levels of ``rows`` training examples; t is logit-normal (arXiv 2403.03206), then shifted for image and mask.
        Without ``masks`` every mask is unknown."""

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
        if not masks:
            return Levels(shifted(image, shift), table, torch.ones(rows))
        shares = torch.tensor([self.mask_unknown, self.mask_given, self.mask_equal, self.mask_own])
        known = torch.multinomial(shares, rows, replacement=True, generator=generator)
        own = logit_normal(rows)
        # beside a clean image a mask of its level would be given
        mask = torch.where((known == 2) & (image > 0), image, own)
        mask[known == 0] = 1.0
        mask[known == 1] = 0.0
        alone = (known == 3) & (torch.rand(rows, generator=generator) < 0.5)
        image = torch.where(alone, 1.0, image)
        return Levels(shifted(image, shift), table, shifted(mask, shift))


def flow_loss(
    predicted: Joint,
    clean: Joint,
    noise: Joint,
    levels: Levels,
    known: Bool[Tensor, "b k"],
    has_image: Bool[Tensor, " b"],
    codes: Bool[Tensor, "k d"],
    has_mask: Bool[Tensor, "*b"] = NOT_GIVEN,
) -> Joint:
    """Mean squared velocity errors of the image, the columns and the mask, each over what was neither given nor missing."""
    error = Joint(*((v - (e - z)).square() for v, e, z in zip(predicted, noise, clean, strict=True)))
    table_on = (known & (levels.table > 0))[..., None] & codes
    return Joint(
        _over_persons(error.image, has_image & (levels.image > 0)),
        (error.table * table_on).sum() / table_on.sum().clamp(min=1),
        _over_persons(error.mask, has_mask & (levels.mask > 0)),
    )


def _over_persons(error: Float[Tensor, "b n c"], on: Bool[Tensor, "*b"]) -> Float[Tensor, ""]:
    """The mean over the tokens of those persons who are ``on``."""
    each = error.flatten(1)
    each = each.sum(1) / max(1, each.shape[1])
    return (each * on.float()).sum() / on.float().sum().clamp(min=1)
