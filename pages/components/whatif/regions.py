"""Where a change lies, inside or outside of what should change, and what of it the ruler read."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.ndimage import binary_dilation

from pages.components.parts.ruler.reader import Reader, Seen

#: voxels by which a region is widened: an edge that moves is part of what changes
MARGIN = 2
#: where a change of an attribute is expected; every other attribute may change the whole body
EXPECTED = {
    "head": {"age": "brain", "bmi": "soft", "weight": "soft"},
    "torso": {"bmi": "fat", "weight": "fat"},
}
WORDS = {
    "brain": "the brain and the fluid around it",
    "soft": "the soft tissue outside the brain",
    "fat": "fat, muscle and liver",
    "body": "the body",
}


@dataclass(frozen=True, kw_only=True)
class Spread:
    """Mean absolute change of intensity, in percent of white, ``inside`` and ``outside`` of a region, and the ``share`` of the
    whole change that lies outside (0 where there is none)."""

    inside: float
    outside: float
    share: float


def region(kind: str, before: Seen, after: Seen, moved: Collection[str]) -> tuple[np.ndarray, str]:
    """Where the change is expected, on either volume, a little widened; and in words."""
    names = {EXPECTED[kind].get(name, "body") for name in moved} or {"body"}
    if "body" in names or not names <= before.masks.keys() & after.masks.keys():
        names = {"body"}
    mask = np.logical_or.reduce([seen.masks[name] for seen in (before, after) for name in sorted(names)])
    return binary_dilation(mask, iterations=MARGIN), " and ".join(WORDS[name] for name in sorted(names))


def spread(difference: np.ndarray, mask: np.ndarray) -> Spread:
    """Where a ``difference`` ((c,) x, y, z) lies, beside ``mask`` (x, y, z)."""
    size = np.abs(np.asarray(difference, np.float64)).reshape(-1, *mask.shape).mean(0)
    total, out = float(size.sum()), ~mask
    inside = float(size[mask].mean()) if mask.any() else 0.0
    outside = float(size[out].mean()) if out.any() else 0.0
    share = float(size[out].sum()) / total if total else 0.0
    return Spread(inside=100 * inside, outside=100 * outside, share=share)


def compared(reader: Reader | None, looked: Sequence[Seen]) -> list[dict[str, Any]]:
    """One row a measure that was read on all of the volumes ``after, before, null, scan`` (the latter two may be missing).

    ``error`` is the ruler's stated error of the change, as if it erred independently in both readings (it does not, so this
    is the most); ``drift`` what the null intervention alone changes.
    """
    if reader is None or any(not seen.values for seen in looked):
        return []
    after, before, *rest = (seen.values for seen in looked)
    rows = []
    for name, title in reader.ruler.measures.items():
        if not all(math.isfinite(values[name]) for values in (before, after, *rest)):
            continue
        error = math.hypot(reader.error(name, before[name]), reader.error(name, after[name]))
        drift = rest[0][name] - rest[1][name] if len(rest) == 2 else math.nan
        rows.append(
            {
                "name": name,
                "title": title,
                "unit": reader.units[name],
                "before": before[name],
                "after": after[name],
                "change": after[name] - before[name],
                "error": error,
                "drift": drift,
            }
        )
    return rows
