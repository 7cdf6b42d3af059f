"""BIDS 1.10 (Brain Imaging Data Structure) in and out: a cohort is read, synthetic persons are written."""

from __future__ import annotations

import csv
import errno
import json
import math
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from numbers import Real
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from engine.cohort.sources.table import codes, dictionary
from engine.imaging.volume import Volume
from engine.vocabulary.cells import Row, parse_rows
from engine.vocabulary.refusal import Refusal

DESCRIPTION = "SYNTHETIC - not for diagnosis"
COLUMNS: dict[str, dict[str, Any]] = {
    "age": {"Description": "age at scan", "Units": "years"},
    "sex": {"Description": "sex", "Levels": {"M": "male", "F": "female"}},
    "height": {"Description": "body height", "Units": "cm"},
    "weight": {"Description": "body weight", "Units": "kg"},
    "bmi": {"Description": "body mass index", "Units": "kg/m^2"},
}


class BidsError(Refusal):
    """A directory that is not a usable BIDS data set, or one that cannot be written."""


@dataclass(frozen=True, kw_only=True)
class BidsDataset:
    """A data set's table and files.

    ``images`` and ``labels`` map participant_id to a file; who has no image is not in ``images``.
    """

    root: Path
    description: dict[str, Any]
    rows: list[Row]
    images: dict[str, Path]
    labels: dict[str, Path] = field(default_factory=dict)
    flagged: list[dict[str, str]] = field(default_factory=list)


@runtime_checkable
class Person(Protocol):
    """What :func:`write_bids` needs of a person."""

    @property
    def scan(self) -> Volume | None: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...


def read_bids(root: str | Path, *, suffix: str = "T1w", labels_from: str | None = "dlmuse") -> BidsDataset:
    """The table and the files of a BIDS data set; no image is opened.

    ``suffix`` names the images, ``labels_from`` the folder under ``derivatives`` whose ``*_dseg`` files are labels.
    Raises :class:`BidsError` for a directory that is missing, not BIDS, or without a participants.tsv.
    """
    root = Path(root)
    if not root.is_dir():
        raise BidsError(f"{root} is not a directory; give the top folder of a BIDS data set")
    if not (root / "dataset_description.json").is_file():
        raise BidsError(
            f"{root} is not a BIDS data set, it has no dataset_description.json; give the folder that holds one"
        )
    description = _description(root / "dataset_description.json")
    about = codes(dictionary(root / "participants.json"))
    known = {name: said["Levels"] for name, said in COLUMNS.items() if "Levels" in said and name in about}
    rows, flagged = parse_rows(_cells(root), about, {name: tuple(levels) for name, levels in known.items()})
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for row in rows:
        name = str(row["participant_id"])
        if file := _first(root / name, suffix):
            images[name] = file
        if labels_from and (file := _first(root / "derivatives" / labels_from / name, "dseg")):
            labels[name] = file
    return BidsDataset(root=root, description=description, rows=rows, images=images, labels=labels, flagged=flagged)


def _description(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise BidsError(f"{file} cannot be read ({error}); mend or replace it") from None
    if not isinstance(content, dict) or "BIDSVersion" not in content:
        raise BidsError(f"{file} names no BIDSVersion, so this is not a BIDS data set; add one or give another folder")
    return content


def _cells(root: Path) -> list[dict[str, str]]:
    """The rows of participants.tsv as text, and a bare row for every sub-* folder that it does not name."""
    file = root / "participants.tsv"
    if not file.is_file():
        raise BidsError(
            f"{root} has no participants.tsv; add one with a participant_id column (and age, sex, height, weight)"
        )
    try:
        with file.open(encoding="utf-8-sig", newline="") as stream:
            reader = csv.DictReader(stream, delimiter="\t", restkey="", restval="")
            header = reader.fieldnames or []
            cells = [{k: v for k, v in row.items() if k} for row in reader]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BidsError(f"{file} cannot be read ({error}); save it as tab-separated UTF-8") from None
    if "participant_id" not in header:
        raise BidsError(f"{file} has no participant_id column; its header must be tab-separated and name one")
    for row in cells:
        name = (row["participant_id"] or "").strip()
        row["participant_id"] = name if name.startswith("sub-") else f"sub-{name}"
        if not row["participant_id"][4:].isalnum():
            raise BidsError(f"{file} has the participant_id {name!r}; use letters and digits, as in sub-0001")
    names = [row["participant_id"] for row in cells]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BidsError(f"{file} names {twice[0]} twice; give every person one row")
    unlisted = sorted(
        p.name for p in root.glob("sub-*") if p.is_dir() and p.name[4:].isalnum() and p.name not in set(names)
    )
    return cells + [{"participant_id": name} for name in unlisted]


def _first(folder: Path, suffix: str) -> Path | None:
    found = sorted(p for pattern in ("anat", "ses-*/anat") for p in folder.glob(f"{pattern}/*_{suffix}.nii*"))
    return next((p for p in found if p.name.endswith((".nii", ".nii.gz"))), None)


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
) -> Path:
    """Write ``people`` as a BIDS derivative and return its folder: whole or not at all.

    One NIfTI file per person and channel, ``sub-0001/anat/sub-0001_T1w.nii.gz`` with that ``description``, or what ``save``
    makes of the data set's folder, the subject's name and the person; participants.tsv with age, sex, height, weight, bmi
    and then whatever else is known, missing cells as n/a. ``columns`` documents further columns in participants.json;
    ``generated_by`` is BIDS's GeneratedBy. Raises :class:`BidsError` when ``out`` exists and is not empty, when nobody is
    given, or when the disk is full.
    """
    out = Path(out).absolute()
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise BidsError(f"{out} exists and is not empty; choose another folder or empty it")
    part = out.with_name(f".{out.name}.part")
    about = {
        "Name": name,
        "BIDSVersion": "1.10.0",
        "DatasetType": "derivative",
        "License": licence,
        "GeneratedBy": [dict(entry) for entry in generated_by],
        **({"HowToAcknowledge": acknowledge} if acknowledge else {}),
    }
    try:
        shutil.rmtree(part, ignore_errors=True)
        write = save or partial(_save_nifti, description)
        rows = [_write_person(part, i, person, write) for i, person in enumerate(people, 1)]
        if not rows:
            raise BidsError("no person was given to write; ask for one or more")
        _write_table(part, rows, {**COLUMNS, **(columns or {})})
        (part / "dataset_description.json").write_text(json.dumps(about, indent=2, ensure_ascii=False) + "\n", "utf-8")
        if out.exists():
            out.rmdir()
        os.replace(part, out)
    except OSError as error:
        what = "the disk is full" if error.errno == errno.ENOSPC else error.strerror or str(error)
        raise BidsError(
            f"{out} cannot be written ({what}); nothing was kept, choose another folder or free some space"
        ) from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return out


def _write_person(root: Path, number: int, person: Person, save: Callable[[Path, str, Person], None]) -> dict[str, Any]:
    subject = f"sub-{number:04d}"
    root.mkdir(parents=True, exist_ok=True)
    if person.scan is not None:
        save(root, subject, person)
    return {"participant_id": subject, **{k: v for k, v in person.attributes.items() if k != "participant_id"}}


def _save_nifti(description: str, root: Path, subject: str, person: Person) -> None:
    folder = root / subject / "anat"
    folder.mkdir(parents=True)
    for part in person.scan.apart() if person.scan is not None else ():
        part.save(folder / f"{subject}_{part.channels[0]}.nii.gz", description)


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
