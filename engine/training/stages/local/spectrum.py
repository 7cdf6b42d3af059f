"""After the detail: how much finer and noisier scans are than the means that are drawn.

A posterior mean lacks power where it is unsure. Its bands are amplified to the power that scans have (an equaliser, as templates
are sharpened after averaging: Avants et al., NeuroImage 49, 2010); what is noise in scans is measured class by class and added. A
scanner's noise is independent from voxel to voxel, so the finest band of an orthonormal Haar transform has its variance whole,
and of smooth anatomy least (Donoho and Johnstone, Biometrika 81, 1994).
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import space_to_depth
from engine.model.nn.blur import bands
from engine.model.nn.detail import BANDS
from engine.training.run import step_generator
from engine.training.stages.local.detail import Decoded, DetailTraining, decoded

#: persons it is measured in, at most, and the least cubes of a class that count
PERSONS, FEWEST = 32, 50
#: no band is amplified beyond this
MOST = 3.0
#: signs of the voxels of a cube of 2 x 2 x 2 in its finest coefficient
SIGNS = (1, -1, -1, 1, -1, 1, 1, -1)


class Finest(NamedTuple):
    """Sums of squared finest coefficients of each channel and class, and cubes of each class."""

    squares: Float[Tensor, "c k"]
    cubes: Float[Tensor, " k"]


def finest(scan: Float[Tensor, "c x y z"], labels: UInt8[Tensor, "x y z"], classes: int) -> Finest:
    """The finest Haar coefficients of cubes that are of one class."""
    signs = torch.tensor(SIGNS, dtype=torch.float64, device=scan.device) / len(SIGNS) ** 0.5
    cubes = space_to_depth(scan[:, None].double())
    squares = torch.einsum("cvijk,v->cijk", cubes, signs).square().flatten(1)
    within = space_to_depth(labels[None, None].float())[0]
    pure = (within == within[:1]).all(0).flatten()
    index = within[0].flatten()[pure].long()
    found = squares.new_zeros(len(scan), classes).index_add(1, index, squares[:, pure])
    return Finest(found, torch.bincount(index, minlength=classes).double())


@torch.no_grad()
def fit_spectrum(
    model: JointModel, store: CohortStore, rows: Int[np.ndarray, " n"], config: DetailTraining, *, seed: int
) -> None:
    """Set ``gain`` and ``grain`` of ``model.detail`` by some of the store's ``rows``, each painted for the mask that its tokens
    decode to, as drawn persons are."""
    net = model.detail
    chosen = rows[:: max(1, len(rows) // PERSONS)][:PERSONS]
    people = [decoded(model, store, int(row), config, step_generator(seed + 25, k)) for k, row in enumerate(chosen)]
    means = [_mean(model, person) for person in people]
    powers = torch.stack([_powers(p.scan) / PERSONS for p in people]).sum(0)
    drawn = torch.stack([_powers(mean) / PERSONS for mean in means]).sum(0)
    net.gain.copy_((powers / drawn.clamp(min=1e-12)).sqrt().clamp(1, MOST))

    classes = net.grain.shape[1]
    excess, cubes = torch.zeros(net.grain.shape, dtype=torch.float64), torch.zeros(classes, dtype=torch.float64)
    for person, mean in zip(people, means, strict=True):
        scans, ours = (finest(one, person.mask, classes) for one in (person.scan, net.amplified(mean).clamp(0, 1)))
        excess, cubes = excess + (scans.squares - ours.squares).cpu(), cubes + scans.cubes.cpu()
    every = excess.sum(1, keepdim=True) / cubes.sum()
    variance = torch.where(cubes >= FEWEST, excess / cubes.clamp(min=1), every)
    # of an unknown class: that of all, whatever persons had none
    variance[:, -1:] = every
    net.grain.copy_(variance.clamp(min=0).sqrt())


def _powers(scan: Float[Tensor, "c x y z"]) -> Float[Tensor, "c k"]:
    """Mean squares of a scan's bands."""
    return torch.stack([band.square().mean((1, 2, 3)) for band in bands(scan, BANDS)], 1)


def _mean(model: JointModel, person: Decoded) -> Float[Tensor, "c x y z"]:
    """What one evaluation paints for a person's decoded mask, without gain and grain."""
    net, base, labels, template = model.detail, person.base[None], person.mask[None], None
    if model.config.mask is not None and bool((labels != net.unknown).any()):
        tokens = model.mask_autoencoder.encode(labels)
        labels = model.mask_autoencoder.decode(tokens).argmax(1).to(torch.uint8)
        base, template = model.on_atlas(base, tokens)
    found = net(torch.zeros_like(base), torch.ones(1, device=base.device), base, labels, [(0, 0, 0)], template)
    return (base + net.residual_sd() * found).clamp(0, 1)[0]
