"""Parts of the What-if page: where a change lies and should lie, the pictures of a grid."""

from __future__ import annotations

import numpy as np
import pytest

from engine.imaging.volume import Volume
from pages.components.parts.ruler.reader import Classes, Reader, Seen
from pages.components.whatif.figures import PIXEL, slices_of
from pages.components.whatif.regions import compared, region, spread


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
    mask, words = region("head", one, other, ["age"])
    assert (int(mask.sum()), words) == (25, "the brain and the fluid around it")
    assert region("head", one, other, ["age", "sex"])[1] == "the body"
    ruler = type("Ruler", (), {"measures": {"brain_ml": "Brain"}})()
    reader = Reader(kind="head", ruler=ruler, units={"brain_ml": "ml"}, errors={"brain_ml": (0.02, True)})
    (row,) = compared(reader, [other, one, one, other])
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


def test_labels_stand_where_the_likeliest_class_is():
    """A class seen in one corner by a ruler of coarser, shifted voxels is labelled there, and nowhere else."""
    probabilities = np.zeros((3, 4, 4, 4), np.float32)
    probabilities[0], probabilities[2, 2:, :2, 3] = 0.4, 0.9
    coarse = np.diag([4.0, 4, 4, 1])
    coarse[:3, 3] = 1.5
    fine = Volume(np.zeros((20, 16, 16), np.float32), np.eye(4))
    found = Classes(fine, probabilities, coarse, True)
    labels = found.labels(fine, [[1], [2]])
    assert labels.dtype == np.uint8
    expected = np.zeros((20, 16, 16), np.uint8)
    expected[8:16, :8, 12:] = 2
    np.testing.assert_array_equal(labels, expected)
    np.testing.assert_array_equal(found.labels(fine, [[0, 2]])[:16], 1)
    np.testing.assert_array_equal(found.on(fine, [2])[10:14, 2:6, 13:15], True)
