"""A sheet of an Excel file (.xlsx) as lines of text; what was never computed is refused, not read as empty."""

from __future__ import annotations

import warnings
import zipfile
from datetime import date, datetime, time
from io import BytesIO
from pathlib import Path
from typing import Any

from openpyxl import load_workbook

from engine.cohort.sources.delimited import TableError
from engine.storage.archive import ArchiveError, checked
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.headings import named

#: what Excel shows where a formula failed
FAULTS = ("#DIV/0!", "#N/A", "#NAME?", "#NULL!", "#NUM!", "#REF!", "#VALUE!")


def sheet(data: bytes, path: Path) -> tuple[list[list[str]], list[str]]:
    """The lines of the only sheet that holds cells, and notes. Raises :class:`TableError` for several, or for none."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            checked(archive, str(path))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            values = load_workbook(BytesIO(data), data_only=True, keep_links=False)
            formulas = load_workbook(BytesIO(data), keep_links=False)
    except ArchiveError as error:
        raise TableError(str(error)) from None
    except Exception as error:  # openpyxl raises whatever its parts do
        raise TableError(f"{path} cannot be read as Excel ({type(error).__name__}); save it as CSV in UTF-8") from None
    filled = [page for page in values.worksheets if page.max_row > 1 or page.cell(1, 1).value is not None]
    if len(filled) != 1:
        names = ", ".join(page.title for page in filled[:5]) or "none"
        raise TableError(
            f"{path} has {len(filled)} sheets with cells ({names}); save the one of people as CSV in UTF-8"
        )
    (page,) = filled
    if spread := [area for area in page.merged_cells.ranges if area.max_row > 1]:
        raise TableError(
            f"{path} has merged cells ({spread[0]}); unmerge them and fill in every one, or save it as CSV"
        )
    raw = formulas[page.title]
    lines = []
    for cells, written in zip(page.iter_rows(), raw.iter_rows(), strict=True):
        for cell, formula in zip(cells, written, strict=True):
            if cell.value is None and isinstance(formula.value, str) and formula.value.startswith("="):
                raise TableError(
                    f"{path} has a formula in {cell.coordinate} that was not computed; open it in Excel and save it"
                )
        lines.append([_shown(cell) for cell in cells])
    for k in _percents(lines[0] if lines else []):
        for line, cells in zip(lines[1:], list(page.iter_rows())[1:], strict=True):
            value = cells[k].value
            if isinstance(value, int | float) and str(cells[k].number_format).endswith("%"):
                line[k] = f"{value * 100:.10g}%"
    hidden = sum(
        bool(line.hidden) and any(lines[k - 1]) for k, line in page.row_dimensions.items() if 1 < k <= len(lines)
    )
    notes = (
        [f"{hidden} of its lines are hidden in Excel and were read, too; delete those that are not meant"]
        if hidden
        else []
    )
    return [line for line in lines if any(line)], notes


def _percents(headings: list[str]) -> list[int]:
    """The places of the columns that are counted in %, where a cell that is shown as 25% holds 0.25."""
    found, _ = named(list(dict.fromkeys(headings)), CATALOGUE)
    names = [found[text].name for text in headings]
    return [k for k, name in enumerate(names) if name in CATALOGUE and CATALOGUE[name].unit == "%"]


def _shown(cell: Any) -> str:
    """A cell as text; a whole number that is shown with zeros in front (001) has them."""
    shown = str(cell.number_format)
    if isinstance(cell.value, int) and set(shown) == {"0"} and cell.value >= 0:
        return f"{cell.value:0{len(shown)}d}"
    return _text(cell.value)


def _text(value: Any) -> str:
    """A cell as it would be typed: whole numbers without a point, dates as ISO 8601 has them."""
    if value is None or value in FAULTS:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 2**53 else repr(value)
    if isinstance(value, datetime):
        return value.date().isoformat() if value.time() == time() else value.isoformat()
    return value.isoformat() if isinstance(value, date | time) else str(value)
