"""The radiomics vector and the diversity of volumes: laws of what moves them and what does not."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage, stats

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.diversity import ms_ssim_diversity, scale_weights
from engine.evaluation.metrics.radiomics import feature_names, radiomics, radiomics_hash


def blobs(n: int = 6, side: int = 24, channels: int = 1, seed: int = 0) -> np.ndarray:
    """Smooth bodies in an empty background, range 0 to 1."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*[np.linspace(-1, 1, side)] * 3, indexing="ij")
    inside = sum(a**2 for a in axes) < 0.6
    texture = ndimage.gaussian_filter(rng.normal(size=(n, channels, side, side, side)), (0, 0, 2, 2, 2)) * 4
    return np.where(inside, np.clip(0.5 + texture, 0.1, 1), 0)


def test_a_column_for_each_name_and_a_pinned_version() -> None:
    found = radiomics(blobs(channels=2))
    assert found.shape == (6, len(feature_names(2)))
    assert len(set(feature_names(2))) == len(feature_names(2))
    assert np.isfinite(found).all()
    # a changed feature or constant must raise VERSION: figures of different hashes do not compare
    assert radiomics_hash(2) == "d8ce505b44bfd807"
    assert radiomics_hash(1) != radiomics_hash(2) != radiomics_hash(2, body=0.1)


def test_first_order_is_that_of_the_body() -> None:
    volume = blobs(1)
    inside = volume[volume > 0.05]
    found = dict(zip(feature_names(1), radiomics(volume)[0], strict=True))
    assert found["c0_mean"] == pytest.approx(inside.mean())
    assert found["c0_sd"] == pytest.approx(inside.std())
    assert found["c0_skewness"] == pytest.approx(stats.skew(inside))
    assert found["c0_kurtosis"] == pytest.approx(stats.kurtosis(inside))
    assert found["c0_q50"] == pytest.approx(np.median(inside))
    assert found["body_share"] == pytest.approx((volume > 0.05).mean())


def test_turning_a_volume_over_leaves_the_finest_scale_and_noise_does_not() -> None:
    volume, names = blobs(1), np.array(feature_names(1))
    fine = np.array(["_s1_" not in n and "_s2_" not in n for n in names])
    one, over = radiomics(volume)[0], radiomics(volume[:, :, ::-1])[0]
    assert np.allclose(one[fine], over[fine])
    noisy = np.clip(volume + 0.2 * (volume > 0) * np.random.default_rng(0).normal(size=volume.shape), 0, 1)
    before, after = (dict(zip(names, radiomics(v)[0], strict=True)) for v in (volume, noisy))
    rises = [after[f"c0_s{s}_band_energy"] - before[f"c0_s{s}_band_energy"] for s in range(3)]
    assert rises[0] > 0.2
    assert rises[0] > 2 * abs(rises[2])
    assert after["c0_s0_local_variance_mean"] > before["c0_s0_local_variance_mean"]


def test_a_constant_body_has_finite_features() -> None:
    assert np.isfinite(radiomics(np.full((1, 1, 16, 16, 16), 0.5))).all()


def test_diversity_falls_with_collapse() -> None:
    volumes, rng = blobs(8), np.random.default_rng(0)
    honest = ms_ssim_diversity(volumes, rng)
    alike = volumes[0] + 0.1 * (volumes - volumes[0])
    assert ms_ssim_diversity(alike, rng).value > honest.value + 0.05
    assert ms_ssim_diversity(np.repeat(volumes[:1], 4, axis=0), rng).value == pytest.approx(1, abs=1e-4)
    assert honest.low <= honest.value <= honest.high
    assert honest.n == 8


def test_scales_that_fit() -> None:
    assert [len(scale_weights(s)) for s in (11, 24, 48, 128, 200)] == [1, 2, 3, 4, 5]
    assert sum(scale_weights(48)) == pytest.approx(1)


def test_refusals() -> None:
    volumes, rng = blobs(4), np.random.default_rng(0)
    broken = volumes.copy()
    broken[2, 0, 3, 3, 3] = np.nan
    for fault, call in {
        "volume 2 holds a voxel that is not finite": lambda: radiomics(broken),
        "volume 0 has no body": lambda: radiomics(np.zeros((1, 1, 16, 16, 16))),
        "each side needs 16 voxels": lambda: radiomics(volumes[..., :8]),
        "not finite": lambda: ms_ssim_diversity(broken, rng),
        "3 volumes make too few pairs": lambda: ms_ssim_diversity(volumes[:3], rng),
        "scale them to 0 to 1": lambda: ms_ssim_diversity(volumes * 255, rng),
        "shorter than MS-SSIM's window": lambda: ms_ssim_diversity(volumes[..., :8], rng),
    }.items():
        with pytest.raises(EvaluationError, match=fault):
            call()
