"""What the browser is sent of the viewer itself."""

from __future__ import annotations

import re
from pathlib import Path

from pages.components.parts.viewer import viewer
from pages.components.parts.viewer.viewer import script


def test_what_is_sent_again_with_every_scene_is_small():
    assert len(script().encode()) < 66_000
    assert "/**" not in script()


def test_a_view_has_a_name_before_its_first_scan_is_drawn():
    views = re.findall(r"<canvas[^>]*>", Path(viewer.__file__).with_suffix(".html").read_text(encoding="utf-8"))
    names = [re.search(r'aria-label="([^"]+)"', view) for view in views]
    assert len({name[1] for name in names if name}) == len(views) == 8
