"""Synthetic persons as a BIDS 1.10 data set (Brain Imaging Data Structure), whole or not at all."""

from __future__ import annotations

import csv
import errno
import json
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from engine.cohort.sources.bids import BidsError
from engine.imaging.grid import cycle_by
from engine.imaging.volume import Volume
from engine.storage.ranks import SINGLE, Ranks, shared_directory
from engine.vocabulary.catalogue import CATALOGUE

DESCRIPTION = "SYNTHETIC - not for diagnosis"
#: what participants.json says of the columns that come first
COLUMNS: dict[str, dict[str, Any]] = {
    name: CATALOGUE[name].bids() for name in ("age", "sex", "height", "weight", "bmi")
}


@runtime_checkable
class Person(Protocol):
    """What :func:`write_bids` needs of a person."""

    @property
    def scan(self) -> Volume | None: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...


def write_bids(
    out: str | Path,
    people: Iterable[Person],
    *,
    name: str,
    generated_by: Sequence[Mapping[str, Any]],
    licence: str,
    acknowledge: str = "",
    columns: Mapping[str, Mapping[str, Any]] | None = None,
    description: str = DESCRIPTION,
    save: Callable[[Path, str, Person], None] | None = None,
    also: Callable[[Path, str, Person], None] | None = None,
    number: Callable[[Any], int] | None = None,
    ranks: Ranks = SINGLE,
) -> Path:
    """Write ``people`` as a BIDS derivative and return its folder: whole or not at all.

    One NIfTI file per person and channel, ``sub-0001/anat/sub-0001_T1w.nii.gz`` with that ``description``, or what ``save``
    makes of the data set's folder, the subject's name and the person; ``also`` adds files of everybody;
    participants.tsv with age, sex, height, weight, bmi
    and then whatever else is known, missing cells as n/a. ``columns`` documents further columns in participants.json;
    ``generated_by`` is BIDS's GeneratedBy. Of several ``ranks`` each gives its own people, and by ``number`` which of all a
    person is, from 1. Raises :class:`BidsError` when ``out`` exists and is not empty, when nobody is
    given, or when the disk is full.
    """
    out = Path(out).absolute()
    with ranks.together():
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise BidsError(f"{out} exists and is not empty; choose another folder or empty it")
    about = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "License": licence,
        "GeneratedBy": [dict(entry) for entry in generated_by],
        **({"HowToAcknowledge": acknowledge} if acknowledge else {}),
    }
    try:
        with shared_directory(out, ranks) as part:
            write = save or partial(save_scan, description=description)
            with ranks.together():
                own: dict[int, dict[str, Any]] = {}
                for i, person in enumerate(people, 1):
                    place = number(person) if number else i
                    own[place] = _write_person(part, place, person, write, also)
            rows = [row for _, row in sorted((i, row) for found in ranks.gathered(own) for i, row in found.items())]
            if not rows:
                raise BidsError("no person was given to write; ask for one or more")
            if ranks.leads:
                _write_table(part, rows, {**COLUMNS, **(columns or {})})
                text = json.dumps(about, indent=2, ensure_ascii=False) + "\n"
                (part / "dataset_description.json").write_text(text, "utf-8")
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise BidsError(
            f"{out} cannot be written ({what}); nothing was kept, choose another folder or free some space"
        ) from None
    return out


def _write_person(
    root: Path,
    number: int,
    person: Person,
    save: Callable[[Path, str, Person], None],
    also: Callable[[Path, str, Person], None] | None,
) -> dict[str, Any]:
    subject = f"sub-{number:04d}"
    root.mkdir(parents=True, exist_ok=True)
    if person.scan is not None:
        save(root, subject, person)
    if also is not None:
        also(root, subject, person)
    return {"participant_id": subject, **{k: v for k, v in person.attributes.items() if k != "participant_id"}}


def save_scan(root: Path, subject: str, person: Person, description: str = DESCRIPTION) -> None:
    """The person's scan as one NIfTI file a channel in the data set at ``root``."""
    folder = root / subject / "anat"
    folder.mkdir(parents=True)
    for part in person.scan.apart() if person.scan is not None else ():
        stem = f"{subject}_{part.kinds[0]}"
        if part.phases > 1:
            part = replace(part, cycle=part.cycle or cycle_by(person.attributes.get("heart_rate")))
            (folder / f"{stem}.json").write_text(json.dumps(about_cine(part, description), indent=2) + "\n", "utf-8")
        part.save(folder / f"{stem}.nii.gz", description)


def about_cine(cine: Volume, description: str) -> dict[str, Any]:
    """The sidecar of a cine: how many phases its cycle has, and where that is known how long it lasts (s), when each phase begins (s)
    and the heart rate (1/min), by the names that BIDS and DICOM have for them."""
    said: dict[str, Any] = {"Description": description, "CardiacNumberOfImages": cine.phases}
    if cine.cycle is None:
        return said
    starts = [round(cine.cycle * phase / cine.phases, 6) for phase in range(cine.phases)]
    return said | {
        "NominalInterval": round(cine.cycle, 6),
        "HeartRate": round(60 / cine.cycle),
        "FrameTimesStart": starts,
    }


def _write_table(root: Path, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Mapping[str, Any]]) -> None:
    present = {key for row in rows for key in row}
    first = ["participant_id", *(c for c in COLUMNS if c in present)]
    header = first + [key for key in dict.fromkeys(k for row in rows for k in row) if key not in first]
    with (root / "participants.tsv").open("w", encoding="utf-8", newline="") as stream:
        table = csv.writer(stream, delimiter="\t", lineterminator="\n")
        table.writerow(header)
        table.writerows([cell_text(row.get(key)) for key in header] for row in rows)
    known = {key: dict(about[key]) for key in header if key in about}
    (root / "participants.json").write_text(json.dumps(known, indent=2, ensure_ascii=False) + "\n", "utf-8")


def cell_text(value: object) -> str:
    """A value as a TSV cell: n/a where missing, a whole number without its point, tabs and newlines as spaces.

    >>> [cell_text(v) for v in (None, 60.0, 171.25, float("nan"), "F")]
    ['n/a', '60', '171.25', 'n/a', 'F']
    """
    if isinstance(value, Real):
        number = float(value)
        if not math.isfinite(number):
            return "n/a"
        return str(int(number)) if number.is_integer() else repr(round(number, 6))
    if value is None:
        return "n/a"
    return " ".join(str(value).split()) or "n/a"
