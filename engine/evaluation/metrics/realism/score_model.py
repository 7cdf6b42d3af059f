"""A generator without training, exact and local: the posterior mean over training patches at nearby places.

Kamb & Ganguli (arXiv 2412.20292): the best denoiser that sees no more than a window around each voxel, and that may take
what it sees from nearby places, is a closed form. Of a noisy volume z = (1 - t) x + t n (n white) its estimate of x at a voxel p is

    m(p) = sum_iq w_iq x_i(q) / sum_iq w_iq,    w_iq = exp(-|z(W_p) - (1 - t) x_i(W_q)|^2 / (2 t^2)),

over training volumes i and places q within ``reach`` of p, W_p the window around p. Its samples are mosaics of training
patches: a baseline that costs no training, and, since every patch is somebody's, what a test of copying must catch. With a
window that holds the whole volume it is the memoriser, which returns training volumes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise, product

import numpy as np
from jaxtyping import Float
from scipy.ndimage import uniform_filter1d

from engine.evaluation.metrics.checks import EvaluationError

Data = Float[np.ndarray, "c x y z"]


@dataclass(frozen=True, kw_only=True)
class LocalScoreModel:
    """``training`` volumes (n, c, x, y, z); a ``window`` of an odd number of voxels a side; patches may come from up to
    ``reach`` voxels away along each axis. Raises :class:`EvaluationError` for an even window or no volume."""

    training: Float[np.ndarray, "n c x y z"]
    window: int = 9
    reach: int = 0

    def __post_init__(self) -> None:
        if self.window < 1 or self.window % 2 == 0:
            raise EvaluationError(f"a window of {self.window} voxels has no middle: give an odd number")
        if self.reach < 0:
            raise EvaluationError(f"a reach of {self.reach} voxels is none: give 0 or more")
        if len(self.training) == 0:
            raise EvaluationError("a local score model needs a training volume: give one or more")

    def posterior_mean(self, noisy: Data, t: float) -> Data:
        """The estimate of the clean volume at a noise level 0 < t <= 1.

        Weights are summed as they come, relative to the largest so far, so that nothing over- or underflows.
        """
        if not 0 < t <= 1:
            raise EvaluationError(f"noise level {t:g} is none: give one above 0, at most 1")
        shape = noisy.shape[1:]
        largest = np.full(shape, -np.inf, np.float32)
        total = np.zeros(shape, np.float32)
        mean = np.zeros(noisy.shape, np.float32)
        for candidate, valid in self._candidates():
            error = ((noisy - (1 - t) * candidate) ** 2).sum(0, dtype=np.float32)
            score = np.where(valid, windowed_sum(error, self.window) / np.float32(-2 * t * t), np.float32(-np.inf))
            higher = np.maximum(largest, score)
            with np.errstate(invalid="ignore"):
                kept = np.where(np.isfinite(largest), np.exp(largest - higher), 0)
                weight = np.where(np.isfinite(score), np.exp(score - higher), 0)
            total = total * kept + weight
            mean = mean * kept + weight * candidate
            largest = higher
        return mean / total

    def _candidates(self) -> Iterator[tuple[Data, np.ndarray]]:
        """Every training volume in every shift, and the voxels where a voxel of it lies."""
        steps = range(-self.reach, self.reach + 1)
        for volume in self.training:
            inner = slice(self.reach, -self.reach or None)
            padded = np.pad(np.asarray(volume, np.float32), [(0, 0), *[(self.reach, self.reach)] * 3], mode="edge")
            there = np.pad(np.ones(volume.shape[1:], bool), self.reach)
            for shift in product(steps, repeat=3):
                back = tuple(-s for s in shift)
                moved = np.roll(padded, back, (1, 2, 3))[:, inner, inner, inner]
                yield moved, np.roll(there, back, (0, 1, 2))[inner, inner, inner]

    def sample(self, rng: np.random.Generator, steps: int = 8) -> Data:
        """A volume drawn by the flow of this posterior mean: dz/dt = (z - m) / t from noise at t = 1, by Euler's steps.

        The last step lands on the posterior mean itself, so what is drawn consists of training patches.
        """
        shape = np.shape(self.training[0])
        volume = rng.standard_normal(shape, np.float32)
        clean = volume
        levels = np.cos(np.linspace(0, math.pi / 2, steps + 1))
        for t, following in pairwise(levels.tolist()):
            clean = self.posterior_mean(volume, t)
            volume = clean + np.float32(following / t) * (volume - clean)
        return clean


def windowed_sum(values: Float[np.ndarray, "x y z"], window: int) -> Float[np.ndarray, "x y z"]:
    """The sum over the cube around each voxel, of what of it lies within the grid."""
    for axis in range(3):
        values = uniform_filter1d(values, window, axis, mode="constant") * np.float32(window)
    return values
