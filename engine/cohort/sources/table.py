"""A cohort without scans: one table of people, and what kind of column each of its columns is.

The table is CSV or TSV with a header. A JSON file of the same name beside it may describe columns as a BIDS data dictionary
does (``Description``, ``Units``, ``Levels``, ``Minimum``, ``Maximum``), with two keys more: ``Ordered`` (true for levels from
low to high) and ``Derived`` ({"scale": 1, "powers": {"weight_kg": 1, "height_m": -2}}). What it leaves open is read off the
values; a body mass index beside its height and weight is recognised as derived.
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from engine.cohort.dictionary import beside, codes, dictionary
from engine.cohort.participants import Roles
from engine.cohort.sources.delimited import TableError, of_persons, read_file
from engine.cohort.sources.proposal import MOST_LEVELS, TablePlan, not_two_units, propose, unit_doubts
from engine.cohort.split import Parts, split
from engine.storage.whole import whole_file
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import Row, parse_rows
from engine.vocabulary.columns import level_of
from engine.vocabulary.headings import ID, Heading, named, plain
from engine.vocabulary.identifiers import tells_who
from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number
from engine.vocabulary.units import factor

#: the part of a description that is of the cohort and not of a column, unless a column is named so
WHOLE = "Cohort"
#: how many times the most that a model of adults takes no body has
BEYOND = 3.0
#: the part of the people who test
TEST = 0.2
#: most decimals that a column is taken to be recorded to; more are computed
MOST_DECIMALS = 4
#: fewest people at the least or greatest value for it to be the end of the possible range
AT_THE_END = 10


@dataclass(frozen=True, eq=False)
class TableCohort:
    """People without scans; stands where a :class:`engine.cohort.store.CohortStore` does.

    ``schema`` is not yet fitted; ``flags`` are cells and columns that could not be taken as they stand.
    """

    path: Path
    rows: list[Row]
    schema: AttributeSchema
    meta: dict[str, Any]
    flags: list[str] = field(default_factory=list)
    channels: tuple[str, ...] = ()
    grid: tuple[int, int, int] = (0, 0, 0)
    roles: Roles | None = None

    @classmethod
    def open(cls, path: str | Path) -> TableCohort:
        """Read a table and its description; raises :class:`TableError` for one that cannot be used."""
        path = Path(path)
        table = read_named(path, ())
        cells, about = table.rows, table.about
        whole = {} if WHOLE in cells[0] else about.pop(WHOLE, {})
        rows, flagged = parse_rows(cells, codes(about))
        flags = [*table.notes, *(f"{flag[ID]}: {flag['reason']}" for flag in flagged)]
        schema = described(rows, about, flags)
        digest = sha256(json.dumps(rows, sort_keys=True).encode()).hexdigest()
        named = {"source_name": whole.get("Name", path.stem), "licence": whole.get("License", "that of the cohort")}
        anonymous = all(row[ID] == f"row-{i}" for i, row in enumerate(rows, 1))
        return cls(path, rows, schema, {**named, "participants_sha256": digest, "anonymous": anonymous}, flags)

    def __len__(self) -> int:
        return len(self.rows)

    def split(self) -> Parts:
        """Row indices under ``train`` (80%), ``validation`` (nobody), ``test``; without age and sex everyone trains."""
        return self.roles.parts if self.roles else split(self.rows, self.meta, test=TEST, validation=0.0)

    def older_split(self) -> Parts:
        """The split by version 1."""
        return split(self.rows, self.meta, version=1, test=TEST, validation=0.0)

    def with_roles(self, roles: Roles) -> TableCohort:
        """The same people with other parts."""
        return replace(self, roles=roles)


@dataclass(frozen=True, kw_only=True)
class NamedTable:
    """A table whose well-known columns have the names and units they have here.

    ``rows`` are cells by column, a ``participant_id`` among them; ``headings`` what the table has above each of its columns,
    ``factors`` what its numbers were multiplied by, ``about`` its data dictionary by column, ``notes`` what is to be said, ``plan`` the
    schema that it was read by.
    """

    rows: list[dict[str, str]]
    headings: dict[str, str]
    factors: dict[str, float]
    about: dict[str, Any]
    notes: list[str]
    plan: TablePlan | None = None


def read_cells(path: Path) -> list[dict[str, str]]:
    """The cells of a table file as text, with a ``participant_id`` (row-1, row-2, ...) where it has none."""
    return read_named(path, ()).rows


def read_named(
    path: Path,
    wanted: Collection[str],
    *,
    needed: bool = True,
    plan: TablePlan | None = None,
    stored: bool = False,
) -> NamedTable:
    """The cells of a table file as text, its columns among ``wanted`` found by whatever heading they have.

    Numbers of a well-known column are brought to its own unit, from that of its heading or of the data dictionary beside it. A
    ``plan`` says of every column what it is, in place of both. What is to be ``stored`` has no columns that tell who somebody is.
    Raises :class:`TableError` for a table that cannot be read, has no rows (where some are ``needed``) or the same person twice, and
    :class:`engine.vocabulary.units.UnitError` for a unit that cannot be told.
    """
    cells = read_file(path)
    if needed and not cells.rows:
        raise TableError(f"{path} has no rows; give a CSV file with a header and one person a row")
    raws, described = cells.rows, beside(path) if plan is None else plan.dictionary()
    found, notes = named(cells.headings, wanted)
    of_persons(path, found, raws)
    doubts: dict[str, str] = {}
    if plan is not None:
        raws, notes = plan.taken(cells.headings, cells.rows)
        found = plan.headings()
    if stored:
        told = {text: kind for text in found if (kind := tells_who(text, [raw[text] for raw in raws]))}
        found = {text: one for text, one in found.items() if text not in told}
        raws = [{text: cell for text, cell in raw.items() if text in found} for raw in raws]
        notes += [f"column {text} was left out: {kind} never reach a store" for text, kind in told.items()]
    for text, one in found.items():
        persons = [raw[text].strip() for raw in raws]
        if one.name == ID != text and len(set(persons)) < len(persons):  # a visit a row, or not whose row it is
            found[text] = Heading(name=text, text=text)
            notes = [note for note in notes if not note.endswith(f"taken as {ID}")]
    about = _by_column(described, found)
    factors = {one.name: _factor(one, about) for one in found.values() if one.name in CATALOGUE}
    for text, one in found.items():
        not_two_units(one, [raw[text].strip() for raw in raws], factors.get(one.name, 1.0), path)
    if plan is None and wanted:
        doubts = unit_doubts(found, raws, about)
    rows = []
    for i, raw in enumerate(raws, 1):
        row = {found[text].name: cell for text, cell in raw.items()}
        row[ID] = (row.get(ID) or "").strip() or f"row-{i}"
        row |= {name: in_own_unit(row[name], by) for name, by in factors.items() if by != 1}
        rows.append(row | dict.fromkeys(doubts, "n/a") if stored else row)
    if len({row[ID] for row in rows}) < len(rows):
        twice = next(name for name, count in Counter(row[ID] for row in rows).items() if count > 1)
        raise TableError(f"{path} gives two rows the same {ID} {twice}; give every person their own")
    for name, by in factors.items():
        if by != 1:
            notes.append(
                f"{name} was brought to {CATALOGUE[name].unit} from {about.get(name, {}).get('Units') or 'its unit'}"
            )
            about[name] = {**about.get(name, {}), "Units": CATALOGUE[name].unit}
    where = " of a schema (ingest --check); until then it is left open" if stored else f" in {path.stem}.json"
    notes += [text + where for text in doubts.values()]
    headings = {one.name: text for text, one in found.items()}
    return NamedTable(
        rows=rows, headings=headings, factors=factors, about=about, notes=[*cells.notes, *notes], plan=plan
    )


def proposed_plan(path: Path, wanted: Collection[str]) -> TablePlan:
    """How the columns of a table file would be read; raises as :func:`read_named`."""
    cells = read_file(path)
    found, _ = named(cells.headings, wanted)
    return propose(found, cells.rows, _by_column(dictionary(path.with_suffix(".json")), found))


def typed_rows(cells: Sequence[Mapping[str, str]], table: NamedTable | None) -> tuple[list[Row], list[dict[str, str]]]:
    """Cells as values, by what is said of the columns of the ``table`` that they are of; and a sentence for each that was set
    missing."""
    about = codes(table.about) if table else {}
    known = {name: tuple(CATALOGUE[name].levels) for name in about if name in CATALOGUE and CATALOGUE[name].levels}
    counted = {name: about.pop(name) for name in list(about) if name in CATALOGUE and CATALOGUE[name].possible}
    cells, coded = _uncoded(cells, counted)
    rows, flagged = parse_rows(cells, about, known)
    flagged = [*coded, *flagged, *_beyond(rows)]
    if table and table.plan:
        flagged += table.plan.checked(rows)
    return rows, flagged


def _uncoded(
    cells: Sequence[Mapping[str, str]], counted: Mapping[str, Mapping[str, str]]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The cells without codes in columns of numbers, where a 1 may stand for 18 to 30 years; and a sentence for each."""
    out, flagged = [], []
    for row in cells:
        codes_of = {name: code for name in counted if (code := level_of((row.get(name) or "").strip(), counted[name]))}
        for name, code in codes_of.items():
            means = f"{name} {code} stands for {counted[name][code]!r} by its Levels, which is no number"
            flagged.append({ID: row[ID], "reason": f"{means}; give the number or leave it n/a"})
        out.append({**row, **dict.fromkeys(codes_of, "n/a")})
    return out, flagged


def _beyond(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Set missing, in place, what no body has of the columns that tables are not held to otherwise; a sentence for each."""
    flagged = []
    for name, one in CATALOGUE.items():
        if one.plausible or not one.possible:
            continue
        high = min(BEYOND * one.possible[1], 100.0 if one.unit == "%" else math.inf)
        for row in rows:
            value = row.get(name)
            if isinstance(value, float) and not 0 <= value <= high:
                row[name] = None
                reason = f"{name} {value:g} lies outside 0 to {high:g} {one.unit}; correct the cell or leave it n/a"
                flagged.append({ID: str(row[ID]), "reason": reason})
    return flagged


def _by_column(described: Mapping[str, Any], found: Mapping[str, Heading]) -> dict[str, Any]:
    """A data dictionary by the names that its columns have here; other parts of it as they are."""
    names = {text: one.name for text, one in found.items()} | {one.name: one.name for one in found.values()}
    names |= {plain(text): name for text, name in names.items()}
    return {names.get(key) or names.get(plain(key)) or key: said for key, said in described.items()}


def _factor(one: Heading, about: Mapping[str, Any]) -> float:
    """What a column's numbers are multiplied by; raises where heading and dictionary disagree on its unit."""
    said = str(about.get(one.name, {}).get("Units") or "")
    by = factor(one.name, said)
    if one.unit and said and factor(one.name, one.unit) != by:
        raise TableError(
            f"column {one.text} is in {one.unit} by its heading and in {said} by its dictionary; correct one"
        )
    return factor(one.name, one.unit) if one.unit else by


def in_own_unit(text: str, by: float) -> str:
    """A cell's number times ``by``, as text; what is no number is left as it is.

    >>> in_own_unit("1.75", 100), in_own_unit("n/a", 100)
    ('175', 'n/a')
    """
    try:
        return f"{float(text) * by:.10g}"
    except ValueError:
        return text


def write_table(path: Path, rows: Sequence[Mapping[str, Any]]) -> Path:
    """Rows as CSV, or as TSV where the name ends so: whole or not at all, missing cells as n/a."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream, delimiter="\t" if path.suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows([_text(row.get(name)) for name in columns] for row in rows)
    return path


def _text(value: Any) -> str:
    if value is None:
        return "n/a"
    return f"{value:.10g}" if isinstance(value, float) else str(value)


def described(rows: Sequence[Row], about: Mapping[str, Any], flags: list[str]) -> AttributeSchema:
    """The schema of ``rows``: from ``about`` what it says, the rest from the values. Columns left out go to ``flags``."""
    columns: list[Number | Category] = []
    derived = [_derived(name, said) for name, said in about.items() if "Derived" in said]
    taken = {d.name for d in derived}
    for name in rows[0]:
        if name == ID or name in taken:
            continue
        values = [row[name] for row in rows if row[name] is not None]
        said = about.get(name, {})
        try:
            if all(isinstance(value, float) for value in values) and "Levels" not in said:
                columns.append(_number(name, [float(str(v)) for v in values], said))
            else:
                columns.append(_category(name, [_word(v) for v in values], said))
        except TableError as error:
            flags.append(str(error))
    numbers = {c.name: c for c in columns if isinstance(c, Number)}
    if not derived and (found := _mass_index(rows, list(numbers))):
        derived, columns = [found], [c for c in columns if c.name != found.name]
    if not columns:
        raise TableError(f"no column can be used: {'; '.join(flags[:3]) or 'the table has none'}")
    return AttributeSchema(columns=tuple(columns), derived=tuple(derived))


def _word(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _number(name: str, values: list[float], said: Mapping[str, Any]) -> Number:
    if len(set(values)) < 2:
        raise TableError(f"column {name} was left out: it has fewer than two different values")
    low, high = possible(values)
    return Number(
        name=name,
        unit=str(said.get("Units", "")),
        low=_figure(name, said, "Minimum", low),
        high=_figure(name, said, "Maximum", high),
        decimals=_decimals(values),
        description=str(said.get("Description", "")),
    )


def _figure(name: str, said: Mapping[str, Any], key: str, otherwise: float) -> float:
    """A number of a column's description."""
    try:
        return float(said.get(key, otherwise))
    except (TypeError, ValueError):
        raise TableError(f"{key} of {name} is {said[key]!r}; give a number or leave it out") from None


def possible(values: Sequence[float]) -> tuple[float, float]:
    """The range taken as possible: an end that several people share is one; otherwise a round number some way beyond,
    which is no one person's, and never below 0 where nobody is."""
    ordered = np.sort(values)
    reach = float(ordered[-1] - ordered[0])
    unit = 10.0 ** math.floor(math.log10(reach / 4))
    low = math.floor((ordered[0] - 0.1 * reach) / unit) * unit
    high = math.ceil((ordered[-1] + 0.1 * reach) / unit) * unit
    if ordered[0] >= 0:
        low = max(low, 0.0)
    if np.sum(ordered == ordered[0]) >= AT_THE_END:
        low = float(ordered[0])
    if np.sum(ordered == ordered[-1]) >= AT_THE_END:
        high = float(ordered[-1])
    return round(low, 9), round(high, 9)


def _decimals(values: Sequence[float]) -> int | None:
    """The digits after the point to which at least 95% of the values are recorded; None when they look computed."""
    for digits in range(MOST_DECIMALS + 1):
        if np.isclose(np.round(values, digits), values, rtol=0, atol=1e-9).mean() >= 0.95:
            return digits
    return None


def _category(name: str, values: list[str], said: Mapping[str, Any]) -> Category:
    seen = sorted(set(values))
    levels = tuple(codes({name: said}).get(name, seen))
    if unknown := sorted(set(seen) - set(levels)):
        raise TableError(f"column {name} was left out: {unknown[0]!r} is not among its described levels")
    if not 2 <= len(levels) <= MOST_LEVELS:
        raise TableError(
            f"column {name} was left out: it has {len(levels)} different words, 2 to {MOST_LEVELS} can be used"
        )
    ordered = bool(said.get("Ordered", False)) and len(levels) > 2
    return Category(name=name, levels=levels, ordered=ordered, description=str(said.get("Description", "")))


def _derived(name: str, said: Mapping[str, Any]) -> Derived:
    try:
        powers = tuple((str(k), float(v)) for k, v in said["Derived"]["powers"].items())
        scale = float(said["Derived"].get("scale", 1))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise TableError(f'Derived of {name} is not {{"scale": 1, "powers": {{...}}}} ({error}); mend it') from None
    low = _figure(name, said, "Minimum", 0.0)
    high = _figure(name, said, "Maximum", math.inf)
    about = str(said.get("Description", "computed"))
    return Derived(
        name=name, unit=str(said.get("Units", "")), low=low, high=high, scale=scale, powers=powers, description=about
    )


def _mass_index(rows: Sequence[Row], numbers: list[str]) -> Derived | None:
    """BMI as weight / height ** 2, where the three columns are there and agree."""
    for bmi in (name for name in numbers if name.lower() == "bmi"):
        heights = [name for name in numbers if name.lower().startswith("height")]
        weights = [name for name in numbers if name.lower().startswith("weight")]
        for height, weight, scale in itertools.product(heights, weights, (1.0, 1e4)):
            cells = [[row[name] for name in (bmi, height, weight)] for row in rows]
            full = np.array([c for c in cells if None not in c], float)
            if len(full) and np.mean(np.abs(scale * full[:, 2] / full[:, 1] ** 2 / full[:, 0] - 1) < 0.01) > 0.99:
                low, high = possible(full[:, 0].tolist())
                powers = ((weight, 1.0), (height, -2.0))
                about = f"computed from {weight} and {height}"
                return Derived(
                    name=bmi, unit="kg/m²", low=low, high=high, scale=scale, powers=powers, description=about
                )
    return None
