"""Edges: a step keeps what a blur of known width leaves of it, wherever it lies and whatever its height."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.edges import edge_strengths, ridge_magnitude, strength_ratio


def step(side: int = 32) -> np.ndarray:
    """Half of a body brighter than the other, channel first; the voxels next to the border are half a voxel off it."""
    volume = np.full((1, side, side, side), 0.3)
    volume[:, side // 2 :] = 0.8
    return volume


def cube(height: float = 0.5, side: int = 32) -> np.ndarray:
    """A bright cube in a body of .3, channel first."""
    volume = np.full((1, side, side, side), 0.3)
    volume[:, 8:24, 8:24, 8:24] += height
    return volume


def blurred(volume: np.ndarray, sigma: float) -> np.ndarray:
    return ndimage.gaussian_filter(volume, (0, sigma, sigma, sigma), truncate=6)


@pytest.mark.parametrize("sigma", [0.8, 1.0, 1.5])
def test_a_blur_of_known_width_gives_the_known_ratio(sigma: float) -> None:
    ratio = strength_ratio(edge_strengths(step())[None], edge_strengths(blurred(step(), sigma))[None])
    half_a_voxel = math.exp((1 - 1 / (1 + sigma**2)) / 8)
    assert ratio[0, 1:] == pytest.approx(half_a_voxel / math.sqrt(1 + sigma**2), rel=0.03)


def test_strength_grows_with_the_step_and_not_with_the_level() -> None:
    one, two = edge_strengths(cube(0.2)), edge_strengths(cube(0.4))
    assert two == pytest.approx(2 * one, rel=1e-3)
    assert edge_strengths(cube(0.2) + 0.2) == pytest.approx(one, rel=1e-3)
    assert edge_strengths(cube(0.2)[:, ::-1].transpose(0, 2, 3, 1)) == pytest.approx(one, rel=1e-3)


def test_an_edge_is_as_thin_as_its_border() -> None:
    volume = np.full((24, 24, 24), 0.3)
    volume[:, :, 12:] = 0.8
    found = ridge_magnitude(volume)
    assert np.flatnonzero(found[12, 12]).tolist() == [11, 12]


def test_grain_makes_few_edges_and_no_body_none() -> None:
    rng = np.random.default_rng(0)
    grainy = cube() + 0.02 * rng.standard_normal(cube().shape)
    assert edge_strengths(grainy)[:, 1:] == pytest.approx(edge_strengths(cube())[:, 1:], rel=0.1)
    with pytest.raises(EvaluationError, match="no body"):
        edge_strengths(np.zeros((1, 8, 8, 8)))
