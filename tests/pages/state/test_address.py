"""The page address: back and forth, and everything it may ask for in vain."""

from __future__ import annotations

import pytest

from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number
from pages.components.state.address import Request, read_query

KNOTS = tuple(20.0 + i for i in range(61))
SCHEMA = AttributeSchema(
    columns=(
        Number(name="age", unit="years", low=18, high=100, knots=KNOTS, scores=KNOTS),
        Category(name="sex", levels=("F", "M")),
        Number(name="height", unit="cm", low=120, high=220, knots=(150.2, 195.9), scores=(-2, 2)),
        Number(name="bmi", unit="kg/m²", low=12, high=70, knots=(17.3, 39.6), scores=(-2, 2)),
    ),
    derived=(Derived(name="weight", unit="kg", low=20, high=350, scale=1e-4, powers=(("bmi", 1.0), ("height", 2.0))),),
)


@pytest.mark.parametrize(
    "request_",
    [
        Request(model="tiny"),
        Request(model="tiny", given=(("age", 60), ("sex", "F"), ("bmi", 27.55)), seed=12, n=3, steps=20),
        Request(model="tiny", given=(("sex", "M"),), seed=2**31 - 1, n=8, steps=64),
    ],
)
def test_an_address_is_read_as_it_was_written(request_: Request):
    assert read_query(request_.to_query(), "tiny", SCHEMA) == (request_, [])


def test_absent_columns_are_free_and_order_does_not_matter():
    request, problems = read_query({"bmi": "30", "age": "44"}, "tiny", SCHEMA)
    assert (request, problems) == (Request(model="tiny", given=(("age", 44), ("bmi", 30.0))), [])


@pytest.mark.parametrize(
    ("query", "sentence"),
    [
        ({"age": "-3"}, "Age '-3' is not possible here: give 20 to 80 years, the range seen in training"),
        ({"bmi": "900"}, "BMI '900' is not possible here: give 17 to 40 kg/m², the range seen in training"),
        ({"age": "nan"}, "Age 'nan' is not possible"),
        ({"age": "95"}, "Age 95 lies outside what this model was trained on: give 20 to 80 years"),
        ({"sex": "X"}, "sex 'X' is unknown here: give one of F, M"),
        ({"weight": "80"}, "Weight is computed from BMI and Height: set those instead"),
        ({"shoe": "42"}, "there is no column 'shoe' here"),
        ({"seed": "1.5"}, "seed '1.5' is not possible here: give a whole number from 0"),
        ({"n": "9"}, "n '9' is not possible here: give a whole number from 1 to 8"),
        ({"steps": "0"}, "steps '0' is not possible here"),
        ({"model": "liver"}, "there is no model 'liver' here"),
    ],
)
def test_what_cannot_be_done_is_left_out_and_said(query: dict[str, str], sentence: str):
    request, problems = read_query({"sex": "F"} | query, "tiny", SCHEMA)
    assert len(problems) == 1
    assert problems[0].startswith(sentence)
    assert request.given == ((("sex", "F"),) if "sex" not in query else ())
