"""Tables of people: what their data dictionary says of codes, of the cohort, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from engine.cohort.dictionary import codes
from engine.cohort.sources.table import TableCohort, TableError
from engine.vocabulary.schema import Category


def people(folder: Path, about: Any, smoke: tuple[str, ...] = ("1", "2", "1.0", "02")) -> Path:
    """A table with a column of codes and one named Cohort, and its dictionary."""
    path = folder / "people.csv"
    lines = [f"p{i},{30 + i},{smoke[i % len(smoke)]},{'AB'[i % 2]}" for i in range(24)]
    path.write_text("participant_id,age,smoke,Cohort\n" + "\n".join(lines) + "\n")
    path.with_suffix(".json").write_text(json.dumps(about))
    return path


@pytest.mark.parametrize(
    "levels",
    [
        {"1": "never", "2": "former"},
        {"1": {"Description": "never"}, "2": {"Description": "former"}},
        ["1", "2"],
        [1, 2],
    ],
)
def test_codes_with_described_levels_are_a_category(levels: Any, tmp_path: Path):
    cohort = TableCohort.open(people(tmp_path, {"smoke": {"Levels": levels}}))
    assert cohort.flags == []
    column = cohort.schema["smoke"]
    assert isinstance(column, Category)
    assert column.levels == ("1", "2")
    assert [row["smoke"] for row in cohort.rows[:4]] == ["1", "2", "1", "2"]
    fitted = cohort.schema.fitted(cohort.rows)
    assert fitted.encode(cohort.rows)[1].all(), "every cell is known"


def test_a_sex_coded_by_numbers_keeps_its_codes(tmp_path: Path):
    path = people(tmp_path, {"sex": {"Levels": {"1": "male", "2": "female"}}})
    path.write_text(path.read_text().replace("smoke", "sex"))
    cohort = TableCohort.open(path)
    assert cohort.flags == []
    assert {row["sex"] for row in cohort.rows} == {"1", "2"}


def test_a_column_named_cohort_is_a_column(tmp_path: Path):
    said = {"Cohort": {"Description": "where they were seen", "Levels": {"A": "Aachen", "B": "Bonn"}}}
    cohort = TableCohort.open(people(tmp_path, said))
    assert cohort.meta["source_name"] == "people"
    assert cohort.schema["Cohort"].description == "where they were seen"


def test_without_such_a_column_cohort_describes_the_whole(tmp_path: Path):
    path = people(tmp_path, {"Cohort": {"Name": "Two towns", "License": "CC0"}})
    path.write_text(path.read_text().replace("Cohort", "town"))
    cohort = TableCohort.open(path)
    assert (cohort.meta["source_name"], cohort.meta["licence"]) == ("Two towns", "CC0")


@pytest.mark.parametrize(
    ("about", "sentence"),
    [
        ({"smoke": {"Levels": 3}}, "Levels of smoke is 3"),
        ({"age": {"Derived": {"powers": {"smoke": 1}}, "Maximum": []}}, r"Maximum of age is \[\]"),
    ],
)
def test_a_dictionary_that_cannot_be_used_is_refused_in_a_sentence(about: Any, sentence: str, tmp_path: Path):
    with pytest.raises(TableError, match=sentence):
        TableCohort.open(people(tmp_path, about, ("a", "b")))


def test_levels_are_objects_or_lists():
    assert codes({"a": {"Levels": {"1": "one", "2": {"TermURL": "x"}}}, "b": {"Units": "mm"}}) == {
        "a": {"1": "one", "2": "2"}
    }


def test_a_column_whose_range_is_no_number_is_left_out_and_that_is_said(tmp_path: Path):
    cohort = TableCohort.open(people(tmp_path, {"age": {"Minimum": "young"}}))
    assert cohort.flags == ["Minimum of age is 'young'; give a number or leave it out"]
    assert "age" not in cohort.schema.names
