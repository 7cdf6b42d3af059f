"""Which of several images of a person is taken: by the entities in their names, always the same one, and said.

BIDS names a file by entities (sub, ses, acq, ce, rec, run, echo, part, chunk; specification 1.10, appendix Entities). What is no
whole image of magnitudes is passed over; of the rest the lowest session, then without contrast agent, then the lowest run, then
the name with the fewest entities is taken. Numbers are compared as numbers: run-2 comes before run-10.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from engine.cohort.dictionary import in_words
from engine.cohort.sources.choosing import chooser
from engine.cohort.sources.delimited import TableError
from engine.cohort.sources.headers import described_in_sidecar, image_type, of_sidecar
from engine.cohort.sources.table import read_named
from engine.imaging.dicom.series import LONGEST_ECHO
from engine.imaging.dicom.words import PARTS as NO_MAGNITUDE
from engine.imaging.dicom.words import computes, is_map, plans
from engine.imaging.nifti import LABELS
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING, number_of
from engine.vocabulary.headings import ID
from engine.vocabulary.identifiers import tells_who

#: words in acq- of images that only place the next scan
SCOUTS = ("scout", "localizer", "localiser", "survey", "planning", "smartbrain")
#: spaces of labels that are an image's own, whatever they are called
OWN_SPACES = ("", "orig", "T1w", "individual", "native", "scanner")
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


#: the file of a data set that lists what is no part of it, as .gitignore does
IGNORED = ".bidsignore"
#: the column of ``sub-*_scans.tsv`` that names the scan, relative to the folder of the table
FILENAME = "filename"


def ignored_in(root: Path) -> GitIgnoreSpec:
    """What a data set says is no part of it; nothing where it says nothing, or what cannot be read."""
    file = root / IGNORED
    try:
        return GitIgnoreSpec.from_lines(file.read_text("utf-8").splitlines() if file.is_file() else [])
    except (OSError, ValueError):
        return GitIgnoreSpec.from_lines([])


def choose(
    folder: Path,
    suffix: str,
    series: str = "",
    *,
    ignored: GitIgnoreSpec | None = None,
    of: Path | None = None,
    session: str = "",
) -> Choice:
    """The image of this suffix in a person's folder, its sessions included, and of the ``series`` that is meant (a text in its name, or
    an expression over its sidecar), and of the ``session`` if one is. What is ``ignored``, by its path from the data set, is passed
    over; with ``of``, what is of another session, run, space or half than that image."""
    found = [p for pattern in ("anat", "ses-*/anat") for p in folder.glob(f"{pattern}/*_{suffix}.nii*")]
    files = [p for p in found if p.name.endswith((".nii", ".nii.gz")) and not p.name.startswith(".")]
    rules = ignored or GitIgnoreSpec.from_lines([])
    listed = {p for p in files if rules.match_file(p.relative_to(folder.parent))}
    faults = dict.fromkeys(listed, f"is listed in {IGNORED}")
    faults |= {
        p: fault
        for p in files
        if p not in listed
        and (fault := _fault(p, folder, suffix) or _other(p, of) or _not_meant(p, series) or _elsewhen(p, session))
    }
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


def _fault(file: Path, folder: Path, suffix: str) -> str:
    """Why a file in a person's folder is no image to be taken; "" where it is one."""
    said = entities(file)
    inner = file.relative_to(folder).parts[0]
    if folder.name.startswith("sub-") and "sub" in said and f"sub-{said['sub']}" != folder.name:
        return "is named after another person than its folder"
    if inner.startswith("ses-") and "ses" in said and f"ses-{said['ses']}" != inner:
        return "is named after another session than its folder"
    if not file.is_file():
        return "is a link to a file that was not fetched (git annex get)" if file.is_symlink() else "is no file"
    if said.get("part") in PARTS:
        return f"is a {said['part']} image"
    acquired = said.get("acq", "").casefold()
    if any(word in acquired for word in SCOUTS) or "loc" in re.split(r"\d+", acquired):
        return "is a scout"
    if "chunk" in said:
        return "is a part of an image"
    return _not_by_sidecar(file, suffix)


def _not_by_sidecar(file: Path, suffix: str) -> str:
    """Why an image is none of its suffix by what its sidecar says."""
    if suffix == LABELS:
        return ""
    words, (modality, part, description) = image_type(file), described_in_sidecar(file)
    if modality not in ("", "MR"):
        return "is no MR image, as its sidecar says"
    if plans(description):
        return "is a scout, as its sidecar says"
    words |= {part.upper()}
    if words & {*NO_MAGNITUDE}:
        return "is no image of magnitudes, as its sidecar says"
    if any(map(is_map, words - {""})) or ("DERIVED" in words and computes(description)):
        return "is a map computed from scans, as its sidecar says"
    echo = of_sidecar(file)["echo_time"] if suffix == "T1w" else None
    if isinstance(echo, float) and echo > LONGEST_ECHO:
        return f"has an echo time of {echo:g} ms in its sidecar, so it is not T1-weighted"
    return ""


def _other(file: Path, image: Path | None) -> str:
    """Whether a file is of another session or run than an image; a name that says neither may be of any."""
    mine, its = entities(file), entities(image) if image else {}
    if image and (space := mine.get("space", "")) not in (*OWN_SPACES, its.get("space", "")):
        return f"lies in another space ({space}) than the image"
    if image and (part := next((mine[key] for key in ("hemi", "label") if key in mine), "")):
        return f"is of {part} alone"
    apart = [key for key in ("ses", "run") if image and key in mine and mine[key] != its.get(key)]
    return f"is of another {'session' if apart[0] == 'ses' else 'run'} than the image" if apart else ""


def _elsewhen(file: Path, session: str) -> str:
    """Whether a file is of another session than the row of a person is."""
    said, meant = entities(file).get("ses", ""), session.removeprefix("ses-")
    return f"is not of the session of its row (ses-{meant})" if said and meant and said != meant else ""


def _not_meant(file: Path, series: str) -> str:
    chosen = chooser(series)
    if not isinstance(chosen, str):
        facts = {**of_sidecar(file), "image_type": " ".join(sorted(image_type(file))).casefold() or None}
        return "" if chosen([facts])[0] else "is not the one that is asked for"
    return "" if series.casefold() in file.name.casefold() else f"has no {series!r} in its name"


def _rank(file: Path) -> tuple[object, ...]:
    said = entities(file)
    order = (
        natural(said.get("ses", "")),
        "space" in said,
        "ce" in said,
        natural(said.get("run", "")),
        natural(said.get("echo", "")),
    )
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


def of_scan(folder: Path, image: Path) -> tuple[dict[str, str], list[str]]:
    """The cells of a person's table that are of one image, and what is said of a table that cannot be used.

    Taken are well-known columns and numbers; words are remarks, in which a name may stand, and when somebody was scanned
    (``acq_time``) never reaches a store.
    """
    cells: dict[str, str] = {}
    said = []
    for place in dict.fromkeys((folder, *_between(folder, image))):
        for file in sorted(place.glob("*_scans.tsv")):
            try:
                table = read_named(file, CATALOGUE, needed=False)
            except TableError as error:
                said.append(str(error))
                continue
            if FILENAME not in table.headings:
                said.append(f"{file.name} has no column {FILENAME}, so it was not read; add one")
                continue
            rows = [row for row in table.rows if (place / row[FILENAME].strip()) == image]
            if len(rows) > 1:
                said.append(f"{file.name} names {image.name} twice, so it was not read; leave one")
            elif rows:
                cells |= {
                    name: text
                    for name, text in in_words(rows[0], table.about).items()
                    if _kept(name, text, table.headings)
                }
    return cells, said


def _between(folder: Path, image: Path) -> list[Path]:
    """The folders from a person's to that of an image."""
    steps = image.parent.relative_to(folder).parts
    return [folder.joinpath(*steps[: i + 1]) for i in range(len(steps))]


def _kept(name: str, text: str, headings: Mapping[str, str]) -> bool:
    text = text.strip()
    if name in (ID, FILENAME) or text.casefold() in MISSING or tells_who(headings.get(name, name), [text]):
        return False
    return name in CATALOGUE or number_of(text) is not None
