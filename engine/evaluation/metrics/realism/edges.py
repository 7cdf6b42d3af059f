"""How sharp the borders in a volume are: the gradient's magnitude along edges, by quantiles of the body's voxels.

Edges as Canny (1986) finds them: the gradient of the volume blurred by one voxel, where it is largest across the border. A
step blurred by s voxels (SD) keeps 1 / sqrt(1 + s^2) of its height here, so a ratio below 1 tells a blur and its width.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import ndimage

from engine.evaluation.metrics.checks import EvaluationError

#: a voxel whose brightest channel exceeds this (of 1) belongs to the body
BODY = 0.05
#: blur in voxels (SD) before the derivative, so that grain makes few edges
SCALE = 1.0
#: quantiles over the body's voxels, of which those off an edge count 0: the strongest 5%, 2% and 1% begin there
QUANTILES = (0.95, 0.98, 0.99)


def edge_strengths(volume: Float[np.ndarray, "c x y z"]) -> Float[np.ndarray, "c q"]:
    """Gradient magnitude on edges at each of :data:`QUANTILES`, intensity a voxel, for each channel.

    Raises :class:`EvaluationError` where there is no body.
    """
    body = volume.max(0) > BODY
    if not body.any():
        raise EvaluationError(f"a volume has no body: no voxel exceeds {BODY:g}")
    found = []
    for channel in volume:
        magnitude = ridge_magnitude(channel)
        found.append(np.quantile(magnitude[body], QUANTILES))
    return np.array(found, float)


def ridge_magnitude(channel: Float[np.ndarray, "x y z"]) -> Float[np.ndarray, "x y z"]:
    """The gradient's magnitude where it is at least that of both neighbours along the axis it points along most; else 0."""
    smooth = channel.astype(np.float32)
    axes = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
    slopes = np.stack([ndimage.gaussian_filter(smooth, SCALE, axis) for axis in axes])  # pyright: ignore[reportArgumentType]
    magnitude = np.sqrt((slopes**2).sum(0))
    along = np.abs(slopes).argmax(0)
    largest = np.zeros(channel.shape, bool)
    for axis in range(3):
        around = [1 if a != axis else 3 for a in range(3)]
        largest |= (along == axis) & (magnitude >= ndimage.maximum_filter(magnitude, around))
    return np.where(largest, magnitude, 0)


def strength_ratio(real: Float[np.ndarray, "n c q"], made: Float[np.ndarray, "m c q"]) -> Float[np.ndarray, "c q"]:
    """Mean strength of the made over that of the real persons, at each quantile."""
    return made.mean(0) / np.maximum(real.mean(0), np.finfo(float).tiny)
