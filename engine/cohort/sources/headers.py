"""What headers say of how a person was scanned, by which a cohort is filtered: DICOM's elements, or a BIDS sidecar's keys.

Only what is listed here is read. Of these only coded words and numbers may become columns; descriptions are free text, in which a name
may stand, and are only compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path
from typing import Any

from engine.storage import strict_json
from engine.vocabulary.row import Cell, Row


@dataclass(frozen=True, kw_only=True)
class Fact:
    """One thing that a header says: DICOM's ``keyword``, BIDS's ``key``, what BIDS's number is multiplied by, and whether it may be
    stored."""

    keyword: str
    key: str
    factor: float = 1.0
    stored: bool = True


#: ms, mm, degrees and tesla, as DICOM has them
FACTS: dict[str, Fact] = {
    "manufacturer": Fact(keyword="Manufacturer", key="Manufacturer"),
    "model": Fact(keyword="ManufacturerModelName", key="ManufacturersModelName"),
    "field_strength": Fact(keyword="MagneticFieldStrength", key="MagneticFieldStrength"),
    "echo_time": Fact(keyword="EchoTime", key="EchoTime", factor=1000),
    "repetition_time": Fact(keyword="RepetitionTime", key="RepetitionTime", factor=1000),
    "inversion_time": Fact(keyword="InversionTime", key="InversionTime", factor=1000),
    "flip_angle": Fact(keyword="FlipAngle", key="FlipAngle"),
    "slice_thickness": Fact(keyword="SliceThickness", key="SliceThickness"),
    "body_part": Fact(keyword="BodyPartExamined", key="BodyPartExamined"),
    "patient_position": Fact(keyword="PatientPosition", key="PatientPosition"),
    "acquisition_type": Fact(keyword="MRAcquisitionType", key="MRAcquisitionType"),
    "series_description": Fact(keyword="SeriesDescription", key="SeriesDescription", stored=False),
    "protocol_name": Fact(keyword="ProtocolName", key="ProtocolName", stored=False),
    "sequence_name": Fact(keyword="SequenceName", key="SequenceName", stored=False),
}


def of_dicom(header: Any) -> Row:
    """The facts of a DICOM file's header."""
    return {name: _cell(header.get(fact.keyword)) for name, fact in FACTS.items()}


#: the file at the top of a BIDS data set
TOP = "dataset_description.json"


def _sidecar(image: Path) -> Mapping[str, Any]:
    """What the sidecars of an image say: its own, and within a data set those of folders above it, which it inherits from.

    One above applies where its name has the same suffix and no entity that the image lacks (BIDS 1.10, the inheritance principle).
    """
    stem = image.name.removesuffix(".gz").removesuffix(".nii")
    own = image.with_name(f"{stem}.json")
    above = list(image.parents[:5])
    top = next((k for k, folder in enumerate(above) if (folder / TOP).is_file()), -1)
    *entities, suffix = stem.split("_")
    fewer = [c for n in range(len(entities), -1, -1) for c in combinations(entities, n)]
    files = [folder / f"{'_'.join([*some, suffix])}.json" for folder in above[: top + 1] for some in fewer]
    inherited = [file for file in files if file != own and file.is_file()]
    said: dict[str, Any] = {}
    for file in [*reversed(inherited), own]:
        said |= _read(file)
    return said


def _read(file: Path) -> Mapping[str, Any]:
    try:
        said = strict_json.parse(file.read_text("utf-8-sig")) if file.is_file() else {}
    except (OSError, ValueError, RecursionError):
        return {}
    return said if isinstance(said, Mapping) else {}


def sex_in_sidecar(image: Path) -> str:
    """``F`` or ``M`` where a sidecar says so, as converters leave it there; else ""."""
    said = _sidecar(image).get("PatientSex")
    return said if said in ("F", "M") else ""


def described_in_sidecar(image: Path) -> tuple[str, str, str]:
    """Modality, part of a complex image, and description in the sidecar of a NIfTI file; "" where it does not say."""
    said = _sidecar(image)
    modality, part, words = (said.get(key) for key in ("Modality", "ComplexImageComponent", "SeriesDescription"))
    return tuple(text if isinstance(text, str) else "" for text in (modality, part, words))  # pyright: ignore[reportReturnType]


def image_type(image: Path) -> frozenset[str]:
    """The words of DICOM's image type in the sidecar of a NIfTI file; none where it does not say."""
    said = _sidecar(image).get("ImageType", [])
    words = said if isinstance(said, list) else [said]
    return frozenset(word.strip().upper() for word in words if isinstance(word, str) and word.strip())


def of_sidecar(image: Path) -> Row:
    """The facts in the sidecar of a NIfTI file; all missing where it has none, or one that cannot be read."""
    said = _sidecar(image)
    found: Row = {}
    for name, fact in FACTS.items():
        value = _cell(said.get(fact.key))
        found[name] = round(value * fact.factor, 6) if isinstance(value, float) else value
    return found


def agreed(rows: Iterable[Row]) -> Row:
    """What all images of a person say alike; what they differ in is not known."""
    seen: dict[str, set[Cell]] = {name: set() for name in FACTS}
    for row in rows:
        for name, value in row.items():
            if value is not None:
                seen[name].add(value)
    return {name: next(iter(values)) if len(values) == 1 else None for name, values in seen.items()}


def _cell(value: Any) -> Cell:
    if isinstance(value, bool) or value is None:
        return None
    if isinstance(value, int | float):
        return float(value)
    text = str(value).strip()
    try:
        return float(text) if text and text[0] in "0123456789.-" else text or None
    except ValueError:
        return text or None
