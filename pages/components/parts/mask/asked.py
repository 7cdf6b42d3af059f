"""The volume of a mask that a scan was drawn for, against what the ruler reads off that scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from pages.components.parts.ruler.reader import signed

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation

NOTE = (
    "Mask: what the scan was drawn for. Scan: voxels in which the ruler, which sees the scan alone, finds this region the "
    "likeliest. Only regions that both know."
)


def both_know(mask: Segmentation, read: Mapping[str, float]) -> list[str]:
    """The regions of a mask that the ruler tells apart, too, but for those that are in neither."""
    asked = mask.volumes_ml()
    return [name for name in asked if name in read and (asked[name] or read[name])]


def asked_table(
    masks: Sequence[Segmentation], read: Sequence[Mapping[str, float]], titles: Mapping[str, str], names: Sequence[str]
) -> pd.DataFrame:
    """One row a region and person: mL of the mask asked for, mL read off the scan, and the difference. ``names`` are those of the
    people, of whom one alone is not named."""
    rows = []
    for mask, found, name in zip(masks, read, names, strict=True):
        asked = mask.volumes_ml()
        for region in both_know(mask, found):
            who = {"Whose": name} if len(names) > 1 else {}
            rows.append({"Region": titles[region], **who, **cells(asked[region], found[region])})
    return pd.DataFrame(rows).set_index("Region") if rows else pd.DataFrame()


def cells(asked: float, read: float) -> dict[str, str]:
    """The cells of one row."""
    digits = 0 if max(asked, read) >= 100 else 1
    change = signed(read - asked, digits)
    share = f" ({signed(100 * (read / asked - 1), 0)} %)" if asked else ""
    return {
        "Mask asked for, mL": f"{asked:,.{digits}f}",
        "Read off the scan, mL": f"{read:,.{digits}f}",
        "Difference": f"{change}{share}",
    }
