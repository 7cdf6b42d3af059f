"""What a reader takes away: scans as NIfTI and the facts beside them, each file marked as synthetic."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from functools import partial
from typing import Any

import streamlit as st

from pages.components.generation import Drawn

DESCRIPTION = "SYNTHETIC - not for diagnosis"
#: the date of every file in a zip, the earliest it can hold: the same people make the same bytes
DATE = (1980, 1, 1, 0, 0, 0)


def download_button(drawn: Drawn) -> None:
    """Offer the people shown; the files are made when the button is pressed."""
    st.download_button(
        "Download",
        partial(bundle, drawn),
        f"somatwin_{drawn.request.model}_seed-{drawn.request.seed}.zip",
        "application/zip",
        on_click="ignore",
        icon=":material/download:",
        help="The scans as NIfTI, the tables and all settings as JSON. The page's address draws the same people.",
    )


def bundle(drawn: Drawn) -> bytes:
    """A zip with one ``.nii.gz`` and one ``.json`` a person, the same bytes for the same people."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_STORED) as archive:
        for person in drawn.people:
            name = f"{drawn.request.model}_seed-{person.seed}"
            image = person.volume.to_nifti(DESCRIPTION).to_bytes()
            add_file(archive, f"{name}.nii.gz", gzip.compress(image, 4, mtime=0))
            add_file(archive, f"{name}.json", json.dumps(facts(drawn, person), indent=2).encode())
    return stream.getvalue()


def add_file(archive: zipfile.ZipFile, name: str, data: bytes) -> None:
    entry = zipfile.ZipInfo(name, DATE)
    entry.external_attr = 0o644 << 16
    archive.writestr(entry, data)


def facts(drawn: Drawn, person: Any) -> dict[str, Any]:
    """Everything needed to draw this person again."""
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
    }
