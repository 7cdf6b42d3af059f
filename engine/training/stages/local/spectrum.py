"""After the detail: how much finer and noisier scans are than the means that are drawn.

A posterior mean lacks power where it is unsure. Its bands are amplified so that its power is, frequency by frequency, as near to
that of scans as two bands come (an equaliser, as templates are sharpened after averaging: Avants et al., NeuroImage 49, 2010);
what is noise in scans is measured class by class and added. A
scanner's noise is independent from voxel to voxel, so the finest band of an orthonormal Haar transform has its variance whole, and of
anatomy least, whose few large coefficients leave the median alone (Donoho and Johnstone, Biometrika 81, 1994).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.imaging.spectrum import RADII, radial_power
from engine.imaging.volume import VolumeError
from engine.inference.conditioning import given_rows, with_masks
from engine.inference.generate import IMAGE_POWER, integrated
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import space_to_depth
from engine.model.nn.detail import BANDS
from engine.model.sampler import schedule
from engine.training.run import some_of
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.mask import class_of_code, load_masks
from engine.vocabulary.schema import Row

#: persons it is measured in, at most and, of large scans, by their voxels together; the least cubes of a class that count
PERSONS, VOXELS, FEWEST = 32, 2**27, 50
#: network evaluations of a person who is drawn to be compared
STEPS = 8
#: no band is amplified beyond the last, or weakened beyond the first
GAINS = (0.4, 3.5)
#: times that gains are fitted to what those before them drew
ROUNDS = 3
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


class Painted(NamedTuple):
    """A scan (c, x, y, z), 0 to 1, and the classes of its voxels (x, y, z); of what is told apart in every frame 0 everywhere, since a
    scanner's noise is one."""

    scan: Tensor
    labels: Tensor


@torch.no_grad()
def fit_spectrum(
    model: JointModel, store: CohortStore, rows: Int[np.ndarray, " n"], *, guidance: float, seed: int
) -> None:
    """Set ``gain`` and ``grain`` of ``model.detail`` by some of the store's ``rows``: their scans, beside persons drawn for their rows of
    the table with the weight ``guidance``, since what is decoded from a scan's own tokens has more detail than what is drawn."""
    net = model.detail
    most = min(PERSONS, max(1, VOXELS // (len(store.channels) * math.prod(store.grid))))
    chosen = some_of(rows, most)
    net.gain.fill_(1)
    net.grain.zero_()
    means = [_drawn(model, store.rows[row], seed + k, guidance) for k, row in enumerate(chosen)]
    people = [_person(model, store, int(row)) for row in chosen]
    wanted = torch.stack([_power(p.scan) for p in people]).nanmean(0)
    for _ in range(ROUNDS):
        drawn = torch.stack([_power(net.amplified(mean.scan).clamp(0, 1)) for mean in means]).nanmean(0)
        if bool((wanted > 0).all() and (drawn > 0).all()):  # else nothing is there to be amplified
            net.gain.copy_(fitted_gain(wanted, drawn, net.gain.cpu()))

    classes = 1 if model.tells_tissues else net.grain.shape[1]
    scans = noise_variance([finest(*p) for p in people], classes)
    ours = noise_variance([finest(net.amplified(mean.scan).clamp(0, 1), mean.labels) for mean in means], classes)
    excess = (scans - ours).clamp(min=0)
    if classes > 1:  # else no class is told apart
        shares = torch.bincount(torch.cat([p.labels.flatten() for p in people]), minlength=classes)[1:-1].double()
        excess = torch.minimum(excess, _quietest(excess[:, 1:-1], shares))
    net.grain.copy_(excess.sqrt())


def _person(model: JointModel, store: CohortStore, row: int) -> Painted:
    """A person of the store."""
    device, one = model.centre.device, np.array([row])
    scan = load_batch(store, one, device)[0, :-1]
    if model.config.mask is None or not store.labelled[row]:
        return Painted(scan, _untold(model, scan))
    return Painted(scan, load_masks(store, one, class_of_code(model.config.mask)).to(device)[0])


def _drawn(model: JointModel, row: Row, seed: int, guidance: float) -> Painted:
    """A person drawn for a row, with the detail of one evaluation."""
    known = with_masks(model, given_rows(model, [row]), [None], drawn=model.has_mask)
    times = schedule(STEPS, power=IMAGE_POWER)
    *_, state = integrated(model, model.noise([seed]), known, guidance, times)
    base = model.decode(state.image)
    labels, field = model.drawn_mask(state.mask, base, [seed]) if model.has_mask else (None, None)
    scan = model.detailed(base, labels, [seed], 1, field=field, table=state.table)[0]
    return Painted(scan, _untold(model, scan) if labels is None else labels[0])


def _untold(model: JointModel, scan: Float[Tensor, "c x y z"]) -> UInt8[Tensor, "x y z"]:
    """The classes of a scan that has no mask."""
    kind = 0 if model.tells_tissues else model.detail.unknown
    return torch.full(scan.shape[1:], kind, dtype=torch.uint8, device=scan.device)


def _quietest(excess: Float[Tensor, "c k"], counts: Float[Tensor, " k"]) -> Float[Tensor, "c 1"]:
    """The least noise, but for none, in a class that fills a hundredth of the body: structure adds to what a scanner's noise is
    everywhere, and takes nothing away."""
    large = counts >= LARGE * counts.sum()
    noisy = torch.where((excess > 0) & large, excess, torch.inf).amin(1, keepdim=True)
    return torch.where(noisy.isinf(), 0.0, noisy)


def _power(scan: Float[Tensor, "c x y z"]) -> Float[Tensor, "c r"]:
    """The scan's power in rings (:func:`engine.imaging.spectrum.radial_power`); NaN where there is no body."""
    try:
        return torch.from_numpy(radial_power(scan.cpu().numpy())).float()
    except VolumeError:
        return torch.full((len(scan), len(RADII)), torch.nan)


def fitted_gain(
    real: Float[Tensor, "c r"], drawn: Float[Tensor, "c r"], gain: Float[Tensor, "c k"]
) -> Float[Tensor, "c k"]:
    """The gains of the bands by which powers in rings become those of ``real`` scans, of which those ``drawn`` with ``gain`` are known.
    Least squares of relative errors of amplitudes, since amplified bands multiply an amplitude by 1 + sum of (gain - 1) times what the
    band passes; scans end at 0 and 1, so that this is so only nearly."""
    frequency = torch.from_numpy(RADII / 2).to(real)
    left, passed = torch.ones_like(frequency), []
    for sd in BANDS:
        blur = torch.exp(-2 * (torch.pi * sd * frequency) ** 2)
        passed.append(left * (1 - blur))
        left = left * blur
    share = torch.stack(passed, 1)
    now = 1 + (gain - 1) @ share.T
    wanted = (real / drawn.clamp(min=1e-12)).sqrt() * now
    solved = torch.linalg.lstsq(share / wanted[..., None], ((wanted - 1) / wanted)[..., None]).solution[..., 0]
    return (1 + solved).clamp(*GAINS)
