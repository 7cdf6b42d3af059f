"""The images in DICOM files by what their headers say: where each lies, what it shows, and of which person; pixels come later.

A classic MR image is one slice a file; an enhanced one holds all of them as frames, each with a place of its own in the functional
groups (PS3.3 C.7.6.16). Both become the same :class:`Image`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float
from pydicom.uid import UID

from engine.imaging.dicom.elements import number_in, number_or, numbers_of, pair_of, person_of, words_of
from engine.imaging.dicom.files import DAMAGED, is_dicom, parsed, quiet
from engine.imaging.dicom.heartbeat import BEAT_TAGS, UNKNOWN, Beat, beat_of, beat_of_frame
from engine.imaging.dicom.words import PARTS, PROJECTED, PROJECTIONS, SCOUTS, computes, is_map, plans
from engine.imaging.volume import VolumeError

#: classic, enhanced and legacy converted enhanced MR
MR = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")
#: GE's own word for magnitude (0), phase, real and imaginary images
GE_PART = 0x0043102F
#: all that is read of a file: what groups images, geometry, pixels, and age, sex and size of the person, whose number is only compared
TAGS: list[Any] = [
    "ImageType",
    "SOPClassUID",
    "Modality",
    "SeriesInstanceUID",
    "SeriesDescription",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "DiffusionBValue",
    "AngioFlag",
    "AcquisitionContrast",
    "ComplexImageComponent",
    "VolumeBasedCalculationTechnique",
    "PresentationLUTShape",
    "ImagesInAcquisition",
    "InConcatenationNumber",
    "InConcatenationTotalNumber",
    "InstanceNumber",
    *BEAT_TAGS,
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
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "ModalityLUTSequence",
    "AnatomicalOrientationType",
    "LossyImageCompression",
    "BurnedInAnnotation",
    "SharedFunctionalGroupsSequence",
    "PerFrameFunctionalGroupsSequence",
    "PatientID",
    "PatientAge",
    "PatientSex",
    "PatientSize",
    "PatientWeight",
    "PixelData",
    GE_PART,
]
#: elements without which an image has no place
PLACED = ("ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing")
WATER, FAT = ("W", "WATER"), ("F", "FAT")
DAMAGE = "a DICOM file is damaged or lacks its geometry; export the series again"
LACKING = "a DICOM file is damaged or lacks its geometry ({}); export the series again"
#: pixels of all frames of a file at most
MOST_PIXELS = 2**29


@dataclass(frozen=True, eq=False, kw_only=True)
class Image:
    """One slice: ``frame`` of file number ``file``, ``position`` (3,) and ``axes`` (2, 3) in LPS mm, ``spacing`` between rows and
    between columns in mm, ``shape`` in rows and columns.

    ``series`` is the instance's identifier, ``kind`` the words of its image type, ``echo`` its time in ms (NaN: unknown), ``time`` its
    place among repetitions, ``number`` that in the series, ``contrast`` what the header calls its weighting, ``counted`` how many
    images its acquisition has by the header (0: unknown), ``part`` which of how many files of one image it stands in, ``stack`` the
    part of an enhanced image. ``timing`` are repetition and inversion time in ms, flip angle in degrees and b value in s/mm² (NaN:
    unknown). ``scale`` are slope and intercept, ``padding`` the stored values (from, to) that are no signal, ``beat`` its place in a
    heartbeat, ``person`` cells of a table: age, sex, height in cm, weight in kg. ``owner`` tells one person's images from another's.
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
    timing: tuple[float, float, float, float] = (math.nan, math.nan, math.nan, math.nan)
    stack: str = ""
    words: str = ""
    lossy: bool = False
    padding: tuple[int, int] | None = None
    beat: Beat = UNKNOWN
    contrast: str = ""
    counted: int = 0
    part: tuple[int, int] = (1, 1)
    owner: str = ""
    person: dict[str, str] = field(default_factory=dict)

    @property
    def scout(self) -> bool:
        parts = {part for word in self.kind for part in re.split(r"[\W_]+", word)}
        named = any(word.replace("_", " ") in (*SCOUTS, *PROJECTIONS) for word in self.kind)
        return named or bool(parts & PROJECTED) or plans(self.words)

    @property
    def magnitude(self) -> bool:
        return not any(word in self.kind for word in PARTS)

    @property
    def map(self) -> bool:
        """Whether the image is computed from others, or weighted by diffusion."""
        named = any(is_map(word) for word in self.kind)
        return named or self.timing[3] > 0 or ("DERIVED" in self.kind and computes(self.words))

    @property
    def scan(self) -> bool:
        """Whether the image may be a slice of a scan of tissue."""
        return self.magnitude and not self.scout and not self.map

    @property
    def facts(self) -> dict[str, float | str | None]:
        """What a series may be chosen by: times in ms, flip angle in degrees, b value, and words in lower case."""
        numbers = dict(zip(("repetition_time", "inversion_time", "flip_angle", "b_value"), self.timing, strict=True))
        numbers |= {"echo_time": self.echo, "time": self.time}
        known: dict[str, float | str | None] = {k: None if math.isnan(v) else v for k, v in numbers.items()}
        kind = " ".join(sorted(self.kind)).casefold()
        return known | {
            "series_description": self.words or None,
            "image_type": kind or None,
            "stack": self.stack or None,
        }

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
    with quiet():  # elements are converted when they are asked for, and what they say would be quoted
        found = list(_images_of(data, file))
    yield from found


def _images_of(data: bytes, file: int) -> Iterator[Image | Fault]:
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
        if _many(image):
            yield from _frames(image, file)
        else:
            yield _classic(image, file)
    except VolumeError:
        raise
    except DAMAGED:
        yield Fault(series=series, reason=DAMAGE)


def _many(image: Any) -> bool:
    """Whether an image is an enhanced one, whose frames have places of their own; some archives add empty groups to classic ones."""
    return "PerFrameFunctionalGroupsSequence" in image and not all(image.get(name) for name in PLACED)


def _sop(image: Any) -> UID:
    """What a file is, as a registered identifier with a name, by its own word or that of its preamble."""
    said = str(image.get("SOPClassUID", "")) or str(getattr(image, "file_meta", {}).get("MediaStorageSOPClassUID", ""))
    return UID(said)


def _refused(image: Any) -> str:
    """Why an image can be no slice of a scan; "" where it can."""
    sop, modality = str(_sop(image)), str(image.get("Modality", "MR"))
    kind = words_of(image.get("ImageType"))
    if sop not in MR or modality != "MR":
        what = UID(sop).name if UID(sop).name != sop else "another kind"
        return f"the DICOM files are no MR images ({what if sop not in MR else modality}); pack the MR series"
    if str(image.get("AnatomicalOrientationType", "BIPED")).strip().upper() == "QUADRUPED":
        return "the DICOM files are of an animal (QUADRUPED), whose axes are others; give the scan of a person"
    if image.get("ModalityLUTSequence"):
        return "the DICOM files translate their pixels by a table (Modality LUT); export them with a slope, or as NIfTI"
    if str(image.get("BurnedInAnnotation", "NO")).strip().upper() == "YES":
        return "the DICOM files have text burned into their pixels, which may name the person; export them without it"
    if image.get("SamplesPerPixel", 1) != 1:
        return "the DICOM files are in colour, so they are no scan; pack the series of the scan itself"
    inverse = image.get("PresentationLUTShape") == "INVERSE"
    if inverse or image.get("PhotometricInterpretation", "MONOCHROME2") != "MONOCHROME2":
        return "the DICOM files are not grey with black as 0 (MONOCHROME2); export the series of the scan itself"
    if "MOSAIC" in kind:
        return "the DICOM files are mosaics, many slices in one image; convert the series to NIfTI (dcm2niix)"
    if int(image.get("NumberOfFrames", 1) or 1) > 1 and not _many(image):
        return "a multi-frame DICOM file does not say where its frames lie; convert it to NIfTI, or export one file a slice"
    stored, high = int(image.BitsStored), int(image.HighBit)
    if high != stored - 1 or int(image.BitsAllocated) not in (8, 16, 32):
        return "the DICOM files store their pixels in an unusual place (HighBit); export the series again, or as NIfTI"
    if not _many(image) and (lost := [name for name in PLACED if not image.get(name)]):
        return LACKING.format(", ".join(lost))
    if int(image.Rows) * int(image.Columns) * int(image.get("NumberOfFrames", 1) or 1) > MOST_PIXELS:
        return f"a DICOM file has more than {MOST_PIXELS // 2**20} million pixels; resample the series"
    return ""


def _classic(image: Any, file: int) -> Image:
    time = "TemporalPositionIdentifier" if "TemporalPositionIdentifier" in image else "TriggerTime"
    timing = [number_in(image, name) for name in ("RepetitionTime", "InversionTime", "FlipAngle", "DiffusionBValue")]
    kind = words_of(image.get("ImageType"))
    if int(image.get(GE_PART).value if image.get(GE_PART) is not None else 0) in (1, 2, 3):
        kind |= {"PHASE"}
    number = number_in(image, "InstanceNumber")
    return _checked(
        Image(
            file=file,
            frame=0,
            position=numbers_of(image.ImagePositionPatient, 3),
            axes=numbers_of(image.ImageOrientationPatient, 6).reshape(2, 3),
            spacing=pair_of(image.PixelSpacing),
            shape=(int(image.Rows), int(image.Columns)),
            series=str(image.get("SeriesInstanceUID", "")),
            kind=kind,
            echo=number_in(image, "EchoTime"),
            time=number_in(image, time),
            timing=(timing[0], timing[1], timing[2], timing[3]),
            number=None if math.isnan(number) else int(number),
            scale=(number_or(image.get("RescaleSlope"), 1.0), number_or(image.get("RescaleIntercept"), 0.0)),
            words=str(image.get("SeriesDescription", "")).casefold(),
            lossy=str(image.get("LossyImageCompression", "00")) == "01",
            padding=_padding(image),
            beat=beat_of(image),
            contrast="TOF" if str(image.get("AngioFlag", "")).strip() == "Y" else _contrast(image),
            counted=_whole(image, "ImagesInAcquisition"),
            owner=str(image.get("PatientID") or "").strip(),
            person=person_of(image),
        )
    )


#: where an enhanced image has repetition and inversion time, flip angle and b value
TIMING = (
    ("MRTimingAndRelatedParametersSequence", "RepetitionTime"),
    ("MRModifierSequence", "InversionTimes"),
    ("MRTimingAndRelatedParametersSequence", "FlipAngle"),
    ("MRDiffusionSequence", "DiffusionBValue"),
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

        kind = words_of(said("MRImageFrameTypeSequence", "FrameType") or image.get("ImageType"))
        for name in ("ComplexImageComponent", "VolumeBasedCalculationTechnique"):  # MAX_IP is no slice of a scan
            kind |= words_of(said("MRImageFrameTypeSequence", name) or image.get(name)) - {"MAGNITUDE", "NONE"}
        echo, time = said("MREchoSequence", "EffectiveEchoTime"), said("FrameContentSequence", "TemporalPositionIndex")
        timing = [number_or(said(*where), math.nan) for where in TIMING]
        slope = said("PixelValueTransformationSequence", "RescaleSlope", 1.0)
        yield _checked(
            Image(
                file=file,
                frame=frame,
                position=numbers_of(said("PlanePositionSequence", "ImagePositionPatient"), 3),
                axes=numbers_of(said("PlaneOrientationSequence", "ImageOrientationPatient"), 6).reshape(2, 3),
                spacing=pair_of(said("PixelMeasuresSequence", "PixelSpacing")),
                shape=(int(image.Rows), int(image.Columns)),
                series=str(image.get("SeriesInstanceUID", "")),
                kind=kind,
                echo=number_or(echo, math.nan),
                time=number_or(time, math.nan),
                timing=(timing[0], timing[1], timing[2], timing[3]),
                stack=str(said("FrameContentSequence", "StackID", "") or ""),
                number=None,
                scale=(
                    number_or(slope, 1.0),
                    number_or(said("PixelValueTransformationSequence", "RescaleIntercept"), 0.0),
                ),
                words=str(image.get("SeriesDescription", "")).casefold(),
                lossy=str(image.get("LossyImageCompression", "00")) == "01",
                padding=_padding(image),
                beat=beat_of_frame(said),
                contrast=str(said("MRImageFrameTypeSequence", "AcquisitionContrast") or _contrast(image)),
                part=(_whole(image, "InConcatenationNumber") or 1, _whole(image, "InConcatenationTotalNumber") or 1),
                owner=str(image.get("PatientID") or "").strip(),
                person=person,
            )
        )


def _contrast(image: Any) -> str:
    return str(image.get("AcquisitionContrast") or "").strip()


def _whole(image: Any, name: str) -> int:
    """A whole number that an image may have; 0 where it has none."""
    number = number_in(image, name)
    return int(number) if math.isfinite(number) else 0


def _checked(image: Image) -> Image:
    """The image itself; raises ValueError for a place that is none."""
    lengths = np.linalg.norm(image.axes, axis=1)
    across = abs(float(image.axes[0] @ image.axes[1]))
    if np.abs(lengths - 1).max() > 1e-2 or across > 1e-2 or min(image.spacing) <= 0:
        raise ValueError("no orthonormal axes, or no size")
    if not np.isfinite(image.scale).all() or image.scale[0] == 0:
        raise ValueError("no scale")
    return image


def _padding(image: Any) -> tuple[int, int] | None:
    """The stored values that fill up an image where nothing was measured, least and greatest."""
    first = number_in(image, "PixelPaddingValue")
    if math.isnan(first):
        return None
    last = number_in(image, "PixelPaddingRangeLimit")
    return int(first), int(first if math.isnan(last) else last)
