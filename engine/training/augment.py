"""Random variation of training volumes: mirror, small affine and elastic deformation, intensity.

Places are in mm about the centre of the grid, axes x, y, z as the volume's; ``target`` is the varied volume,
``source`` the one it is made of. As in torchio's RandomAffine (Perez-Garcia et al. 2021,
doi:10.1016/j.cmpb.2021.106236) the content is scaled and turned about the centre, then shifted. Batched in torch
and drawn from one generator a call, so that a run is reproducible and the device does the work.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from engine.vocabulary.refusal import ConfigError

#: one number for all three axes, or one each for x, y, z
PerAxis = float | tuple[float, float, float]
#: control points of the elastic deformation along each axis, the outer ones at the grid's outermost voxels
CONTROL_POINTS = 5


@dataclass(frozen=True, kw_only=True)
class Augmentation:
    """Standard deviations: ``rotation`` in degrees about each axis, ``scale`` relative, ``shift`` in mm along each
    axis, ``elastic`` in mm at each control point, ``gain`` and ``gamma`` relative; ``mirror`` is the chance of a
    left-right flip.

    The defaults are those of the heads of 192 x 224 x 224 mm.
    """

    mirror: float = 0.5
    rotation: float = 2.29
    scale: float = 0.02
    shift: PerAxis = (0.96, 1.12, 1.12)
    elastic: PerAxis = (0.38, 0.45, 0.45)
    gain: float = 0.04
    gamma: float = 0.06

    def __post_init__(self) -> None:
        spreads = (self.rotation, self.scale, *_each(self.shift), *_each(self.elastic), self.gain, self.gamma)
        if not 0 <= self.mirror <= 1 or min(spreads) < 0:
            raise ConfigError("an augmentation has a chance from 0 to 1 and standard deviations of 0 or more")

    @property
    def moves(self) -> bool:
        """Does anything but the mirror move the content?"""
        return bool(self.rotation or self.scale or any(_each(self.shift)) or any(_each(self.elastic)))


class Variation(NamedTuple):
    """How a batch of volumes is varied: rotation vectors (b, 3) in radians, factors of size (b,), who is mirrored (b,), shifts
    (b, 3) and elastic control points (b, 3, i, j, k) in mm, factors and exponents of brightness (b, 1, 1, 1, 1)."""

    angles: Tensor
    zoom: Tensor
    mirrored: Tensor
    shift: Tensor
    points: Tensor
    gain: Tensor
    gamma: Tensor

    @classmethod
    def draw(cls, config: Augmentation, b: int, generator: torch.Generator) -> Variation:
        """Of ``b`` volumes at random."""

        def normal(*shape: int) -> Tensor:
            return torch.randn(shape, generator=generator)

        angles = normal(b, 3) * math.radians(config.rotation)
        zoom = 1 + normal(b) * config.scale
        mirrored = torch.rand(b, generator=generator) < config.mirror
        shift = normal(b, 3) * torch.tensor(_each(config.shift))
        points = normal(b, 3, *[CONTROL_POINTS] * 3) * torch.tensor(_each(config.elastic)).reshape(3, 1, 1, 1)
        gain = 1 + normal(b, 1, 1, 1, 1) * config.gain
        gamma = torch.exp(normal(b, 1, 1, 1, 1) * config.gamma)
        return cls(angles, zoom, mirrored, shift, points, gain, gamma)

    def of(self, rows: slice) -> Variation:
        """Of some of the volumes."""
        return Variation(*(part[rows] for part in self))


def augment(
    volumes: Float[Tensor, "b c x y z"],
    config: Augmentation,
    generator: torch.Generator,
    intensity: int = 1,
    *,
    spacing: tuple[float, float, float],
) -> Float[Tensor, "b c x y z"]:
    """Deform every channel alike; change the brightness of the first ``intensity`` channels (the rest are masks).

    ``spacing`` is the size of a voxel, mm. What comes from outside the grid is 0.
    """
    return varied(volumes, Variation.draw(config, len(volumes), generator), intensity, config.moves, spacing)


def varied(
    volumes: Float[Tensor, "b c x y z"],
    how: Variation,
    intensity: int,
    moves: bool,
    spacing: tuple[float, float, float],
) -> Float[Tensor, "b c x y z"]:
    """The volumes of :func:`augment`, varied in a way that is drawn already; without ``moves`` mirror and brightness only."""
    moved = torch.where(how.mirrored.to(volumes.device)[:, None, None, None, None], volumes.flip(2), volumes)
    if moves:
        moved = deformed(moved, target_from_source(how.angles, how.zoom, how.shift), how.points, spacing)

    gain, gamma = how.gain.to(volumes.device), how.gamma.to(volumes.device)
    bright = (moved[:, :intensity].clamp(0, 1) ** gamma * gain).clamp(0, 1)
    return torch.cat([bright, moved[:, intensity:]], 1)


def target_from_source(
    angles: Float[Tensor, "b 3"], zoom: Float[Tensor, " b"], shift: Float[Tensor, "b 3"]
) -> Float[Tensor, "b 4 4"]:
    """Where content goes: turned by the rotation vector ``angles`` (radians, right-handed), scaled, shifted (mm)."""
    cross_product = torch.linalg.cross(angles[:, None], torch.eye(3)[None]).mT
    affine = torch.eye(4).repeat(len(angles), 1, 1)
    affine[:, :3, :3] = torch.matrix_exp(cross_product) * zoom[:, None, None]
    affine[:, :3, 3] = shift
    return affine


def deformed(
    volumes: Float[Tensor, "b c x y z"],
    target_from_source: Float[Tensor, "b 4 4"],
    points: Float[Tensor, "b 3 i j k"],
    spacing: tuple[float, float, float],
) -> Float[Tensor, "b c x y z"]:
    """The content moved by the affine, and looked up ``points`` (mm, trilinear between them) beside its place."""
    device, grid = volumes.device, volumes.shape[2:]
    source_from_target = torch.linalg.inv(target_from_source).to(device)
    axes = [(torch.arange(n, device=device) - (n - 1) / 2) * mm for n, mm in zip(grid, spacing, strict=True)]
    target = torch.stack(torch.meshgrid(*axes, indexing="ij"))

    turned = torch.einsum("bij,jxyz->bixyz", source_from_target[:, :3, :3], target)
    source = turned + source_from_target[:, :3, 3].reshape(-1, 3, 1, 1, 1)
    source = source + interpolate(points.to(device), size=grid, mode="trilinear", align_corners=True)

    # grid_sample counts from -1 to 1 between the outer faces of the grid, the last axis first
    half = torch.tensor([n * mm / 2 for n, mm in zip(grid, spacing, strict=True)], device=device)
    where = (source / half.reshape(3, 1, 1, 1)).flip(1).permute(0, 2, 3, 4, 1)
    return grid_sample(volumes, where.to(volumes.dtype), padding_mode="zeros", align_corners=False)


def _each(value: PerAxis) -> tuple[float, float, float]:
    return value if isinstance(value, tuple) else (value, value, value)
