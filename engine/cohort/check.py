"""What an ingest would take of a cohort, what it would leave, and why; nothing is written."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engine.cohort.filter import Selection
from engine.cohort.ingest import UNFORESEEN, cohort_at, unusable
from engine.cohort.preprocess.preprocess import PreprocessConfig
from engine.cohort.sources.opened import table_of
from engine.cohort.sources.proposal import TablePlan
from engine.cohort.sources.selected import SelectedCohort, Wanted
from engine.cohort.sources.source import Source
from engine.cohort.sources.table import proposed_plan
from engine.imaging.volume import Volume
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.headings import ID
from engine.vocabulary.refusal import Refusal

KINDS = {"BidsDataset": "a BIDS data set", "FolderCohort": "a table with NIfTI files", "DicomCohort": "DICOM files"}


@dataclass(frozen=True, kw_only=True)
class PersonCheck:
    """One person: the ``scan`` that would be taken, or the ``reason`` why none is; ``known`` are the columns with a cell."""

    participant_id: str
    scan: str = ""
    reason: str = ""
    known: tuple[str, ...] = ()

    @property
    def taken(self) -> bool:
        return not self.reason


@dataclass(frozen=True, kw_only=True)
class CohortCheck:
    """What an ingest would make of the cohort at ``source``, of a ``kind``: its ``persons``, what is said of cells and files
    (``notes``, {participant_id, reason}), and the ``plan`` for its table, read or proposed (None: no table), and the
    ``selection`` of those who fit what was asked for."""

    source: str
    kind: str
    persons: tuple[PersonCheck, ...]
    notes: tuple[dict[str, str], ...]
    plan: TablePlan | None
    selection: Selection | None = None

    def counts(self) -> dict[str, int]:
        """By column, how many of those taken have a cell in it."""
        taken = [person for person in self.persons if person.taken]
        names = dict.fromkeys(name for person in taken for name in person.known)
        return {name: sum(name in person.known for person in taken) for name in names}

    def to_json(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "source": self.source,
            "kind": self.kind,
            "taken": sum(person.taken for person in self.persons),
            "left_out": sum(not person.taken for person in self.persons),
            "persons": [
                {**asdict(person), "taken": person.taken, "known": list(person.known)} for person in self.persons
            ],
            "columns": self.counts(),
            "selection": asdict(self.selection) | {"count": self.selection.count} if self.selection else None,
            "notes": list(self.notes),
            "schema": self.plan.to_json() if self.plan else {},
            "questions": self.plan.questions if self.plan else [],
        }

    def lines(self) -> list[str]:
        """All of it, in words."""
        taken = [person for person in self.persons if person.taken]
        said = [f"{self.source} is {self.kind}; {len(taken)} of {len(self.persons)} persons would be taken"]
        said += [f"  {one.participant_id}: {one.scan}" for one in taken]
        said += [f"  {one.participant_id} would be left out: {one.reason}" for one in self.persons if not one.taken]
        said += [f"  {line}" for line in (self.selection.lines() if self.selection else [])]
        counts = self.counts()
        said += [f"  column {name}: known of {count} of {len(taken)}" for name, count in counts.items()]
        if self.plan:
            said += [f"  {_planned(heading, plan.to_json())}" for heading, plan in self.plan.columns.items()]
        said += [f"  {note[ID]}: {note['reason']}" for note in self.notes]
        said += [f"? {question}" for question in (self.plan.questions if self.plan else [])]
        return [*said, "Whether a brain is found in a scan shows only at the ingest itself; nothing was written."]


def _planned(heading: str, plan: dict[str, Any]) -> str:
    """One line on how a column is read."""
    name = "" if plan["Name"] == heading else f" as {plan['Name']}"
    if plan["Kind"] == "leave out":
        return f"{heading}: would be left out ({plan.get('Description', 'as the schema says')})"
    parts = [plan["Kind"]]
    if "Units" in plan:
        parts.append(f"in {plan['Units']}" if plan["Units"] != "?" else "in a unit that nobody says")
    if "Minimum" in plan or "Maximum" in plan:
        parts.append(f"from {plan.get('Minimum', '-'):} to {plan.get('Maximum', '-')}")
    if "Levels" in plan:
        parts.append(f"of {', '.join(plan['Levels'])}")
    if "Missing" in plan:
        parts.append(f"missing as {', '.join(plan['Missing'])}")
    if "Derived" in plan:
        parts.append(f"computed from {' and '.join(plan['Derived']['powers'])} where it is missing")
    return f"{heading}{name}: {', '.join(parts)}"


def check(
    source: str | Path | Source,
    config: PreprocessConfig,
    *,
    labels_from: str | None = "dlmuse",
    plan: TablePlan | None = None,
    wanted: Wanted | None = None,
) -> Generator[tuple[int, int], None, CohortCheck]:
    """Open every scan of a cohort as an ingest would, without looking for its brain; yields (done, total) persons.

    A ``plan`` says how the columns of the table are read; without one, what would be read is proposed. ``wanted`` says which
    persons, columns and series. Raises as :func:`engine.cohort.ingest.ingest` for a data set that is unusable as a whole.
    """
    data = cohort_at(source, config, labels_from, plan, wanted)
    base = data.base if isinstance(data, SelectedCohort) else data
    table = table_of(base)
    if plan is None and table is not None:
        plan = proposed_plan(table, CATALOGUE)
    persons = []
    for i, row in enumerate(data.rows):
        known = tuple(name for name, value in row.items() if name != ID and value is not None)
        scan, reason = "", ""
        try:
            scan = _described(data.scan(i)[0])
        except Refusal as error:
            reason = str(error)
        except UNFORESEEN as error:
            reason = unusable(error)
        persons.append(PersonCheck(participant_id=str(row[ID]), scan=scan, reason=reason, known=known))
        yield i + 1, len(data.rows)
    return CohortCheck(
        source=str(source) if isinstance(source, str | Path) else str(data.provenance().get("source_name", "")),
        kind=KINDS.get(type(base).__name__, "a cohort"),
        persons=tuple(persons),
        notes=tuple(data.flagged),
        plan=plan,
        selection=data.selection if isinstance(data, SelectedCohort) else None,
    )


def _described(volume: Volume) -> str:
    """A scan in words: its voxels and their size."""
    grid = " x ".join(map(str, volume.grid))
    spacing = " x ".join(f"{size:.3g}" for size in volume.spacing)
    return f"{grid} voxels of {spacing} mm"
