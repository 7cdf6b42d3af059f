"""Single elements of a DICOM header as numbers, words and cells of a table; also those that are written wrong."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.multival import MultiValue

from engine.imaging.dicom.files import DAMAGED
from engine.vocabulary.catalogue import CATALOGUE


def words_of(value: Any) -> frozenset[str]:
    return frozenset(str(word).strip().upper() for word in ([value] if isinstance(value, str) else value or ()))


def numbers_of(value: Any, count: int) -> Float[np.ndarray, " n"]:
    found = np.array([float(v) for v in value])
    if found.shape != (count,) or not np.isfinite(found).all():
        raise ValueError("no place")
    return found


def pair_of(value: Any) -> tuple[float, float]:
    rows, columns = numbers_of(value, 2)
    return float(rows), float(columns)


def number_or(value: Any, otherwise: float) -> float:
    if isinstance(value, MultiValue):
        value = value[0] if len(value) == 1 else None
    return otherwise if value is None or value == "" else float(value)


def number_in(image: Any, name: str) -> float:
    """A number that an image may have; NaN where it has none, or something that is no single number."""
    try:
        return number_or(image.get(name), math.nan)
    except DAMAGED:
        return math.nan


def person_of(image: Any) -> dict[str, str]:
    """Age, sex, height in cm and weight in kg as cells of a table, as far as the header has them."""
    cells = {name: text_in(image, str(CATALOGUE[name].dicom)) for name in ("age", "sex", "height", "weight")}
    with suppress(ValueError):
        cells["height"] = f"{float(cells['height']) * 100:.10g}"  # in m there
    return {name: text for name, text in cells.items() if text and text not in ("0", "0.0", "O", "000Y")}


def text_in(image: Any, name: str) -> str:
    """An element as it is written, also where it is written wrong."""
    try:
        return str(image.get(name) or "").strip()
    except DAMAGED:
        raw = image.get_item(name)
        return raw.value.decode("ascii", "replace").strip() if isinstance(getattr(raw, "value", None), bytes) else ""
