"""The cine MRI of a painted heart: bSSFP with flow, banding, coils, the point spread of the matrix, noise of the magnitude."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, UInt8

from engine.phantom.heart.fields import smooth_field
from engine.phantom.heart.people import Heart
from engine.phantom.heart.raster import CineRaster

#: grey level of resting blood amid the coils
BLOOD = 115.0
#: noise in units of blood, and share of the matrix that is measured along x and y
NOISE, MEASURED = 0.032, (0.80, 0.72)
#: voxels by which a line is drawn out on both sides before frequencies are taken
BEYOND = 24
#: mm within which the coils on the chest lose most of their lead
REACH = 50.0


def flow_of(heart: Heart, raster: CineRaster) -> Float[np.ndarray, "t z x y"]:
    """What flow makes of blood's signal in every phase: fresh blood is brighter, slices differ; the cycle is closed."""
    rng = np.random.default_rng([heart.seed, 17])
    x, y, z = raster.grid
    fields = [smooth_field(rng, (7, 9, 9), (z, x, y)) for _ in range(2)]
    fine = [smooth_field(rng, (z, 20, 20), (z, x, y)) for _ in range(2)]
    levels = (1 + 0.05 * rng.standard_normal(z)).astype(np.float32)[:, None, None]
    turns = 2 * math.pi * np.arange(raster.phases) / raster.phases
    cos, sin = (f(turns).astype(np.float32)[:, None, None, None] for f in (np.cos, np.sin))
    mottled = np.float32(0.045) * (cos * fine[0] + sin * fine[1])
    return levels * (1 + np.float32(0.055) * (cos * fields[0] + sin * fields[1]) + mottled)


def scan(
    heart: Heart, raster: CineRaster, painted: Float[np.ndarray, "t z x y"], depth: Float[np.ndarray, "z x y"]
) -> UInt8[np.ndarray, "t x y z"]:
    """The magnitude image of every phase's signal; ``depth`` (mm) is that of each voxel under the coils on the chest."""
    rng = np.random.default_rng([heart.seed, 19])
    x, y, z = raster.grid
    signal = painted * _received(heart, rng, depth, (z, x, y))

    along = [_point_spread(n, share) for n, share in zip((x, y), MEASURED, strict=True)]
    noise = rng.standard_normal((2, *signal.shape), np.float32) * np.float32(NOISE)
    real, imaginary = (_blurred(part, along) for part in (signal + noise[0], noise[1]))
    gain = BLOOD * (1 + 0.06 * rng.standard_normal())
    grey = np.hypot(real, imaginary) * np.float32(gain)
    return np.clip(np.rint(grey), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1).copy()


def _received(
    heart: Heart, rng: np.random.Generator, depth: Float[np.ndarray, "z x y"], shape: tuple[int, int, int]
) -> Float[np.ndarray, "z x y"]:
    """What coils and resonance make of a signal: bright near the chest, dark in bands where the field is off by half a turn."""
    nearest = np.exp(-np.clip(depth, 0, None) / REACH)
    middle = tuple(n // 2 for n in shape)
    coils = 0.55 + 1.15 * nearest
    coils *= 1 + 0.06 * smooth_field(rng, (4, 5, 5), shape)
    coils /= coils[middle]
    off = 0.32 * math.pi * smooth_field(rng, (4, 5, 5), shape) * (0.75 + 0.25 * abs(heart.scores["turn"]))
    band = 1 - 0.7 * np.exp(-(((np.abs(off) - math.pi) / (0.14 * math.pi)) ** 2))
    return (coils * band).astype(np.float32)


def _point_spread(n: int, share: float) -> Float[np.ndarray, "n n"]:
    """The matrix that keeps a share of the spatial frequencies of a line, the last of them tapered; its ends are drawn out."""
    whole = n + 2 * BEYOND
    frequency = np.abs(np.fft.fftfreq(whole)) * 2
    taper = np.clip((share + 0.06 - frequency) / 0.22, 0, 1)
    keep = np.sin(taper * math.pi / 2) ** 2
    drawn_out = np.eye(n)[np.clip(np.arange(whole) - BEYOND, 0, n - 1)]
    blurred = np.fft.ifft(np.fft.fft(drawn_out, axis=0) * keep[:, None], axis=0).real
    return blurred[BEYOND : BEYOND + n].astype(np.float32)


def _blurred(images: Float[np.ndarray, "t z x y"], along: Sequence[np.ndarray]) -> Float[np.ndarray, "t z x y"]:
    """Images with the point spread along x and y."""
    return along[0] @ images @ along[1].T
