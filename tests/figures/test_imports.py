"""What a page imports before its first picture: nothing heavy that it does not need yet."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("torch", "monai", "sklearn", "ot", "codecarbon", "pyvista", "scipy.stats", "matplotlib", "pandas")
LIGHT = {
    "figures": "import engine.figures.charts, engine.figures.cohort, engine.figures.surface",
    "anatomy": "import engine.anatomy",
    "metrics": "import engine.evaluation.metrics.interval, engine.evaluation.metrics.classify, engine.evaluation.report.parts",
    "regressions": "import engine.measure.reference",
}


@pytest.mark.parametrize("room", LIGHT)
def test_what_is_heavy_is_imported_where_it_works(room: str) -> None:
    code = f"{LIGHT[room]}; import sys; print(*[name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
