"""A heart's cycle as a clinician reads it: volumes over time, the wall as a bull's-eye, and both ventricles' function with its
reference limits; of one person, or of two side by side."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import streamlit as st

from engine.measure.clinical import LIMITS, written
from pages.components.parts.chart import saved_as
from pages.components.parts.ruler.reader import signed
from pages.components.state.person_table import level, unit

if TYPE_CHECKING:
    from engine.measure.heart.reading import HeartReading

#: persons who are shown side by side
MOST = 2
#: beyond the limit upwards and downwards
ABOVE, BELOW = " ↑", " ↓"
NOTE = (
    "Read by the measuring network off every phase. Papillary muscles count as blood; volumes are sums over the slices. In the "
    "bull's-eye the base is outside, the septum on the left. Associations of the cohort, not causes."
)
_CHART = saved_as("somatwin_heart")


#: the stated error of a measure's value by the measure's name, NaN where none is stated
Error = Callable[[str, float], float]


def unstated(name: str, value: float) -> float:
    """Of no measure an error is stated."""
    del name, value
    return math.nan


@dataclass(frozen=True, kw_only=True, eq=False)
class Shown:
    """A person's heart: what was read off the cycle, the ``row`` of the table (of which sex), and the cycle's length in
    ``seconds`` where it is known."""

    title: str
    reading: HeartReading
    row: Mapping[str, Any] = field(default_factory=dict)
    seconds: float | None = None

    @property
    def sex(self) -> str | None:
        found = self.row.get("sex")
        return found if isinstance(found, str) else None


def heart_panel(hearts: Sequence[Shown], *, key: str, table: bool = True, error: Error = unstated) -> None:
    """Show one heart, or two side by side; of more the reader chooses. Nothing where there is none. Without ``table`` on a page
    that has another of the same measures. A value is rounded to its ``error``, here as there."""
    if not hearts:
        return
    from engine.figures.heart import Cycle, bullseye_figure, volume_figure

    st.header("The heart's cycle", anchor=False)
    shown = _chosen(hearts, key)
    walls = [(one, _end_diastolic_wall(one.reading)) for one in shown]
    left, right = st.columns([1, 1], gap="medium")
    with left:
        cycles = [
            Cycle(
                title=one.title,
                lv=one.reading.lv,
                rv=one.reading.rv,
                seconds=one.seconds,
                ends=ends_of(one.reading, error),
            )
            for one in shown
        ]
        st.plotly_chart(volume_figure(cycles), key=f"{key} volumes", config=_CHART)
    with right:
        if all(wall is not None for _, wall in walls):
            ends = [wall for _, wall in walls if wall is not None]
            titles = [f"{one.title}, mm at end-diastole".removeprefix(", ") for one in shown]
            figure = bullseye_figure(ends, titles, [one.sex for one in shown])
            st.plotly_chart(figure, key=f"{key} wall", config=_CHART)
        else:
            st.caption("The wall's thickness could not be read: too few slices show the whole ring of it.")
    if table:
        st.table(function_table(shown, error))
    st.caption(f"{NOTE} {sources(shown)}" if table else NOTE)


def _end_diastolic_wall(reading: HeartReading) -> np.ndarray | None:
    """The wall's thickness by segment; None where no segment could be read."""
    if reading.thickness is None:
        return None
    wall = reading.thickness[reading.end_diastole]
    return wall if np.isfinite(wall).any() else None


def _chosen(hearts: Sequence[Shown], key: str) -> list[Shown]:
    if len(hearts) <= MOST:
        return list(hearts)
    numbers = range(len(hearts))
    chosen = st.multiselect(
        "Whose", numbers, list(numbers)[:MOST], max_selections=MOST, key=f"{key} hearts",
        format_func=lambda i: hearts[i].title,
    )  # fmt: skip
    return [hearts[i] for i in chosen] or [hearts[0]]


def said(name: str, value: float, error: Error) -> str:
    """A measure rounded to its error; where none is stated, to whole units, a thickness to a tenth of a mm."""
    from engine.measure.heart.reading import MEASURES

    size = error(name, value)
    return written(value, size) if math.isfinite(size) else f"{value:.{1 if MEASURES[name][1] == 'mm' else 0}f}"


def ends_of(reading: HeartReading, error: Error) -> tuple[str, str]:
    """End-diastolic and end-systolic volume as every table writes them."""
    values = reading.values()
    return said("lv_edv", values["lv_edv"], error), said("lv_esv", values["lv_esv"], error)


def function_table(hearts: Sequence[Shown], error: Error = unstated) -> pd.DataFrame:
    """A row a measure: its value in each person, marked where it lies beyond the reference limit, the change of the values as they
    are written, and the limit."""
    from engine.measure.heart.reading import MEASURES

    values = [one.reading.values() for one in hearts]
    rows = []
    for name, (words, of) in MEASURES.items():
        if not all(name in found for found in values):
            continue
        row = {"": f"{words[0].upper()}{words[1:]}, {unit(of)}"}
        for one, found in zip(hearts, values, strict=True):
            row[one.title or "Read"] = f"{said(name, found[name], error)}{mark(name, found[name], one.sex)}"
        if len(hearts) == MOST:
            before, after = (said(name, found[name], error) for found in values)
            row["Change"] = signed(float(after) - float(before), len(after.partition(".")[2]))
        row["Reference limit"] = _limit(name, hearts)
        rows.append(row)
    return pd.DataFrame(rows).set_index("")


def mark(name: str, value: float, sex: str | None) -> str:
    """An arrow behind a value beyond its reference limit; nothing behind any other."""
    limit = LIMITS.get(name)
    if limit is None or not limit.crossed(value, sex):
        return ""
    return ABOVE if limit.side == "above" else BELOW


def _limit(name: str, hearts: Sequence[Shown]) -> str:
    """``48 %; below: reduced ...``, of each sex where two persons differ in it."""
    limit = LIMITS.get(name)
    sexes = list(dict.fromkeys(one.sex for one in hearts))
    found = {sex: limit.of(sex) for sex in sexes} if limit else {}
    there = {sex: value for sex, value in found.items() if value is not None}
    if limit is None or not there:
        return ""
    if len(set(there.values())) == 1:
        edges = f"{next(iter(there.values())):g}"
    else:
        edges = " or ".join(f"{value:g} ({level('sex', sex)})" for sex, value in there.items())
    return f"{edges} {limit.unit}; {limit.side}: {limit.words}"


def sources(hearts: Sequence[Shown]) -> str:
    """Where the limits stand that the table names."""
    read = {name for one in hearts for name in one.reading.values() if _limit(name, hearts)}
    found = list(dict.fromkeys(limit.source for name, limit in LIMITS.items() if name in read))
    return f"↑ ↓ beyond the reference limit. Sources: {'; '.join(found)}." if found else ""
