"""A scene: what the viewer shows, scans and a description of each person, as the bytes that js/scene.js unpacks."""

from __future__ import annotations

import gzip
import json
import re
import struct
import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from engine.anatomy import regions
from engine.anatomy.region import ENDS, PLANES, Region
from engine.imaging.cine.phases import farthest_phase
from engine.imaging.volume import Volume

#: burned into every picture that leaves the viewer
FOOTER = "SYNTHETIC - not for diagnosis"


def payload(
    volumes: Sequence[Volume],
    people: Sequence[dict[str, Any]],
    *,
    compare: bool = False,
    labels: Sequence[np.ndarray] | None = None,
    legend: Sequence[tuple[int, str, str]] = (),
    **facts: Any,
) -> bytes:
    """Volumes on one grid, and a JSON-ready description of each person, as the bytes that js/scene.js unpacks.

    gzip(u32 little-endian header length, UTF-8 JSON header, uint8 volumes with x running fastest: the frames of the first
    person (each channel's phases in turn; a still scan has one), of the second, and so on, then the labels of each phase of
    everybody where there are ``labels``). Everything is turned to RAS+ first; grey values 0 to 1 become 0 to 255 on one scale
    for all phases, uint8 stays as it is. With ``compare`` the first person is A, each other one a B. People may differ in
    phases.

    ``labels``: integers 0 to 255 a person on the person's voxels, (x, y, z) of all phases or (t, x, y, z); ``legend``: value,
    name and ``#rrggbb`` of each label to be drawn. ``facts`` (model, draft, note) join the header. A person's ``es`` is the
    phase of end-systole; where it is not given, that of the least left cavity among the labels, or else the farthest from the first.
    Raises :class:`ValueError` for persons that do not fit together.
    """
    turned = [volume.reoriented("RAS") for volume in volumes]
    _check_together(turned, people, compare)
    region = next((one for one in regions() if one.channels == turned[0].kinds), None)
    pairs = zip(volumes, labels, strict=True) if labels is not None else ()
    cycles = [_turned_labels(*pair) for pair in pairs]
    ends = [_end_systole(region, legend, cycle) for cycle in cycles] or [_farthest(volume) for volume in turned]
    marked = [phase for cycle in cycles for phase in cycle]
    header = {
        "shape": turned[0].grid,
        "spacing": turned[0].spacing,
        "affine": turned[0].affine.tolist(),
        "planes": region.planes if region else PLANES,
        "ends": region.ends if region else ENDS,
        "channels": turned[0].kinds,
        "phases": [volume.phases for volume in turned],
        "cycles": [volume.cycle for volume in turned],
        "compare": compare,
        "legend": [_legend_entry(*entry) for entry in legend] if marked else [],
        "labelled": bool(marked),
        "people": [end | person for end, person in zip(ends, people, strict=True)],
        "footer": FOOTER,
        **facts,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    greys = [frame.data for volume in turned for frame in volume.stills()]
    voxels = [grey if grey.dtype == np.uint8 else _codes(grey) for grey in greys]
    blocks = [block.tobytes(order="F") for block in (*voxels, *marked)]
    return gzip.compress(b"".join([struct.pack("<I", len(text)), text, *blocks]), 1, mtime=0)


def coded(volume: Volume) -> Volume:
    """The volume along RAS+ as the viewer has it, greys 0 to 1 as uint8 0 to 255: a quarter of the memory."""
    turned = volume.reoriented("RAS")
    return replace(turned, data=_codes(turned.data))


def _codes(grey: np.ndarray) -> np.ndarray:
    return np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8)


def _check_together(turned: Sequence[Volume], people: Sequence[dict[str, Any]], compare: bool) -> None:
    """Refuse persons whom one crosshair cannot show."""
    if not turned or len(turned) != len(people):
        raise ValueError(f"{len(turned)} scans for {len(people)} persons: give one scan a person, and at least one")
    if compare and len(turned) < 2:
        raise ValueError("a comparison needs two scans at least, this is one: leave compare out or add a scan")
    first = turned[0]
    for i, other in enumerate(turned[1:], 2):
        if other.grid != first.grid or not np.allclose(other.affine, first.affine, atol=0.01):
            raise ValueError(f"scan {i} lies on another grid than the first one: resample it")
        if other.kinds != first.kinds:
            raise ValueError(f"scan {i} has the channels {other.kinds}, the first {first.kinds}: give the same")


def _turned_labels(volume: Volume, labels: np.ndarray) -> list[np.ndarray]:
    """The labels of a person's voxels in each phase, uint8 (x, y, z) along RAS+."""
    fits = labels.shape in (volume.grid, (volume.phases, *volume.grid))
    if not fits or labels.dtype.kind not in "bui" or int(labels.max()) > 255 or labels.min() < 0:
        found = f"{labels.dtype} labels of {labels.shape}"
        raise ValueError(f"{found} do not fit a scan of {volume.grid}: give 0 to 255 on its grid")
    cycle = np.broadcast_to(labels.astype(np.uint8), (volume.phases, *volume.grid))
    return [Volume(phase, volume.affine).reoriented("RAS").data for phase in cycle]


def _end_systole(
    region: Region | None, legend: Sequence[tuple[int, str, str]], cycle: Sequence[np.ndarray]
) -> dict[str, int]:
    """``es``, the phase in which what the region has once, the left ventricle, is least; nothing of what is still or unknown."""
    titles = [tissue.title for tissue in region.tissues if set(tissue.classes) & set(region.single)] if region else []
    values = [value for value, title, _ in legend if title in titles]
    sizes = [int(np.isin(phase, values).sum()) for phase in cycle]
    return {"es": int(np.argmin(sizes))} if min(sizes) < max(sizes) else {}


def _farthest(volume: Volume) -> dict[str, int]:
    """``es`` of a cine that nothing is labelled in."""
    phase = farthest_phase(volume)
    return {} if phase is None else {"es": phase}


def _legend_entry(value: int, name: str, colour: str) -> tuple[int, str, str]:
    if not 1 <= value <= 255 or not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise ValueError(f"legend entry {(value, name, colour)} is not possible: give 1 to 255, a name, #rrggbb")
    return int(value), name, colour


def fingerprint(scene: bytes) -> str:
    """The name of a :func:`payload`, which the viewer too gives it: the CRC-32 that closes it, in hex."""
    return f"{int.from_bytes(scene[-8:-4], 'little'):08x}"


def header_of(scene: bytes) -> dict[str, Any]:
    """What a scene says of itself, without its volumes, of which little is inflated."""
    stream = zlib.decompressobj(16 + zlib.MAX_WBITS)
    start = stream.decompress(scene, 4)
    (length,) = struct.unpack("<I", start)
    return dict(json.loads(stream.decompress(stream.unconsumed_tail, length)))
