"""Tables as strangers write them: each cell right, or a sentence that names it; nothing taken in a unit that nobody says."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest
from openpyxl import Workbook, load_workbook

from engine.cohort.sources.folder import read_folder
from engine.cohort.sources.table import TableError, proposed_plan, read_named, typed_rows
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.units import UnitError


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
        ("liver_pdff", ("0.05", "0.06", "0.08"), "the middle liver_pdff is 0.06, unusual in % (6 % if fraction)"),
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
        ("BMI %", ("85", "95"), "column BMI % was not taken as bmi"),
        ("±Age", ("3", "4"), "column ±Age was not taken as age"),
        ("sex", ("N", "F", "F"), "sex has F beside N, so F may be a man or a woman"),
        ("waist", ("90", "95", "-4"), "waist -4 lies outside 0 to 570 cm"),
        ("body_fat", ("25", "30", "250"), "body_fat 250 lies outside 0 to 100 %"),
        ("bmi", ("99.9", "22", "23", "24", "25", "26"), "bmi 99.9 lies far from every other value"),
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
        ("participant_id,age\ns1,40\ns2,42\nMean (SD),41\nSD,1\nN,2\n", "which is no person"),
        ("participant_id,group,age\ns1,a,40\n,Total,40\n", "a line of 'Total', which is no person"),
        (
            "participant_id,age,weight\n,years,lb\ns1,40,110\n",
            r"units \(years, lb\) in line 2; write each into its heading",
        ),
        ("participant_id,age\ns1,40\nparticipant_id,age\ns2,41\n", "repeats its headings in line 3"),
        ("participant_id,s1,s2\nage,40,50\nsex,F,M\n", "has a column for each person"),
        ('participant_id,remark\ns1,"good\ns2,x\ns3,y\n', r'quotation mark \("\) in line 2 that is never closed'),
        ("participant_id,height_ft\ns1,5.11\ns2,6.1\n", "height_ft 5.11 may be ft and inches or ft with decimals"),
        ("participant_id,age\n1E+05,40\n", r"participant_id 1E\+05, which a spreadsheet shortened"),
        ("participant_id,weight (st)\ns1,11.13\n", "11.13 may be st and pounds"),
    ],
)
def test_lines_that_are_no_persons_are_refused(tmp_path: Path, text: str, words: str) -> None:
    """A title made a column of its own, a mean was a person."""
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(TableError, match=words):
        read_named(tmp_path / "t.csv", CATALOGUE)


@pytest.mark.parametrize(
    "heading",
    ["Weight at birth (kg)", "weight loss kg", "Age of onset (years)", "Height of bed (cm)", "BMI change (kg/m2)"],
)
def test_a_unit_at_the_end_makes_no_other_column_well_known(tmp_path: Path, heading: str) -> None:
    """They were taken as weight, age, height and bmi."""
    found, _ = read(tmp_path / "t.csv", of(heading, "40", "50"))
    assert found == {"participant_id": ["s1", "s2"], heading: [40, 50]}
    tall, _ = read(tmp_path / "t.csv", of("height_in", "70", "65"))
    assert tall["height"] == pytest.approx([177.8, 165.1])


@pytest.mark.parametrize(
    ("name", "about", "value", "words"),
    [
        ("wall_thickness", {"Units": "cm"}, 20.0, "wall_thickness was brought to mm from cm"),
        ("age", {"units": "months"}, 1 / 6, "age was brought to years from months"),
        ("age", {"Description": "Age in months"}, None, "the description of age speaks of months"),
        ("age", {"Description": "Years, to the nearest month"}, 2.0, ""),
        ("age", {"Levels": {"2": "18 to 30"}}, None, "age 2 stands for '18 to 30' by its Levels, which is no number"),
    ],
)
def test_a_number_is_what_its_description_says(
    tmp_path: Path, name: str, about: dict, value: float | None, words: str
) -> None:
    """Units of heads and hearts were passed over, codes of age groups became years or words."""
    (tmp_path / "t.json").write_text(json.dumps({name: about}))
    found, said = read(tmp_path / "t.csv", of(name, "2"))
    assert found[name] == [value if value is None else pytest.approx(value)]
    assert words in said


def test_a_mass_per_area_is_no_mass(tmp_path: Path) -> None:
    (tmp_path / "t.json").write_text(json.dumps({"lv_mass": {"Units": "g/m2"}}))
    with pytest.raises(UnitError, match="lv_mass is counted in 'g/m2'; give it in g"):
        read(tmp_path / "t.csv", of("lv_mass", "60"))


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
    made = load_workbook(tmp_path / "t.xlsx")
    made.worksheets[0].row_dimensions[3].hidden = True
    made.save(tmp_path / "t.xlsx")
    assert "1 of its lines are hidden in Excel" in read_named(tmp_path / "t.xlsx", CATALOGUE).notes[0]
    (tmp_path / "v.xlsx").write_bytes(book([["liver_pdff", "share"], [0.05, 0.05], [0.25, 0.25]], shown="0%"))
    table = read_named(tmp_path / "v.xlsx", CATALOGUE)
    rows_of, _ = typed_rows(table.rows, table)
    assert [(row["liver_pdff"], row["share"]) for row in rows_of] == [(5, 0.05), (25, 0.25)]
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


@pytest.mark.parametrize("name", ["s1_mask", "s1_dseg", "s1_T2w", "s1_bold", "derivatives/s1_brain"])
def test_a_mask_or_another_contrast_is_no_scan_of_a_person(tmp_path: Path, name: str) -> None:
    """The only file that is named after a person was the scan, whatever its name says of it."""
    (tmp_path / "t.csv").write_text("participant_id,age\ns1,40\n")
    (tmp_path / "derivatives").mkdir()
    (tmp_path / f"{name}.nii.gz").write_bytes(b"")
    assert "is by its name a mask, labels, of another contrast or derived" in read_folder(tmp_path).doubts["s1"]
    (tmp_path / "s1_T1w.nii.gz").write_bytes(b"")
    assert read_folder(tmp_path).images["s1"].name == "s1_T1w.nii.gz"


def test_a_file_is_of_one_person(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("participant_id,age\n1,40\n1_2,50\n")
    (tmp_path / "1_2.nii.gz").write_bytes(b"")
    found = read_folder(tmp_path)
    assert list(found.images) == ["1_2"]
    assert "its file is that of 1_2, too" in found.doubts["1"]
    (tmp_path / "t.csv").write_text("participant_id,age,scan\na,40,1_2.nii.gz\nb,50,1_2.nii.gz\n")
    assert read_folder(tmp_path).images == {}
