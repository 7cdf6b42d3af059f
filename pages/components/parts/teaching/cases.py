"""Persons worth showing, as links to Explore: each where a model's training range holds its values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import streamlit as st

from engine.vocabulary.schema import AttributeSchema, Category, Cell, Number
from pages.components.state.address import Request, seen_range


@dataclass(frozen=True, kw_only=True)
class Case:
    """A person by a few attributes, and what there is to see."""

    title: str
    text: str
    given: tuple[tuple[str, Cell], ...]
    seed: int = 0

    def request(self, model: str) -> Request:
        return Request(model=model, given=self.given, seed=self.seed)

    def fits(self, schema: AttributeSchema) -> bool:
        """Has the model all of its columns, and seen such values in training?"""
        columns = {column.name: column for column in schema.columns}
        return all(name in columns and _seen(columns[name], value) for name, value in self.given)


CASES = (
    Case(
        title="Frail, 82",
        text="Old age at a low weight.",
        given=(("age", 82), ("sex", "F"), ("bmi", 19.5)),
    ),
    Case(title="Young adult", text="The same seed at 25: compare with 75.", given=(("age", 25),), seed=7),
    Case(title="At 75", text="The same seed at 75: compare with 25.", given=(("age", 75),), seed=7),
    Case(
        title="Athlete",
        text="A man of 27 with little fat at a normal BMI.",
        given=(("age", 27), ("sex", "M"), ("bmi", 24.5), ("body_fat", 16.0)),
        seed=3,
    ),
    Case(
        title="Class III obesity",
        text="A BMI of 40: where does the fat lie, in a woman of 45?",
        given=(("age", 45), ("sex", "F"), ("bmi", 40.0)),
        seed=4,
    ),
    Case(
        title="Fatty liver",
        text="A liver of 18% fat: what goes with it in the cohort?",
        given=(("age", 55), ("sex", "M"), ("liver_pdff", 18.0)),
        seed=5,
    ),
)


def cases_of(schema: AttributeSchema) -> list[Case]:
    return [case for case in CASES if case.fits(schema)]


def case_links(name: str, cases: Sequence[Case]) -> None:
    """A link a case, each opening Explore with that person of model ``name``."""
    for case in cases:
        query = case.request(name).to_query()
        st.page_link(
            "pages/1_Explore.py", label=case.title, help=case.text, query_params=query, icon=":material/school:"
        )


def _seen(column: Number | Category, value: Cell) -> bool:
    if isinstance(column, Category):
        return value in column.levels
    low, high = seen_range(column)
    return isinstance(value, int | float) and low <= value <= high
