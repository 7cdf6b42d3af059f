"""Laws of the table's code: round trip with missing cells, normal scores, simplex, identities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from engine.training.recipes import ETHNICITIES, head_t1
from engine.vocabulary.catalogue import CATALOGUE, end_systolic_volume
from engine.vocabulary.schema import AttributeSchema, AttributeValueError, Category, Number, Row


def people(n: int, seed: int = 0) -> list[Row]:
    rng = np.random.default_rng(seed)
    rows: list[Row] = []
    for i in range(n):
        row: Row = {
            "age": float(np.round(rng.uniform(20, 80), 1)),
            "sex": "FM"[i % 2],
            "height": float(np.round(rng.normal(170, 9))),
            "bmi": float(18 + rng.gamma(4, 2)),
            "ethnicity": ETHNICITIES[int(rng.integers(5))],
        }
        for name in list(row):
            if rng.random() < 0.15:
                row[name] = None
        rows.append(row)
    return rows


@pytest.fixture(scope="module")
def schema() -> AttributeSchema:
    return head_t1().schema.fitted(people(400))


def test_round_trip_keeps_every_present_cell_and_marks_every_missing_one(schema: AttributeSchema) -> None:
    rows = people(200, seed=1)
    state, known = schema.encode(rows)
    decoded = schema.decode(state)
    for i, row in enumerate(rows):
        for k, column in enumerate(schema.columns):
            assert known[i, k] == (row[column.name] is not None)
            if row[column.name] is None:
                assert not state[i, k].any()
            elif isinstance(column, Number):
                assert decoded[i][column.name] == pytest.approx(row[column.name], abs=2e-4 * (column.high - column.low))
            else:
                assert decoded[i][column.name] == row[column.name]


def test_numbers_become_standard_normal() -> None:
    rows: list[Row] = [{"x": float(v)} for v in np.random.default_rng(0).exponential(3, 4000)]
    column = AttributeSchema(columns=(Number(name="x", unit="", low=0, high=1000),)).fitted(rows)
    scores = column.encode(rows)[0][:, 0, 0]
    inside = scores[np.abs(scores) < 1.9]
    assert abs(np.median(scores)) < 0.03
    assert kstest(inside, lambda z: np.clip((_phi(z) - _phi(-1.9)) / (_phi(1.9) - _phi(-1.9)), 0, 1)).pvalue > 0.01


def _phi(z: float | np.ndarray) -> np.ndarray:
    from scipy.special import ndtr

    return np.asarray(ndtr(z))


def test_ties_and_two_values_still_make_a_monotone_code() -> None:
    rows: list[Row] = [{"x": float(v)} for v in [1] * 50 + [2] * 30 + [7]]
    column = AttributeSchema(columns=(Number(name="x", unit="", low=0, high=10),)).fitted(rows)
    scores = column.encode([{"x": v} for v in (0.5, 1.0, 1.5, 2.0, 7.0, 9.0)])[0][:, 0, 0]
    assert (np.diff(scores) > 0).all()


@pytest.mark.parametrize("levels", [2, 3, 5])
def test_category_codes_are_a_regular_simplex(levels: int) -> None:
    codes = Category(name="c", levels=tuple("abcdefg"[:levels])).codes
    assert codes.shape == (levels, levels - 1)
    assert np.allclose(codes.mean(0), 0)
    assert np.allclose((codes**2).mean(0), 1)
    distances = np.linalg.norm(codes[:, None] - codes[None], axis=-1)[np.triu_indices(levels, 1)]
    assert np.allclose(distances, distances[0])


def test_any_two_of_height_weight_bmi_determine_the_third(schema: AttributeSchema) -> None:
    whole = {"height": 180.0, "bmi": 25.0, "weight": 81.0}
    assert schema.resolve({"height": 180.0, "weight": 81.0})["bmi"] == pytest.approx(25)
    assert schema.resolve({"bmi": 25.0, "weight": 81.0})["height"] == pytest.approx(180)
    assert schema.resolve(whole) == whole
    assert schema.decode(schema.encode([{"height": 180.0, "bmi": 25.0}])[0], [{"height": 180.0, "bmi": 25.0}])[0][
        "weight"
    ] == pytest.approx(81)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"weight": 80.0}, "give bmi or height"),
        ({"height": 180.0, "bmi": 40.0, "weight": 81.0}, "contradicts"),
        ({"height": 120.0, "weight": 300.0}, "bmi 208"),
        ({"age": float("inf")}, "age inf"),
        ({"age": "old"}, "age 'old'"),
        ({"sex": "X"}, "F, M"),
        ({"Age": 3}, "no column 'Age'"),
    ],
)
def test_impossible_rows_are_refused_with_the_remedy(schema: AttributeSchema, given: Row, words: str) -> None:
    with pytest.raises(AttributeValueError, match=words):
        schema.resolve(given)


def test_schema_survives_json(schema: AttributeSchema) -> None:
    assert AttributeSchema.from_json(schema.to_json()) == schema
    with pytest.raises(AttributeValueError, match="not readable"):
        AttributeSchema.from_json({"columns": [{"kind": "number", "colour": 1}], "derived": []})


def test_an_empty_column_is_refused() -> None:
    with pytest.raises(AttributeValueError, match="column age has 0 distinct"):
        head_t1().schema.fitted([{"sex": "F"}])


def test_a_factor_may_be_what_is_left_of_a_whole() -> None:
    columns = (CATALOGUE["lv_edv"].number(), CATALOGUE["lv_ef"].number())
    hearts = AttributeSchema(columns=columns, derived=(end_systolic_volume(),))
    assert hearts.resolve({"lv_edv": 150.0, "lv_esv": 60.0})["lv_ef"] == pytest.approx(60)
    assert hearts.resolve({"lv_ef": 60.0, "lv_esv": 60.0})["lv_edv"] == pytest.approx(150)
    assert hearts["lv_esv"].value({"lv_edv": 150.0, "lv_ef": 60.0}) == pytest.approx(60)
    with pytest.raises(AttributeValueError, match="contradicts"):
        hearts.resolve({"lv_edv": 150.0, "lv_ef": 60.0, "lv_esv": 80.0})
    assert AttributeSchema.from_json(hearts.to_json()) == hearts
