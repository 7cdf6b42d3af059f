"""Tables, sidecars and NIfTI headers as copies that name nobody: what is kept is listed, all else goes.

Of a table stay well-known columns, numbers, and days, which are shifted by the same constant of each person as the dates in DICOM headers;
of a sidecar what :data:`engine.cohort.sources.headers.FACTS` may be stored of and other numbers; of a NIfTI header all but its texts.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from engine.cohort.sources.delimited import Cells, read_file
from engine.cohort.sources.headers import FACTS
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING, number_of
from engine.vocabulary.headings import ID, named
from engine.vocabulary.identifiers import identifying, tells_who

#: days as tables write them, and no other day by the same text; a time of day may follow
DAYS = ("%Y-%m-%d", "%Y/%m/%d", "%Y.%m.%d", "%d.%m.%Y", "%Y%m%d")
TIMES = ("", "%H:%M", "%H:%M:%S", "%H:%M:%S.%f", "%H%M%S")
#: digits from which on a whole number may be one of a register, where nearly every person has another
LONG, DISTINCT = 5, 0.9
#: columns that name other files of the data set, which are renamed with them
FILES = ("filename", "session_id")


def shifted(text: str, by: timedelta) -> str:
    """A day, or moment, moved ``by`` a constant, as ISO 8601 has it; n/a where it cannot be told which day it is.

    >>> shifted("31.1.1970", timedelta(days=-1)), shifted("1970-01-31T10:00:00", timedelta(days=1)), shifted("3/4/70", timedelta(1))
    ('1970-01-30', '1970-02-01T10:00:00', 'n/a')
    """
    day, _, rest = text.strip().replace("T", " ", 1).partition(" ")
    rest = rest.removesuffix("Z").strip()
    for form in DAYS:
        for after in TIMES:
            try:
                moment = datetime.strptime(f"{day} {rest}".strip(), f"{form} {after}".strip()) + by
            except (ValueError, OverflowError):
                continue
            return moment.isoformat(timespec="seconds") if rest else moment.date().isoformat()
    return "n/a"


def clean_table(
    path: Path, names: Mapping[str, str], shift: Callable[[str], timedelta], *, person: str = ""
) -> tuple[str, list[str], Counter[str]]:
    """A table of those in ``names`` (their ids to what they are called) as tab-separated text, its columns, and what went by reason.

    ``shift`` says by how much a person's days, by id, are moved; a table of one ``person`` needs no ids. Raises
    :class:`engine.cohort.sources.delimited.TableError` for a table that cannot be read.
    """
    cells = read_file(path)
    found, _ = named(cells.headings, (*CATALOGUE, ID))
    ids = next((text for text, one in found.items() if one.name == ID), None)
    gone: Counter[str] = Counter()
    kinds = {text: _kind(text, found[text].name, cells) for text in cells.headings if text != ids}
    for kind in kinds.values():
        gone[f"column of {kind}"] += kind not in ("", "days")
    kept = [text for text, kind in kinds.items() if kind in ("", "days")]
    lines = []
    for row in cells.rows:
        number = person or (row[ids].strip() if ids else "")
        key = next((one for one in (number, f"sub-{number}") if one in names), None)
        if key is None:
            gone["row of nobody who was copied"] += 1
            continue
        name, by = names[key], shift(key)
        written = [_written(row[text], kinds[text], by) for text in kept]
        lines.append([_renamed(cell, number, name) for cell in written] if person else [name, *written])
    heads = [*([] if person else [ID]), *kept]
    text = "".join("\t".join(line) + "\n" for line in [heads, *lines])
    return text, heads, +gone


def _kind(text: str, name: str, cells: Cells) -> str:
    """What a column holds, "" for what stays as it is, ``days`` for what is shifted."""
    known = [cell for row in cells.rows if (cell := row[text].strip()).casefold() not in MISSING]
    told = identifying(text)
    if told or name in CATALOGUE or name in FILES:
        return told
    if tells_who(text, known) == "dates":
        return "days"
    if not all(number_of(cell) is not None for cell in known):
        return "words"
    long = [cell for cell in known if cell.isdigit() and len(cell) >= LONG]
    registered = len(known) > 1 and len(long) == len(known) and len(set(known)) > DISTINCT * len(known)
    return "numbers of a register" if registered else ""


def _written(cell: str, kind: str, by: timedelta) -> str:
    text = " ".join(cell.split())
    if kind == "days":
        return shifted(text, by)
    return text if text else "n/a"


def _renamed(text: str, number: str, name: str) -> str:
    """A text in which a person's folder has the new name."""
    text = re.sub(rf"(?<![A-Za-z0-9])sub-{re.escape(number.removeprefix('sub-'))}(?![A-Za-z0-9])", name, text)
    return f"{text}.gz" if text.endswith(".nii") else text


def clean_sidecar(said: Mapping[str, Any]) -> tuple[dict[str, Any], Counter[str]]:
    """What may stay of a sidecar: how it was scanned, in coded words and numbers; and how many of each key went."""
    words = {fact.key for fact in FACTS.values() if fact.stored} | {"ImageType", "Modality"}
    kept = {key: value for key, value in said.items() if key in words or _number(key, value)}
    return kept, Counter({key: 1 for key in said if key not in kept})


def _number(key: str, value: Any) -> bool:
    """Whether a value is a number, or a list of numbers, that is of no day, number or serial."""
    if re.search(r"(?i)date|time$|uid|serial|number|patient|accession|birth|id$", key) and not key.endswith(
        ("EchoTime", "RepetitionTime", "InversionTime", "DwellTime", "EchoNumber", "ReadoutTime", "SliceTiming")
    ):
        return False
    values = value if isinstance(value, list) else [value]
    return bool(values) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in values)
