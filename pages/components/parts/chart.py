"""How a chart is saved as a picture by its own button: of a slide's size."""

from __future__ import annotations

from typing import Any

#: pixels of a saved chart, and dots a pixel: 1920 x 1080 in all
WIDE, HIGH, SCALE = 1280, 720, 1.5


def saved_as(name: str) -> dict[str, Any]:
    """Settings of a chart whose camera saves a PNG of 1920 x 1080 dots under a telling ``name``."""
    picture = {"filename": name, "format": "png", "width": WIDE, "height": HIGH, "scale": SCALE}
    return {"displaylogo": False, "toImageButtonOptions": picture}
