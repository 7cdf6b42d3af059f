"""A zipped DICOM series to a volume. Only pixels and geometry are read: who was scanned, when and where never enters memory.

Coordinates: DICOM's patient space is LPS+ mm, ours RAS+. With row r and column c of a slice at ImagePositionPatient P, and
ImageOrientationPatient (X, Y), a voxel lies at P + c dx X + r dy Y (PS3.3 C.7.6.2.1.1).
"""

from __future__ import annotations

import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom import dcmread
from pydicom.errors import InvalidDicomError

from engine.imaging.volume import Volume, VolumeError

#: files in an archive, and bytes of all of them unpacked, at most
MOST_FILES, MOST_BYTES = 4000, 2**30
#: the flag of a locked file in an archive (APPNOTE.TXT 4.4.4)
ENCRYPTED = 0x1
#: slices from which on a series is a volume
FEWEST = 8
#: steps between slices differ by this share of the usual one at most; from so many steps on one is missing
UNEVEN, MISSING = 0.1, 1.5
#: all that is read of a file: the grouping of images into series, geometry, and pixels
TAGS = [
    "ImageType",
    "SOPClassUID",
    "SeriesInstanceUID",
    "EchoTime",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "PixelSpacing",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "PixelData",
]
#: transfer syntaxes that hold pixels as they are: implicit and explicit little endian, explicit big endian
PLAIN = ("1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.2")
#: what pydicom raises for a file whose pixels or geometry it cannot make sense of
DAMAGED = (InvalidDicomError, AttributeError, KeyError, TypeError, ValueError, OverflowError, EOFError, RuntimeError)
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


@dataclass(frozen=True, eq=False, kw_only=True)
class Series:
    """A volume, float32 (x, y, z) turned to RAS+, and ``notes``: sentences on what was left out."""

    volume: Volume
    notes: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class _Slice:
    """One image: ``pixels`` (row, column), ``position`` (3,) and ``axes`` (2, 3) in LPS mm, ``spacing`` between rows and
    between columns in mm, and what it has in common with the rest of its series."""

    pixels: Float[np.ndarray, "r c"]
    position: np.ndarray
    axes: np.ndarray
    spacing: tuple[float, float]
    series: tuple[Any, ...]


def read_series(archive: str | Path | bytes, channel: str = "T1w") -> Series:
    """The largest series in a zip of DICOM files (or in its bytes), sorted by place, its rescale applied.

    Raises :class:`VolumeError` for what is no zip or damaged, unpacks to too much, is compressed, in colour or multi-frame,
    holds no series of :data:`FEWEST` slices, or one with slices missing, doubled or unevenly spaced. No message, and nothing
    that is returned, holds any text of the files.
    """
    try:
        with zipfile.ZipFile(BytesIO(archive) if isinstance(archive, bytes) else archive) as opened:
            slices = list(_slices(opened))
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError):
        raise VolumeError("the zip archive is damaged or incomplete; pack the series again") from None
    if not slices:
        raise VolumeError("the zip archive holds no DICOM image with a place in the patient; pack one series of slices")
    counts = Counter(one.series for one in slices)
    chosen, number = counts.most_common(1)[0]
    if number < FEWEST:
        raise VolumeError(f"the largest series has {number} slices, {FEWEST} are the least; pack the whole series")
    notes = ()
    if len(counts) > 1:
        notes = (f"The archive holds {len(counts)} series; the largest, of {number} slices, was taken.",)
    return Series(volume=_volume([one for one in slices if one.series == chosen], channel), notes=notes)


def _slices(archive: zipfile.ZipFile) -> Iterator[_Slice]:
    """The images of an archive; what is no DICOM file is passed over."""
    files = [entry for entry in archive.infolist() if not entry.is_dir()]
    if len(files) > MOST_FILES:
        raise VolumeError(f"the zip archive holds {len(files)} files, {MOST_FILES} are the most; pack one series only")
    if (size := sum(entry.file_size for entry in files)) > MOST_BYTES:
        raise VolumeError(
            f"the zip archive unpacks to {size / 2**20:.0f} MB, {MOST_BYTES / 2**20:.0f} MB are the most; pack one series"
        )
    if any(entry.flag_bits & ENCRYPTED for entry in files):
        raise VolumeError("the zip archive is locked with a password; pack the series without one")
    for entry in files:
        with archive.open(entry) as file:
            data = file.read(entry.file_size)
        if data[128:132] == b"DICM" and (found := _slice(BytesIO(data))):
            yield found


def _slice(file: BytesIO) -> _Slice | None:
    """One image; None where it has no place in the patient, such as a report."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a warning would quote the file
        try:
            image = dcmread(file, specific_tags=TAGS)
            if "PixelData" not in image or "ImagePositionPatient" not in image:
                return _refuse_frames(image)
            _refuse_pixels(image)
            slope, intercept = (
                float(image.get(tag, other)) for tag, other in (("RescaleSlope", 1), ("RescaleIntercept", 0))
            )
            axes = np.array(image.ImageOrientationPatient, float).reshape(2, 3)
            echo, kind = str(image.get("EchoTime", "")), tuple(map(str, image.get("ImageType", ())))
            rows, columns = (float(mm) for mm in image.PixelSpacing)
            pixels = image.pixel_array.astype(np.float32) * np.float32(slope) + np.float32(intercept)
            place = np.array(image.ImagePositionPatient, float)
            common = (str(image.get("SeriesInstanceUID", "")), kind, echo, pixels.shape, tuple(axes.round(3).ravel()))
        except VolumeError:
            raise
        except DAMAGED:
            raise VolumeError("a DICOM file is damaged or lacks its geometry; export the series again") from None
    if pixels.ndim != 2 or place.shape != (3,) or not np.isfinite([*place, *axes.ravel(), rows, columns]).all():
        raise VolumeError("a DICOM file is damaged or lacks its geometry; export the series again")
    return _Slice(pixels, place, axes, (rows, columns), common)


def _refuse_frames(image: Any) -> None:
    """A multi-frame image keeps its places elsewhere; anything else without a place is passed over."""
    if int(image.get("NumberOfFrames", 1) or 1) > 1:
        raise VolumeError("multi-frame DICOM is not read here; convert it to NIfTI, or export one file a slice")


def _refuse_pixels(image: Any) -> None:
    """Refuse what pixels cannot be taken from as they are."""
    if image.file_meta.get("TransferSyntaxUID") not in PLAIN:
        raise VolumeError(
            "the DICOM files are compressed; export them uncompressed (explicit little endian), or as NIfTI"
        )
    if image.get("SamplesPerPixel", 1) != 1:
        raise VolumeError("the DICOM files are in colour, so they are no scan; pack the series of the scan itself")
    _refuse_frames(image)


def _volume(slices: list[_Slice], channel: str) -> Volume:
    """Slices of one series, sorted along their normal, each step checked."""
    first = slices[0]
    normal = np.cross(*first.axes)
    slices = sorted(slices, key=lambda one: float(one.position @ normal))
    heights = np.array([one.position @ normal for one in slices])
    steps = np.diff(heights)
    usual = float(np.median(steps))
    if steps.min() < 0.01 * max(usual, 0.1):
        raise VolumeError("several images lie at the same place; pack one contrast of one series")
    if gaps := int((np.rint(steps / usual) - 1).clip(0)[steps > MISSING * usual].sum()):
        at = float(heights[int(steps.argmax())] - heights[0])
        raise VolumeError(
            f"{gaps} of {len(slices) + gaps} slices are missing, the first {at:.0f} mm into the series; pack all of them"
        )
    if np.abs(steps - usual).max() > UNEVEN * usual or len({one.spacing for one in slices}) > 1:
        raise VolumeError("the slices are unevenly spaced; export the series as it was scanned, or as NIfTI")
    (rows, columns), count = first.spacing, len(slices)
    ijk_to_lps = np.eye(4)
    ijk_to_lps[:3, 0], ijk_to_lps[:3, 1] = first.axes[0] * columns, first.axes[1] * rows
    ijk_to_lps[:3, 2] = (slices[-1].position - slices[0].position) / (count - 1)
    ijk_to_lps[:3, 3] = slices[0].position
    data = np.stack([one.pixels.T for one in slices], axis=-1)
    return Volume(data, LPS_TO_RAS @ ijk_to_lps, (channel,)).reoriented("RAS")
