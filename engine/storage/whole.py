"""Whole or not at all: the one way in which files and directories are put on disk.

A file is written beside its place, ``.NAME.part``, and renamed, which is one step. A directory that replaces another takes
two: the old one is moved aside to ``.NAME.old``, the new one takes its place, and only then is the old one deleted. Whoever
is killed between the two leaves no directory but the whole old one aside, and the next reader (:func:`settled`) or writer
puts it back. ``.NAME.gone`` is being deleted: nothing in it is ever used again.
"""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from engine.vocabulary.refusal import Refusal

#: how often a reader may put the old directory back just while a writer replaces it
TRIES = 8


def part_of(path: Path) -> Path:
    """The hidden sibling in which ``path`` is written."""
    return path.with_name(f".{path.name}.part")


def aside_of(path: Path) -> Path:
    """The hidden sibling where the old ``path``, whole, waits for the new one to take its place."""
    return path.with_name(f".{path.name}.old")


@contextmanager
def refusing(path: Path, refusal: type[Refusal]) -> Iterator[None]:
    """A disk that refuses becomes one sentence, a ``refusal`` that names ``path``."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or error
        raise refusal(f"{path} cannot be written ({reason}); free some space or choose another place") from None


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A hidden sibling to write; it becomes ``path`` when the block ends well, and goes otherwise. Raises OSError."""
    path = target_of(path)
    part = part_of(path)
    try:
        yield part
        os.replace(part, path)
    finally:
        part.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """The file ``path`` with this text in UTF-8, whole or not at all. Raises OSError."""
    with whole_file(path) as part:
        part.write_text(text, "utf-8")


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A hidden sibling to write into; it takes the place of ``path`` when the block ends well, and goes otherwise.

    Raises OSError, and then ``path`` is what it was.
    """
    path = target_of(path)
    part = part_of(path)
    settled(path)
    made = [folder for folder in part.parents if not folder.exists()]
    try:
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        yield part
        put_in_place(part, path)
    finally:
        shutil.rmtree(part, ignore_errors=True)
        with suppress(OSError):  # those that hold something stay
            for folder in made:
                folder.rmdir()


@contextmanager
def amended_directory(path: Path) -> Iterator[Path]:
    """As :func:`whole_directory`, and the sibling begins with every file of ``path``, shared and not copied.

    Replace files in it by :func:`write_text` or :func:`whole_file`: what is written into one in place changes both.
    """
    path = target_of(path)
    with whole_directory(path) as part:
        shutil.copytree(path, part, dirs_exist_ok=True, copy_function=_shared)
        yield part


def put_in_place(part: Path, path: Path) -> None:
    """Give the whole directory ``part`` the name ``path``, which may have a directory already. Raises OSError."""
    old = aside_of(path)
    settled(path)
    _delete(old)
    for left in reversed(range(TRIES)):
        if path.exists():
            os.rename(path, old)
        try:
            os.rename(part, path)
            break
        except OSError as error:
            again = error.errno in (errno.ENOTEMPTY, errno.EEXIST) and left
            if not again:
                settled(path)
                raise
    _delete(old)


def settled(path: Path) -> Path:
    """Where the directory ``path`` is to be read: its own place, once what a killed writer left aside is put back there.

    On a disk that cannot be written it is read where it waits.
    """
    old = aside_of(path)
    if path.exists() or not old.is_dir():
        return path
    try:
        os.rename(old, path)
    except OSError:
        return path if path.exists() else old
    return path


def settle_all(folder: Path) -> None:
    """Put back whatever directories in ``folder`` killed writers left aside."""
    for old in folder.glob(".*.old"):
        settled(old.with_name(old.name.removeprefix(".").removesuffix(".old")))


def file_sha256(path: Path) -> str:
    """The SHA-256 of a file, in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def target_of(path: Path) -> Path:
    """What a link stands for is replaced, not the link."""
    return path.resolve() if path.is_symlink() else path


def _shared(source: str, target: str) -> None:
    """The same file under another name, or a copy on a disk that has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _delete(old: Path) -> None:
    """Delete a directory that nobody needs; it loses its name first, so that half of it is never taken for the whole."""
    gone = old.with_name(f"{old.name.removesuffix('.old')}.gone")
    shutil.rmtree(gone, ignore_errors=True)
    with suppress(OSError):  # what cannot be deleted now is deleted by the next writer
        if old.exists():
            os.rename(old, gone)
            shutil.rmtree(gone, ignore_errors=True)
