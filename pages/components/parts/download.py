"""What a reader takes away: scans as NIfTI or DICOM, surfaces, the table, and the facts beside them, each file marked as synthetic."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
from nibabel.nifti1 import Nifti1Extension

from engine.imaging.dicom_write import NOTICE, Origin, write_series
from engine.imaging.surface import Surface, to_stl
from pages.components.parts.frame import BANNER
from pages.components.parts.mask.edited import mask_files
from pages.components.state.address import Request
from pages.components.state.generation import Drawn

if TYPE_CHECKING:
    from engine.inference.generate import Person

#: the date of every file in a zip, the earliest it can hold: the same people make the same bytes
DATE = (1980, 1, 1, 0, 0, 0)
#: a person's named surfaces, RAS mm
Surfaces = Mapping[str, Surface]


def bundle(drawn: Drawn) -> bytes:
    """A zip with one ``.nii.gz`` a channel and one ``.json`` a person, and the mask where there is one; the same bytes for the same
    people.

    Each NIfTI file holds the facts, too, as a comment after its header."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for person in drawn.people:
            name, about = stem(drawn, person), json.dumps(facts(drawn, person), indent=2).encode()
            parts = person.volume.apart()
            for part in parts:
                image = part.to_nifti(mark(drawn, person))
                image.header.extensions.append(Nifti1Extension("comment", about))
                channel = "" if len(parts) == 1 else f"_{part.kinds[0]}"
                add_file(archive, f"{name}{channel}.nii.gz", gzip.compress(image.to_bytes(), 4, mtime=0))
            add_file(archive, f"{name}.json", about)
            for file, data in mask_files(person.mask, name).items() if person.mask else ():
                add_file(archive, file, data)
    return stream.getvalue()


def dicom_zip(drawn: Drawn) -> bytes:
    """A zip with a folder a person, in it a DICOM series a channel and the facts; the same bytes for the same people."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for person in drawn.people:
            origin = Origin(
                checkpoint=drawn.request.model,
                digest=drawn.digest,
                seed=person.seed,
                steps=drawn.request.steps,
                guidance=drawn.guidance,
                given=dict(drawn.request.given),
                attributes=person.attributes,
            )
            for name, data in write_series(person.volume, origin):
                add_file(archive, f"{stem(drawn, person)}/{name}", data)
            add_file(archive, f"{stem(drawn, person)}/facts.json", json.dumps(facts(drawn, person), indent=2).encode())
    return stream.getvalue()


def stl_zip(drawn: Drawn, people: Iterable[tuple[Person, Surfaces]]) -> bytes:
    """A zip with an ``.stl`` (mm, RAS+) for each surface of each person and the facts; the same bytes for the same surfaces."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for person, surfaces in people:
            name = stem(drawn, person)
            for part, surface in surfaces.items():
                file = f"{name}_{part.lower().replace(' ', '-')}.stl"
                add_file(archive, file, to_stl(surface, f"{mark(drawn, person)}; RAS mm"))
            add_file(archive, f"{name}.json", json.dumps(facts(drawn, person), indent=2).encode())
    return stream.getvalue()


def table_csv(
    request: Request, digest: str, names: Sequence[str], people: Iterable[tuple[int, Mapping[str, Any]]]
) -> bytes:
    """One row for each seed and its attributes (the columns ``names``), what it takes to draw them again in the first columns."""
    fixed = "; ".join(f"{name}={value}" for name, value in request.given)
    common = {"notice": BANNER, "model": request.model, "checkpoint": digest, "steps": request.steps}
    rows = [{**common, "given": fixed, "seed": seed, **attributes} for seed, attributes in people]
    stream = io.StringIO()
    pd.DataFrame(rows, columns=[*common, "given", "seed", *names]).to_csv(stream, index=False)
    return stream.getvalue().encode()


def add_file(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    """Add a file that has the same bytes in the archive whenever it is added."""
    entry = zipfile.ZipInfo(name, DATE)
    entry.compress_type = archive.compression
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def stem(drawn: Drawn, person: Person) -> str:
    """What the names of a person's files begin with."""
    name = f"{drawn.request.model}_seed-{person.seed}"
    if drawn.edit is None:
        return name
    return f"{name}_before" if person is drawn.people[0] else f"{name}_edited"


def mark(drawn: Drawn, person: Person) -> str:
    """What stands in the head of a file, 70 characters at most."""
    return f"{NOTICE}; seed {person.seed}; checkpoint {drawn.digest}"


def facts(drawn: Drawn, person: Person) -> dict[str, Any]:
    """Everything needed to draw this person again."""
    edit = {} if drawn.edit is None else {"edit": asdict(drawn.edit), "edited": person is not drawn.people[0]}
    return {
        "synthetic": True,
        "notice": "synthetic, not for diagnosis",
        "attributes": dict(person.attributes),
        "given": dict(drawn.request.given),
        "seed": person.seed,
        "steps": drawn.request.steps,
        "guidance": drawn.guidance,
        "model": drawn.request.model,
        "checkpoint_digest": drawn.digest,
        "licence": drawn.licence,
        **edit,
    }
