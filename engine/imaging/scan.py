"""A scan wherever it is: a NIfTI file, a torso's pair of them, a folder, zip archive or DICOMDIR of DICOM files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from engine.imaging.cine.phases import FEWEST_PHASES, in_phases
from engine.imaging.cine.short_axis import check_short_axis
from engine.imaging.dicom import Series, read_cine, read_dixon, read_series
from engine.imaging.grid import phases_of
from engine.imaging.nifti import load_volume
from engine.imaging.pair import load_channels

#: the start of a zip archive, and where a DICOM file says that it is one
ZIP, PREAMBLE, MAGIC = b"PK\3\4", 128, b"DICM"


def is_dicom_source(path: str | Path) -> bool:
    """Whether a path is a folder, a zip archive or a DICOM file (such as a DICOMDIR), by its first bytes."""
    path = Path(path)
    if path.is_dir():
        return True
    try:
        with path.open("rb") as file:
            head = file.read(PREAMBLE + len(MAGIC))
    except OSError:
        return False
    return head.startswith(ZIP) or head[PREAMBLE:] == MAGIC


def load_scan(path: str | Path, channels: Sequence[str]) -> Series:
    """The scan of these ``channels`` at ``path``, notes on how it was read, and of DICOM what its header says of the person.

    Where they are frames, phases of a cycle, it is a short-axis cine resampled to as many phases. Raises
    :class:`engine.imaging.volume.VolumeError` when a file is missing or cannot be read, or there is no such scan.
    """
    path = Path(path)
    kinds, phases = phases_of(channels)
    if phases > 1:
        return _load_cine(path, kinds, phases)
    if not is_dicom_source(path):
        return Series(volume=load_channels(path, channels), notes=())
    return read_dixon(path) if len(channels) > 1 else read_series(path, *channels)


def _load_cine(path: Path, kinds: Sequence[str], phases: int) -> Series:
    """A cine with its phases resampled."""
    (kind,) = kinds
    if is_dicom_source(path):
        read = read_cine(path, kind)
        name = "the series"
    else:
        name = path.name
        cine = load_volume(path, kind, phases=FEWEST_PHASES)
        check_short_axis(cine, name)
        unknown = "It does not say how long a cycle of its heart lasts."
        read = Series(volume=cine, notes=() if cine.cycle else (unknown,))
    volume, said = in_phases(read.volume, phases, name)
    return replace(read, volume=volume, notes=(*read.notes, *said))
