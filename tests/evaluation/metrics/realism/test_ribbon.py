"""The cortical ribbon: contrast and area of a sphere of white matter in grey, and of what is left of them by a blur."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.ribbon import STEP, Ribbon, otsu, ribbon

GREY, WHITE = 0.5, 0.8


def ball(white: float, brain: float, *, blur: float = 0.0, scale: float = 1.0) -> Ribbon:
    """The ribbon of a ball of white matter of a radius in mm in a ball of grey; dark outside; voxels of 2 mm."""
    axes = np.meshgrid(*[2.0 * (np.arange(40) - 19.5)] * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    inside = radius < brain
    values = np.where(radius < white, WHITE, GREY)
    values = ndimage.gaussian_filter(values, blur / 2) * inside
    return ribbon((scale * values).astype(np.float32), inside, 2.0)


def test_contrast_and_area_of_a_ball() -> None:
    found = ball(20, 35)
    assert found.contrast == pytest.approx(2 * (WHITE - GREY) / (WHITE + GREY), rel=0.02)
    assert found.square_cm == pytest.approx(4 * math.pi * 2**2, rel=0.05)
    assert ball(25, 35).square_cm == pytest.approx(found.square_cm * (25 / 20) ** 2, rel=0.04)


def test_the_scale_of_intensities_does_not_matter() -> None:
    one, two = ball(20, 35), ball(20, 35, scale=700.0)
    assert two.contrast == pytest.approx(one.contrast, rel=1e-3)
    assert two.square_cm == pytest.approx(one.square_cm, rel=1e-3)


@pytest.mark.parametrize("blur", [3.0, 5.0])
def test_a_blur_leaves_the_known_share_of_the_contrast(blur: float) -> None:
    """A step blurred by s mm has erf(d / (s sqrt 2)) of its height between d mm to either side; a ball's is a bit less."""
    share = ball(26, 38, blur=blur).contrast / ball(26, 38).contrast
    assert share == pytest.approx(math.erf(STEP / (blur * math.sqrt(2))), rel=0.12)


def test_only_what_lies_deep_is_deep() -> None:
    shallow, deep = ball(32, 36), ball(20, 36)
    assert shallow.deep_cm == 0
    assert deep.deep_cm == pytest.approx(deep.square_cm, rel=1e-6)


def test_folds_have_more_area_than_a_ball() -> None:
    axes = np.meshgrid(*[2.0 * (np.arange(40) - 19.5)] * 3, indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    folded = 22 + 5 * np.sin(axes[0] / 3) * np.sin(axes[1] / 3)
    inside = radius < 36
    values = np.where(radius < folded, WHITE, GREY) * inside
    assert ribbon(values.astype(np.float32), inside, 2.0).square_cm > 1.2 * ball(22, 36).square_cm


def test_otsu_parts_two_classes() -> None:
    rng = np.random.default_rng(0)
    values = np.concatenate([rng.normal(0.5, 0.04, 600), rng.normal(0.8, 0.04, 400)])
    assert otsu(values) == pytest.approx(0.65, abs=0.05)


def test_no_brain_and_no_border_are_refused() -> None:
    with pytest.raises(EvaluationError, match="too small"):
        ribbon(np.zeros((10, 10, 10), np.float32), np.zeros((10, 10, 10), bool), 2.0)
    with pytest.raises(EvaluationError, match="all of it has the intensity"):
        ribbon(np.full((20, 20, 20), 0.5, np.float32), np.ones((20, 20, 20), bool), 2.0)
