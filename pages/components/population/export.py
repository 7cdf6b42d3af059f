"""What is taken away of a cohort: the table at once, and the scans, drawn again from their seeds, as a BIDS folder in a zip."""

from __future__ import annotations

import json
import shutil
import threading
import time
import weakref
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from tempfile import mkdtemp
from typing import TYPE_CHECKING, Any

from engine.cohort.bids_write import write_bids
from engine.imaging.volume import Volume
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import Row
from pages.components.parts.download import add_file, table_csv
from pages.components.parts.frame import BANNER
from pages.components.population.work import BREATH, Cohort, drawn
from pages.components.state.generation import Report, time_left

if TYPE_CHECKING:
    from engine.inference.generate import Model

#: persons with scans in a zip, and bytes of it, at most
MOST_SCANS, MOST_BYTES = 200, 10**9
#: share of an export after which all are written, and the zip is made
WRITING = 0.95
SEED = {"seed": {"Description": "seed of the noise that this person was drawn from"}}


class ExportError(Refusal):
    """A cohort that is too large to be exported; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A person as they are written: ``attributes`` with the seed before them."""

    scan: Volume | None
    attributes: Row


@dataclass(frozen=True, eq=False, kw_only=True)
class Export:
    """A zip at ``path``, which goes when this goes; ``numbers`` are the persons of the ``cohort`` in it."""

    cohort: Cohort
    numbers: tuple[int, ...]
    path: Path

    def read(self) -> bytes:
        return self.path.read_bytes()

    def holds(self, cohort: Cohort, numbers: Sequence[int]) -> bool:
        """Is it of exactly these persons?"""
        return self.cohort.question == cohort.question and self.numbers == tuple(numbers)


def to_csv(cohort: Cohort, numbers: Sequence[int]) -> bytes:
    """One row a person of the cohort's ``numbers``, what it takes to draw them again in the first columns."""
    people = [(cohort.seed(i), cohort.rows[i]) for i in numbers]
    return table_csv(cohort.request, cohort.digest, cohort.schema.names, people)


def too_many(model: Model, numbers: Sequence[int]) -> str:
    """Why these persons cannot be zipped; empty when they can."""
    if not model.has_image or len(numbers) <= MOST_SCANS:
        return ""
    return (
        f"A BIDS zip takes {MOST_SCANS} persons at most, these are {len(numbers):,}: filter further, or take the table."
    )


def write_zip(
    model: Model,
    cohort: Cohort,
    numbers: Sequence[int],
    lock: threading.Lock,
    report: Report,
    most: int = MOST_BYTES,
) -> Export:
    """Draw the cohort's ``numbers`` again and write them as a BIDS data set into a zip in a temporary folder.

    One person is in memory at a time. Raises :class:`ExportError` above :data:`MOST_SCANS` persons or ``most`` bytes, and
    :class:`engine.cohort.sources.bids.BidsError` when the disk is full.
    """
    from engine.inference.export import further_columns

    if refusal := too_many(model, numbers):
        raise ExportError(refusal)
    folder = Path(mkdtemp(prefix="somatwin-"))
    found = Export(cohort=cohort, numbers=tuple(numbers), path=folder / "bids.zip")
    weakref.finalize(found, shutil.rmtree, folder, ignore_errors=True)
    root = folder / "bids"
    about = further_columns(model)
    subjects = _subjects(model, cohort, numbers, lock, report)
    write_bids(
        root,
        _small_enough(subjects, folder / ".bids.part", len(numbers), most),
        name=f"Synthetic persons drawn from {model.name}",
        generated_by=[origin(model, cohort, numbers)],
        licence=model.licence,
        acknowledge=str(model.checkpoint.config.provenance.get("acknowledgement", "")),
        columns={**SEED, **about},
    )
    _zip(root, found.path, model.name, report)
    return found


def origin(model: Model, cohort: Cohort, numbers: Sequence[int]) -> dict[str, Any]:
    """Everything needed to draw these persons again."""
    request = cohort.request
    how = {"given": dict(request.given), "steps": request.steps, "guidance": model.checkpoint.config.guidance}
    return {
        "Name": "Somatwin",
        "Version": version("somatwin"),
        "Description": f"{BANNER} Each person is drawn from the seed in participants.tsv.",
        "Checkpoint": {"Name": model.name, "Digest": cohort.digest},
        "Request": {**how, "device": model.device, "seeds": [cohort.seed(i) for i in numbers]},
    }


def _subjects(
    model: Model, cohort: Cohort, numbers: Sequence[int], lock: threading.Lock, report: Report
) -> Iterator[Subject]:
    """The persons, one after the other."""
    began, total = time.monotonic(), len(numbers)
    for done, i in enumerate(numbers):

        def progress(part: float, text: str, done: int = done) -> None:
            share = WRITING * (done + part) / total
            report(share, text + time_left(began, share))

        who = f"BIDS zip: person {done + 1:,} of {total:,}"
        first = {"seed": cohort.seed(i)}
        if not model.has_image:
            progress(0.0, who)
            yield Subject(scan=None, attributes={**first, **cohort.rows[i]})
            continue
        (person,) = drawn(model, cohort.person(i), lock, who, progress)
        yield Subject(scan=person.scan, attributes={**first, **person.attributes})
        time.sleep(BREATH)


def _small_enough(subjects: Iterator[Subject], part: Path, total: int, most: int) -> Iterator[Subject]:
    """The ``subjects``, as long as all ``total`` of them together will not be too large, judged by what of them is
    written into ``part`` already."""
    for done, subject in enumerate(subjects, 1):
        yield subject
        each = sum(file.stat().st_size for file in part.rglob("*.nii.gz")) / done
        if each * total > most:
            size = f"about {each * total / 1e6:,.0f} MB, more than {most / 1e6:,.0f} MB"
            raise ExportError(
                f"The zip would take {size}: filter down to {int(most / each)} persons, or take the table."
            )


def _zip(root: Path, path: Path, name: str, report: Report) -> None:
    """Move every file below ``root`` into a zip, uncompressed since the scans are compressed already."""
    about = json.loads((root / "dataset_description.json").read_text("utf-8"))["GeneratedBy"][0]["Description"]
    (root / "README").write_text(f"Persons who do not exist, drawn from {name} by Somatwin.\n\n{about}\n", "utf-8")
    files = sorted(file for file in root.rglob("*") if file.is_file())
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for done, file in enumerate(files):
            report(WRITING + (1 - WRITING) * done / len(files), "BIDS zip: packing")
            add_file(archive, file.relative_to(root).as_posix(), file.read_bytes())
            file.unlink()
