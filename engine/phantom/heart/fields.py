"""Smooth random fields over a grid."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy.ndimage import zoom


def smooth_field(
    rng: np.random.Generator, coarse: tuple[int, int, int], shape: tuple[int, int, int]
) -> Float[np.ndarray, "z x y"]:
    """White noise on a ``coarse`` grid drawn out over ``shape`` by cubic splines, of mean 0 and variance 1, single precision."""
    noise = rng.standard_normal(coarse).astype(np.float32)
    factors = [fine / few for fine, few in zip(shape, coarse, strict=True)]
    field = np.asarray(zoom(noise, factors, order=3, mode="nearest"))
    return (field - field.mean()) / field.std()
