"""Which of several images of a person is taken: by the entities in their names, always the same one, and said.

BIDS names a file by entities (sub, ses, acq, ce, rec, run, echo, part, chunk; specification 1.10, appendix Entities). What is no
whole image of magnitudes is passed over; of the rest the lowest session, then without contrast agent, then the lowest run, then
the name with the fewest entities is taken. Numbers are compared as numbers: run-2 comes before run-10.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

#: words in acq- of images that only place the next scan
SCOUTS = ("scout", "localizer", "localiser", "survey", "loc", "planning", "smartbrain", "aascout")
#: values of part- that are no magnitude
PARTS = ("phase", "real", "imag")


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The ``file`` that is taken, None where none can be, and a sentence on it where there was a doubt ("" otherwise)."""

    file: Path | None
    note: str = ""

    @property
    def session(self) -> str:
        """The session that the file is of, such as ``ses-2``; "" where it has none."""
        found = entities(self.file).get("ses") if self.file else None
        return f"ses-{found}" if found else ""


def entities(file: Path) -> dict[str, str]:
    """The entities in a file's name.

    >>> entities(Path("sub-01_ses-2_run-10_T1w.nii.gz"))
    {'sub': '01', 'ses': '2', 'run': '10'}
    """
    parts = file.name.split(".")[0].split("_")
    return {key: value for part in parts if "-" in part for key, _, value in [part.partition("-")]}


def choose(folder: Path, suffix: str, series: str = "") -> Choice:
    """The image of this suffix in a person's folder, its sessions included, and with the text ``series`` in its name."""
    found = [p for pattern in ("anat", "ses-*/anat") for p in folder.glob(f"{pattern}/*_{suffix}.nii*")]
    files = [p for p in found if p.name.endswith((".nii", ".nii.gz")) and not p.name.startswith(".")]
    faults = {p: fault for p in files if (fault := _fault(p) or _not_meant(p, series))}
    usable = sorted((p for p in files if p not in faults), key=_rank)
    passed = "; ".join(f"{p.name} {fault}" for p, fault in sorted(faults.items()))
    if not usable:
        return Choice(file=None, note=passed and f"no {suffix} image was taken: {passed}")
    note = ""
    if len(usable) > 1:
        others = _listed(usable[1:])
        note = (
            f"{usable[0].name} was taken of {len(usable)} {suffix} images (the lowest session, then run), not {others}"
        )
    elif faults:
        note = f"{usable[0].name} was taken, and passed over: {passed}"
    return Choice(file=usable[0], note=note)


def _fault(file: Path) -> str:
    """Why a file is no image to be taken; "" where it is one."""
    said = entities(file)
    if not file.is_file():
        return "is a link to a file that was not fetched (git annex get)" if file.is_symlink() else "is no file"
    if said.get("part") in PARTS:
        return f"is a {said['part']} image"
    if any(word in re.split(r"\d+", said.get("acq", "").casefold()) for word in SCOUTS):
        return "is a scout"
    if "chunk" in said:
        return "is a part of an image"
    return ""


def _not_meant(file: Path, series: str) -> str:
    return "" if series.casefold() in file.name.casefold() else f"has no {series!r} in its name"


def _rank(file: Path) -> tuple[object, ...]:
    said = entities(file)
    order = (natural(said.get("ses", "")), "ce" in said, natural(said.get("run", "")), natural(said.get("echo", "")))
    return (*order, len(said), natural(file.name))


def natural(text: str) -> tuple[tuple[int, int, str], ...]:
    """A key by which numbers within words are compared as numbers.

    >>> sorted(["run-10", "run-2"], key=natural)
    ['run-2', 'run-10']
    """
    parts = re.split(r"(\d+)", text)
    return tuple((0, int(part), "") if part.isdecimal() else (1, 0, part) for part in parts if part)


def _listed(files: Sequence[Path], most: int = 3) -> str:
    names = [file.name for file in files[:most]]
    return ", ".join(names) + (f" and {len(files) - most} more" if len(files) > most else "")
