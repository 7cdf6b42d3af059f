"""A small known anatomy: a ball in a ball, and a thin tube through both; and how it is learned in seconds."""

from __future__ import annotations

import numpy as np

from engine.phantom.atlas.config import GridConfig
from engine.phantom.atlas.volume import LabelVolume
from engine.training.stages.anatomy.fit import AnatomyRecipe, FieldTraining

CLASSES = ("outside", "shell", "core", "tube")
BRIEF = FieldTraining(
    grids=(GridConfig(6.0, 4, 4.0), GridConfig(20.0, 4)),
    width=32,
    cell=20.0,
    steps=100,
    batch=4096,
    rate=2e-2,
    constant=50,
)
RECIPE = AnatomyRecipe(body=BRIEF, others=BRIEF)


def balls(shape: tuple[int, int, int] = (40, 36, 44), radius: float = 32.0) -> LabelVolume:
    """Voxels of 2 mm; the tube is 10 mm wide."""
    x, y, z = np.meshgrid(*[2.0 * np.arange(n) - (n - 1) for n in shape], indexing="ij")
    distance = np.sqrt(x**2 + y**2 + z**2)
    labels = np.zeros(shape, np.uint8)
    labels[distance < radius] = 1
    labels[distance < 0.56 * radius] = 2
    labels[(np.hypot(x - 15, y) < 5) & (distance < 0.94 * radius)] = 3
    return LabelVolume(labels=labels, origin=(-39.0, 10.0, -43.0), spacing=(2.0, 2.0, 2.0), classes=CLASSES)
