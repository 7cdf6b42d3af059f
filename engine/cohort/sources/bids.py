"""A cohort as a BIDS 1.10 data set (Brain Imaging Data Structure): its table, its scans and their labels."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.cohort.dictionary import in_words
from engine.cohort.sources.bids_files import choose, ignored_in, of_scan
from engine.cohort.sources.delimited import TableError
from engine.cohort.sources.headers import sex_in_sidecar
from engine.cohort.sources.proposal import TablePlan
from engine.cohort.sources.reports import measured_in, merged, reports_beside
from engine.cohort.sources.table import NamedTable, read_named, typed_rows
from engine.imaging.nifti import LABELS, load_volume
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import MISSING
from engine.vocabulary.headings import ID, plain
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.row import Row


class BidsError(Refusal):
    """A directory that is not a usable BIDS data set, or one that cannot be written."""


@dataclass(frozen=True, kw_only=True)
class BidsDataset:
    """A data set's table and files, a :class:`engine.cohort.sources.source.Source`.

    ``images`` and ``labels`` map participant_id to a file; who has no image is not in ``images``. ``suffix`` is what the
    images' names end in, and their channel.
    """

    root: Path
    description: dict[str, Any]
    rows: list[Row]
    images: dict[str, Path]
    labels: dict[str, Path] = field(default_factory=dict)
    flagged: list[dict[str, str]] = field(default_factory=list)
    suffix: str = "T1w"

    def scan(self, i: int) -> tuple[Volume, Volume | None]:
        """The scan of row ``i``, and its labels where it has some; raises :class:`VolumeError` for one that has no image."""
        name = str(self.rows[i]["participant_id"])
        if name not in self.images:
            raise VolumeError(f"{name} has no {self.suffix} image; add {name}/anat/{name}_{self.suffix}.nii.gz")
        labels = load_volume(self.labels[name], LABELS) if name in self.labels else None
        return load_volume(self.images[name], self.suffix), labels

    def provenance(self) -> dict[str, Any]:
        """Name, licence and acknowledgement, as dataset_description.json gives them."""
        about = self.description
        return {
            "source_name": about.get("Name", self.root.name),
            "licence": about.get("License", "unknown"),
            "acknowledgement": about.get("HowToAcknowledge", ""),
            "source_datasets": about.get("SourceDatasets", []),
        }

    def digest(self) -> str:
        """A SHA-256 over every file's name, size and time of change, without reading any."""
        files = sorted([*self.images.items(), *self.labels.items()], key=lambda item: str(item[1]))
        facts = [(name, file.name, file.stat().st_size, file.stat().st_mtime_ns) for name, file in files]
        return sha256(json.dumps(facts).encode()).hexdigest()


def read_bids(
    root: str | Path,
    *,
    suffix: str = "T1w",
    labels_from: str | None = "dlmuse",
    plan: TablePlan | None = None,
    series: str = "",
) -> BidsDataset:
    """The table and the files of a BIDS data set; no image is opened.

    ``suffix`` names the images, ``labels_from`` the folder under ``derivatives`` whose ``*_dseg`` files are labels,
    ``plan`` how the columns of participants.tsv are read, ``series`` which images are meant (a text in their names, or an expression
    over their sidecars). What ``sub-*_scans.tsv`` says of the image that is taken goes before what others say of the person.
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
    table = _table(root, plan)
    cells, notes = _listed(root, table)
    ignored = ignored_in(root)
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    sexes: dict[str, str] = {}
    for row in cells:
        name = row[ID]
        choice = choose(root / name, suffix, series, ignored=ignored, session=_session(row))
        if choice.file:
            images[name] = choice.file
        if choice.note:
            notes.append({ID: name, "reason": choice.note})
        if choice.session:
            found, said = _of_session(root / name, choice.session, table.factors)
            row.update(found)
            notes += [{ID: name, "reason": reason} for reason in said]
        if choice.file:
            found, said = of_scan(root / name, choice.file)
            row.update(found)
            notes += [{ID: name, "reason": reason} for reason in said]
            sexes[name] = sex_in_sidecar(choice.file)
        if labels_from:
            derived = choose(root / "derivatives" / labels_from / name, "dseg", of=choice.file)
            labels |= {name: derived.file} if derived.file else {}
            notes += [{ID: name, "reason": derived.note}] if derived.note else []
    reports = {row[ID]: measured_in(reports_beside(root, row[ID])) for row in cells}
    notes += [{ID: name, "reason": reason} for name, (_, said) in reports.items() for reason in said]
    cells, more = merged(cells, {name: found for name, (found, _) in reports.items()})
    rows, flagged = typed_rows(cells, table)
    for row in rows:
        if (sex := sexes.get(str(row[ID]), "")) and row.get("sex") not in (None, sex):
            reason = (
                f"the table says sex {row['sex']} and the sidecar of the scan {sex}, which may be of another person"
            )
            flagged.append({ID: str(row[ID]), "reason": reason})
    return BidsDataset(
        root=root,
        description=description,
        rows=rows,
        images=images,
        labels=labels,
        flagged=[*notes, *more, *flagged],
        suffix=suffix,
    )


def _description(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text("utf-8-sig"))
    except (OSError, ValueError, RecursionError) as error:
        raise BidsError(f"{file} cannot be read ({error}); mend or replace it") from None
    if not isinstance(content, dict) or "BIDSVersion" not in content:
        raise BidsError(f"{file} names no BIDSVersion, so this is not a BIDS data set; add one or give another folder")
    return content


def _table(root: Path, plan: TablePlan | None) -> NamedTable:
    """participants.tsv, its well-known columns found and brought to their units."""
    file = root / "participants.tsv"
    if not file.is_file():
        raise BidsError(
            f"{root} has no participants.tsv; add one with a participant_id column (and age, sex, height, weight)"
        )
    try:
        table = read_named(file, CATALOGUE, needed=False, plan=plan, stored=True)
    except (TableError, OSError) as error:
        raise BidsError(f"{error}" if isinstance(error, TableError) else f"{file} cannot be read ({error})") from None
    if ID not in table.headings:
        raise BidsError(f"{file} has no participant_id column; its header must be tab-separated and name one")
    return table


def _listed(root: Path, table: NamedTable) -> tuple[list[dict[str, str]], list[dict[str, str]]]:
    """The rows of participants.tsv with their folders' names, and a bare row for every sub-* folder that it does not name; and
    what is to be said of them."""
    file = root / "participants.tsv"
    cells = [{**row, ID: _name(row[ID], file)} for row in table.rows]
    names = [row[ID] for row in cells]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise BidsError(f"{file} names {twice[0]} twice; give every person one row")
    folders = sorted(p.name for p in root.glob("sub-*") if p.is_dir() and p.name[4:].isalnum())
    unlisted = sorted(set(folders) - set(names))
    alike: dict[str, list[str]] = {}
    for name in sorted(set(names) - set(folders)):
        alike.setdefault(_core(name), []).append(name)
    notes = [{ID: "participants.tsv", "reason": note} for note in table.notes]
    for name in unlisted:
        reason = "this folder is not in participants.tsv, so nothing is known of the person"
        if meant := alike.get(_core(name)):
            reason += f"; the table has {', '.join(meant)}, which is another name: write it as the folder's"
        notes.append({ID: name, "reason": reason})
    return cells + [{ID: name} for name in unlisted], notes


def _name(text: str, file: Path) -> str:
    """A participant_id as the name of a folder."""
    bare = text[4:] if text.casefold().startswith("sub-") else text
    if not (bare.isalnum() and bare.isascii()):
        raise BidsError(f"{file} has the participant_id {text!r}; use letters and digits, as in sub-0001")
    return f"sub-{bare}"


def _core(name: str) -> str:
    """What is left of an id that spreadsheets change: no zeros in front, no letter case."""
    return re.sub(r"(?<!\d)0+(?=\d)", "", name.removeprefix("sub-").casefold())


def _session(row: dict[str, str]) -> str:
    """The session that a person's row is of, where it says so."""
    said = next((text.strip() for name, text in row.items() if plain(name) in ("session id", "session", "ses")), "")
    return "" if said.casefold() in MISSING else said


def _of_session(folder: Path, session: str, factors: Mapping[str, float]) -> tuple[dict[str, str], list[str]]:
    """The cells of a person at the session that the scan is of, where the data set has them (``sub-*_sessions.tsv``), and what is said.

    A number without a unit is left to participants.tsv where that counts it in another unit than its own (``factors``).
    """
    file = folder / f"{folder.name}_sessions.tsv"
    if not file.is_file():
        return {}, []
    try:
        table = read_named(file, CATALOGUE, needed=False)
    except TableError as error:
        raise BidsError(str(error)) from None
    for row in table.rows:
        said = row.get("session_id", "").strip()
        if (said if said.startswith("ses-") else f"ses-{said}") == session:
            found = {
                k: v for k, v in in_words(row, table.about).items() if k in CATALOGUE and v.casefold() not in MISSING
            }
            open_ = [k for k in found if factors.get(k, 1) != 1 and not table.about.get(k, {}).get("Units")]
            said_of = [
                f"{file.name} gives {k} without a unit, so it was not taken; write it into sessions.json" for k in open_
            ]
            return {k: v for k, v in found.items() if k not in open_}, said_of
    return {}, [f"{file.name} has no row for {session}, so participants.tsv was taken; add one"]
