"""What is given is what the table counts: of every column alone and of several together, on any body."""

from __future__ import annotations

import math
from collections.abc import Mapping
from itertools import combinations

import pytest
import torch

from engine.phantom.anthropometry import COUNTED_RANGES, LEVELS, RANGES, People, PhantomError, sample_people
from engine.phantom.given.counted import COUNTED, TOLERANCE
from engine.phantom.given.fitting import BODIES, fit
from engine.phantom.torsos import COLUMNS, make

#: how the table rounds what is not counted; weight is that of the rounded height and BMI
ROUNDED = {"age": 0.05, "height": 0.05, "bmi": 0.005, "weight": 0.1, "body_fat": 0.05, "liver_pdff": 0.005}
#: a value for every column that can be given
ALONE: dict[str, float | str] = {
    "age": 61.3, "sex": "F", "ethnicity": "south_asian", "smoking": "former", "height": 171.2, "bmi": 29.31,
    "weight": 77.4, "waist": 93.5, "body_fat": 31.4, "sat": 8.0, "vat": 3.5, "muscle": 32.0, "liver_volume": 1700.0,
    "liver_pdff": 7.25,
}  # fmt: skip


def stand_in(people: People) -> dict[str, float]:
    """Counts of a body that nobody draws: smooth, and each depends on several things."""
    person = {name: float(value[0]) for name, value in vars(people).items() if isinstance(value, torch.Tensor)}
    dims = {name: float(value[0]) for name, value in people.dims.items()}
    chest, hips = dims["chest_breadth"] * dims["chest_depth"], dims["hip_breadth"] * dims["buttock_depth"]
    flesh = (chest + hips + 0.3 * dims["thigh_girth"] ** 2) * person["height"] / 1.9e6
    contents = person["vat"] + person["liver"] / 1000 + 0.36 * float(people.traits["bowel_volume"][0])
    return {
        "sat": 1.1 * person["trunk_sat"] + 0.01 * dims["thigh_girth"] - 3 + 0.05 * person["trunk_sat"] ** 1.2,
        "vat": 1.1 * person["vat"] - 0.15,
        "muscle": 0.6 * flesh + 0.3 * person["muscle"] - 0.3 * person["trunk_sat"] + 0.02 * person["waist"],
        "liver_volume": 0.97 * person["liver"],
        "waist": 0.4 * person["waist"] + 40 + 1.5 * contents + 0.8 * person["trunk_sat"],
    }


def off(found: Mapping[str, float], given: Mapping[str, float | str]) -> dict[str, float]:
    """By how many tolerances each given value is missed."""
    return {
        name: abs(found[name] - float(value)) / TOLERANCE[name] for name, value in given.items() if name in TOLERANCE
    }


def test_every_column_of_the_table_can_be_given() -> None:
    givable = {*LEVELS, *RANGES}
    assert givable == set(ALONE)
    assert set(TOLERANCE) == set(COUNTED) < givable
    columns = {*COLUMNS, "age", "sex", "height", "bmi", "weight"} - {"quality", "seed"}
    assert columns <= givable
    assert set(COUNTED_RANGES) <= set(COUNTED)


@pytest.mark.parametrize(
    ("sex", "bmi"),
    [
        pytest.param("F", 19.0, marks=pytest.mark.slow),
        ("F", 36.0),
        ("M", 21.0),
        pytest.param("M", 35.0, marks=pytest.mark.slow),
    ],
)
def test_any_subset_of_what_is_counted_is_met(sex: str, bmi: float) -> None:
    """The counts of one person asked of another, for all 31 subsets."""
    roots: dict[str, float | str] = {"sex": sex, "bmi": bmi}
    truth = stand_in(sample_people([11], roots))
    for size in range(1, len(COUNTED) + 1):
        for names in combinations(COUNTED, size):
            given = roots | {name: truth[name] for name in names}
            people = fit([500 + size], given, stand_in)
            assert max(off(stand_in(people), given).values()) <= 1, names
            assert people.sex == (sex,)
            assert float(people.bmi[0]) == pytest.approx(bmi, rel=1e-6)


def test_without_a_counted_value_nobody_is_drawn() -> None:
    def never(people: People) -> dict[str, float]:
        raise AssertionError("a body was drawn")

    for given in (None, {"sex": "M", "bmi": 31.0, "body_fat": 30.0, "liver_pdff": 9.0}, {"weight": 70.0}):
        found, expected = fit([3, 4], given, never), sample_people([3, 4], given)
        for name in ("age", "bmi", "vat", "trunk_sat", "muscle", "liver", "waist", "liver_pdff", "imat"):
            assert torch.equal(getattr(found, name), getattr(expected, name)), name
        assert all(torch.equal(found.dims[name], expected.dims[name]) for name in found.dims)
        assert all(torch.equal(found.traits[name], expected.traits[name]) for name in found.traits)


def test_a_fitted_person_depends_on_no_company_and_few_bodies() -> None:
    each: list[dict] = [{}, {"muscle": 22.0, "sat": 14.0}, {"waist": 99.0, "sex": "F"}, {"vat": 4.0}]
    drawn: list[int] = []

    def counting(people: People) -> dict[str, float]:
        drawn.extend(people.seeds)
        return stand_in(people)

    together = fit([7, 8, 9, 10], each, counting)
    for i, given in enumerate(each):
        alone = fit([7 + i], given, stand_in)
        assert torch.equal(alone.trunk_sat[0], together.trunk_sat[i])
        assert torch.equal(alone.dims["chest_depth"][0], together.dims["chest_depth"][i])
        assert torch.equal(alone.traits["bowel_volume"][0], together.traits["bowel_volume"][i])
    assert drawn.count(7) == 0
    assert max(drawn.count(seed) for seed in (8, 9, 10)) <= BODIES / 2


@pytest.mark.slow
def test_the_rest_of_the_person_fits_what_is_given() -> None:
    """Much subcutaneous fat means a high BMI, and more often a woman; much muscle a man."""
    plain = sample_people(range(40))
    fat, strong = fit(range(40), {"sat": 30.0}, stand_in), fit(range(40), {"muscle": 30.0}, stand_in)
    assert float(fat.bmi.mean()) > float(plain.bmi.mean()) + 3
    assert float(fat.male.mean()) < float(plain.male.mean()) < float(strong.male.mean())


def test_what_no_body_shows_is_refused_with_what_is_possible() -> None:
    with pytest.raises(PhantomError, match=r"sat 40 with bmi 18 .* much lower sat, about \d+(\.\d)? at most"):
        make([9], {"sat": 40, "bmi": 18})
    with pytest.raises(PhantomError, match=r"waist 62 with bmi 44 .* much higher waist, about"):
        make([9], {"waist": 62, "bmi": 44})
    with pytest.raises(
        PhantomError, match="muscle 22 is not a possible body of this seed: the nearest has muscle 17, so"
    ):
        fit([9], {"muscle": 22.0}, lambda people: stand_in(people) | {"muscle": 17.0})
    with pytest.raises(PhantomError, match="sat 70 is not possible here: give a number from"):
        make([9], {"sat": 70})
    with pytest.raises(PhantomError, match="waist 90 is not a possible body of this seed"):
        fit([9], {"waist": 90.0}, lambda people: stand_in(people) | {"waist": math.nan})


# on the body as it is drawn


@pytest.mark.parametrize("column", ALONE)
def test_a_column_given_alone_is_what_the_table_says(column: str) -> None:
    row = make([1], {column: ALONE[column]})[0].row
    if column in LEVELS:
        assert row[column] == ALONE[column]
    else:
        near = TOLERANCE.get(column) or ROUNDED[column]
        assert row[column] == pytest.approx(ALONE[column], abs=near + 1e-9)


@pytest.mark.parametrize(
    "given",
    [
        {"muscle": 32.0, "sat": 8.0},
        pytest.param({"sex": "F", "bmi": 20.0, "waist": 72.0, "muscle": 15.0}, marks=pytest.mark.slow),
        pytest.param({"sex": "M", "bmi": 36.0, "waist": 118.0, "vat": 7.0}, marks=pytest.mark.slow),
        {
            "sex": "M", "ethnicity": "white", "smoking": "never", "age": 40.0, "height": 180.0, "bmi": 26.0,
            "waist": 95.0, "body_fat": 24.0, "sat": 12.0, "vat": 3.5, "muscle": 25.0, "liver_volume": 1600.0,
            "liver_pdff": 4.0,
        },
        pytest.param({"sex": "F", "bmi": 36.0, "sat": 34.0, "liver_volume": 1900.0}, marks=pytest.mark.slow),
        pytest.param({"sex": "F", "bmi": 31.0, "waist": 100.0, "vat": 3.0, "muscle": 19.0}, marks=pytest.mark.slow),
        pytest.param({"sex": "M", "bmi": 21.0, "sat": 6.0, "vat": 1.5}, marks=pytest.mark.slow),
        pytest.param({"vat": 0.3, "liver_volume": 1100.0}, marks=pytest.mark.slow),
        pytest.param({"waist": 135.0, "body_fat": 38.0}, marks=pytest.mark.slow),
        pytest.param({"weight": 77.0, "muscle": 22.0, "liver_pdff": 5.5}, marks=pytest.mark.slow),
        pytest.param({"sex": "F", "muscle": 11.0}, marks=pytest.mark.slow),
    ],
)  # fmt: skip
def test_columns_given_together_are_what_the_table_says(given: dict[str, float | str]) -> None:
    row = make([12], given)[0].row
    assert max(off(row, given).values()) <= 1 + 1e-9
    for name, near in ROUNDED.items():
        assert name not in given or row[name] == pytest.approx(given[name], abs=near + 1e-9)
    assert all(row[name] == given[name] for name in LEVELS if name in given)
