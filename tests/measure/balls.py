"""A ruler trained in seconds on balls whose dark middle is taken for the ventricles."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.measure.head import HeadMeasureConfig, NeckSlab
from engine.measure.segmenter import SegmenterConfig
from engine.training.augment import Augmentation
from engine.training.stages.measure_head import MeasureRecipe, train_measure
from engine.training.stages.segmenter import SegmenterTraining
from tests.conftest import made_once

GRID, SPACING = (32, 32, 32), 6.0
CONFIG = HeadMeasureConfig(
    grid=GRID,
    spacing=SPACING,
    segmenter=SegmenterConfig(
        classes=("background", "fluid", "brain", "ventricles"),
        window=GRID,
        spacing=SPACING,
        centre=(0.0, 6.0, -30.0),
        widths=(16, 24, 24),
    ),
    neck=NeckSlab(low=-84.0, high=-72.0, behind=0.0),
    plausible=(300.0, 4000.0),
)
RECIPE = MeasureRecipe(
    measure=CONFIG,
    training=SegmenterTraining(
        steps=45,
        batch=2,
        rate=1e-2,
        warmup=5,
        constant=40,
        shift=0,
        cut=0.0,
        blur=0.3,
        coarse=1.0,
        shading=0.05,
        bfloat16=False,
        augmentation=Augmentation(rotation=1.15, scale=0.02, shift=0.0, elastic=0.0),
    ),
)


def ball(age: float, bmi: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A ball on a faint stalk: intensities, brain mask and DLMUSE codes; the middle grows with age, the ball with bmi."""
    axes = np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in GRID], indexing="ij")
    radius = np.sqrt(sum(a**2 for a in axes))
    brain, middle = radius < 6 + bmi / 5, radius < age / 16
    stalk = (np.abs(axes[0]) < bmi / 5) & (axes[1] < 2) & (axes[2] < 0) & ~brain
    data = np.where(brain, 180, 20) - np.where(middle, 120, 0) + np.where(stalk, 120, 0) + rng.normal(0, 4, GRID)
    return np.clip(data, 0, 255).astype(np.uint8), brain, np.where(middle, 51, np.where(brain, 60, 0)).astype(np.uint8)


def labelled_balls(path: Path, persons: int = 40) -> CohortStore:
    """A store with labels."""
    places = {"grid": GRID, "affine": CONFIG.frame.affine, "channels": ("T1w",)}
    builder = StoreBuilder(path, recipe="tiny", plan={}, info={"source_name": "balls"}, **places)
    rng, rows = np.random.default_rng(5), []
    for i in range(persons):
        age, bmi, name = float(rng.uniform(20, 80)), float(rng.normal(26, 4)), f"sub-{i:03d}"
        data, brain, labels = ball(age, bmi, rng)
        builder.add(name, data[None], brain, labels)
        sex = "FM"[i % 2]
        rows.append(
            {"participant_id": name, "age": age, "sex": sex, "height": 170.0 + i % 9, "weight": 70.0 + i, "bmi": bmi}
        )
    rows[0]["bmi"] = None
    return builder.finish(rows)


@pytest.fixture(scope="session")
def ball_store(tmp_path_factory: pytest.TempPathFactory) -> CohortStore:
    return CohortStore.open(made_once(tmp_path_factory, "labelled-balls", labelled_balls))


@pytest.fixture(scope="session")
def ball_measure(tmp_path_factory: pytest.TempPathFactory, ball_store: CohortStore) -> Path:
    """The directory of a ``measure-head`` for balls, trained once a test run."""

    def trained(run_dir: Path) -> None:
        for _ in train_measure(RECIPE, ball_store, run_dir):
            pass

    return made_once(tmp_path_factory, "ball-measure", trained) / "checkpoint"
