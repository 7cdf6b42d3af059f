"""A cohort looked at: who passes filters, and what the table and the plots say of them."""

from __future__ import annotations

import numpy as np
import pytest

from engine.figures.cohort import bins, cohort_shares, histogram_figure, scatter_figure, shares_figure
from engine.vocabulary.schema import AttributeSchema, Category, Derived, Number
from pages.components.population.filters import Filters, in_one_line, narrowed, span, table_of

AGE = Number(name="age", unit="years", low=0, high=100, knots=(20.0, 40.0, 80.0), scores=(-1.0, 0.0, 1.0), decimals=0)
SEX = Category(name="sex", levels=("F", "M"))
SMOKES = Category(name="smokes", levels=("never", "ever"), ordered=True, shares=(0.75, 0.25))
HEIGHT = Number(name="height", unit="cm", low=100, high=220, knots=(150.0, 170.0, 190.0), scores=(-1.0, 0.0, 1.0))
BMI = Number(name="bmi", unit="kg/m2", low=10, high=60, knots=(18.0, 25.0, 36.0), scores=(-1.0, 0.0, 1.0))
WEIGHT = Derived(
    name="weight", unit="kg", low=20, high=350, scale=1e-4, powers=(("bmi", 1.0), ("height", 2.0)), description=""
)
SCHEMA = AttributeSchema(columns=(AGE, SEX, SMOKES, HEIGHT, BMI), derived=(WEIGHT,))
ROWS = [
    {"age": age, "sex": sex, "smokes": "never", "height": 170.0, "bmi": 20.0 + i, "weight": 60.0 + i}
    for i, (age, sex) in enumerate([(30, "F"), (40, "M"), (50, "F"), (60, "M"), (None, "F")])
]


def test_filters_keep_those_whose_every_cell_passes():
    assert Filters().kept(ROWS) == [0, 1, 2, 3, 4]
    assert Filters(ranges={"age": (40, 60)}).kept(ROWS) == [1, 2, 3], "ends belong to it, a missing cell does not"
    assert Filters(ranges={"age": (None, 50)}, levels={"sex": ("F",)}).kept(ROWS) == [0, 2]
    assert Filters(levels={"sex": ("F", "M")}).kept(ROWS) == [0, 1, 2, 3, 4]
    assert (narrowed((20, 80), (20, 80)), narrowed((20, 80), (30, 80))) == (None, (30, None))
    assert span(SCHEMA, AGE) == (20.0, 80.0)
    assert span(SCHEMA, WEIGHT) == (40.0, 130.0), "18 kg/m2 at 150 cm, 36 at 190 cm"


def test_the_table_and_the_one_line_say_what_is_there():
    table = table_of(SCHEMA, ROWS, [1, 2], 100)
    assert list(table.columns) == ["seed", *SCHEMA.names]
    assert table[["seed", "age", "sex", "weight"]].to_numpy().tolist() == [
        [101, 40, "male", 61],
        [102, 50, "female", 62],
    ]
    assert in_one_line(AGE, ROWS) == "n 4, mean 45.0, SD 12.9 years (training cohort: median 40.0)"
    assert in_one_line(SEX, ROWS) == "n 5: female 3 (60 %), male 2 (40 %)"
    assert in_one_line(WEIGHT, ROWS) == "n 5, mean 62.0, SD 1.6 kg"


def test_histograms_stand_on_the_fitted_distribution():
    """A column fitted to 4000 numbers has in every bin the part of them that lies there, atoms too."""
    rng = np.random.default_rng(0)
    values = np.append(rng.normal(50, 8, 3000), np.full(1000, 30.0)).clip(0, 100)
    column = Number(name="x", unit="", low=0, high=100).fitted(values.tolist())
    edges = bins(column, [])
    assert len(set(np.diff(edges).round(9))) == 1
    expected = np.histogram(values, edges)[0] / 4000
    np.testing.assert_allclose(cohort_shares(column, edges), expected, atol=0.01)
    assert cohort_shares(column, edges).max() > 0.24, "the quarter that shares a value"
    figure = histogram_figure(AGE, ROWS, "Age")
    synthetic, real = figure.data
    assert (sum(synthetic.y), sum(synthetic.customdata[:, 2])) == (pytest.approx(100), 4)
    assert set(np.diff(bins(AGE, [])).tolist()) == {5.0}, "whole numbers wide"
    assert len(histogram_figure(WEIGHT, ROWS, "Weight").data) == 1, "of a computed column nothing is known"
    assert real.y.max() > 5


def test_shares_and_points_are_those_of_the_rows():
    synthetic, real = shares_figure(SMOKES, ROWS, "Smokes", {}).data
    assert (list(synthetic.y), list(real.y)) == ([100, 0], [75, 25])
    women, men = scatter_figure(
        ("age", "sex"), ROWS, range(5), ("", ""), by="sex", words={"F": "female", "M": "male"}
    ).data
    assert (women.name, list(women.x), list(women.y), list(women.customdata)) == (
        "Female",
        [30, 50],
        ["female"] * 2,
        [0, 2],
    )
    assert (men.name, list(men.customdata), men.marker.symbol != women.marker.symbol) == ("Male", [1, 3], True)
