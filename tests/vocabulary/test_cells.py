"""Cells: missing stays missing, impossible is reported with its value, nothing is repaired in silence."""

from __future__ import annotations

import pytest

from engine.vocabulary.cells import parse_cell, parse_rows, spellings


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


@pytest.mark.parametrize("text", ["1", "1.0", "01", " 1 "])
def test_a_code_may_be_written_as_any_form_of_its_number(text: str) -> None:
    rows, flags = parse_rows(
        [{"participant_id": "a", "smoke": text}, {"participant_id": "b", "smoke": "2"}],
        {"smoke": {"1": "never", "2": "former"}},
    )
    assert [row["smoke"] for row in rows] == ["1", "2"]
    assert flags == []


def test_a_code_becomes_the_level_that_its_words_name() -> None:
    said = {"sex": {"1": "Male", "2": "Female"}, "smoking": {"0": "Never", "1": "Former"}}
    wanted = {"sex": ("M", "F"), "smoking": ("never", "former", "current")}
    cells = [
        {"participant_id": "a", "sex": "1", "smoking": "0"},
        {"participant_id": "b", "sex": "female", "smoking": "current"},
        {"participant_id": "c", "sex": "3", "smoking": "7"},
    ]
    rows, flags = parse_rows(cells, said, wanted)
    assert [(row["sex"], row["smoking"]) for row in rows] == [("M", "never"), ("F", "current"), (None, "7")]
    assert [flag["reason"][:16] for flag in flags] == ["sex '3' is not M"]
    assert spellings(cells, rows, wanted)["sex", "F"] == "female"


def test_a_described_level_is_no_missing_cell() -> None:
    rows, _ = parse_rows([{"participant_id": "a", "smoking": "none"}], {"smoking": {"none": "never smoked"}})
    assert rows[0]["smoking"] == "none"
