"""The scan viewer: linked slices, a cutaway and the person's table, sent once and then run by the browser.

Nothing the reader does in it comes back to the server, so it stays live while the model is at work; but for the place
that a reader marks, or what they painted with the brush, where a page asks for it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from rjsmin import jsmin
from streamlit.components.v2 import component

HERE = Path(__file__).parent
#: one module for the browser
PARTS = "scene signal raycast body paint mark table surface picture panel keys input viewer"
SCRIPTS = tuple(HERE / "js" / f"{part}.js" for part in PARTS.split())
#: what is added where a mask can be painted
BRUSH_SCRIPT, BRUSH_STYLE = HERE / "js" / "brush.js", HERE / "brush.css"
#: what is added where people are a sweep
SWEEP_SCRIPT = HERE / "js" / "sweep.js"
#: what draws a table, which others show too
TABLE_SCRIPT, TABLE_STYLE = HERE / "js" / "table.js", HERE / "table.css"


def script(files: Sequence[Path] = SCRIPTS) -> str:
    """Files as one module for the browser, which is sent again with all new data and therefore kept small."""
    return str(jsmin("\n".join(file.read_text(encoding="utf-8") for file in files)))


def style(files: Sequence[Path]) -> str:
    """Files as one style sheet."""
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


_component = component(
    "somatwin_viewer",
    html=(HERE / "viewer.html").read_text(encoding="utf-8"),
    css=style((HERE / "viewer.css", TABLE_STYLE)),
    js=f"{script()}\nexport default show;",
)
_painting = component(
    "somatwin_painting_viewer",
    html=(HERE / "viewer.html").read_text(encoding="utf-8"),
    css=style((HERE / "viewer.css", TABLE_STYLE, BRUSH_STYLE)),
    js=f"{script((*SCRIPTS, BRUSH_SCRIPT))}\nexport default showWithBrush;",
)
_sweep = component(
    "somatwin_sweep_viewer",
    html=(HERE / "viewer.html").read_text(encoding="utf-8"),
    css=style((HERE / "viewer.css", TABLE_STYLE)),
    js=f"{script((*SCRIPTS, SWEEP_SCRIPT))}\nexport default show;",
)


def viewer(scene: bytes, key: str = "viewer") -> None:
    """Show a ``scene`` (:mod:`pages.components.state.scene`)."""
    _component(data=scene, key=key)


def sweep_viewer(scene: bytes, key: str) -> None:
    """Show a scene whose header has a ``sweep``: what each of its people ``says`` stands beside a slider that plays."""
    _sweep(data=scene, key=key)


def marking_viewer(scene: bytes, mark: Sequence[float] | None, on_mark: Callable[[], None], key: str) -> None:
    """Show a scene in which the reader can mark a place; ``mark`` (RAS+ mm) is the one of before.

    Only the reader's press sends anything: ``on_mark`` is called, and ``st.session_state[key]["mark"]`` holds ``scene``
    (its fingerprint), ``voxel`` and ``place`` (RAS+ mm) of the crosshair, both None where the mark was taken away.
    """
    known = json.dumps({"mark": mark and list(mark)}).encode()
    _component(data=b"MARK" + struct.pack("<I", len(known)) + known + scene, key=key, on_mark_change=on_mark)


def painting_viewer(scene: bytes, on_paint: Callable[[], None], key: str) -> None:
    """Show a scene whose header has a ``brush``, with which the reader can paint its regions into the labels.

    Only the reader's press on Apply sends anything: ``on_paint`` is called, and ``st.session_state[key]["paint"]`` holds
    ``scene`` (its fingerprint), ``person`` (whose labels they are) and ``strokes``, each a region's index and runs of voxels
    (:func:`pages.components.state.overlay.painted`).
    """
    _painting(data=scene, key=key, on_paint_change=on_paint)
