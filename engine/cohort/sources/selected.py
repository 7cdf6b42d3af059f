"""A part of a cohort: the persons that an expression is true for, the columns that are wanted, the series that are meant."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from hashlib import sha256
from typing import Any

from engine.cohort.filter import FilterError, Selection, select
from engine.cohort.sources.bids import BidsDataset
from engine.cohort.sources.dicom import DicomCohort
from engine.cohort.sources.folder import FolderCohort
from engine.cohort.sources.headers import FACTS, of_sidecar
from engine.cohort.sources.source import Source
from engine.imaging.volume import Volume
from engine.vocabulary.headings import ID
from engine.vocabulary.row import Row


@dataclass(frozen=True, kw_only=True)
class Wanted:
    """What is wanted of a cohort: persons (``where``, :mod:`engine.cohort.filter`), ``columns`` (none: all of the table) and, by a
    text in their description or file name, ``series``."""

    where: str = ""
    columns: tuple[str, ...] = ()
    series: str = ""

    def __bool__(self) -> bool:
        return bool(self.where or self.columns or self.series)

    def to_json(self) -> dict[str, Any]:
        return {**asdict(self), "columns": list(self.columns)}


@dataclass(frozen=True, kw_only=True)
class SelectedCohort:
    """The persons ``kept`` (indices) of the cohort ``base``, a :class:`engine.cohort.sources.source.Source` itself."""

    base: Source
    kept: tuple[int, ...]
    rows: list[Row]
    wanted: Wanted
    selection: Selection
    others: frozenset[str] = field(default_factory=frozenset)

    @property
    def flagged(self) -> list[dict[str, str]]:
        """What is said of those who are kept, and of the cohort as a whole."""
        return [flag for flag in self.base.flagged if flag[ID] not in self.others]

    def scan(self, i: int) -> tuple[Volume, Volume | None]:
        return self.base.scan(self.kept[i])

    def provenance(self) -> dict[str, Any]:
        """The cohort's own, and how many of it these are."""
        return {**self.base.provenance(), "selection": self.selection.lines()}

    def digest(self) -> str:
        """Changes with the cohort and with what is wanted of it."""
        return sha256(f"{self.base.digest()} {self.wanted.to_json()}".encode()).hexdigest()


def header_rows(source: Source) -> list[Row]:
    """What the headers of each person's images say (:data:`engine.cohort.sources.headers.FACTS`)."""
    if isinstance(source, DicomCohort):
        return source.headers or [{} for _ in source.rows]
    if isinstance(source, BidsDataset | FolderCohort):
        files = [source.images.get(str(row[ID])) for row in source.rows]
        return [of_sidecar(file) if file else {} for file in files]
    return [{} for _ in source.rows]


def facts_of(source: Source) -> list[Row]:
    """All that an expression may ask of each person: the headers, and over them the table's and the reports' columns."""
    return [{**header, **row} for header, row in zip(header_rows(source), source.rows, strict=True)]


def selected(source: Source, wanted: Wanted) -> SelectedCohort:
    """The part of a cohort that is wanted. Raises :class:`FilterError` for an expression that cannot be read, a column that is not
    there or may not be stored, and where nobody fits."""
    facts = facts_of(source)
    selection = select(facts, wanted.where)
    if not selection.count:
        raise FilterError(f"nobody fits {wanted.where!r} ({'; '.join(selection.lines()[1:])}); loosen it")
    names = dict.fromkeys(name for row in facts for name in row)
    for name in wanted.columns:
        if name not in names:
            raise FilterError(f"there is no column {name!r}; the columns are {', '.join(n for n in names if n != ID)}")
        if name in FACTS and not FACTS[name].stored and all(name not in row for row in source.rows):
            raise FilterError(
                f"{name} is free text, which may name somebody, so it cannot be stored; filter by it instead"
            )
    kept = tuple(i for i, taken in enumerate(selection.taken) if taken)
    table = dict.fromkeys(name for row in source.rows for name in row)
    columns = dict.fromkeys([ID, *wanted.columns]) if wanted.columns else table
    rows: list[Row] = [{name: facts[i].get(name) for name in columns} for i in kept]
    here = {str(source.rows[i][ID]) for i in kept}
    others = frozenset(str(row[ID]) for row in source.rows) - here
    return SelectedCohort(base=source, kept=kept, rows=rows, wanted=wanted, selection=selection, others=others)
