"""An edit of a mask in words and on a mask; the overlay's groups; what the brush paints, however the grid is turned."""

from __future__ import annotations

import numpy as np
import pytest

from engine.anatomy.torso import TORSO
from engine.imaging.segmentation import Segmentation
from engine.measure.torso import CLASSES
from pages.components.state.overlay import Groups, class_title, painted
from pages.components.state.region_edit import RegionEdit, parted

SIDE = 24


def body(affine: np.ndarray | None = None) -> Segmentation:
    """A box of fat with a liver in it; 3 mm."""
    labels = np.zeros((SIDE, SIDE, SIDE), np.uint8)
    labels[2:22, 2:22, 2:22] = 1
    labels[6:14, 8:16, 8:16] = 2
    return Segmentation(labels, np.diag([3.0, 3, 3, 1]) if affine is None else affine, ("background", "sat", "liver"))


def test_a_region_moves_and_then_has_the_volume_asked_for():
    mask = body()
    found = RegionEdit(region="liver", factor=1.5, by=(9.0, 0.0, -6.0)).on(mask)
    assert found.volumes_ml()["liver"] == pytest.approx(1.5 * mask.volumes_ml()["liver"], rel=0.002)
    before, after = (np.argwhere(part.mask("liver")).mean(0) * 3 for part in (mask, found))
    assert after - before == pytest.approx([9, 0, -6], abs=0.5)
    assert ((found.labels > 0) == (mask.labels > 0)).all(), "not out of the body"


def test_words_say_what_is_done():
    edit = RegionEdit(region="liver", factor=1.3, by=(-5.0, 0.0, 10.0))
    assert edit.in_words(lambda name: name.capitalize()) == "Liver 1.3 times as large, 5 mm left, 10 mm up"
    assert not RegionEdit(region="liver", factor=1.002).changes
    assert RegionEdit(region="liver", by=(0.0, 1.0, 0.0)).changes


def test_an_address_is_parted():
    plain, own = parted({"age": "40", "edit": "liver", "edit.times": "2", "editor": "x"})
    assert plain == {"age": "40", "editor": "x"}
    assert own == {"edit": "liver", "edit.times": "2"}


def test_the_classes_of_the_torso_have_the_colours_of_its_tissues():
    groups = Groups(TORSO, CLASSES)
    assert [(title, colour) for _, title, colour in groups.legend[: len(TORSO.tissues)]] == [
        (tissue.title, tissue.colour) for tissue in TORSO.tissues
    ]
    assert [title for _, title, _ in groups.legend[len(TORSO.tissues) :]] == ["Other"]
    assert groups.group[0] == 0
    assert (groups.group[1:] > 0).all()
    assert groups.group[CLASSES.index("psoas")] == groups.group[CLASSES.index("muscle")]
    assert class_title(TORSO, "liver") == "Liver"


@pytest.mark.parametrize("turn", [(1, 1), (-1, 1), (-1, -1)], ids=["RAS", "LAS", "LPS"])
def test_strokes_lie_where_they_were_painted(turn: tuple[int, int]):
    """Runs are of the grid turned to RAS+, as the viewer shows it; the background stays."""
    mask = body(np.diag([3.0 * turn[0], 3.0 * turn[1], 3.0, 1.0]))
    start = 10 + SIDE * 5 + SIDE * SIDE * 4  # voxel 10, 5, 4 of the turned grid
    found = painted(mask, [[2, [start, 3, 0, 5]]])
    x, y = (np.arange(10, 13), 5)
    x = x if turn[0] > 0 else SIDE - 1 - x
    y = y if turn[1] > 0 else SIDE - 1 - y
    assert (found.labels[x, y, 4] == 2).all()
    assert (found.labels != mask.labels).sum() == 3
    np.testing.assert_allclose(found.affine, mask.affine)


@pytest.mark.parametrize("stroke", [[0, [1, 1]], [3, [1, 1]], [1, [1]], [1, [SIDE**3, 1]], [1, [-1, 1]]])
def test_what_is_no_stroke_is_not_painted(stroke: list):
    with pytest.raises(ValueError, match=r"a stroke of class|a run of"):
        painted(body(), [stroke])
