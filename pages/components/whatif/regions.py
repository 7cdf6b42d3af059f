"""Where a change lies, inside or outside of what should change, and what of it the ruler read."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy.ndimage import binary_dilation, distance_transform_edt

from engine.anatomy.region import BODY, Region
from pages.components.parts.ruler.reader import Seen

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.measure.ruler import Ruler

#: voxels by which a region is widened: an edge that moves is part of what changes
MARGIN = 2
#: mm around what an edit of the mask changes in which the scan is expected to change
RIM = 15.0


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


def rim(before: Segmentation, after: Segmentation) -> np.ndarray:
    """Where an edit of the mask is expected to change the scan: voxels of another class than before, and :data:`RIM` around."""
    changed = before.labels != after.labels
    if not changed.any():
        return changed
    spacing = np.linalg.norm(before.affine[:3, :3], axis=0)
    return np.asarray(distance_transform_edt(~changed, sampling=spacing)) <= RIM


def spread(difference: np.ndarray, mask: np.ndarray) -> Spread:
    """Where a ``difference`` ((c,) x, y, z) lies, beside ``mask`` (x, y, z)."""
    size = np.abs(np.asarray(difference, np.float64)).reshape(-1, *mask.shape).mean(0)
    total, out = float(size.sum()), ~mask
    inside = float(size[mask].mean()) if mask.any() else 0.0
    outside = float(size[out].mean()) if out.any() else 0.0
    share = float(size[out].sum()) / total if total else 0.0
    return Spread(inside=100 * inside, outside=100 * outside, share=share)


def compared(ruler: Ruler | None, looked: Sequence[Seen]) -> list[dict[str, Any]]:
    """One row a measure that was read on all of the volumes ``after, before, null, scan`` (the latter two may be missing).

    ``error`` is the ruler's stated error of the change, as if it erred independently in both readings (it does not, so this
    is the most); ``drift`` what the null intervention alone changes.
    """
    if ruler is None or any(not seen.values for seen in looked):
        return []
    from engine.measure.ruler import stated_error

    after, before, *rest = (seen.values for seen in looked)
    rows = []
    for name, title in ruler.measures.items():
        if not all(math.isfinite(values[name]) for values in (before, after, *rest)):
            continue
        error = math.hypot(*(stated_error(ruler, name, values[name]) for values in (before, after)))
        drift = rest[0][name] - rest[1][name] if len(rest) == 2 else math.nan
        rows.append(
            {
                "name": name,
                "title": title,
                "unit": ruler.units[name],
                "before": before[name],
                "after": after[name],
                "change": after[name] - before[name],
                "error": error,
                "drift": drift,
            }
        )
    return rows
