"""What a person's scan looks like, as arrays: power and edges, the cortical ribbon, crops and a coarse whole for a classifier."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch.nn.functional import avg_pool3d

from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.metrics.realism.cine import Motion, motion
from engine.evaluation.metrics.realism.edges import QUANTILES, edge_strengths
from engine.evaluation.metrics.realism.ribbon import ribbon
from engine.imaging.grid import by_channel, phases_of
from engine.imaging.spectrum import RADII, body_box, radial_power
from engine.imaging.volume import VolumeError
from engine.measure.ruler import Classes

#: crops a person and voxels of their sides; voxels of the longest side of a coarse whole, at most
CROPS, CROP, COARSE = 4, 24, 32


def appearance(data: Float[np.ndarray, "f x y z"], names: Sequence[str]) -> dict[str, np.ndarray]:
    """``power`` (c, radii) and ``edges`` (c, quantiles), of a cine their means over its phases, and its ``motion`` (c, 4); NaN where
    there is no body, or no motion. ``names`` are those of the frames."""
    channels, phases = phases_of(names)
    shape = (len(channels), phases)
    try:
        power, edges = radial_power(data), edge_strengths(data)
    except (EvaluationError, VolumeError):
        power, edges = np.full((len(data), len(RADII)), np.nan), np.full((len(data), len(QUANTILES)), np.nan)
    found = {"power": power.reshape(*shape, -1).mean(1), "edges": edges.reshape(*shape, -1).mean(1)}
    if phases > 1:
        found["motion"] = np.array([_motion(cycle) for cycle in by_channel(data, names)])
    return found


def _motion(cycle: Float[np.ndarray, "t x y z"]) -> tuple[float, ...]:
    try:
        return tuple(motion(cycle))
    except EvaluationError:
        return (math.nan,) * len(Motion._fields)


def ribbon_of(found: Classes, cortex: Collection[str]) -> dict[str, np.ndarray]:
    """``ribbon``: contrast, area and deep area (square cm) of the border of grey and white matter; NaN where there is none."""
    head = found.framed.resampled(found.probabilities.shape[1:], found.affine).data.astype(np.float32)
    chosen = [found.names.index(name) for name in cortex]
    brain = np.isin(found.probabilities.argmax(0), chosen)
    try:
        seen = ribbon(head, brain, float(np.linalg.norm(found.affine[:3, 0])))
    except EvaluationError:
        return {"ribbon": np.full(3, np.nan)}
    return {"ribbon": np.array([seen.contrast, seen.square_cm, seen.deep_cm])}


def crops(data: Float[np.ndarray, "c x y z"], seed: int, number: int) -> dict[str, np.ndarray]:
    """``crops`` (k, c, side, side, side) within the body's box at places of the person's own, and the ``coarse`` whole
    (1, c, x, y, z), averaged over cubes; of 0 to 255."""
    rng = np.random.default_rng([seed, number, 11])
    grid = data.shape[1:]
    side = min(CROP, *grid)
    try:
        box = body_box(data)
    except VolumeError:
        box = tuple(slice(0, n) for n in grid)
    cut = []
    for _ in range(CROPS):
        place = []
        for along, n in zip(box, grid, strict=True):
            last = max(along.start, along.stop - side)
            start = min(int(rng.integers(along.start, last + 1)), n - side)
            place.append(slice(start, start + side))
        cut.append(data[(slice(None), *place)])
    whole = avg_pool3d(
        torch.from_numpy(np.ascontiguousarray(data)).float()[None], math.ceil(max(grid) / COARSE)
    ).numpy()
    return {"crops": _bytes(np.stack(cut)), "coarse": _bytes(whole)}


def _bytes(volumes: np.ndarray) -> np.ndarray:
    return np.rint(255 * volumes.clip(0, 1)).astype(np.uint8)
