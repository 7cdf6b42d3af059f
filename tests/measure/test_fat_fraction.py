"""The liver's fat fraction: known mixtures come back, whatever the noise, the shading and the protocol's weighting."""

from __future__ import annotations

import numpy as np
import pytest

from engine.measure.fat_fraction import fraction_of_ratio, liver_fat, ratio_of_fraction
from engine.phantom.tissue import SUBSTANCES

LIVER = SUBSTANCES["liver"]
BALL = np.sqrt(sum(a**2 for a in np.meshgrid(*[np.arange(48) - 23.5] * 3, indexing="ij"))) < 20
AIR = np.zeros_like(BALL)
AIR[:3] = AIR[-3:] = True


def images(fraction: float, noise: float = 0.0) -> np.ndarray:
    """Water and fat of a ball of liver, Rician noise of SD ``noise``."""
    signals = (1 - fraction) * LIVER.water_signal, fraction * LIVER.fat_signal
    clean = np.stack([np.where(BALL, signal, 0) for signal in signals])
    rng = np.random.default_rng(0)
    return np.hypot(clean + rng.normal(0, noise, clean.shape), rng.normal(0, noise, clean.shape))


@pytest.mark.parametrize("tissue", [s for s in SUBSTANCES.values() if s.proton > 0], ids=str)
def test_the_inversion_undoes_the_signal_equation(tissue):
    for fraction in (0.0, 0.01, 0.3, 0.97, 1.0):
        assert fraction_of_ratio(ratio_of_fraction(fraction, tissue), tissue) == pytest.approx(fraction)


def test_the_ratio_is_not_the_fraction():
    assert ratio_of_fraction(0.05) > 0.08, "fat relaxes faster, so it shows more than its share"


@pytest.mark.parametrize("fraction", [0.01, 0.05, 0.25, 0.45])
def test_a_known_mixture_is_read(fraction: float):
    assert liver_fat(images(fraction), BALL * 1.0, AIR) == pytest.approx(100 * fraction, abs=1e-6)
    assert liver_fat(37.5 * images(fraction), BALL * 1.0, AIR) == pytest.approx(100 * fraction, abs=1e-6)
    assert liver_fat(images(fraction, 0.01), BALL * 1.0, AIR) == pytest.approx(100 * fraction, abs=0.1)


def test_noise_without_its_correction_would_be_fat():
    assert liver_fat(images(0.01, 0.01), BALL * 1.0, np.zeros_like(BALL)) > 1.7
    assert liver_fat(images(0.01, 0.01), BALL * 1.0, AIR) == pytest.approx(1.0, abs=0.1)


def test_exchanged_images_and_a_liver_that_is_not_there():
    assert liver_fat(images(0.1)[::-1], BALL * 1.0, AIR) == pytest.approx(10, abs=1e-6)
    assert np.isnan(liver_fat(images(0.1), BALL * 0.0, AIR))
    assert np.isnan(liver_fat(images(0.1) * 0, BALL * 1.0, AIR))
