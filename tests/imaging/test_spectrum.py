"""The power spectrum: flat for white noise, falling as a Gaussian's after a blur, and the same wherever a body lies."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from engine.imaging.spectrum import (
    RADII,
    blurred_power,
    body_box,
    power_ratio,
    radial_power,
    worst_deviation,
)
from engine.imaging.volume import VolumeError


def noise(rng: np.random.Generator, n: int = 3, side: int = 40, sd: float = 0.1) -> np.ndarray:
    """Bodies that fill the grid with white noise."""
    return 0.5 + sd * rng.standard_normal((n, 1, side, side, side))


def spectra(volumes: np.ndarray) -> np.ndarray:
    return np.stack([radial_power(volume) for volume in volumes])


def test_white_noise_has_its_variance_at_every_radius() -> None:
    found = spectra(noise(np.random.default_rng(0), 4)).mean(0)[0]
    assert found[3:] == pytest.approx(0.01, rel=0.08)
    assert found == pytest.approx(0.01, rel=0.25)


@pytest.mark.parametrize("sigma", [0.8, 1.0])
def test_a_blur_takes_the_power_of_its_gaussian(sigma: float) -> None:
    """Where a sampled Gaussian is one: up to .6 of Nyquist, in shares of the unblurred power."""
    sharp = noise(np.random.default_rng(0), 4)
    soft = np.stack([ndimage.gaussian_filter(v, (0, sigma, sigma, sigma), truncate=6) for v in sharp])
    power = spectra(sharp)
    expected = power_ratio(power, blurred_power(power, sigma))[0]
    assert expected == pytest.approx(np.exp(-((np.pi * RADII * sigma) ** 2)))
    low = RADII < 0.6
    assert power_ratio(power, spectra(soft))[0][low] == pytest.approx(expected[low], rel=0.06, abs=0.01)


def test_a_wave_lies_in_the_ring_of_its_length() -> None:
    """Eight voxels long: a quarter of Nyquist."""
    wave = 0.5 + 0.3 * np.sin(2 * np.pi * np.arange(48) / 8)[:, None, None] * np.ones((48, 48, 48))
    assert RADII[radial_power(wave[None])[0].argmax()] == pytest.approx(0.25, abs=0.03)


def test_air_around_a_body_its_grain_and_a_shift_change_nothing() -> None:
    rng = np.random.default_rng(0)
    body = noise(rng, 1, 24)[0]
    one = np.pad(body, [(0, 0), (10, 6), (8, 8), (4, 12)])
    box = tuple(slice(max(0, at), at + 24) for at in (10, 8, 4))
    found = body_box(one)
    assert all(abs(f.start - b.start) <= 2 and abs(f.stop - b.stop) <= 2 for f, b in zip(found, box, strict=True))
    grainy = one + 0.03 * np.abs(rng.standard_normal(one.shape)) * (one == 0)
    assert body_box(grainy) == found
    assert radial_power(np.roll(one, (2, -3, 1), (1, 2, 3))) == pytest.approx(radial_power(one))


def test_the_worst_deviation_is_of_any_channel_and_radius() -> None:
    real = np.ones((5, 2, len(RADII)))
    made = real.copy()
    made[:, 1, 4] = 0.6
    assert worst_deviation(real, real) == 0
    assert worst_deviation(real, made) == pytest.approx(0.4)
    made[:, 0, 2] = 1.7
    assert worst_deviation(real, made) == pytest.approx(0.7)


def test_no_body_has_no_spectrum() -> None:
    with pytest.raises(VolumeError, match="no body"):
        radial_power(np.zeros((1, 16, 16, 16)))
    small = np.zeros((1, 20, 20, 20))
    small[:, 8:11, 8:11, 8:11] = 1
    with pytest.raises(VolumeError, match="too small for a spectrum"):
        radial_power(small)
