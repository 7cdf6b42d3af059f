"""A cohort's DICOM files as copies that name nobody, with a report of what was removed; whole or not at all."""

from __future__ import annotations

import json
import secrets
from collections import Counter
from collections.abc import Generator
from pathlib import Path
from typing import Any

from engine.imaging.dicom.deidentify import METHOD, OPTIONS, deidentified
from engine.imaging.dicom.files import DAMAGED, files, parsed
from engine.imaging.dicom.images import Fault, images_of
from engine.imaging.volume import VolumeError
from engine.storage.whole import refusing, whole_directory, write_text
from engine.vocabulary.refusal import RequestError

REPORT = "deidentified.json"


def deidentify(source: str | Path, out: str | Path) -> Generator[int, None, dict[str, Any]]:
    """Copies of the MR images at ``source`` in the new folder ``out``: ``sub-0001/0001.dcm``, in the order in which persons are
    met; yields how many files are done, returns the report, which is ``deidentified.json`` there too.

    Dates are shifted by a constant and unique identifiers remapped for each person, by a secret that nobody keeps. What is no MR image,
    and what has text burned into its pixels, is left out and counted by reason. Raises :class:`RequestError` when ``out`` exists or
    cannot be written, and :class:`VolumeError` where no image is left.
    """
    out, secret = Path(out), secrets.token_hex(32)
    if out.exists():
        raise RequestError(f"{out} exists already; choose a new folder")
    names: dict[str, str] = {}
    counts: Counter[str] = Counter()
    removed: Counter[str] = Counter()
    left: Counter[str] = Counter()
    with refusing(out, RequestError), whole_directory(out) as part:
        for _, data in files(Path(source)):
            if reason := _refused(data):
                left[reason] += 1
                continue
            number = _number(data)
            name = names.setdefault(number, f"sub-{len(names) + 1:04d}")
            try:
                made, gone = deidentified(data, name=name, secret=f"{secret} {number}")
            except VolumeError as error:
                left[str(error)] += 1
                continue
            counts[name] += 1
            removed += gone
            folder = part / name
            folder.mkdir(exist_ok=True)
            (folder / f"{counts[name]:04d}.dcm").write_bytes(made)
            yield sum(counts.values())
        if not counts:
            first = next(iter(left), "there are no DICOM files")
            raise VolumeError(f"no image is left to copy ({first}); give MR images")
        report = {
            "method": METHOD,
            "options": [meaning for _, meaning in OPTIONS],
            "persons": len(counts),
            "files": sum(counts.values()),
            "removed_or_replaced": dict(sorted(removed.items())),
            "left_out": dict(left),
        }
        write_text(part / REPORT, json.dumps(report, indent=1))
    return report


def _refused(data: bytes) -> str:
    """Why a file is not copied; "" where it is."""
    found = list(images_of(data, 0))
    faults = [one.reason for one in found if isinstance(one, Fault)]
    if faults:
        return faults[0]
    return "" if found else "a DICOM file that is no image was not copied; its text may name the person"


def _number(data: bytes) -> str:
    try:
        header = parsed(data, ["PatientID", "StudyInstanceUID"])
    except DAMAGED:
        return ""
    return str(header.get("PatientID") or "").strip() or str(header.get("StudyInstanceUID", ""))
