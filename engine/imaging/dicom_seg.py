"""A segmentation as DICOM-SEG (PS3.3 A.51): one object for all classes, on the slices of the scan that it belongs to.

highdicom does what the standard asks; here is what it cannot know: which class has which code, who made it, and where
our voxels lie. It is imported where it is used, because it takes a second. Where the scan has a date, so has its mask:
now. A synthetic scan has none, because nothing ever happened to anybody; then its mask is the same bytes every time.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Float, UInt8
from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.coding import Code
from pydicom.uid import generate_uid

from engine.imaging.dicom import DAMAGED, LPS_TO_RAS
from engine.imaging.dicom.files import quiet
from engine.imaging.volume import Volume, VolumeError

if TYPE_CHECKING:
    from highdicom.seg import SegmentDescription

#: classes that have a concept of their own in SNOMED CT, by their keywords in pydicom's dictionary of the standard, for
#: each category (CID 7150); a class is one by its name or the end of it (``left_kidney``)
CONCEPTS = {
    "AnatomicalStructure": "Liver Spleen Kidney Lung Heart LeftVentricle RightVentricle Aorta Pancreas Gallbladder "
    "Stomach Esophagus SmallIntestine Colon Bladder Prostate Uterus AdrenalGland Thymus SpinalCord Femur Skull Brain "
    "Cerebellum BrainStem BrainVentricle LateralVentricle CorpusCallosum Hippocampus Amygdala Thalamus "
    "CaudateNucleus Putamen",
    "Tissue": "Muscle Bone BoneMarrow AdiposeTissue GrayMatter WhiteMatter",
    "BodySubstance": "CerebrospinalFluid",
}
#: what else they are called
ALIASES = {
    "fat": "AdiposeTissue",
    "marrow": "BoneMarrow",
    "grey matter": "GrayMatter",
    "csf": "CerebrospinalFluid",
    "brainstem": "BrainStem",
    "ventricle": "BrainVentricle",
    "small bowel": "SmallIntestine",
    "adrenal": "AdrenalGland",
    "caudate": "CaudateNucleus",
}
#: characters of a long string, and of a long text with room to spare
STRING, TEXT = 64, 10000
#: type 1, so something must stand where nothing happened
NO_DATE, NO_TIME = "19000101", "000000"
#: what an anonymised scan may lack, and highdicom asks for; all may be empty
MAY_BE_EMPTY = (
    *("PatientID", "PatientName", "PatientBirthDate", "PatientSex"),
    *("AccessionNumber", "StudyID", "StudyDate", "StudyTime"),
)
#: what says of a scan that nobody was scanned
KEPT = ("SyntheticData", "PatientComments")
#: how much greater the number of the mask's series is than the scan's
ABOVE = 100
AGAIN = "export it again, or save it as NIfTI"


@runtime_checkable
class Labelled(Protocol):
    """What :func:`write_dicom_seg` needs of a :class:`engine.imaging.segmentation.Segmentation`."""

    @property
    def labels(self) -> UInt8[np.ndarray, "x y z"]: ...
    @property
    def affine(self) -> Float[np.ndarray, "4 4"]: ...
    @property
    def classes(self) -> tuple[str, ...]: ...


@dataclass(frozen=True, kw_only=True)
class _Maker:
    """What a SEG is said to be, and the algorithm that made it."""

    description: str
    name: str
    version: str


def write_dicom_seg(
    segmentation: Labelled,
    sources: Sequence[Dataset],
    *,
    description: str,
    model_name: str,
    model_version: str,
) -> bytes:
    """A BINARY SEG of every class but the background, on the slices ``sources`` of one series, in any order.

    Patient, study and frame of reference are those of the sources, whose pixels are not needed; labels are brought onto
    their grid by the nearest neighbour. ``description`` says what it is: "SYNTHETIC - not for diagnosis", say;
    ``model_name`` and ``model_version`` are the algorithm's. Raises :class:`VolumeError` for sources that are no evenly
    spaced series, or that show no labelled voxel.
    """
    ordered, grid, affine = _slices(sources)
    labels = Volume(segmentation.labels, segmentation.affine).resampled(grid, affine, order=0).data
    if not labels.any():
        raise VolumeError("no labelled voxel lies within the slices of the series; give the series of the same scan")
    maker = _Maker(description=description, name=model_name[:STRING], version=model_version[:STRING])
    try:
        return _file(_made(ordered, np.ascontiguousarray(labels.transpose(2, 1, 0)), segmentation.classes, maker))
    except DAMAGED as error:
        raise VolumeError(f"the series cannot carry a segmentation ({_short(error)}); {AGAIN}") from None


def read_dicom_seg(path: str | Path) -> tuple[np.ndarray, np.ndarray, dict[int, str]]:
    """Labels of a SEG, unsigned integers (column, row, slice), their ``ijk_to_ras``, and names by segment number.

    Slices that no segment is in may be missing at either end: the grid ends where the frames do. Raises
    :class:`VolumeError` for a file that is no SEG or is damaged, for fractions, and for segments that overlap.
    """
    from highdicom.seg import Segmentation as Seg

    path = Path(path)
    with quiet():  # a warning would quote the file
        try:
            image = dcmread(path)
            _refuse_other(image, path.name)
            _refuse_lost(image, path.name)
            seg = Seg.from_dataset(image, copy=False)
            names = {n: str(seg.get_segment_description(n).segment_label) for n in seg.segment_numbers}
            volume = seg.get_volume(combine_segments=True)
        except VolumeError:
            raise
        except (*DAMAGED, OSError, IndexError) as error:
            if "overlap" in str(error):
                raise VolumeError(
                    f"{path.name} has segments that overlap, a voxel is of one class only; export them without overlap"
                ) from None
            raise VolumeError(
                f"{path.name} cannot be read as DICOM-SEG: it is damaged or lacks its geometry; {AGAIN}"
            ) from None
    labels = np.asarray(volume.array).transpose(2, 1, 0)
    if labels.shape[2] == 1:  # a single slice is no volume: an empty one above it
        labels = np.pad(labels, ((0, 0), (0, 0), (0, 1)))
    return labels, _to_ras(volume.affine), names


def code_of(name: str) -> tuple[Code, Code]:
    """Category and concept of a class in SNOMED CT; ``Tissue`` where none is known.

    >>> [code.meaning for code in code_of("left_kidney")], code_of("jelly")[1].value
    (['Anatomical Structure', 'Kidney'], '85756007')
    """
    from pydicom.sr.codedict import codes

    words = re.sub(r"[_\-\s]+", " ", f" {name}").rstrip().lower()
    kinds = {keyword: category for category, keywords in CONCEPTS.items() for keyword in keywords.split()}
    called = {re.sub(r"(?<!^)(?=[A-Z])", " ", keyword).lower(): keyword for keyword in kinds} | ALIASES
    fits = [known for known in called if words.endswith((f" {known}", f" {known}s"))]
    keyword = called[max(fits, key=len)] if fits else "Tissue"
    return getattr(codes.SCT, kinds.get(keyword, "Tissue")), getattr(codes.SCT, keyword)


def _made(ordered: list[Dataset], labels: np.ndarray, classes: tuple[str, ...], maker: _Maker) -> Dataset:
    """The SEG of ``labels`` (slice, row, column) on the slices of a series."""
    from highdicom.seg import Segmentation as Seg

    first = ordered[0]
    now = datetime.now() if first.StudyDate else None
    said = f"{classes} {maker} {[str(one.SOPInstanceUID) for one in ordered]} {now}"
    content = hashlib.sha256(labels.tobytes() + said.encode()).hexdigest()
    made = Seg(
        source_images=ordered,
        pixel_array=labels,
        segmentation_type="BINARY",
        segment_descriptions=_segments(classes, maker),
        series_instance_uid=_uid(content, "series"),
        series_number=ABOVE + int(first.get("SeriesNumber") or 0),
        sop_instance_uid=_uid(content, "instance"),
        instance_number=1,
        manufacturer="Somatwin",
        manufacturer_model_name=maker.name,
        software_versions=maker.version,
        device_serial_number=maker.version,
        content_label="SEGMENTATION",
        content_description=maker.description[:STRING],
        series_description=maker.description[:STRING],
        content_qualification="RESEARCH",
        content_date=now.date() if now else NO_DATE,
        content_time=now.time() if now else NO_TIME,
    )
    made.ImageComments = maker.description[:TEXT]
    for keyword in KEPT:
        if keyword in first:
            made[keyword] = first[keyword]
    return _settled(made, content, now is not None)


def _settled(made: Any, content: str, dated: bool) -> Dataset:
    """The SEG with identifiers that follow from what is in it; without highdicom's dates where it is not ``dated``."""
    dimension = _uid(content, "dimension")
    for item in (*made.DimensionOrganizationSequence, *made.DimensionIndexSequence):
        item.DimensionOrganizationUID = dimension
    if not dated:
        del made.InstanceCreationDate, made.InstanceCreationTime
        for item in made.get("ContributingEquipmentSequence", ()):
            item.pop("ContributionDateTime", None)
    return made


def _segments(classes: tuple[str, ...], maker: _Maker) -> list[SegmentDescription]:
    """What the standard wants to know of each class but the background."""
    from highdicom import AlgorithmIdentificationSequence
    from highdicom.seg import SegmentDescription

    by = AlgorithmIdentificationSequence(maker.name, Code("123110", "DCM", "Artificial Intelligence"), maker.version)
    return [
        SegmentDescription(number, label[:STRING], *code_of(label), "AUTOMATIC", by)
        for number, label in enumerate(classes[1:], 1)
    ]


def _slices(sources: Sequence[Dataset]) -> tuple[list[Dataset], tuple[int, int, int], np.ndarray]:
    """Headers of a series in order of their place, its grid (columns, rows, slices) and its ``ijk_to_ras``."""
    from highdicom import VolumeGeometry
    from highdicom.spatial import get_series_volume_positions

    if len(sources) < 2 or any("ImagePositionPatient" not in one for one in sources):
        raise VolumeError(
            f"a segmentation lies on slices, {len(sources)} images given; give all of one series, a slice in each"
        )
    try:
        spacing, places = get_series_volume_positions(sources)
        alike = len({(one.SeriesInstanceUID, one.Rows, one.Columns) for one in sources}) == 1
        if spacing is None or places is None or not alike:
            raise VolumeError(
                f"the {len(sources)} images given are no evenly spaced slices of one series; give one series, whole"
            )
        ordered = [_header(sources[i]) for i in np.argsort(places)]
        first = ordered[0]
        geometry = VolumeGeometry.from_attributes(
            image_position=first.ImagePositionPatient,
            image_orientation=first.ImageOrientationPatient,
            rows=first.Rows,
            columns=first.Columns,
            pixel_spacing=first.PixelSpacing,
            spacing_between_slices=spacing,
            number_of_frames=len(ordered),
            coordinate_system="PATIENT",
        )
    except VolumeError:
        raise
    except DAMAGED as error:
        raise VolumeError(f"the series has no usable geometry ({_short(error)}); export it again") from None
    return ordered, (int(first.Columns), int(first.Rows), len(ordered)), _to_ras(geometry.affine)


def _header(source: Dataset) -> Dataset:
    """A slice without its pixels, what an anonymised one lacks left empty."""
    header = Dataset({element.tag: element for element in source if element.keyword != "PixelData"})
    for keyword in MAY_BE_EMPTY:
        if keyword not in header:
            setattr(header, keyword, "")
    return header


def _to_ras(zyx_to_lps: np.ndarray) -> np.ndarray:
    """highdicom's matrix, (slice, row, column) to LPS, as (column, row, slice) to RAS."""
    return LPS_TO_RAS @ np.asarray(zyx_to_lps, float)[:, [2, 1, 0, 3]]


def _refuse_other(image: Dataset, name: str) -> None:
    """Refuse what is no segmentation, or one of fractions."""
    if image.get("Modality") != "SEG":
        what = image.get("Modality") or "DICOM file of no kind"
        raise VolumeError(f"{name} is a DICOM {what}, no segmentation (SEG); give the SEG object, or a NIfTI label map")
    if (kind := str(image.get("SegmentationType", ""))) not in ("BINARY", "LABELMAP"):
        raise VolumeError(f"{name} is a segmentation of type {kind or 'unknown'}, no labels; export it as BINARY")


def _refuse_lost(image: Dataset, name: str) -> None:
    """Refuse frames that would be left out without a word: those beyond the number stated, and of segments not described."""
    frames, said = image.get("PerFrameFunctionalGroupsSequence", ()), int(image.get("NumberOfFrames") or 0)
    if frames and len(frames) != said:
        raise VolumeError(f"{name} says it has {said} frames and describes {len(frames)}; {AGAIN}")
    told = {int(one.SegmentNumber) for one in image.get("SegmentSequence", ())}
    shown = {
        int(one.ReferencedSegmentNumber) for frame in frames for one in frame.get("SegmentIdentificationSequence", ())
    }
    if strange := sorted(shown - told):
        raise VolumeError(f"{name} has frames of segment {strange[0]}, which it does not describe; {AGAIN}")


def _file(image: Dataset) -> bytes:
    stream = BytesIO()
    image.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _uid(*parts: str) -> str:
    """The same for the same parts, in the range that pydicom lends."""
    return str(generate_uid(entropy_srcs=["/".join(("somatwin", "seg", *parts))]))


def _short(error: BaseException) -> str:
    """The first line of what a library said, or what kind of fault it was."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:120].rstrip(".")
