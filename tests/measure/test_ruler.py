"""The contract of every ruler: what it says of itself, what it tells apart, and that both agree with what it measures."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from engine.anatomy import regions
from engine.anatomy.region import Region
from engine.imaging.volume import Volume, centred_affine
from engine.measure.head import HeadMeasure
from engine.measure.ruler import Classes, StatedError, stated_error, titles
from engine.measure.shipped import load_ruler
from engine.phantom.torsos import make
from engine.training.stages.measure_torso import scan_of
from engine.vocabulary.units import written_unit
from tests.measure.balls import CONFIG, ball, ball_measure, ball_store  # noqa: F401

CHECKPOINTS = Path(__file__).parents[2] / "checkpoints"


@pytest.mark.parametrize("region", regions(), ids=lambda region: region.name)
def test_a_ruler_says_what_it_measures_and_how_far_it_errs(region: Region):
    folder = CHECKPOINTS / region.ruler
    ruler = load_ruler(region, folder)
    stored = json.loads((folder / "config.json").read_text())["provenance"]["figures"]
    assert ruler.errors
    assert ruler.errors.keys() <= ruler.measures.keys() == ruler.units.keys() == ruler.definitions.keys()
    for name, error in ruler.errors.items():
        by = stored["test"]["volumes"][name] if region.name == "head" else stored["measures"][name]
        assert error.sd == by["relative_difference"][1] if region.name == "head" else by["difference"][3]
        in_units = region.name == "heart" and ruler.units[name] == "%"
        assert error.relative == (name not in ("waist", "liver_pdff") and not in_units)
    assert titles(ruler)[region.relations[0][1]].endswith(f", {written_unit(ruler.units[region.relations[0][1]])}")


def test_a_stated_error_is_in_the_unit_of_the_value():
    ruler = load_ruler(regions()[0], CHECKPOINTS / "measure-head")
    sd = ruler.errors["brain_ml"].sd
    assert stated_error(ruler, "brain_ml", 1200.0) == pytest.approx(1200 * sd)
    assert math.isnan(stated_error(ruler, "neck_ml", 300.0)), "none is stated"
    assert StatedError(sd=2.0, relative=False).of(90.0) == 2.0


def test_what_is_told_apart_in_a_head_is_what_is_measured(ball_measure: Path):  # noqa: F811
    ruler = HeadMeasure.load(ball_measure)
    data, _, codes = ball(60, 26, np.random.default_rng(0))
    volume = Volume(data, CONFIG.frame.affine)
    found = ruler.classes_on(volume)
    assert ruler.values_of(found) == ruler.measure(volume) == ruler.examine(volume).values
    assert found.placed
    inside = found.on(volume, ("fluid", "brain", "ventricles"))
    assert 2 * (inside & (codes > 0)).sum() / (inside.sum() + (codes > 0).sum()) > 0.8
    turned = ruler.classes_on(volume.resampled((40, 40, 40), centred_affine((40, 40, 40), (6.0, 6.0, 6.0))))
    assert not turned.placed


def test_what_is_told_apart_in_a_torso_is_what_is_measured():
    ruler = load_ruler(regions()[1], CHECKPOINTS / "measure-torso")
    scan = scan_of(make([990_004])[0])
    found = ruler.classes_on(scan)
    assert ruler.values_of(found) == ruler.measure(scan)
    assert found.placed


def test_classes_are_chosen_by_name():
    """Three voxels, each surely of one class; on a grid of its own the volume is what it was."""
    probabilities = np.eye(3, dtype=np.float32)[:, :, None, None].repeat(2, 2).repeat(2, 3)
    volume = Volume(np.ones((3, 2, 2), np.float32), np.eye(4))
    found = Classes(
        framed=volume, probabilities=probabilities, affine=np.eye(4), names=("air", "fat", "bone"), placed=True
    )
    assert found.of(("fat", "bone"))[:, 0, 0].tolist() == [0, 1, 1]
    assert found.on(volume, ("bone",))[:, 0, 0].tolist() == [False, False, True]
    assert found.labels(volume, (("bone",), ("fat",)))[:, 0, 0].tolist() == [0, 2, 1]


def test_labels_stand_where_the_likeliest_class_is():
    """A class seen in one corner by a ruler of coarser, shifted voxels is labelled there, and nowhere else."""
    probabilities = np.zeros((3, 4, 4, 4), np.float32)
    probabilities[0], probabilities[2, 2:, :2, 3] = 0.4, 0.9
    coarse = np.diag([4.0, 4, 4, 1])
    coarse[:3, 3] = 1.5
    fine = Volume(np.zeros((20, 16, 16), np.float32), np.eye(4))
    found = Classes(framed=fine, probabilities=probabilities, affine=coarse, names=("air", "fat", "bone"), placed=True)
    labels = found.labels(fine, [["fat"], ["bone"]])
    assert labels.dtype == np.uint8
    expected = np.zeros((20, 16, 16), np.uint8)
    expected[8:16, :8, 12:] = 2
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(found.labels(fine, [["air", "bone"]])[:16], 1)
    np.testing.assert_array_equal(found.on(fine, ["bone"])[10:14, 2:6, 13:15], True)
