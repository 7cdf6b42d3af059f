"""``impute`` on tables as people have them: their headings, units, separators and words stay, and nothing is invented beside them."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from engine.__main__ import main


@pytest.fixture
def filled(checkpoint: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Imputes a table of this text: its rows, and what was said."""

    def run(text: str, sidecar: str = "") -> tuple[list[dict[str, str]], str]:
        path, out = tmp_path / "t.csv", tmp_path / "o.csv"
        path.write_text(text, "utf-8")
        if sidecar:
            path.with_suffix(".json").write_text(sidecar)
        out.unlink(missing_ok=True)
        assert main(["impute", checkpoint, str(path), "--steps", "2", "--out", str(out)]) == 0
        with out.open(encoding="utf-8", newline="") as stream:
            return list(csv.DictReader(stream)), capsys.readouterr().err

    return run


def test_headings_in_other_letters_are_the_models_columns(filled):
    (row,), said = filled("ID,Age,Gender,BMI,site\ns1,40,F,n/a,Bonn\n")
    assert list(row)[:5] == ["ID", "Age", "Gender", "BMI", "site"]
    assert (row["Age"], row["Gender"], row["site"]) == ("40", "F", "Bonn")
    assert 12 <= float(row["BMI"]) <= 70
    assert not {"age", "sex", "bmi", "participant_id"} & set(row)
    assert "column Age is taken as age" in said
    assert "not known to this model, copied as they are: site" in said


def test_semicolons_and_decimal_commas(filled):
    (row, _), _ = filled("participant_id;age;sex;bmi\ns1;40,5;F;22,5\ns2;60,1;M;n/a\n")
    assert [float(row[name]) for name in ("age", "bmi")] == [40.5, 22.5]


def test_numbers_stay_in_the_tables_units(filled):
    (first, second), said = filled(
        "participant_id,age,height,weight\ns1,40,70,165\ns2,50,n/a,n/a\n",
        '{"height": {"Units": "inch"}, "weight": {"Units": "lb"}}',
    )
    assert (first["height"], first["weight"]) == ("70", "165")
    assert float(first["bmi"]) == pytest.approx(23.67, abs=0.02)
    assert 47 < float(second["height"]) < 87, "inches, as the table counts"
    bmi = float(second["weight"]) * 0.45359237 / (float(second["height"]) * 0.0254) ** 2
    assert bmi == pytest.approx(float(second["bmi"]), rel=1e-3)
    assert "height was brought to cm from inch" in said


def test_a_weight_alone_is_kept_and_the_rest_drawn_to_fit(filled):
    (row, _), _ = filled("participant_id,age,sex,height,weight\ns1,40,M,n/a,75\ns2,50,F,165,60\n")
    assert row["weight"] == "75"
    assert float(row["bmi"]) * (float(row["height"]) / 100) ** 2 == pytest.approx(75, rel=1e-4)


def test_what_is_told_as_impossible_does_not_stay_beside_what_is_drawn(filled):
    (row,), said = filled("participant_id,age,sex,height,weight\ns1,abc,1,0,0\n")
    assert 18 <= float(row["age"]) <= 100
    assert row["sex"] in ("F", "M")
    assert float(row["bmi"]) * (float(row["height"]) / 100) ** 2 == pytest.approx(float(row["weight"]), rel=1e-3)
    for words in ("age 'abc' is not a number", "sex '1' is not M or F", "height 0 lies outside", "weight 0 lies"):
        assert words in said
