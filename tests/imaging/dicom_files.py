"""DICOM files made for the tests, with a name in each that must not come out anywhere."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage, generate_uid

from engine.imaging.volume import Volume

NAME, BIRTH, HOSPITAL = "Doe^Jane", "19700131", "Saint Elsewhere"


def image(
    pixels: np.ndarray, position: Iterable[float], axes: Iterable[float], spacing: list[float], series: str
) -> FileDataset:
    """One slice, ``pixels`` (row, column) uint16, places in LPS mm."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = MRImageStorage, generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    made = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    made.SOPClassUID, made.SOPInstanceUID, made.SeriesInstanceUID = MRImageStorage, generate_uid(), series
    made.PatientName, made.PatientBirthDate, made.InstitutionName, made.Modality = NAME, BIRTH, HOSPITAL, "MR"
    made.ImagePositionPatient, made.ImageOrientationPatient = [float(f"{v:.6g}") for v in position], list(axes)
    made.PixelSpacing, made.Rows, made.Columns = spacing, *pixels.shape
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 0
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    made.PixelData = pixels.astype(np.uint16).tobytes()
    return made


def series(volume: Volume, scale: float = 1000.0) -> list[FileDataset]:
    """Axial slices of a volume of any orientation, its greys times ``scale``, as a scanner would write them."""
    turned = volume.reoriented("LPS")
    to_lps = np.diag([-1.0, -1, 1, 1]) @ turned.affine
    x, y, _ = turned.spacing
    axes, uid = [*(to_lps[:3, 0] / x), *(to_lps[:3, 1] / y)], generate_uid()
    return [
        image(np.rint(turned.data[:, :, k].T * scale), (to_lps @ [0, 0, k, 1])[:3], axes, [y, x], uid)
        for k in range(turned.grid[2])
    ]


def zipped(files: Iterable[FileDataset], more: dict[str, bytes] | None = None) -> bytes:
    """The files in an archive, in an order that says nothing, their names too."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for k, file in enumerate(sorted(files, key=lambda one: str(one.SOPInstanceUID)[::-1])):
            part = io.BytesIO()
            file.save_as(part, enforce_file_format=True)
            archive.writestr(f"Doe_Jane/IM{k:04d}", part.getvalue())
        for name, data in (more or {}).items():
            archive.writestr(name, data)
    return stream.getvalue()
