"""Hearts of a few voxels that beat: their tissues are told apart in decoded scans, and what is drawn for them is crisper."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.imaging.grid import frames
from engine.imaging.volume import centred_affine
from engine.inference.generate import load
from engine.model.config import AutoencoderConfig, DetailConfig, ModelConfig, TransformerConfig
from engine.training.pipeline import train
from engine.training.recipes import Recipe, tiny
from engine.training.stages.local.crops import CropConfig
from engine.training.stages.local.detail import DetailTraining
from engine.training.stages.local.refiner import RefinerTraining

GRID, PHASES = (32, 32, 16), 4


def beating(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """A bright ball in a dark box, whose radius changes over the cycle: frames (t, x, y, z) of 0 to 255, and labels."""
    rng = np.random.default_rng(seed)
    x, y, z = np.meshgrid(*[np.arange(n) - n / 2 for n in GRID], indexing="ij")
    far = np.sqrt(x**2 + y**2 + (2 * z) ** 2)
    radius = rng.uniform(7, 11) + 2 * np.cos(np.arange(PHASES) * 2 * np.pi / PHASES)
    labels = (far < radius[:, None, None, None]).astype(np.uint8)
    noise = 4 * rng.standard_normal(labels.shape)
    return np.clip(40 + 150 * labels + noise, 0, 255).astype(np.uint8), labels


def store_of(path: Path, n: int = 24, *, labelled: bool = True) -> CohortStore:
    builder = StoreBuilder(
        path,
        recipe="tiny",
        grid=GRID,
        affine=centred_affine(GRID, (3.0, 3.0, 8.0)),
        channels=frames(["cine"], PHASES),
        plan={"n": n},
    )
    rows: list[dict[str, Any]] = []
    for i in range(n):
        images, labels = beating(i)
        builder.add(f"sub-{i:02d}", images, (labels > 0).any(0), labels if labelled else None)
        sex = "FM"[i % 2]
        row = {"age": 30.0 + i, "sex": sex, "height": 160.0 + i, "bmi": 20 + i / 3, "ethnicity": "White"}
        rows.append({"participant_id": f"sub-{i:02d}", **row})
    return builder.finish(rows)


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    base = tiny()
    image = AutoencoderConfig(grid=GRID, channels=PHASES, latent=4, widths=(8, 8, 8, 16), blocks=1, patch=(16, 16, 4))
    crops = CropConfig(size=(16, 16, 16), batch=4, persons=3, reuse=8)
    return replace(
        base,
        model=ModelConfig(
            image=image,
            flow=TransformerConfig(width=24, depth=1, heads=2),
            rows=base.model.rows,
        ),
        detail=DetailConfig(widths=(16, 16, 16), blocks=1, classes=("air", "blood"), codes=((0,), (1,))),
        autoencoder=replace(base.autoencoder, steps=60),
        flow=replace(base.flow, steps=4),
        rows=replace(base.rows, steps=4) if base.rows else None,
        refiner=RefinerTraining(steps=80, crops=crops, rate=3e-3, warmup=5, bfloat16=False),
        detail_training=DetailTraining(steps=60, crops=crops, rate=3e-3, warmup=5, bfloat16=False),
    )


def test_a_beating_ball_is_told_apart_and_drawn_crisp(recipe: Recipe, tmp_path: Path) -> None:
    store = store_of(tmp_path / "store")
    assert store.labels is not None
    for _ in train(recipe, store, tmp_path / "run"):
        pass
    model = load(tmp_path / "run" / "checkpoint", "cpu")
    net = model.checkpoint.model
    assert net.tells_tissues
    row = int(store.split()["test"][0])
    scan = torch.from_numpy(store.scan(row))[None]
    none = torch.zeros(1, *net.codes.shape), torch.zeros(1, len(net.codes), dtype=torch.bool)
    with torch.no_grad():
        base = net.decode(net.encode(scan, *none))
        found = net.tissues.labels(base)
        drawn = net.detailed(base, None, [0], 1)
        # what is drawn for no labels is drawn for those that are seen
        assert torch.equal(drawn, net.detailed(base, found, [0], 1))
    truth = np.asarray(store.labels[row])
    dice = 2 * float((found[0].numpy() * truth).sum()) / float(found.sum() + truth.sum())
    assert dice > 0.8

    def steep(volume: torch.Tensor) -> float:
        """The mean square of differences along x: most of it lies in borders."""
        return float(volume.diff(dim=2).square().mean())

    # borders of the decoded scan are fog; of the drawn one they lack less than half of that
    assert steep(scan) - steep(drawn) < 0.5 * (steep(scan) - steep(base))
    (person,) = model.generate(seed=1)
    assert person.volume.phases == PHASES


def test_classes_need_labels(recipe: Recipe, tmp_path: Path) -> None:
    """Of a cohort without labels the model has no detail, and draws scans as they are decoded."""
    store = store_of(tmp_path / "bare", labelled=False)
    short = replace(recipe, autoencoder=replace(recipe.autoencoder, steps=1), flow=replace(recipe.flow, steps=1))
    for _ in train(short, store, tmp_path / "run"):
        pass
    assert load(tmp_path / "run" / "checkpoint", "cpu").checkpoint.model.config.detail is None
