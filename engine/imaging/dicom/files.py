"""DICOM files wherever they lie (a zip archive, a folder, a DICOMDIR), each told by its first bytes, one in memory at a time."""

from __future__ import annotations

import logging
import struct
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path, PureWindowsPath
from typing import Any

from pydicom import dcmread
from pydicom.dataset import FileMetaDataset
from pydicom.errors import BytesLengthException, InvalidDicomError
from pydicom.filereader import read_file_meta_info
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian

from engine.imaging.volume import VolumeError
from engine.storage.archive import MOST_BYTES, MOST_FILES, ArchiveError, contents

#: where DICOM files may be: a path, the bytes of an archive, several paths
Origin = str | Path | bytes | tuple[Path, ...]
#: what pydicom and its decoders raise for a file that they cannot make sense of
DAMAGED = (
    InvalidDicomError,
    BytesLengthException,
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    TypeError,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,
    NotImplementedError,
    RecursionError,
    struct.error,
    zlib.error,
)
#: whose words would quote a file
LOGGERS = ("pydicom", "pylibjpeg", "openjpeg", "gdcm", "highdicom", "PIL")
#: what DICOM files are named, whatever they hold
ENDS = (".dcm", ".ima")
DIRECTORY = "1.2.840.10008.1.3.10"
#: bytes of one file at most
MOST_FILE = 2**31


def files(source: Origin) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each DICOM file, and of what is only named like one: in a zip archive (a path or its bytes), a folder, of
    those a DICOMDIR names, or of all these in a list.

    Files come in the order of their names; archives within a folder or an archive are opened in their turn. What is no DICOM
    file is passed over. Raises :class:`VolumeError` for an archive beyond bounds and a DICOMDIR whose files are not there.
    """
    try:
        if isinstance(source, tuple):
            for one in source:
                yield from files(one)
            return
        found = _in_archive(source) if isinstance(source, bytes) else _at(Path(source))
        yield from ((name, data) for name, data in found if is_dicom(data) or name.casefold().endswith(ENDS))
    except ArchiveError as error:
        raise VolumeError(str(error)) from None


def is_dicom(data: bytes) -> bool:
    """Whether bytes begin as a DICOM file does: with its preamble, or, as older archives have it, with its first elements."""
    if data[128:132] == b"DICM":
        return True
    little, big = data[:2] in (b"\2\0", b"\x08\0"), data[:2] in (b"\0\2", b"\0\x08")
    if not (little or big) or len(data) < 132:
        return False
    explicit = data[4:6].isalpha() and data[4:6].isupper()
    length = int.from_bytes(data[4:8], "little" if little else "big")
    return explicit or (little and length < 2**16)


@contextmanager
def quiet() -> Iterator[None]:
    """Nothing that pydicom and its decoders say of a file, which would quote it, reaches a log or the terminal."""
    names = [name for name in logging.root.manager.loggerDict if name.split(".")[0] in LOGGERS]
    loggers = [logging.getLogger(name) for name in {*names, *LOGGERS}]
    were = [logger.disabled for logger in loggers]
    try:
        for logger in loggers:
            logger.disabled = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, was in zip(loggers, were, strict=True):
            logger.disabled = was


def parsed(data: bytes, tags: list[Any], *, pixels: bool = False) -> Any:
    """The elements ``tags`` of a file; raises one of :data:`DAMAGED`."""
    with quiet():
        image = dcmread(BytesIO(data), force=True, specific_tags=tags, stop_before_pixels=not pixels)
        if "TransferSyntaxUID" not in getattr(image, "file_meta", {}):
            implicit, little = image.original_encoding
            image.file_meta = getattr(image, "file_meta", FileMetaDataset())
            big = ExplicitVRLittleEndian if little else ExplicitVRBigEndian
            image.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else big
        return image


def _in_archive(source: str | Path | bytes) -> Iterator[tuple[str, bytes]]:
    yield from contents(source, size=MOST_BYTES)


def _at(path: Path) -> Iterator[tuple[str, bytes]]:
    if path.is_dir():
        yield from _in_folder(path)
    elif not path.is_file():
        raise VolumeError(f"{path} does not exist; give a folder, a zip archive or a DICOMDIR")
    elif _is_directory(path):
        yield from _named(path)
    elif path.open("rb").read(4) == b"PK\3\4" or path.suffix.casefold() == ".zip":
        yield from _in_archive(path)
    else:
        yield path.name, path.read_bytes()


def _in_folder(folder: Path) -> Iterator[tuple[str, bytes]]:
    found = sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))
    if len(found) > MOST_FILES * 50:
        raise VolumeError(
            f"{folder} holds {len(found)} files, {MOST_FILES * 50} are the most; give the folder of one cohort"
        )
    for path in found:
        name = str(path.relative_to(folder))
        if path.suffix.casefold() == ".zip":
            yield from ((f"{name}/{inner}", data) for inner, data in _in_archive(path))
        elif path.stat().st_size <= MOST_FILE:
            with path.open("rb") as file:
                head = file.read(132)
                if is_dicom(head) or name.casefold().endswith(ENDS):
                    yield name, head + file.read()


def _is_directory(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            if file.read(132)[128:] != b"DICM":
                return False
        return str(read_file_meta_info(path).get("MediaStorageSOPClassUID", "")) == DIRECTORY
    except DAMAGED:
        return False


def _named(directory: Path) -> Iterator[tuple[str, bytes]]:
    """The files that a DICOMDIR names; it lies above all of them (PS3.10, 8.6)."""
    try:
        with quiet():
            records = dcmread(directory, specific_tags=["DirectoryRecordSequence"]).get("DirectoryRecordSequence", [])
            parts = [record.ReferencedFileID for record in records if "ReferencedFileID" in record]
    except DAMAGED:
        raise VolumeError(f"{directory.name} is damaged; give the folder of the DICOM files themselves") from None
    named = [[str(part)] if isinstance(part, str) else [str(step) for step in part] for part in parts]
    lost = 0
    for steps in named:
        inner = PureWindowsPath(*steps)
        if inner.is_absolute() or ".." in inner.parts or inner.drive:
            raise VolumeError(
                f"{directory.name} names a file outside its folder; give the folder of the DICOM files themselves"
            )
        path = directory.parent.joinpath(*inner.parts)
        if path.is_file():
            yield "/".join(inner.parts), path.read_bytes()
        else:
            lost += 1
    if lost:
        raise VolumeError(
            f"{lost} of {len(named)} files that {directory.name} names are not there; copy the whole medium"
        )
