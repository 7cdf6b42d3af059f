"""Which ruler there is for a model, and where a ruler sees the areas of its region."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from engine.anatomy.head import HEAD
from engine.imaging.volume import Volume
from engine.measure.ruler import Classes
from pages.components.parts.ruler.reader import look, ruler_for


@pytest.mark.parametrize(("channels", "words"), [((), "draws no scans"), (("T2w", "PD"), "draws T2w, PD")])
def test_without_a_known_region_nothing_is_measured(channels: tuple[str, ...], words: str):
    config = SimpleNamespace(channels=channels)
    ruler, problem = ruler_for(SimpleNamespace(checkpoint=SimpleNamespace(config=config)))
    assert ruler is None
    assert words in problem


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
