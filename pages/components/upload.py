"""A scan of the reader's own: checked, brought to the model's grid, its attributes read; kept in memory, never on disk."""

from __future__ import annotations

import gzip
import hashlib
import importlib
import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import nibabel as nib
import numpy as np
import streamlit as st
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from engine.imaging.volume import Volume, VolumeError
from pages.components.generation import Report
from pages.components.whatif.model import engaged

#: MB of a file, which .streamlit/config.toml holds the server to, and bytes of what it unpacks to, at most
LIMIT_MB, UNPACKED = 512, 2**30
#: bytes that hold the header of any NIfTI file
HEADER = 544
#: draws from which the attributes are read, and network evaluations of them together
DRAWS, STEPS = 24, 8
#: what a file may be instead, by how it begins
STRANGERS = {b"%PDF": "a PDF", b"\x89PNG": "a picture", b"\xff\xd8\xff": "a picture", b"Rar!": "a RAR archive"}
REMEDY = "upload a NIfTI file (.nii or .nii.gz), or a DICOM series as a zip archive"

WAITING = (
    "Upload a scan on the left and press Read the scan. It is brought to the model's grid, its face is removed, "
    "and the model reads age, sex and size off it; you correct them and say what is to be otherwise."
)

File = tuple[str, bytes]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scan:
    """An uploaded scan on the grid of the model with this ``digest``: its ``volume``, a ``key`` made of its voxels, ``notes``
    on how it was read, ``doubts`` that speak against it, and what the model reads off it by column."""

    volume: Volume
    key: str
    digest: str
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    columns: dict[str, dict[str, Any]]


def upload_panel(model: Any) -> tuple[Scan | None, list[File]]:
    """The scan in use, or the files that are to be read because the button was pressed."""
    state = st.session_state
    scan: Scan | None = state.get("whatif scan")
    if scan is not None and scan.digest == model.digest:
        _in_use(scan)
        agreed = not scan.doubts or state.get("whatif.agreed", False)
        return (scan if agreed else None), []
    pair = len(model.checkpoint.config.channels) > 1
    what = "Water and fat image, two NIfTI files" if pair else "NIfTI file, or a DICOM series as zip"
    chosen = st.file_uploader(
        what,
        ["nii", "gz", "zip"],
        accept_multiple_files=pair,
        key="whatif.files",
        help=f"Up to {LIMIT_MB} MB; crop or resample larger scans first. Kept in this session's memory only: a head's face is "
        "removed, of DICOM only pixels and geometry are read, and nothing is stored.",
    )
    files = [file for file in (chosen if isinstance(chosen, list) else [chosen]) if file is not None]
    few = len(files) < (2 if pair else 1)
    st.button("Read the scan", disabled=few, width="stretch", on_click=lambda: state.update({"whatif press": True}))
    pressed = not few and state.pop("whatif press", False)  # pressed while a file was on its way: read when it is there
    st.caption("It stays in this session's memory, without name or face, and is gone when you close the page.")
    return None, [(file.name, file.getvalue()) for file in files] if pressed else []


def _in_use(scan: Scan) -> None:
    """What is said of the scan in use, and how to be rid of it."""
    grid = " x ".join(map(str, scan.volume.grid))
    st.caption(f":material/lock: Your scan is in use, on the model's grid of {grid} voxels. {' '.join(scan.notes)}")
    if scan.doubts:
        reasons = "".join(f"\n* {doubt}" for doubt in scan.doubts)
        st.warning(f"It does not look like the scans this model knows.{reasons}\n\nGive another scan, or:")
        st.checkbox("Use it all the same", key="whatif.agreed", help="What is drawn of it may mean nothing.")
    st.button("Forget this scan", on_click=forget, icon=":material/delete:", width="stretch")


def forget() -> None:
    """Remove the scan and everything that was drawn of it."""
    state = st.session_state
    for name in ("whatif scan", "whatif.agreed", "whatif shown", "whatif wanted", "whatif sweep", "whatif grid"):
        state.pop(name, None)
    answers = state.get("whatif answers", {})
    for key in [key for key in answers if key[0].scan]:
        del answers[key]


def admitted(model: Any, files: Sequence[File], report: Report) -> Scan:
    """The scan in the files, on the model's grid, and what the model reads off it.

    Raises :class:`VolumeError` or :class:`engine.vocabulary.refusal.RequestError`, sentences that hold no file's name.
    """
    report(0.0, "Checking the file")
    with TemporaryDirectory() as folder:
        path, notes = _laid_out(Path(folder), files, model.checkpoint.config.channels)
        with engaged(
            model, STEPS, "Reading the attributes", lambda share, text: report(0.4 + 0.6 * share, text)
        ) as lent:
            report(0.05, "Bringing the scan to the model's grid")
            try:
                intake = importlib.import_module("engine.inference.intake")
                volume, doubts = intake.admit(lent, path, force=True, masker=_masker(report))
            except ValueError as error:
                raise VolumeError(_nameless(str(error), path)) from None
            draws = infer_module().infer(lent, volume, samples=DRAWS, steps=STEPS)
    columns = infer_module().posterior(model.schema, draws, {})
    key = hashlib.sha256(np.ascontiguousarray(volume.data).tobytes()).hexdigest()[:16]
    return Scan(volume=volume, key=key, digest=model.digest, notes=notes, doubts=tuple(doubts), columns=columns)


def infer_module() -> Any:
    return importlib.import_module("engine.inference.infer")


def _masker(report: Report) -> Any:
    """The brain finder, said and stoppable before it begins."""

    def find(head: Volume) -> np.ndarray:
        report(0.1, "Finding the brain and removing the face")
        found = importlib.import_module("engine.cohort.preprocess.preprocess").deepbet_masker()(head)
        report(0.3, "Turning the head upright")
        return found

    return find


def _nameless(sentence: str, path: Path) -> str:
    """The engine's sentence without the temporary file's name and place."""
    said = sentence.replace(str(path), path.name).replace(path.name, "the scan")
    return said[:1].upper() + said[1:]


def _laid_out(folder: Path, files: Sequence[File], channels: Sequence[str]) -> tuple[Path, tuple[str, ...]]:
    """The files in a folder as the engine expects them, under names of ours; the path to give, and notes."""
    if len(channels) == 1:
        ((_, data),) = files
        if data[:2] == b"PK":
            series = importlib.import_module("engine.imaging.dicom").read_series(data, channels[0])
            (folder / "scan.nii").write_bytes(series.volume.to_nifti().to_bytes())
            return folder / "scan.nii", series.notes
        (folder / "scan.nii").write_bytes(nifti_bytes(data))
        return folder / "scan.nii", ()
    for channel in channels:
        named = [data for name, data in files if channel in name.lower()]
        if len(named) != 1:
            raise VolumeError(
                f"{len(named)} of the files have {channel!r} in their name; give one for each of {', '.join(channels)}"
            )
        (folder / f"scan_{channel}.nii").write_bytes(nifti_bytes(named[0]))
    return folder / f"scan_{channels[0]}.nii", ()


def nifti_bytes(data: bytes) -> bytes:
    """A NIfTI file unpacked, only as far as its header says it goes.

    Raises :class:`VolumeError` for what is no NIfTI file, cut off, or would unpack to more than :data:`UNPACKED`.
    """
    packed = data[:2] == b"\x1f\x8b"
    try:
        with gzip.open(BytesIO(data)) if packed else BytesIO(data) as stream:
            head = stream.read(HEADER)
            size = _size(head)
            if size > UNPACKED:
                raise VolumeError(
                    f"the scan unpacks to {size / 2**20:.0f} MB, {UNPACKED / 2**20:.0f} MB are the most; resample it"
                )
            whole = head + stream.read(max(0, size - len(head)))
    except (EOFError, zlib.error, OSError):
        raise VolumeError("the file is cut off or damaged; copy or export it again") from None
    if len(whole) < size:
        raise VolumeError(f"the file is cut off: {len(whole)} of {size} bytes are there; copy or export it again")
    return whole


def _size(head: bytes) -> int:
    """The length in bytes of the NIfTI file that begins with ``head``."""
    for kind, magic in ((nib.Nifti1Header, head[344:348]), (nib.Nifti2Header, head[4:8])):
        if magic.startswith(b"n+"):
            try:
                header: Any = kind.from_fileobj(BytesIO(head))
                shape, bits = header.get_data_shape(), int(header["bitpix"])
                return int(header["vox_offset"]) + math.prod(int(n) for n in shape) * bits // 8
            except (HeaderDataError, WrapStructError, ValueError):
                break
    if head[128:132] == b"DICM":
        raise VolumeError("this is a single DICOM file; pack the whole series into a zip archive")
    what = next((words for magic, words in STRANGERS.items() if head.startswith(magic)), "something else")
    raise VolumeError(f"this is no NIfTI file but {what}, whatever its name says; {REMEDY}")
