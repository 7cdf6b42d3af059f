"""The volume of a mask that a scan was drawn for, against what the ruler reads off that scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal
from pages.components.parts.ruler.reader import millilitres, signed

if TYPE_CHECKING:
    from engine.imaging.segmentation import Segmentation
    from engine.measure.ruler import Ruler

NOTE = (
    "Mask: what the scan was drawn for. Scan: voxels in which the measuring network, which sees the scan alone, finds this region the "
    "likeliest. Only regions that both know."
)


def both_know(mask: Segmentation, read: Mapping[str, float]) -> list[str]:
    """The regions of a mask that the ruler tells apart, too, but for those that are in neither."""
    asked = mask.volumes_ml()
    return [name for name in asked if name in read and (asked[name] or read[name])]


#: how the cells of a person end that hold mL of a region of the mask, and mL that the ruler reads of it
MASK, SCAN = " (mask, ml)", " (scan, ml)"


def read_with_mask(ruler: Ruler, volume: Volume, mask: Segmentation) -> tuple[dict[str, float], str]:
    """What a ruler reads off a volume by measure, and of each region that the ``mask``, too, knows both volumes; where it is
    nothing a sentence why."""
    try:
        found = ruler.classes_on(volume)
        values = ruler.values_of(found)
    except Refusal as error:
        return {}, str(error)
    read, asked = millilitres(found), mask.volumes_ml()
    both = both_know(mask, read)
    return {**values, **{f"{n}{MASK}": asked[n] for n in both}, **{f"{n}{SCAN}": read[n] for n in both}}, ""


def persons_table(points: Sequence[Mapping[str, Any]], titles: Mapping[str, str]) -> pd.DataFrame:
    """One row a region: of how many persons, mean mL of the masks and of what was read off their scans, and mean and SD of the
    difference."""
    rows = []
    for name, title in titles.items():
        pairs = [(p[f"{name}{MASK}"], p[f"{name}{SCAN}"]) for p in points if f"{name}{MASK}" in p]
        if not pairs:
            continue
        asked, read = np.array(pairs, float).T
        spread = f" ± {(read - asked).std(ddof=1):,.1f}" if len(pairs) > 1 else ""
        row = cells(float(asked.mean()), float(read.mean()))
        rows.append({"Region": title, "persons": str(len(pairs)), **row, "Difference": f"{row['Difference']}{spread}"})
    return pd.DataFrame(rows).set_index("Region") if rows else pd.DataFrame()


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
