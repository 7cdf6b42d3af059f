"""The voxels and phases of a short-axis cine, and the points in them at which a heart is looked up."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

from engine.imaging.volume import centred_affine
from engine.vocabulary.refusal import ConfigError

#: planes of a slice that are averaged
PLANES = 2


@dataclass(frozen=True, kw_only=True)
class CineRaster:
    """``grid`` voxels, ``spacing`` mm apart, slices of ``thickness`` mm, ``phases`` of a cycle, the first end-diastole.

    Slices of 8 mm without gaps, as the Sunnybrook patients' (Radau et al. 2009), 16 of them, so that a dilated heart has its
    apex and its atria in view.
    """

    grid: tuple[int, int, int] = (96, 96, 16)
    spacing: tuple[float, float, float] = (1.6, 1.6, 8.0)
    thickness: float = 8.0
    phases: int = 12

    def __post_init__(self) -> None:
        if not 8 <= self.phases <= 32:
            raise ConfigError(f"{self.phases} phases of a cycle; give 8 to 32")
        if min(self.grid) < 8 or min(self.spacing) <= 0:
            raise ConfigError(f"a cine of {self.grid} voxels of {self.spacing} mm; give 8 or more of a positive size")
        if not 0 < self.thickness <= self.spacing[2]:
            raise ConfigError(
                f"slices of {self.thickness} mm, {self.spacing[2]} mm apart; give slices that do not overlap"
            )

    @property
    def affine(self) -> Float[np.ndarray, "4 4"]:
        """Voxel index to mm of the heart's frame, its middle at the origin."""
        return centred_affine(self.grid, self.spacing)

    @property
    def voxel_ml(self) -> float:
        """What a voxel stands for in mL, gap included."""
        return float(np.prod(self.spacing)) / 1000

    def axis(self, i: int) -> Float[np.ndarray, " n"]:
        """Places of the voxels along an axis, mm."""
        return (np.arange(self.grid[i]) - (self.grid[i] - 1) / 2) * self.spacing[i]

    def planes(self) -> Float[np.ndarray, "p z"]:
        """Heights (mm) of the planes in which slices are looked up, :data:`PLANES` a slice: (p, z)."""
        within = (np.arange(PLANES) - (PLANES - 1) / 2) * self.thickness / PLANES
        return within[:, None] + self.axis(2)


RASTER = CineRaster()


@dataclass(frozen=True, eq=False)
class Points:
    """Where voxels lie in the heart's frame (mm), in each plane of their slice, after the slices' own shifts.

    Shape: ``x`` and ``y`` are (p, ...), one for each plane of some voxels, ``z`` can be broadcast to them; single precision.
    """

    x: Float[np.ndarray, "p ..."]
    y: Float[np.ndarray, "p ..."]
    z: Float[np.ndarray, "p ..."]

    def at(self, voxels: Bool[np.ndarray, "z x y"]) -> Points:
        """Those of some voxels alone, (p, n)."""
        z = np.broadcast_to(self.z, self.x.shape)
        return Points(self.x[:, voxels], self.y[:, voxels], z[:, voxels])

    def part(self, some: slice) -> Points:
        """Those of some voxels alone, without a copy."""
        return Points(self.x[:, some], self.y[:, some], self.z[:, some])


def points(raster: CineRaster, shifts: Float[np.ndarray, "z 3"]) -> Points:
    """The points (p, z, x, y) of a raster whose slices were each taken ``shifts`` mm from where they should lie."""
    moved = shifts.astype(np.float32)
    x, y = raster.axis(0).astype(np.float32), raster.axis(1).astype(np.float32)
    shape = (PLANES, raster.grid[2], *raster.grid[:2])
    return Points(
        np.broadcast_to(x[:, None] + moved[:, 0, None, None], shape).copy(),
        np.broadcast_to(y[None, :] + moved[:, 1, None, None], shape).copy(),
        (raster.planes() + shifts[:, 2]).astype(np.float32)[..., None, None],
    )
