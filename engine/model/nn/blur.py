"""Separable convolution of volumes, the border going on beyond it."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn


def gaussian(sd: float) -> Float[Tensor, " n"]:
    """Weights of a Gaussian of ``sd`` places, as far as three SDs, of sum 1."""
    reach = max(1, int(3 * sd))
    return torch.softmax(-0.5 * (torch.arange(-reach, reach + 1.0) / sd) ** 2, 0)


def convolved(volume: Float[Tensor, "c x y z"], kernels: Sequence[Float[Tensor, " n"]]) -> Float[Tensor, "c x y z"]:
    """Each channel convolved with a kernel along each of the three axes."""
    channels = len(volume)
    for axis, kernel in enumerate(kernels):
        pad, shape = [0] * 6, [1, 1, 1, 1, 1]
        pad[4 - 2 * axis : 6 - 2 * axis] = [len(kernel) // 2] * 2
        shape[2 + axis] = len(kernel)
        weight = kernel.to(volume).view(shape).expand(channels, *shape[1:])
        padded = nn.functional.pad(volume[None], pad, mode="replicate")
        volume = nn.functional.conv3d(padded, weight, groups=channels)[0]
    return volume


def blurred(volume: Float[Tensor, "c x y z"], sd: float) -> Float[Tensor, "c x y z"]:
    """Each channel under a Gaussian of ``sd`` voxels."""
    return convolved(volume, [gaussian(sd)] * 3)


def bands(volume: Float[Tensor, "c x y z"], sds: Sequence[float]) -> list[Float[Tensor, "c x y z"]]:
    """What each blur takes from the one before it, the finest first: a Laplacian pyramid (Burt and Adelson, IEEE Trans Commun 31,
    1983) that is not thinned out. With the last blur they sum to the volume."""
    found = []
    for sd in sds:
        coarser = blurred(volume, sd)
        found.append(volume - coarser)
        volume = coarser
    return found
