"""Rows of attributes: cells read from text, missing ones kept missing, impossible ones reported and never repaired."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence

from engine.vocabulary.catalogue import CATALOGUE, SEXES
from engine.vocabulary.columns import level_of
from engine.vocabulary.row import Row
from engine.vocabulary.units import factor, known

#: what a missing cell is written as; those that may as well be somebody's level are said where they stand among words
MISSING = frozenset({"", "n/a", "na", "nan", "none", "null", "-", "?", ".", "--", "#n/a", "#na", "<na>", "n.a."})
DOUBTFUL = frozenset({"na", "none", "null", "-", "?"})
#: the one of them that is a level, unless a column's levels are known and it is none
LEVEL = "none"
#: whole numbers that stand for a missing one, where they lie far from all others (below 0, or this many times the largest)
MARKS, FAR, OTHERS = (9, 99, 999, 9999, 99999, 88, 888, 8888, 77, 777, 7777), 2.0, 5
#: the same with decimals, which hardly any value is by chance
DECIMAL_MARKS = (9.9, 99.9, 99.99, 999.9, 999.99, 9999.9, 88.8, 88.88, 888.8, 77.7, 77.77, 777.7)
#: codes up to here are a few answers, among which a 9 is none; above the other, no number of persons or cigarettes is meant
CODED, LONG = 3, 100
#: a sex in other words
WORDS = {
    **dict.fromkeys(
        ("w", "woman", "girl", "weiblich", "frau", "femme", "féminin", "mujer", "femenino", "feminino"), "F"
    ),
    **dict.fromkeys(("man", "boy", "männlich", "maennlich", "mann", "homme", "masculin", "hombre", "masculino"), "M"),
}
#: letters beside which M may be a woman's (Spanish hombre and varón, mujer; Dutch vrouw), and those beside which F may be a man's
#: (Hungarian nő, férfi; Irish bean, fear)
BESIDE_M, BESIDE_F = frozenset({"h", "v"}), frozenset({"n", "b"})
#: an age as DICOM has it (PS3.5, AS), and the length of its unit in years
AGE = re.compile(r"(\d{1,3})([YMWD])")
YEARS = {"Y": 1.0, "M": 1 / 12, "W": 7 / 365.25, "D": 1 / 365.25}
#: a number with its unit behind it
_UNIT = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([^\d\s.,+-].*)")
#: share of numbers from which on a column is meant to be of numbers
MOSTLY = 2 / 3
WHOLE = "the table"
#: what the codes of a column mean, code to words, as a data dictionary has it; and the levels that a model has for it
Codes = Mapping[str, str]
Wanted = Mapping[str, Sequence[str]]


def parse_rows(
    cells: Sequence[Mapping[str, str]], codes: Mapping[str, Codes] | None = None, wanted: Wanted | None = None
) -> tuple[list[Row], list[dict[str, str]]]:
    """Typed rows, and a sentence for every cell that could not be taken as it stands.

    A column with ``codes`` or ``wanted`` levels is a category (:func:`parse_level`), whatever its cells look like. Another is
    numeric when it is a number in the catalogue, such as age and weight, or when every cell in it is a number. A flagged cell becomes
    None in its row; the flag ({participant_id, reason}) keeps the raw value.

    >>> rows, flags = parse_rows([{"participant_id": "sub-1", "age": "-3", "sex": "F", "bmi": "n/a"}])
    >>> rows
    [{'participant_id': 'sub-1', 'age': None, 'sex': 'F', 'bmi': None}]
    >>> flags[0]["reason"]
    'age -3 lies outside 0 to 120 years; correct the cell or leave it n/a'
    """
    codes, wanted = codes or {}, wanted or {}
    columns = list(dict.fromkeys(name for row in cells for name in row))
    words = {"participant_id", "sex", *codes, *wanted}
    numeric = {c for c in columns if _counted(c) or _all_numbers(row.get(c, "") for row in cells)} - words
    rows: list[Row] = []
    flags = _doubted(cells, columns, numeric, codes, wanted)
    flags += [said for c in columns if c not in {*numeric, *words} for said in _nearly(c, cells)]
    marks = {c: _marks(c, [row.get(c, "") for row in cells]) for c in numeric}
    flags += [_of_table(f"{c} {text} {_TAKEN}") for c, texts in marks.items() for text in sorted(texts)]
    mixed = "sex" in columns and "sex" not in codes and _mixed(row.get("sex", "") for row in cells)
    for raw in cells:
        row: Row = {}
        for column in columns:
            text = raw.get(column) or ""
            if text.strip() in marks.get(column, ()) or (mixed and column == "sex"):
                row[column] = None
                continue
            level = parse_level(text, codes.get(column, {}), wanted.get(column))
            if level is None and column not in {*numeric, *words} and text.strip().casefold() == LEVEL:
                level = text.strip()
            if level is not None and column != "participant_id":
                row[column], reason = level, None
            else:
                row[column], reason = parse_cell(column, text, number=column in numeric)
            if reason:
                flags.append({"participant_id": str(raw["participant_id"]), "reason": reason})
        if reason := _impossible(row):
            row["height"] = row["weight"] = None
            flags.append({"participant_id": str(raw["participant_id"]), "reason": reason})
        if reason := _disagreement(row):
            row["bmi"] = None
            flags.append({"participant_id": str(raw["participant_id"]), "reason": reason})
        rows.append(row)
    if mixed:
        flags.append(_of_table(f"sex has {mixed} may be a man or a woman; write F and M"))
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
    if code is not None:  # what a dictionary says goes before the letter: M may be mujer
        means = codes[code].strip().casefold()
        means = (SEXES | WORDS).get(means, means).casefold()
        said = next((level for level in wanted if level.casefold() == means), None)
        if said is not None:
            return said
    direct = level_of(text, wanted)
    if direct is not None:
        return direct
    same = [level for level in wanted if level.casefold() == text.casefold()]
    return same[0] if len(same) == 1 else None


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
        sex = SEXES.get(text.lower()) or WORDS.get(text.casefold())
        if not sex and number_of(text) is not None:
            remedy = "say what it stands for among the Levels of sex (participants.json or a schema), or write M and F"
        return sex, None if sex else f"sex {text!r} is not M or F; {remedy}"
    if not number:
        return text, None
    value = measured(column, text)
    if value is None:
        return None, f"{column} {text!r} is not a number; {remedy}"
    low, high = _plausible(column) or (-math.inf, math.inf)
    if not low <= value <= high:
        return None, f"{column} {text} lies outside {low:g} to {high:g} {CATALOGUE[column].unit}; {remedy}"
    return value, None


def _plausible(column: str) -> tuple[float, float] | None:
    """The bounds of a number that every table is held to."""
    return CATALOGUE[column].plausible if column in CATALOGUE else None


def measured(column: str, text: str) -> float | None:
    """The number that a cell of a column is, in the column's own unit where the cell names another; None where it is none.

    >>> measured("age", "018M"), measured("weight", "150 lb") == 150 * 0.45359237, measured("body_fat", "25%"), measured("x", "3 cm")
    (1.5, True, 25.0, None)
    """
    value = number_of(text)
    if column == "age":
        return float(found[1]) * YEARS[found[2]] if (found := AGE.fullmatch(text)) else value
    if value is None and column in CATALOGUE and (found := _UNIT.fullmatch(text)) and known(column, found[2].strip()):
        return float(found[1]) * factor(column, found[2].strip())
    return value


def _counted(column: str) -> bool:
    """Whether a column is a number in the catalogue."""
    return column in CATALOGUE and (CATALOGUE[column].plausible is not None or CATALOGUE[column].possible is not None)


def _nearly(column: str, cells: Sequence[Mapping[str, str]]) -> list[dict[str, str]]:
    """What is said of a column of words most of whose cells are numbers."""
    texts = [text for row in cells if (text := (row.get(column) or "").strip()).casefold() not in MISSING]
    others = [text for text in texts if number_of(text) is None]
    if not others or len(texts) - len(others) < max(MOSTLY * len(texts), 2):
        return []
    reason = f"{column} was taken as words, {others[0]!r} in it is no number; correct the cell or leave it n/a"
    return [_of_table(reason)]


def number_of(text: str) -> float | None:
    """The finite number that a cell is; None where it is none."""
    if "_" in text or not text.isascii():  # what only Python takes for a number
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _all_numbers(texts: Iterable[str]) -> bool:
    present = [text for text in texts if (text or "").strip().lower() not in MISSING]
    return bool(present) and all(number_of(text) is not None for text in present)


def _of_table(reason: str) -> dict[str, str]:
    return {"participant_id": WHOLE, "reason": reason}


def _doubted(
    cells: Sequence[Mapping[str, str]],
    columns: Sequence[str],
    numeric: Collection[str],
    codes: Mapping[str, Codes],
    wanted: Wanted,
) -> list[dict[str, str]]:
    """What is said of cells that were taken as missing, or as a level, where they could be the other."""
    said = []
    for column in columns:
        if column == "participant_id":
            continue
        texts = Counter((row.get(column) or "").strip() for row in cells)
        for text, count in sorted(texts.items()):
            word = text.casefold()
            described = parse_level(text, codes.get(column, {}), wanted.get(column)) is not None
            if word not in DOUBTFUL or described or (column in numeric and word != LEVEL):
                continue
            plural = f"{count} cells {text!r} of {column} were" if count > 1 else f"1 cell {text!r} of {column} was"
            if word == LEVEL and column not in {*numeric, *codes, *wanted, "sex"}:
                said.append(_of_table(f"{plural} taken as a level; write n/a where it means that nothing is known"))
            else:
                said.append(_of_table(f"{plural} taken as missing; describe it among the Levels if it is one"))
    return said


_TAKEN = "lies far from every other value and was taken as a mark for missing; write n/a, or leave the column out"


def missing_marks(texts: Iterable[str]) -> set[str]:
    """How a column of numbers writes its missing ones, where by one of :data:`MARKS` that no other cell is near."""
    counts = Counter((raw or "").strip() for raw in texts)
    found = {text: value for text in counts if (value := number_of(text)) is not None}
    others = {text: value for text, value in found.items() if abs(value) not in (*MARKS, *DECIMAL_MARKS)}
    if sum(counts[text] for text in others) < OTHERS:
        return set()
    least, largest = min(others.values()), max(abs(value) for value in others.values())
    coded = largest <= CODED and all(value.is_integer() for value in others.values())

    def is_mark(text: str) -> bool:
        value = found[text]
        if value < 0 <= least:
            return True
        long = value > LONG or value in DECIMAL_MARKS
        return ((coded and counts[text] > 1) or long) and value > FAR * max(largest, 1.0)

    return {text for text in found if text not in others and is_mark(text)}


def _marks(column: str, texts: Sequence[str]) -> set[str]:
    """The :func:`missing_marks` of a column; of one with bounds only what lies within them and beyond what adults have."""
    one, found = CATALOGUE.get(column), missing_marks(texts)
    if one is None or not one.plausible:
        return found
    return {t for t in found if one.possible and one.possible[1] < float(t) <= one.plausible[1]}


def _mixed(texts: Iterable[str]) -> str:
    """The letter of a column of sexes that may be of either, and beside which; "" where there is none."""
    letters = {(text or "").strip().casefold() for text in texts}
    for letter, beside, other in (("m", BESIDE_M, "f"), ("f", BESIDE_F, "m")):
        if letter in letters and letters & beside and other not in letters:
            return f"{letter.upper()} beside {min(letters & beside).upper()}, so {letter.upper()}"
    return ""


def _impossible(row: Row) -> str | None:
    """What is wrong with a height and a weight that make no body mass index, such as inches beside kg."""
    height, weight = row.get("height"), row.get("weight")
    if not (isinstance(height, float) and isinstance(weight, float)):
        return None
    implied, (low, high) = weight / (height / 100) ** 2, _plausible("bmi") or (0.0, math.inf)
    if low <= implied <= high:
        return None
    return f"height {height:g} cm and weight {weight:g} kg make a bmi of {implied:.0f}, outside {low:g} to {high:g}; check their units"


def _disagreement(row: Row) -> str | None:
    height, weight, bmi = row.get("height"), row.get("weight"), row.get("bmi")
    if not (isinstance(height, float) and isinstance(weight, float) and isinstance(bmi, float)):
        return None
    expected = weight / (height / 100) ** 2
    if abs(expected - bmi) <= max(0.5, 0.02 * expected):
        return None
    triple = f"bmi {bmi:g} does not follow from {height:g} cm and {weight:g} kg"
    return f"{triple}, which give {expected:.1f}; correct one of the three"
