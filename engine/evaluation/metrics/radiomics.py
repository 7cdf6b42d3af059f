"""A training-free feature vector of a volume: first-order, gradient and texture statistics at several scales.

For each channel: how intensities are distributed within the body, and on each level of a Gaussian pyramid (Burt &
Adelson 1983; a binomial blur and every second voxel) the gradient's magnitude, the energy and shape of the band that
the blur removes, and the local variance. Then the body's share of the grid. The vector is a fixed function of the
voxels: ``radiomics_hash`` names its version and order, and stands beside every figure computed from it.
"""

from __future__ import annotations

import hashlib
import json

import numpy as np
from jaxtyping import Bool, Float
from scipy import ndimage

from engine.evaluation.metrics.checks import EvaluationError

VERSION = 1
#: a voxel whose brightest channel exceeds this (of 1) belongs to the body
BODY = 0.05
LEVELS = 3
#: voxels the shortest side needs, so that the coarsest level keeps four
SHORTEST = 4 * 2 ** (LEVELS - 1)
QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
BINS = 32
#: added to energies before the logarithm, about one step of 8 bits squared over 256
TINY = 1e-7
BINOMIAL = np.array([1, 4, 6, 4, 1]) / 16
FIRST_ORDER = ("mean", "sd", "skewness", "kurtosis", *(f"q{round(100 * q)}" for q in QUANTILES), "entropy")
TEXTURE = ("gradient_mean", "gradient_sd", "gradient_skewness", "band_energy", "band_skewness", "band_kurtosis")
LOCAL = ("local_variance_mean", "local_variance_sd")


def feature_names(channels: int) -> tuple[str, ...]:
    """The features' names in order, for volumes of so many channels."""
    names = []
    for channel in range(channels):
        names += [f"c{channel}_{name}" for name in FIRST_ORDER]
        names += [f"c{channel}_s{level}_{name}" for level in range(LEVELS) for name in (*TEXTURE, *LOCAL)]
    return (*names, "body_share")


def radiomics_hash(channels: int, body: float = BODY) -> str:
    """SHA-256, first 16 hexadecimal digits, of the version, the constants and the order of features."""
    stated = {"version": VERSION, "body": body, "bins": BINS, "tiny": TINY, "names": feature_names(channels)}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()[:16]


def radiomics(volumes: Float[np.ndarray, "n c x y z"], *, body: float = BODY) -> Float[np.ndarray, "n d"]:
    """The features of volumes of range 0 to 1, in the order of :func:`feature_names`.

    Raises :class:`EvaluationError` on a grid with a side below 16 voxels, a voxel that is not finite, or a volume
    without a body.
    """
    if min(volumes.shape[2:]) < SHORTEST:
        raise EvaluationError(f"a grid of {volumes.shape[2:]} is too small: each side needs {SHORTEST} voxels or more")
    rows = []
    for number, volume in enumerate(volumes):
        if not np.isfinite(volume).all():
            raise EvaluationError(f"volume {number} holds a voxel that is not finite: mend it or leave it out")
        mask = volume.max(0) > body
        if mask.sum() < SHORTEST:
            raise EvaluationError(f"volume {number} has no body: at most {mask.sum()} voxels exceed {body:g}")
        rows.append([value for channel in volume for value in _channel(channel.astype(float), mask)] + [mask.mean()])
    return np.array(rows, float)


def _moments(values: np.ndarray) -> tuple[float, float, float, float]:
    """Mean, standard deviation, skewness and excess kurtosis; the last two 0 where values are constant."""
    mean, sd = float(values.mean()), float(values.std())
    if sd < 1e-9:
        return mean, sd, 0.0, 0.0
    z = (values - mean) / sd
    return mean, sd, float((z**3).mean()), float((z**4).mean() - 3)


def _channel(volume: Float[np.ndarray, "x y z"], mask: Bool[np.ndarray, "x y z"]) -> list[float]:
    inside = volume[mask]
    share = np.histogram(np.clip(inside, 0, 1), BINS, (0, 1))[0] / len(inside)
    entropy = float(-(share[share > 0] * np.log2(share[share > 0])).sum())
    out = [*_moments(inside), *np.quantile(inside, QUANTILES).tolist(), entropy]
    for _ in range(LEVELS):
        blurred = _blur(volume)
        out += _texture(volume, volume - blurred, mask)
        volume, mask = blurred[::2, ::2, ::2], mask[::2, ::2, ::2]
        if not mask.any():
            mask = np.ones_like(mask)
    return out


def _blur(volume: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    for axis in range(3):
        volume = ndimage.correlate1d(volume, BINOMIAL, axis=axis, mode="nearest")
    return volume


def _texture(
    volume: Float[np.ndarray, "x y z"], band: Float[np.ndarray, "x y z"], mask: Bool[np.ndarray, "x y z"]
) -> list[float]:
    slopes = np.gradient(volume)
    gradient = np.sqrt(sum(s**2 for s in slopes))[mask]
    variance = ndimage.uniform_filter(volume**2, 3) - ndimage.uniform_filter(volume, 3) ** 2
    local = np.log10(np.clip(variance[mask], 0, None) + TINY)
    _, _, band_skewness, band_kurtosis = _moments(band[mask])
    energy = float(np.log10((band[mask] ** 2).mean() + TINY))
    return [*_moments(gradient)[:3], energy, band_skewness, band_kurtosis, float(local.mean()), float(local.std())]
