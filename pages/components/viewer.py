"""The scan viewer: linked slices, a cutaway and the person's table, sent once and then run by the browser.

Nothing the reader does in it comes back to the server, so it stays live while the model is at work.
"""

from __future__ import annotations

import gzip
import json
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import streamlit as st
from streamlit.components.v2 import component

from engine.volume import Volume

HERE = Path(__file__).parent
#: one module for the browser; the last file exports the component
SCRIPTS = ("viewer_scene.js", "viewer_raycast.js", "viewer_panel.js", "viewer_input.js", "viewer.js")
#: burned into every picture that leaves the viewer
FOOTER = "SYNTHETIC - not for diagnosis"

_component = component(
    "somatwin_viewer",
    html=(HERE / "viewer.html").read_text(encoding="utf-8"),
    css=(HERE / "viewer.css").read_text(encoding="utf-8"),
    js="\n".join((HERE / name).read_text(encoding="utf-8") for name in SCRIPTS),
)


def payload(volumes: Sequence[Volume], people: Sequence[dict[str, Any]], **facts: Any) -> bytes:
    """Volumes on one grid, and a JSON-ready description of each person, as the bytes that viewer.js unpacks.

    gzip(u32 little-endian header length, UTF-8 JSON header, one uint8 volume a person with x running fastest).
    Volumes are turned to RAS+ first; grey values 0 to 1 become 0 to 255. ``facts`` join the header.
    """
    turned = [volume.reoriented("RAS") for volume in volumes]
    header = {
        "shape": turned[0].grid,
        "spacing": turned[0].spacing,
        "affine": turned[0].affine.tolist(),
        "people": list(people),
        "footer": FOOTER,
        **facts,
    }
    text = json.dumps(header, separators=(",", ":")).encode()
    voxels = [np.rint(np.clip(v.data, 0, 1) * 255).astype(np.uint8).tobytes(order="F") for v in turned]
    return gzip.compress(b"".join([struct.pack("<I", len(text)), text, *voxels]), 1, mtime=0)


def channel_of(scenes: Mapping[str, bytes]) -> str:
    """The channel to show; the visitor chooses where there is more than one, such as water and fat."""
    names = list(scenes)
    if len(names) == 1:
        return names[0]
    return st.segmented_control("Channel", names, default=names[0], required=True) or names[0]


def viewer(scene: bytes, key: str = "viewer") -> None:
    """Show a :func:`payload`."""
    _component(data=scene, key=key)
