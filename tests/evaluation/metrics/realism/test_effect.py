"""Cohen's d: 0 for the same persons in another order, the shift in standard deviations, and its interval's coverage."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.effect import cohens_d, effect_size


def test_a_shuffled_copy_has_no_effect_and_a_shift_has_its_size() -> None:
    rng = np.random.default_rng(0)
    real = rng.normal(1500, 100, 40)
    assert cohens_d(real, rng.permutation(real)) == pytest.approx(0, abs=1e-12)
    sd = real.std(ddof=1)
    assert cohens_d(real, real + 0.7 * sd) == pytest.approx(0.7)
    assert cohens_d(real + 0.7 * sd, real) == pytest.approx(-0.7)
    assert cohens_d(7 * real + 3, 7 * (real + 0.2 * sd) + 3) == pytest.approx(0.2)


def test_constants() -> None:
    same = np.full(5, 2.0)
    assert cohens_d(same, same) == 0
    assert np.isnan(cohens_d(same, same + 1))


def test_the_interval_holds_the_truth_as_often_as_it_says() -> None:
    """Of 60 intervals of 95%, 51 or more hold it but once in a thousand."""
    held = 0
    for seed in range(60):
        rng = np.random.default_rng(seed)
        found = effect_size(rng.normal(0, 1, 28), rng.normal(0.5, 1, 60), rng, resamples=150)
        held += found.low <= 0.5 <= found.high
    assert held >= 51


def test_too_few_persons_are_refused() -> None:
    with pytest.raises(EvaluationError, match="subjects"):
        effect_size(np.arange(3.0), np.arange(9.0), np.random.default_rng(0))
