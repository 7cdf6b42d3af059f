"""Measurements in DICOM-SR (TID 1500) that lie with a cohort, as columns of its table."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from engine.imaging.dicom.files import MOST_FILE, is_dicom
from engine.imaging.dicom_sr import SR, Measured, is_report, read_sr
from engine.imaging.volume import VolumeError
from engine.vocabulary.cells import MISSING
from engine.vocabulary.headings import ID
from engine.vocabulary.row import Cell

#: bytes at the start of a file within which it says what it is
HEAD = 4096


def reports_beside(root: Path, name: str) -> list[Path]:
    """The DICOM files of a person of a BIDS data set that may be reports: their own, in sourcedata and in derivatives."""
    places = [root / name, root / "sourcedata" / name, *sorted((root / "derivatives").glob(f"*/{name}"))]
    found = [p for place in places if place.is_dir() for p in place.rglob("*.dcm")]
    return sorted(p for p in found if p.is_file() and p.stat().st_size <= MOST_FILE)


def measured_in(paths: Iterable[Path]) -> tuple[list[Measured], list[str]]:
    """What those of the files that are reports measure, and what is said of those that are damaged."""
    found, said = [], []
    for path in paths:
        with path.open("rb") as file:
            head = file.read(HEAD)
            if not any(kind.encode() in head for kind in SR):  # of thousands of slices no more is read
                continue
            data = head + file.read()
        if not is_dicom(data) or not is_report(data):
            continue
        try:
            found.append(read_sr(data))
        except VolumeError as error:
            said.append(str(error))
    return found, said


def merged(
    cells: list[dict[str, str]], reports: Mapping[str, list[Measured]]
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The rows with what the reports of each person measure where the table leaves it open, and what is said.

    A column is taken in one unit: where two persons' reports have it in different ones, it is left out. What two reports of one
    person disagree on is left open.
    """
    units: dict[str, set[str]] = {}
    values: dict[str, dict[str, Cell]] = {}
    notes: list[dict[str, str]] = []
    for name, those in reports.items():
        row = values.setdefault(name, {})
        for report in those:
            notes += [{ID: name, "reason": note} for note in report.notes]
            for column, value in report.row.items():
                if column in row and row[column] != value:
                    notes.append({ID: name, "reason": f"two reports disagree on {column}, so it is left open"})
                    row[column] = None
                else:
                    row[column] = value
                if column in report.units:
                    units.setdefault(column, set()).add(report.units[column])
    mixed = {column for column, those in units.items() if len(those) > 1}
    notes += [
        {
            ID: "the reports",
            "reason": f"{column} is counted in {' and '.join(sorted(units[column]))}, so it was left out",
        }
        for column in sorted(mixed)
    ]
    columns = dict.fromkeys(c for row in values.values() for c in row if c not in mixed and c != ID)
    out = []
    for row in cells:
        told = values.get(row[ID], {})
        more = {c: _text(told.get(c)) for c in columns if (row.get(c) or "").strip().casefold() in MISSING}
        out.append({**row, **more})
    return out, notes


def _text(value: Cell) -> str:
    """A value as a cell, no digit lost."""
    return "n/a" if value is None else value if isinstance(value, str) else repr(value)
