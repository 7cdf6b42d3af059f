"""How the shape of the skin is learned: sections of many bodies, their principal components, a law of the scores."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from engine.phantom.skin.basis import BMIS, SkinError, terms
from engine.phantom.skin.bodies import HEAVIEST_WOMAN, Phenotype, SkinBodies
from engine.phantom.skin.cuts import thigh_sections, trunk_sections

#: bodies the shape is learned on, its components, and the seed of the bodies
BODIES, COMPONENTS, SEED = 480, 10, 20


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
    design = terms(*torch.tensor(people, dtype=torch.float64).T)
    mean = features.mean(0)
    _, _, basis = torch.linalg.svd(features - mean, full_matrices=False)
    components = basis[:COMPONENTS]
    scores = (features - mean) @ components.T
    law = torch.linalg.lstsq(design, scores).solution
    spread = (scores - design @ law).std(0)
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
            male=male,
            age=age,
            muscle=muscle,
            weight=weight,
            height=height,
            proportions=proportions,
            inflation=inflation,
        )
