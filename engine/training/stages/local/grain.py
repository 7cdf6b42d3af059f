"""After the detail: how much of a scan is noise, class by class, which the detail's mean has not.

A scanner's noise is independent from voxel to voxel, so the finest band of an orthonormal Haar transform has its variance whole,
and of smooth anatomy least (Donoho and Johnstone, Biometrika 81, 1994). What the band has in scans and lacks in the means that are
drawn for them is the noise that a drawn scan is given.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import space_to_depth
from engine.training.run import step_generator
from engine.training.stages.local.detail import DetailTraining, decoded

#: persons it is measured in, at most, and the least cubes of a class that count
PERSONS, FEWEST = 32, 50
#: signs of the voxels of a cube of 2 x 2 x 2 in its finest coefficient
SIGNS = (1, -1, -1, 1, -1, 1, 1, -1)


class Band(NamedTuple):
    """Sums of squared finest coefficients of each channel and class, and cubes of each class."""

    squares: Float[Tensor, "c k"]
    cubes: Float[Tensor, " k"]


def finest(scan: Float[Tensor, "c x y z"], labels: UInt8[Tensor, "x y z"], classes: int) -> Band:
    """The finest Haar coefficients of cubes that are of one class."""
    signs = torch.tensor(SIGNS, dtype=torch.float64, device=scan.device) / len(SIGNS) ** 0.5
    cubes = space_to_depth(scan[:, None].double())
    squares = torch.einsum("cvijk,v->cijk", cubes, signs).square().flatten(1)
    within = space_to_depth(labels[None, None].float())[0]
    pure = (within == within[:1]).all(0).flatten()
    index = within[0].flatten()[pure].long()
    found = squares.new_zeros(len(scan), classes).index_add(1, index, squares[:, pure])
    return Band(found, torch.bincount(index, minlength=classes).double())


@torch.no_grad()
def fit_grain(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: DetailTraining,
    *,
    seed: int,
    fields: Mapping[int, Tensor] | None = None,
) -> None:
    """Set the ``grain`` of ``model.detail`` by some of the store's ``rows``; of persons without labels that of an unknown class."""
    net = model.detail
    chosen = rows[:: max(1, len(rows) // PERSONS)][:PERSONS]
    sums = [Band(torch.zeros_like(net.grain).double(), torch.zeros(net.grain.shape[1]).double()) for _ in range(2)]
    for k, row in enumerate(chosen):
        person = decoded(model, store, int(row), config, step_generator(seed + 25, k), (fields or {}).get(int(row)))
        base, labels = person.laid[None], person.mask[None]
        still = torch.zeros_like(base)
        found = net(still, torch.ones(1, device=base.device), base, labels, [(0, 0, 0)], person.template[None])
        mean = (base + net.residual_sd() * found).clamp(0, 1)[0]
        for place, scan in enumerate((person.scan, mean)):
            band = finest(scan, person.mask, net.grain.shape[1])
            sums[place] = Band(sums[place].squares + band.squares.cpu(), sums[place].cubes + band.cubes.cpu())
    scans, means = sums
    excess = scans.squares - means.squares
    every = excess.sum(1, keepdim=True) / scans.cubes.sum()
    variance = torch.where(scans.cubes >= FEWEST, excess / scans.cubes.clamp(min=1), every)
    # of an unknown class: that of all, whatever persons had none
    variance[:, -1:] = every
    net.grain.copy_(variance.clamp(min=0).sqrt())
