"""Drawn bodies against published anatomy, by number (run with -m slow -s to see all figures).

Ranges are those of adults without disease, mean of the group within what the sources' means and SDs allow for bodies of that
sex, BMI and age: L3 muscle (van der Werf 2018, healthy donors: 55 and 42 cm2/m2), kidney length (Emamian 1993: 9.8 to 12.4 cm),
cardiothoracic ratio (.42 to .50 lying), descending and infrarenal aorta (Wolak 2008; Rogers 2013: 22 to 28 and 15 to 22 mm,
wider with age), psoas at L4 (10 to 20 cm2 a side in men, 6 to 12 in women), fat areas at L3 (UK Biobank, Linge 2018).
"""

from __future__ import annotations

import numpy as np
import pytest

from engine.phantom.body import Body
from engine.phantom.shape.frame import SPACING, VOXEL_ML
from engine.phantom.tissue import code, codes
from tests.phantom.bodies import drawn, is_group, is_named, labels

PIXEL_CM2 = SPACING[0] * SPACING[1] / 100
STATURE = {"M": 178.0, "F": 165.0}


def level(body: Body, name: str) -> slice:
    """Three slices about the middle of a vertebra."""
    middle = round(float(np.argwhere(is_named(body, name))[:, 2].mean()))
    return slice(middle - 1, middle + 2)


def area(mask: np.ndarray, slices: slice) -> float:
    """Mean area over the slices, cm2."""
    return float(mask[:, :, slices].sum((0, 1)).mean()) * PIXEL_CM2


def trunk_muscle(body: Body) -> np.ndarray:
    arms = np.isin(labels(body), [code(name) for name in ("upper_arm", "forearm", "deltoid")])
    return is_group(body, "muscle") & ~arms


def length(mask: np.ndarray) -> float:
    """Extent along the longest principal axis, cm."""
    points = np.argwhere(mask) * SPACING
    centred = points - points.mean(0)
    axis = np.linalg.svd(centred, full_matrices=False)[2][0]
    along = centred @ axis
    return float(along.max() - along.min() + 5.0) / 10


def width(mask: np.ndarray) -> float:
    return float(np.ptp(np.nonzero(mask.any((1, 2)))[0]) + 1)


def diameter(body: Body, name: str) -> float:
    """Of the aorta at a vertebra, from its area, mm."""
    return 20 * float(np.sqrt(max(area(is_named(body, "aorta"), level(body, name)), 1e-9) / np.pi))


def figures(body: Body, sex: str) -> dict[str, float]:
    l3 = level(body, "L3")
    tall = STATURE[sex] / 100
    right = np.arange(labels(body).shape[0])[:, None, None] >= 48
    kidney = is_group(body, "kidney", "renal_sinus")
    volumes = {name: is_group(body, name).sum() * VOXEL_ML for name in ("liver", "spleen")}
    return {
        "muscle at L3, cm2/m2": area(trunk_muscle(body), l3) / tall**2,
        "sat at L3, cm2": area(is_group(body, "subcutaneous_fat"), l3),
        "vat at L3, cm2": area(is_group(body, "visceral_fat"), l3),
        "kidney, cm": (length(kidney & right) + length(kidney & ~right)) / 2,
        "liver over spleen": volumes["liver"] / volumes["spleen"],
        "cardiothoracic ratio": width(is_group(body, "heart")) / width(is_group(body, "lung")),
        "aorta at L2, mm": diameter(body, "L2"),
        "psoas at L4, cm2": area(is_named(body, "psoas"), level(body, "L4")) / 2,
    }


#: least and greatest mean of a group of BMI 25, men then women
ASKED = {
    "muscle at L3, cm2/m2": ((44, 66), (34, 56)),
    "sat at L3, cm2": ((60, 240), (110, 330)),
    "vat at L3, cm2": ((50, 220), (25, 150)),
    "kidney, cm": ((9.8, 13.0), (9.3, 12.4)),
    "liver over spleen": ((5, 12), (5, 12)),
    "cardiothoracic ratio": ((0.40, 0.55), (0.40, 0.57)),
    "aorta at L2, mm": ((15, 24), (13, 22)),
    "psoas at L4, cm2": ((10, 24), (6, 18)),
}


def means(sex: str, bmi: float, age: float, seeds: range) -> dict[str, float]:
    found = [figures(drawn(seed, sex=sex, bmi=bmi, age=age, height=STATURE[sex]), sex) for seed in seeds]
    return {name: float(np.mean([one[name] for one in found])) for name in found[0]}


@pytest.mark.parametrize("sex", ["M", "F"])
def test_bodies_have_the_published_sizes(sex: str) -> None:
    found = means(sex, 25.0, 45, range(300, 303))
    beyond = {name: value for name, value in found.items() if not _within(name, sex, value)}
    assert not beyond


def _within(name: str, sex: str, value: float) -> bool:
    low, high = ASKED[name]["MF".index(sex)]
    return low <= value <= high


@pytest.mark.slow
@pytest.mark.parametrize("sex", ["M", "F"])
def test_bodies_change_with_weight_and_age(sex: str) -> None:
    seeds = range(300, 306)
    table = {(bmi, age): means(sex, bmi, age, seeds) for bmi in (20.0, 30.0, 40.0) for age in (25, 50, 80)}
    for (bmi, age), found in table.items():
        print(sex, bmi, age, {name: round(value, 2) for name, value in found.items()})
    lean, heavy = table[20.0, 50], table[40.0, 50]
    assert heavy["sat at L3, cm2"] > 2 * lean["sat at L3, cm2"]
    assert heavy["vat at L3, cm2"] > 2 * lean["vat at L3, cm2"]
    young, old = table[30.0, 25], table[30.0, 80]
    assert old["aorta at L2, mm"] > young["aorta at L2, mm"] + 1
    assert old["psoas at L4, cm2"] < 0.85 * young["psoas at L4, cm2"]
    assert old["muscle at L3, cm2/m2"] < 0.97 * young["muscle at L3, cm2/m2"]
    assert heavy["muscle at L3, cm2/m2"] < {"M": 80, "F": 66}[sex]
    assert old["vat at L3, cm2"] > young["vat at L3, cm2"]


def test_codes_of_muscle_are_without_fat() -> None:
    assert not set(codes("muscle")) & set(codes("intermuscular_fat", "subcutaneous_fat"))
