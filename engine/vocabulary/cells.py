"""Rows of attributes: cells read from text, missing ones kept missing, impossible ones reported and never repaired."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

from engine.vocabulary.catalogue import CATALOGUE, SEXES
from engine.vocabulary.columns import level_of
from engine.vocabulary.row import Row

MISSING = frozenset({"", "n/a", "na", "nan", "none", "null", "-", "?"})
#: what the codes of a column mean, code to words, as a data dictionary has it; and the levels that a model has for it
Codes = Mapping[str, str]
Wanted = Mapping[str, Sequence[str]]


def parse_rows(
    cells: Sequence[Mapping[str, str]], codes: Mapping[str, Codes] | None = None, wanted: Wanted | None = None
) -> tuple[list[Row], list[dict[str, str]]]:
    """Typed rows, and a sentence for every cell that could not be taken as it stands.

    A column with ``codes`` or ``wanted`` levels is a category (:func:`parse_level`), whatever its cells look like. Another is
    numeric when it is one of age, height, weight and bmi, or when every cell in it is a number. A flagged cell becomes None
    in its row; the flag ({participant_id, reason}) keeps the raw value.

    >>> rows, flags = parse_rows([{"participant_id": "sub-1", "age": "-3", "sex": "F", "bmi": "n/a"}])
    >>> rows
    [{'participant_id': 'sub-1', 'age': None, 'sex': 'F', 'bmi': None}]
    >>> flags[0]["reason"]
    'age -3 lies outside 0 to 120 years; correct the cell or leave it n/a'
    """
    codes, wanted = codes or {}, wanted or {}
    columns = list(dict.fromkeys(name for row in cells for name in row))
    words = {"participant_id", "sex", *codes, *wanted}
    numeric = {c for c in columns if _plausible(c) or _all_numbers(row.get(c, "") for row in cells)} - words
    rows: list[Row] = []
    flags: list[dict[str, str]] = []
    for raw in cells:
        row: Row = {}
        for column in columns:
            text = raw.get(column, "")
            level = parse_level(text, codes.get(column, {}), wanted.get(column))
            if level is not None and column != "participant_id":
                row[column], reason = level, None
            else:
                row[column], reason = parse_cell(column, text, number=column in numeric)
            if reason:
                flags.append({"participant_id": str(raw["participant_id"]), "reason": reason})
        if reason := _disagreement(row):
            row["bmi"] = None
            flags.append({"participant_id": str(raw["participant_id"]), "reason": reason})
        rows.append(row)
    return rows, flags


def parse_level(text: str, codes: Codes, wanted: Sequence[str] | None = None) -> str | None:
    """The level that a cell means: one of ``wanted`` where they are given, else one of the ``codes``; None for no level.

    A code may be written as another form of the same number, and may stand for a wanted level by its words.

    >>> parse_level("02", {"1": "never", "2": "former"}), parse_level("2", {"2": "Former"}, ("never", "former"))
    ('2', 'former')
    """
    text = (text or "").strip()
    code = level_of(text, codes)
    if wanted is None:
        return code
    direct = level_of(text, wanted)
    if direct is not None or code is None:
        return direct
    means = codes[code].strip().casefold()
    means = SEXES.get(means, means).casefold()
    return next((level for level in wanted if level.casefold() == means), None)


def spellings(
    cells: Sequence[Mapping[str, str]], rows: Sequence[Row], names: Iterable[str]
) -> dict[tuple[str, str], str]:
    """How a table writes the levels of its columns ``names``: (column, level) to the text that most of its cells have."""
    counts: dict[tuple[str, str], Counter[str]] = {}
    for name in names:
        for raw, row in zip(cells, rows, strict=True):
            level = row.get(name)
            if isinstance(level, str):
                counts.setdefault((name, level), Counter())[raw[name].strip()] += 1
    return {key: count.most_common(1)[0][0] for key, count in counts.items()}


def parse_cell(column: str, text: str, *, number: bool) -> tuple[str | float | None, str | None]:
    """A cell's value, and what is wrong with it where it had to be set missing."""
    text = (text or "").strip()
    remedy = "correct the cell or leave it n/a"
    if column == "participant_id":
        return text, None
    if text.lower() in MISSING:
        return None, None
    if column == "sex":
        known = SEXES.get(text.lower())
        return known, None if known else f"sex {text!r} is not M or F; {remedy}"
    if not number:
        return text, None
    value = _number(text)
    if value is None:
        return None, f"{column} {text!r} is not a number; {remedy}"
    low, high = _plausible(column) or (-math.inf, math.inf)
    if not low <= value <= high:
        return None, f"{column} {text} lies outside {low:g} to {high:g} {CATALOGUE[column].unit}; {remedy}"
    return value, None


def _plausible(column: str) -> tuple[float, float] | None:
    """The bounds of a number that every table is held to."""
    return CATALOGUE[column].plausible if column in CATALOGUE else None


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _all_numbers(texts: Iterable[str]) -> bool:
    present = [text for text in texts if (text or "").strip().lower() not in MISSING]
    return bool(present) and all(_number(text) is not None for text in present)


def _disagreement(row: Row) -> str | None:
    height, weight, bmi = row.get("height"), row.get("weight"), row.get("bmi")
    if not (isinstance(height, float) and isinstance(weight, float) and isinstance(bmi, float)):
        return None
    expected = weight / (height / 100) ** 2
    if abs(expected - bmi) <= max(0.5, 0.02 * expected):
        return None
    triple = f"bmi {bmi:g} does not follow from {height:g} cm and {weight:g} kg"
    return f"{triple}, which give {expected:.1f}; correct one of the three"
