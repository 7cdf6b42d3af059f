"""The images in DICOM files by what their headers say: where each lies, what it shows, and of which person; pixels come later.

A classic MR image is one slice a file; an enhanced one holds all of them as frames, each with a place of its own in the functional
groups (PS3.3 C.7.6.16). Both become the same :class:`Image`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.uid import UID

from engine.imaging.dicom.files import DAMAGED, is_dicom, parsed
from engine.imaging.volume import VolumeError
from engine.vocabulary.catalogue import CATALOGUE

#: classic, enhanced and legacy converted enhanced MR
MR = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
#: GE's own word for magnitude (0), phase, real and imaginary images
GE_PART = 0x0043102F
#: all that is read of a file: what groups images, geometry, pixels, and age, sex and size of the person
TAGS: list[Any] = [
    "ImageType",
    "SOPClassUID",
    "Modality",
    "SeriesInstanceUID",
    "SeriesDescription",
    "EchoTime",
    "InstanceNumber",
    "TemporalPositionIdentifier",
    "TriggerTime",
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
    "LossyImageCompression",
    "BurnedInAnnotation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PatientAge",
    "PatientSex",
    "PatientSize",
    "PatientWeight",
    "PixelData",
    GE_PART,
]
#: words in ImageType
SCOUTS, PARTS = ("LOCALIZER", "SCOUT"), ("P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY", "VELOCITY")
PROJECTIONS = ("PROJECTION IMAGE", "MIP", "MINIP", "MIN IP", "CPR", "CSA MPR")
WATER, FAT = ("W", "WATER"), ("F", "FAT")
DAMAGE = "a DICOM file is damaged or lacks its geometry; export the series again"
#: pixels of all frames of a file at most
MOST_PIXELS = 2**29


@dataclass(frozen=True, eq=False, kw_only=True)
class Image:
    """One slice: ``frame`` of file number ``file``, ``position`` (3,) and ``axes`` (2, 3) in LPS mm, ``spacing`` between rows and
    between columns in mm, ``shape`` in rows and columns.

    ``series`` is the instance's identifier, ``kind`` the words of its image type, ``echo`` its time in ms (NaN: unknown), ``time`` its
    place among repetitions, ``number`` that in the series. ``scale`` are slope and intercept, ``person`` cells of a table: age, sex,
    height in cm, weight in kg.
    """

    file: int
    frame: int
    position: Float[np.ndarray, "3"]
    axes: Float[np.ndarray, "2 3"]
    spacing: tuple[float, float]
    shape: tuple[int, int]
    series: str
    kind: frozenset[str]
    echo: float
    time: float
    number: int | None
    scale: tuple[float, float]
    words: str = ""
    lossy: bool = False
    person: dict[str, str] = field(default_factory=dict)

    @property
    def scout(self) -> bool:
        return any(word in self.kind for word in (*SCOUTS, *PROJECTIONS))

    @property
    def magnitude(self) -> bool:
        return not any(word in self.kind for word in PARTS)

    @property
    def dixon(self) -> str:
        """``water`` or ``fat`` where the header says that the image shows one of them, else ""."""
        for name, words in (("water", WATER), ("fat", FAT)):
            if any(word in self.kind for word in words) or self.words.startswith((f"{name}:", f"{name} ")):
                return name
        return ""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A file of a ``series`` that can be no slice, and the sentence on why."""

    series: str
    reason: str


def images_of(data: bytes, file: int) -> Iterator[Image | Fault]:
    """What a DICOM file holds: its images, or why it has none; nothing at all for what is no image, such as a report."""
    series = ""
    try:
        if not is_dicom(data):
            raise ValueError("named like a DICOM file, but none")
        image = parsed(data, [tag for tag in TAGS if tag != "PixelData"])
        series = str(image.get("SeriesInstanceUID", ""))
        if str(_sop(image)) not in MR and "Rows" not in image and _sop(image).name != str(_sop(image)):
            return  # a report, a presentation state, a DICOMDIR
        if reason := _refused(image):
            yield Fault(series=series, reason=reason)
            return
        if "PerFrameFunctionalGroupsSequence" in image:
            yield from _frames(image, file)
        elif "ImagePositionPatient" in image:
            yield _classic(image, file)
        else:
            yield Fault(series=series, reason=DAMAGE)
    except VolumeError:
        raise
    except DAMAGED:
        yield Fault(series=series, reason=DAMAGE)


def _sop(image: Any) -> UID:
    """What a file is, as a registered identifier with a name, by its own word or that of its preamble."""
    said = str(image.get("SOPClassUID", "")) or str(getattr(image, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
    return UID(said)


def _frameless() -> str:
    return "a multi-frame DICOM file does not say where its frames lie; convert it to NIfTI, or export one file a slice"


def _refused(image: Any) -> str:
    """Why an image can be no slice of a scan; "" where it can."""
    sop, modality = str(_sop(image)), str(image.get("Modality", "MR"))
    kind = _words(image.get("ImageType"))
    if sop not in MR or modality != "MR":
        what = UID(sop).name if UID(sop).name != sop else "another kind"
        return f"the DICOM files are no MR images ({what if sop not in MR else modality}); pack the MR series"
    if str(image.get("BurnedInAnnotation", "NO")).strip().upper() == "YES":
        return "the DICOM files have text burned into their pixels, which may name the person; export them without it"
    if image.get("SamplesPerPixel", 1) != 1:
        return "the DICOM files are in colour, so they are no scan; pack the series of the scan itself"
    if image.get("PhotometricInterpretation", "MONOCHROME2") != "MONOCHROME2":
        return "the DICOM files are not grey with black as 0 (MONOCHROME2); export the series of the scan itself"
    if "MOSAIC" in kind:
        return "the DICOM files are mosaics, many slices in one image; convert the series to NIfTI (dcm2niix)"
    if int(image.get("NumberOfFrames", 1) or 1) > 1 and "PerFrameFunctionalGroupsSequence" not in image:
        return _frameless()
    stored, high = int(image.BitsStored), int(image.HighBit)
    if high != stored - 1 or int(image.BitsAllocated) not in (8, 16, 32):
        return "the DICOM files store their pixels in an unusual place (HighBit); export the series again, or as NIfTI"
    if int(image.Rows) * int(image.Columns) * int(image.get("NumberOfFrames", 1) or 1) > MOST_PIXELS:
        return f"a DICOM file has more than {MOST_PIXELS // 2**20} million pixels; resample the series"
    return ""


def _words(value: Any) -> frozenset[str]:
    return frozenset(str(word).strip().upper() for word in ([value] if isinstance(value, str) else value or ()))


def _classic(image: Any, file: int) -> Image:
    echo, time = image.get("EchoTime"), image.get("TemporalPositionIdentifier", image.get("TriggerTime"))
    kind = _words(image.get("ImageType"))
    if int(image.get(GE_PART).value if image.get(GE_PART) is not None else 0) in (1, 2, 3):
        kind |= {"PHASE"}
    number = image.get("InstanceNumber")
    return _checked(
        Image(
            file=file,
            frame=0,
            position=_numbers(image.ImagePositionPatient, 3),
            axes=_numbers(image.ImageOrientationPatient, 6).reshape(2, 3),
            spacing=_pair(image.PixelSpacing),
            shape=(int(image.Rows), int(image.Columns)),
            series=str(image.get("SeriesInstanceUID", "")),
            kind=kind,
            echo=math.nan if echo is None else float(echo),
            time=math.nan if time is None else float(time),
            number=None if number is None else int(number),
            scale=(_or(image.get("RescaleSlope"), 1.0), _or(image.get("RescaleIntercept"), 0.0)),
            words=str(image.get("SeriesDescription", "")).casefold(),
            lossy=str(image.get("LossyImageCompression", "00")) == "01",
            person=person_of(image),
        )
    )


def _frames(image: Any, file: int) -> Iterator[Image]:
    """Each frame of an enhanced image: what its own group says, else what all share."""
    shared = (image.get("SharedFunctionalGroupsSequence") or [{}])[0]
    groups, count = image.PerFrameFunctionalGroupsSequence, int(image.get("NumberOfFrames", 1) or 1)
    if len(groups) != count:
        raise VolumeError(f"a DICOM file has {count} frames and describes {len(groups)}; export the series again")
    person = person_of(image)
    for frame, group in enumerate(groups):

        def said(sequence: str, name: str, otherwise: Any = None, group: Any = group) -> Any:
            for part in (group, shared):
                if sequence in part and len(part[sequence].value) and name in part[sequence].value[0]:
                    return part[sequence].value[0][name].value
            return otherwise

        kind = _words(said("MRImageFrameTypeSequence", "FrameType") or image.get("ImageType"))
        complexity = str(said("MRImageFrameTypeSequence", "ComplexImageComponent", "MAGNITUDE"))
        if complexity in ("PHASE", "REAL", "IMAGINARY"):
            kind |= {complexity}
        echo, time = said("MREchoSequence", "EffectiveEchoTime"), said("FrameContentSequence", "TemporalPositionIndex")
        slope = said("PixelValueTransformationSequence", "RescaleSlope", 1.0)
        yield _checked(
            Image(
                file=file,
                frame=frame,
                position=_numbers(said("PlanePositionSequence", "ImagePositionPatient"), 3),
                axes=_numbers(said("PlaneOrientationSequence", "ImageOrientationPatient"), 6).reshape(2, 3),
                spacing=_pair(said("PixelMeasuresSequence", "PixelSpacing")),
                shape=(int(image.Rows), int(image.Columns)),
                series=str(image.get("SeriesInstanceUID", "")),
                kind=kind,
                echo=math.nan if echo is None else float(echo),
                time=math.nan if time is None else float(time),
                number=None,
                scale=(_or(slope, 1.0), _or(said("PixelValueTransformationSequence", "RescaleIntercept"), 0.0)),
                words=str(image.get("SeriesDescription", "")).casefold(),
                lossy=str(image.get("LossyImageCompression", "00")) == "01",
                person=person,
            )
        )


def _checked(image: Image) -> Image:
    """The image itself; raises ValueError for a place that is none."""
    lengths = np.linalg.norm(image.axes, axis=1)
    across = abs(float(image.axes[0] @ image.axes[1]))
    if np.abs(lengths - 1).max() > 1e-2 or across > 1e-2 or min(image.spacing) <= 0:
        raise ValueError("no orthonormal axes, or no size")
    if not np.isfinite(image.scale).all() or image.scale[0] == 0:
        raise ValueError("no scale")
    return image


def _numbers(value: Any, count: int) -> Float[np.ndarray, " n"]:
    found = np.array([float(v) for v in value])
    if found.shape != (count,) or not np.isfinite(found).all():
        raise ValueError("no place")
    return found


def _pair(value: Any) -> tuple[float, float]:
    rows, columns = _numbers(value, 2)
    return float(rows), float(columns)


def _or(value: Any, otherwise: float) -> float:
    return otherwise if value is None or value == "" else float(value)


def person_of(image: Any) -> dict[str, str]:
    """Age, sex, height in cm and weight in kg as cells of a table, as far as the header has them."""
    cells = {name: str(image.get(CATALOGUE[name].dicom) or "").strip() for name in ("age", "sex", "height", "weight")}
    if cells["height"]:
        cells["height"] = f"{float(cells['height']) * 100:.10g}"  # in m there
    return {name: text for name, text in cells.items() if text and text not in ("0", "0.0", "O", "000Y")}
