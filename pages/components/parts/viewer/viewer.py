"""The scan viewer: linked slices, a cutaway and the person's table, sent once and then run by the browser.

Nothing the reader does in it comes back to the server, so it stays live while the model is at work; but for the place
that a reader marks, or what they painted with the brush, where a page asks for it.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rjsmin import jsmin
from streamlit.components.v2 import component

from pages.components.state.scene import header_of

#: a component of the browser
Viewer = Callable[..., Any]

HERE = Path(__file__).parent
#: one module for the browser
PARTS = "scene signal raycast body paint table surface picture panel keys input viewer"
SCRIPTS = tuple(HERE / "js" / f"{part}.js" for part in PARTS.split())
#: what is added where a mask can be painted
BRUSH_SCRIPT, BRUSH_STYLE = HERE / "js" / "brush.js", HERE / "brush.css"
#: what is added where people are a sweep, where a place can be marked, and where scans move
SWEEP_SCRIPT, MARK_SCRIPT = HERE / "js" / "sweep.js", HERE / "js" / "mark.js"
CYCLE_SCRIPT, CYCLE_STYLE = HERE / "js" / "cycle.js", HERE / "cycle.css"
#: what draws a table, which others show too
TABLE_SCRIPT, TABLE_STYLE = HERE / "js" / "table.js", HERE / "table.css"


def script(files: Sequence[Path] = SCRIPTS) -> str:
    """Files as one module for the browser, which is sent again with all new data and therefore kept small."""
    return str(jsmin("\n".join(file.read_text(encoding="utf-8") for file in files)))


def style(files: Sequence[Path]) -> str:
    """Files as one style sheet."""
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _declared(name: str, shown: str = "show", added: Sequence[Path] = (), styles: Sequence[Path] = ()) -> Viewer:
    """A viewer with what is added to it; ``shown`` is the function that the browser calls."""
    return component(
        name,
        html=(HERE / "viewer.html").read_text(encoding="utf-8"),
        css=style((HERE / "viewer.css", TABLE_STYLE, *styles)),
        js=f"{script((*SCRIPTS, *added))}\nexport default {shown};",
    )


_still = _declared("somatwin_viewer")
_moving = _declared("somatwin_cine_viewer", added=[CYCLE_SCRIPT], styles=[CYCLE_STYLE])
_sweep = _declared("somatwin_sweep_viewer", "showSweep", [SWEEP_SCRIPT, CYCLE_SCRIPT], [CYCLE_STYLE])
_marking = _declared("somatwin_marking_viewer", "showWithMark", [MARK_SCRIPT, CYCLE_SCRIPT], [CYCLE_STYLE])
_painting = _declared(
    "somatwin_painting_viewer", "showWithBrush", [BRUSH_SCRIPT, CYCLE_SCRIPT], [BRUSH_STYLE, CYCLE_STYLE]
)


def viewer(scene: bytes, key: str = "viewer") -> None:
    """Show a ``scene`` (:mod:`pages.components.state.scene`)."""
    if max(header_of(scene)["phases"]) > 1:
        _moving(data=scene, key=key)
    else:
        _still(data=scene, key=key)


def sweep_viewer(scene: bytes, key: str) -> None:
    """Show a scene whose header has a ``sweep``: what each of its people ``says`` stands beside a slider; it plays at once."""
    _sweep(data=scene, key=key)


def marking_viewer(scene: bytes, mark: Sequence[float] | None, on_mark: Callable[[], None], key: str) -> None:
    """Show a scene in which the reader can mark a place; ``mark`` (RAS+ mm) is the one of before.

    Only the reader's press sends anything: ``on_mark`` is called, and ``st.session_state[key]["mark"]`` holds ``scene``
    (its fingerprint), ``voxel`` and ``place`` (RAS+ mm) of the crosshair, both None where the mark was taken away.
    """
    known = json.dumps({"mark": mark and list(mark)}).encode()
    _marking(data=b"MARK" + struct.pack("<I", len(known)) + known + scene, key=key, on_mark_change=on_mark)


def painting_viewer(scene: bytes, on_paint: Callable[[], None], key: str) -> None:
    """Show a scene whose header has a ``brush``, with which the reader can paint its regions into the labels.

    Only the reader's press on Apply sends anything: ``on_paint`` is called, and ``st.session_state[key]["paint"]`` holds
    ``scene`` (its fingerprint), ``person`` (whose labels they are) and ``strokes``, each a region's index and runs of voxels
    (:func:`pages.components.state.overlay.painted`).
    """
    _painting(data=scene, key=key, on_paint_change=on_paint)
