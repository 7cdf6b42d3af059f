r"""The shape of the skin: sections of trunk and thigh, learned on bodies of a phenotype basis.

A section is a radius over the diamond angle t = q / (p + \|q\|), where p = \|x\| / half breadth and q = y / depth: -1
behind, 0 at the side, 1 in front. An ellipse has radius 1 everywhere. Breadths and depths are the phantom's own; depths
in front and behind start at the centre that :meth:`engine.phantom.shape.outline.Outline.trunk` takes. A person's sections
are a linear law in sex, age and BMI, plus the person's own residuals along the principal components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from engine.vocabulary.refusal import Refusal

#: nodes of the diamond angle over half a turn, rows of the trunk and of the thigh
ANGLES, TRUNK_ROWS, THIGH_ROWS = 33, 49, 12
#: heights (fractions of the stature) of the landmarks in the common frame: crotch, navel, shoulder, narrow of the neck
LEVELS = (0.483, 0.600, 0.803, 0.870)
#: first row above the crotch, and the thigh's rows as shares of the way from crotch to knee
LOWEST, THIGH = 0.490, (0.04, 0.85)
#: ages and BMIs of the bodies: persons beyond are drawn as at the ends
AGES, BMIS = (20.0, 80.0), (17.0, 50.0)
#: a person's residuals are held softly at this many SD
HELD = 2.0
#: radii that a section may have: a cleft at the least
BOUNDS = 0.3, 1.45
#: height of the knee, a fraction of the stature
KNEE = 0.285
TENSORS = ("mean", "components", "law", "spread")


class SkinError(Refusal, ValueError):
    """The shape of the skin cannot be had."""


@dataclass(frozen=True, eq=False)
class SkinBasis:
    """``mean`` (f,), ``components`` (k, f), ``law`` (terms, k) and ``spread`` (k,), float32.

    The f features are the trunk's sections (angles x rows), then the thigh's (2 x angles x rows).
    """

    mean: Float[Tensor, " f"]
    components: Float[Tensor, "k f"]
    law: Float[Tensor, "terms k"]
    spread: Float[Tensor, " k"]

    @classmethod
    def of(cls, tensors: Mapping[str, Tensor]) -> SkinBasis:
        """The basis of a checkpoint's tensors."""
        absent = [name for name in TENSORS if name not in tensors]
        if absent:
            raise SkinError(f"the skin's tensors lack {', '.join(absent)}: build them anew with build_skin")
        return cls(*(tensors[name].float() for name in TENSORS))

    def to(self, device: torch.device | str) -> SkinBasis:
        """The same basis on another device."""
        return SkinBasis(*(getattr(self, name).to(device) for name in TENSORS))


@dataclass(frozen=True, eq=False)
class SkinSections:
    """Radii of persons' sections: ``trunk`` (n, angles, rows), ``thigh`` (n, 2, angles, rows), inner half first."""

    trunk: Float[Tensor, "n angles rows"]
    thigh: Float[Tensor, "n 2 angles lower"]


def skin_sections(
    basis: SkinBasis,
    male: Float[Tensor, " n"],
    age: Float[Tensor, " n"],
    bmi: Float[Tensor, " n"],
    noise: Float[Tensor, "n k"] | None = None,
) -> SkinSections:
    """The sections of persons; ``noise`` is standard normal, one number for each component, none for the mean."""
    scores = terms(male, age, bmi) @ basis.law
    if noise is not None:
        scores = scores + HELD * torch.tanh(noise / HELD) * basis.spread
    flat = (basis.mean + scores @ basis.components).clamp(*BOUNDS)
    trunk, thigh = flat.split([ANGLES * TRUNK_ROWS, 2 * ANGLES * THIGH_ROWS], 1)
    return SkinSections(trunk.reshape(-1, ANGLES, TRUNK_ROWS), thigh.reshape(-1, 2, ANGLES, THIGH_ROWS))


def terms(male: Tensor, age: Tensor, bmi: Tensor) -> Float[Tensor, "n terms"]:
    """What the law of the scores is linear in."""
    years = (age.clamp(*AGES) - 50) / 30
    fat = (bmi.clamp(*BMIS) - 28) / 10
    one = torch.ones_like(fat)
    return torch.stack([one, male, years, fat, fat**2, male * years, male * fat, male * fat**2, years * fat], 1)


def radius(
    table: Float[Tensor, "angles rows"], t: Float[Tensor, "*s"], row: Float[Tensor, "*s"]
) -> Float[Tensor, "*s"]:
    """Bilinear look-up: radius at the diamond angle ``t`` (-1 back, 0 side, 1 front) and ``row`` (0 to 1, lowest first)."""
    angles, rows = table.shape
    a, b = (t + 1) / 2 * (angles - 1), row * (rows - 1)
    i, j = a.long().clamp(0, angles - 2), b.long().clamp(0, rows - 2)
    a, b = (a - i).clamp(0, 1), (b - j).clamp(0, 1)
    low = torch.lerp(table[i, j], table[i + 1, j], a)
    return torch.lerp(low, torch.lerp(table[i, j + 1], table[i + 1, j + 1], a), b)


def at_rows(table: Float[Tensor, "n angles rows"], row: Float[Tensor, "n z"]) -> Float[Tensor, "n angles z"]:
    """Sections at each person's own rows (0 to 1, lowest first), linear between the table's."""
    rows = table.shape[-1]
    place = row.clamp(0, 1) * (rows - 1)
    index = place.long().clamp(0, rows - 2)[:, None].expand(-1, table.shape[1], -1)
    share = place[:, None] - index
    return torch.lerp(table.gather(2, index), table.gather(2, index + 1), share)


def trunk_row(u: Float[Tensor, "n z"], crotch: Float[Tensor, " n"], navel: Float[Tensor, " n"]) -> Float[Tensor, "n z"]:
    """The trunk's row (0 to 1) at a height ``u`` (fraction of the stature), by the person's landmarks."""
    low = torch.as_tensor(LEVELS, dtype=u.dtype, device=u.device)
    own = torch.stack([crotch, navel, torch.full_like(navel, LEVELS[2]), torch.full_like(navel, LEVELS[3])], 1)
    piece = torch.searchsorted(own[:, 1:-1].contiguous(), u.contiguous())
    x0, x1 = own.gather(1, piece), own.gather(1, piece + 1)
    level = low[piece] + (u - x0) / (x1 - x0) * (low[piece + 1] - low[piece])
    return ((level - LOWEST) / (LEVELS[-1] - LOWEST)).clamp(0, 1)


def thigh_row(u: Float[Tensor, "n z"], crotch: Float[Tensor, " n"]) -> Float[Tensor, "n z"]:
    """The thigh's row (0 to 1, highest first) at a height ``u``."""
    share = (crotch[:, None] - u) / (crotch[:, None] - KNEE)
    return ((share - THIGH[0]) / (THIGH[1] - THIGH[0])).clamp(0, 1)
