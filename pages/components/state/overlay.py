"""A mask over a scan: which colour each of its classes has, what it is called, and what the viewer shows of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from engine.anatomy import region_of
from engine.anatomy.region import Region
from engine.vocabulary.catalogue import CATALOGUE

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

#: of classes that no tissue of the region has, in turn
COLOURS = ("#9aa5b1", "#b07aa1", "#f28e2b", "#76b7b2", "#59a14f", "#edc948", "#af7aa1", "#ff9da7")


class Groups:
    """The classes of a mask in groups, one a tissue of the region, and one for each class that no tissue has.

    ``group`` of a class's index (0: the background), ``legend`` value, name and colour of each group.
    """

    def __init__(self, region: Region | None, classes: Sequence[str]) -> None:
        self.group = np.zeros(len(classes), np.uint8)
        self.legend: list[tuple[int, str, str]] = []
        for tissue in region.tissues if region else ():
            chosen = [classes.index(name) for name in tissue.classes if name in classes[1:]]
            if chosen:
                self._add(chosen, tissue.title, tissue.colour)
        left = [k for k in range(1, len(classes)) if not self.group[k]]
        for k, colour in zip(left, COLOURS * len(left), strict=False):
            self._add([k], class_title(region, classes[k]), colour)

    def _add(self, chosen: list[int], title: str, colour: str) -> None:
        self.legend.append((len(self.legend) + 1, title, colour))
        self.group[chosen] = len(self.legend)


def class_title(region: Region | None, name: str) -> str:
    """A class of a mask in words."""
    for tissue in (*region.tissues, *region.surfaces) if region else ():
        if tissue.classes == (name,):
            return tissue.title
    return CATALOGUE[name].label if name in CATALOGUE else name.replace("_", " ").capitalize()


def titles_of(model: Model) -> dict[str, str]:
    """The regions of the model's masks, in words, by class."""
    mask = model.checkpoint.config.model.mask
    region = region_of(model.checkpoint.config.channels)
    return {name: class_title(region, name) for name in mask.classes[1:]} if mask else {}


def overlaid(model: Model, masks: Sequence[Segmentation | None]) -> dict[str, Any]:
    """``labels`` and ``legend`` for :func:`pages.components.state.scene.payload`; nothing unless everybody has a mask."""
    there = [mask for mask in masks if mask is not None]
    if not there or len(there) < len(masks):
        return {}
    groups = Groups(region_of(model.checkpoint.config.channels), there[0].classes)
    return {"labels": [groups.group[mask.labels] for mask in there], "legend": groups.legend}


def brush_of(model: Model) -> list[tuple[int, str, int]]:
    """What can be painted in the viewer: index, words and label of each region of the model's masks."""
    mask = model.checkpoint.config.model.mask
    if mask is None:
        return []
    groups = Groups(region_of(model.checkpoint.config.channels), mask.classes)
    titles = titles_of(model)
    return [(k, titles[name], int(groups.group[k])) for k, name in enumerate(mask.classes) if k]


def painted(mask: Segmentation, strokes: Sequence[Sequence[Any]]) -> Segmentation:
    """The ``mask`` after the strokes of the viewer's brush, each a class and runs (start, length) of voxels on the grid turned to
    RAS+, x running fastest; nothing is painted into the background. Raises :class:`ValueError` for what is no stroke."""
    from dataclasses import replace

    from engine.imaging.volume import Volume

    turned = Volume(mask.labels, mask.affine, ("dseg",)).reoriented("RAS")
    flat = turned.data.ravel(order="F").copy()
    for index, runs in strokes:
        if not 0 < int(index) < len(mask.classes) or len(runs) % 2:
            raise ValueError(f"a stroke of class {index} with {len(runs)} numbers: give a class and pairs of numbers")
        for start, length in zip(runs[::2], runs[1::2], strict=True):
            if not 0 <= start <= start + length <= flat.size:
                raise ValueError(f"a run of {length} voxels from {start} lies outside of {flat.size}")
            part = flat[int(start) : int(start + length)]
            part[part > 0] = int(index)
    labels = flat.reshape(turned.data.shape, order="F")
    back = Volume(labels, turned.affine, ("dseg",)).reoriented(
        "".join(Volume(mask.labels, mask.affine, ("dseg",)).axcodes)
    )
    return replace(mask, labels=np.ascontiguousarray(back.data))
