"""A person's row as DICOM-SR (TID 1500, PS3.16) and back: numbers with UCUM units, words as coded evaluations, nothing rounded.

Well-known columns have the concepts that the standard has for them, others one of their own (scheme 99SOMATWIN, the code being
the column's name). A report of others is read by what its concepts mean: the finding site, then the name. highdicom makes and reads
the template; it is imported where it is used, because it takes a second. A report has no date, as nothing in it says when.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset
from pydicom.sr.codedict import codes
from pydicom.sr.coding import Code
from pydicom.uid import UID, generate_uid

from engine.imaging.dicom import DAMAGED
from engine.imaging.dicom.files import parsed, quiet
from engine.imaging.dicom_write import Copied, Origin, patient_and_study
from engine.imaging.volume import VolumeError
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.headings import plain
from engine.vocabulary.row import Row
from engine.vocabulary.units import UnitError, factor

#: basic text, enhanced, comprehensive, comprehensive 3D
SR = (
    "1.2.840.10008.5.1.4.1.1.88.11",
    "1.2.840.10008.5.1.4.1.1.88.22",
    "1.2.840.10008.5.1.4.1.1.88.33",
    "1.2.840.10008.5.1.4.1.1.88.34",
)
OWN = "99SOMATWIN"
#: concepts that the standard has for well-known columns, the first of which is written
CONCEPTS: dict[str, tuple[Code, ...]] = {
    "age": (Code("121033", "DCM", "Subject Age"), Code("397669002", "SCT", "Age"), Code("30525-0", "LN", "Age")),
    "sex": (Code("121032", "DCM", "Subject Sex"), Code("46098-0", "LN", "Sex")),
    "height": (
        Code("50373000", "SCT", "Body height"),
        Code("8302-2", "LN", "Body height"),
        Code("121207", "DCM", "Height"),
    ),
    "weight": (Code("27113001", "SCT", "Body weight"), Code("29463-7", "LN", "Body weight")),
    "bmi": (Code("60621009", "SCT", "Body mass index"), Code("39156-5", "LN", "Body mass index")),
}
_NAMES = {(code.value, code.scheme_designator): name for name, those in CONCEPTS.items() for code in those}
_NAMES |= {("121208", "DCM"): "weight"}
#: units as UCUM writes them, by what they are called here; others stand in UCUM's braces
UCUM = {"years": "a", "kg/m²": "kg/m2", "l": "L", "ml": "mL", "": "1"}
_UNITS = {ucum: unit for unit, ucum in UCUM.items() if unit not in ("l", "ml")} | {"year": "years"}
SEXES = {"F": Code("F", "DCM", "Female"), "M": Code("M", "DCM", "Male")}
_SEX = {("F", "DCM"): "F", ("M", "DCM"): "M", ("248152002", "SCT"): "F", ("248153007", "SCT"): "M"}
#: characters of a code's meaning
MEANING = 64
NO_DATE, NO_TIME = "19000101", "000000"


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a report says of a person: ``row`` of values by column, ``units`` of its numbers, ``notes`` on what was not taken."""

    row: Row
    units: dict[str, str]
    notes: tuple[str, ...] = ()


def write_sr(row: Mapping[str, Any], units: Mapping[str, str], origin: Origin | Copied) -> bytes:
    """A TID 1500 report of the known cells of a ``row``, its numbers in ``units`` by column, of the person or scan ``origin``.

    The same bytes for the same row. Raises :class:`VolumeError` where nothing is known.
    """
    from highdicom import sr

    known = {name: value for name, value in row.items() if value is not None and name != "participant_id"}
    if not known:
        raise VolumeError("no measurement is known, so there is nothing to report; give a row with values")
    content = hashlib.sha256(f"{sorted(known.items(), key=str)} {sorted(units.items())} {origin}".encode()).hexdigest()
    observer = sr.DeviceObserverIdentifyingAttributes(
        uid=_uid("observer", origin.checkpoint), name="Somatwin", model_name=origin.checkpoint[:MEANING]
    )
    context = sr.ObserverContext(
        observer_type=_concept(codes.DCM.Device),
        observer_identifying_attributes=observer,  # pyright: ignore[reportArgumentType]
    )
    numbers, words = [], []
    for name, value in known.items():
        if isinstance(value, int | float):
            unit = _unit(units.get(name) or (CATALOGUE[name].unit if name in CATALOGUE else ""))
            numbers.append(sr.Measurement(name=_named(name), value=float(value), unit=unit))
        else:
            words.append(sr.QualitativeEvaluation(name=_named(name), value=_level(name, str(value))))
    group = sr.MeasurementsAndQualitativeEvaluations(
        tracking_identifier=sr.TrackingIdentifier(uid=_uid(content, "tracking"), identifier=origin.number),
        measurements=numbers,
        qualitative_evaluations=words,
    )
    report = sr.MeasurementReport(
        observation_context=sr.ObservationContext(observer_device_context=context),
        procedure_reported=Code("113014", "DCM", "Study"),
        imaging_measurements=[group],
        title=codes.DCM.ImagingMeasurementReport,
    )
    return _file(_document(report, origin, content))


def _document(report: Any, origin: Origin | Copied, content: str) -> Dataset:
    """The report as an instance of its own, marked as what it is."""
    from highdicom.sr import EnhancedSR

    person = patient_and_study(origin, content)
    person.SOPInstanceUID, person.SeriesInstanceUID = _uid(content, "evidence"), _uid(content, "evidence series")
    made = EnhancedSR(
        evidence=[person],
        content=report[0],
        series_instance_uid=_uid(content, "series"),
        series_number=1,
        sop_instance_uid=_uid(content, "instance"),
        instance_number=1,
        manufacturer="Somatwin",
        is_complete=True,
        record_evidence=False,
        series_description=origin.notice[:MEANING],
    )
    for name in ("CurrentRequestedProcedureEvidenceSequence", "PertinentOtherEvidenceSequence"):
        made.pop(name, None)  # there is no image to refer to
    for name in ("InstanceCreationDate", "InstanceCreationTime"):
        made.pop(name, None)
    for item in made.get("ContributingEquipmentSequence", ()):
        item.pop("ContributionDateTime", None)
    for name, value in (("ContentDate", NO_DATE), ("ContentTime", NO_TIME)):
        setattr(made, name, value)
    for name in ("PatientComments", "SyntheticData", "StudyDescription", "PatientAge", "PatientSize", "PatientWeight"):
        if name in person:
            made[name] = person[name]
    return made


def _named(name: str) -> Any:
    known = CONCEPTS.get(name)
    return _concept(known[0] if known else Code(name, OWN, name[:MEANING]))


def _concept(code: Code) -> Any:
    from highdicom.sr import CodedConcept

    return CodedConcept(code.value, code.scheme_designator, code.meaning[:MEANING])


def _unit(unit: str) -> Any:
    ucum = UCUM.get(unit, unit)
    plain_units = ("a", "cm", "kg", "kg/m2", "%", "L", "mL", "mm", "mm3", "cm2", "1")
    return _concept(Code(ucum if ucum in plain_units else f"{{{unit}}}", "UCUM", unit or "no units"))


def _level(name: str, level: str) -> Any:
    if name == "sex" and level in SEXES:
        return _concept(SEXES[level])
    return _concept(Code(level, OWN, level[:MEANING]))


def is_report(data: bytes) -> bool:
    """Whether a DICOM file is a structured report."""
    try:
        with quiet():
            return str(parsed(data, ["SOPClassUID"]).get("SOPClassUID", "")) in SR
    except DAMAGED:
        return False


def read_sr(data: bytes) -> Measured:
    """What a structured report measures, wherever it stands in its tree; nobody's name is read.

    A number of a well-known column is brought to its own unit. What is measured twice and differs, and a number in a unit that its
    column cannot be counted in, is left out and said. Raises :class:`VolumeError` for a file that is damaged or no report.
    """
    try:
        with quiet():
            report = dcmread(BytesIO(data), specific_tags=["SOPClassUID", "ContentSequence"])
            if str(report.get("SOPClassUID", "")) not in SR:
                raise VolumeError("the DICOM file is no structured report; give one of measurements (TID 1500)")
            items = list(_leaves(report.get("ContentSequence", ()), ""))
            found = [_value(site, item) for site, item in items]
    except VolumeError:
        raise
    except DAMAGED:
        raise VolumeError("a structured report is damaged; export it again") from None
    row: Row = {}
    units: dict[str, str] = {}
    notes: list[str] = []
    twice: set[str] = set()
    for name, value, unit in found:
        if name in CATALOGUE and isinstance(value, float):
            if CATALOGUE[name].unit and not unit:
                notes.append(f"a report gives {name} {value:g} without a unit; give it in {CATALOGUE[name].unit}")
                continue
            try:
                value, unit = value * factor(name, unit), CATALOGUE[name].unit
            except UnitError as error:
                notes.append(f"{error}")
                continue
        if name in row and (row[name], units.get(name, "")) != (value, unit):
            twice.add(name)
        row[name] = value
        units |= {name: unit} if isinstance(value, float) else {}
    for name in sorted(twice):
        del row[name]
        units.pop(name, None)
        notes.append(f"a report gives {name} several values, so none was taken; keep one")
    return Measured(row=row, units=units, notes=tuple(notes))


def _leaves(items: Any, site: str, depth: int = 0) -> Any:
    """(finding site, item) of every measurement and evaluation in a tree of content."""
    if depth > 32:
        raise VolumeError("a structured report is nested too deeply; export it again")
    here = site
    for item in items:
        if item.get("ValueType") == "CODE" and _key(item.ConceptNameCodeSequence[0]) in SITES:
            word = plain(str(item.ConceptCodeSequence[0].get("CodeMeaning", "")))
            here = f"{here} {word}".strip()
    for item in items:
        kind, inner = item.get("ValueType"), item.get("ContentSequence", ())
        if kind == "NUM":
            sites = [i for i in inner if i.get("ValueType") == "CODE" and _key(i.ConceptNameCodeSequence[0]) in SITES]
            words = " ".join(plain(str(i.ConceptCodeSequence[0].get("CodeMeaning", ""))) for i in sites)
            yield f"{here} {words}".strip(), item
        elif kind == "CODE" and _evaluates(item):
            yield here, item
        elif inner:
            yield from _leaves(inner, here, depth + 1)


#: how a number was computed from others, and what of them is one more measurement of the same
DERIVATION, CENTRAL = ("121401", "DCM"), ("mean", "mean value", "median", "total")
#: finding site and laterality
SITES = {("363698007", "SCT"), ("G-C0E3", "SRT"), ("272741003", "SCT"), ("G-C171", "SRT")}


def _key(concept: Any) -> tuple[str, str]:
    said = concept.get("CodeValue") or concept.get("LongCodeValue") or concept.get("URNCodeValue") or ""
    return str(said), str(concept.get("CodingSchemeDesignator", ""))


def _evaluates(item: Any) -> bool:
    """Whether a coded item says something of the person, not of the report: our own columns and well-known ones."""
    code, scheme = _key(item.ConceptNameCodeSequence[0])
    return scheme == OWN or (code, scheme) in _NAMES


def _derived(item: Any) -> str:
    """What a number is of several measurements, such as their standard deviation; "" where it stands for them."""
    inner = [i for i in item.get("ContentSequence", ()) if i.get("ValueType") == "CODE"]
    words = [
        plain(str(i.ConceptCodeSequence[0].get("CodeMeaning", "")))
        for i in inner
        if _key(i.ConceptNameCodeSequence[0]) == DERIVATION
    ]
    return " ".join(word for word in words if word not in CENTRAL)


def _value(site: str, item: Any) -> tuple[str, str | float | None, str]:
    """Column, value and unit of an item."""
    concept = item.ConceptNameCodeSequence[0]
    key = _key(concept)
    how = _derived(item)  # a standard deviation is no value
    meant = re.sub(r"\s+", "_", plain(f"{site} {concept.get('CodeMeaning', key[0])} {how}"))
    name = key[0] if key[1] == OWN else (not how and _NAMES.get(key)) or meant
    if item.ValueType == "CODE":
        value = item.ConceptCodeSequence[0]
        return name, _SEX.get(_key(value), _key(value)[0]), ""
    measured = (item.get("MeasuredValueSequence") or [None])[0]
    if measured is None:
        return name, None, ""
    number = float(measured.FloatingPointValue if "FloatingPointValue" in measured else measured.NumericValue)
    unit = _key(measured.MeasurementUnitsCodeSequence[0])[0]
    bare = re.sub(r"\{[^}]*\}", "", unit) or unit.removeprefix("{").removesuffix("}")  # {beats}/min is /min
    return name, number, _UNITS.get(unit, bare)


def _file(report: Dataset) -> bytes:
    stream = BytesIO()
    report.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _uid(*parts: str) -> UID:
    """The same for the same parts, in the range that pydicom lends."""
    return generate_uid(entropy_srcs=["/".join(("somatwin", "sr", *parts))])
