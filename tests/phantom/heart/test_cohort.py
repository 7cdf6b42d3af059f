"""A person with a beating heart: laws of the cycle, of the labels, of the table."""

from __future__ import annotations

import numpy as np
import pytest

from engine.phantom.heart.cohort import make, shifts
from engine.phantom.heart.people import HeartError
from engine.phantom.heart.raster import RASTER, CineRaster
from engine.phantom.heart.tissue import CODES, DENSITY
from engine.vocabulary.refusal import ConfigError
from tests.phantom.heart.hearts import SEEDS, heart, volume

EVERY = sorted(SEEDS)
SMALL = CineRaster(grid=(48, 48, 12), spacing=(3.2, 3.2, 10.0), phases=8)


@pytest.mark.parametrize("pathology", EVERY)
def test_scan_and_labels_have_a_cycle_of_the_raster(pathology: str) -> None:
    person = heart(pathology)
    assert person.images.shape == person.labels.shape == (RASTER.phases, *RASTER.grid)
    assert person.images.dtype == person.labels.dtype == np.uint8
    assert set(np.unique(person.labels)) <= set(CODES.values())
    assert person.row["pathology"] == pathology


@pytest.mark.parametrize("pathology", EVERY)
def test_the_first_phase_is_the_widest_and_the_table_is_counted_on_the_labels(pathology: str) -> None:
    person = heart(pathology)
    left = volume(person.labels, "lv_cavity", "papillary_muscle") * RASTER.voxel_ml
    assert left.argmax() == 0
    assert person.row["lv_edv"] == pytest.approx(left[0], abs=0.06)
    assert person.row["lv_esv"] == pytest.approx(left.min(), abs=0.06)
    assert person.row["lv_ef"] == pytest.approx(100 * (1 - left.min() / left[0]), abs=0.06)
    assert 0.25 < left.argmin() / len(left) < 0.55


@pytest.mark.parametrize("pathology", EVERY)
def test_mass_stays_within_partial_volume_over_the_cycle(pathology: str) -> None:
    person = heart(pathology)
    mass = volume(person.labels, "lv_myocardium") * RASTER.voxel_ml * DENSITY
    assert person.row["lv_mass"] == pytest.approx(mass[0], abs=0.06)
    assert np.abs(mass / mass.mean() - 1).max() < 0.06


@pytest.mark.parametrize("pathology", EVERY)
def test_the_cycle_is_closed(pathology: str) -> None:
    cine = heart(pathology).images.astype(float)
    steps = np.abs(np.roll(cine, -1, axis=0) - cine).mean((1, 2, 3))
    assert steps[-1] <= steps[:-1].max()


@pytest.mark.parametrize("pathology", EVERY)
def test_everything_around_the_heart_is_there(pathology: str) -> None:
    seen = {name for name, code in CODES.items() if (heart(pathology).labels == code).any()}
    own = {
        "lv_cavity",
        "lv_myocardium",
        "papillary_muscle",
        "rv_cavity",
        "rv_myocardium",
        "left_atrium",
        "right_atrium",
    }
    around = {"aorta", "pulmonary_artery", "pericardial_fat", "lung", "liver", "muscle", "bone", "subcutaneous_fat"}
    assert own | around <= seen


@pytest.mark.parametrize("pathology", EVERY)
def test_contrast_is_that_of_a_steady_state(pathology: str) -> None:
    """Blood is two to four times as bright as myocardium (real cines: 2 to 3.5), lung is dark, fat under the skin brightest."""
    person = heart(pathology)
    names = ("lv_cavity", "lv_myocardium", "lung", "subcutaneous_fat")
    mean = {name: person.images[person.labels == CODES[name]].mean() for name in names}
    assert 2 < mean["lv_cavity"] / mean["lv_myocardium"] < 4
    assert mean["lung"] < 0.6 * mean["lv_myocardium"]
    assert mean["subcutaneous_fat"] > mean["lv_cavity"]


def test_the_right_ventricle_pumps_what_the_left_does() -> None:
    row = heart("healthy").row
    assert row["rv_edv"] - row["rv_esv"] == pytest.approx(row["lv_edv"] - row["lv_esv"], rel=0.2)


def test_the_base_goes_down_in_systole() -> None:
    labels = heart("healthy").labels
    left = np.isin(labels, (CODES["lv_cavity"], CODES["papillary_muscle"])).sum((1, 2))
    highest = [np.flatnonzero(slices)[-1] for slices in left]
    assert highest[int(left.sum(1).argmin())] < highest[0]


def test_the_same_seed_is_the_same_person_and_another_is_not() -> None:
    first, again, other = (make([seed], raster=SMALL)[0] for seed in (3, 3, 4))
    assert first.images.tobytes() == again.images.tobytes()
    assert first.labels.tobytes() == again.labels.tobytes()
    assert first.row == again.row
    assert first.images.tobytes() != other.images.tobytes()


def test_breath_holds_shift_slices_by_millimetres() -> None:
    moved = np.concatenate([shifts(seed, 12) for seed in range(60)])
    assert 0.5 < moved[:, :2].std() < 1.6
    assert np.abs(moved).max() <= 3.5


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(HeartError, match="no rhythm"):
        make([1], {"rhythm": 3.0})
    with pytest.raises(HeartError, match="healthy, dilated"):
        make([1], {"pathology": "broken"})
    with pytest.raises(HeartError, match="8 to 82"):
        make([1], {"ef": 95.0})
    with pytest.raises(ConfigError, match="phases"):
        CineRaster(phases=2)
    with pytest.raises(ConfigError, match="overlap"):
        CineRaster(thickness=12.0)
