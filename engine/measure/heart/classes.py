"""What the heart's ruler tells apart, and what its network sees of a cine: a phase beside what changes over the cycle."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float, UInt8

from engine.anatomy.heart import LEFT, RIGHT, WALL
from engine.phantom.heart import tissue

#: blood that is in neither ventricle
VESSELS = "vessels"
CLASSES = ("background", LEFT, WALL, RIGHT, VESSELS)
#: what each class is made of, in the label codes of the in-silico cohort; what is in none of them is background
CODES = {
    LEFT: tissue.LV_BLOOD,
    WALL: tissue.LV_MYOCARDIUM,
    RIGHT: tissue.RV_BLOOD,
    VESSELS: tuple(tissue.CODES[name] for name in ("left_atrium", "right_atrium", "aorta", "pulmonary_artery")),
}
#: a phase, the mean over the cycle, and how far each voxel changes over it (SD)
INPUTS = 3


def classes_of_codes() -> UInt8[np.ndarray, "256"]:
    """The table from a label code of the in-silico cohort to the index of its class in :data:`CLASSES`."""
    table = np.zeros(256, np.uint8)
    for name, codes in CODES.items():
        table[list(codes)] = CLASSES.index(name)
    return table


def over_cycle(cycle: Float[np.ndarray, "t x y z"]) -> Float[np.ndarray, "2 x y z"]:
    """Mean and SD of each voxel over the phases, which tell moving blood and wall from what is still."""
    return np.stack([cycle.mean(0), cycle.std(0)])
