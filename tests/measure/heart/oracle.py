"""A ruler of hearts whose network sees the label itself, so that all it says beside the network can be checked exactly."""

from __future__ import annotations

import numpy as np

from engine.anatomy.heart import HEART
from engine.imaging.grid import frames
from engine.imaging.volume import Volume
from engine.measure.heart.classes import CLASSES, classes_of_codes
from engine.measure.heart.framing import CineFrame
from engine.measure.heart.ruler import HeartMeasure, HeartMeasureConfig
from engine.measure.reference import CohortBand
from engine.measure.segmenter import Segmenter, SegmenterConfig


class Oracle(Segmenter):
    """Takes the intensity of a phase for the index of its class."""

    def classify(self, data: np.ndarray) -> np.ndarray:
        classes = np.rint(data[0]).clip(0, len(CLASSES) - 1).astype(int)
        return np.moveaxis(np.eye(len(CLASSES), dtype=np.float32)[classes], -1, 0)


def oracle(voxel: tuple[float, float, float], window: tuple[int, int] = (112, 112)) -> HeartMeasure:
    """The ruler for cines of these voxels, as :func:`cine_of` makes them."""
    small = SegmenterConfig(
        classes=CLASSES,
        window=(32, 32, 8),
        spacing=voxel,
        centre=(0.0,) * 3,
        widths=(8, 8, 8),
        inputs=3,
        flat=2,
        fold=4,
    )
    config = HeartMeasureConfig(segmenter=small, frame=CineFrame(voxel=voxel, window=window))
    return HeartMeasure(config, Oracle(small), CohortBand(lines={}, curves={}, levels={}), {})


def cine_of(labels: np.ndarray, affine: np.ndarray) -> Volume:
    """Labels (t, x, y, z) in the codes of the in-silico cohort as a cine that the oracle reads."""
    return Volume(classes_of_codes()[labels].astype(np.float32), affine, frames(HEART.channels, len(labels)))
