"""Parts of the What-if page: where a change lies and should lie, the pictures of a grid."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from engine.anatomy.head import HEAD
from engine.imaging.volume import Volume
from engine.measure.ruler import Classes, StatedError
from pages.components.parts.ruler.reader import Seen, look
from pages.components.whatif.figures import PIXEL, slices_of
from pages.components.whatif.regions import compared, expected, spread


def test_where_a_change_lies_is_counted():
    mask = np.zeros((4, 4, 4), bool)
    mask[:2] = True
    difference = np.where(mask, 0.3, -0.1)
    found = spread(difference, mask)
    assert (found.inside, found.outside, found.share) == pytest.approx((30, 10, 0.25))
    assert spread(np.zeros((2, 4, 4, 4)), mask).share == 0


def test_the_region_follows_the_attribute_and_the_error_the_ruler():
    body, brain = np.ones((9, 9, 9), bool), np.zeros((9, 9, 9), bool)
    brain[4, 4, 4] = True
    one = Seen({"brain_ml": 1000.0}, {"body": body, "brain": brain, "soft": body & ~brain}, "")
    other = one._replace(values={"brain_ml": 900.0})
    mask, words = expected(HEAD, one, other, ["age"])
    assert (int(mask.sum()), words) == (25, "the brain and the fluid around it")
    for region, moved in ((HEAD, ["age", "sex"]), (HEAD, []), (None, ["age"])):
        mask, words = expected(region, one, other, moved)
        assert (mask.all(), words) == (True, "the body")
    errors = {"brain_ml": StatedError(sd=0.02, relative=True)}
    ruler = SimpleNamespace(measures={"brain_ml": "Brain"}, units={"brain_ml": "ml"}, errors=errors)
    (row,) = compared(ruler, [other, one, one, other])
    assert (row["change"], row["drift"]) == (-100, 100)
    assert row["error"] == pytest.approx(np.hypot(20, 18))


def test_slices_show_the_patients_right_on_the_left():
    data = np.zeros((20, 24, 28), np.float32)
    data[15:, 20:, :] = 1
    planes, axial = slices_of(Volume(data, np.diag([PIXEL, PIXEL, PIXEL, 1])))
    assert axial.shape == (24, 20)
    assert axial[:4, :5].min() > 200, "right and front are the left upper corner"
    assert axial[8:].max() == 0
    assert planes.shape[0] == 28


def test_the_areas_of_a_region_are_what_its_ruler_tells_apart():
    """Every second slice is brain: around it, within the body, lies the soft tissue."""
    volume = Volume(np.ones((4, 4, 4), np.float32), np.eye(4))
    probabilities = np.zeros((4, 4, 4, 4), np.float32)
    probabilities[0, ::2] = probabilities[2, 1::2] = 1
    names = ("background", "fluid", "brain", "ventricles")
    found = Classes(framed=volume, probabilities=probabilities, affine=np.eye(4), names=names, placed=True)
    ruler = SimpleNamespace(region=HEAD, classes_on=lambda volume: found, values_of=lambda found: {"brain_ml": 1.0})
    seen = look(ruler, volume)
    assert seen.values == {"brain_ml": 1.0}
    assert {name: mask[:, 0, 0].tolist() for name, mask in seen.masks.items()} == {
        "body": [True] * 4,
        "brain": [False, True, False, True],
        "soft": [True, False, True, False],
    }
    assert set(look(None, volume).masks) == {"body"}
