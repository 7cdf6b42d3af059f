"""The rows beside a scan, and the few words that tell people apart."""

from __future__ import annotations

import pytest

from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number
from pages.components.state.person_table import person_rows, summary


def test_rows_say_what_was_given_sampled_and_derived():
    schema = AttributeSchema(
        columns=(
            Number(name="age", unit="years", low=18, high=100),
            Category(name="sex", levels=("F", "M")),
            Number(name="height", unit="cm", low=120, high=220),
            Number(name="bmi", unit="kg/m2", low=12, high=70),
        ),
        derived=(
            Derived(name="weight", unit="kg", low=20, high=350, scale=1e-4, powers=(("bmi", 1.0), ("height", 2.0))),
        ),
    ).fitted([{"age": 20 + i, "sex": "FM"[i % 2], "height": 150 + i, "bmi": 20 + i / 4} for i in range(60)])
    attributes = {"age": 49.5, "sex": "F", "height": 171.23, "bmi": None, "weight": None}
    rows = {row["name"]: row for row in person_rows(schema, attributes, {"age": 49.5})}
    assert list(rows) == ["age", "sex", "height", "bmi", "weight"]
    assert [row["origin"] for row in rows.values()] == ["given", "sampled", "sampled", "sampled", "derived"]
    assert (rows["age"]["value"], rows["age"]["unit"]) == ("49.5", "years")
    assert rows["age"]["percentile"] == pytest.approx(50, abs=1)
    assert rows["sex"]["value"] == "female"
    assert (rows["height"]["value"], rows["bmi"]["value"], rows["bmi"]["unit"]) == ("171.2", "missing", "kg/m²")
    assert rows["bmi"]["percentile"] is None
    assert summary(attributes) == "female, 49"
