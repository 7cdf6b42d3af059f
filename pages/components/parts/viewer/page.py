"""A scene as one HTML file: the viewer in it, no server and no network needed, marked as what it is."""

from __future__ import annotations

import base64
from html import escape

from pages.components.parts.viewer.viewer import (
    CYCLE_SCRIPT,
    CYCLE_STYLE,
    HERE,
    SCRIPTS,
    SWEEP_SCRIPT,
    TABLE_STYLE,
    script,
    style,
)
from pages.components.state.scene import header_of

#: nothing is loaded from anywhere, not even from beside the file
POLICY = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data: blob:"
LOOK = """
:root { color-scheme: dark; --st-font: system-ui; }
body { margin: 0; padding: 12px; background: #05080a; color: #c9d3d8; font: 15px/1.5 system-ui, sans-serif; }
header { display: flex; flex-wrap: wrap; gap: 2px 18px; padding: 8px 14px; background: #2a2415; border-radius: 9px; }
header { border-left: 3px solid #d99a1c; }
header strong { color: #f2c14e; }
main { margin-top: 12px; }
h1 { margin: 0; font-size: 15px; font-weight: 600; }
"""
#: the scene is within the page, as text that is no code
START = """
const text = document.getElementById("scene").textContent.trim();
const data = Uint8Array.from(atob(text), (character) => character.charCodeAt(0));
show({ data, parentElement: document.querySelector("main"), setTriggerValue() {} });
"""


def scene_page(scene: bytes) -> bytes:
    """A ``scene`` as a self-contained HTML page that opens offline; notice, seeds and weights stand above and in its head."""
    header = header_of(scene)
    seeds = ", ".join(dict.fromkeys(str(person["seed"]) for person in header["people"] if "seed" in person))
    marks = {"model": header.get("model"), "seed": seeds, "weights": header.get("weights")}
    facts = [f"{name} {value}" for name, value in marks.items() if value]
    note = str(header.get("note") or "")
    code = f"{script((*SCRIPTS, SWEEP_SCRIPT, CYCLE_SCRIPT))}\n{START}".replace("</script", "<\\/script")
    parts = [
        "<!doctype html>",
        '<html lang="en">',
        '<head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        f'<meta name="description" content="{escape("; ".join((str(header["footer"]), *facts)))}">',
        f"<title>{escape(str(header['footer']))}</title>",
        f"<style>{LOOK}{style((HERE / 'viewer.css', TABLE_STYLE, CYCLE_STYLE))}</style></head>",
        f"<body><header><strong>{escape(str(header['footer']))}</strong><h1>{escape(', '.join(facts))}</h1>",
        f"<span>{escape(note)}</span></header>",
        f"<main>{(HERE / 'viewer.html').read_text(encoding='utf-8')}</main>",
        f'<script type="text/plain" id="scene">{base64.b64encode(scene).decode()}</script>',
        f'<script type="module">{code}</script></body></html>',
    ]
    return "\n".join(parts).encode()
