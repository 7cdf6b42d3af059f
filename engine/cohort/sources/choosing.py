"""Which series or images are meant: a text in their description or name, or an expression over what their headers say."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from engine.cohort.filter import select

#: what only an expression has in it
MARKS = ("=", "<", ">", ".isna()", ".notna()", ".isin(", ".between(", ".str.contains(")
#: one of each fact, so that it is known what is a number, even where no header says it
NUMBERS = ("echo_time", "repetition_time", "inversion_time", "flip_angle", "b_value", "time")
NUMBERS += ("field_strength", "slice_thickness")


def chooser(text: str) -> str | Callable[[Sequence[Mapping[str, Any]]], Sequence[bool]]:
    """What ``--series`` asks for: the text itself, or what says of the facts of each series whether it is meant.

    Facts are times in ms, the flip angle in degrees, and words in lower case as DICOM has them
    (:attr:`engine.imaging.dicom.images.Image.facts`). Whoever calls what is returned gets
    :class:`engine.cohort.filter.FilterError` for an expression that cannot be read.

    >>> chooser("mprage")
    'mprage'
    >>> choose = chooser("echo_time < 5 and series_description.str.contains('t1')")
    >>> choose([{"echo_time": 3.0, "series_description": "t1 mprage"}, {"echo_time": None, "series_description": "t1"}])
    (True, False)
    """
    if not any(mark in text for mark in MARKS):
        return text

    def choose(facts: Sequence[Mapping[str, Any]]) -> Sequence[bool]:
        names = dict.fromkeys(name for row in facts for name in row)
        example = {name: 0.0 if name in NUMBERS else "" for name in names}
        return select([*facts, example], text).taken[:-1]

    return choose
