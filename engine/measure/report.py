"""What was measured on a scan as a DICOM-SR beside nothing else: no name, no date, and synthetic where the scan is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import nibabel as nib
from nibabel.filebasedimages import ImageFileError

from engine.imaging.dicom.files import DAMAGED, files, parsed
from engine.imaging.dicom_sr import write_sr
from engine.imaging.dicom_write import NOTICE, Copied
from engine.imaging.scan import is_dicom_source
from engine.storage.whole import refusing, whole_file
from engine.vocabulary.refusal import RequestError


@dataclass(frozen=True, kw_only=True)
class MeasuredScan(Copied):
    """A scan that was measured by the ruler ``checkpoint`` of this ``digest``."""

    notice = "MEASUREMENTS - not for diagnosis"

    @property
    def in_words(self) -> str:
        return f"{self.notice}. By Somatwin {version('somatwin')}, {self.checkpoint} ({self.digest})."


@dataclass(frozen=True, kw_only=True)
class MeasuredSynthetic(MeasuredScan):
    """The same of a scan of nobody."""

    notice, patient, synthetic = NOTICE, "SYNTHETIC^SOMATWIN", "YES"


def write_report(measured: Mapping[str, Any], folder: str | Path) -> Path:
    """What :func:`engine.measure.scan.measure_scan` found, as ``NAME_sr.dcm`` in the ``folder``, which is made where it is not there.

    Raises :class:`RequestError` where the file exists or cannot be written, and :class:`engine.imaging.volume.VolumeError` where
    nothing could be measured.
    """
    first = Path(measured["scan"][0])
    name = first.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".zip") or "scan"
    path = Path(folder) / f"{name}_sr.dcm"
    if path.exists():
        raise RequestError(f"{path} exists already; choose another folder for the reports")
    by = measured["measured_by"]
    kind = MeasuredSynthetic if is_synthetic(first) else MeasuredScan
    row = {key: one["value"] for key, one in measured["measures"].items()}
    units = {key: one["unit"] for key, one in measured["measures"].items()}
    data = write_sr(row, units, kind(scan=name, checkpoint=str(by["name"]), digest=str(by["weights"])))
    with refusing(path, RequestError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as part:
            part.write_bytes(data)
    return path


def is_synthetic(path: Path) -> bool:
    """Whether a scan says of itself that nobody was scanned: in a NIfTI file's description, or by DICOM's SyntheticData."""
    try:
        if is_dicom_source(path):
            _, data = next(iter(files(path)))
            return parsed(data, ["SyntheticData"]).get("SyntheticData") == "YES"
        header = nib.load(path).header
        return bytes(header["descrip"]).lower().startswith(b"synthetic")  # pyright: ignore[reportArgumentType, reportIndexIssue]
    except (*DAMAGED, StopIteration, ImageFileError):
        return False
