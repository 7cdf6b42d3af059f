"""A cohort's DICOM files, or BIDS data set, as copies that name nobody, with a report of what was removed; whole or not at all."""

from __future__ import annotations

import json
import re
import secrets
from collections import Counter
from collections.abc import Generator
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

from engine.cohort.clean import clean_sidecar, clean_table
from engine.cohort.sources.bids_files import natural
from engine.cohort.sources.delimited import TableError
from engine.cohort.sources.dicom import table_beside
from engine.imaging.dicom.deidentify import METHOD, OPTIONS, deidentified, shift_of
from engine.imaging.dicom.files import DAMAGED, files, parsed, quiet
from engine.imaging.dicom.images import Fault, images_of
from engine.imaging.nifti import cleaned
from engine.imaging.volume import VolumeError
from engine.storage import strict_json
from engine.storage.whole import refusing, whole_directory, write_text
from engine.vocabulary.refusal import RequestError

REPORT = "deidentified.json"


#: what is said of a copied data set of heads
FACES = "faces are as they were: anybody may be known by one; ingest removes them from what it stores"
DESCRIPTION = {"Name": "De-identified copy", "BIDSVersion": "1.10.0", "DatasetType": "raw"}


def deidentify(source: str | Path, out: str | Path) -> Generator[int, None, dict[str, Any]]:
    """Copies of the MR images at ``source`` in the new folder ``out``: ``sub-0001/0001.dcm``, in the order in which persons are
    met, and the table beside them; of a BIDS data set its scans, sidecars and tables. Yields how many files are done, returns the
    report, which is ``deidentified.json`` there too.

    Dates are shifted by a constant and unique identifiers remapped for each person, by a secret that nobody keeps. What is no MR image,
    and what has text burned into its pixels, is left out and counted by reason. Raises :class:`RequestError` when ``out`` exists or
    cannot be written, and :class:`VolumeError` where no image is left.
    """
    source, out = Path(source), Path(out)
    if out.exists():
        raise RequestError(f"{out} exists already; choose a new folder")
    done = _Done(secret=secrets.token_hex(32))
    bids = (source / "dataset_description.json").is_file()
    with refusing(out, RequestError), whole_directory(out) as part:
        yield from _copied_bids(source, part, done) if bids else _copied(source, part, done)
        if not done.files:
            first = next(iter(done.left), "there are no DICOM files")
            raise VolumeError(f"no image is left to copy ({first}); give MR images")
        report = {
            "method": METHOD,
            "options": [meaning for _, meaning in OPTIONS],
            "persons": len(done.files),
            "files": sum(done.files.values()),
            "removed_or_replaced": dict(sorted(done.removed.items())),
            "left_out": dict(done.left),
            **({"not_done": FACES} if bids else {}),
        }
        write_text(part / REPORT, json.dumps(report, indent=1))
    return report


@dataclass(kw_only=True)
class _Done:
    """What was copied: ``names`` by number, ``files`` by name; what was ``removed``, by keyword, and ``left`` out, by reason."""

    secret: str
    names: dict[str, str] = field(default_factory=dict)
    files: Counter[str] = field(default_factory=Counter)
    removed: Counter[str] = field(default_factory=Counter)
    left: Counter[str] = field(default_factory=Counter)

    def of(self, number: str) -> str:
        """The secret of a person."""
        return f"{self.secret} {number}"

    def shift(self, number: str) -> timedelta:
        return shift_of(self.of(number))


def _copied(source: Path, part: Path, done: _Done) -> Generator[int, None, None]:
    """DICOM files, and the table beside them."""
    for _, data in files(source):
        if reason := _refused(data):
            done.left[reason] += 1
            continue
        number = _number(data)
        name = done.names.setdefault(number, f"sub-{len(done.names) + 1:04d}")
        try:
            made, gone = deidentified(data, name=name, secret=done.of(number))
        except VolumeError as error:
            done.left[str(error)] += 1
            continue
        done.files[name] += 1
        done.removed += gone
        folder = part / name
        folder.mkdir(exist_ok=True)
        (folder / f"{done.files[name]:04d}.dcm").write_bytes(made)
        yield sum(done.files.values())
    if (table := table_beside(source)) is not None:
        _table(table, part / "participants.tsv", done)


def _copied_bids(root: Path, part: Path, done: _Done) -> Generator[int, None, None]:
    """The scans of a BIDS data set, their sidecars and tables; all else, derivatives too, is left out."""
    folders = sorted((p for p in root.glob("sub-*") if p.is_dir()), key=lambda p: natural(p.name))
    done.names.update({folder.name: f"sub-{i:04d}" for i, folder in enumerate(folders, 1)})
    write_text(part / "dataset_description.json", json.dumps(DESCRIPTION))
    for folder in folders:
        for path in sorted(p for p in folder.rglob("*") if p.is_file()):
            copied = _copied_file(path, root, part, folder.name, done)
            done.files[done.names[folder.name]] += copied
            if copied:
                yield sum(done.files.values())
    done.files = +done.files
    others = sum(p.is_file() for p in root.rglob("*") if not p.relative_to(root).parts[0].startswith("sub-"))
    if (table := root / "participants.tsv").is_file():
        _table(table, part / "participants.tsv", done)
        others -= 1
    if others > 1:  # one is the description
        done.left["files beside the folders of persons (derivatives, code, texts) were not copied"] += others - 1


def _copied_file(path: Path, root: Path, part: Path, person: str, done: _Done) -> bool:
    """Copy a file of a person, cleaned; whether it is a scan."""
    name = done.names[person]
    inner = Path(
        *(re.sub(rf"^{re.escape(person)}(?![A-Za-z0-9])", name, step) for step in path.relative_to(root).parts)
    )
    target = part / inner
    target.parent.mkdir(parents=True, exist_ok=True)
    if path.name.endswith("_scans.tsv") or path.name.endswith("_sessions.tsv"):
        _table(path, target, done, person)
    elif path.name.endswith((".nii", ".nii.gz")):
        try:
            data = cleaned(path.read_bytes())
        except VolumeError as error:
            done.left[str(error)] += 1
            return False
        target.with_name(target.name.removesuffix(".gz") + ".gz").write_bytes(data)
        return True
    elif path.suffix == ".json":
        try:
            said = strict_json.parse(path.read_text("utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            said = None
        if isinstance(said, dict):
            kept, gone = clean_sidecar(said)
            done.removed += gone
            write_text(target, json.dumps(kept, indent=1))
        else:
            done.left["a sidecar that cannot be read was not copied"] += 1
    else:
        done.left["files of persons that are no scan, sidecar or table were not copied"] += 1
    return False


def _table(path: Path, target: Path, done: _Done, person: str = "") -> None:
    """A table beside the images, cleaned."""
    try:
        text, _, gone = clean_table(path, done.names, done.shift, person=person)
    except (TableError, OSError) as error:
        done.left[f"a table was not copied ({type(error).__name__}); mend it"] += 1
        return
    done.removed += gone
    write_text(target, text)


def _refused(data: bytes) -> str:
    """Why a file is not copied; "" where it is."""
    found = list(images_of(data, 0))
    faults = [one.reason for one in found if isinstance(one, Fault)]
    if faults:
        return faults[0]
    return "" if found else "a DICOM file that is no image was not copied; its text may name the person"


def _number(data: bytes) -> str:
    try:
        with quiet():
            header = parsed(data, ["PatientID", "StudyInstanceUID"])
            return str(header.get("PatientID") or "").strip() or str(header.get("StudyInstanceUID", ""))
    except DAMAGED:
        return ""
