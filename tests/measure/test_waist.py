"""The waist: ellipses have a known girth, arms do not count, wherever they lie."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import ellipe

from engine.measure.waist import trunk_field, waist
from engine.phantom.girth import girth

SPACING = (5.0, 5.0, 6.0)
X, Y = np.meshgrid((np.arange(96) - 47.5) * 5, (np.arange(80) - 39.5) * 5, indexing="ij")


def ellipse(x: float, y: float, a: float, b: float) -> np.ndarray:
    """Signal of an ellipse with an edge as soft as a voxel, 1 inside."""
    r = np.hypot((X - x) / a, (Y - y) / b)
    return np.clip(0.5 - (r - 1) * min(a, b) / 5, 0, 1)


def circumference(a: float, b: float) -> float:
    """Of an ellipse, mm: a complete elliptic integral of the second kind."""
    return 4 * max(a, b) * float(ellipe(1 - (min(a, b) / max(a, b)) ** 2))


@pytest.mark.parametrize(("a", "b"), [(150.0, 100.0), (180.0, 170.0), (120.0, 130.0)])
def test_an_ellipse_has_its_girth(a: float, b: float):
    assert girth(trunk_field(ellipse(0, 0, a, b), 0.5), SPACING[:2]) == pytest.approx(circumference(a, b), rel=2e-3)


@pytest.mark.parametrize("gap", [30.0, 10.0, 2.0, -4.0])
@pytest.mark.parametrize("arm", [30.0, 45.0])
def test_arms_do_not_count(gap: float, arm: float):
    """Free, touching, and cut by the field of view."""
    a, b = 150.0, 100.0
    plane = ellipse(0, 0, a, b)
    for side in (-1, 1):
        plane = np.maximum(plane, ellipse(side * (a + gap + arm), 5, arm, arm))
    assert girth(trunk_field(plane, 0.5), SPACING[:2]) == pytest.approx(circumference(a, b), rel=0.012)


def test_an_arm_at_the_border_does_not_count():
    plane = np.maximum(ellipse(0, 0, 150, 100), ellipse(246, 0, 20, 40))
    assert girth(trunk_field(plane, 0.5), SPACING[:2]) == pytest.approx(circumference(150, 100), rel=2e-3)


def test_it_is_taken_above_the_pelvis():
    widths = np.linspace(100, 160, 30)
    volume = np.stack([ellipse(0, 0, w, 0.8 * w) for w in widths], -1)
    pelvis = np.zeros(volume.shape, bool)
    pelvis[40:50, 38:42, 5:13] = True
    pelvis[40:42, 38, 13] = True  # too little to be a crest
    skin = volume > 0.5
    assert waist(volume, pelvis, skin, SPACING) == pytest.approx(
        circumference(widths[13], 0.8 * widths[13]) / 10, rel=2e-3
    )
    assert np.isnan(waist(volume, np.zeros_like(pelvis), skin, SPACING))
    assert np.isnan(waist(volume, pelvis, np.zeros_like(skin), SPACING))
