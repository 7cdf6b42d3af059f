"""A DICOM image without what could tell who it is of: the basic profile of PS3.15 (annex E), stricter where text is concerned.

dicognito replaces names, numbers, dates and unique identifiers, alike in all files of a person; here goes what it leaves: every
text but the scanner's make, private elements, overlays, curves, icons, whatever is of no known kind. Options of the profile: patient
characteristics (age, sex, size, weight) and dates shifted by one constant a person are retained.
"""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from io import BytesIO
from typing import Any

from pydicom import dcmread
from pydicom.dataset import Dataset, FileMetaDataset

from engine.imaging.dicom.files import DAMAGED, quiet
from engine.imaging.dicom.images import DAMAGE
from engine.imaging.volume import VolumeError

#: kinds of elements that hold text, or bytes of whatever kind
TEXTS, BYTES = ("LO", "LT", "SH", "ST", "UC", "UR", "UT", "PN", "AE"), ("OB", "OW", "OF", "OD", "OL", "OV", "UN")
#: those that stay
KEPT = {
    "Manufacturer",
    "ManufacturerModelName",
    "PatientName",
    "PatientID",
    "PixelData",
    "RescaleType",
    "FrameLaterality",
}
#: what has to stand in an image, if only empty (type 2)
EMPTY = (
    "PatientBirthDate",
    "AccessionNumber",
    "StudyID",
    "ReferringPhysicianName",
    "StudyTime",
    "PositionReferenceIndicator",
)
#: a moment, to see by how much moments are shifted
NOON = datetime(2000, 1, 1, 12)
METHOD = "PS3.15 E basic profile; no text, private or graphic elements"
#: the profile and its options (CID 7050)
OPTIONS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
)


def deidentified(data: bytes, *, name: str, secret: str) -> tuple[bytes, Counter[str]]:
    """The file of an image as one of the person ``name``, and how many elements of each keyword were removed or replaced.

    The same ``secret``, which nobody may keep, gives the files of a person the same shift and the same new identifiers. Raises
    :class:`VolumeError` for a file that is damaged.
    """
    from dicognito.anonymizer import Anonymizer

    try:
        with quiet():
            image = dcmread(BytesIO(data))
            before = {_place(element): element.repval for element in image}
            private = sum(element.tag.is_private for element in image.iterall())
            image.remove_private_tags()
            _stripped(image.file_meta)
            gone = _stripped(image)
            Anonymizer(seed=secret).anonymize(image)
            image.PatientName, image.PatientID = f"{name}^", name
            for keyword in EMPTY:
                setattr(image, keyword, "")
            _marked(image)
            changed = {_place(e) for e in image if before.get(_place(e), e.repval) != e.repval}
            stream = BytesIO()
            image.preamble = b"\0" * 128
            image.save_as(stream, enforce_file_format=True)
    except DAMAGED:
        raise VolumeError(DAMAGE) from None
    replaced = Counter({keyword: 1 for keyword in changed})
    return stream.getvalue(), (gone | replaced) + Counter({"private elements": private})


def shift_of(secret: str) -> timedelta:
    """By how much the dates of the person with this ``secret`` are shifted."""
    from dicognito.anonymizer import Anonymizer

    one = Dataset()
    one.file_meta = FileMetaDataset()
    one.AcquisitionDateTime = NOON.strftime("%Y%m%d%H%M%S")
    Anonymizer(seed=secret).anonymize(one)
    return datetime.strptime(str(one.AcquisitionDateTime)[:14], "%Y%m%d%H%M%S") - NOON


def _place(element: Any) -> str:
    return element.keyword or str(element.tag)


def _stripped(image: Dataset) -> Counter[str]:
    """Delete, in place and in all that is nested, what holds text or unknown bytes; how many elements by keyword."""
    gone: Counter[str] = Counter()
    for element in list(image):
        graphic = element.tag.group & 0xFF00 in (0x5000, 0x6000) or element.keyword == "IconImageSequence"
        spoken = element.VR in (*TEXTS, *BYTES) and element.keyword not in KEPT
        if graphic or spoken:
            gone[_place(element)] += 1
            del image[element.tag]
        elif element.VR == "SQ":
            for item in element.value:
                gone += _stripped(item)
    return gone


def _marked(image: Dataset) -> None:
    """Say that, and how, the person's identity was removed."""
    image.PatientIdentityRemoved = "YES"
    image.LongitudinalTemporalInformationModified = "MODIFIED"
    image.DeidentificationMethod = METHOD
    image.DeidentificationMethodCodeSequence = []
    for code, meaning in OPTIONS:
        item = Dataset()
        item.CodeValue, item.CodingSchemeDesignator, item.CodeMeaning = code, "DCM", meaning
        image.DeidentificationMethodCodeSequence.append(item)
