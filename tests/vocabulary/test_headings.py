"""Headings: what is surely a well-known column is one, what only resembles one is not; units by their spelling."""

from __future__ import annotations

import pytest

from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.headings import named
from engine.vocabulary.units import UnitError, factor


@pytest.mark.parametrize(
    ("text", "name", "unit"),
    [
        ("Age", "age", ""),
        (" AGE ", "age", ""),
        ("age_years", "age", "years"),
        ("Age (months)", "age", "months"),
        ("Alter [Jahre]", "age", "jahre"),
        ("age_at_scan", "age", ""),
        ("Gender", "sex", ""),
        ("Geschlecht", "sex", ""),
        ("Größe (cm)", "height", "cm"),
        ("GROESSE", "height", ""),
        ("height_m", "height", "m"),
        ("Weight in kg", "weight", "kg"),
        ("weight.lbs", "weight", "lbs"),
        ("BMI (kg/m²)", "bmi", "kg/m²"),
        ("BMI [kg/m2]", "bmi", "kg/m2"),
        ("PatientID", "participant_id", ""),
    ],
)
def test_a_heading_that_can_mean_one_thing(text: str, name: str, unit: str):
    found, said = named([text, "other"], CATALOGUE)
    assert (found[text].name, found[text].unit.casefold()) == (name, unit)
    assert said[0].startswith(f"column {text} is taken as {name}")
    assert found["other"].name == "other"


@pytest.mark.parametrize(
    "text", ["age at death", "age of mother", "weight loss", "height_z", "sex partners", "stage", "m"]
)
def test_a_heading_that_only_resembles_one_is_left(text: str):
    found, said = named([text], CATALOGUE)
    assert (found[text].name, said) == (text, [])


def test_the_name_itself_goes_before_and_two_others_are_neither():
    found, said = named(["age", "Age", "Alter"], CATALOGUE)
    assert [found[text].name for text in ("age", "Age", "Alter")] == ["age", "Age", "Alter"]
    assert said == []
    found, said = named(["Gender", "SEX"], CATALOGUE)
    assert {one.name for one in found.values()} == {"Gender", "SEX"}
    assert said == ["columns Gender and SEX could each be sex, so neither is taken as it; rename one to sex"]


@pytest.mark.parametrize(
    ("name", "unit", "by"),
    [
        ("age", "yrs", 1),
        ("age", "mo", 1 / 12),
        ("age", "days", 1 / 365.25),
        ("height", "inch", 2.54),
        ("height", "[in_i]", 2.54),
        ("height", "mm", 0.1),
        ("weight", "g", 0.001),
        ("weight", "stone", 6.35029318),
        ("bmi", "kg/m2", 1),
        ("vat", "ml", 0.001),
        ("liver_volume", "L", 1000),
        ("age", "n/a", 1),
        ("sex", "whatever", 1),
    ],
)
def test_units(name: str, unit: str, by: float):
    assert factor(name, unit) == pytest.approx(by)


def test_a_unit_of_something_else_is_refused():
    for name, unit in (("age", "cm"), ("height", "kg"), ("bmi", "%"), ("weight", "N")):
        with pytest.raises(UnitError, match=f"{name} is counted in '{unit}'; give it in"):
            factor(name, unit)
