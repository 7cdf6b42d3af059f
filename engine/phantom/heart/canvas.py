"""Where water and fat of a cine are painted, from the back to the front, with soft edges."""

from __future__ import annotations

import numpy as np
from jaxtyping import Bool, Float, UInt8

from engine.phantom.heart.tissue import TISSUES

#: what covers: a share of each voxel in each plane of its slice
Cover = Float[np.ndarray, "p ..."]


class Canvas:
    """Signal of ``water`` and ``lipid`` (p, ...) in units of resting blood, and the ``label`` (...) of each voxel."""

    def __init__(
        self,
        water: Float[np.ndarray, "p ..."],
        lipid: Float[np.ndarray, "p ..."],
        label: UInt8[np.ndarray, "..."],
    ) -> None:
        self.water, self.lipid, self.label = water, lipid, label

    @classmethod
    def empty(cls, shape: tuple[int, ...]) -> Canvas:
        """An empty one for points of this shape (p, ...)."""
        return cls(np.zeros(shape, np.float32), np.zeros(shape, np.float32), np.zeros(shape[1:], np.uint8))

    def at(self, voxels: Bool[np.ndarray, "z x y"]) -> Canvas:
        """A copy of some voxels alone, to be painted on."""
        return Canvas(self.water[:, voxels], self.lipid[:, voxels], self.label[voxels])

    def part(self, some: slice) -> Canvas:
        """Some of the voxels, to be painted on in place."""
        return Canvas(self.water[:, some], self.lipid[:, some], self.label[some])

    def paint(
        self, name: str, cover: Cover, gain: Float[np.ndarray, "..."] | float = 1.0, labelled: bool = True
    ) -> None:
        """Put a tissue over what is there; ``gain`` multiplies its signal. A voxel is labelled that it covers by half."""
        tissue = TISSUES[name]
        self.water += cover * (np.float32(tissue.water) * gain - self.water)
        if tissue.lipid:
            self.lipid += cover * (np.float32(tissue.lipid) * gain - self.lipid)
        else:
            self.lipid -= cover * self.lipid
        if labelled:
            self.label[_mean(cover) > 0.5] = tissue.code

    @property
    def signal(self) -> Float[np.ndarray, "..."]:
        """Water less fat: at a cine's repetition times they point away from each other, what holds both is black."""
        return _mean(self.water - self.lipid)


def _mean(planes: Float[np.ndarray, "p ..."]) -> Float[np.ndarray, "..."]:
    """Mean over the planes of each slice; faster than numpy's over so short an axis."""
    return np.asarray(sum(planes[1:], start=planes[0]) / np.float32(len(planes)))


def inside(distance: Float[np.ndarray, "..."], edge: float) -> Float[np.ndarray, "..."]:
    """Share of a voxel that lies inside of a boundary at this signed ``distance`` (mm, less than 0 inside)."""
    return np.clip(np.float32(0.5) - distance * np.float32(1 / edge), np.float32(0), np.float32(1))
