"""Who is taken: the grammar of pandas' query, what it refuses by name, and how it counts; over table, reports and headers."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import engine.cohort.ingest
from engine.__main__ import main
from engine.cohort.filter import FilterError, select
from engine.cohort.sources.dicom import read_dicom
from engine.cohort.sources.selected import Wanted, selected
from engine.cohort.store import CohortStore
from tests.cohort.heads import brain_of, made_up_head, write_dataset
from tests.imaging.dicom_files import series

ROWS = [
    {"participant_id": "a", "age": 50.0, "bmi": 22.0, "site": "Basel", "liver volume": 1500.0},
    {"participant_id": "b", "age": 30.0, "bmi": None, "site": "Bern", "liver volume": None},
    {"participant_id": "c", "age": None, "bmi": 31.0, "site": None, "liver volume": 1700.0},
]


@pytest.mark.parametrize(
    ("where", "taken"),
    [
        ("", "abc"),
        ("age >= 40", "a"),
        ("not age >= 40", "b"),  # of c nothing is known
        ("~(age >= 40)", "b"),
        ("30 <= age < 50", "b"),
        ("age >= 40 and bmi.notna()", "a"),
        ("age >= 40 or bmi > 30", "ac"),
        ("(age >= 40) | (bmi > 30)", "ac"),
        ("(age >= 40) & (bmi < 30)", "a"),
        ("bmi.isna()", "b"),
        ("site == 'Basel'", "a"),
        ("site != 'Basel'", "b"),
        ('site in ["Basel", "Bern"]', "ab"),
        ("site not in ('Basel',)", "b"),
        ("site.isin(['Bern'])", "b"),
        ("age in [30, 50]", "ab"),
        ("age.between(30, 40)", "b"),
        ("site.str.contains('B')", "ab"),
        ("site.str.contains('BA', case=False)", "a"),
        ("site.str.contains('.')", ""),  # a text, no pattern
        ("`liver volume` > 1600", "c"),
        ("bmi * 2 - 1 == 43", "a"),
        ("-age < -40", "a"),
        ("bmi / (age - 50) > 0", ""),  # no number is divided by nothing
        ("40 < age", "a"),
    ],
)
def test_an_expression_takes_whom_it_is_true_for(where: str, taken: str) -> None:
    found = select(ROWS, where)
    assert "".join(row["participant_id"] for row, one in zip(ROWS, found.taken, strict=True) if one) == taken


@pytest.mark.parametrize(
    ("where", "words"),
    [
        ("agee > 40", "did you mean age"),
        ("__import__('os').system('ls')", "cannot stand in an expression"),
        ("age.values", "cannot stand"),
        ("age.__class__", "cannot stand"),
        ("site.str.upper() == 'A'", "cannot stand"),
        ("@age > 3", "cannot be read"),
        ("age > ", "cannot be read"),
        ("age > 40; age", "cannot be read"),
        ("age = 40", "cannot be read"),
        ("(lambda: 1)()", "cannot stand"),
        ("[x for x in age]", "cannot stand"),
        ("age if bmi else bmi", "cannot stand"),
        ("age[0] > 1", "cannot stand"),
        ("f'{age}' == 'a'", "cannot stand"),
        ("age", "is no condition"),
        ("True", "True"),
        ("1 < 2", "says nothing of a person"),
        ("age > 'x'", "number with a text"),
        ("site in [1]", "number with a text"),
        ("site + 1 == 2", "is no number"),
        ("age is None", "is not known here|cannot stand"),
        ("age % 2 == 0", "not known here"),
        ("9 ** 9 ** 9 < age", "has no value"),
        ("1" + "0" * 400 + " < age", "too large"),
        ("site.str.contains('(a+)+$', regex=True)", "knows no regex"),
        ("age.between('a', 'b')", "write age.between"),
        ("(" * 300 + "age > 1" + ")" * 300, "cannot be read|parts"),
        ("age > 1 and " * 200 + "age > 1", "characters"),
    ],
)
def test_everything_else_is_refused_by_name(where: str, words: str) -> None:
    with pytest.raises(FilterError, match=words):
        select(ROWS, where)


@settings(max_examples=60, deadline=None)
@given(st.text("ab12 .()[]'\"`&|~<>=+-*/,@:ageinotd", max_size=40))
def test_any_text_is_taken_or_refused(where: str) -> None:
    with suppress(FilterError):
        assert len(select(ROWS, where).taken) == len(ROWS)


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(0, 100), min_size=1, max_size=8), st.floats(0, 100), st.floats(0, 100))
def test_complete_columns_are_chosen_as_pandas_does(ages: list[float], low: float, high: float) -> None:
    frame = pd.DataFrame({"age": ages, "bmi": ages[::-1]})
    for where in (f"age >= {low!r} and bmi < {high!r}", f"age.between({low!r}, {high!r}) or age - bmi > {low!r}"):
        expected = set(frame.query(where, engine="python").index)
        found = select(frame.to_dict("records"), where).taken
        assert {i for i, one in enumerate(found) if one} == expected


def test_conditions_are_counted_one_by_one() -> None:
    assert select(ROWS, "age >= 40 and `liver volume` > 1").lines() == [
        "1 of 3 persons fit",
        "  age >= 40: 1 of 3, unknown of 1",
        "  `liver volume` > 1: 2 of 3, unknown of 1",
    ]


def test_a_data_set_is_filtered_over_its_table_and_its_sidecars(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: brain_of)
    head = made_up_head()
    table = "participant_id\tage\tsite\nsub-a\t40\tA\nsub-b\t50\tA\nsub-c\t60\tB\n"
    root = write_dataset(tmp_path / "data", {"sub-a": head, "sub-b": head, "sub-c": head}, table)
    for name, maker in (("sub-a", "SIEMENS"), ("sub-b", "GE"), ("sub-c", "SIEMENS")):
        (root / name / "anat" / f"{name}_T1w.json").write_text(json.dumps({"Manufacturer": maker, "EchoTime": 0.003}))
    where = "age >= 45 and manufacturer == 'SIEMENS' and echo_time < 4"
    command = ["ingest", str(root), str(tmp_path / "store"), "--recipe", "tiny", "--where", where]
    assert main([*command, "--columns", "age,manufacturer", "--series", "T1w"]) == 0
    said = capsys.readouterr().out
    assert "1 of 3 persons fit" in said
    assert "manufacturer == 'SIEMENS': 2 of 3" in said
    assert CohortStore.open(tmp_path / "store").rows == [
        {"participant_id": "sub-c", "age": 60.0, "manufacturer": "SIEMENS"}
    ]
    for more, words in (
        (["--where", "age > 99"], "nobody fits"),
        (["--columns", "series_description"], "free text"),
        (["--columns", "iq"], "no column 'iq'"),
    ):
        assert main(["ingest", str(root), str(tmp_path / "other"), "--recipe", "tiny", *more]) == 2
        assert words in capsys.readouterr().err
    assert main(["ingest", str(root), "--recipe", "tiny", "--check", "--json", "--series", "T2"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["taken"] == 0
    assert "has no 'T2' in its name" in " ".join(note["reason"] for note in found["notes"])


def test_a_dicom_cohort_is_filtered_over_its_headers(tmp_path: Path) -> None:
    for patient, maker, age in (("1", "SIEMENS", "050Y"), ("2", "GE", "040Y")):
        for words, grid in (("T1 mprage", (12, 14, 16)), ("flair", (12, 14, 20))):
            for i, image in enumerate(series(made_up_head(grid=grid, spacing=16.0))):
                image.PatientID, image.Manufacturer, image.PatientAge = patient, maker, age
                image.SeriesDescription = words
                image.save_as(tmp_path / f"{patient}-{words[:2]}-{i}.dcm", enforce_file_format=True)
    data = selected(read_dicom(tmp_path), Wanted(where="manufacturer == 'GE' and age < 45"))
    assert [row["participant_id"] for row in data.rows] == ["sub-0002"]
    assert data.scan(0)[0].grid == (12, 14, 20)  # the largest of all
    chosen = selected(read_dicom(tmp_path, series="mprage"), Wanted(where="series_description.str.contains('T1')"))
    assert len(chosen.rows) == 2
    assert chosen.scan(0)[0].grid == (12, 14, 16)
