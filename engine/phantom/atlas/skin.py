"""The shape of the skin: sections of trunk and thigh, learned on bodies of a phenotype basis.

A section is a radius over the diamond angle (:mod:`engine.phantom.atlas.skin_bodies`) in units of its own half breadth
and depths; those are the phantom's own. A person's sections are a linear law in sex, age and BMI plus the person's own
residuals along the principal components.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from safetensors.torch import load_file
from torch import Tensor

from engine.phantom.atlas.skin_bodies import (
    ANGLES,
    HEAVIEST_WOMAN,
    LEVELS,
    LOWEST,
    THIGH,
    THIGH_ROWS,
    TRUNK_ROWS,
    Phenotype,
    SkinBodies,
    thigh_sections,
    trunk_sections,
)
from engine.checkpoints.files import directory
from engine.vocabulary.refusal import Refusal

#: bodies the shape is learned on, its components, and the seed of the bodies
BODIES, COMPONENTS, SEED = 480, 10, 20
#: ages and BMIs of the bodies: persons beyond are drawn as at the ends
AGES, BMIS = (20.0, 80.0), (17.0, 50.0)
#: a person's residuals are held softly at this many SD
HELD = 2.0
#: radii that a section may have: a cleft at the least
BOUNDS = 0.3, 1.45
#: height of the knee, a fraction of the stature
KNEE = 0.285
STANDARD, TENSORS = "anatomy-torso", ("mean", "components", "law", "spread")


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

    @classmethod
    def load(cls, path: Path) -> SkinBasis:
        """The basis of a safetensors file."""
        if not path.is_file():
            raise SkinError(f"no skin at {path}: build it with build_skin and save it there")
        return cls.of(load_file(path))


@dataclass(frozen=True, eq=False)
class SkinSections:
    """Radii of persons' sections: ``trunk`` (n, angles, rows), ``thigh`` (n, 2, angles, rows), inner half first."""

    trunk: Float[Tensor, "n angles rows"]
    thigh: Float[Tensor, "n two angles rows"]


def skin_sections(
    basis: SkinBasis,
    male: Float[Tensor, " n"],
    age: Float[Tensor, " n"],
    bmi: Float[Tensor, " n"],
    noise: Float[Tensor, "n k"] | None = None,
) -> SkinSections:
    """The sections of persons; ``noise`` is standard normal, one number for each component, none for the mean."""
    scores = _terms(male, age, bmi) @ basis.law
    if noise is not None:
        scores = scores + HELD * torch.tanh(noise / HELD) * basis.spread
    flat = (basis.mean + scores @ basis.components).clamp(*BOUNDS)
    trunk, thigh = flat.split([ANGLES * TRUNK_ROWS, 2 * ANGLES * THIGH_ROWS], 1)
    return SkinSections(trunk.reshape(-1, ANGLES, TRUNK_ROWS), thigh.reshape(-1, 2, ANGLES, THIGH_ROWS))


@cache
def standard_skin() -> SkinBasis:
    """The shape of the skin that is installed with the clone."""
    return SkinBasis.load(directory() / STANDARD / "skin.safetensors")


def _terms(male: Tensor, age: Tensor, bmi: Tensor) -> Float[Tensor, "n terms"]:
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


def at_rows(
    table: Float[Tensor, "n angles rows"], row: Float[Tensor, "n z"]
) -> Float[Tensor, "n angles z"]:
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


def build_skin(folder: Path) -> dict[str, Tensor]:
    """The shape of the skin, learned on bodies of the basis in ``folder``: a minute on one core; under 100 kB.

    Raises :class:`SkinError` where the basis is not there.
    """
    if not (folder / "anny_basis.npz").is_file():
        raise SkinError(f"no anny_basis.npz in {folder}: name the folder of the phenotype basis")
    bodies = SkinBodies(folder)
    people, rows = [], []
    for who in phenotypes(BODIES):
        bmi, trunk = trunk_sections(bodies, who)
        if BMIS[0] - 1 <= bmi <= BMIS[1] + 2:
            people.append((who.male, who.age, bmi))
            rows.append(np.concatenate([trunk.ravel(), thigh_sections(bodies, who).ravel()]))
    features = torch.from_numpy(np.stack(rows))
    terms = _terms(*torch.tensor(people, dtype=torch.float64).T)
    mean = features.mean(0)
    _, _, basis = torch.linalg.svd(features - mean, full_matrices=False)
    components = basis[:COMPONENTS]
    scores = (features - mean) @ components.T
    law = torch.linalg.lstsq(terms, scores).solution
    spread = (scores - terms @ law).std(0)
    tensors = {"mean": mean, "components": components.half(), "law": law, "spread": spread}
    return {name: (tensor if name == "components" else tensor.float()).contiguous() for name, tensor in tensors.items()}


def phenotypes(n: int) -> Iterator[Phenotype]:
    """Bodies over sex, age, weight, muscle and proportions; the same ones each time."""
    rng = np.random.default_rng(SEED)
    for i in range(n):
        male, heavy = float(i % 2), rng.uniform(-0.05, 1.5)
        age, muscle, height, proportions = rng.uniform([20, 0.08, 0.3, 0.3], [80, 0.32, 0.6, 0.75])
        muscle = min(muscle, 0.18) if heavy > 0.6 else muscle
        weight = heavy if male else min(heavy * 1.3, HEAVIEST_WOMAN)
        inflation = 0.0 if male else max(heavy * 1.3 - HEAVIEST_WOMAN, 0.0) * 0.038
        yield Phenotype(
            male=male, age=age, muscle=muscle, weight=weight, height=height, proportions=proportions, inflation=inflation
        )
