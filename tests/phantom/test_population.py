"""The population against shared facts: NAKO marginals, NHANES and ANSUR regressions, organs.

Figures come from 100,000 persons drawn at once, so sampling error is small beside the tolerances; what is drawn seed by
seed is compared within its standard error.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from engine.phantom import regressions as law
from engine.phantom.anthropometry import sample_people
from engine.phantom.dimensions import DIMENSIONS, regression, waist_girth
from tests.phantom.crowd import by_sex, population, simulate, slopes

NHANES = Path(__file__).parents[2] / "../shared/data/nchs-adults/adults.csv"
ROOTS = {"age": 52.0, "ethnicity": "white", "height": 168.0, "smoking": "never"}


# marginals: NAKO


@pytest.mark.parametrize(
    ("name", "man", "woman"),
    [
        ("age", (47.75, 12.37), (48.40, 12.13)), ("height", (179.10, 6.98), (165.68, 6.51)),
        ("bmi", (26.98, 4.15), (25.94, 5.28)), ("weight", (86.57, 14.31), (71.12, 14.59)),
    ],
)  # fmt: skip
def test_marginals_are_those_of_nako(name: str, man: tuple, woman: tuple) -> None:
    for (_, own), (mean, sd) in zip(by_sex(), (man, woman), strict=True):
        values = population()[name][own]
        assert values.mean() == pytest.approx(mean, rel=0.005)
        assert values.std() == pytest.approx(sd, rel=0.03)


def test_seeds_draw_from_that_population() -> None:
    people, everyone = sample_people(range(3000)), population()
    for name in ("age", "height", "bmi", "vat", "trunk_sat", "waist", "muscle", "liver", "spleen", "liver_pdff"):
        found, expected = getattr(people, name).numpy(), everyone[name]
        assert abs(found.mean() - expected.mean()) < 3.5 * expected.std() / 3000**0.5, name
    assert float(people.male.mean()) == pytest.approx(0.561, abs=3 * 0.5 / 3000**0.5)
    for level, (woman, man) in zip(law.SMOKING, zip(*law.SMOKING_SHARES, strict=True), strict=True):
        share = sum(smoking == level for smoking in people.smoking) / 3000
        assert share == pytest.approx(0.561 * man + 0.439 * woman, abs=0.03)


def test_overweight_and_obesity_are_as_common_as_in_nako() -> None:
    """Within two points: no smooth law has NAKO's mean, SD and both shares at once."""
    for (_, own), (over, obese) in zip(by_sex(), ((0.462, 0.235), (0.297, 0.212)), strict=True):
        bmi = population()["bmi"][own]
        assert ((bmi > 25) & (bmi <= 30)).mean() == pytest.approx(over, abs=0.021)
        assert (bmi > 30).mean() == pytest.approx(obese, abs=0.02)
        assert bmi.min() >= 16
        assert bmi.max() <= 50


def test_height_falls_and_bmi_rises_with_age_in_both_sexes() -> None:
    everyone = population()
    for _, own in by_sex():
        decade = [own & (everyone["age"] >= low) & (everyone["age"] < low + 10) for low in range(20, 90, 10)]
        heights = [everyone["height"][some].mean() for some in decade]
        assert heights[0] - heights[5] > 6
        bmis = [everyone["bmi"][some].mean() for some in decade]
        assert bmis[0] < bmis[1] < bmis[2] < bmis[3] < bmis[4]
        assert bmis[6] < bmis[4]


# composition


def test_fat_and_waist_follow_nhanes() -> None:
    """Slopes on BMI (at 27), age and height within 15%; residual SD too."""
    facts = {
        "body_fat": ((27.85, 0.944, 0.091, 0, 3.4), (39.73, 0.958, 0.065, 0, 3.3)),
        "trunk_fat": ((12.35, 0.969, 0.061, 0.140, 1.95), (13.56, 0.933, 0.035, 0.180, 1.92)),
        "waist": ((97.85, 2.50, 0.19, 0.34, 4.2), (91.34, 2.23, 0.15, 0.36, 5.7)),
    }
    everyone = population()
    for name, both in facts.items():
        for (i, own), tall in zip(by_sex(), (176, 162), strict=True):
            p = {key: value[own & (everyone["ethnicity"] == 0)] for key, value in everyone.items()}
            columns = p["bmi"] - 27, p["age"] - 45, p["height"] - tall, (p["bmi"] - 27) ** 2
            found = slopes(p[name], *columns)
            level, on_bmi, on_age, on_height, sd = both[i]
            assert found[0] == pytest.approx(level, rel=0.02)
            assert found[1:3] == pytest.approx([on_bmi, on_age], rel=0.15)
            assert found[3] == pytest.approx(on_height, rel=0.15, abs=0.01)
            rest = p[name] - np.column_stack([np.ones(len(p[name])), *columns]) @ found
            assert rest.std() == pytest.approx(sd, rel=0.1)


@pytest.mark.skipif(not NHANES.exists(), reason="needs the NHANES table of shared data")
def test_slopes_on_bmi_are_those_of_real_people() -> None:
    import pandas as pd

    columns = {"body_fat": "body_fat_pct", "trunk_fat": "trunk_fat_kg", "waist": "waist_m"}
    real = pd.read_csv(NHANES).dropna(subset=["bmi", "height_m", *columns.values()])
    for i, own in by_sex():
        ours = {name: value[own] for name, value in population().items()}
        group = real[real["sex"] == ("male", "female")[i]]
        for name, column in columns.items():
            theirs = group[column].to_numpy() * (100 if name == "waist" else 1)
            design = group["bmi"] - 27, group["age"] - 45, group["height_m"] * 100, (group["bmi"] - 27) ** 2
            expected = slopes(theirs, *(column.to_numpy(float) for column in design))
            found = slopes(ours[name], ours["bmi"] - 27, ours["age"] - 45, ours["height"], (ours["bmi"] - 27) ** 2)
            assert found[1] == pytest.approx(expected[1], rel=0.1)


def test_a_biobank_group_has_its_visceral_and_liver_fat() -> None:
    """UK Biobank's imaged (ages 45 to 80, mean BMI 27.4 and 26.2): 5 L and 2.7 to 3 L; PDFF median 2.1, mean 3.9."""
    rng = np.random.default_rng(3)
    male = (rng.random(60_000) < 0.48).astype(float)
    bmi = np.exp(np.where(male > 0, 3.30, 3.25) + np.where(male > 0, 0.145, 0.175) * rng.standard_normal(60_000))
    age = np.clip(rng.normal(63, 7.5, 60_000), 45, 80)
    group = simulate(60_000, 4, sex=male, age=age, bmi=np.clip(bmi, 17, 48))
    assert group["vat"][male > 0].mean() == pytest.approx(5.0, rel=0.1)
    assert 2.7 < group["vat"][male < 1].mean() < 3.0
    pdff = group["liver_pdff"]
    assert np.median(pdff) == pytest.approx(2.11, rel=0.1)
    assert pdff.mean() == pytest.approx(3.91, rel=0.1)
    assert (pdff[bmi < 25] > 5.5).mean() == pytest.approx(0.05, abs=0.015)
    assert (pdff[bmi > 30] > 5.5).mean() == pytest.approx(1 / 3, abs=0.06)


def test_organs_have_their_facts() -> None:
    p = population()
    assert p["liver"].mean() == pytest.approx(1505, rel=0.1)
    assert p["liver"].std() == pytest.approx(385, rel=0.1)
    assert p["liver"][p["liver_pdff"] < 5.5].mean() == pytest.approx(1360, rel=0.1)
    assert p["liver"][p["liver_pdff"] > 5.5].mean() == pytest.approx(1717, rel=0.1)
    assert (p["spleen"].mean(), p["spleen"].std()) == pytest.approx((198, 88), rel=0.1)
    assert slopes(p["spleen"], p["age"])[1] < -0.3
    young = p["age"] < 38
    for name, below, above in (("muscle_pdff", 8.25, 14.3), ("psoas_pdff", 4.5, 6.9)):
        assert p[name][young].mean() == pytest.approx(below, rel=0.1)
        assert p[name][~young].mean() == pytest.approx(above, rel=0.1)
    for i, own in by_sex():
        assert np.median(p["kidney_right"][own]) == pytest.approx((174, 138)[i], rel=0.05)
        assert np.median(p["kidney_left"][own]) == pytest.approx((180, 144)[i], rel=0.05)
        assert p["heart"][own].mean() == pytest.approx((840 / 1.06, 620 / 1.06)[i], rel=0.1)
        assert p["pancreas"][own].mean() == pytest.approx((140 / 1.04, 120 / 1.04)[i], rel=0.1)
        assert p["lungs"][own].mean() == pytest.approx((2500, 2000)[i], rel=0.1)
        twenties, thirties = (own & (p["age"] >= low) & (p["age"] < low + 10) for low in (20, 30))
        assert p["marrow_pdff"][twenties].mean() == pytest.approx((32.0, 27.2)[i], rel=0.05)
        assert p["marrow_pdff"][thirties].mean() == pytest.approx((35.3, 27.3)[i], rel=0.06)
        assert p["marrow_pdff"][twenties].std() == pytest.approx((8, 6)[i], rel=0.1)


@pytest.mark.parametrize(
    ("name", "high"), [("vat", 0.9), ("trunk_sat", 0.9), ("muscle", 0.9), ("liver", 0.9), ("waist", 0.93)]
)
def test_the_table_does_not_tell_all(name: str, high: float) -> None:
    p = population()
    groups = [p["ethnicity"] == level for level in range(1, len(law.ETHNICITIES))]
    columns = [p["age"], p["male"], p["height"], p["bmi"], *groups]
    rest = p[name] - np.column_stack([np.ones(len(p["age"])), *columns]) @ slopes(p[name], *columns)
    assert 0.6 <= 1 - rest.var() / p[name].var() <= high


def test_everything_grows_with_bmi_for_one_person() -> None:
    bmis = np.linspace(16, 50, 69)
    for sex in ("F", "M"):
        for seed in (1, 2, 3):
            people = sample_people([seed] * 69, [ROOTS | {"sex": sex, "bmi": bmi} for bmi in bmis])
            for name in ("body_fat", "trunk_fat", "vat", "trunk_sat", "waist", "muscle", "liver", "liver_pdff"):
                assert bool((getattr(people, name).diff() > 0).all()), name
            for name in (
                "chest_breadth",
                "hip_breadth",
                "waist_breadth",
                "waist_depth",
                "buttock_depth",
                "thigh_girth",
            ):
                assert bool((people.dims[name].diff() > -1e-3).all()), name


# body surface


def test_dimensions_have_ansurs_residuals_and_fit_the_scanner() -> None:
    p = population()
    for _, own in by_sex():
        for name in DIMENSIONS:
            mean, sd = regression(name, p["male"][own], p["age"][own], p["height"][own], p["bmi"][own])
            rest = p[name][own] - mean
            if not name.startswith("waist"):
                assert abs(rest.mean()) < 0.05 * sd.mean(), name
                assert rest.std() == pytest.approx(sd.mean(), rel=0.05), name
                assert np.abs(rest / sd).max() < 2.2 or name in ("hip_breadth", "buttock_depth", "chest_depth")
    assert max(p["waist_breadth"].max(), p["hip_breadth"].max()) <= 468
    assert max(p["waist_depth"].max(), p["buttock_depth"].max(), p["chest_depth"].max()) <= 385
    order = ("crotch_height", "iliac_crest_height", "chest_height", "suprasternal_height")
    assert all((p[low] < p[high]).all() for low, high in pairwise(order))


def test_the_waists_section_has_the_waists_girth() -> None:
    p = population()
    girth = waist_girth(p["waist_breadth"], p["waist_depth"]) / 10
    for low, high, most in ((16, 40, 0.1), (40, 44, 0.6)):
        some = (p["bmi"] > low) & (p["bmi"] < high)
        assert abs((girth - p["waist"])[some].mean()) < most
    circle = float(waist_girth(np.array([200.0]), np.array([200.0]))[0])
    assert 1.0 < circle / (200 * np.pi) < 1.04
