"""After the detail: how much finer and noisier scans are than the means that are drawn.

A posterior mean lacks power where it is unsure. Its bands are amplified so that its power is, frequency by frequency, as near to
that of scans as two bands come (an equaliser, as templates are sharpened after averaging: Avants et al., NeuroImage 49, 2010);
what is noise in scans is measured class by class and added. A
scanner's noise is independent from voxel to voxel, so the finest band of an orthonormal Haar transform has its variance whole, and of
anatomy least, whose few large coefficients leave the median alone (Donoho and Johnstone, Biometrika 81, 1994).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import space_to_depth
from engine.model.nn.detail import BANDS
from engine.training.run import step_generator
from engine.training.stages.local.detail import Decoded, DetailTraining, decoded

#: persons it is measured in, at most, and the least cubes of a class that count
PERSONS, FEWEST = 32, 50
#: no band is amplified beyond the last, or weakened beyond the first
GAINS = (0.5, 3.0)
#: edges of the rings that powers are compared in, cycles a voxel: .05 to .8 of Nyquist
EDGES = torch.linspace(0.025, 0.4, 16)
#: signs of the voxels of a cube of 2 x 2 x 2 in its finest coefficient
SIGNS = (1, -1, -1, 1, -1, 1, 1, -1)
#: the share of a body that is enough to measure noise in
LARGE = 0.01
#: the median of |n|, n ~ N(0, 1)
MEDIAN = 0.6745


class Finest(NamedTuple):
    """Finest coefficients of cubes that are of one class (absolute values, of each channel), and that class."""

    size: Float[Tensor, "c n"]
    label: Int[Tensor, " n"]


def finest(scan: Float[Tensor, "c x y z"], labels: UInt8[Tensor, "x y z"]) -> Finest:
    """The finest band of an orthonormal Haar transform, a coefficient for each cube of 2 x 2 x 2 voxels within a class."""
    signs = torch.tensor(SIGNS, dtype=scan.dtype, device=scan.device) / len(SIGNS) ** 0.5
    size = torch.einsum("cvijk,v->cijk", space_to_depth(scan[:, None]), signs).abs().flatten(1)
    within = space_to_depth(labels[None, None].float())[0]
    pure = (within == within[:1]).all(0).flatten()
    return Finest(size[:, pure].cpu(), within[0].flatten()[pure].long().cpu())


def noise_variance(found: Sequence[Finest], classes: int) -> Float[Tensor, "c k"]:
    """The variance of each class' finest band, by the median; last, and where a class has too few cubes, that of all."""
    size, label = torch.cat([one.size for one in found], 1), torch.cat([one.label for one in found])
    every = size.median(1).values
    medians = [size[:, label == k].median(1).values if (label == k).sum() >= FEWEST else every for k in range(classes)]
    return (torch.stack([*medians[:-1], every], 1) / MEDIAN) ** 2


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
    powers = torch.stack([ring_powers(p.scan) for p in people]).mean(0)
    net.gain.copy_(fitted_gain(powers, torch.stack([ring_powers(mean) for mean in means]).mean(0)))

    if model.tells_tissues:  # a scanner's noise is one everywhere
        people = [p._replace(mask=torch.zeros_like(p.mask[0])) for p in people]
    classes = 1 if model.tells_tissues else net.grain.shape[1]
    scans = noise_variance([finest(p.scan, p.mask) for p in people], classes)
    pairs = zip(people, means, strict=True)
    ours = noise_variance([finest(net.amplified(mean).clamp(0, 1), p.mask) for p, mean in pairs], classes)
    excess = (scans - ours).clamp(min=0)
    if classes > 1:  # else no class is told apart
        shares = torch.bincount(torch.cat([p.mask.flatten() for p in people]), minlength=classes)[1:-1].double()
        excess = torch.minimum(excess, _quietest(excess[:, 1:-1], shares))
    net.grain.copy_(excess.sqrt())


def _quietest(excess: Float[Tensor, "c k"], counts: Float[Tensor, " k"]) -> Float[Tensor, "c 1"]:
    """The least noise, but for none, in a class that fills a hundredth of the body: structure adds to what a scanner's noise is
    everywhere, and takes nothing away."""
    large = counts >= LARGE * counts.sum()
    noisy = torch.where((excess > 0) & large, excess, torch.inf).amin(1, keepdim=True)
    return torch.where(noisy.isinf(), 0.0, noisy)


def ring_powers(scan: Float[Tensor, "c x y z"]) -> Float[Tensor, "c r"]:
    """The mean power of each channel in each ring of :data:`EDGES`."""
    spectrum = torch.fft.fftn(scan - scan.mean((1, 2, 3), keepdim=True), dim=(1, 2, 3)).abs().square()
    axes = [torch.fft.fftfreq(n, device=scan.device) for n in scan.shape[1:]]
    radius = torch.stack(torch.meshgrid(*axes, indexing="ij")).square().sum(0).sqrt()
    ring = torch.bucketize(radius, EDGES.to(scan.device)).flatten()
    total = scan.new_zeros(len(scan), len(EDGES) + 1).index_add_(1, ring, spectrum.flatten(1))
    return (total / torch.bincount(ring, minlength=len(EDGES) + 1).clamp(min=1))[:, 1:-1]


def fitted_gain(real: Float[Tensor, "c r"], drawn: Float[Tensor, "c r"]) -> Float[Tensor, "c k"]:
    """The gains of the bands by which powers in rings become those of ``real`` scans: least squares of amplitudes, since amplified
    bands multiply an amplitude by 1 + sum of (gain - 1) times what the band passes."""
    frequency = ((EDGES[1:] + EDGES[:-1]) / 2).to(real)
    left, passed = torch.ones_like(frequency), []
    for sd in BANDS:
        blur = torch.exp(-2 * (torch.pi * sd * frequency) ** 2)
        passed.append(left * (1 - blur))
        left = left * blur
    wanted = (real / drawn.clamp(min=1e-12)).sqrt() - 1
    return (1 + torch.linalg.lstsq(torch.stack(passed, 1), wanted.T).solution.T).clamp(*GAINS)


def _mean(model: JointModel, person: Decoded) -> Float[Tensor, "c x y z"]:
    """What one evaluation paints for a person's decoded mask, or for what is told apart in the decoded scan, without gain and grain."""
    net, base, labels, template = model.detail, person.base[None], person.mask[None], None
    if model.config.mask is not None and bool((labels != net.unknown).any()):
        tokens = model.mask_autoencoder.encode(labels)
        labels = model.drawn_mask(model.standardise_mask(tokens), base, [0])[0]
        base, template = model.on_atlas(base, tokens)
    if model.tells_tissues:
        labels = model.drawn_tissues(base, [0])
    found = net(torch.zeros_like(base), torch.ones(1, device=base.device), base, labels, [(0, 0, 0)], template)
    return (base + net.residual_sd() * found).clamp(0, 1)[0]
