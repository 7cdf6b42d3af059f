"""A cohort as DICOM: a folder, zip archive or DICOMDIR of many persons' files, in whatever order and names.

Files are told apart by PatientID, which is only compared: in rows, refusals and the store persons are ``sub-0001``, ``sub-0002``, in
the order of their numbers. A table beside the files (``participants.tsv``, ``.csv`` or ``.xlsx``, its ids the PatientIDs) says what is
known of them; what it leaves open the header may (age, sex, height, weight), and then structured reports among the files (TID 1500).
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from pydicom.uid import UID

from engine.cohort.sources.bids_files import natural
from engine.cohort.sources.choosing import chooser
from engine.cohort.sources.headers import FACTS, agreed, of_dicom
from engine.cohort.sources.proposal import TablePlan
from engine.cohort.sources.reports import merged
from engine.cohort.sources.table import NamedTable, TableError, read_named, typed_rows
from engine.imaging.dicom import read_series
from engine.imaging.dicom.elements import person_of
from engine.imaging.dicom.files import DAMAGED, files, parsed, quiet
from engine.imaging.dicom.images import MR
from engine.imaging.dicom_sr import SR, Measured, read_sr
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING, measured
from engine.vocabulary.headings import ID
from engine.vocabulary.row import Row

#: what is read of a file's header to tell persons apart, and of them
HEADER: list[Any] = ["SOPClassUID", "PatientID", "StudyInstanceUID", "Rows"]
HEADER += ["PatientAge", "PatientSex", "PatientSize", "PatientWeight", *(fact.keyword for fact in FACTS.values())]
#: what a store says of what it does not hold (PS3.15, table E.1-1: all that is marked there is among it)
REMOVED = (
    "Of the DICOM files only pixels, geometry, age, sex, size and weight were read, measurements of structured reports, and the "
    "scanner and sequence to choose by. Names, identifiers, dates, institutions, unique identifiers, descriptions, private "
    "elements, overlays and everything else in their headers never entered the store; files with burned-in text were refused."
)
#: the tables that may lie beside the files
TABLES = ("participants.tsv", "participants.csv", "participants.xlsx")


@dataclass(frozen=True, kw_only=True)
class DicomCohort:
    """Persons found in DICOM files, a :class:`engine.cohort.sources.source.Source`; ``paths`` are each person's files,
    ``headers`` what they say of how each was scanned, ``series`` a text in the description of the series that is taken."""

    root: Path
    rows: list[Row]
    paths: list[tuple[Path, ...]]
    flagged: list[dict[str, str]] = field(default_factory=list)
    channel: str = "T1w"
    headers: list[Row] = field(default_factory=list)
    series: str = ""

    def scan(self, i: int) -> tuple[Volume, None]:
        """The scan of row ``i``; what was left out of its files is added to ``flagged``. Raises :class:`VolumeError`."""
        series = read_series(self.paths[i], self.channel, chooser(self.series))
        self.flagged.extend({ID: str(self.rows[i][ID]), "reason": note} for note in series.notes)
        return series.volume, None

    def provenance(self) -> dict[str, Any]:
        """The folder's name; a DICOM file does not say whose cohort it is."""
        return {
            "source_name": self.root.stem,
            "licence": "unknown",
            "acknowledgement": "",
            "source_datasets": [],
            "deidentified": REMOVED,
        }

    def digest(self) -> str:
        """A SHA-256 over every file's place, size and time of change, without reading any."""
        found = [(str(path), path.stat()) for those in self.paths for path in those]
        facts = [(name, stat.st_size, stat.st_mtime_ns) for name, stat in found]
        return sha256(json.dumps(facts).encode()).hexdigest()


def read_dicom(
    root: str | Path, *, channel: str = "T1w", plan: TablePlan | None = None, series: str = ""
) -> DicomCohort:
    """The persons in the DICOM files at ``root``; headers are read, no pixels. Series are those with the text ``series`` in their
    description.

    Raises :class:`VolumeError` where there is no DICOM file, or an archive holds several persons, and :class:`TableError` for a table
    that cannot be used.
    """
    root, text = Path(root), chooser(series)
    paths: dict[str, list[Path]] = {}
    headers: dict[str, list[dict[str, str]]] = {}
    reports: dict[str, list[Measured]] = {}
    damaged: list[str] = []
    others: Counter[str] = Counter()
    facts: dict[str, list[Row]] = {}
    meant: dict[str, list[dict[str, str]]] = {}
    for path in _places(root):
        for number, cells, said in _persons(path, reports, damaged, others):
            if not isinstance(text, str) or text.casefold() in str(said["series_description"] or "").casefold():
                known = facts.setdefault(number, [])
                known += [said] if said not in known else []
                meant.setdefault(number, []).append(cells)
            if path not in paths.setdefault(number, []):
                paths[number].append(path)
            headers.setdefault(number, []).append(cells)
    if not paths:
        raise VolumeError(f"{root} holds no DICOM files of MR images; give the folder of a cohort")
    _not_shared(paths)
    numbers = sorted(paths, key=natural)
    names = {number: f"sub-{i:04d}" for i, number in enumerate(numbers, 1)}
    table = _table(root, plan)
    told = {number: _alike(meant.get(number, those)) for number, those in headers.items()}
    cells, notes = _joined(numbers, names, {number: row for number, (row, _) in told.items()}, table)
    notes += [{ID: names[number], "reason": note} for number in numbers for note in told[number][1]]
    cells, more = merged(cells, {names[number]: those for number, those in reports.items() if number in names})
    notes += [*more, *({ID: "the reports", "reason": reason} for reason in damaged)]
    notes += [
        {ID: "the files", "reason": f"{count} are no MR images ({kind}), so they were left out"}
        for kind, count in sorted(others.items())
    ]
    rows, flagged = typed_rows(cells, table)
    kept = [tuple(paths[number]) for number in numbers]
    said_alike = [agreed(facts.get(number, ())) for number in numbers]
    return DicomCohort(
        root=root, rows=rows, paths=kept, flagged=[*notes, *flagged], channel=channel, headers=said_alike, series=series
    )


def _places(root: Path) -> list[Path]:
    """What may hold files of one person each: files, archives, or a DICOMDIR alone."""
    if not root.is_dir():
        return [root]
    return sorted(p for p in root.rglob("*") if p.is_file() and not p.name.startswith(".") and p.name != "DICOMDIR")


def _persons(
    path: Path, reports: dict[str, list[Measured]], damaged: list[str], others: Counter[str]
) -> Iterator[tuple[str, dict[str, str], Row]]:
    """PatientID (or that of the study where there is none), what is known of the person and how they were scanned, of each MR image
    at a path.

    What structured reports among the files measure is added to ``reports`` by that number, what is said of others to ``damaged``, and
    files of another kind are counted in ``others``.
    """
    for _, data in files(path):
        found = None
        try:
            with quiet():
                header = parsed(data, HEADER)
                kind = UID(str(header.get("SOPClassUID", "")))
                number = str(header.get("PatientID") or "").strip() or str(header.get("StudyInstanceUID", ""))
                if kind in SR:
                    reports.setdefault(number, []).append(read_sr(data))
                elif kind in MR:
                    found = number, person_of(header), of_dicom(header)
                elif kind != kind.name and "Rows" in header:
                    others[kind.name] += 1
        except VolumeError as error:
            damaged.append(str(error))
        except DAMAGED:  # said when the series is read
            continue
        if found:
            yield found


def _alike(headers: list[dict[str, str]]) -> tuple[dict[str, str], list[str]]:
    """What all files of a person say of them, and a sentence for each cell in which they differ, as those of two visits do."""
    cells: dict[str, str] = {}
    notes = []
    for name in dict.fromkeys(name for row in headers for name in row):
        texts = list(dict.fromkeys(row[name] for row in headers if name in row))
        values = {text if (value := measured(name, text)) is None else value for text in texts}
        if len(values) == 1:
            cells[name] = texts[0]
        else:
            known = sorted(value for value in values if isinstance(value, float))  # words are quoted nowhere
            numbers = ", ".join(f"{value:g}" for value in known)
            listed = f" ({numbers})" if numbers else ""
            notes.append(
                f"the headers give {len(values)} values of {name}{listed}, so it is left open; say it in a table"
            )
    return cells, notes


def _not_shared(paths: dict[str, list[Path]]) -> None:
    owners: dict[Path, int] = {}
    for those in paths.values():
        for path in those:
            owners[path] = owners.get(path, 0) + 1
    if shared := [path for path, count in owners.items() if count > 1]:
        raise VolumeError(
            f"{shared[0].name} holds files of {owners[shared[0]]} persons; unpack it into a folder and give that"
        )


def table_beside(root: Path) -> Path | None:
    """The table of a folder of DICOM files, if there is one."""
    folder = root if root.is_dir() else root.parent
    found = [folder / name for name in TABLES if (folder / name).is_file()]
    if len(found) > 1:
        raise TableError(f"{folder} holds {found[0].name} and {found[1].name}; leave one")
    return found[0] if found else None


def _table(root: Path, plan: TablePlan | None) -> NamedTable | None:
    path = table_beside(root)
    if path is None and plan is not None:
        raise TableError(f"{root} has no table that a schema could describe; leave the schema out")
    return read_named(path, CATALOGUE, plan=plan, stored=True) if path else None


def _joined(
    numbers: list[str], names: dict[str, str], headers: dict[str, dict[str, str]], table: NamedTable | None
) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """A row of cells for each person, the table's before the header's, and who is missing in either."""
    told = {row[ID]: row for row in table.rows} if table else {}
    cells, notes = [], [{ID: "the table", "reason": note} for note in (table.notes if table else [])]
    for number in numbers:
        row = {k: v for k, v in told.get(number, {}).items() if (v or "").strip().casefold() not in MISSING}
        cells.append({**headers[number], **row, ID: names[number]})
        if table and number not in told:
            notes.append({ID: names[number], "reason": "the table has no row for this person"})
    if lost := [i for i, name in enumerate(told, 2) if name not in names]:
        listed = ", ".join(map(str, lost[:5])) + (" and more" if len(lost) > 5 else "")
        notes.append(
            {ID: "the table", "reason": f"{len(lost)} rows are of nobody whose files are here (lines {listed})"}
        )
    columns = dict.fromkeys(name for row in cells for name in row)
    return [{name: row.get(name, "") for name in columns} for row in cells], notes
