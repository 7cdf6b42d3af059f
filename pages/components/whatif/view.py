"""A what-if in figures: measures with their error bars, and where the change lies. Attributes stand in the viewer."""

from __future__ import annotations

import math

import pandas as pd
import streamlit as st

from pages.components.parts.ruler.reader import digits_of, signed
from pages.components.whatif.answer import Answer

MEASURED = (
    "± is the ruler's stated error, as if it erred anew in each of the two scans: the most it can be. "
    "No intervention: what the measure changes when nothing is set, the error of the model itself."
)
#: dB from which two volumes are called equal
EQUAL = 90.0


def measure_table(answer: Answer) -> pd.DataFrame:
    """One row a measure: before, after, the change with the ruler's error, and what the null intervention changes."""
    rows = []
    for row in answer.measured:
        digits = digits_of(row["before"])
        error = f" ± {row['error']:.{digits}f}" if math.isfinite(row["error"]) else " ± not stated"
        rows.append(
            {
                "Measured": f"{row['title']}, {row['unit']}",
                "Before": f"{row['before']:.{digits}f}",
                "What if": f"{row['after']:.{digits}f}",
                "Change ± ruler": f"{signed(row['change'], digits)}{error}",
                "No intervention": signed(row["drift"], digits) if math.isfinite(row["drift"]) else "",
            }
        )
    return pd.DataFrame(rows).set_index("Measured") if rows else pd.DataFrame()


def place_table(answer: Answer) -> pd.DataFrame:
    """Mean absolute change inside and outside of where it is expected, and the share of it outside."""
    rows = [
        {
            "Mean change, % of white": name,
            "inside": f"{place.inside:.2f}",
            "outside": f"{place.outside:.2f}",
            "share outside": f"{place.share:.0%}" if place.inside or place.outside else "no change",
        }
        for name, place in answer.places.items()
    ]
    return pd.DataFrame(rows).set_index("Mean change, % of white")


def show_tables(answer: Answer) -> None:
    """The tables side by side, each with what it means."""
    left, right = st.columns([6, 5], gap="medium")
    with left:
        st.header("Measured on both scans", anchor=False)
        if answer.measured:
            st.table(measure_table(answer))
            st.caption(MEASURED)
        else:
            st.caption(f"Nothing is measured: {answer.problem}." if answer.problem else "Nothing is measured.")
    with right:
        st.header("Where the change lies", anchor=False)
        st.table(place_table(answer))
        st.caption(places_in_words(answer))


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
    null = answer.psnr.get("No intervention", math.nan)
    if "Autoencoder" not in answer.psnr:
        same = "is the same to the last voxel" if null > EQUAL else f"comes back at {null:.1f} dB (PSNR)"
        return f"Drawn again with nothing set, the person {same}; no scan was encoded, so no autoencoder errs."
    alone = f"the autoencoder alone reaches {answer.psnr['Autoencoder']:.1f} dB"
    guess = "what they draw finer than that is plausible, not the person's"
    return f"With nothing set the model returns the scan at {null:.1f} dB (PSNR); {alone}; {guess}."
