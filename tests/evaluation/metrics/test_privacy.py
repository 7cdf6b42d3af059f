"""Privacy tests on known normals: memorisers are caught, honest data alarm at the rate stated."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import cdist

from engine.evaluation.metrics import privacy as p
from engine.evaluation.metrics.checks import EvaluationError

SEEDS = 100
#: most alarms of 100 at a true rate of 5%: the 99.9% quantile of the binomial is 13
MOST = 13


def cohort(seed: int, n: int = 60, k: int = 6) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.random.Generator]:
    """Training, holdout and honest synthetic persons of one distribution."""
    rng = np.random.default_rng([seed, 11])
    training, holdout, honest = rng.normal(size=(3, n, k))
    return training, holdout, honest, rng


def copy_p(synthetic: np.ndarray, training: np.ndarray, holdout: np.ndarray) -> float:
    return p.copy_rate(p.closest_distances(synthetic, training)[:, 0], p.closest_distances(holdout, training)[:, 0]).p


def test_distances_and_shares_by_hand() -> None:
    training, holdout = np.array([[0.0], [1], [2], [3]]), np.array([[10.0], [11], [12], [13]])
    points = np.array([[0.1], [2.9], [9.0], [12.5], [6.5]])
    found = p.closest_records(points, training, holdout, np.random.default_rng(0))
    assert found.closest.share.value == pytest.approx(0.5)
    assert found.closest.share.n == 4
    assert found.closest.ties == 1
    assert np.allclose(p.closest_distances(points, training)[:, 0], [0.1, 0.1, 6, 9.5, 3.5])
    assert found.median_distance == pytest.approx((3.5, 3.5))


def test_against_brute_force() -> None:
    training, holdout, honest, rng = cohort(0)
    found = p.closest_records(honest, training, holdout, rng)
    near = [np.sort(cdist(honest, side), axis=1) for side in (training, holdout)]
    ratios = [d[:, 0] / d[:, 1] for d in near]
    assert found.closest.share.value == pytest.approx(np.mean(near[0][:, 0] < near[1][:, 0]))
    assert found.ratio.share.value == pytest.approx(np.mean(ratios[0] < ratios[1]))
    assert found.median_ratio == pytest.approx(tuple(np.median(r) for r in ratios))


@pytest.mark.slow
def test_honest_data_alarm_at_most_one_in_twenty() -> None:
    alarms = np.zeros(3)
    for seed in range(SEEDS):
        training, holdout, honest, rng = cohort(seed)
        found = p.closest_records(honest, training, holdout, rng, permutations=99)
        alarms += [found.closest.p <= 0.05, found.ratio.p <= 0.05, copy_p(honest, training, holdout) < 0.05]
    assert (alarms <= MOST).all(), alarms


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.3])
def test_a_memoriser_is_caught(noise: float) -> None:
    """Replays of training persons, exact and perturbed by parts of a standard deviation."""
    caught, seeds = np.zeros(2), 20
    for seed in range(seeds):
        training, holdout, honest, rng = cohort(seed)
        replay = training[rng.integers(len(training), size=60)] + noise * honest
        found = p.closest_records(replay, training, holdout, rng, permutations=99)
        caught += [found.closest.p <= 0.05, copy_p(replay, training, holdout) < 0.05]
        assert found.closest.share.low > 0.5
    assert (caught == seeds).all(), caught


def test_a_memoriser_of_one_in_five_is_caught_by_the_copy_rate() -> None:
    caught = 0
    for seed in range(20):
        training, holdout, honest, rng = cohort(seed)
        honest[:12] = training[:12] + 0.05 * rng.normal(size=(12, 6))
        caught += copy_p(honest, training, holdout) < 0.05
    assert caught >= 19


def test_copies_state_both_rates() -> None:
    training, holdout, honest, _ = cohort(3)
    replay = p.closest_distances(training + 0.05 * honest, training)[:, 0]
    theirs = p.closest_distances(holdout, training)[:, 0]
    found = p.copy_rate(replay, theirs)
    assert not found.passes
    assert found.synthetic.value == 1
    assert found.holdout.value <= 0.05
    rate, threshold = p.replay_rate(p.closest_distances(honest, training)[:, 0], replay)
    assert rate.value < 0.05
    assert threshold == pytest.approx(np.quantile(replay, 0.95))


def test_membership_inference() -> None:
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        alarms += p.membership_inference(rng.normal(size=30), rng.normal(size=40), rng, resamples=100).p <= 0.05
    assert alarms <= 7
    rng = np.random.default_rng(0)
    leaks = p.membership_inference(rng.normal(1, 1, 60), rng.normal(size=60), rng)
    assert leaks.auc.low > 0.6
    assert leaks.p < 0.01
    assert p.membership_inference(np.arange(5) + 10.0, np.arange(5.0), rng).auc.value == 1
    assert p.membership_inference(np.ones(5), np.ones(5), rng).auc.value == 0.5


def test_bad_input_is_refused_in_a_sentence() -> None:
    training, holdout, honest, rng = cohort(0)
    broken = honest.copy()
    broken[0, 0] = np.inf
    for fault, call in {
        "hold 60 and 50 records": lambda: p.closest_records(honest, training, holdout[:50], rng),
        "synthetic features hold 1 subjects": lambda: p.closest_records(honest[:1], training, holdout, rng),
        "not finite in 1 of 60": lambda: p.closest_records(broken, training, holdout, rng),
        "60 of 60 held-out persons repeat": lambda: p.copy_rate(np.ones(60), np.zeros(60)),
        "member score features hold 2": lambda: p.membership_inference(np.ones(2), np.ones(9), rng),
    }.items():
        with pytest.raises(EvaluationError, match=fault):
            call()
