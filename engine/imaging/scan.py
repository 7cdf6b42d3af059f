"""A scan wherever it is: a NIfTI file, a torso's pair of them, a folder, zip archive or DICOMDIR of DICOM files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from engine.imaging.dicom import Series, read_dixon, read_series
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

    Raises :class:`engine.imaging.volume.VolumeError` when a file is missing or cannot be read, or there is no such scan.
    """
    path = Path(path)
    if not is_dicom_source(path):
        return Series(volume=load_channels(path, channels), notes=())
    return read_dixon(path) if len(channels) > 1 else read_series(path, *channels)
