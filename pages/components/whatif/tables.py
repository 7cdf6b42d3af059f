"""The tables of a what-if: what is measured before and after, and where the change lies, each with the words below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import pandas as pd

from engine.measure.clinical import written
from pages.components.parts.heart.panel import mark
from pages.components.parts.ruler.numbers import change_in_words, limit_words, signed_known
from pages.components.state.person_table import unit
from pages.components.whatif.answer import NOTHING_SET, RECONSTRUCTED, Answer

if TYPE_CHECKING:
    from engine.measure.clinical import Change

MEASURED = (
    "± is the measuring network's stated error, as if it erred anew in each of the two scans: the most it can be. "
    "A reading may lie higher or lower than the attribute of the same name, which is what was asked: compare readings with readings."
)
DRIFT = f" {NOTHING_SET}: what the measure changes when nothing is set, the error of the model itself."
#: the row of the null intervention
OWN_ERROR = f"{NOTHING_SET}: the model's own error"
#: what the table of places counts
BRIGHTNESS = "Mean change of brightness, % of white"
SIZES = (
    "Brightness changes by so much in an average voxel inside and outside of where change is expected; white is 100 %."
)
NULL = " With nothing set it should not change at all: a change that is not well above that row is the model's error."
#: the column of changes
CHANGE = "Change ± error"
#: dB from which two volumes are called equal
EQUAL = 90.0


def measure_table(
    measured: Sequence[Change],
    asked: Mapping[str, object] = MappingProxyType({}),
    sexes: tuple[str | None, str | None] = (None, None),
) -> pd.DataFrame:
    """One row a measure, rounded to what is known: before, after, the change with its error, and what changes with nothing set, where
    anything does; beside the name what was ``asked`` of the attribute of that name, and a mark beyond the reference limit of the
    person's sex, before and after."""
    rows = []
    for row in measured:
        error, units = row.error, unit(row.unit)
        before, after = written(row.before, error), written(row.after, error)
        # of the values as they are written, so that the line adds up
        change = float(after) - float(before)
        rows.append(
            {
                "Measured": f"{row.title}, {units}" + (f" (asked: {asked[row.name]})" if row.name in asked else ""),
                "Before": before + mark(row.name, row.before, sexes[0]),
                "What if": after + mark(row.name, row.after, sexes[1]),
                CHANGE: change_in_words(change, error, units),
                NOTHING_SET: signed_known(row.drift, error) if math.isfinite(row.drift) else "",
            }
        )
    if not rows:
        return pd.DataFrame()
    table = pd.DataFrame(rows).set_index("Measured")
    nothing = all(row[NOTHING_SET] in ("", "0") for row in rows)
    return table.drop(columns=NOTHING_SET) if nothing else table


def limits_in_words(measured: Sequence[Change], sexes: tuple[str | None, str | None]) -> str:
    """Which reference limits the marks of the table are of, with their sources."""
    found = {}
    for row in measured:
        for value, sex in zip((row.before, row.after), sexes, strict=True):
            if mark(row.name, value, sex):
                words, source = limit_words(row.name, value, sex)
                found[f"{row.title} {words} ({source})"] = True
    return f" ↑ ↓ beyond the reference limit: {'; '.join(found)}." if found else ""


def place_table(answer: Answer) -> pd.DataFrame:
    """Mean absolute change inside and outside of where it is expected, and the share of it outside; without the row of the null
    intervention where it changes nothing."""
    shown = {
        name: place for name, place in answer.places.items() if name != NOTHING_SET or place.inside or place.outside
    }
    rows = [
        {
            BRIGHTNESS: OWN_ERROR if name == NOTHING_SET else name,
            "inside": f"{place.inside:.2f}",
            "outside": f"{place.outside:.2f}",
            "share outside": f"{place.share:.0%}" if place.inside or place.outside else "no change",
        }
        for name, place in shown.items()
    ]
    return pd.DataFrame(rows).set_index(BRIGHTNESS)


def sex_of(row: Mapping[str, Any]) -> str | None:
    """The sex of a person's row, where it is known."""
    found = row.get("sex")
    return found if isinstance(found, str) else None


def places_in_words(answer: Answer) -> str:
    """What the shares mean, and how faithful the model is when nothing is set."""
    share = answer.places["This what-if"].share
    if answer.nothing:
        found = "Nothing is set, and no voxel differs."
    else:
        even = f"an even change of the whole picture would have {answer.even:.0%} there"
        found = f"{share:.0%} of the change lies outside {answer.expected}, where it is not expected; {even}."
    return f"{found} {_faithful(answer)} Change in the wrong place is the known weakness of such models."


def _faithful(answer: Answer) -> str:
    """The decibels in words."""
    null = answer.psnr.get(NOTHING_SET, math.nan)
    if RECONSTRUCTED not in answer.psnr:
        same = "is the same to the last voxel" if null > EQUAL else f"comes back at {null:.1f} dB (PSNR)"
        return (
            f"Drawn again with nothing set, the person {same}; no scan was encoded, so nothing was lost in compression."
        )
    alone = f"its compression alone reaches {answer.psnr[RECONSTRUCTED]:.1f} dB"
    guess = "what they draw finer than that is plausible, not the person's"
    return f"With nothing set the model returns the scan at {null:.1f} dB (PSNR); {alone}; {guess}."
