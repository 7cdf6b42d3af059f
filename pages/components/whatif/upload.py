"""A scan of the reader's own: checked, brought to the model's grid, its attributes read; kept in memory, never on disk."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import streamlit as st
from starlette.formparsers import MultiPartParser

from engine.imaging.cine.phases import FEWEST_PHASES, in_phases
from engine.imaging.cine.short_axis import check_short_axis
from engine.imaging.grid import phases_of
from engine.imaging.nifti import read_volume
from engine.imaging.pair import paired
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.refusal import Refusal
from engine.vocabulary.schema import Category, Cell, Number
from pages.components.parts.facts import refused
from pages.components.state.address import seen_range, tidy
from pages.components.state.generation import Report, engaged
from pages.components.state.person_table import capital, level
from pages.components.whatif.visit import visit

if TYPE_CHECKING:
    from engine.cohort.preprocess.preprocess import BrainMasker
    from engine.imaging.segmentation import Segmentation
    from engine.inference.generate import Model

#: MB of a file, which .streamlit/config.toml holds the server to
LIMIT_MB = 512
#: draws from which the attributes are read, and network evaluations of them together
DRAWS, STEPS = 24, 8

#: who a what-if can be of
SYNTHETIC, OWN = "Synthetic", "Scan of yours"

WAITING = (
    "Upload a scan on the left and press Read the scan. It is brought to the model's grid, its face is removed, and it is shown; "
    "then the model reads age, sex and size off it. You correct them and say what is to be otherwise."
)

File = tuple[str, bytes]


@dataclass(frozen=True, eq=False, kw_only=True)
class Scan:
    """An uploaded scan on the grid of the model with this ``digest``: its ``volume``, a ``key`` made of its voxels, ``notes``
    on how it was read, ``doubts`` that speak against it, what the model reads off it by column (nothing yet, at first), and its own
    ``mask`` of it where it knows masks."""

    volume: Volume
    key: str
    digest: str
    notes: tuple[str, ...]
    doubts: tuple[str, ...]
    columns: dict[str, dict[str, Any]] = field(default_factory=dict)
    mask: Segmentation | None = None


def upload_panel(model: Model) -> tuple[Scan | None, list[File]]:
    """The scan in use, or the files that are to be read because the button was pressed."""
    held_in_memory()
    state = st.session_state
    scan = visit().scan
    if scan is not None and scan.digest == model.digest:
        _in_use(scan)
        agreed = not scan.doubts or state.get("whatif.agreed", False)
        return (scan if agreed and scan.columns else None), []
    kinds, phases = phases_of(model.checkpoint.config.channels)
    pair = len(kinds) > 1
    what = "NIfTI file, or a DICOM series as zip"
    if pair:
        what = "Water and fat image, two NIfTI files, or a Dixon scan's DICOM as zip"
    elif phases > 1:
        what = "Short-axis cine: NIfTI of four axes, or its DICOM series as zip"
    chosen = st.file_uploader(
        what,
        ["nii", "gz", "zip"],
        accept_multiple_files=pair,
        key="whatif.files",
        help=f"Up to {LIMIT_MB} MB; crop or resample larger scans first. Kept in this session's memory only: a head's face is "
        "removed, of DICOM only pixels and geometry are read, and nothing is stored.",
    )
    files = [file for file in (chosen if isinstance(chosen, list) else [chosen]) if file is not None]
    few = len(files) < (2 if pair and not any(file.name.casefold().endswith(".zip") for file in files) else 1)
    st.button("Read the scan", disabled=few, width="stretch", on_click=lambda: state.update({"whatif press": True}))
    pressed = not few and state.pop("whatif press", False)  # pressed while a file was on its way: read when it is there
    st.caption("It stays in this session's memory, without name or face, and is gone when you close the page.")
    return None, [(file.name, file.getvalue()) for file in files] if pressed else []


def _in_use(scan: Scan) -> None:
    """What is said of the scan in use, and how to be rid of it."""
    grid = " x ".join(map(str, scan.volume.grid))
    st.caption(f":material/lock: Your scan is in use, on the model's grid of {grid} voxels. {' '.join(scan.notes)}")
    if scan.doubts:
        reasons = "".join(f"\n* {refused(doubt)}" for doubt in scan.doubts)
        st.warning(f"It does not look like the scans this model knows.{reasons}\n\nGive another scan, or:")
        st.checkbox("Use it all the same", key="whatif.agreed", help="What is drawn of it may mean nothing.")
    st.button("Forget this scan", on_click=forget, icon=":material/delete:", width="stretch")


def scan_in_use(model: Model) -> bool:
    """Does the page show a scan of the reader's?"""
    scan = visit().scan
    return st.session_state.get("whatif.source") == OWN and scan is not None and scan.digest == model.digest


def forget() -> None:
    """Remove the scan and everything that was drawn of it."""
    st.session_state.pop("whatif.agreed", None)
    visit().forget()


def admitted(model: Model, files: Sequence[File], report: Report) -> Scan:
    """The scan in the files, on the model's grid. It waits for nobody who draws: it is to be seen at once.

    Raises :class:`VolumeError`, a sentence that holds no file's name.
    """
    from engine.inference.intake import admit

    report(0.0, "Checking the file")
    try:
        scan, notes = read_files(files, model.checkpoint.config.channels)
        report(0.2, "Bringing the scan to the model's grid")
        volume, doubts = admit(model, scan, force=True, masker=_masker(report))
    except Refusal as error:
        raise VolumeError(capital(str(error))) from None
    key = hashlib.sha256(np.ascontiguousarray(volume.data).tobytes()).hexdigest()[:16]
    return Scan(volume=volume, key=key, digest=model.digest, notes=notes, doubts=tuple(doubts))


def looked_at(model: Model, scan: Scan, report: Report) -> Scan:
    """The ``scan`` with what the model reads off it, and its mask; waits for the model. Raises the engine's refusals."""
    from engine.inference.infer import infer, posterior
    from engine.inference.segment import segment

    def reading(share: float, text: str) -> None:
        report(0.3 + 0.7 * share, text)

    mask = None
    with engaged("Reading the attributes", reading) as progress:
        if model.has_mask:
            report(0.1, "Segmenting the scan")
            mask = segment(model, scan.volume)
        draws = infer(model, scan.volume, samples=DRAWS, steps=STEPS, progress=progress)
    return replace(scan, mask=mask, columns=posterior(model.schema, draws, {}))


def _masker(report: Report) -> BrainMasker:
    """The brain finder, said and stoppable before it begins."""

    from engine.cohort.preprocess.preprocess import deepbet_masker

    def find(head: Volume) -> np.ndarray:
        report(0.3, "Finding the brain and removing the face")
        found = deepbet_masker()(head)
        report(0.7, "Turning the head upright")
        return found

    return find


def likeliest(column: Number | Category, found: Mapping[str, Any]) -> tuple[Cell, str]:
    """The likeliest value of a column, and in words how sure the model is."""
    if isinstance(column, Category):
        name = found["likeliest"]
        return name, f"{level(column.name, name)} ({round(found['shares'][name] * DRAWS)} of {DRAWS} draws)"
    low, high = found["interval"]
    least, most = seen_range(column)
    value = tidy(column, min(most, max(least, found["median"])))
    return value, f"{value:g} ({low:.0f} to {high:.0f})"


def held_in_memory() -> None:
    """Let the server hold a file in memory while it arrives; it would put what exceeds 1 MB into a temporary file."""
    MultiPartParser.spool_max_size = 2 * LIMIT_MB * 2**20


def read_files(files: Sequence[File], channels: Sequence[str]) -> tuple[Volume, tuple[str, ...]]:
    """The scan that the files hold, read from their bytes, and notes on how; no refusal holds a file's name."""
    kinds, phases = phases_of(channels)
    if phases > 1:
        ((_, data),) = files
        return _read_cine(data, kinds[0], phases)
    if len(channels) == 1:
        ((_, data),) = files
        if data[:2] == b"PK":
            from engine.imaging.dicom import read_series

            series = read_series(data, channels[0])
            return series.volume, series.notes
        return read_volume(data, channels[0]), ()
    if len(files) == 1 and files[0][1][:2] == b"PK":
        from engine.imaging.dicom import read_dixon

        scan = read_dixon(files[0][1])
        return scan.volume, scan.notes
    found = []
    for channel in channels:
        named = [data for name, data in files if channel in name.lower()]
        if len(named) != 1:
            raise VolumeError(
                f"{len(named)} of the files have {channel!r} in their name; give one for each of {', '.join(channels)}"
            )
        found.append(read_volume(named[0], channel, name=f"the {channel} image"))
    return paired(*found), ()


def _read_cine(data: bytes, kind: str, phases: int) -> tuple[Volume, tuple[str, ...]]:
    """A short-axis cine in so many phases."""
    if data[:2] == b"PK":
        from engine.imaging.dicom.cine import read_cine

        series = read_cine(data, kind)
        cine, notes = series.volume, series.notes
    else:
        cine, notes = read_volume(data, kind, phases=FEWEST_PHASES), ()
        check_short_axis(cine)
    volume, said = in_phases(cine, phases)
    return volume, (*notes, *said)
