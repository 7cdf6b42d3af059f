"""Tables as programs and countries write them: the same cells, or a sentence, never other cells."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest
from openpyxl import Workbook

from engine.cohort.sources.delimited import TableError, read_file
from engine.cohort.sources.table import TableCohort, read_cells, read_named
from engine.vocabulary.cells import parse_rows
from engine.vocabulary.units import UnitError

ROWS = [
    {"participant_id": "s1", "age": "40.5", "site": "Köln, West"},
    {"participant_id": "s2", "age": "61", "site": "n/a"},
]


def written(folder: Path, text: str, *, encoding: str = "utf-8", name: str = "t.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode(encoding))
    return path


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize(
    "lines",
    [
        ["participant_id,age,site", 's1,40.5,"Köln, West"', "s2,61,n/a"],
        ["participant_id\tage\tsite", "s1\t40.5\tKöln, West", "s2\t61\tn/a"],
        ["participant_id;age;site", "s1;40,5;Köln, West", "s2;61;n/a"],
        ["sep=;", "participant_id;age;site", "s1;40,5;Köln, West", "s2;61;n/a"],
        [" participant_id |age|site ", "s1|40.5|Köln, West", "", "s2|61|n/a", ""],
        ["participant_id,age,site,,", 's1,"40,5","Köln, West",,', "s2,61,n/a,,", ",,,,"],
    ],
)
def test_the_same_cells_whatever_stands_between_them(lines: list[str], end: str, encoding: str, tmp_path: Path):
    assert read_cells(written(tmp_path, end.join(lines) + end, encoding=encoding)) == ROWS


def test_a_quoted_line_break_is_part_of_its_cell(tmp_path: Path):
    path = written(tmp_path, 'participant_id,remark\ns1,"two\nlines, and ""quotes"""\n')
    assert read_cells(path) == [{"participant_id": "s1", "remark": 'two\nlines, and "quotes"'}]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("participant_id,age\ns1,40,5\n", "has 3 cells in line 2 and 2 headings"),
        ("participant_id,age,sex\ns1,40\n", "has 2 cells in line 2 and 3 headings"),
        ("participant_id,age,age\ns1,40,50\n", "two columns named age"),
        ("participant_id age sex\ns1 40 F\ns2 50 M\n", "between spaces"),
        ("a;b\n1,234;x\n2,345;y\n", "decimal sign or with one of thousands"),
        ("a;b\n1,5;x\n2.5;y\n", "has decimal commas and points, such as 2.5"),
        ("a;b\n1,5;1.234\n2,5;2.000\n", "b 1.234 can be read with a decimal sign or with one of thousands"),
        ("a\tb\n1,234.5\tx\n2,000.25\ty\n", "one of thousands"),
        ("age,sex\n40,\0\n", "bytes of value 0"),
        ("", "has no rows"),
        ("participant_id,age\n", "has no rows"),
        ("participant_id,age\ns1,4\ns1,5\n", "two rows the same participant_id s1"),
        ("participant_id,age\n s1,4\ns1 ,5\n", "two rows the same participant_id s1"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(text: str, sentence: str, tmp_path: Path):
    with pytest.raises(TableError, match=sentence):
        read_cells(written(tmp_path, text))


@pytest.mark.parametrize("encoding", ["latin-1", "cp1252", "utf-16-le"])
def test_an_encoding_that_is_not_said_is_not_guessed(encoding: str, tmp_path: Path):
    with pytest.raises(TableError, match="UTF-8"):
        read_cells(written(tmp_path, "participant_id,sex\ns1,männlich\n", encoding=encoding))


def test_thousands_with_a_decimal_comma(tmp_path: Path):
    path = written(tmp_path, "participant_id;volume;age\ns1;1.234,5;40,5\ns2;900,25;50\n")
    assert [(row["volume"], row["age"]) for row in read_cells(path)] == [("1234.5", "40.5"), ("900.25", "50")]
    assert read_file(path).notes == (
        "its cells stand between semicolons",
        "decimal commas were read in volume, age",
    )


def test_commas_within_words_stay(tmp_path: Path):
    path = written(tmp_path, "participant_id\tsite\ns1\t1,2 or 3\ns2\tKöln, West\n")
    assert [row["site"] for row in read_cells(path)] == ["1,2 or 3", "Köln, West"]


def test_a_column_without_a_heading_is_left_out_and_that_is_said(tmp_path: Path):
    found = read_file(written(tmp_path, ",age\n0,40\n1,50\n"))
    assert found.rows == [{"age": "40"}, {"age": "50"}]
    assert found.notes == ("a column without a heading was left out",)


def test_an_excel_sheet_is_a_table_whatever_its_name(tmp_path: Path):
    book = Workbook()
    page = book.active
    assert page is not None
    page.append(["participant_id", "Age", "seen", "site"])
    page.append(["s1", 40.5, date(2020, 5, 1), "Köln, West"])
    page.append([None, None, None, None])
    page.append(["s2", 61, None, "#N/A"])
    book.create_sheet("empty")
    for name in ("t.xlsx", "t.csv"):
        book.save(tmp_path / name)
        assert read_cells(tmp_path / name) == [
            {"participant_id": "s1", "Age": "40.5", "seen": "2020-05-01", "site": "Köln, West"},
            {"participant_id": "s2", "Age": "61", "seen": "", "site": ""},
        ]
    page["B3"] = "=B2*2"
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match="formula in B3 that was not computed"):
        read_cells(tmp_path / "t.xlsx")
    page["B3"] = 3
    book["empty"].append(["more"])
    book.save(tmp_path / "t.xlsx")
    with pytest.raises(TableError, match=r"has 2 sheets with cells \(Sheet, empty\)"):
        read_cells(tmp_path / "t.xlsx")


def test_what_only_looks_like_excel_is_refused(tmp_path: Path):
    for data, sentence in ((b"PK\3\4 nothing", "cannot be read as Excel"), (b"\xd0\xcf\x11\xe0old", "of the old kind")):
        (tmp_path / "t.xlsx").write_bytes(data)
        with pytest.raises(TableError, match=sentence):
            read_cells(tmp_path / "t.xlsx")


def test_units_are_those_of_the_heading_or_of_the_dictionary(tmp_path: Path):
    path = written(tmp_path, "ID;Alter (Monate);Größe [m];Gewicht (lb)\ns1;36;1,78;165\n")
    table = read_named(path, ("age", "height", "weight"))
    rows, _ = parse_rows(table.rows)
    assert rows[0] == {"participant_id": "s1", "age": 3.0, "height": 178.0, "weight": pytest.approx(74.8427, abs=1e-3)}
    assert table.headings["height"] == "Größe [m]"
    assert "column Größe [m] is taken as height in m" in table.notes
    path = written(tmp_path, "participant_id,age,HEIGHT\ns1,36,70\n", name="u.csv")
    path.with_suffix(".json").write_bytes(
        '{"age": {"Units": "Months"}, "Height": {"Units": "inches"}}'.encode("utf-8-sig")
    )
    rows, _ = parse_rows(read_named(path, ("age", "height")).rows)
    assert (rows[0]["age"], rows[0]["height"]) == (3.0, 177.8)


@pytest.mark.parametrize("units", ["fortnights", "kg", "%"])
def test_a_unit_that_is_not_one_of_the_columns_is_refused(units: str, tmp_path: Path):
    path = written(tmp_path, "participant_id,age\ns1,36\n")
    path.with_suffix(".json").write_text(f'{{"age": {{"Units": "{units}"}}}}')
    with pytest.raises(UnitError, match=f"age is counted in '{units}'; give it in years, or as one of months, weeks"):
        read_named(path, ("age",))


def test_a_heading_and_a_dictionary_that_disagree_on_the_unit_are_refused(tmp_path: Path):
    path = written(tmp_path, "participant_id,height (cm)\ns1,178\n")
    path.with_suffix(".json").write_text('{"height (cm)": {"Units": "m"}}')
    with pytest.raises(TableError, match="in cm by its heading and in m by its dictionary"):
        read_named(path, ("height",))


def test_a_table_to_train_on_keeps_its_own_headings(tmp_path: Path):
    lines = "".join(f"p{i};{20 + i};{1.5 + i / 100:.2f}\n".replace(".", ",") for i in range(30))
    cohort = TableCohort.open(written(tmp_path, f"Patient ID;Age;Größe\n{lines}"))
    assert cohort.schema.names == ("Age", "Größe")
    assert cohort.rows[1] == {"participant_id": "p1", "Age": 21.0, "Größe": 1.51}
    assert not cohort.meta["anonymous"]


def test_visits_are_no_persons(tmp_path: Path):
    """A column called subject in which somebody stands twice is a column, not an identifier."""
    path = written(tmp_path, "subject,age\na,4\na,5\n")
    assert read_cells(path)[1] == {"subject": "a", "age": "5", "participant_id": "row-2"}
