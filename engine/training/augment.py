"""Random variation of training volumes: mirror, small affine and elastic deformation, intensity.

Batched in torch and drawn from one generator a call, so that a run is reproducible and the device does the work.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample, interpolate


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Standard deviations: ``rotation`` in radians, ``scale`` relative, ``shift`` and ``elastic`` as a share of the field
    of view, ``gain`` and ``gamma`` relative; ``mirror`` is the chance of a left-right flip."""

    mirror: float = 0.5
    rotation: float = 0.04
    scale: float = 0.02
    shift: float = 0.01
    elastic: float = 0.004
    gain: float = 0.04
    gamma: float = 0.06


def augment(
    volumes: Float[Tensor, "b c x y z"], config: Augmentation, generator: torch.Generator, intensity: int = 1
) -> Float[Tensor, "b c x y z"]:
    """Deform every channel alike; change the brightness of the first ``intensity`` channels only (the rest are masks)."""
    b = len(volumes)

    def normal(*shape: int) -> Tensor:
        return torch.randn(shape, generator=generator)

    angles = normal(b, 3) * config.rotation
    generators = torch.zeros(b, 3, 3)
    for axis, (i, j) in enumerate(((0, 1), (0, 2), (1, 2))):
        generators[:, i, j], generators[:, j, i] = angles[:, axis], -angles[:, axis]
    matrix = torch.matrix_exp(generators) * (1 + normal(b, 1, 1) * config.scale)
    # grid_sample's coordinates run z, y, x: the last column is the patient's left-right axis
    flip = torch.where(torch.rand(b, generator=generator) < config.mirror, -1.0, 1.0)
    matrix[:, :, 2] = matrix[:, :, 2] * flip[:, None]
    theta = torch.cat([matrix, normal(b, 3, 1) * config.shift], 2).to(volumes.device)
    where = affine_grid(theta, list(volumes.shape), align_corners=False)
    bumps = (normal(b, 3, 5, 5, 5) * config.elastic).to(volumes.device)
    where = where + interpolate(bumps, size=volumes.shape[2:], mode="trilinear", align_corners=True).permute(
        0, 2, 3, 4, 1
    )
    moved = grid_sample(volumes, where.to(volumes.dtype), padding_mode="zeros", align_corners=False)
    gain = (1 + normal(b, 1, 1, 1, 1) * config.gain).to(volumes.device)
    gamma = torch.exp(normal(b, 1, 1, 1, 1) * config.gamma).to(volumes.device)
    bright = (moved[:, :intensity].clamp(0, 1) ** gamma * gain).clamp(0, 1)
    return torch.cat([bright, moved[:, intensity:]], 1)
