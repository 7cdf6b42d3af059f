"""Small valid files of every kind that is read, what reads each, and the ways in which bytes go wrong."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from hypothesis import strategies as st
from openpyxl import Workbook

from engine.cohort.dictionary import dictionary
from engine.cohort.sources.bids import read_bids
from engine.cohort.sources.table import TableCohort, read_named
from engine.imaging.dicom import read_dixon, read_series
from engine.imaging.nifti import load_volume, read_volume
from engine.imaging.segmentation import Segmentation, read_segmentation, write_segmentation
from engine.imaging.volume import Volume
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.cells import parse_rows
from tests.imaging.dicom_files import enhanced, series, zipped

AFFINE = np.array([[-1.5, 0, 0, 20], [0, 0, 2.0, -31], [0, 3.0, 0, 4], [0, 0, 0, 1]])
SCAN = Volume(np.arange(8 * 9 * 10, dtype=np.float32).reshape(8, 9, 10) / 100, np.diag([1.5, 2, 3, 1]))
TABLE = "participant_id\tage\tsex\theight\tweight\tbmi\tsmoking\n" + "".join(
    f"sub-{i:02d}\t{20 + i}.5\t{'FM'[i % 2]}\t{150 + 2 * i}\tn/a\t{18 + i}\t{('none', 'light', 'NA')[i % 3]}\n"
    for i in range(12)
)
ABOUT = {
    "age": {"Units": "years", "Minimum": 0},
    "smoking": {"Levels": {"none": "no", "light": "some"}},
    "Cohort": {"Name": "x"},
}
BIDS = {"Name": "made up", "BIDSVersion": "1.10.0", "License": "CC0"}
LABELS = Segmentation((SCAN.data > 3).astype(np.uint8), SCAN.affine, ("background", "liver"))


@dataclass(frozen=True)
class Kind:
    """A valid file, and what reads it: bytes and an empty folder in, anything or a refusal out."""

    valid: bytes
    read: Callable[[bytes, Path], Any]


def _nifti(kind: type = nib.Nifti1Image, order: str = "<") -> bytes:
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.int16)
    return kind(np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6), AFFINE, header).to_bytes()


def _book() -> bytes:
    book, stream = Workbook(), io.BytesIO()
    assert book.active is not None
    for line in TABLE.splitlines():
        book.active.append(line.split("\t"))
    book.save(stream)
    return stream.getvalue()


def _put(folder: Path, name: str, data: bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return path


def _volume(data: bytes, folder: Path) -> Volume:
    volume = read_volume(data, most=2**26)
    other = load_volume(_put(folder, "a.nii.gz", data))
    np.testing.assert_array_equal(volume.data, other.data)
    return volume


def _pair(data: bytes, folder: Path) -> Volume:
    _put(folder, "a.img", bytes(range(240)) * 1)
    return load_volume(_put(folder, "a.hdr", data))


def _table(name: str) -> Callable[[bytes, Path], Any]:
    def read(data: bytes, folder: Path) -> Any:
        path = _put(folder, name, data)
        parse_rows(read_named(path, CATALOGUE).rows)
        return TableCohort.open(path)

    return read


def _about(data: bytes, folder: Path) -> Any:
    _put(folder, "t.tsv", TABLE.encode())
    dictionary(_put(folder, "t.json", data))
    return TableCohort.open(folder / "t.tsv")


def _bids(name: str) -> Callable[[bytes, Path], Any]:
    def read(data: bytes, folder: Path) -> Any:
        _put(folder, "dataset_description.json", json.dumps(BIDS).encode())
        _put(folder, "participants.tsv", TABLE.encode())
        _put(folder, "sub-01/sub-01_sessions.tsv", b"session_id\tage\nses-1\t30\n")
        _put(folder, "sub-01/ses-1/anat/sub-01_ses-1_T1w.nii.gz", b"")
        return read_bids(_put(folder, name, data).parents[name.count("/")])

    return read


def _labels(data: bytes, folder: Path) -> Any:
    write_segmentation(LABELS, folder / "b_dseg.nii.gz", description="made up")
    path = _put(folder, "b_dseg.nii.gz", gzip.compress(data, mtime=0))
    return read_segmentation(path, classes=LABELS.classes, grid=SCAN.grid, affine=SCAN.affine)[0]


def _one_slice(data: bytes, folder: Path) -> Volume:
    """A damaged file among nine good ones."""
    for k, file in enumerate(series(SCAN, 1)[1:]):
        file.SeriesInstanceUID = "1.2.3"
        file.save_as(folder / f"{k}.dcm", enforce_file_format=True)
    _put(folder, "z.dcm", data)
    return read_series(folder).volume


def _slice() -> bytes:
    stream, file = io.BytesIO(), series(SCAN, 1)[0]
    file.SeriesInstanceUID, file.PatientAge, file.PatientSize = "1.2.3", "061Y", "1.65"
    file.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _frames() -> bytes:
    stream = io.BytesIO()
    enhanced(SCAN, 1).save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def _dixon() -> bytes:
    """Stored, not packed, so that a change reaches the files within as often as the archive."""
    stream, files = io.BytesIO(), [*series(SCAN, 1), *series(SCAN, 1)]
    with zipfile.ZipFile(stream, "w") as archive:
        for k, file in enumerate(files):
            part = io.BytesIO()
            file.ImageType = ["DERIVED", "PRIMARY", "DIXON", "WATER" if k < SCAN.grid[2] else "FAT"]
            file.save_as(part, enforce_file_format=True)
            archive.writestr(f"{k:03d}", part.getvalue())
    return stream.getvalue()


def _alone(data: bytes, folder: Path) -> Volume:
    return read_series(_put(folder, "a.dcm", data)).volume


def kinds() -> dict[str, Kind]:
    """By name, every kind of file."""
    single, labels = _nifti(), LABELS.labels.astype(np.int16)
    return {
        "nifti": Kind(single, _volume),
        "nifti big endian": Kind(_nifti(order=">"), _volume),
        "nifti-2": Kind(_nifti(nib.Nifti2Image), _volume),
        "nifti packed": Kind(gzip.compress(single, mtime=0), _volume),
        "nifti pair": Kind(single[:108] + b"\0" * 4 + single[112:344] + b"ni1\0", _pair),
        "labels": Kind(nib.Nifti1Image(labels, SCAN.affine).to_bytes(), _labels),
        "dicom": Kind(_slice(), _one_slice),
        "enhanced dicom": Kind(_frames(), _alone),
        "zip": Kind(zipped(series(SCAN, 1)), lambda data, _: read_series(data).volume),
        "dixon zip": Kind(_dixon(), lambda data, _: read_dixon(data).volume),
        "tsv": Kind(TABLE.encode(), _table("t.tsv")),
        "csv": Kind(TABLE.replace("\t", ";").replace(".5", ",5").encode("utf-8-sig"), _table("t.csv")),
        "xlsx": Kind(_book(), _table("t.xlsx")),
        "dictionary": Kind(json.dumps(ABOUT).encode(), _about),
        "participants.json": Kind(json.dumps(ABOUT).encode(), _bids("participants.json")),
        "participants.tsv": Kind(TABLE.encode(), _bids("participants.tsv")),
        "sessions.tsv": Kind(b"session_id\tage\tsex\nses-1\t30\tF\n", _bids("sub-01/sub-01_sessions.tsv")),
        "description": Kind(json.dumps(BIDS).encode(), _bids("dataset_description.json")),
    }


#: values that overflow, are no number, or end a text
NASTY = (
    b"\0",
    b"\xff",
    b"\x7f\xff",
    b"\x80\0",
    b"\xff\xff\xff\xff",
    b"\0\0\xc0\x7f",
    b"\0\0\x80\x7f",
    b"\n",
    b"\t",
    b'"',
    b",",
    b"-",
    b"9" * 30,
)
PLACES = st.floats(0, 1, exclude_max=True)


@st.composite
def damage(draw: st.DrawFn) -> Callable[[bytes], bytes]:
    """One to four changes: a bit, some bytes, a hole, a part twice, the end cut off, or something put in."""
    steps = draw(st.lists(st.tuples(st.integers(0, 5), PLACES, PLACES, st.binary(max_size=4)), min_size=1, max_size=4))
    head = draw(st.booleans())

    def changed(data: bytes) -> bytes:
        for what, first, second, some in steps:
            reach = min(len(data), 400) if head else len(data)
            at, length = int(first * reach), int(second * 64) + 1
            new = NASTY[int(second * len(NASTY))] if len(some) == 0 else some
            if what == 0 and data:
                data = data[:at] + bytes([data[at] ^ (1 << int(second * 8))]) + data[at + 1 :]
            elif what == 1:
                data = data[:at] + new + data[at + len(new) :]
            elif what == 2:
                data = data[:at] + data[at + length :]
            elif what == 3:
                data = data[:at] + data[at : at + length] * 2 + data[at + length :]
            elif what == 4:
                data = data[:at]
            else:
                data = data[:at] + new + data[at:]
        return data

    return changed
