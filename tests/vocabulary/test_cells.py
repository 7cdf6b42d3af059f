"""Cells: missing stays missing, impossible is reported with its value, nothing is repaired in silence."""

from __future__ import annotations

import pytest

from engine.vocabulary.cells import parse_cell, parse_rows


@pytest.mark.parametrize("text", ["n/a", "N/A", "", "nan", " NaN ", "NULL"])
@pytest.mark.parametrize("column", ["age", "sex", "ethnicity"])
def test_missing_is_none_and_no_fault(text: str, column: str) -> None:
    assert parse_cell(column, text, number=column == "age") == (None, None)


@pytest.mark.parametrize(
    ("column", "text", "words"),
    [
        ("age", "-3", "age -3 lies outside 0 to 120 years"),
        ("bmi", "900", "bmi 900 lies outside 8 to 100"),
        ("height", "1.75", "height 1.75 lies outside 40 to 250 cm"),
        ("weight", "heavy", "weight 'heavy' is not a number"),
        ("age", "inf", "age 'inf' is not a number"),
        ("sex", "X", "sex 'X' is not M or F"),
    ],
)
def test_impossible_cells_are_named_with_a_remedy(column: str, text: str, words: str) -> None:
    value, reason = parse_cell(column, text, number=column != "sex")
    assert value is None
    assert reason is not None
    assert words in reason
    assert "correct the cell or leave it n/a" in reason


def test_sexes_in_words() -> None:
    assert [parse_cell("sex", text, number=False)[0] for text in ("M", "f", "Female", "MALE")] == ["M", "F", "F", "M"]


def test_columns_are_numbers_when_all_their_cells_are() -> None:
    rows, flags = parse_rows(
        [
            {"participant_id": "1", "age": "40", "score": "3.5", "site": "1a"},
            {"participant_id": "2", "age": "n/a", "score": "n/a", "site": "2"},
        ]
    )
    assert rows == [
        {"participant_id": "1", "age": 40.0, "score": 3.5, "site": "1a"},
        {"participant_id": "2", "age": None, "score": None, "site": "2"},
    ]
    assert flags == []


def test_a_bmi_that_contradicts_height_and_weight_is_set_missing() -> None:
    rows, flags = parse_rows([{"participant_id": "a", "height": "200", "weight": "80", "bmi": "35"}])
    assert rows[0]["bmi"] is None
    assert rows[0]["height"] == 200
    assert "bmi 35 does not follow from 200 cm and 80 kg, which give 20.0" in flags[0]["reason"]
