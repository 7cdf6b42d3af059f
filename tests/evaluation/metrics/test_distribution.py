"""Distances between feature distributions: closed forms, laws, and controls on known normals."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
import torch
from monai.metrics.fid import FIDMetric
from scipy.linalg import sqrtm

from engine.evaluation.metrics import distribution as d
from engine.evaluation.metrics.checks import EvaluationError


def two(seed: int = 0, n: int = 200, k: int = 8, shift: float = 0.0, spread: float = 1.0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, k)), shift + spread * rng.normal(size=(n, k))


def test_frechet_against_the_closed_form_and_monai() -> None:
    rng = np.random.default_rng(2)
    x, y = two(shift=0.3)
    x, y = x @ rng.normal(size=(8, 8)), y @ rng.normal(size=(8, 8))
    a, b = np.cov(x.T), np.cov(y.T)
    closed = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * np.real(np.asarray(sqrtm(a @ b))))
    assert d.frechet_distance(x, y) == pytest.approx(closed, rel=1e-6)
    # monai (to 1.6 at least) hands sqrtm an argument that newer versions of scipy no longer take
    if "disp" in inspect.signature(sqrtm).parameters:
        theirs = float(FIDMetric()(torch.from_numpy(y), torch.from_numpy(x)))
        assert d.frechet_distance(x, y) == pytest.approx(theirs, rel=1e-3)


def test_frechet_laws() -> None:
    x, y = two(shift=0.3)
    turn = np.linalg.qr(np.random.default_rng(1).normal(size=(8, 8)))[0]
    value = d.frechet_distance(x, y)
    assert d.frechet_distance(x, x) == pytest.approx(0, abs=1e-8)
    assert d.frechet_distance(y, x) == pytest.approx(value)
    assert d.frechet_distance(x @ turn + 5, y @ turn + 5) == pytest.approx(value)
    assert d.frechet_distance(3 * x, 3 * y) == pytest.approx(9 * value)
    assert d.frechet_distance(x, x + 0.5) == pytest.approx(8 * 0.25)
    one = x[:, :1]
    assert d.frechet_distance(one, 2 * one) == pytest.approx(one.mean() ** 2 + one.var(ddof=1))


def test_kernel_distance_against_the_definition_and_unbiased() -> None:
    x, y = two(n=12, k=3, shift=0.5)
    k = lambda a, b: (a @ b / 3 + 1) ** 3  # noqa: E731
    xx = np.mean([k(a, b) for i, a in enumerate(x) for j, b in enumerate(x) if i != j])
    yy = np.mean([k(a, b) for i, a in enumerate(y) for j, b in enumerate(y) if i != j])
    xy = np.mean([k(a, b) for a in x for b in y])
    assert d.kernel_distance(x, y) == pytest.approx(xx + yy - 2 * xy)
    null = [d.kernel_distance(*two(s, 20, 4)) for s in range(300)]
    assert abs(np.mean(null)) < 3 * np.std(null) / np.sqrt(300)


def test_projection_is_fitted_on_training_and_drops_constants() -> None:
    rng = np.random.default_rng(0)
    training = rng.normal(size=(100, 2)) @ rng.normal(size=(2, 10)) + 0.01 * rng.normal(size=(100, 10))
    training[:, 3] = 7.0
    projection = d.Projection.fitted(training, 2)
    assert projection(training).shape == (100, 2)
    assert np.allclose(projection(training).mean(0), 0)
    moved = training.copy()
    moved[:, 3] += 100
    assert np.allclose(projection(moved), projection(training))
    standard = np.delete((training - training.mean(0)) / training.std(0).clip(1e-12), 3, axis=1)
    assert projection(training).var(0).sum() > 0.99 * standard.var(0).sum()
    with pytest.raises(EvaluationError, match="span 0 dimensions"):
        d.Projection.fitted(np.ones((10, 3)), 1)


@pytest.mark.slow
def test_half_a_standard_deviation_is_caught_and_honest_data_seldom_alarm() -> None:
    """28 real of 56 against 28 synthetic in 8 dimensions, the heads' case; two tests and the real-real floor."""
    alarms = {shift: np.zeros(3) for shift in (0.0, 0.5)}
    seeds = 40
    for shift, count in alarms.items():
        for seed in range(seeds):
            rng = np.random.default_rng([seed, 7])
            real, synthetic = rng.normal(size=(56, 8)), rng.normal(size=(28, 8)) + shift
            count += [
                d.kernel_test(real[:28], synthetic, rng, 99).p <= 0.05,
                d.frechet_test(real[:28], synthetic, rng, 99).p <= 0.05,
                d.standing(d.frechet_distance, real, synthetic, rng, splits=25).above_floor,
            ]
    assert (alarms[0.5] >= 0.9 * seeds).all(), alarms
    assert (alarms[0.0] <= 0.05 * seeds + 3 * np.sqrt(0.05 * 0.95 * seeds)).all(), alarms


def test_noise_raises_the_distance() -> None:
    for seed in range(20):
        x, y = two(seed, 100)
        noise = np.random.default_rng(seed + 100).normal(size=y.shape)
        scores = [d.frechet_distance(x, y + level * noise) for level in (0, 1, 2)]
        assert scores == sorted(scores)


def test_a_narrow_generator_is_not_rated_better() -> None:
    """At 28 subjects 0.7 of the spread beats honest data in 64 dimensions; so it is refused, and in 8 it does not."""
    honest, narrow = [], []
    for seed in range(60):
        x, y = two(seed, 28)
        z = np.random.default_rng(seed + 1000).normal(size=(28, 8)) * 0.7
        honest.append(d.frechet_distance(x, y))
        narrow.append(d.frechet_distance(x, z))
    assert np.mean(narrow) > np.mean(honest)
    fooled = np.mean([d._frechet(*two(s, 28, 64, spread=0.7)) < d._frechet(*two(s + 50, 28, 64)) for s in range(20)])
    assert fooled == 1
    with pytest.raises(EvaluationError, match="28 subjects cannot carry a covariance of 64 features"):
        d.frechet_distance(*two(0, 28, 64))
    worse = np.mean([d._frechet(*two(s, 192, 64, spread=0.7)) > d._frechet(*two(s + 50, 192, 64)) for s in range(10)])
    assert worse == 1


def test_a_standing_has_floor_figure_and_ceiling() -> None:
    x, y = two(n=100, shift=0.3)
    found = d.standing(d.frechet_distance, x, y, np.random.default_rng(0), splits=30)
    assert found.floor.value < found.figure.value < found.ceiling.value
    assert found.floor.n == found.figure.n == found.ceiling.n == 50
    assert d.real_floor(d.frechet_distance, x, np.random.default_rng(0), size=30).n == 30


def test_equal_n() -> None:
    x, y = two(n=50)
    a, b = d.equal_n(x, y[:20], np.random.default_rng(0))
    assert len(a) == len(b) == 20
    assert np.array_equal(b, y[:20])


def test_bad_input_is_refused_in_a_sentence() -> None:
    x, y = two(n=40)
    broken = y.copy()
    broken[3, 2] = np.nan
    for fault, call in {
        "sides hold 40 and 39 subjects": lambda: d.frechet_distance(x, y[:39]),
        "synthetic features hold 1 subjects": lambda: d.kernel_distance(x, y[:1]),
        "not finite in 1 of 40": lambda: d.kernel_distance(x, broken),
        "need 60 real subjects and there are 40": lambda: d.real_floor(
            d.frechet_distance, x, np.random.default_rng(0), size=30
        ),
    }.items():
        with pytest.raises(EvaluationError, match=fault):
            call()
    constant = np.concatenate([x[:, :2], np.ones((40, 1))], axis=1)
    assert d.frechet_distance(constant, constant + np.array([0, 0, 2.0])) == pytest.approx(4)
