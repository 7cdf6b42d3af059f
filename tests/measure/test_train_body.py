"""Training of the torso's ruler: examples that never depend on what was asked before, figures with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import pytest
import torch

from engine.measure.segmenter import SegmenterConfig
from engine.measure.torso import CLASSES, COUNTED, MEASURES, Reading, TorsoMeasure, TorsoMeasureConfig
from engine.phantom.torsos import PhantomPerson, make
from engine.training.run import step_generator
from engine.training.stages.measure_torso import BodyRecipe, Judged, agreement, gains, train_body
from engine.training.stages.segmenter import SegmenterTraining
from engine.training.stages.torso_examples import BodyTraining, body_batches, swapped

TRAINING = BodyTraining(
    pool=2, refresh=2, shortest=32, segmenter=SegmenterTraining(steps=2, bfloat16=False, cut=0.0, blur=0.5)
)


@cache
def _somebody() -> PhantomPerson:
    return make([990_005])[0]


def maker(seeds: Sequence[int]) -> list[PhantomPerson]:
    """The middle of one person, brightness and liver by seed: quick, and no two alike."""
    person = _somebody()
    images, labels = person.images[:, 16:80, :64, 32:112] // (1 + seeds[0] % 3), person.labels[16:80, :64, 32:112]
    return [replace(person, images=images, labels=labels, row=person.row | {"seed": seeds[0]})]


def test_examples_depend_on_their_step_only():
    once, again = body_batches(TRAINING, 5, maker), body_batches(TRAINING, 5, maker)
    forward = [once(step, step_generator(5, step)) for step in range(5)]
    for step in (4, 2):  # as after a resumption
        for a, b in zip(forward[step], again(step, step_generator(5, step)), strict=True):
            assert torch.equal(a, b)
    for images, masks in forward:
        assert images.shape[:2] == (1, 2)
        assert masks.shape[1] == len(CLASSES) - 1
        assert images.shape[2:] == masks.shape[2:]
        assert not any(n % 16 for n in images.shape[2:])
        assert float(masks.sum(1).max()) <= 1 + 1e-5
        assert torch.isfinite(images).all()


def test_a_swap_moves_signal_between_the_channels():
    images = torch.rand(1, 2, 20, 8, 24, generator=torch.Generator().manual_seed(0))
    for seed in range(8):
        out = swapped(images, seed == 0, torch.Generator().manual_seed(seed))
        assert torch.allclose(out.sum(1), images.sum(1))
        assert torch.equal(out, images.flip(1)) == (seed == 0)
        assert not torch.equal(out, images)


def judged(scale: float, persons: int = 8) -> list[Judged]:
    """Persons of whom every measure is read ``scale`` times as large as it is."""
    found = []
    for i in range(persons):
        want = {name: 10.0 + i for name in MEASURES}
        have = Reading(values={name: scale * value for name, value in want.items()}, notes=("swap",) if i == 0 else ())
        row = {"quality": "fat_water_swap" if i < 2 else "good"}
        found.append(Judged(row=row, want=want, have=have, blurred=have.values, dice=dict.fromkeys(CLASSES, 0.5)))
    return found


def test_figures_have_known_answers():
    figures = agreement(judged(0.9))
    for name, by in figures["measures"].items():
        assert by["r"] == pytest.approx([1.0] * 3)
        assert by["difference"][0] == pytest.approx(-1.35 if name in ("waist", "liver_pdff") else -0.1)
        assert by["relative_change_by_blur"] == 0
    assert figures["dice"]["liver"] == [0.5, 0.5]
    assert (figures["swaps"], figures["swaps_told"], figures["swaps_told_wrongly"]) == (2, 1, 0)
    assert agreement(judged(0.9, 3))["measures"] == {}, "too few to say anything"


def test_calibration_makes_the_bias_zero():
    factors = dict(zip(CLASSES, gains(judged(0.8)), strict=True))
    for name in CLASSES:
        counted = any(name in parts for parts in COUNTED.values())
        assert factors[name] == pytest.approx(1.25 if counted else 1.0)


def test_from_seeds_to_a_ruler(tmp_path: Path):
    frame = SegmenterConfig(
        classes=CLASSES, window=(64, 64, 80), spacing=(5.0, 5.0, 6.0), centre=(0.0,) * 3, widths=(8, 8, 8), inputs=2
    )
    measure = TorsoMeasureConfig(segmenter=frame, plausible=(0.0, 1000.0))
    recipe = BodyRecipe(measure=measure, training=TRAINING, seed=3, validation=1, test=2)
    stages = [(p.stage, p.step) for p in train_body(recipe, tmp_path, maker=maker)]
    assert stages == [("segmenter", 2), ("validation", 1), ("test", 1), ("test", 2)]
    ruler = TorsoMeasure.load(tmp_path / "checkpoint")
    assert ruler.config == measure
    assert "computed anatomy only" in ruler.card["trained_on"]
    assert "of 0 were told" in ruler.card["figures"]["fat-water swaps"]
