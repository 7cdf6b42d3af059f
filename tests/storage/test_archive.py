"""Archives from strangers: whatever is beyond bounds is refused by the table of contents, before a byte is unpacked."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from engine.storage.archive import ArchiveError, contents


def packed(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(zipfile.ZipInfo(name), data, method)
    return stream.getvalue()


FILES = {"a/1": b"one", "b/2": b"two" * 100}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_files_come_in_their_order_from_bytes_and_from_a_path(method: int, tmp_path: Path):
    data = packed(FILES, method)
    (tmp_path / "a.zip").write_bytes(data)
    assert dict(contents(data)) == dict(contents(tmp_path / "a.zip")) == FILES


def test_archives_within_are_opened_and_no_deeper():
    inner = packed({"deep": b"x"})
    assert dict(contents(packed({"in.zip": inner, "y": b"y"}))) == {"deep": b"x", "y": b"y"}
    with pytest.raises(ArchiveError, match="holds archives 2 deep; unpack the inner ones first"):
        list(contents(packed({"in.zip": packed({"in.zip": inner})})))


def test_what_systems_leave_beside_files_is_passed_over():
    junk = {"__MACOSX/._a": b"x", "a/._1": b"x", "a/.DS_Store": b"x", "Thumbs.db": b"x"}
    assert dict(contents(packed({**junk, **FILES}))) == FILES


@pytest.mark.parametrize("name", ["../a", "a/../../b", "/etc/passwd", "C:/a", "..\\a", "\\\\server\\a", "a\\..\\..\\b"])
def test_a_name_that_leads_out_is_refused(name: str):
    with pytest.raises(ArchiveError, match="a file whose name leads out of it"):
        list(contents(packed({name: b"x"})))


def test_bounds(monkeypatch: pytest.MonkeyPatch):
    many, large, deep = (
        packed({str(i): b"" for i in range(20)}),
        packed({"a": b"ab" * 2**20}),
        packed({"d/" * 40 + "a": b"x"}),
    )
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *_: pytest.fail("it was unpacked"))
    with pytest.raises(ArchiveError, match="holds 20 files, 10 are the most"):
        list(contents(many, files=10))
    with pytest.raises(ArchiveError, match="unpacks to 2 MB, 1 MB are the most"):
        list(contents(large, size=2**20))
    with pytest.raises(ArchiveError, match="times its size, 500 are the most"):
        list(contents(large))
    with pytest.raises(ArchiveError, match="folders 41 deep, 32 are the most"):
        list(contents(deep))


def test_what_an_archive_within_holds_counts_too():
    inner = packed({str(i): b"abc" * 100 for i in range(6)}, zipfile.ZIP_STORED)
    with pytest.raises(ArchiveError, match="holds 6 files, 4 are the most"):
        list(contents(packed({"in.zip": inner, "y": b"y"}), files=6))
    with pytest.raises(ArchiveError, match="are the most; pack one series"):
        list(contents(packed({"in.zip": inner}, zipfile.ZIP_STORED), size=len(inner) + 1000))


def test_a_size_that_is_not_true_and_a_locked_file_are_found():
    data = bytearray(packed({"a": b"abcdefgh" * 1000}))
    at = data.rindex(b"PK\1\2")
    small = data[: at + 24] + struct.pack("<I", 8) + data[at + 28 :]
    with pytest.raises(ArchiveError, match="damaged or incomplete"):
        list(contents(bytes(small)))
    locked = bytearray(data)
    locked[at + 8] |= 1
    with pytest.raises(ArchiveError, match="locked with a password"):
        list(contents(bytes(locked)))


@pytest.mark.parametrize("data", [b"", b"PK\3\4", b"%PDF-1.7", packed(FILES)[:60], packed(FILES)[30:]])
def test_what_is_no_whole_archive_is_refused(data: bytes):
    with pytest.raises(ArchiveError, match="damaged or incomplete"):
        list(contents(data))
