"""The heart's ruler: what it says of its network's labels whatever the cine's orientation, in every phase; what it refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from engine.anatomy.heart import HEART, LEFT, RIGHT, WALL
from engine.imaging.grid import frames
from engine.imaging.volume import Volume, VolumeError
from engine.measure.heart.classes import CLASSES, over_cycle
from engine.measure.heart.framing import CineFrame, framed, slices_last
from engine.measure.heart.reading import read
from engine.measure.heart.ruler import MEASURES, UNITS, HeartMeasure, tidied
from engine.measure.ruler import Ruler
from engine.phantom.heart.raster import RASTER
from engine.phantom.heart.tissue import LV_BLOOD
from engine.vocabulary.catalogue import CATALOGUE
from tests.measure.heart.oracle import cine_of, oracle
from tests.phantom.heart.hearts import AFFINE, SPACING, cylinder, heart

SHIPPED = Path(__file__).parents[3] / "checkpoints" / HEART.ruler
BEATING = np.stack([cylinder(26.0, 34.0), cylinder(18.0, 29.0), cylinder(22.0, 31.0)])


def test_measures_are_columns_of_the_table_in_their_units() -> None:
    for name in HEART.composition:
        assert UNITS[name] == CATALOGUE[name].unit
    assert {name for _, name in HEART.relations} <= set(MEASURES)


def test_what_is_read_is_what_the_labels_say() -> None:
    ruler, cine = oracle(SPACING), cine_of(BEATING, AFFINE)
    assert isinstance(ruler, Ruler)
    found = ruler.classes_on(cine)
    assert found.phases == 3
    values = ruler.values_of(found)
    assert values == ruler.measure(cine) == ruler.examine(cine).values
    assert values == read(BEATING, AFFINE).values()
    assert ruler.cycle_of(found).thickness is not None


def test_a_measure_follows_its_power_law_and_others_stay() -> None:
    ruler, cine = oracle(SPACING), cine_of(BEATING, AFFINE)
    plain = ruler.measure(cine)
    lawful = replace(ruler, config=replace(ruler.config, laws={"lv_mass": (2.0, 0.5), "lv_esv": (1.1, 1.0)}))
    values = lawful.measure(cine)
    assert values["lv_mass"] == pytest.approx(2 * plain["lv_mass"] ** 0.5)
    assert values["lv_esv"] == pytest.approx(1.1 * plain["lv_esv"])
    assert {k: v for k, v in values.items() if k not in lawful.config.laws} == pytest.approx(
        {k: v for k, v in plain.items() if k not in lawful.config.laws}
    )


def test_every_phase_has_labels_of_its_own_and_the_first_is_the_still_one() -> None:
    ruler, cine = oracle(SPACING), cine_of(BEATING, AFFINE)
    found = ruler.classes_on(cine)
    groups = [tissue.classes for tissue in HEART.tissues]
    for phase, labels in enumerate(BEATING):
        on = found.at(phase).on(cine, (LEFT,))
        np.testing.assert_array_equal(on, np.isin(labels, LV_BLOOD))
        shown = found.at(phase).labels(cine, groups)
        np.testing.assert_array_equal(shown == 1 + groups.index((LEFT,)), on)
    np.testing.assert_array_equal(found.labels(cine, groups), found.at(0).labels(cine, groups))
    assert found.at(1).phases == 1


def test_the_same_heart_is_read_however_its_axes_lie() -> None:
    """Slices along any axis, mirrored, from base to apex: the same values, and labels where the heart is."""
    ruler, cine = oracle(SPACING), cine_of(BEATING, AFFINE)
    want = ruler.measure(cine)
    for axcodes in ("SRA", "ALS", "LPI", "RIA"):
        turned = cine.reoriented(axcodes)
        found = ruler.classes_on(turned)
        assert ruler.values_of(found) == pytest.approx(want, rel=0.01), axcodes
        np.testing.assert_array_equal(found.at(1).on(turned, (WALL,)), np.rint(turned.data[1]) == CLASSES.index(WALL))


def test_a_heart_is_found_in_a_large_field_of_view() -> None:
    wide = np.pad(BEATING, [(0, 0), (90, 20), (10, 70), (0, 0)])
    affine = AFFINE.copy()
    affine[:2, 3] -= 90, 10
    ruler = oracle(SPACING, window=(96, 96))
    found = ruler.classes_on(cine_of(wide, affine))
    assert found.framed.grid[:2] == (96, 96)
    assert ruler.values_of(found) == pytest.approx(read(BEATING, AFFINE).values())
    np.testing.assert_array_equal(found.on(cine_of(wide, affine), (LEFT,)), np.isin(wide[0], LV_BLOOD))


def test_slices_stay_where_they_lie_and_voxels_within_them_become_the_networks() -> None:
    frame = CineFrame(voxel=(2.0, 2.0, 8.0), slices=(5.0, 12.0))
    cine = Volume(
        np.random.default_rng(0).random((2, 40, 30, 7), np.float32), np.diag([1.5, 1.5, 10, 1]), frames(("cine",), 2)
    )
    found = framed(cine, frame)
    assert found.spacing == pytest.approx((2.0, 2.0, 10.0))
    assert found.grid == (30, 22, 7)
    middle = [v.affine[:3, :3] @ ((np.array(v.grid) - 1) / 2) + v.affine[:3, 3] for v in (cine, found)]
    np.testing.assert_allclose(*middle, atol=1e-9)
    thin = replace(cine, affine=np.diag([1.5, 1.5, 3.0, 1]))
    assert framed(thin, frame).spacing == pytest.approx((2.0, 2.0, 8.0))
    cubes = replace(cine, affine=np.diag([2.0, 2.0, 2.0, 1]))
    assert slices_last(cubes) is cubes


def test_what_is_not_joined_to_the_heart_is_background() -> None:
    probabilities = np.zeros((len(CLASSES), 8, 8, 4), np.float32)
    probabilities[0] = 0.5
    left = CLASSES.index(LEFT)
    probabilities[left, 1:4, 1:4, 1:3] = probabilities[left, 6, 6, 3] = 0.9
    told = tidied(probabilities).argmax(0)
    assert (told[1:4, 1:4, 1:3] == left).all()
    assert told[6, 6, 3] == 0
    assert (told == left).sum() == 18


def test_what_moves_is_told_from_what_is_still() -> None:
    cycle = np.ones((4, 2, 2, 2), np.float32)
    cycle[::2, 0] = 3
    mean, spread = over_cycle(cycle)
    assert (mean[0] == 2).all()
    assert (spread[0] == 1).all()
    assert (spread[1] == 0).all()


def test_what_is_no_cine_of_a_heart_is_refused() -> None:
    ruler, cine = oracle(SPACING), cine_of(BEATING, AFFINE)
    still = Volume(cine.data[0], cine.affine)
    with pytest.raises(VolumeError, match="the scan has no channel cine; a heart is measured on the phases"):
        ruler.measure(still)
    with pytest.raises(VolumeError, match="the cine has one phase"):
        ruler.measure(Volume(cine.data[:1], cine.affine, ("cine",)))
    with pytest.raises(VolumeError, match="every voxel has the same value"):
        ruler.measure(replace(cine, data=np.ones_like(cine.data)))
    with pytest.raises(VolumeError, match="voxels that are NaN"):
        ruler.measure(replace(cine, data=np.where(cine.data > 1, np.nan, cine.data)))
    right = np.where(cine.data == CLASSES.index(RIGHT), cine.data, 0)
    with pytest.raises(VolumeError, match="no heart was found: phase 0 has no left ventricle"):
        ruler.measure(replace(cine, data=right))
    with pytest.raises(VolumeError, match="larger than a chest; crop the cine to the heart"):
        ruler.measure(replace(cine, affine=np.diag([6.0, 6.0, 8.0, 1.0])))
    small = cine_of(BEATING[:, 28:40, 44:52, 4:5].repeat(3, 3), AFFINE)
    with pytest.raises(VolumeError, match="mL look like a left ventricle, 5 to 900 are expected"):
        ruler.measure(small)


@pytest.fixture(scope="module", params=["healthy", "infarcted"])
def told(request: pytest.FixtureRequest) -> tuple[dict[str, float], dict[str, Any]]:
    """What the shipped ruler reads off a heart that it has not seen, and its row."""
    ruler, person = HeartMeasure.load(SHIPPED), heart(request.param)
    return ruler.measure(Volume(person.images, RASTER.affine, HEART.frames)), person.row


def test_the_shipped_ruler_reads_volumes(told: tuple[dict[str, float], dict[str, Any]]) -> None:
    """In the unit of the table, phases and all: within a tenth of the volumes at end-diastole, 6 points of the ejection fraction."""
    values, row = told
    for name in ("lv_edv", "rv_edv"):
        assert values[name] == pytest.approx(row[name], rel=0.1), name
    assert values["lv_ef"] == pytest.approx(row["lv_ef"], abs=6)


def test_the_shipped_ruler_reads_the_mass_of_thin_walls(
    told: tuple[dict[str, float], dict[str, Any]], request: pytest.FixtureRequest
) -> None:
    values, row = told
    if row["pathology"] == "infarcted":
        reason = "a wall of 4 mm is read a voxel too thick: engine/LOG.md 59"
        request.applymarker(pytest.mark.xfail(strict=True, reason=reason))
    assert values["lv_mass"] == pytest.approx(row["lv_mass"], rel=0.1)
