"""Known answers of the five measures, with the controls that must fail them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.counterfactual import (
    attribute_error,
    change_outside,
    composition,
    effectiveness,
    minimality,
    realism,
    reversibility,
)

N, GRID = 40, (1, 6, 6, 6)


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.fixture
def cohort(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    age = rng.uniform(20, 80, 100)
    return age, 0.25 * age + rng.normal(0, 3, 100)


def test_effectiveness_of_a_faithful_a_weak_and_an_idle_intervention(
    rng: np.random.Generator, cohort: tuple[np.ndarray, np.ndarray]
) -> None:
    age = rng.uniform(20, 50, N)
    asked = np.stack([age, age + 30], 1)
    before = 0.25 * age + rng.normal(0, 3, N)
    for share, slack in ((1.0, 0.15), (0.5, 0.1)):
        seen = np.stack([before, before + share * 0.25 * 30 + rng.normal(0, 0.3, N)], 1)
        found = effectiveness(asked, seen, *cohort, rng, resamples=200)
        assert found.response.ratio is not None
        assert found.response.ratio.value == pytest.approx(share, abs=slack)
        assert found.response.ratio.low <= share * 1.15
        assert found.followed.value == 1
    idle = effectiveness(asked, np.stack([before, before], 1), *cohort, rng, resamples=200)
    assert idle.response.ratio is not None
    assert idle.response.raw.slope.value == idle.response.ratio.value == 0
    assert idle.followed.value == 0
    another = effectiveness(asked, np.stack([before, rng.permutation(before)], 1), *cohort, rng, resamples=200)
    assert another.response.raw.slope.low < 0 < another.response.raw.slope.high


def test_effectiveness_takes_the_direction_of_the_cohort(
    rng: np.random.Generator, cohort: tuple[np.ndarray, np.ndarray]
) -> None:
    age = rng.uniform(50, 80, N)
    seen = np.stack([age, age - 3], 1)
    found = effectiveness(np.stack([age, age - 30], 1), seen, cohort[0], cohort[1], rng, resamples=200)
    assert found.followed.value == 1
    found = effectiveness(np.stack([age, age - 30], 1), seen, cohort[0], -cohort[1], rng, resamples=200)
    assert found.followed.value == 0


def test_attribute_error_is_a_mean_distance(rng: np.random.Generator) -> None:
    wanted = rng.uniform(20, 80, N)
    assert attribute_error(wanted, wanted, rng).value == 0
    assert attribute_error(wanted, wanted + np.where(np.arange(N) % 2, 4, -4), rng).value == pytest.approx(4)


def test_composition_of_a_perfect_and_of_a_drifting_null(rng: np.random.Generator) -> None:
    scans = rng.uniform(0.2, 0.8, (N, *GRID))
    coded = scans + 0.01
    perfect = composition(scans, coded, coded, rng)
    assert perfect.loss.value == perfect.loss.low == perfect.loss.high == 0
    assert perfect.psnr.value == perfect.autoencoder_psnr.value == pytest.approx(40)
    assert perfect.l1.value == pytest.approx(0.01)
    drift = composition(scans, coded, scans + 0.1, rng)
    assert drift.loss.value == pytest.approx(20)
    swapped = composition(scans, coded, np.roll(coded, 1, axis=0), rng)
    assert swapped.loss.low > 20


def test_only_the_mask_counts(rng: np.random.Generator) -> None:
    scans = rng.uniform(0.2, 0.8, (N, *GRID))
    mask = np.zeros((N, *GRID[1:]), bool)
    mask[:, :3] = True
    null = scans + np.where(mask[:, None], 0.01, 0.5)
    assert composition(scans, scans + 0.01, null, rng, mask=mask).loss.value == pytest.approx(0, abs=1e-9)
    with pytest.raises(EvaluationError, match="person 0 has an empty mask"):
        composition(scans, scans, null, rng, mask=np.zeros_like(mask))


def test_reversibility_counts_what_did_not_come_back(rng: np.random.Generator) -> None:
    scans = rng.uniform(0.2, 0.8, (N, *GRID))
    assert reversibility(scans, scans + 0.01, scans + 0.02, rng).loss.value == pytest.approx(20 * np.log10(2))


def test_minimality_knows_the_same_person_from_another(rng: np.random.Generator) -> None:
    real = rng.normal([1200, 300], [100, 60], (80, 2))
    before = rng.normal([1200, 300], [100, 60], (N, 2))
    names = ("brain_ml", "neck_ml")
    still = minimality(before, before, real, names, rng)
    assert still.overall.value == 0
    assert still.replaced.value == pytest.approx(2 / np.sqrt(np.pi), abs=0.2)
    moved = minimality(before, before + np.array([0.5 * real[:, 0].std(ddof=1), 0]), real, names, rng)
    assert moved.measures["brain_ml"].value == pytest.approx(0.5)
    assert moved.measures["neck_ml"].value == 0
    another = minimality(before, np.roll(before, 7, axis=0), real, names, rng)
    assert another.overall.low > 0.8
    with pytest.raises(EvaluationError, match="neck_ml is the same"):
        minimality(before, before, np.stack([real[:, 0], np.ones(80)], 1), names, rng)


def test_change_outside_a_region(rng: np.random.Generator) -> None:
    region = np.zeros((N, *GRID[1:]), bool)
    region[:, :3] = True
    inside = np.where(region[:, None], 0.2, 0.0)
    assert change_outside(inside, region, rng).value == 0
    assert change_outside(-inside, ~region, rng).value == pytest.approx(1)
    assert change_outside(rng.normal(size=(N, *GRID)), region, rng).value == pytest.approx(0.5, abs=0.02)
    assert change_outside(np.zeros((N, *GRID)), region, rng).value == 0


def test_realism_passes_real_persons_and_catches_noise_and_blur(rng: np.random.Generator) -> None:
    real, honest = rng.normal(size=(N, 8)), rng.normal(size=(N, 8))
    good = realism(real, honest, rng)
    assert good.kernel.p > 0.05
    assert good.precision.value > 0.6
    noise = realism(real, 3 * rng.normal(size=(N, 8)), rng)
    assert noise.kernel.p < 0.01
    assert noise.precision.value < 0.3
    assert realism(real, honest + 1.0, rng).kernel.p < 0.01
    with pytest.raises(EvaluationError, match="biased by N"):
        realism(real, honest[:20], rng)
