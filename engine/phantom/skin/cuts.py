"""Sections of the phenotype basis' bodies, as they are when the bodies lie: what the shape of the skin is learned on."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
from jaxtyping import Float

from engine.phantom.skin.basis import ANGLES, LEVELS, LOWEST, THIGH, THIGH_ROWS, TRUNK_ROWS
from engine.phantom.skin.bodies import Phenotype, Shape, SkinBodies, between, segments

#: above this level the arms' holes are bridged and corners rounded off at this radius; necks are half an ellipse
SHOULDER, ROUNDED, NECK = 0.765, 0.99, 0.828
#: between these levels the front is that of a man of the basis' mean weight at most: breasts are painted apart
BREASTS, FLAT_WEIGHT = ((0.645, 0.0), (0.675, 1.0), (0.765, 1.0), (0.79, 0.0)), 0.5
#: below this level the front has no cleft: it is as at this level
GROIN = 0.515
#: a lying back is flat: it ends at this share of its depth before it is drawn out again, rounded over so much
FLAT, ROUND = 0.93, 0.13
#: between these levels a lying belly spreads: its front is a superellipse of this exponent at the least, at these BMIs
SPREAD = ((28, 2.3), (42, 2.45))
BELLY = ((0.525, 0.0), (0.55, 1.0), (0.65, 1.0), (0.68, 0.0))
#: the depth behind the body's axis over the whole depth at BMI 24, by height
BACK_SHARE = ((0.483, 0.53), (0.55, 0.484), (0.60, 0.43), (0.65, 0.43), (0.70, 0.455), (0.75, 0.475), (0.80, 0.55),
              (0.83, 0.52), (0.87, 0.52))  # fmt: skip
#: how often the trunk's rows are smoothed (1, 2, 1)
ROW_SMOOTHINGS = 2


def diamond_directions() -> Float[np.ndarray, "2 angles"]:
    """Unit vectors (p, q) of the nodes of the diamond angle."""
    t = np.linspace(-1, 1, ANGLES)
    vectors = np.stack([1 - np.abs(t), t])
    return vectors / np.linalg.norm(vectors, axis=0)


def back_share(level: Float[np.ndarray, " rows"], bmi: float) -> Float[np.ndarray, " rows"]:
    """Depth behind the axis over the whole depth, as the phantom's rows have it."""
    return between(level, BACK_SHARE) * (24 / bmi) ** 0.6


def radii(parts: Float[np.ndarray, "s 2 2"]) -> Float[np.ndarray, " angles"]:
    """Radius of the section along each direction of the half plane p >= 0; gaps are bridged by straight chords.

    ``parts`` are segments in normalised coordinates about the centre.
    """
    directions = diamond_directions()
    directions[0] = np.maximum(directions[0], 1e-3)
    a, b = parts[:, 0, :, None], parts[:, 1, :, None]
    side_a, side_b = (v[:, 0] * directions[1] - v[:, 1] * directions[0] for v in (a, b))
    meets = (side_a > 0) != (side_b > 0)
    share = side_a / np.where(meets, side_a - side_b, 1)
    ahead = ((a + share[:, None] * (b - a)) * directions).sum(1)
    best = np.where(meets & (ahead > 0), ahead, 0).max(0, initial=0)
    found = np.nonzero(best > 0)[0]
    for left, right in pairwise(found):
        if right > left + 1:
            ends = directions[:, [left, right]]
            line = np.linalg.solve(ends.T, 1 / best[[left, right]])
            best[left + 1 : right] = 1 / (line @ directions[:, left + 1 : right])
    best[: found[0]], best[found[-1] + 1 :] = best[found[0]], best[found[-1]]
    return best


def trunk_sections(bodies: SkinBodies, who: Phenotype) -> tuple[float, Float[np.ndarray, "angles rows"]]:
    """BMI, and the trunk's sections from crotch to neck: arms cut off at the shoulder joint, the chest without breasts."""
    shape = bodies.body(who)
    levels = np.linspace(LOWEST, LEVELS[-1], TRUNK_ROWS)
    own = _trunk(bodies, shape, levels)
    flat = bodies.body(replace(who, male=1.0, weight=min(who.weight, FLAT_WEIGHT), inflation=0.0))
    chest = between(levels, BREASTS)
    front = np.interp(np.linspace(-1, 1, ANGLES), [-0.1, 0.4], [0, 1])
    return shape.bmi, own + front[:, None] * chest * (_trunk(bodies, flat, levels) - own)


def _trunk(bodies: SkinBodies, shape: Shape, levels: Float[np.ndarray, " rows"]) -> Float[np.ndarray, "angles rows"]:
    behind = 0.32 + 0.36 * back_share(levels, shape.bmi)
    found = []
    for height, share in zip(shape.height_of(levels), behind, strict=True):
        parts = segments(shape.vertices, bodies.trunk_faces, float(height))
        half, low, high = np.abs(parts[..., 0]).max(), parts[..., 1].min(), parts[..., 1].max()
        found.append(radii(_normalised(parts, 0.0, low + share * (high - low), half, low, high)))
    return _lying(np.stack(found, 1), levels, shape.bmi)


def _lying(
    sections: Float[np.ndarray, "angles rows"], levels: Float[np.ndarray, " rows"], bmi: float
) -> Float[np.ndarray, "angles rows"]:
    """Sections of a standing body, as they are when it lies; shoulders rounded off, rows smoothed."""
    t = np.linspace(-1, 1, ANGLES)
    groin = int(np.searchsorted(levels, GROIN))
    front = np.interp(t, [0.2, 0.6], [0, 1])[:, None]
    sections[:, :groin] += front * (sections[:, [groin]] - sections[:, :groin])
    belly = between(levels, BELLY) * np.interp(t, [0, 0.2], [0, 1])[:, None]
    spread = between(bmi, SPREAD)
    least = ((np.abs(diamond_directions()) ** spread).sum(0) ** (-1 / spread))[:, None]
    sections += belly * (_soft_maximum(sections, least, 0.06) - sections)
    q = np.maximum(-diamond_directions()[1], 1e-3)[:, None]
    sections = -_soft_maximum(-sections * q, -FLAT, ROUND) / q
    shoulder = np.interp(levels, [SHOULDER, SHOULDER + 0.03], [0, 1])
    sections -= shoulder * np.maximum(sections - ROUNDED, 0)
    sections += (1 - sections) * 0.5 * np.interp(levels, [NECK, NECK + 0.015], [0, 1])
    for _ in range(ROW_SMOOTHINGS):
        padded = np.pad(sections, ((0, 0), (1, 1)), mode="edge")
        sections = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
    return sections


def _soft_maximum(a: np.ndarray, b: np.ndarray | float, k: float) -> np.ndarray:
    """The larger one, rounded over ``k``."""
    h = np.clip((a - b) / (2 * k) + 0.5, 0, 1)
    return b + h * (a - b) + h * (1 - h) * k


def thigh_sections(bodies: SkinBodies, who: Phenotype) -> Float[np.ndarray, "2 angles rows"]:
    """The right thigh's sections about their own centres: the inner half, the outer half."""
    shape = bodies.body(who)
    found = []
    for share in np.linspace(*THIGH, THIGH_ROWS):
        parts = segments(shape.vertices, bodies.trunk_faces, shape.crotch + share * (shape.knee - shape.crotch))
        parts = parts[(parts[..., 0] >= 0).all(1)]
        (left, low), (right, high) = parts.min((0, 1)), parts.max((0, 1))
        outer = _normalised(parts, (left + right) / 2, (low + high) / 2, (right - left) / 2, low, high)
        inner = outer * [-1, 1]
        found.append(np.stack([radii(inner), radii(outer)]))
    return np.stack(found, 2)


def _normalised(
    parts: Float[np.ndarray, "s 2 2"], x: float, y: float, half: float, low: float, high: float
) -> Float[np.ndarray, "s 2 2"]:
    moved = parts - [x, y]
    deep = np.where(moved[..., 1] > 0, high - y, y - low)
    return moved / np.stack([np.full_like(deep, half), deep], -1)
