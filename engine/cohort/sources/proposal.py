"""How a table's columns are to be read: proposed from its cells as an editable file, and read back from it.

The file is a data dictionary as BIDS has it, an object of one object a heading (``Description``, ``Units``, ``Levels``, ``Minimum``,
``Maximum``, ``Derived``), with four keys more: ``Name`` (the column's name here), ``Kind`` (id, number, category, or leave out),
``Missing`` (what a missing cell is written as) and ``Question``, which has to be answered before it is used: by ``Units``.
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from engine.cohort.sources.delimited import TableError
from engine.storage import strict_json
from engine.storage.whole import refusing, write_text
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING, measured, missing_marks
from engine.vocabulary.headings import ID, Heading, plain
from engine.vocabulary.identifiers import tells_who
from engine.vocabulary.row import Row
from engine.vocabulary.units import factor, known, sizes

KINDS = ("id", "number", "category", "leave out")
KEYS = {"Name", "Kind", "Units", "Minimum", "Maximum", "Levels", "Missing", "Derived", "Description", "Question"}
#: what stands in Units until somebody says which it is
OPEN = "?"
#: most levels of a column of words; more are names or remarks
MOST_LEVELS = 40
#: where the median of a cohort's column lies, and of the body mass index that height and weight make
USUAL = {name: one.possible for name, one in CATALOGUE.items() if one.possible}
USUAL |= {"age": (0.0, 110.0), "height": (130.0, 210.0), "weight": (35.0, 120.0), "liver_pdff": (1.0, 60.0)}
USUAL_BMI = (15.0, 38.0)
#: what feet are followed by in inches, and stones in pounds, of two digits
INCHES, POUNDS = ("10", "11"), ("10", "11", "12", "13")


@dataclass(frozen=True, kw_only=True)
class ColumnPlan:
    """How one column is read: its ``name`` here, its ``kind``, its ``unit``, the range of its numbers, its levels by code, what else a
    missing cell is written as, and what it is computed from."""

    name: str
    kind: str
    unit: str = ""
    low: float = -math.inf
    high: float = math.inf
    levels: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    derived: dict[str, Any] = field(default_factory=dict)
    description: str = ""
    question: str = ""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise TableError(f"Kind of {self.name} is {self.kind!r}; give one of {', '.join(KINDS)}")
        if not self.low <= self.high:
            raise TableError(
                f"{self.name} has a Minimum of {self.low:g} above its Maximum of {self.high:g}; correct one"
            )

    def to_json(self) -> dict[str, Any]:
        """The column as its file has it, without what is not said."""
        said = {
            "Name": self.name,
            "Kind": self.kind,
            "Units": self.unit,
            "Minimum": self.low if math.isfinite(self.low) else None,
            "Maximum": self.high if math.isfinite(self.high) else None,
            "Levels": self.levels,
            "Missing": list(self.missing),
            "Derived": self.derived,
            "Description": self.description,
            "Question": self.question,
        }
        return {key: value for key, value in said.items() if value not in ("", None, {}, [])}


@dataclass(frozen=True, kw_only=True)
class TablePlan:
    """A plan for each heading of a table."""

    columns: dict[str, ColumnPlan]

    def __post_init__(self) -> None:
        names = Counter(plan.name for plan in self.columns.values() if plan.kind != "leave out")
        if twice := next((name for name, count in names.items() if count > 1), None):
            raise TableError(f"the schema gives the name {twice} to two columns; give each its own")

    @property
    def questions(self) -> list[str]:
        return [plan.question for plan in self.columns.values() if plan.question]

    def to_json(self) -> dict[str, Any]:
        return {heading: plan.to_json() for heading, plan in self.columns.items()}

    def taken(
        self, headings: Sequence[str], rows: Sequence[Mapping[str, str]]
    ) -> tuple[list[dict[str, str]], list[str]]:
        """The cells of the columns that are read, missing ones as n/a, and what is said of the others.

        Raises :class:`TableError` for a heading that the table lacks, and for a unit that is still open.
        """
        if absent := [heading for heading in self.columns if heading not in headings]:
            raise TableError(f"the schema names a column {absent[0]!r} that the table has not; remove it")
        for heading, plan in self.columns.items():
            if plan.unit == OPEN and plan.kind == "number":
                raise TableError(
                    f"the unit of {heading} is still open in the schema; {plan.question or 'write it into Units'}"
                )
        kept = [h for h in headings if h in self.columns and self.columns[h].kind != "leave out"]
        notes = [
            f"column {h} was left out, as the schema says" for h in headings if h in self.columns and h not in kept
        ]
        notes += [f"column {h} was left out, the schema does not name it" for h in headings if h not in self.columns]
        marks = {heading: set(self.columns[heading].missing) for heading in kept}
        cells = [{h: "n/a" if raw[h].strip() in marks[h] else raw[h] for h in kept} for raw in rows]
        return cells, notes

    def headings(self) -> dict[str, Heading]:
        """What each column that is read is here."""
        return {
            text: Heading(name=plan.name, text=text) for text, plan in self.columns.items() if plan.kind != "leave out"
        }

    def dictionary(self) -> dict[str, Any]:
        """What is said of each column that is read, by its name, as a data dictionary."""
        return {plan.name: plan.to_json() for plan in self.columns.values() if plan.kind != "leave out"}

    def checked(self, rows: Sequence[Row]) -> list[dict[str, str]]:
        """Set missing, in place, what is no number or outside its column's range; compute what is derived; and say so."""
        flags = []
        numbers = [plan for plan in self.columns.values() if plan.kind == "number"]
        for row in rows:
            for plan in numbers:
                value = row.get(plan.name)
                reason = ""
                if isinstance(value, str):
                    reason = f"{plan.name} {value!r} is not a number; correct the cell or leave it n/a"
                elif value is not None and not plan.low <= float(value) <= plan.high:
                    reason = f"{plan.name} {value:g} lies outside {plan.low:g} to {plan.high:g}, as the schema has it"
                if reason:
                    row[plan.name] = None
                    flags.append({ID: str(row[ID]), "reason": reason})
            for plan in numbers:
                if plan.derived and row.get(plan.name) is None:
                    row[plan.name] = _computed(plan, row)
        return flags


def _computed(plan: ColumnPlan, row: Row) -> float | None:
    factors = [(row.get(name), power) for name, power in plan.derived["powers"].items()]
    if any(not isinstance(value, float | int) or value <= 0 for value, _ in factors):
        return None
    return float(plan.derived.get("scale", 1.0) * math.prod(float(value) ** power for value, power in factors if value))


def read_plan(path: str | Path) -> TablePlan:
    """The schema in a file. Raises :class:`TableError` for one that cannot be read, and for what it cannot mean."""
    path = Path(path)
    try:
        stored = strict_json.parse(path.read_text("utf-8-sig"))
    except OSError as error:
        raise TableError(f"{path} cannot be read ({error.strerror}); write one by ingest --check --schema") from None
    except (ValueError, RecursionError) as error:
        raise TableError(f"{path} is no JSON ({error}); mend it, or write it anew by ingest --check --schema") from None
    if not isinstance(stored, dict) or not all(isinstance(said, dict) for said in stored.values()):
        raise TableError(f"{path} is no schema; make it an object with one object a column")
    return TablePlan(columns={heading: _column(heading, said) for heading, said in stored.items()})


def _column(heading: str, said: Mapping[str, Any]) -> ColumnPlan:
    if unknown := sorted(set(said) - KEYS):
        raise TableError(f"the schema says {unknown[0]!r} of {heading}; the keys are {', '.join(sorted(KEYS))}")
    levels, missing = said.get("Levels", {}), said.get("Missing", [])
    derived = said.get("Derived", {})
    if not isinstance(levels, dict) or not all(isinstance(word, str) for word in levels.values()):
        raise TableError(f"Levels of {heading} is {levels!r}; give an object of level and meaning")
    if not isinstance(missing, list) or not all(isinstance(mark, str) for mark in missing):
        raise TableError(f'Missing of {heading} is {missing!r}; give a list of texts, such as ["-9"]')
    if derived and not _powers(derived):
        raise TableError(f'Derived of {heading} is not {{"scale": 1, "powers": {{...}}}}; mend it or leave it out')
    return ColumnPlan(
        name=str(said.get("Name", heading)),
        kind=str(said.get("Kind", "")),
        unit=str(said.get("Units", "")),
        low=_bound(heading, said, "Minimum", -math.inf),
        high=_bound(heading, said, "Maximum", math.inf),
        levels=dict(levels),
        missing=tuple(missing),
        derived=dict(derived),
        description=str(said.get("Description", "")),
        question=str(said.get("Question", "")),
    )


def _powers(derived: Any) -> bool:
    if not isinstance(derived, dict) or not isinstance(derived.get("powers"), dict):
        return False
    return all(isinstance(v, int | float) for v in (*derived["powers"].values(), derived.get("scale", 1)))


def _bound(heading: str, said: Mapping[str, Any], key: str, otherwise: float) -> float:
    value = said.get(key, otherwise)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TableError(f"{key} of {heading} is {value!r}; give a number or leave it out")
    return float(value)


def write_plan(path: str | Path, plan: TablePlan) -> Path:
    """The schema as a file to be edited. Raises :class:`TableError` where it exists or cannot be written."""
    path = Path(path)
    if path.exists():
        raise TableError(f"{path} exists already; choose another file for the schema")
    with refusing(path, TableError):
        write_text(path, json.dumps(plan.to_json(), indent=2, ensure_ascii=False) + "\n")
    return path


def propose(headings: Mapping[str, Heading], rows: Sequence[Mapping[str, str]], about: Mapping[str, Any]) -> TablePlan:
    """How the columns of a table would be read: ``rows`` by its own headings, ``about`` its data dictionary by name."""
    columns = {}
    doubts = unit_doubts(headings, rows, about)
    for text, one in headings.items():
        cells = [(row[text] or "").strip() for row in rows]
        columns[text] = _proposed(one, cells, about.get(one.name, {}), doubts.get(one.name, ""))
    names = {plan.name: text for text, plan in columns.items() if plan.kind == "number"}
    if {"bmi", "height", "weight"} <= set(names) and not any(columns[names[n]].question for n in ("height", "weight")):
        bmi = columns[names["bmi"]]
        derived = {"scale": 1e4, "powers": {"weight": 1.0, "height": -2.0}}
        columns[names["bmi"]] = ColumnPlan(**{**vars(bmi), "derived": derived})
    return TablePlan(columns=columns)


def _proposed(one: Heading, cells: Sequence[str], said: Mapping[str, Any], doubt: str) -> ColumnPlan:
    """The plan of one column."""
    about = str(said.get("Description", ""))
    if one.name == ID:
        return ColumnPlan(name=ID, kind="id", description=about)
    if kind := tells_who(one.text, cells):
        return ColumnPlan(name=one.name, kind="leave out", description=f"{kind} never reach a store")
    written = sorted({cell for cell in cells if cell and cell.casefold() in MISSING})
    marks = sorted(missing_marks(cells)) if one.name not in CATALOGUE or not CATALOGUE[one.name].plausible else []
    present = [cell for cell in cells if cell.casefold() not in MISSING and cell not in marks]
    known = CATALOGUE.get(one.name)
    numbers = [value for cell in present if (value := measured(one.name, cell)) is not None]
    missing = tuple([*written, *marks])
    if "Levels" not in said and present and (len(numbers) == len(present) or (known and known.plausible)):
        low, high = known.plausible if known and known.plausible else (min(numbers), max(numbers))
        unit = OPEN if doubt else one.unit or str(said.get("Units", "")) or (known.unit if known else "")
        return ColumnPlan(
            name=one.name,
            kind="number",
            unit=unit,
            low=low,
            high=high,
            missing=missing,
            description=about,
            question=doubt,
        )
    counts = Counter(present)
    levels = said.get("Levels") or (known.levels if known and known.levels else {word: word for word in sorted(counts)})
    if isinstance(levels, list):
        levels = {str(level): str(level) for level in levels}
    if not levels or len(levels) > MOST_LEVELS:
        why = f"{len(levels)} different words are names or remarks" if levels else "no cell has anything"
        return ColumnPlan(name=one.name, kind="leave out", description=why)
    words = {
        code: str(word.get("Description", code)) if isinstance(word, dict) else str(word)
        for code, word in levels.items()
    }
    return ColumnPlan(name=one.name, kind="category", levels=words, missing=missing, description=about)


def not_two_units(one: Heading, cells: Sequence[str], by: float, path: Path) -> None:
    """Raises where a point may stand between feet and inches, or stones and pounds: 5.11 is 5 ft 11 in, or 5.11 ft."""
    for name, unit, words, seconds in (("height", "ft", "inches", INCHES), ("weight", "st", "pounds", POUNDS)):
        behind = [cell.partition(".")[2] for cell in cells if len(cell.partition(".")[2]) > 1]
        if one.name == name and by == factor(name, unit) and behind and set(behind) <= {*seconds}:
            cell = next(cell for cell in cells if cell.endswith(tuple(f".{end}" for end in seconds)))
            raise TableError(
                f"{path}: {one.text} {cell} may be {unit} and {words} or {unit} with decimals; give it in {CATALOGUE[name].unit}"
            )


def unit_doubts(
    headings: Mapping[str, Heading], rows: Sequence[Mapping[str, str]], about: Mapping[str, Any]
) -> dict[str, str]:
    """By name, a question for each well-known column whose unit nobody says, and whose numbers are usual in another one."""
    medians: dict[str, float] = {}
    said: set[str] = set()
    found: dict[str, str] = {}
    for text, one in headings.items():
        if one.name not in USUAL:
            continue
        values = [value for row in rows if (value := measured(one.name, (row[text] or "").strip())) is not None]
        if values:
            medians[one.name] = float(np.median(values))
        if one.unit or about.get(one.name, {}).get("Units"):
            said.add(one.name)
        elif unit := _in_words(one.name, str(about.get(one.name, {}).get("Description", ""))):
            found[one.name] = f"the description of {one.name} speaks of {unit}: write its unit into Units"
    for name, median in medians.items():
        own = CATALOGUE[name].unit
        if name in {*said, *found} or _usual(name, median, medians, said):
            continue
        could = {unit: median * size for unit, size in sizes(name).items()}
        usual = {unit: value for unit, value in could.items() if _usual(name, value, medians, said)}
        if listed := " or ".join(f"{_short(value)} {own} if {unit}" for unit, value in usual.items()):
            found[name] = f"the middle {name} is {median:g}, unusual in {own} ({listed}): write its unit into Units"
    return found


def _in_words(name: str, description: str) -> str:
    """A unit other than the column's own that its description speaks of alone; "" where there is none.

    >>> _in_words("age", "Age in months"), _in_words("age", "years, to the nearest month"), _in_words("height", "measured in cm")
    ('months', '', '')
    """
    words = [word for word in plain(description).split() if len(word) > 1 and word != "in" and known(name, word)]
    return words[0] if words and all(factor(name, word) != 1 for word in words) else ""


def _short(value: float) -> str:
    return f"{value:.0f}" if value >= 10 else f"{value:.2g}"


def _usual(name: str, value: float, medians: Mapping[str, float], said: set[str]) -> bool:
    low, high = USUAL[name]
    if not low <= value <= high:
        return False
    height = medians.get("height", 0.0)
    if name != "weight" or "height" in said or not USUAL["height"][0] <= height <= USUAL["height"][1]:
        return True
    return USUAL_BMI[0] <= value / (height / 100) ** 2 <= USUAL_BMI[1]
