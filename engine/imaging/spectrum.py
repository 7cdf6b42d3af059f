"""How much detail of each size a volume holds: the radially averaged power spectrum inside the body's box.

A generator that blurs lacks power at large radii, one that adds grain has too much, one that repeats its own grid has a
peak. Radii are shares of the Nyquist frequency of each axis: 1 is a wave of two voxels, .1 one of twenty.
"""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, Int
from scipy import fft, ndimage
from scipy.signal.windows import tukey

from engine.imaging.volume import VolumeError

#: a voxel whose brightest channel, averaged over its neighbours, exceeds this (of 1) belongs to the body
BODY = 0.1
#: share of the window that is tapered, half of it at each end
TAPER = 0.5
#: edges of the rings, shares of Nyquist; below the first lies the size of the person, above the last the voxels' shape
EDGES = np.linspace(0.05, 0.8, 16)
RADII = (EDGES[:-1] + EDGES[1:]) / 2
#: samples of the transform along each axis at least, by zeros beyond the box, so that no ring is empty
SAMPLES = 64
#: voxels that each side of a body's box needs
SHORTEST = 8


def body_box(volume: Float[np.ndarray, "c x y z"]) -> tuple[slice, slice, slice]:
    """The box around the largest connected part of the body; grain in the air is averaged away first.

    Raises :class:`VolumeError` where there is no body.
    """
    bright = ndimage.uniform_filter(volume.max(0).astype(np.float32), 5) > BODY
    parts, count = ndimage.label(bright)  # pyright: ignore[reportGeneralTypeIssues]
    if count == 0:
        raise VolumeError(f"a volume has no body: no neighbourhood is brighter than {BODY:g}")
    largest = np.bincount(parts.ravel())[1:].argmax() + 1
    box = ndimage.find_objects((parts == largest).astype(np.uint8))[0]
    if min(side.stop - side.start for side in box) < SHORTEST:
        raise VolumeError(f"a body fills a box with a side below {SHORTEST} voxels: too small for a spectrum")
    return box


def radial_power(volume: Float[np.ndarray, "c x y z"]) -> Float[np.ndarray, "c r"]:
    """Mean power of each channel in each ring of :data:`EDGES`, per voxel: white noise of variance v has v everywhere.

    The box is tapered (Tukey 1967) after its mean is taken off, and the power divided by that of the window.
    """
    inside = volume[(slice(None), *body_box(volume))].astype(np.float64)
    window = np.ones(inside.shape[1:])
    for axis, side in enumerate(inside.shape[1:]):
        window *= tukey(side, TAPER).reshape([-1 if a == axis else 1 for a in range(3)])

    shape = [int(fft.next_fast_len(max(side, SAMPLES), real=True)) for side in inside.shape[1:]]  # pyright: ignore[reportArgumentType]
    ring, weight = _rings(shape)
    power = []
    for channel in inside:
        mean = (channel * window).sum() / window.sum()
        spectrum = np.abs(np.asarray(fft.rfftn((channel - mean) * window, shape))) ** 2 / (window**2).sum()
        total = np.bincount(ring, (spectrum * weight).ravel(), len(EDGES) + 1)
        power.append(total / np.bincount(ring, np.broadcast_to(weight, spectrum.shape).ravel(), len(EDGES) + 1))
    return np.array(power)[:, 1:-1]


def _rings(shape: list[int]) -> tuple[Int[np.ndarray, " k"], Float[np.ndarray, " z"]]:
    """The ring of each coefficient of a real transform (0: within the first edge), and how often each counts."""
    axes = [2 * np.abs(fft.fftfreq(n)) for n in shape[:2]] + [2 * fft.rfftfreq(shape[2])]
    radius = np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij", sparse=True)))
    twice = np.full(len(axes[2]), 2.0)
    twice[0] = 1.0
    if shape[2] % 2 == 0:
        twice[-1] = 1.0
    return np.digitize(radius.ravel(), EDGES), twice


def power_ratio(real: Float[np.ndarray, "n c r"], made: Float[np.ndarray, "m c r"]) -> Float[np.ndarray, "c r"]:
    """Mean power of the made over that of the real persons, in each ring."""
    return made.mean(0) / np.maximum(real.mean(0), np.finfo(float).tiny)


def worst_deviation(real: Float[np.ndarray, "n c r"], made: Float[np.ndarray, "m c r"]) -> float:
    """The largest |ratio - 1| over channels and rings: what chance alone gives depends on N, so set it beside a floor."""
    return float(np.abs(power_ratio(real, made) - 1).max())


def blurred_power(power: Float[np.ndarray, "n c r"], sigma: float = 1.0) -> Float[np.ndarray, "n c r"]:
    """The power after a Gaussian blur of ``sigma`` voxels: times exp(-(pi r sigma)^2) at a radius r (of Nyquist)."""
    return power * np.exp(-((np.pi * RADII * sigma) ** 2))
