"""Which surfaces are made of a person: the skin, and inside it what a ruler tells apart, each in its place."""

from __future__ import annotations

import numpy as np
import pytest

from engine.anatomy.torso import TORSO
from engine.imaging.volume import Volume, VolumeError
from engine.measure.ruler import Classes
from pages.components.parts.ruler.surfaces import skin_surface, surfaces_of

AFFINE = np.diag([5.0, 5, 6, 1])
CLASSES = (
    *("background", "sat", "vat", "muscle", "bone", "pelvis", "lungs", "liver", "spleen", "kidneys", "heart"),
    "vertebrae",
)
#: voxels of an organ: low and high corner
PLACES = {"liver": ((16, 8, 12), (24, 14, 20)), "kidneys": ((8, 8, 6), (12, 12, 12)), "bone": ((14, 4, 4), (17, 7, 28))}


def box(low: tuple[int, ...], high: tuple[int, ...]) -> np.ndarray:
    mask = np.zeros((32, 24, 36), bool)
    mask[tuple(slice(a, b) for a, b in zip(low, high, strict=True))] = True
    return mask


@pytest.fixture
def torso() -> Volume:
    """A body of 120 x 80 x 180 mm, hollow, with a fat of half the intensity."""
    body = box((4, 4, 3), (28, 20, 33)) & ~box((10, 8, 10), (14, 12, 20))
    return Volume(np.stack([body * 0.8, body * 0.4]).astype(np.float32), AFFINE, ("water", "fat"))


class Ruler:
    """Tells the organs of :data:`PLACES` apart, or refuses the scan."""

    region = TORSO

    def __init__(self, refusal: str = "", placed: bool = True) -> None:
        self.refusal = refusal
        self.placed = placed

    def classes_on(self, volume: Volume) -> Classes:
        if self.refusal:
            raise VolumeError(self.refusal)
        found = [box(*PLACES.get(name, ((0,) * 3, (0,) * 3))) for name in CLASSES]
        return Classes(
            framed=volume,
            probabilities=np.stack(found).astype(np.float32),
            affine=volume.affine,
            names=CLASSES,
            placed=self.placed,
        )


def test_the_skin_is_the_body_without_its_hollows(torso: Volume):
    skin = skin_surface(torso)
    assert skin.closed
    assert skin.millilitres == pytest.approx(120 * 80 * 180 / 1000, rel=0.04)
    np.testing.assert_allclose(skin.points.min(0), [17.5, 17.5, 15], atol=1.5)
    np.testing.assert_allclose(skin.points.max(0), [137.5, 97.5, 195], atol=1.5)


def test_each_organ_lies_where_the_ruler_sees_it(torso: Volume):
    said: list[float] = []
    parts, notes = surfaces_of(Ruler(), torso, lambda share, text: said.append(share))
    assert said == sorted(said)
    assert [part.name for part in parts] == ["Skin", "Liver", "Kidneys", "Bones"]
    assert [note.split(":")[0] for note in notes] == ["Visceral fat", "Lungs", "Spleen", "Heart"]
    found = {part.name: part.surface for part in parts}
    for name, place in (("Liver", "liver"), ("Kidneys", "kidneys"), ("Bones", "bone")):
        low, high = (np.array(corner) for corner in PLACES[place])
        middle = (low + high - 1) / 2 * [5, 5, 6]
        np.testing.assert_allclose((found[name].points.min(0) + found[name].points.max(0)) / 2, middle, atol=1)
        assert found[name].closed


@pytest.mark.parametrize(
    ("ruler", "words"),
    [(Ruler("no torso was found"), "no torso was found"), (Ruler(placed=False), "only after turning"), (None, "")],
)
def test_without_a_ruler_there_is_the_skin(torso: Volume, ruler: Ruler | None, words: str):
    parts, notes = surfaces_of(ruler, torso, lambda share, text: None)
    assert [part.name for part in parts] == ["Skin"]
    assert words in " ".join(notes)
