"""A cohort as a BIDS 1.10 data set (Brain Imaging Data Structure): its table, its scans and their labels."""

from __future__ import annotations

import csv
import json
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from typing import Any

from engine.cohort.sources.table import codes, dictionary
from engine.imaging.nifti import load_volume
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import parse_rows
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
        labels = load_volume(self.labels[name]) if name in self.labels else None
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
    known = {name: tuple(CATALOGUE[name].levels) for name in about if name in CATALOGUE and CATALOGUE[name].levels}
    rows, flagged = parse_rows(_cells(root), about, known)
    images: dict[str, Path] = {}
    labels: dict[str, Path] = {}
    for row in rows:
        name = str(row["participant_id"])
        if file := _first(root / name, suffix):
            images[name] = file
        if labels_from and (file := _first(root / "derivatives" / labels_from / name, "dseg")):
            labels[name] = file
    return BidsDataset(
        root=root, description=description, rows=rows, images=images, labels=labels, flagged=flagged, suffix=suffix
    )


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
