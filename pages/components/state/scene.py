"""A scene: what the viewer shows, scans and a description of each person, as the bytes that js/scene.js unpacks."""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

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

    gzip(u32 little-endian header length, UTF-8 JSON header, uint8 volumes with x running fastest: the channels of the
    first person, of the second, and so on, then one label volume a person where there are ``labels``). Everything is
    turned to RAS+ first; grey values 0 to 1 become 0 to 255, uint8 stays as it is. With ``compare`` the first person is
    A, each other one a B.

    ``labels``: an (x, y, z) array of integers 0 to 255 a person, on the person's voxels; ``legend``: value, name and
    ``#rrggbb`` of each label to be drawn. ``facts`` (model, draft, note) join the header.
    Raises :class:`ValueError` for persons that do not fit together.
    """
    turned = [volume.reoriented("RAS") for volume in volumes]
    _check_together(turned, people, compare)
    marked = [_turned_labels(*pair) for pair in zip(volumes, labels, strict=True)] if labels is not None else []
    header = {
        "shape": turned[0].grid,
        "spacing": turned[0].spacing,
        "affine": turned[0].affine.tolist(),
        "channels": turned[0].channels,
        "compare": compare,
        "legend": [_legend_entry(*entry) for entry in legend] if marked else [],
        "labelled": bool(marked),
        "people": list(people),
        "footer": FOOTER,
        **facts,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    greys = [channel.data for volume in turned for channel in volume.apart()]
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
        if other.channels != first.channels:
            raise ValueError(f"scan {i} has the channels {other.channels}, the first {first.channels}: give the same")


def _turned_labels(volume: Volume, labels: np.ndarray) -> np.ndarray:
    """The labels of a person's voxels, uint8 (x, y, z) along RAS+."""
    if labels.shape != volume.grid or labels.dtype.kind not in "bui" or int(labels.max()) > 255 or labels.min() < 0:
        found = f"{labels.dtype} labels of {labels.shape}"
        raise ValueError(f"{found} do not fit a scan of {volume.grid}: give 0 to 255 on its grid")
    return Volume(labels.astype(np.uint8), volume.affine).reoriented("RAS").data


def _legend_entry(value: int, name: str, colour: str) -> tuple[int, str, str]:
    if not 1 <= value <= 255 or not re.fullmatch("#[0-9a-fA-F]{6}", colour):
        raise ValueError(f"legend entry {(value, name, colour)} is not possible: give 1 to 255, a name, #rrggbb")
    return int(value), name, colour


def fingerprint(scene: bytes) -> str:
    """The name of a :func:`payload`, which the viewer too gives it: the CRC-32 that closes it, in hex."""
    return f"{int.from_bytes(scene[-8:-4], 'little'):08x}"
