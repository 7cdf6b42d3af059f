"""A cohort as a table and NIfTI files: each row's scan is the file in its column ``scan``, or the one that is named after its id."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.cohort.sources.bids_files import natural
from engine.cohort.sources.choosing import chooser
from engine.cohort.sources.headers import of_sidecar
from engine.cohort.sources.proposal import TablePlan
from engine.cohort.sources.table import NamedTable, TableError, read_named, typed_rows
from engine.imaging.scan import load_scan
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING
from engine.vocabulary.headings import ID, plain
from engine.vocabulary.row import Row

ENDS = (".nii", ".nii.gz")
KINDS = (".csv", ".tsv", ".xlsx")
SCAN = "scan"
#: what the last word of a file's name is where it is no scan of a channel of ours, or of another
_OTHER = "mask brainmask seg dseg probseg label labels aseg aparc lesion roi defacemask bold dwi flair t2w t2 pdw pd t2star t2starw "
_OTHER += "swi phase epi sbref adc fa asl m0scan t1map t2map r1map fieldmap"
OTHER_KINDS = frozenset(_OTHER.split())
#: headings of ids that a hospital gives, as :func:`engine.vocabulary.headings.plain` leaves them
HOSPITAL = ("patient id", "patientid", "patienten id", "case id")
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, kw_only=True)
class FolderCohort:
    """A table's rows and their files, a :class:`engine.cohort.sources.source.Source`; who has no one file is not in ``images``.

    ``numbers`` are those of a hospital, by the names that stand for them; empty where the table's ids are no such numbers.
    """

    table: Path
    rows: list[Row]
    images: dict[str, Path]
    doubts: dict[str, str]
    flagged: list[dict[str, str]] = field(default_factory=list)
    channel: str = "T1w"
    numbers: dict[str, str] = field(default_factory=dict)

    def scan(self, i: int) -> tuple[Volume, None]:
        """The scan of row ``i``; raises :class:`VolumeError` where it has none, or several could be it."""
        name = str(self.rows[i][ID])
        if name not in self.images:
            raise VolumeError(self.doubts[name])
        try:
            series = load_scan(self.images[name], (self.channel,))
        except VolumeError as error:
            raise VolumeError(self._unnamed(str(error), name)) from None
        self.flagged.extend({ID: name, "reason": note} for note in series.notes)
        return series.volume, None

    def _unnamed(self, text: str, name: str) -> str:
        """A sentence without the number of the hospital, which files are named after."""
        return text.replace(self.numbers[name], name) if name in self.numbers else text

    def provenance(self) -> dict[str, Any]:
        """The folder's name; a table does not say whose cohort it is."""
        return {
            "source_name": self.table.parent.name,
            "licence": "unknown",
            "acknowledgement": "",
            "source_datasets": [],
        }

    def digest(self) -> str:
        """A SHA-256 over the table and every file's name, size and time of change."""
        files = [(name, file.name, file.stat()) for name, file in sorted(self.images.items())]
        facts = [(name, file, stat.st_size, stat.st_mtime_ns) for name, file, stat in files]
        return sha256(self.table.read_bytes() + json.dumps(facts).encode()).hexdigest()


def tables_in(folder: Path) -> list[Path]:
    """The tables that lie in a folder."""
    return sorted(p for p in folder.iterdir() if p.suffix.casefold() in KINDS and p.is_file() and p.name[0] not in ".~")


def read_folder(
    source: str | Path, *, channel: str = "T1w", plan: TablePlan | None = None, series: str = ""
) -> FolderCohort:
    """A table, or the only one in a folder, with the NIfTI files beside and below it; no image is opened. A
    ``plan`` says how the table's columns are read, ``series`` is a text in the names of the files that are meant.

    Raises :class:`TableError` where there is no table or several, or an id that no file can be named after.
    """
    source = Path(source)
    found = tables_in(source) if source.is_dir() else [source]
    if len(found) != 1:
        names = ", ".join(path.name for path in found[:3]) or "none"
        raise TableError(f"{source} holds {len(found)} tables ({names}); give the one of the cohort itself")
    (path,) = found
    table = read_named(path, (*CATALOGUE, SCAN), plan=plan, stored=True)
    files = sorted(p for p in path.parent.rglob("*") if p.name.endswith(ENDS) and not p.name.startswith("."))
    text = chooser(series)
    if isinstance(text, str):
        meant = [p for p in files if text.casefold() in p.name.casefold()]
    else:
        meant = [p for p, truth in zip(files, text([of_sidecar(p) for p in files]), strict=True) if truth]
    passed = {p for p in meant if not series and _other_kind(p, path.parent, channel)}
    meant = [p for p in meant if p not in passed]
    images: dict[str, Path] = {}
    doubts: dict[str, str] = {}
    names = _names(table)
    for row in table.rows:
        number, name = row[ID], names[row[ID]]
        if not _NAME.fullmatch(number):
            raise TableError(f"{path} has the participant_id {number!r}; use letters, digits, points and dashes")
        own = [path.parent / said] if (said := _said(row)) else [p for p in meant if _of(p, number, path.parent)]
        if len(own) == 1 and (own[0].is_file() or own[0].is_dir()):
            images[name] = own[0]
        elif len(own) == 1:
            doubts[name] = f"{own[0] if name == number else 'its file'} does not exist; correct the column {SCAN}"
        else:
            several = f"{len(own)} files are named after {name}" if own else f"no file is named after {name}"
            alike = [] if own or _hospital(table) else [p for p in meant if _alike(p, number)]
            several += f" ({alike[0].name} may be meant)" if alike else ""
            other = [] if own or _hospital(table) else [p for p in sorted(passed) if _of(p, number, path.parent)]
            several += (
                f" ({other[0].name} is by its name a mask, labels, of another contrast or derived)" if other else ""
            )
            doubts[name] = f"{several}; say which in a column {SCAN}"
    doubts |= _shared(images)
    images = {name: file for name, file in images.items() if name not in doubts}
    taken = set(images.values())
    notes = [{ID: path.name, "reason": note} for note in table.notes]
    if lost := [p for p in meant if p not in taken and not any(_said(row) for row in table.rows)]:
        such = "" if _hospital(table) else f", such as {lost[0].name}"
        notes.append({ID: path.name, "reason": f"{len(lost)} files are of nobody in the table{such}"})
    if _hospital(table):
        notes.append({ID: path.name, "reason": f"persons are named sub-0001, ... in the order of {table.headings[ID]}"})
    cells = [{key: text for key, text in row.items() if key != SCAN} | {ID: names[row[ID]]} for row in table.rows]
    rows, flagged = typed_rows(cells, table)
    return FolderCohort(
        table=path,
        rows=rows,
        images=images,
        doubts=doubts,
        flagged=[*notes, *flagged],
        channel=channel,
        numbers={name: number for number, name in names.items()} if _hospital(table) else {},
    )


def _other_kind(file: Path, root: Path, channel: str) -> bool:
    """Whether a file is a mask, a label map, of another contrast than a ``channel``, or made from others, by its name."""
    last = re.split(r"[_.-]", file.name.removesuffix(".gz").removesuffix(".nii"))[-1].casefold()
    return (last in OTHER_KINDS and last != channel.casefold()) or "derivatives" in file.relative_to(root).parts


def _shared(images: dict[str, Path]) -> dict[str, str]:
    """Whose file is that of another person, too; the one whose id is the longest of a name's has it."""
    owners: dict[Path, list[str]] = {}
    for name, file in images.items():
        owners.setdefault(file.resolve(), []).append(name)
    doubts = {}
    for file, those in owners.items():
        fitting = sorted((name for name in those if _of(file, name, file.parent)), key=len)
        kept = fitting[-1] if len(fitting) == len(those) and len(fitting[-1]) > len(fitting[0]) else ""
        for name in [name for name in those if len(those) > 1 and name != kept]:
            others = " and ".join(other for other in those if other != name)
            doubts[name] = f"its file is that of {others}, too; say in a column {SCAN} which is whose"
    return doubts


def _hospital(table: NamedTable) -> bool:
    """Whether the ids are numbers that a hospital gave, which tell who somebody is."""
    return plain(table.headings.get(ID, "")) in HOSPITAL


def _names(table: NamedTable) -> dict[str, str]:
    """By id, what a person is called in all that is written: the id itself, unless a hospital gave it."""
    ids = [row[ID] for row in table.rows]
    if not _hospital(table):
        return {number: number for number in ids}
    return {number: f"sub-{i:04d}" for i, number in enumerate(sorted(ids, key=natural), 1)}


def _said(row: dict[str, str]) -> str:
    text = (row.get(SCAN) or "").strip()
    return "" if text.casefold() in MISSING else text


def _of(file: Path, name: str, root: Path) -> bool:
    """Whether a file, or a folder it lies in, is named after a person: the id itself, or the id and then something else."""
    parts = [*file.relative_to(root).parent.parts, file.name]
    return any(re.match(rf"(sub-)?{re.escape(name)}(?![A-Za-z0-9])", part) for part in parts)


def _alike(file: Path, name: str) -> bool:
    """Whether a file is named after an id but for what spreadsheets change: zeros in front, letter case, a point and 0."""
    bare = re.escape(name.removesuffix(".0").lstrip("0") or "0")
    return re.match(rf"(sub-)?0*{bare}(?![A-Za-z0-9])", file.name, re.IGNORECASE) is not None
