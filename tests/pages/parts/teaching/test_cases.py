"""Teaching cases lie within what a model was trained on, and their links ask for just them."""

from __future__ import annotations

import engine
from engine.vocabulary.schema import AttributeSchema, Category, Number
from pages.components.parts.teaching.cases import CASES, cases_of
from pages.components.state.address import read_query


def test_every_case_offered_is_a_request_that_can_be_met() -> None:
    schema = engine.load("head-t1", "cpu").schema
    offered = cases_of(schema)
    assert {"Young adult", "At 75"} <= {case.title for case in offered}
    for case in offered:
        request, problems = read_query(case.request("head-t1").to_query(), "head-t1", schema)
        assert problems == []
        assert dict(request.given) == dict(case.given)
        assert request.seed == case.seed


def test_a_case_beyond_the_training_range_is_not_offered() -> None:
    ages = Number(name="age", unit="years", low=18, high=100, knots=(20.0, 50.0, 80.0), scores=(-2.0, 0.0, 2.0))
    schema = AttributeSchema(columns=(ages, Category(name="sex", levels=("F", "M"))))
    assert [case.title for case in cases_of(schema)] == ["Young adult", "At 75"]
    assert len({case.title for case in CASES}) == len(CASES)
