"""A synthetic person's scan as DICOM: classic MR images, one slice (of a cine: and phase) a file, one series a channel, plainly
marked as synthetic.

The inverse of :mod:`engine.imaging.dicom`. Slices are axial as far as the scan's axes are: columns run to the patient's left,
rows to the back, slices upwards (LPS+, PS3.3 C.7.6.2). What tells one instance from another is derived from what is in it,
so the same person makes the same bytes. There is no date and no birth date, because nothing ever happened to anybody.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.metadata import version
from io import BytesIO
from itertools import product
from typing import Any

import numpy as np
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from pydicom.valuerep import format_number_as_ds

from engine.imaging.dicom import LPS_TO_RAS
from engine.imaging.grid import cycle_by
from engine.imaging.volume import Volume, VolumeError
from engine.vocabulary.catalogue import CATALOGUE

NOTICE = "SYNTHETIC - not for diagnosis"
#: who every image is of
PATIENT = "SYNTHETIC^SOMATWIN"
#: greatest stored value: int16 without its negative half, which not every viewer takes for what it is
TOP = 2**15 - 1
#: cosine between two axes of a grid, from which it is no grid of slices
OBLIQUE = 1e-4
#: how a number of the table is written in the attribute that the catalogue names: whole years, m, kg
WRITTEN: dict[str, Callable[[float], str]] = {
    "age": lambda years: f"{round(years):03d}Y",
    "height": lambda cm: format_number_as_ds(cm / 100),
    "weight": lambda kg: format_number_as_ds(float(kg)),
}
#: characters that the standard allows in a short and in a long text, with room to spare
SHORT, LONG = 1000, 10000


@dataclass(frozen=True, kw_only=True)
class Origin:
    """What draws a person again: the ``checkpoint``'s name and ``digest``, ``seed``, network evaluations (``steps``),
    ``guidance`` (None: the checkpoint's), what was ``given``; and all of the person's ``attributes``, of which age (years),
    sex (F or M), height (cm) and weight (kg) have places of their own in DICOM."""

    checkpoint: str
    digest: str
    seed: int
    steps: int
    guidance: float | None
    given: Mapping[str, Any]
    attributes: Mapping[str, Any]

    notice, patient, synthetic = NOTICE, PATIENT, "YES"

    @property
    def number(self) -> str:
        """What tells this person from others."""
        return f"SYN-{self.digest}-{self.seed}"

    @property
    def in_words(self) -> str:
        given = f"; given: {_pairs(self.given)}" if self.given else ""
        by = f"Somatwin {version('somatwin')}, checkpoint {self.checkpoint} ({self.digest})"
        how = f"seed {self.seed}, {self.steps} steps" + (f", guidance {self.guidance:g}" if self.guidance else "")
        return f"{NOTICE}. Drawn by {by}, {how}{given}. Nobody was scanned."


@dataclass(frozen=True, kw_only=True)
class Copied:
    """A scan that was given, named ``scan``, as the model ``checkpoint`` of this ``digest`` sees it: resampled, nobody named."""

    scan: str
    checkpoint: str
    digest: str
    notice, patient, synthetic = "RESAMPLED COPY - not for diagnosis", "ANONYMOUS^", "NO"

    @property
    def attributes(self) -> Mapping[str, Any]:
        return {}

    @property
    def number(self) -> str:
        """What tells this scan from others."""
        return f"COPY-{hashlib.sha256(self.scan.encode()).hexdigest()[:12]}"

    @property
    def in_words(self) -> str:
        by = f"Somatwin {version('somatwin')} for checkpoint {self.checkpoint} ({self.digest})"
        return f"{self.notice}. Resampled by {by}; patient, dates and the geometry of the original are not in it."


def write_series(volume: Volume, origin: Origin | Copied) -> Iterator[tuple[str, bytes]]:
    """Name (``T1w/0001.dcm``, channel by channel, from the feet upwards, of a cine phase by phase) and bytes of each file.

    A cine's images say which of its phases they are, and where its cycle is known (its own, or by the heart rate of the ``origin``)
    when in the heartbeat. Intensities are int16 with a slope (and an intercept where some are negative) for each series. Raises
    :class:`VolumeError` for a scan that is not finite, or whose axes are not at right angles.
    """
    if not np.isfinite(volume.data).all():
        raise VolumeError(
            "the scan has voxels that are NaN or infinite, which DICOM cannot hold; draw the person again"
        )
    turned = volume.reoriented("LPS")
    to_lps = LPS_TO_RAS @ turned.affine
    axes = to_lps[:3, :3] / turned.spacing
    if np.abs(axes.T @ axes - np.eye(3)).max() > OBLIQUE:
        raise VolumeError("the scan's axes are not at right angles, which DICOM slices must be; resample it first")
    content = hashlib.sha256(np.ascontiguousarray(turned.data).tobytes() + turned.affine.tobytes())
    content.update(f"{origin}".encode())
    person = patient_and_study(origin, content.hexdigest())
    for number, channel in enumerate(turned.apart(), 1):
        series = _series(person, channel, number, content.hexdigest())
        _say_beat(series, channel, origin.attributes)
        data = np.rint((channel.data - float(series.RescaleIntercept)) / float(series.RescaleSlope)).clip(0, TOP)
        moving = data.reshape(channel.phases, *turned.grid).astype("<i2")
        for k, phase in product(range(turned.grid[2]), range(channel.phases)):
            place = (to_lps @ [0, 0, k, 1])[:3]
            count = k * channel.phases + phase + 1
            image = _slice(series, moving[phase, :, :, k].T, place, float(place @ axes[:, 2]), count)
            if channel.phases > 1:
                _say_phase(image, phase)
            yield f"{channel.kinds[0]}/{count:04d}.dcm", _file(image)


def patient_and_study(origin: Origin | Copied, content: str) -> Dataset:
    """What all images of a person share."""
    made, row = Dataset(), origin.attributes
    made.SpecificCharacterSet = "ISO_IR 192"
    made.PatientName, made.PatientID = origin.patient, origin.number
    made.PatientBirthDate, made.PatientSex = "", row.get("sex") if row.get("sex") in CATALOGUE["sex"].levels else ""
    for name, written in WRITTEN.items():
        if isinstance(value := row.get(name), int | float):
            setattr(made, str(CATALOGUE[name].dicom), written(value))
    made.PatientComments = origin.notice
    made.StudyInstanceUID, made.FrameOfReferenceUID = _uid(content, "study"), _uid(content, "frame")
    made.StudyDate = made.StudyTime = made.AccessionNumber = made.ReferringPhysicianName = ""
    made.StudyID, made.StudyDescription = origin.number.rpartition("-")[2][-16:], origin.notice
    made.Manufacturer, made.ManufacturerModelName = "Somatwin", origin.checkpoint[:64]
    made.SoftwareVersions = version("somatwin")
    made.PositionReferenceIndicator = made.Laterality = ""
    made.SyntheticData, made.BurnedInAnnotation, made.QualityControlImage = origin.synthetic, "NO", "YES"
    made.ContentQualification, made.LossyImageCompression = "RESEARCH", "00"
    made.DerivationDescription = origin.in_words[:SHORT]
    made.ImageComments = f"{origin.in_words} Attributes: {_pairs(row)}."[:LONG]
    made.SOPClassUID, made.Modality, made.PatientPosition = MRImageStorage, "MR", "HFS"
    # nothing was scanned: a research mode, and no sequence, times or field
    made.ScanningSequence, made.SequenceVariant = "RM", "NONE"
    made.ScanOptions = made.MRAcquisitionType = ""
    made.RepetitionTime = made.EchoTime = made.EchoTrainLength = None
    return made


def _series(person: Dataset, channel: Volume, number: int, content: str) -> Dataset:
    """What all slices of a channel, turned to LPS, share; its rescale as the file will hold it."""
    made, (name,), low = Dataset(person), channel.kinds, min(0.0, float(channel.data.min()))
    span = max(float(channel.data.max()) - low, 1e-3)
    made.SeriesInstanceUID, made.SeriesNumber = _uid(content, "series", name), number
    made.SeriesDescription = f"{person.StudyDescription}: {name}"[:64]
    made.ImageType = ["DERIVED", "SECONDARY", "OTHER"]
    axes = LPS_TO_RAS[:3, :3] @ channel.affine[:3, :3] / channel.spacing
    made.ImageOrientationPatient = [_decimal(v) for v in (*axes[:, 0], *axes[:, 1])]
    x, y, z = channel.spacing
    made.PixelSpacing = [_decimal(y), _decimal(x)]  # between rows, between columns
    made.SliceThickness = made.SpacingBetweenSlices = _decimal(z)
    made.Columns, made.Rows, _ = channel.grid
    made.SamplesPerPixel, made.PhotometricInterpretation, made.PixelRepresentation = 1, "MONOCHROME2", 1
    made.BitsAllocated, made.BitsStored, made.HighBit = 16, 16, 15
    # the last digit that fits may round the slope down, which would push the brightest voxel out of range
    made.RescaleSlope, made.RescaleIntercept = _decimal(_step(channel.data, span)), _decimal(low)
    made.RescaleType = "US"
    made.WindowCenter, made.WindowWidth = _decimal(low + span / 2), _decimal(span)
    made.VOILUTFunction = "LINEAR_EXACT"  # plain LINEAR cannot be narrower than 1
    return made


def _say_beat(series: Dataset, channel: Volume, row: Mapping[str, Any]) -> None:
    """Write, in place, what all images of a cine share: its phases, and where its cycle is known how long that lasts."""
    if channel.phases == 1:
        return
    series.CardiacNumberOfImages = series.NumberOfTemporalPositions = channel.phases
    if (cycle := channel.cycle or cycle_by(row.get("heart_rate"))) is not None:
        series.ScanOptions = "CG"  # gated by the heart, so that trigger times have a place (PS3.3 C.8.3.1)
        series.NominalInterval, series.HeartRate = round(1000 * cycle), round(60 / cycle)
        series.TemporalResolution = _decimal(1000 * cycle / channel.phases)


def _say_phase(image: Dataset, phase: int) -> None:
    """Write, in place, which phase an image is, the first 0."""
    image.TemporalPositionIdentifier = phase + 1
    if "TemporalResolution" in image:
        image.TriggerTime = _decimal(phase * float(image.TemporalResolution))


def _step(data: np.ndarray, span: float) -> float:
    """One step of the stored values: 1 for whole numbers that fit, so that they come back exactly; else the finest there is."""
    whole = span <= TOP - 1 and bool(np.array_equal(data, np.rint(data)))
    return 1.0 if whole and span >= 1 else span / (TOP - 1)


def _slice(series: Dataset, pixels: np.ndarray, place: np.ndarray, height: float, number: int) -> Dataset:
    """One image: ``pixels`` int16 (row, column), the ``place`` of the first in LPS mm and its ``height`` along the normal."""
    made = Dataset(series)
    made.SOPInstanceUID = _uid(str(series.SeriesInstanceUID), str(number))
    made.InstanceNumber = number
    made.ImagePositionPatient, made.SliceLocation = [_decimal(v) for v in place], _decimal(height)
    made.PixelData = pixels.tobytes()
    made["PixelData"].VR = "OW"
    return made


def _file(image: Dataset) -> bytes:
    meta, stream = FileMetaDataset(), BytesIO()
    meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = image.SOPClassUID, image.SOPInstanceUID
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    image.file_meta = meta
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _uid(*parts: str) -> UID:
    """The same for the same parts, in the range that pydicom lends."""
    return generate_uid(entropy_srcs=["/".join(("somatwin", *parts))])


def _decimal(value: float) -> str:
    """A number in the 16 characters that DICOM gives it; what is smaller than a nanometre is 0.

    >>> _decimal(1 / 3), _decimal(-1e-17), _decimal(2.0)
    ('0.33333333333333', '0.0', '2.0')
    """
    return format_number_as_ds(0.0 if abs(value) < 1e-9 else float(value))


def _pairs(row: Mapping[str, Any]) -> str:
    """``age=60, sex=F``, missing cells left out."""
    known = ((k, v) for k, v in row.items() if v is not None)
    return ", ".join(f"{k}={v:g}" if isinstance(v, float) else f"{k}={v}" for k, v in known)
