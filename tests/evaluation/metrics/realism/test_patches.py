"""Patches: a copier of patches is caught, an honest sampler is not, and fog alone does not alarm the test of shares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.patches import (
    BLOCK,
    MARGIN,
    SIDE,
    blocks_of,
    lattice,
    patch_copies,
    patch_distances,
)

GRID = (20, 20, 20)


def persons(rng: np.random.Generator, n: int) -> np.ndarray:
    """Textures that share a plan and differ in detail."""
    plan = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=GRID), 2, mode="wrap")
    own = ndimage.gaussian_filter(rng.normal(size=(n, 1, *GRID)), (0, 0, 1, 1, 1), mode="wrap")
    return np.clip(0.5 + 1.5 * plan + 0.7 * own, 0, 1)


def blocks(volumes: np.ndarray) -> np.ndarray:
    return np.stack([blocks_of(volume) for volume in volumes])[:, ::16]


def mosaic(rng: np.random.Generator, training: np.ndarray, n: int, share: float = 1.0) -> np.ndarray:
    """Blocks, each somebody's at its place with a little noise, or with probability 1 - ``share`` nobody's."""
    donors = training[rng.integers(len(training), size=(n, training.shape[1])), np.arange(training.shape[1])]
    fresh = blocks(persons(rng, n))
    copied = rng.random((n, training.shape[1])) < share
    kept = np.where(copied[..., None, None, None, None], donors, fresh)
    return np.clip(kept + rng.normal(0, 3, kept.shape), 0, 255).astype(np.uint8)


def test_the_lattice_lies_within_the_grid() -> None:
    for grid in ((32, 32, 32), (96, 112, 112), (96, 80, 144), GRID):
        corners = lattice(grid)
        assert len(np.unique(corners, axis=0)) == 64
        assert corners.min() >= 0
        assert (corners + BLOCK <= grid).all()
    with pytest.raises(EvaluationError, match="too small for patches"):
        lattice((12, 40, 40))


def test_a_patch_is_nearest_to_itself_in_another_shift_brightness_and_contrast() -> None:
    rng = np.random.default_rng(1)
    training = persons(rng, 5)
    shifted = np.roll(training[:3], (MARGIN, -MARGIN, 0), (2, 3, 4)) * 0.5 + 0.2
    for distance in patch_distances(blocks(shifted), blocks(training)):
        assert (distance.argmin(1) == [0, 1, 2]).all()
        assert distance.min(1) == pytest.approx(0, abs=0.1)
        assert np.sort(distance, 1)[:, 1].min() > 0.3


def test_distance_is_that_of_the_correlation() -> None:
    rng = np.random.default_rng(2)
    one, two = (rng.integers(0, 255, (1, 1, 1, BLOCK, BLOCK, BLOCK)).astype(np.uint8) for _ in range(2))
    (found,) = patch_distances(one, two)
    inner = slice(MARGIN, MARGIN + SIDE)
    mine = one[0, 0, 0, inner, inner, inner].ravel()
    steps = range(2 * MARGIN + 1)
    theirs = [
        two[0, 0, 0, i : i + SIDE, j : j + SIDE, k : k + SIDE].ravel() for i in steps for j in steps for k in steps
    ]
    best = max(np.corrcoef(mine, other)[0, 1] for other in theirs)
    assert found[0, 0] == pytest.approx(np.sqrt(2 - 2 * best), rel=1e-4)


def test_flat_patches_say_nothing() -> None:
    rng = np.random.default_rng(3)
    flat, textured = np.full((2, 1, *GRID), 0.4), persons(rng, 3)
    (distance, *_) = patch_distances(blocks(flat), blocks(textured))
    assert np.isnan(distance).all()
    (distance, *_) = patch_distances(blocks(textured), blocks(flat))
    assert np.isinf(distance).all() or distance.min() > 1.4
    known = blocks(persons(rng, 4))
    with pytest.raises(EvaluationError, match="hardly any person"):
        patch_copies(np.repeat(blocks(flat), 2, 0), known, known, rng)


@pytest.mark.parametrize("share", [1.0, 0.3])
def test_a_copier_of_patches_is_caught(share: float) -> None:
    for seed in range(2):
        rng = np.random.default_rng(seed)
        training, holdout = blocks(persons(rng, 10)), blocks(persons(rng, 10))
        found = patch_copies(mosaic(rng, training, 10, share), training, holdout, rng, permutations=199)
        assert found.p_nearer < 0.05
        assert found.p_share < 0.05
        assert found.nearer.high < 1
        assert found.share.low > 0.5


def test_an_honest_sampler_is_not_caught_more_often_than_one_in_twenty() -> None:
    """At a rate of 5%, 5 or more of 24 alarm less than once in a hundred times."""
    near, share = 0, 0
    for seed in range(24):
        rng = np.random.default_rng(100 + seed)
        sides = [blocks(persons(rng, 6)) for _ in range(3)]
        found = patch_copies(*sides, rng, permutations=99)
        near += found.p_nearer < 0.05
        share += found.p_share < 0.05
    assert max(near, share) <= 4


def test_fog_is_near_to_everybody_but_favours_nobody() -> None:
    alarms = 0
    for seed in range(4):
        rng = np.random.default_rng(200 + seed)
        training, holdout = blocks(persons(rng, 8)), blocks(persons(rng, 8))
        fog = ndimage.gaussian_filter(persons(rng, 8), (0, 0, 1.5, 1.5, 1.5))
        found = patch_copies(blocks(fog), training, holdout, rng, permutations=99)
        assert found.nearer.high < 1
        alarms += found.p_share < 0.05
    assert alarms <= 2


def test_sides_may_differ_in_number_and_too_few_persons_are_refused() -> None:
    rng = np.random.default_rng(0)
    made, training, holdout = (blocks(persons(rng, n)) for n in (5, 12, 4))
    found = patch_copies(made, training, holdout, rng, permutations=99)
    assert found.expected == 0.75
    assert found.share.low <= 0.75 <= found.share.high
    with pytest.raises(EvaluationError, match="fewer than 4 persons"):
        patch_copies(made[:3], training, holdout, rng)
