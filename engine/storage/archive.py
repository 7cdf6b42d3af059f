"""Zip archives from strangers: nothing is unpacked before its table of contents is within bounds, and nothing ever to disk."""

from __future__ import annotations

import zipfile
import zlib
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path, PurePosixPath

from engine.vocabulary.refusal import Refusal

#: files in an archive, bytes of all of them unpacked, how many times smaller they may be packed, archives within archives, and
#: folders within folders
MOST_FILES, MOST_BYTES, MOST_RATIO, DEEPEST, MOST_FOLDERS = 20000, 2**30, 500, 2, 32
#: size below which the ratio says nothing
SMALL = 2**20
#: the flag of a locked file in an archive (APPNOTE.TXT 4.4.4), and what packing methods are read
ENCRYPTED = 0x1
ZIP = b"PK\3\4"
#: what operating systems put beside one's files
JUNK = ("__MACOSX/", "._", ".DS_Store", "Thumbs.db", "desktop.ini")


class ArchiveError(Refusal):
    """An archive that cannot be opened or is beyond bounds; the message says why and what to do."""


def contents(
    archive: str | Path | bytes, *, files: int = MOST_FILES, size: int = MOST_BYTES
) -> Iterator[tuple[str, bytes]]:
    """Name and bytes of each file of a zip archive, one in memory at a time, archives within it opened in their turn.

    Raises :class:`ArchiveError` for what is no archive, damaged, locked, or beyond bounds: too many files, too many bytes, packed
    too well, nested too deeply, or with a name that leads out of the folder it would be unpacked to.
    """
    yield from _opened(archive, files, size, 0)


def _opened(archive: str | Path | bytes, files: int, size: int, depth: int) -> Iterator[tuple[str, bytes]]:
    try:
        with zipfile.ZipFile(BytesIO(archive) if isinstance(archive, bytes) else archive) as opened:
            entries = checked(opened, files=files, size=size)
            for entry in entries:
                with opened.open(entry) as file:
                    data = file.read(entry.file_size)
                if not data.startswith(ZIP):
                    yield entry.filename, data
                elif depth + 1 >= DEEPEST:
                    raise ArchiveError(f"the zip archive holds archives {depth + 1} deep; unpack the inner ones first")
                else:
                    left = size - sum(other.file_size for other in entries)
                    yield from _opened(data, files - len(entries), left, depth + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError) as error:
        if isinstance(error, Refusal) or (isinstance(error, OSError) and error.filename):
            raise
        raise ArchiveError("the zip archive is damaged or incomplete; pack the series again") from None


def checked(
    opened: zipfile.ZipFile, name: str = "the zip archive", *, files: int = MOST_FILES, size: int = MOST_BYTES
) -> list[zipfile.ZipInfo]:
    """An archive's files, by its table of contents; raises :class:`ArchiveError` where that is beyond bounds."""
    entries = [entry for entry in opened.infolist() if not entry.is_dir() and not _junk(entry.filename)]
    if len(entries) > files:
        raise ArchiveError(f"{name} holds {len(entries)} files, {files} are the most; pack one series only")
    if (total := sum(entry.file_size for entry in entries)) > size:
        raise ArchiveError(
            f"{name} unpacks to {total / 2**20:.0f} MB, {size / 2**20:.0f} MB are the most; pack one series"
        )
    packed = sum(entry.compress_size for entry in entries)
    if total > SMALL and total > MOST_RATIO * max(packed, 1):
        raise ArchiveError(
            f"{name} unpacks to {total / max(packed, 1):.0f} times its size, {MOST_RATIO} are the most; pack it anew"
        )
    if any(entry.flag_bits & ENCRYPTED for entry in entries):
        raise ArchiveError(f"{name} is locked with a password; pack the series without one")
    for entry in entries:
        path = PurePosixPath(entry.filename.replace("\\", "/"))
        if path.is_absolute() or ".." in path.parts or ":" in path.parts[0] or "\0" in entry.filename:
            raise ArchiveError(f"{name} holds a file whose name leads out of it; pack the folder itself")
        if len(path.parts) > MOST_FOLDERS:
            raise ArchiveError(
                f"{name} holds folders {len(path.parts)} deep, {MOST_FOLDERS} are the most; pack them flat"
            )
    return entries


def _junk(name: str) -> bool:
    return name.startswith(JUNK[0]) or PurePosixPath(name).name.startswith(JUNK[1:])
