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


def people(column: str, texts: list[str]) -> list[dict[str, str]]:
    return [{"participant_id": str(i), column: text} for i, text in enumerate(texts)]


def test_none_among_words_is_a_level_and_among_numbers_is_said() -> None:
    rows, flags = parse_rows(people("smoking", ["none", "light", "None"]))
    assert [row["smoking"] for row in rows] == ["none", "light", "None"]
    assert all("taken as a level" in flag["reason"] for flag in flags)
    rows, flags = parse_rows(people("drinks", ["none", "2", "3"]))
    assert [row["drinks"] for row in rows] == [None, 2, 3]
    assert flags[0]["reason"].startswith("1 cell 'none' of drinks was taken as missing")


@pytest.mark.parametrize("mark", ["NA", "null", "-", "?"])
def test_a_mark_that_could_be_a_level_is_said_among_words(mark: str) -> None:
    rows, flags = parse_rows(people("country", [mark, "DE", "FR", mark]))
    assert [row["country"] for row in rows] == [None, "DE", "FR", None]
    assert flags == [
        {
            "participant_id": "the table",
            "reason": f"2 cells {mark!r} of country were taken as missing; describe it among the Levels if it is one",
        }
    ]
    rows, flags = parse_rows(people("country", [mark, "DE"]), {"country": {mark: "Namibia", "DE": "Germany"}})
    assert ([row["country"] for row in rows], flags) == ([mark, "DE"], [])
    assert parse_rows(people("score", [mark, "3"]))[1] == []


@pytest.mark.parametrize(
    ("texts", "mark"),
    [
        (["88", "101", "90", "95", "110", "84", "999"], "999"),
        (["0", "3", "1", "2", "5", "-9"], "-9"),
        (["0.5", "3", "1", "2", "5", "-999"], "-999"),
        (["0", "1", "1", "0", "1", "9", "9"], "9"),
        (["180", "240", "210", "400", "190", "9999.0"], "9999.0"),
    ],
)
def test_a_number_that_stands_for_missing_is_taken_so_and_said(texts: list[str], mark: str) -> None:
    rows, flags = parse_rows(people("value", texts))
    assert [row["value"] is None for row in rows] == [text == mark for text in texts]
    assert f"value {mark} lies far from every other value" in flags[0]["reason"]


@pytest.mark.parametrize(
    "texts",
    [
        ["700", "800", "950", "999", "990", "1200"],
        ["-9", "-4", "3", "2", "1", "0"],
        ["0", "1", "4", "6", "8", "9"],
        ["60", "70", "88", "99", "77", "66"],
    ],
)
def test_a_number_among_its_like_is_a_number(texts: list[str]) -> None:
    rows, flags = parse_rows(people("value", texts))
    assert (all(row["value"] is not None for row in rows), flags) == (True, [])


def test_a_sex_whose_m_may_be_a_woman_is_missing() -> None:
    rows, flags = parse_rows(people("sex", ["H", "M", "M"]))
    assert [row["sex"] for row in rows] == [None, None, None]
    assert "M may be a man or a woman" in flags[0]["reason"]
    rows, flags = parse_rows(people("sex", ["w", "m", "weiblich", "Männlich", "Frau"]))
    assert ([row["sex"] for row in rows], flags) == (["F", "M", "F", "M", "F"], [])


@pytest.mark.parametrize(("text", "years"), [("061Y", 61), ("61Y", 61), ("018M", 1.5), ("045", 45)])
def test_an_age_as_dicom_has_it(text: str, years: float) -> None:
    assert parse_cell("age", text, number=True) == (years, None)


@pytest.mark.parametrize("text", ["1_0", "٤٠", "0x20", "1e400", "40 y", "1965-03-02"])
def test_what_is_no_number_to_a_reader_is_none(text: str) -> None:
    assert parse_cell("age", text, number=True)[0] is None


def test_a_height_and_a_weight_in_other_units_are_found_by_their_bmi() -> None:
    rows, flags = parse_rows([{"participant_id": "a", "height": "70", "weight": "165"}])
    assert (rows[0]["height"], rows[0]["weight"]) == (None, None)
    assert "make a bmi of 337, outside 8 to 100; check their units" in flags[0]["reason"]


def test_a_level_in_other_letters_is_that_level() -> None:
    rows, _ = parse_rows(people("smoking", ["Never", "FORMER"]), {}, {"smoking": ("never", "former")})
    assert [row["smoking"] for row in rows] == ["never", "former"]


def test_what_a_dictionary_says_goes_before_the_letter() -> None:
    said = {"sex": {"M": "mujer", "H": "hombre"}}
    rows, flags = parse_rows(people("sex", ["M", "H", "M"]), said, {"sex": ("F", "M")})
    assert ([row["sex"] for row in rows], flags) == (["F", "M", "F"], [])
