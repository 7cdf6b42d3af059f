"""Tables as strangers write them: each cell right, or a sentence that names it; nothing taken in a unit that nobody says."""

from __future__ import annotations

import io
from pathlib import Path

import pytest
from openpyxl import Workbook

from engine.cohort.sources.folder import read_folder
from engine.cohort.sources.table import TableError, proposed_plan, read_named, typed_rows
from engine.vocabulary.catalogue import CATALOGUE


def read(path: Path, text: str) -> tuple[dict[str, list], str]:
    """The columns of a table that is to be stored, and all that is said of it."""
    path.write_text(text, "utf-8")
    table = read_named(path, CATALOGUE, stored=True)
    rows, flags = typed_rows(table.rows, table)
    columns = {name: [row.get(name) for row in rows] for name in rows[0]}
    return columns, "; ".join([*table.notes, *(flag["reason"] for flag in flags)])


def of(name: str, *cells: str) -> str:
    return f"participant_id,{name}\n" + "".join(f"s{i},{cell}\n" for i, cell in enumerate(cells, 1))


@pytest.mark.parametrize(
    ("name", "cells", "values"),
    [
        ("age", ("62Y", "45", "018M"), [62, 45, 1.5]),
        ("height", ("170 cm", "1.75m", "70 in"), [170, 175, 177.8]),
        ("weight", ("70 kg", "80kg", "150 lb"), [70, 80, 68.04]),
        ("body_fat", ("25%", "30 %", "20"), [25, 30, 20]),
        ("vat", ("2500 ml", "3.5 L"), [2.5, 3.5]),
    ],
)
def test_a_cell_with_its_unit_is_read_in_it(tmp_path: Path, name: str, cells: tuple[str, ...], values: list) -> None:
    found, said = read(tmp_path / "t.csv", of(name, *cells))
    assert found[name] == pytest.approx(values, abs=0.01)
    assert said == ""


@pytest.mark.parametrize(
    ("name", "cells", "asked"),
    [
        ("weight", ("150", "180", "190"), "the middle weight is 180, unusual in kg (82 kg if lb)"),
        ("vat", ("2500", "3000", "2000"), "the middle vat is 2500, unusual in L (2.5 L if ml)"),
        ("waist", ("32", "35", "38"), "the middle waist is 35, unusual in cm (89 cm if in)"),
        ("body_fat", ("0.25", "0.3", "0.2"), "the middle body_fat is 0.25, unusual in % (25 % if fraction)"),
        ("liver_volume", ("1.5", "1.4", "1.6"), "the middle liver_volume is 1.5, unusual in mL (1500 mL if l)"),
    ],
)
def test_a_number_in_a_unit_in_doubt_is_left_open(
    tmp_path: Path, name: str, cells: tuple[str, ...], asked: str
) -> None:
    """They were stored as they stood, beside the question: 180 lb as 180 kg, 2500 ml as 2500 L."""
    found, said = read(tmp_path / "t.csv", of(name, *cells))
    assert found[name] == [None] * len(cells)
    assert asked in said
    assert "until then it is left open" in said
    assert asked in proposed_plan(tmp_path / "t.csv", CATALOGUE).questions[0]


@pytest.mark.parametrize(
    ("name", "cells", "words"),
    [
        ("sex", ("1", "2"), "sex '1' is not M or F; say what it stands for among the Levels of sex"),
        ("sex (1=female)", ("1", "0"), "column sex (1=female) was not taken as sex"),
        ("age", ("90+", "40-44"), "age '90+' is not a number"),
        ("age", ("45 years", "40"), "age '45 years' is not a number"),
        ("score", ("5", "6", "7", "<3"), "score was taken as words, '<3' in it is no number"),
        ("scanned", ("2020-01-01", "unknown"), "column scanned was left out: dates never reach a store"),
        ("visit", ("at the clinic", "31.12.2019"), "column visit was left out: dates never reach a store"),
    ],
)
def test_what_cannot_be_taken_is_said(tmp_path: Path, name: str, cells: tuple[str, ...], words: str) -> None:
    found, said = read(tmp_path / "t.csv", of(name, *cells))
    assert words in said
    assert "2020" not in str(found)
    assert "2019" not in str(found)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Cohort of 2020\nparticipant_id,age\ns1,40\n", "headings in line 2; delete what stands above them"),
        ("Study,,\nparticipant_id,age,sex\ns1,40,F\n", "headings in line 2"),
        ("# exported\nID;Alter\n1;40\n", "headings in line 2"),
        ("participant_id,age\ns1,40\ns2,42\nMean,41\n", "a line of 'Mean', which is no person"),
    ],
)
def test_lines_that_are_no_persons_are_refused(tmp_path: Path, text: str, words: str) -> None:
    """A title made a column of its own, a mean was a person."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_named(tmp_path / "t.csv", CATALOGUE)


def book(rows: list[list[object]], merged: str = "", shown: str = "") -> bytes:
    made, stream = Workbook(), io.BytesIO()
    sheet = made.active
    assert sheet is not None
    for row in rows:
        sheet.append(row)
    if merged:
        sheet.merge_cells(merged)
    for k in range(2, len(rows) + 1):
        if shown:
            sheet.cell(k, 1).number_format = shown
    made.save(stream)
    return stream.getvalue()


def test_what_excel_shows_is_what_is_read(tmp_path: Path) -> None:
    """Ids that Excel shows as 001 are 001; cells that are merged would be read as one and several empty ones."""
    (tmp_path / "t.xlsx").write_bytes(book([["participant_id", "age"], [1, 40], [22, 41]], shown="000"))
    assert [row["participant_id"] for row in read_named(tmp_path / "t.xlsx", CATALOGUE).rows] == ["001", "022"]
    rows: list[list[object]] = [["participant_id", "sex"], ["a", "F"], ["b", None]]
    (tmp_path / "u.xlsx").write_bytes(book(rows, merged="B2:B3"))
    with pytest.raises(TableError, match=r"merged cells \(B2:B3\); unmerge them"):
        read_named(tmp_path / "u.xlsx", CATALOGUE)


def test_a_file_whose_name_a_spreadsheet_would_change_is_pointed_at(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("participant_id,age\n1,40\n2.0,41\nS3,42\n")
    for name in ("001", "2", "s3"):
        (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    doubts = read_folder(tmp_path).doubts
    assert "(001.nii.gz may be meant)" in doubts["1"]
    assert "(2.nii.gz may be meant)" in doubts["2.0"]
    assert "(s3.nii.gz may be meant)" in doubts["S3"]
