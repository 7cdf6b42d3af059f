"""Where a change lies, inside or outside of what should change."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import binary_dilation

from engine.anatomy.region import BODY, Region
from pages.components.parts.ruler.reader import Seen

#: voxels by which a region is widened: an edge that moves is part of what changes
MARGIN = 2


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean absolute change of intensity, in percent of white, ``inside`` and ``outside`` of a region, and the ``share`` of the
    whole change that lies outside (0 where there is none)."""

    inside: float
    outside: float
    share: float


def expected(region: Region | None, before: Seen, after: Seen, moved: Collection[str]) -> tuple[np.ndarray, str]:
    """Where the change of the attributes ``moved`` is expected, on either volume, a little widened; and in words.

    It is the body where no area was found, and in an unknown region.
    """
    names = sorted({region.area_of(name) for name in moved}) if region else []
    found = before.masks.keys() & after.masks.keys()
    if region is None or not names or BODY in names or not found.issuperset(names):
        return _either(before, after, [BODY]), f"the {BODY}"
    return _either(before, after, names), " and ".join(region.area(name).words for name in names)


def _either(before: Seen, after: Seen, names: Collection[str]) -> np.ndarray:
    """The areas ``names`` on either volume, a little widened."""
    mask = np.logical_or.reduce([seen.masks[name] for seen in (before, after) for name in names])
    return binary_dilation(mask, iterations=MARGIN)


def spread(difference: np.ndarray, mask: np.ndarray) -> Spread:
    """Where a ``difference`` ((c,) x, y, z) lies, beside ``mask`` (x, y, z)."""
    size = np.abs(np.asarray(difference, np.float64)).reshape(-1, *mask.shape).mean(0)
    total, out = float(size.sum()), ~mask
    inside = float(size[mask].mean()) if mask.any() else 0.0
    outside = float(size[out].mean()) if out.any() else 0.0
    share = float(size[out].sum()) / total if total else 0.0
    return Spread(inside=100 * inside, outside=100 * outside, share=share)
