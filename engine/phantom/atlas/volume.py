"""A labelled volume of the template frame: what a field (:mod:`engine.phantom.atlas.field`) is fitted to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import UInt8

from engine.vocabulary.refusal import ConfigError

if TYPE_CHECKING:
    from jaxtyping import Bool


@dataclass(frozen=True, kw_only=True, eq=False)
class LabelVolume:
    """A class a voxel: ``labels`` index ``classes``, of which the first is what lies outside.

    ``origin`` is the centre of the first voxel and ``spacing`` the voxel's size, both in mm, along x, y, z. Raises
    :class:`ConfigError` for labels without a class, and for a size that is none.
    """

    labels: UInt8[np.ndarray, "x y z"]
    origin: tuple[float, float, float]
    spacing: tuple[float, float, float]
    classes: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(set(self.classes)) != len(self.classes) or not 2 <= len(self.classes) <= 256:
            raise ConfigError(
                f"{len(self.classes)} classes, some of one name; give 2 to 256 classes of different names"
            )
        if min(self.spacing) <= 0:
            raise ConfigError(f"a spacing of {self.spacing} mm is none; give lengths above 0")
        largest = int(self.labels.max(initial=0))
        if largest >= len(self.classes):
            raise ConfigError(f"label {largest} has no class among {len(self.classes)}; name all classes")

    @property
    def borders(self) -> Bool[np.ndarray, "x y z"]:
        """The voxels that have a neighbour of another class across a face."""
        found = np.zeros(self.labels.shape, bool)
        for axis in range(3):
            labels, marks = np.moveaxis(self.labels, axis, 0), np.moveaxis(found, axis, 0)
            differs = labels[1:] != labels[:-1]
            marks[1:] |= differs
            marks[:-1] |= differs
        return found
