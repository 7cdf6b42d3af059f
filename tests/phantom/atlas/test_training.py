"""Learning of fields: stopped and gone on with it is the same, bit for bit; points and figures are what they say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.phantom.atlas.checkpoint import load_anatomy
from engine.storage import strict_json
from engine.training.run import RunError, step_generator
from engine.training.stages.anatomy.figures import dice_by_class
from engine.training.stages.anatomy.fit import train_anatomy
from engine.training.stages.anatomy.points import Sampler, Sampling
from tests.phantom.atlas.balls import BRIEF, RECIPE, balls


def test_stopped_and_resumed_is_uninterrupted(tmp_path: Path) -> None:
    """Of two fields, each stopped on the way by a time limit."""
    recipe = replace(RECIPE, body=replace(BRIEF, steps=4), others=replace(BRIEF, steps=3))
    volumes = {"body": balls(), "bowel": balls((20, 20, 20), 16.0)}
    for _ in train_anatomy(recipe, volumes, tmp_path / "whole"):
        pass
    steps = [p.step for p in train_anatomy(recipe, volumes, tmp_path / "parts", minutes=1e-9)]
    assert steps[0] == 1
    *_, last = train_anatomy(recipe, volumes, tmp_path / "parts")
    assert last.stage == "judge bowel"
    whole, parts = (load_anatomy(tmp_path / name / "checkpoint") for name in ("whole", "parts"))
    assert whole.digest == parts.digest


def test_the_figures_are_in_config_and_card(learned: Path) -> None:
    config = strict_json.read(learned / "checkpoint" / "config.json")
    found = config["provenance"]["figures"]["body"]
    assert found["accuracy"] > 0.99
    assert found["dice"].keys() == {"shell", "core", "tube"}
    assert min(found["dice"].values()) > 0.98
    card = (learned / "checkpoint" / "model_card.md").read_text()
    assert "mean Dice 0.99" in card
    assert "40 x 36 x 44 voxels of 2 x 2 x 2 mm, 4 classes" in card


def test_points_lie_in_voxels_of_their_class() -> None:
    volume = balls()
    drawn = volume.labels > 0
    sampler = Sampler(volume, drawn, Sampling(jitter=1.0))
    points, classes = sampler.draw(5000, step_generator(0, 1))
    place = ((points - torch.tensor(volume.origin)) / 2).round().long().unbind(1)
    np.testing.assert_array_equal(volume.labels[tuple(p.numpy() for p in place)], classes.numpy())
    assert (classes > 0).all(), "nothing is drawn elsewhere"
    assert torch.equal(points, sampler.draw(5000, step_generator(0, 1)).points)


def test_borders_and_small_classes_are_drawn_more_often() -> None:
    volume = balls()
    everywhere = np.ones_like(volume.labels, bool)

    def share(config: Sampling) -> float:
        classes = Sampler(volume, everywhere, config).draw(20000, step_generator(0, 0)).classes
        return float((classes == 3).float().mean())

    plain = share(Sampling(inner=1.0, balance=0.0))
    assert plain == pytest.approx((volume.labels == 3).mean(), rel=0.02)
    assert share(Sampling(inner=0.2, balance=0.0)) > 1.5 * plain
    assert share(Sampling(inner=1.0, balance=0.5)) > 1.5 * plain


def test_dice_of_known_overlaps() -> None:
    volume = balls()
    moved = np.where(volume.labels == 3, 2, volume.labels).astype(np.uint8)
    found = dice_by_class(moved, volume)
    core, tube = ((volume.labels == c).sum() for c in (2, 3))
    assert found["tube"] == 0
    assert found["shell"] == 1
    assert found["core"] == pytest.approx(2 * core / (2 * core + tube))


def test_nothing_to_learn_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no label volume"):
        next(train_anatomy(RECIPE, {}, tmp_path / "run"))
