"""The catalogue: one table that reading, writing, models and pages agree on."""

from __future__ import annotations

import pytest
from pydicom.datadict import tag_for_keyword

from engine.phantom.regressions import SMOKING
from engine.training.recipes import BODY, HEART_COLUMNS, PERSON, WEIGHT
from engine.vocabulary.catalogue import CATALOGUE, SEXES, end_systolic_volume
from engine.vocabulary.columns import Category, Number
from engine.vocabulary.refusal import RequestError


def test_every_column_of_the_recipes_is_in_it_with_its_unit_and_range():
    for column in (*PERSON, *BODY, *HEART_COLUMNS, WEIGHT, end_systolic_volume()):
        variable = CATALOGUE[column.name]
        assert column.description == variable.description
        if not isinstance(column, Category):
            assert (column.unit, (column.low, column.high)) == (variable.unit, variable.possible)
    assert {
        column.name for column in (*PERSON, *BODY, *HEART_COLUMNS, WEIGHT, end_systolic_volume())
    } == CATALOGUE.keys()


def test_what_is_possible_for_a_model_is_plausible_in_a_table():
    for variable in CATALOGUE.values():
        if variable.plausible and variable.possible:
            assert variable.plausible[0] <= variable.possible[0] < variable.possible[1] <= variable.plausible[1]


def test_levels_are_those_of_the_phantom_and_sexes_are_read_in_words():
    assert tuple(CATALOGUE["smoking"].levels) == SMOKING
    assert SEXES == {"m": "M", "male": "M", "f": "F", "female": "F"}


@pytest.mark.parametrize("name", [name for name, variable in CATALOGUE.items() if variable.dicom])
def test_dicom_knows_the_attributes(name: str):
    assert tag_for_keyword(str(CATALOGUE[name].dicom)) is not None


def test_a_number_and_a_category_are_made_of_it():
    assert CATALOGUE["bmi"].number() == Number(name="bmi", unit="kg/m²", low=12, high=70, description="body mass index")
    assert CATALOGUE["bmi"].bids() == {"Description": "body mass index", "Units": "kg/m^2"}
    assert CATALOGUE["sex"].bids()["Levels"] == {"M": "male", "F": "female"}
    with pytest.raises(RequestError, match="sex is no number"):
        CATALOGUE["sex"].number()
