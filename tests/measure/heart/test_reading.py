"""Reading a heart off its labels: exact on solids, and what cannot be read is refused."""

from __future__ import annotations

import math

import numpy as np
import pytest

from engine.measure.heart.reading import MEASURES, HeartCodes, read
from engine.phantom.heart.raster import RASTER
from engine.phantom.heart.tissue import CODES, DENSITY
from engine.vocabulary.refusal import ConfigError, RequestError
from tests.phantom.heart.hearts import AFFINE, GRID, SPACING, cylinder, heart

#: inner and outer radius of a tube in each of three phases: its wall has the same area
PHASES = ((26.0, 34.0), (18.0, math.sqrt(18**2 + 34**2 - 26**2)), (22.0, math.sqrt(22**2 + 34**2 - 26**2)))


def beating() -> np.ndarray:
    return np.stack([cylinder(inner, outer) for inner, outer in PHASES])


def litres(inner: float, narrower: float = 2.0) -> float:
    areas = [math.pi * (inner - (narrower if k < 3 else 0)) ** 2 for k in range(GRID[2])]
    return sum(areas) * SPACING[2] / 1000


def test_volumes_of_a_tube_are_those_of_geometry() -> None:
    found = read(beating(), AFFINE)
    assert found.lv == pytest.approx([litres(inner) for inner, _ in PHASES], rel=0.01)
    assert (found.end_diastole, found.end_systole) == (0, 1)
    values = found.values()
    assert values["lv_ef"] == pytest.approx(100 * (1 - litres(18.0) / litres(26.0)), abs=0.5)
    assert values["lv_mass"] == pytest.approx(DENSITY * (litres(34.0) - litres(26.0)), rel=0.02)
    assert set(values) == set(MEASURES)


def test_thickening_and_strain_of_a_tube_are_those_of_geometry() -> None:
    found = read(beating(), AFFINE)
    thick = [outer - inner for inner, outer in PHASES]
    assert found.thickness is not None
    assert found.thickness[:, 6:12].mean(1) == pytest.approx(thick, rel=0.03)
    middle = [sum(pair) / 2 for pair in PHASES]
    values = found.values()
    assert values["circumferential_strain"] == pytest.approx(100 * (middle[1] / middle[0] - 1), abs=1.0)
    assert values["wall_thickening"] == pytest.approx(100 * (thick[1] / thick[0] - 1), abs=4.0)


def test_of_a_cavity_alone_the_volumes_are_read() -> None:
    alone = (beating() == CODES["lv_cavity"]).astype(np.uint8) * 7
    found = read(alone, AFFINE, HeartCodes(lv_blood=(7,), lv_myocardium=(), rv_blood=()))
    assert (found.rv, found.mass, found.thickness, found.thickening) == (None, None, None, None)
    assert set(found.values()) == {"lv_edv", "lv_esv", "lv_ef"}


def test_of_an_in_silico_heart_what_its_table_says_is_read() -> None:
    person = heart("healthy")
    values = read(person.labels, RASTER.affine).values()
    for name in ("lv_edv", "lv_esv", "lv_ef", "lv_mass", "rv_edv", "rv_esv", "wall_thickness"):
        assert values[name] == pytest.approx(person.row[name], abs=0.06)
    assert 20 < values["wall_thickening"] < 90
    assert -30 < values["circumferential_strain"] < -12


def test_what_is_no_cycle_is_refused() -> None:
    labels = beating()
    with pytest.raises(RequestError, match="no cycle"):
        read(labels[:1], AFFINE)
    with pytest.raises(RequestError, match="singular"):
        read(labels, np.diag([1.6, 0.0, 8.0, 1.0]))
    labels[2] = 0
    with pytest.raises(RequestError, match="phase 2 has no left ventricle"):
        read(labels, AFFINE)
    with pytest.raises(ConfigError, match="no code twice"):
        HeartCodes(lv_blood=(1,), lv_myocardium=(1,))
