"""Intervals that cover as often as they say, and exact tests against counting."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from scipy import stats

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.interval import bootstrap, half_sampling, p_above, p_permutation, p_preceding, proportion


def test_intervals_of_a_mean_cover_it() -> None:
    boot = half = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(1, 2, 60), rng.normal(0, 2, 60)
        one = bootstrap(lambda i, x=x: x[i].mean(), np.arange(60), rng, resamples=200)
        two = half_sampling(lambda i, j, x=x, y=y: x[i].mean() - y[j].mean(), 60, 60, rng)
        boot += one.low <= 1 <= one.high
        half += two.low <= 1 <= two.high
    assert 180 <= boot <= 198  # 95% of 200 is 190, three standard errors are 9
    assert 180 <= half <= 198


def test_a_persons_rows_are_drawn_together() -> None:
    rng = np.random.default_rng(0)
    person = np.repeat(np.arange(30), 20)
    values = rng.normal(size=30)[person]
    together = bootstrap(lambda i: values[i].mean(), person, rng)
    apart = bootstrap(lambda i: values[i].mean(), np.arange(600), rng)
    assert together.n == 30
    assert together.high - together.low > 3 * (apart.high - apart.low)


def test_the_same_seed_gives_the_same_interval() -> None:
    x = np.random.default_rng(1).normal(size=20)
    one, two = (bootstrap(lambda i: x[i].mean(), np.arange(20), np.random.default_rng(7)) for _ in range(2))
    assert one == two


def test_proportions_are_exact() -> None:
    assert proportion(0, 10).low == 0
    assert proportion(0, 10).high == pytest.approx(1 - 0.025**0.1)
    assert proportion(10, 10).low == pytest.approx(0.025**0.1)
    assert (proportion(0, 0).low, proportion(0, 0).high) == (0, 1)
    with pytest.raises(EvaluationError, match="11 of 10"):
        proportion(11, 10)
    assert p_above(60, 100, 0.5) == pytest.approx(stats.binomtest(60, 100, 0.5, "greater").pvalue)
    assert p_above(0, 0, 0.5) == 1


def test_precedence_against_counting() -> None:
    m, n, rank = 4, 5, 2
    before = []
    for places in combinations(range(m + n), m):
        others = [p for p in range(m + n) if p not in places]
        before.append(sum(p < others[rank - 1] for p in places))
    for preceding in range(m + 1):
        assert p_preceding(preceding, m, rank, n) == pytest.approx(np.mean(np.array(before) >= preceding))


def test_permutation_p_is_never_zero() -> None:
    assert p_permutation(5, [1, 2, 3]) == 0.25
    assert p_permutation(1, [1, 2, 3]) == 1


def test_refusals() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(EvaluationError, match="over 1 subjects"):
        bootstrap(lambda i: 0.0, np.zeros(10), rng)
    with pytest.raises(EvaluationError, match="undefined on"):
        bootstrap(lambda i: float("nan") if 0 not in i else 1.0, np.arange(10), rng)
    with pytest.raises(EvaluationError, match="halves of 3 and 20"):
        half_sampling(lambda i, j: 0.0, 3, 20, rng)
