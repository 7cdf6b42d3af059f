"""How a cine moves: whether its cycle is as smooth, as closed and as even from slice to slice as another's.

Differences are taken of intensities averaged over 2 x 2 voxels in the slices, since noise of single voxels is not motion.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from engine.evaluation.metrics.checks import EvaluationError


class Motion(NamedTuple):
    """``roughness``: root mean square of second differences over the closed cycle beside that of first ones (a constant motion 0,
    a jump to and fro 2); ``closure``: the step from the last phase to the first beside the mean of the others (1: as
    neighbours); ``jump``: the same roughness from slice to slice of the mean over time; ``amount``: root mean square of a step in
    time, of intensities 0 to 1."""

    roughness: float
    closure: float
    jump: float
    amount: float


def motion(cycle: Float[np.ndarray, "t x y z"]) -> Motion:
    """The motion of a closed cycle. Raises :class:`EvaluationError` for fewer than three phases or slices, or a cine that is still.

    >>> t = np.arange(12) * 2 * np.pi / 12
    >>> wave = np.sin(t)[:, None, None, None] * np.ones((12, 4, 4, 4)) + np.arange(4.0) ** 2
    >>> round(motion(wave).roughness, 3), round(motion(wave).closure, 3)
    (0.518, 1.571)
    """
    if min(len(cycle), cycle.shape[3]) < 3:
        raise EvaluationError(
            f"a cine of {len(cycle)} phases and {cycle.shape[3]} slices has no motion: give 3 or more"
        )
    x, y = (n - n % 2 for n in cycle.shape[1:3])
    even = cycle[:, :x, :y].reshape(len(cycle), x // 2, 2, y // 2, 2, -1).mean((2, 4))
    step = np.roll(even, -1, 0) - even
    amount = _rms(step)
    slices = np.diff(even.mean(0), axis=-1)
    if amount == 0 or not slices.any():
        raise EvaluationError("a cine in which nothing moves has no motion: give one that beats")

    steps = np.sqrt(np.square(step).mean((1, 2, 3)))
    return Motion(
        roughness=_rms(np.roll(step, -1, 0) - step) / amount,
        closure=float(steps[-1] / steps[:-1].mean()),
        jump=_rms(np.diff(slices, axis=-1)) / _rms(slices),
        amount=amount,
    )


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.square(values).mean()))
