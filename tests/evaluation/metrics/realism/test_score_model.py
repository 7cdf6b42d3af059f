"""The local score model against posterior means that are known: by brute force, and in the limits of window and noise."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from scipy.special import softmax

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.score_model import LocalScoreModel, windowed_sum

SHAPE = (2, 5, 4, 6)
RNG = np.random.default_rng(0)
TRAINING = RNG.random((4, *SHAPE)).astype(np.float32)


def noisy(t: float, seed: int = 1) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return ((1 - t) * TRAINING[1] + t * rng.standard_normal(SHAPE)).astype(np.float32)


def by_hand(z: np.ndarray, t: float, window: int, reach: int) -> np.ndarray:
    """The formula of the module, voxel by voxel and patch by patch; patches beyond the border repeat its voxels."""
    half, grid = window // 2, SHAPE[1:]
    out = np.zeros(SHAPE)
    padded = np.pad(TRAINING.astype(float), [(0, 0), (0, 0), *[(reach, reach)] * 3], mode="edge")
    for p in product(*map(range, grid)):
        around = [slice(max(0, a - half), min(n, a + half + 1)) for a, n in zip(p, grid, strict=True)]
        mine = z[(slice(None), *around)]
        scores, values = [], []
        for volume in padded:
            for shift in product(range(-reach, reach + 1), repeat=3):
                q = [a + s for a, s in zip(p, shift, strict=True)]
                if not all(0 <= a < n for a, n in zip(q, grid, strict=True)):
                    continue
                place = [slice(a.start + s + reach, a.stop + s + reach) for a, s in zip(around, shift, strict=True)]
                scores.append(-((mine - (1 - t) * volume[(slice(None), *place)]) ** 2).sum() / (2 * t * t))
                values.append(volume[(slice(None), *(a + reach for a in q))])
        out[(slice(None), *p)] = softmax(scores) @ np.array(values)
    return out


@pytest.mark.parametrize(("window", "reach"), [(1, 0), (3, 0), (3, 1)])
def test_it_is_the_analytic_posterior_mean(window: int, reach: int) -> None:
    for t in (0.3, 0.7):
        found = LocalScoreModel(training=TRAINING, window=window, reach=reach).posterior_mean(noisy(t), t)
        assert found == pytest.approx(by_hand(noisy(t), t, window, reach), abs=1e-4)


def test_a_window_of_the_whole_volume_is_the_memoriser() -> None:
    """softmax(-|z - (1 - t) x_i|^2 / 2 t^2) over training volumes, the same everywhere."""
    z, t = noisy(0.8), 0.8
    errors = ((z - (1 - t) * TRAINING) ** 2).sum((1, 2, 3, 4))
    expected = np.einsum("i,icxyz->cxyz", softmax(-errors / (2 * t * t)), TRAINING)
    found = LocalScoreModel(training=TRAINING, window=11).posterior_mean(z, t)
    assert found == pytest.approx(expected, abs=1e-4)


def test_pure_noise_has_the_mean_and_hardly_any_noise_the_volume() -> None:
    model = LocalScoreModel(training=TRAINING, window=3)
    assert model.posterior_mean(noisy(1.0), 1.0) == pytest.approx(TRAINING.mean(0), abs=1e-4)
    assert model.posterior_mean(noisy(1e-3), 1e-3) == pytest.approx(TRAINING[1], abs=1e-4)


def test_a_posterior_mean_of_normals_shrinks_as_it_should() -> None:
    """Of many training voxels from N(m, s^2) it is that of the normal: m + (1 - t) s^2 / ((1 - t)^2 s^2 + t^2) (z - (1 - t) m)."""
    rng = np.random.default_rng(2)
    training = rng.normal(0.5, 0.2, (1500, 1, 1, 1, 1)).astype(np.float32)
    t, z = 0.4, np.float32(0.7)
    found = LocalScoreModel(training=training, window=1).posterior_mean(np.full((1, 1, 1, 1), z, np.float32), t)
    expected = 0.5 + (1 - t) * 0.04 / ((1 - t) ** 2 * 0.04 + t**2) * (z - (1 - t) * 0.5)
    assert found.item() == pytest.approx(expected, abs=0.025)


def test_samples_are_training_volumes_by_the_whole_and_mosaics_by_the_part() -> None:
    whole = LocalScoreModel(training=TRAINING, window=11)
    draws = [whole.sample(np.random.default_rng(seed), 16) for seed in range(6)]
    nearest = [np.abs(TRAINING - draw).max((1, 2, 3, 4)) for draw in draws]
    assert max(n.min() for n in nearest) < 0.05
    assert len({int(n.argmin()) for n in nearest}) > 1

    local = LocalScoreModel(training=TRAINING, window=1)
    mosaic = local.sample(np.random.default_rng(0), 16)
    apart = np.abs(TRAINING - mosaic).sum(1)
    assert apart.min(0).mean() < 0.05
    assert len(np.unique(apart.argmin(0))) > 1
    assert np.array_equal(mosaic, local.sample(np.random.default_rng(0), 16))


def test_sums_over_cubes_stop_at_the_border() -> None:
    ones = np.ones((4, 4, 4), np.float32)
    assert windowed_sum(ones, 3)[0, 0, 0] == pytest.approx(8)
    assert windowed_sum(ones, 3)[1, 1, 1] == pytest.approx(27)


@pytest.mark.parametrize("wrong", [{"window": 4}, {"window": 0}, {"reach": -1}, {"training": TRAINING[:0]}])
def test_what_cannot_be_is_refused(wrong: dict) -> None:
    with pytest.raises(EvaluationError):
        LocalScoreModel(**{"training": TRAINING, **wrong})
    with pytest.raises(EvaluationError, match="noise level"):
        LocalScoreModel(training=TRAINING).posterior_mean(noisy(0.5), 0.0)
