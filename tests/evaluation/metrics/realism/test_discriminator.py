"""The trained classifier: halves of one population cannot be told, another texture can, and a seed gives one answer."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.discriminator import DiscriminatorConfig, discriminator_auc, scored, trained

SMALL = DiscriminatorConfig(steps=16, batch=8, width=0.0625, rate=1e-2)


def persons(seed: int, n: int = 20, k: int = 2, grain: float = 0.0) -> np.ndarray:
    """Crops of bodies of different brightness, with so much grain."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0.3, 0.6, (n, 1, 1, 1, 1, 1))
    volumes = level + 0.05 * rng.standard_normal((n, k, 1, 1, 1, 1)) + grain * rng.standard_normal((n, k, 1, 8, 8, 8))
    return np.rint(255 * volumes.clip(0, 1)).astype(np.uint8)


@pytest.mark.slow
def test_two_halves_of_the_same_persons_cannot_be_told() -> None:
    found = discriminator_auc(persons(0, grain=0.05), persons(1, grain=0.05), SMALL, np.random.default_rng(0))
    assert found.low <= 0.5 <= found.high
    assert found.n == 40


@pytest.mark.slow
def test_grain_is_told_and_those_not_judged_are_only_learnt_from() -> None:
    found = discriminator_auc(persons(0, grain=0.02), persons(1, grain=0.2), SMALL, np.random.default_rng(0), judged=10)
    assert found.n == 30
    assert found.low > 0.7


def test_a_seed_gives_one_network_whatever_was_drawn_before() -> None:
    import torch

    volumes, labels = persons(0, k=1)[:, 0], np.arange(20) % 2 == 0
    first = scored(trained(volumes, labels, SMALL, 3), volumes)
    torch.rand(5)
    assert np.array_equal(first, scored(trained(volumes, labels, SMALL, 3), volumes))
    assert not np.array_equal(first, scored(trained(volumes, labels, SMALL, 4), volumes))


def test_unequal_sides_few_persons_and_odd_batches_are_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(EvaluationError, match="as many of each"):
        discriminator_auc(persons(0), persons(1, 19), SMALL, rng)
    with pytest.raises(EvaluationError, match="too few for 5 folds"):
        discriminator_auc(persons(0, 9), persons(1, 9), SMALL, rng)
    with pytest.raises(EvaluationError, match="an even 4"):
        DiscriminatorConfig(batch=7)
