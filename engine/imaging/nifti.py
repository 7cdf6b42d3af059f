"""One NIfTI file, from a path or from bytes in memory, to a volume: NIfTI-1 and -2, either byte order, packed or not.

The header is read first and says how far the file goes; nothing beyond that is unpacked, so a small file cannot grow into a
large one. What a volume cannot hold (colours, complex numbers) is refused by its name instead of being cut down. Frames, a fourth
axis, are read where a cine is asked for, and refused where a still scan is; the reverse likewise.
"""

from __future__ import annotations

import gzip
import math
import struct
import warnings
import zlib
from io import BufferedIOBase, BytesIO
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from nibabel.arrayproxy import ArrayProxy
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from engine.imaging.grid import MOST_PHASES, frames, phases_said
from engine.imaging.nifti_geometry import cycle_of, ijk_to_ras
from engine.imaging.volume import Volume, VolumeError, finite

#: bytes of the longest header, and bytes a file of a stranger may unpack to
HEADER = 540
MOST_BYTES = 2**30
#: bytes read behind the voxels, so that the checksum at the end of a packed file is compared
TAIL = 2**16
#: the types that are read, by their code in the header
READ = {2: "u1", 4: "i2", 8: "i4", 16: "f4", 64: "f8", 256: "i1", 512: "u2", 768: "u4", 1024: "i8", 1280: "u8"}
#: the channel of a map of labels
LABELS = "dseg"
MAGNITUDE = "save its magnitude as a file of its own"
GREY = "convert it to one grey volume"
#: the types that are not, in words, and what to do
REFUSED = {
    1: ("bits (binary)", "save it as uint8"),
    32: ("complex numbers (complex64)", MAGNITUDE),
    128: ("colours (RGB24)", GREY),
    1536: ("numbers of 128 bits (float128)", "save it as float32"),
    1792: ("complex numbers (complex128)", MAGNITUDE),
    2048: ("complex numbers (complex256)", MAGNITUDE),
    2304: ("colours (RGBA32)", GREY),
}
#: what a file may be instead, by how it begins
STRANGERS = {
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"Rar!": "a RAR archive",
    b"PK\3\4": "a zip archive",
    b"version https://git-lfs": "a pointer to a file that was not fetched (git lfs pull)",
    b"/annex/objects": "a pointer to a file that was not fetched (git annex get)",
    b"../": "a pointer to a file that was not fetched",
    b"\x1f\x8b": "a file that was packed twice (gzip)",
    b"<": "a page or text (HTML, XML, GIFTI)",
    b"\0\0\0\1\0\0": "an image of FreeSurfer (MGH, convert it by mri_convert)",
    b"\x89HDF": "an image in HDF5 (MINC)",
    b"NRRD": "an image in NRRD",
}
#: what a header may say that its numbers are (intent code), other than a scan: kinds, by their first and last code
INTENTS = {(2, 24): "statistics or estimates", (1001, 1001): "estimates", (1002, 1002): "labels", (1003, 1003): "names"}
INTENTS |= {(1004, 1010): "vectors or a surface", (2001, 2018): "a series, a surface or colours"}
REMEDY = "give a NIfTI file (.nii or .nii.gz), or in the app a DICOM series as a zip archive"
AGAIN = "copy or export it again"


def load_volume(path: str | Path, channel: str = "T1w", *, phases: int = 1) -> Volume:
    """Read one 3D NIfTI file, its intensity scale applied, as float32 in the file's own orientation.

    A cine of so many ``phases`` or more is 4D: x, y, slice and phase become (t, x, y, z), with all phases of the file and the cycle
    that it states (:func:`engine.imaging.nifti_geometry.cycle_of`). A pair of ``.hdr`` and ``.img`` is read too. Raises
    :class:`VolumeError` for a file that is missing, truncated, not NIfTI, not 3D (a cine: not 4D, or of fewer phases), not of plain
    numbers, or not finite.
    """
    path = Path(path)
    try:
        if path.suffix in (".hdr", ".img"):
            return _loaded_pair(path, channel, phases=phases)
        with path.open("rb") as file:
            packed = file.read(2) == b"\x1f\x8b"
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if packed else file as stream:
                return _read(stream, channel, path.name, None, phases=phases)
    except FileNotFoundError:
        raise VolumeError(f"{path} does not exist; check the path") from None
    except OSError as error:
        raise VolumeError(f"{path.name} cannot be read ({error.strerror or error}); {AGAIN}") from None


def read_volume(
    data: bytes, channel: str = "T1w", *, name: str = "the scan", most: int = MOST_BYTES, phases: int = 1
) -> Volume:
    """Like :func:`load_volume`, from the bytes of a file; nothing touches the disk.

    ``name`` is what a refusal calls it. Also raises :class:`VolumeError` for what unpacks to more than ``most`` bytes.
    """
    stream = gzip.GzipFile(fileobj=BytesIO(data)) if data[:2] == b"\x1f\x8b" else BytesIO(data)
    return _read(stream, channel, name, most, phases=phases)


def unpacked(data: bytes, *, name: str = "the scan", most: int = MOST_BYTES) -> bytes:
    """A NIfTI file's bytes unpacked, only as far as its header says it goes; raises like :func:`read_volume`."""
    stream = gzip.GzipFile(fileobj=BytesIO(data)) if data[:2] == b"\x1f\x8b" else BytesIO(data)
    return _whole(stream, name, most)[1]


def cleaned(data: bytes, *, name: str = "the scan") -> bytes:
    """The bytes of a NIfTI file, packed, without its texts and extensions, in which somebody's name may stand; not a voxel changes.

    Raises like :func:`read_volume`.
    """
    stream = gzip.GzipFile(fileobj=BytesIO(data)) if data[:2] == b"\x1f\x8b" else BytesIO(data)
    header, whole = _whole(stream, name, MOST_BYTES)
    offset = _offset(header, name)
    for field in ("descrip", "aux_file", "intent_name", "db_name", "data_type"):
        if field in header.keys():  # noqa: SIM118
            header[field] = b""
    header["vox_offset"] = header.single_vox_offset
    bare = header.binaryblock.ljust(int(header.single_vox_offset), b"\0")
    return gzip.compress(bare + whole[offset:], 6, mtime=0)


def _read(stream: Any, channel: str, name: str, most: int | None, *, phases: int) -> Volume:
    header, whole = _whole(stream, name, most, phases=phases)
    return _volume(header, BytesIO(whole), channel, name, phases=phases)


def _whole(stream: BufferedIOBase, name: str, most: int | None, *, phases: int = 1) -> tuple[Any, bytes]:
    """The header, checked, and the file's bytes from the first to the last voxel's."""
    try:
        head = stream.read(HEADER)
        header = _header(head, name)
        size = _size(header, name, phases=phases)
        if most is not None and size > most:
            raise VolumeError(
                f"{name} unpacks to {size / 2**20:.0f} MB, {most / 2**20:.0f} MB are the most; resample it"
            )
        whole = head[:size] + stream.read(max(0, size - len(head)))
        behind, more = stream.read(TAIL), [int(n) for n in header["dim"][1 + int(header["dim"][0]) :]]
    except (EOFError, zlib.error, struct.error, gzip.BadGzipFile):
        raise VolumeError(f"{name} cannot be read as NIfTI: it is cut off or damaged; {AGAIN}") from None
    if behind and max(more, default=1) > 1:
        count = int(header["dim"][0])
        raise VolumeError(
            f"{name} says it has {count} axes, names a further one of {max(more)} and goes on behind the last voxel; {AGAIN}"
        )
    if len(whole) < size:
        raise VolumeError(
            f"{name} cannot be read as NIfTI: the file is cut off, {len(whole)} of {size} bytes are there; {AGAIN}"
        )
    return header, whole


def _header(head: bytes, name: str) -> Any:
    """The NIfTI-1 or -2 header that a file begins with."""
    for kind, magic in ((nib.Nifti1Header, head[344:348]), (nib.Nifti2Header, head[4:8])):
        length = kind.template_dtype.itemsize
        if magic.startswith(b"n+") and len(head) >= length:
            order = "<" if int.from_bytes(head[:4], "little") == length else ">"
            return kind(head[:length], order, check=False)
    fault = f"{name} cannot be read as NIfTI: this is"
    if head[128:132] == b"DICM":
        raise VolumeError(
            f"{fault} a single DICOM file; convert the series to NIfTI, or in the app pack the whole series into a zip archive"
        )
    what = next((words for magic, words in STRANGERS.items() if head.startswith(magic)), "something else")
    what += "" if head else " (it is empty)"
    raise VolumeError(f"{fault} no NIfTI file but {what}, whatever its name says; {REMEDY}")


def _size(header: Any, name: str, *, phases: int) -> int:
    """The length of a file in bytes; raises for a header that does not describe one 3D volume of plain numbers, or one cine."""
    shape, dtype = _shape(header, name, phases=phases), _dtype(header, name)
    return _offset(header, name) + math.prod(shape) * dtype.itemsize


def _shape(header: Any, name: str, *, phases: int) -> tuple[int, ...]:
    count = int(header["dim"][0])
    if not 1 <= count <= 7:
        raise VolumeError(f"{name} has {count} axes, so its header is damaged; {AGAIN}")
    shape = tuple(int(n) for n in header["dim"][1 : count + 1])
    if min(shape) < 1:
        raise VolumeError(f"{name} has shape {shape}, an axis without voxels, so its header is damaged; {AGAIN}")
    if phases > 1:
        return _shape_of_cine(shape, name, phases)
    if len(shape) < 3 or max(shape[3:], default=1) > 1:
        raise VolumeError(f"{name} has shape {shape}: one 3D volume is needed, split it first")
    return shape


def _shape_of_cine(shape: tuple[int, ...], name: str, least: int) -> tuple[int, ...]:
    """x, y, slice and phase; raises for anything else, and for fewer phases than ``least``."""
    remedy = "give a cine, the phases of one whole cycle as its fourth axis"
    if len(shape) < 3 or max(shape[4:], default=1) > 1:
        raise VolumeError(f"{name} has shape {shape}, a cine has the axes x, y, slice and phase; {remedy}")
    found = shape[3] if len(shape) > 3 else 1
    if found == 1:
        raise VolumeError(f"{name} has shape {shape}, a still scan of one phase; {remedy}")
    if not least <= found <= MOST_PHASES:
        raise VolumeError(f"{name} has {phases_said(found)}, a cycle {least} to {MOST_PHASES}; {remedy}")
    return shape[:4]


def _dtype(header: Any, name: str) -> np.dtype:
    code, bits = int(header["datatype"]), int(header["bitpix"])
    if code in REFUSED:
        what, remedy = REFUSED[code]
        raise VolumeError(f"{name} holds {what}, a scan holds plain numbers; {remedy}")
    if code not in READ:
        raise VolumeError(f"{name} is of data type {code}, which NIfTI does not have; {AGAIN}")
    dtype = np.dtype(header.endianness + READ[code])
    if bits != 8 * dtype.itemsize:
        raise VolumeError(f"{name} says it has {bits} bits a voxel, {dtype.name} has {8 * dtype.itemsize}; {AGAIN}")
    return dtype


def _offset(header: Any, name: str) -> int:
    """Where the voxels begin: behind the header, and behind its extensions where it has some; 0 stands for the first."""
    least, said = int(header.single_vox_offset), float(header["vox_offset"])
    if said == 0:
        return least
    if not least <= said < 2**62:
        raise VolumeError(f"{name} says its voxels begin at byte {said:g}, {least} is the first possible; {AGAIN}")
    return int(said)


def _volume(header: Any, stream: Any, channel: str, name: str, *, phases: int) -> Volume:
    """The voxels behind a header that is known to describe them, their scale applied."""
    shape, dtype = _shape(header, name, phases=phases), _dtype(header, name)
    offset = _offset(header, name) if header.is_single else int(header["vox_offset"])
    try:
        slope, inter = header.get_slope_inter()
    except (HeaderDataError, WrapStructError, ValueError, OverflowError) as error:
        raise VolumeError(f"{name} cannot be read as NIfTI ({error}); {AGAIN}") from None
    affine = ijk_to_ras(header, name)
    if channel != LABELS:
        _a_scan(header, name)
    scale = (1.0 if slope is None else slope, 0.0 if inter is None else inter)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what float32 cannot hold is infinite, and refused as that
        voxels = np.asarray(ArrayProxy(stream, (shape, dtype, offset, *scale)), dtype=np.float32)
    if phases > 1:
        moving = np.ascontiguousarray(np.moveaxis(voxels, -1, 0))
        names = frames([channel], shape[3])
        return finite(Volume(moving, affine, names, cycle_of(header, shape[3])), name)
    return finite(Volume(voxels.reshape(shape[:3]), affine, (channel,)), name)


def _a_scan(header: Any, name: str) -> None:
    """Raises where the header says that its numbers are no intensities."""
    code = int(header["intent_code"])
    what = next((words for (first, last), words in INTENTS.items() if first <= code <= last), "")
    if what:
        raise VolumeError(f"{name} holds {what} (intent code {code}), no intensities of a scan; give the scan itself")


def _loaded_pair(path: Path, channel: str, *, phases: int) -> Volume:
    """A header and its image, two files of the same name."""
    header = _pair_header(path.with_suffix(".hdr").read_bytes(), path.name)
    shape, dtype = _shape(header, path.name, phases=phases), _dtype(header, path.name)
    offset = float(header["vox_offset"])
    if not 0 <= offset < 2**62:
        raise VolumeError(f"{path.name} says its voxels begin at byte {offset:g}; {AGAIN}")
    voxels, size = path.with_suffix(".img").read_bytes(), int(offset) + math.prod(shape) * dtype.itemsize
    if len(voxels) < size:
        raise VolumeError(
            f"{path.name} cannot be read as NIfTI: the image is cut off, {len(voxels)} of {size} bytes are there; {AGAIN}"
        )
    return _volume(header, BytesIO(voxels), channel, path.name, phases=phases)


def _pair_header(head: bytes, name: str) -> Any:
    """The header of a pair; Analyze 7.5, which has no magic, says nothing of left and right."""
    for kind, magic in ((nib.Nifti1Pair.header_class, head[344:348]), (nib.Nifti2Pair.header_class, head[4:8])):
        length = kind.template_dtype.itemsize
        if magic.startswith(b"ni") and len(head) >= length:
            order = "<" if int.from_bytes(head[:4], "little") == length else ">"
            return kind(head[:length], order, check=False)
    raise VolumeError(f"{name} cannot be read as NIfTI: this is no NIfTI file but something else; {REMEDY}")
