"""Coherence of scan and row: known slopes, and shuffled pairs that lose everything."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.metrics import coherence as c
from engine.evaluation.metrics.checks import EvaluationError


def pairs(seed: int, n: int = 120, slope: float = 2.0, noise: float = 1.0):
    rng = np.random.default_rng(seed)
    attribute = rng.normal(50, 3, n)
    return slope * attribute + noise * rng.normal(size=n), attribute


def test_known_slope_and_correlation() -> None:
    measured, attribute = pairs(0)
    found = c.line(measured, attribute, np.random.default_rng(0))
    assert found.slope.low < 2 < found.slope.high
    assert found.slope.value == pytest.approx(np.polyfit(attribute, measured, 1)[0])
    assert found.correlation.value == pytest.approx(np.corrcoef(attribute, measured)[0, 1])
    exact = c.line(3 * attribute - 7, attribute, np.random.default_rng(0))
    assert (exact.slope.value, exact.correlation.value) == pytest.approx((3, 1))
    flat = c.line(np.ones(120), attribute, np.random.default_rng(0))
    assert (flat.slope.value, flat.correlation.value) == pytest.approx((0, 0), abs=1e-12)


@pytest.mark.slow
def test_honest_pairs_pass_and_shuffled_pairs_fail_on_every_seed() -> None:
    covered = destroyed = 0
    for seed in range(20):
        rng = np.random.default_rng([seed, 3])
        real, synthetic = pairs(seed, 60), pairs(seed + 500, 60)
        found = c.coherence(*real, *synthetic, rng, resamples=200)
        assert found.slope_ratio is not None
        covered += found.slope_ratio.low <= 1 <= found.slope_ratio.high
        broken = c.coherence(*real, rng.permutation(synthetic[0]), synthetic[1], rng, resamples=200)
        assert broken.slope_ratio is not None
        destroyed += broken.slope_ratio.high < 1 and broken.correlation_gap.high < -0.3
        assert abs(found.shuffled.correlation.value) < 0.5
    assert covered >= 15  # 95% of 20 is 19; 15 has a chance of 0.3% under it
    assert destroyed == 20


def test_the_ratio_divides_a_regressors_shrinkage_out() -> None:
    rng = np.random.default_rng(0)
    age, other = rng.normal(50, 10, 300), rng.normal(50, 10, 300)
    read = lambda true: 20 + 0.6 * true + rng.normal(0, 2, 300)  # noqa: E731
    found = c.coherence(read(age), age, read(0.5 * other), other, rng)
    assert found.real.slope.value == pytest.approx(0.6, abs=0.05)
    assert found.slope_ratio is not None
    assert found.slope_ratio.low < 0.5 < found.slope_ratio.high


def test_no_ratio_where_the_real_slope_is_not_told_from_zero() -> None:
    rng = np.random.default_rng(0)
    attribute = rng.normal(size=(2, 40))
    found = c.coherence(rng.normal(size=40), attribute[0], attribute[1], attribute[1], rng)
    assert found.slope_ratio is None


def test_requested_against_measured_is_within_persons() -> None:
    rng = np.random.default_rng(1)
    persons = np.repeat(np.arange(15), 7)
    requested = np.tile(np.linspace(20, 80, 7), 15)
    offset = rng.normal(0, 40, 15)[persons]
    real = rng.normal(50, 12, 100)
    regressor = 15 + 0.7 * real + rng.normal(0, 3, 100)
    measured = 15 + 0.7 * requested + offset + rng.normal(0, 3, 105)
    found = c.response(requested, measured, persons, real, regressor, rng)
    assert found.raw.slope.n == 15
    assert found.raw.slope.value == pytest.approx(0.7, abs=0.05)
    assert found.ratio is not None
    assert found.ratio.low < 1 < found.ratio.high
    deaf = c.response(requested, offset + rng.normal(0, 3, 105), persons, real, regressor, rng)
    assert deaf.ratio is not None
    assert deaf.ratio.high < 0.2


@pytest.mark.parametrize("kind", ["linear", "boosting"])
def test_match_or_shuffle(kind) -> None:
    rng = np.random.default_rng(0)
    n = 100
    attributes = np.column_stack([rng.normal(size=(n, 3)), rng.integers(0, 2, n), np.ones(n)]).astype(float)
    features = attributes[:, :4] @ rng.normal(size=(4, 8)) + 0.5 * rng.normal(size=(n, 8))
    found = c.match_or_shuffle((features, attributes), (features, attributes), rng, kind=kind)
    assert found.real.low > 0.75
    assert found.synthetic.low > 0.75
    assert found.shuffled.low < 0.55
    assert found.shuffled.high > 0.45


def test_shuffled_pairs_score_a_half() -> None:
    found = []
    for seed in range(8):
        rng = np.random.default_rng(seed)
        found.append(c.matching_auc(rng.normal(size=(28, 6)), rng.normal(size=(28, 3)), rng))
    values = np.array([f.value for f in found])
    assert abs(values.mean() - 0.5) < 3 * values.std(ddof=1) / np.sqrt(len(values)) + 0.01
    assert sum(f.low > 0.5 for f in found) <= 3


def test_bad_input_is_refused_in_a_sentence() -> None:
    measured, attribute = pairs(0, 40)
    rng, gap = np.random.default_rng(0), measured.copy()
    gap[0] = np.nan
    features, table = rng.normal(size=(40, 3)), rng.normal(size=(40, 2))
    for fault, call in {
        "attribute is 1 in all 40 subjects": lambda: c.line(measured, np.ones(40), rng),
        "not finite in 1 of 40": lambda: c.line(gap, attribute, rng),
        "hold 1 subjects": lambda: c.line(measured[:1], attribute[:1], rng),
        "40 scans have 30 rows": lambda: c.matching_auc(features, table[:30], rng),
        "40 and 30 subjects": lambda: c.match_or_shuffle((features, table), (features[:30], table[:30]), rng),
        "every attribute is constant": lambda: c.matching_auc(features, np.ones((40, 2)), rng),
        "8 subjects a side are too few": lambda: c.matching_auc(features[:8], table[:8], rng),
    }.items():
        with pytest.raises(EvaluationError, match=fault):
            call()
