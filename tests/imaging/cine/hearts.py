"""A heart drawn by a few formulas, as a patient's short-axis stack would show it."""

from __future__ import annotations

import numpy as np

from engine.imaging.grid import frames
from engine.imaging.volume import Volume, centred_affine

PHASES, GRID, SPACING = 8, (48, 44, 9), (3.2, 3.2, 8.0)
#: where a heart's axes x (septum), y (anterior) and z (base) point in the patient, RAS+, and where its middle lies, mm
POSE = np.array([[0.72, 0.69, 0.0], [-0.28, 0.29, 0.91], [0.63, -0.66, 0.41]])
PLACE = np.array([-35.0, 25.0, -140.0])


def heart_frame(phases: int = PHASES, cycle: float | None = 0.8) -> Volume:
    """A bright cavity that beats in its dark wall, its middle at (-11, 5) mm, a right ventricle towards x, a chest below; a marker
    in front, to the septum, in the third slice alone."""
    affine = centred_affine(GRID, SPACING)
    x, y, z = (affine[:3, :3] @ np.indices(GRID).reshape(3, -1) + affine[:3, 3:]).reshape(3, *GRID)
    made = np.zeros((phases, *GRID), np.float32)
    for phase in range(phases):
        beat = 0.5 - 0.5 * np.cos(2 * np.pi * phase / phases)
        grey = np.where(y < -45, 0.6, 0.05)
        grey = np.where(np.hypot((x - 22) / 1.2, y - 5) < 26 - 4 * beat, 0.8, grey)
        left = np.hypot(x + 11, y - 5)
        grey = np.where(left < 32, 0.25, grey)
        grey = np.where(left < 22 - 6 * beat, 0.8, grey)
        grey = np.where((np.hypot(x - 45, y - 40) < 9) & (np.abs(z + 16) < 1), 1.0, grey)
        made[phase] = grey
    return Volume(made, affine, frames(["cine"], phases), cycle)


def patient(phases: int = PHASES, cycle: float | None = 0.8) -> Volume:
    """The same heart where it lies in a patient."""
    rotation, _, other = np.linalg.svd(POSE)
    pose = np.eye(4)
    pose[:3, :3] = (rotation @ other).T
    pose[:3, 3] = PLACE
    heart = heart_frame(phases, cycle)
    return Volume(heart.data, pose @ heart.affine, heart.channels, cycle)
