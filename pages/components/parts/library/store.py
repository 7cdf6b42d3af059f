"""The reader's library: persons and what-ifs that were kept, each with a name, a small picture and its exact settings.

It is kept in the session, in the browser's own storage (:mod:`pages.components.parts.library.shelf`) and, as a file, wherever the
reader puts it. It holds settings and pictures of people who do not exist, and never a scan of the reader's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from PIL import Image

from engine.vocabulary.refusal import Refusal
from pages.components.parts.session_file import NOTICE, Session, SessionError, read_session
from pages.components.state.session import kept

FORMAT, VERSION = "somatwin-library", 1
#: entries of a library, bytes of its file and of a picture, and characters of a name, at most
MOST, LARGEST, PICTURE, NAME = 60, 2**20, 2**14, 60
FOREIGN = "This is no library file of Somatwin; choose one that the page Library saved."


class LibraryError(Refusal):
    """A file that is no library; the message says what to do."""


@dataclass(frozen=True, kw_only=True)
class Entry:
    """What was kept: the ``session`` leads back to it, ``words`` say what it is, ``picture`` is a WebP (empty: none)."""

    name: str
    words: str
    session: Session
    picture: bytes = b""

    @property
    def key(self) -> str:
        """The same for the same people drawn with the same weights."""
        said = json.dumps([self.session.page, self.session.address, self.session.digest], sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()[:12]

    @property
    def seed(self) -> int:
        return int(self.session.address.get("seed", "0"))


@dataclass
class Library:
    """``entries`` by key, the oldest first; ``removed`` are the keys of those that the reader took away in this session."""

    entries: dict[str, Entry] = field(default_factory=dict)
    removed: set[str] = field(default_factory=set)

    def add(self, entry: Entry) -> None:
        """Keep an entry; the oldest of too many is let go."""
        self.removed.discard(entry.key)
        self.entries.setdefault(entry.key, entry)
        while len(self.entries) > MOST:
            self.remove(next(iter(self.entries)))

    def remove(self, key: str) -> None:
        self.entries.pop(key, None)
        self.removed.add(key)

    def rename(self, key: str, name: str) -> None:
        """Name an entry; an empty name leaves it as it was called."""
        if name.strip():
            self.entries[key] = replace(self.entries[key], name=name.strip()[:NAME])

    def merge(self, entries: Iterable[Entry]) -> None:
        """Take in entries of before, but for those that were removed; they come first."""
        before = {entry.key: entry for entry in entries if entry.key not in self.removed}
        self.entries = {**before, **self.entries}


def library() -> Library:
    """The library of this session."""
    return kept("library", Library)


def library_text(entries: Iterable[Entry]) -> str:
    """The file of a library."""
    content = {"format": FORMAT, "version": VERSION, "notice": NOTICE, "entries": [_plain(entry) for entry in entries]}
    return json.dumps(content, indent=1)


def read_library(text: str | bytes) -> list[Entry]:
    """The entries of a file, each part of them checked; raises :class:`LibraryError` for anything else."""
    if len(text) > LARGEST:
        raise LibraryError(f"A library has {LARGEST // 1024} kB at most, this file is larger. {FOREIGN}")
    try:
        content = json.loads(text)
    except (ValueError, RecursionError):
        raise LibraryError(FOREIGN) from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise LibraryError(FOREIGN)
    if content.get("version") != VERSION:
        raise LibraryError(
            f"The library is of version {str(content.get('version'))[:9]}, this program reads {VERSION}."
        )
    try:
        return [_entry(found) for found in content["entries"][:MOST]]
    except LibraryError:
        raise
    except (KeyError, TypeError, ValueError, AttributeError, binascii.Error, SessionError):
        raise LibraryError("The library is damaged; save it again from the page Library.") from None


def _is_own(picture: bytes) -> bool:
    """Is it a small WebP, whole?"""
    if len(picture) > PICTURE:
        return False
    try:
        with Image.open(io.BytesIO(picture), formats=["WEBP"]) as found:
            found.load()
    except (OSError, ValueError):
        return False
    return True


def _plain(entry: Entry) -> dict[str, Any]:
    session = json.loads(entry.session.to_bytes())
    picture = base64.b64encode(entry.picture).decode()
    return {"name": entry.name, "words": entry.words, "session": session, "picture": picture}


def _entry(found: Mapping[str, Any]) -> Entry:
    name, words = str(found["name"])[:NAME], str(found["words"])[: 4 * NAME]
    picture = base64.b64decode(found["picture"], validate=True)
    if picture and not _is_own(picture):
        raise LibraryError("The library has a picture that is none of its own.")
    session = read_session(json.dumps(found["session"]).encode())
    if not session.address.get("seed", "0").isdecimal():
        raise LibraryError("The library has a seed that is no number.")
    return Entry(name=name.strip() or words, words=words, session=session, picture=picture)
