"""The scan viewer: linked slices, a cutaway and the person's table, sent once and then run by the browser.

Nothing the reader does in it comes back to the server, so it stays live while the model is at work; but for the place
that a reader marks, where a page asks for one.
"""

from __future__ import annotations

import gzip
import json
import re
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from streamlit.components.v2 import component

from engine.imaging.volume import Volume

HERE = Path(__file__).parent
#: one module for the browser; the last file exports the component
PARTS = "scene signal raycast paint mark table surface picture panel keys input viewer"
SCRIPTS = tuple(HERE / "js" / f"{part}.js" for part in PARTS.split())
#: what draws a table, which others show too
TABLE_SCRIPT, TABLE_STYLE = HERE / "js" / "table.js", HERE / "table.css"
#: burned into every picture that leaves the viewer
FOOTER = "SYNTHETIC - not for diagnosis"

#: what a browser has no use for: the comments that fill lines, and the indentation
IDLE = re.compile(r"^\s*(?:/\*\*.*?\*/|//[^\n]*)?\s*", re.MULTILINE | re.DOTALL)


def script(files: Sequence[Path] = SCRIPTS) -> str:
    """Files as one module for the browser, which is sent again with all new data and therefore kept small."""
    return "\n".join(IDLE.sub("", file.read_text(encoding="utf-8")) for file in files)


def style(files: Sequence[Path]) -> str:
    """Files as one style sheet."""
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


_component = component(
    "somatwin_viewer",
    html=(HERE / "viewer.html").read_text(encoding="utf-8"),
    css=style((HERE / "viewer.css", TABLE_STYLE)),
    js=script(),
)


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
    turned to RAS+ first; grey values 0 to 1 become 0 to 255. With ``compare`` the first person is A, each other one a B.

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
    voxels = [np.rint(np.clip(grey, 0, 1) * 255).astype(np.uint8) for grey in greys]
    blocks = [block.tobytes(order="F") for block in (*voxels, *marked)]
    return gzip.compress(b"".join([struct.pack("<I", len(text)), text, *blocks]), 1, mtime=0)


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


def viewer(scene: bytes, key: str = "viewer") -> None:
    """Show a :func:`payload`."""
    _component(data=scene, key=key)


def fingerprint(scene: bytes) -> str:
    """The name of a :func:`payload`, which the viewer too gives it: the CRC-32 that closes it, in hex."""
    return f"{int.from_bytes(scene[-8:-4], 'little'):08x}"


def marking_viewer(scene: bytes, mark: Sequence[float] | None, on_mark: Callable[[], None], key: str) -> None:
    """Show a :func:`payload` in which the reader can mark a place; ``mark`` (RAS+ mm) is the one of before.

    Only the reader's press sends anything: ``on_mark`` is called, and ``st.session_state[key]["mark"]`` holds ``scene``
    (its :func:`fingerprint`), ``voxel`` and ``place`` (RAS+ mm) of the crosshair, both None where the mark was taken away.
    """
    known = json.dumps({"mark": mark and list(mark)}).encode()
    _component(data=b"MARK" + struct.pack("<I", len(known)) + known + scene, key=key, on_mark_change=on_mark)
