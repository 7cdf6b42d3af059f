"""Sizes of a field, and the volume it was fitted to."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from engine.vocabulary.refusal import ConfigError


class GridConfig(NamedTuple):
    """A feature grid: nodes every ``step`` mm with ``channels`` features. ``reach``: nodes within that many mm of a border
    between classes have features of their own, all others share one row (0: every node has its own)."""

    step: float
    channels: int
    reach: float = 0.0


@dataclass(frozen=True, kw_only=True)
class FieldConfig:
    """Sizes of a field, and the volume it was fitted to: the centre ``origin`` of its first voxel and the voxels' ``spacing``
    in mm, its ``shape`` in voxels, its ``classes`` (the first is outside).

    The MLP has ``depth`` hidden layers of ``width``; ``cell`` is the side of the mask's cells in mm.
    """

    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    shape: tuple[int, int, int]
    classes: tuple[str, ...]
    grids: tuple[GridConfig, ...]
    width: int
    depth: int
    cell: float

    def __post_init__(self) -> None:
        lengths = (*self.spacing, self.cell, *(grid.step for grid in self.grids))
        counts = (*self.shape, self.width, self.depth, *(grid.channels for grid in self.grids))
        if not self.grids or min(lengths) <= 0 or min(counts) < 1 or not 2 <= len(self.classes) <= 256:
            raise ConfigError("a field needs a grid, lengths and counts above 0, and 2 to 256 classes; mend its sizes")

    @property
    def low(self) -> tuple[float, float, float]:
        """The corner of the volume, mm."""
        x, y, z = (o - s / 2 for o, s in zip(self.origin, self.spacing, strict=True))
        return x, y, z

    @property
    def extent(self) -> tuple[float, float, float]:
        """The sides of the volume, mm."""
        x, y, z = (n * s for n, s in zip(self.shape, self.spacing, strict=True))
        return x, y, z

    def nodes(self, step: float) -> tuple[int, int, int]:
        """The counts of nodes ``step`` mm apart, from the corner on, that enclose the volume."""
        x, y, z = (math.ceil(side / step - 1e-6) + 1 for side in self.extent)
        return x, y, z

    @property
    def cells(self) -> tuple[int, int, int]:
        """The counts of the mask's cells."""
        x, y, z = (n - 1 for n in self.nodes(self.cell))
        return x, y, z

    def shape_at(self, spacing: Sequence[float]) -> tuple[int, int, int]:
        """The shape of the grid of voxels of another ``spacing`` that begins in the same corner and covers the volume."""
        x, y, z = (max(1, round(side / mm)) for side, mm in zip(self.extent, spacing, strict=True))
        return x, y, z
