"""The cells of a table file as text: CSV, TSV or Excel, as programs and countries write them, or a sentence.

The separator is that of the heading which cuts every line into as many cells; a decimal comma is read where it can only be one.
A line with more or fewer cells than headings, a heading given twice, and what could be either a thousand or a decimal, are
refused: cells that moved to another column are worse than none.
"""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING, number_of
from engine.vocabulary.headings import ID, Heading, named, plain
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.units import known


class TableError(Refusal):
    """A table that cannot be read or used; the message says why and what to do."""


#: what may stand between cells, the likelier first
SEPARATORS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}
#: the marks at the start of a file that say how it is encoded
MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
#: bytes of a table at most, and characters of one cell
MOST_BYTES, MOST_CELL = 2**28, 2**20
EXCEL, OLD_EXCEL = b"PK\3\4", b"\xd0\xcf\x11\xe0"
_COMMA = re.compile(r"[+-]?\d+,\d+")
_NUMBER = re.compile(r"[+-]?(\d+([.,]\d*)?|[.,]\d+)([eE][+-]?\d+)?")
#: a long number, or an id such as 1E5, as spreadsheets write it
_SHORTENED = re.compile(r"\d(\.\d+)?[eE]\+\d+")
#: a comma, or a point, that may as well stand between thousands
_THOUSAND = re.compile(r"[+-]?[1-9]\d{0,2}([.,]\d{3})+")
_GERMAN = re.compile(r"[+-]?\d{1,3}(\.\d{3})+,\d+")
_ENGLISH = re.compile(r"[+-]?\d{1,3}(,\d{3})+\.\d+")


@dataclass(frozen=True, kw_only=True)
class Cells:
    """A table's ``headings``, stripped, its ``rows`` by heading, and ``notes`` on how it was read."""

    headings: tuple[str, ...]
    rows: list[dict[str, str]]
    notes: tuple[str, ...] = ()


def read_file(path: Path) -> Cells:
    """The cells of a file. Raises OSError, or :class:`TableError` for one that is not a table of named columns."""
    if path.stat().st_size > MOST_BYTES:
        raise TableError(f"{path} has more than {MOST_BYTES // 2**20} MB, which is no table of people; give one")
    data = path.read_bytes()
    if data.startswith(EXCEL):
        from engine.cohort.sources.excel import sheet

        lines, notes = sheet(data, path)
    elif data.startswith(OLD_EXCEL):
        raise TableError(f"{path} is an Excel file of the old kind; save it as .xlsx or as CSV in UTF-8")
    else:
        lines, notes = _lines(_decoded(data, path), path)
    return _cells(lines, notes, path)


def _decoded(data: bytes, path: Path) -> str:
    encoding = next((name for mark, name in MARKS if data.startswith(mark)), "utf-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise TableError(f"{path} cannot be read as a table ({error}); save it as CSV or tab-separated UTF-8") from None
    if "\0" in text:
        raise TableError(f"{path} holds bytes of value 0, so it is no text; save it as CSV or tab-separated UTF-8")
    return text


def _lines(text: str, path: Path) -> tuple[list[list[str]], list[str]]:
    """The file's lines of cells, empty ones left out, and what is to be said of the separator."""
    text = text.removeprefix("\ufeff")
    told = re.match(r"sep=(.)(\r\n|\r|\n)", text)  # how Excel is told
    if told:
        text = text[told.end() :]
    tried = {mark: _split(text, mark, path) for mark in ([told[1]] if told else SEPARATORS)}
    best = max(tried, key=lambda mark: (_even(tried[mark]), len(tried[mark][0]) if tried[mark] else 0))
    lines = tried[best]
    _closed(text, best, path)
    if lines and len(lines[0]) == 1 and (widest := _widest(tried)) is not None:
        best, lines = widest, tried[widest]
    if lines and len(lines[0]) == 1 and len(lines[0][0].split()) > 1 and _spaced(lines):
        raise TableError(f"{path} seems to have its cells between spaces; save it as CSV in UTF-8")
    return lines, [f"its cells stand between {SEPARATORS[best]}"] if best in (";", "|") and lines else []


def _split(text: str, mark: str, path: Path) -> list[list[str]]:
    limit = csv.field_size_limit()
    try:
        csv.field_size_limit(MOST_CELL)
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=mark))
    except csv.Error as error:
        raise TableError(f"{path} cannot be read as a table ({error}); save it as CSV or tab-separated UTF-8") from None
    finally:
        csv.field_size_limit(limit)
    return [row for row in rows if any(cell.strip() for cell in row)]


def _closed(text: str, mark: str, path: Path) -> None:
    """Raises where a quotation mark is opened and never closed: all lines behind it would be one cell."""
    rows, line = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True), 0
    try:
        for _ in rows:
            line = rows.line_num
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise TableError(
                f'{path} has a quotation mark (") in line {line + 1} that is never closed; close or remove it'
            ) from None


def _even(lines: Sequence[Sequence[str]]) -> bool:
    """Whether a separator cuts every line into as many cells, of which there are several."""
    return bool(lines) and len(lines[0]) > 1 and len({len(line) for line in lines}) == 1


def _widest(tried: dict[str, list[list[str]]]) -> str | None:
    """The separator that cuts the heading at all; None where none does."""
    cut = [mark for mark, lines in tried.items() if lines and len(lines[0]) > 1]
    return max(cut, key=lambda mark: len(tried[mark][0])) if cut else None


def _spaced(lines: Sequence[Sequence[str]]) -> bool:
    counts = {len(line[0].split()) for line in lines}
    return len(lines) > 1 and len(counts) == 1


def _cells(lines: list[list[str]], notes: list[str], path: Path) -> Cells:
    if not lines:
        return Cells(headings=(), rows=[])
    headings = [text.strip() for text in lines[0]]
    while (
        headings
        and not headings[-1]
        and all(len(line) < len(headings) or not line[len(headings) - 1].strip() for line in lines)
    ):
        headings.pop()
    width = len(headings)
    if twice := [text for text, count in Counter(headings).items() if text and count > 1]:
        raise TableError(f"{path} has two columns named {twice[0]}; rename one")
    rows = []
    for number, line in enumerate(lines[1:], 2):
        surplus = [cell for cell in line[width:] if cell.strip()]
        if surplus or len(line) < width:
            raise TableError(
                f"{path} has {len(line)} cells in line {number} and {width} headings; give every line as many, empty ones as n/a"
            )
        rows.append(dict(zip(headings, line, strict=False)))
    if "" in headings:
        notes = [*notes, "a column without a heading was left out"]
        rows = [{text: cell for text, cell in row.items() if text} for row in rows]
    headings = [text for text in headings if text]
    return Cells(headings=tuple(headings), rows=rows, notes=(*notes, *_pointed(headings, rows, path)))


#: what stands in the place of an id in a line that sums up the others; where there is no id, the first of these in any cell
SUMS = ("mean", "total", "sum", "average", "median", "summe", "mittelwert", "gesamt", "durchschnitt")
SHORT = (
    "avg",
    "mw",
    "sd",
    "std",
    "stdev",
    "stddev",
    "se",
    "sem",
    "iqr",
    "n",
    "count",
    "min",
    "max",
    "minimum",
    "maximum",
)
SHORT += ("range", "overall", "all", "deviation", "standard", "moyenne", "promedio", "media")
#: lines at the start in which headings and units, and at the end in which sums may stand
ABOVE, BELOW = 10, 8


def of_persons(path: Path, found: Mapping[str, Heading], rows: Sequence[Mapping[str, str]]) -> None:
    """Raises where the headings stand further down or on the side, a line holds units, or the last ones are of no person."""
    ids = [text for text, one in found.items() if one.name == ID]
    for number, row in enumerate([] if ids else rows[:ABOVE], 2):
        words = [word.strip() for cell in row.values() for word in re.split(r"[\t,;|]", cell or "")]
        said = {one.name for one in named(list(dict.fromkeys(words)), (*CATALOGUE, ID))[0].values()}
        if ID in said and (said & set(CATALOGUE) or number == 2):
            raise TableError(f"{path} seems to have its headings in line {number}; delete what stands above them")
    for number, row in enumerate(rows[:ABOVE], 2):
        cells = {
            one.name: row[text].strip() for text, one in found.items() if one.name in CATALOGUE and row[text].strip()
        }
        units = [unit for name, cell in cells.items() if known(name, unit := cell.strip("()[] "))]
        if units and not any(number_of(cell) is not None for cell in cells.values()):
            raise TableError(
                f"{path} has units ({', '.join(units)}) in line {number}; write each into its heading, as in weight (kg), and "
                "delete the line"
            )
    for text in ids:
        persons = [row[text].strip() for row in rows]
        if short := [number for number in persons if _SHORTENED.fullmatch(number)]:
            raise TableError(f"{path} has the {ID} {short[0]}, which a spreadsheet shortened; write ids as text")
        if text in persons:
            raise TableError(f"{path} repeats its headings in line {persons.index(text) + 2}; remove that line")
        if len({one.name for one in named(list(dict.fromkeys(persons)), CATALOGUE)[0].values()} & set(CATALOGUE)) > 1:
            raise TableError(f"{path} has a column for each person; give every person a line, and turn the table")
    for row in rows[-BELOW:]:
        numbers = [row[text].strip() for text in ids if row[text].strip()]
        said = [*numbers[:1]] or [cell.strip() for cell in row.values() if plain(cell or "") in SUMS]
        words = {word for cell in said for word in plain(re.split(r"[(\[±=:]", cell)[0]).split()}
        if words and words <= {*SUMS, *SHORT}:
            raise TableError(f"{path} has a line of {said[0]!r}, which is no person; remove it")


def _pointed(headings: Sequence[str], rows: list[dict[str, str]], path: Path) -> list[str]:
    """Decimal commas to points, in place, column by column; a sentence where there were some."""
    columns = {
        name: [cell for row in rows if (cell := row[name].strip()).casefold() not in MISSING] for name in headings
    }
    numeric = {name: cells for name, cells in columns.items() if cells and all(_written(cell) for cell in cells)}
    commas = {name: cells for name, cells in numeric.items() if any("," in cell for cell in cells)}
    if not commas:
        return []
    sure = any(_COMMA.fullmatch(cell) and not _THOUSAND.fullmatch(cell) for cells in commas.values() for cell in cells)
    sure = sure or any(_GERMAN.fullmatch(cell) for cells in commas.values() for cell in cells)
    for name, cells in numeric.items():
        doubt = next((cell for cell in cells if _doubtful(cell, sure)), None)
        if doubt is not None:
            raise TableError(
                f"{path}: {name} {doubt} can be read with a decimal sign or with one of thousands; write every number with a point"
            )
    for name, cells in commas.items():
        if any("." in cell and not _GERMAN.fullmatch(cell) for cell in cells):
            odd = next(cell for cell in cells if "." in cell)
            raise TableError(
                f"{path}: {name} has decimal commas and points, such as {odd}; write every number with a point"
            )
        for row in rows:
            if _written(row[name].strip()):
                row[name] = row[name].replace(".", "").replace(",", ".")
    return [f"decimal commas were read in {', '.join(commas)}"]


def _written(cell: str) -> bool:
    return any(form.fullmatch(cell) for form in (_NUMBER, _THOUSAND, _GERMAN, _ENGLISH))


def _doubtful(cell: str, sure: bool) -> bool:
    """Whether a sign may be of thousands; with decimal commas elsewhere (``sure``) only a point may."""
    if _ENGLISH.fullmatch(cell):
        return True
    return bool(_THOUSAND.fullmatch(cell)) and ("," not in cell or not sure)
