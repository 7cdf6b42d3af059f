"""DICOM files made for the tests, with a name in each that must not come out anywhere."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterable

import numpy as np
from pydicom.dataset import Dataset, FileDataset, FileMetaDataset
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid

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


def series(volume: Volume, scale: float = 1000.0, *, axcodes: str = "LPS") -> list[FileDataset]:
    """Slices of a volume of any orientation, its greys times ``scale``, as a scanner would write them: axial, or with columns, rows
    and slices along ``axcodes``."""
    turned = volume.reoriented(axcodes)
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


def enhanced(volume: Volume, scale: float = 1000.0, *, axcodes: str = "LPS", order: Iterable[int] = ()) -> FileDataset:
    """The same as one enhanced MR image, its frames in ``order`` (default: reversed), each with a rescale of its own."""
    flat = series(volume, scale, axcodes=axcodes)
    frames = [flat[k] for k in (order or reversed(range(len(flat))))]
    made = image(np.zeros((2, 2)), [0, 0, 0], [1, 0, 0, 0, 1, 0], [1, 1], flat[0].SeriesInstanceUID)
    for name in ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing"):
        delattr(made, name)
    made.SOPClassUID = made.file_meta.MediaStorageSOPClassUID = EnhancedMRImageStorage
    made.Rows, made.Columns, made.NumberOfFrames = frames[0].Rows, frames[0].Columns, len(frames)
    made.SharedFunctionalGroupsSequence = [Dataset()]
    shared = made.SharedFunctionalGroupsSequence[0]
    shared.PlaneOrientationSequence, shared.PixelMeasuresSequence = [Dataset()], [Dataset()]
    shared.PlaneOrientationSequence[0].ImageOrientationPatient = frames[0].ImageOrientationPatient
    shared.PixelMeasuresSequence[0].PixelSpacing = frames[0].PixelSpacing
    made.PerFrameFunctionalGroupsSequence = []
    pixels = []
    for k, frame in enumerate(frames):
        group = Dataset()
        group.PlanePositionSequence, group.PixelValueTransformationSequence = [Dataset()], [Dataset()]
        group.PlanePositionSequence[0].ImagePositionPatient = frame.ImagePositionPatient
        group.PixelValueTransformationSequence[0].RescaleSlope = 1 + k % 2
        group.PixelValueTransformationSequence[0].RescaleIntercept = 0
        group.MRImageFrameTypeSequence = [Dataset()]
        group.MRImageFrameTypeSequence[0].FrameType = ["ORIGINAL", "PRIMARY", "T1", "NONE"]
        group.MRImageFrameTypeSequence[0].ComplexImageComponent = "MAGNITUDE"
        made.PerFrameFunctionalGroupsSequence.append(group)
        pixels.append(frame.pixel_array // (1 + k % 2))
    made.PixelData = np.stack(pixels).astype(np.uint16).tobytes()
    return made
