"""The wall by segment, on a tube whose thickness is known and on hearts."""

from __future__ import annotations

import numpy as np
import pytest

from engine.phantom.heart.people import HeartError, draw
from engine.phantom.heart.raster import RASTER
from engine.phantom.heart.segments import SEGMENTS, thickness
from engine.phantom.heart.tissue import CODES
from tests.phantom.heart.hearts import AFFINE, SEEDS, cylinder, heart


def test_a_tube_is_as_thick_as_it_is() -> None:
    found = thickness(cylinder(24.0, 33.0), AFFINE)
    assert len(found) == len(SEGMENTS) == 16
    assert found == pytest.approx(np.full(16, 9.0), rel=0.03)


def test_a_thin_anterior_wall_is_found_there_from_either_end_and_side() -> None:
    labels = cylinder(24.0, 33.0, thin=4.0)
    expected = thickness(labels, AFFINE)
    thin = [name for name, value in zip(SEGMENTS, expected, strict=True) if value < 6.5]
    assert thin == ["basal anterior", "mid anterior", "apical anterior"]
    # slices from base to apex, or x to the left: the same heart in another array
    for axis in (0, 2):
        flipped = AFFINE @ np.diag([-1.0 if axis == i else 1.0 for i in range(3)] + [1.0])
        assert thickness(np.flip(labels, axis), flipped) == pytest.approx(expected, abs=0.25)


def test_no_septum_and_no_ring_are_refused() -> None:
    labels = cylinder(24.0, 33.0)
    alone = np.where(labels == CODES["rv_cavity"], 0, labels).astype(np.uint8)
    with pytest.raises(HeartError, match="no right ventricle"):
        thickness(alone, AFFINE)
    with pytest.raises(HeartError, match="2 slices"):
        thickness(np.where(np.arange(9) < 2, labels, 0).astype(np.uint8), AFFINE)


def test_hypertrophy_is_thick_and_its_thickest_part_is_the_tables() -> None:
    walls = {name: thickness(heart(name).labels[0], RASTER.affine) for name in ("healthy", "hypertrophic")}
    assert walls["hypertrophic"].max() > 12 > walls["healthy"].max() > 4
    assert heart("hypertrophic").row["wall_thickness"] == pytest.approx(walls["hypertrophic"].max(), abs=0.06)


def test_an_infarct_does_not_thicken_on_the_labels() -> None:
    person, infarct = heart("infarcted"), draw(SEEDS["infarcted"], {"pathology": "infarcted"}).infarct
    assert infarct is not None
    left = np.isin(person.labels, (1, 3)).sum((1, 2, 3))
    before, after = (thickness(person.labels[phase], RASTER.affine) for phase in (0, int(left.argmin())))
    third, n = (6, 6) if infarct.height > 0.5 else (12, 4)
    own = third + int(np.rint((np.pi / 2 - infarct.angle) * n / (2 * np.pi))) % n
    other = third + (own - third + n // 2) % n
    assert before[own] < before[other]
    assert after[own] / before[own] - 1 < 0.12
    assert after[own] / before[own] < after[other] / before[other]
