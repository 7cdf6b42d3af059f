"""Tables without scans, by the same code: a CSV trains, draws, fills its missing cells and is judged."""

from __future__ import annotations

import csv
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.__main__ import main
from engine.cohort.missing import missing_cells
from engine.cohort.sources.table import TableCohort, TableError, possible
from engine.inference.generate import Model, RequestError, load
from engine.inference.impute import impute
from engine.training.pipeline import train
from engine.training.recipes import table
from engine.vocabulary.schema import AttributeValueError, Category, Number

PEOPLE = 700


def write_people(path: Path, n: int = PEOPLE, seed: int = 0) -> Path:
    """Adults whose weight, fat and smoking depend on sex and age; a tenth lacks body fat, the older the more often."""
    rng = np.random.default_rng(seed)
    rows = []
    for _ in range(n):
        male, age = rng.random() < 0.5, int(rng.integers(20, 86))
        height = round(float(rng.normal(1.76 if male else 1.63, 0.07)), 2)
        index = float(rng.normal(24 + 0.06 * age, 3))
        fat = float(rng.normal((20 if male else 31) + 0.9 * (index - 26), 2.5))
        lost = rng.random() < (0.25 if age > 60 else 0.02)
        weight = round(index * height**2, 1)
        rows.append(
            {
                "sex": "male" if male else "female",
                "age": age,
                "height_m": height,
                "weight_kg": weight,
                "bmi": weight / height**2,
                "body_fat": "" if lost else round(max(fat, 4.0), 1),
                "smoker": "yes" if rng.random() < (0.35 if male else 0.15) else "no",
            }
        )
    with path.open("w", newline="") as stream:
        writer = csv.DictWriter(stream, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "people.csv")


@pytest.fixture(scope="module")
def trained(people: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of the table after a few steps: the closed form carries what is linear."""
    cohort = TableCohort.open(people)
    recipe = table(cohort.schema)
    recipe = replace(recipe, flow=replace(recipe.flow, steps=40, batch=64, warmup=10))
    run = tmp_path_factory.mktemp("table-run")
    for _ in train(recipe, cohort, run):
        pass
    return run / "checkpoint"


@pytest.fixture(scope="module")
def model(trained: Path) -> Model:
    return load(trained, "cpu")


def test_columns_are_read_off_the_values(people: Path) -> None:
    cohort = TableCohort.open(people)
    kinds = {c.name: c for c in cohort.schema.columns}
    assert isinstance(kinds["sex"], Category)
    assert kinds["sex"].levels == ("F", "M")
    age, height = kinds["age"], kinds["height_m"]
    assert isinstance(age, Number)
    assert age.decimals == 0
    assert isinstance(height, Number)
    assert height.decimals == 2
    assert "bmi" not in kinds
    assert [d.name for d in cohort.schema.derived] == ["bmi"]
    assert cohort.schema.derived[0].value({"height_m": 2.0, "weight_kg": 100.0}) == pytest.approx(25)
    assert {k: len(v) for k, v in cohort.split().items()} == {"train": 568, "validation": 0, "test": 132}


def test_the_possible_range_gives_nobody_away() -> None:
    assert possible([1.0] * 12 + [2.0, 3.0, 4.7]) == (1.0, 5.1)
    low, high = possible([15.3, 20.0, 25.0, 41.9])
    assert low < 15.3
    assert high > 41.9
    assert 15.3 not in (low, high)


def test_a_description_beside_the_table_is_followed(people: Path, tmp_path: Path) -> None:
    copy = tmp_path / "people.csv"
    copy.write_bytes(people.read_bytes())
    about = {
        "age": {"Units": "years", "Minimum": 18, "Maximum": 110, "Description": "age at visit"},
        "smoker": {"Levels": {"no": "", "yes": "", "former": ""}, "Ordered": True},
        "body_fat": {"Derived": {"scale": 2, "powers": {"age": 1}}, "Units": "%"},
    }
    copy.with_suffix(".json").write_text(json.dumps(about))
    schema = TableCohort.open(copy).schema
    age, smoker = schema["age"], schema["smoker"]
    assert isinstance(age, Number)
    assert (age.unit, age.low, age.high) == ("years", 18, 110)
    assert isinstance(smoker, Category)
    assert smoker.ordered
    assert smoker.levels == ("no", "yes", "former")
    assert [d.name for d in schema.derived] == ["body_fat"]


@pytest.mark.parametrize(
    ("text", "words"),
    [("", "no rows"), ("a,b\n", "no rows"), ("weight\n70\n70\n", "fewer than"), ("\xff\xfe", "cannot be read|no rows")],
)
def test_a_table_that_cannot_be_used_is_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "t.csv"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(TableError, match=words):
        TableCohort.open(path)


def test_drawn_people_keep_margins_identity_and_what_was_given(model: Model) -> None:
    rows = [p.attributes for p in model.generate(n=640, seed=1)]
    for row in rows:
        height, weight, bmi = (float(str(row[k])) for k in ("height_m", "weight_kg", "bmi"))
        assert bmi == weight * height**-2.0 or bmi == pytest.approx(weight / height**2, rel=1e-12)
    age = np.array([float(str(r["age"])) for r in rows])
    assert age.mean() == pytest.approx(52.5, abs=3)
    assert 0.85 < age.var() / (65**2 / 12) < 1.15
    fat = {s: np.mean([float(str(r["body_fat"])) for r in rows if r["sex"] == s]) for s in "FM"}
    assert fat["F"] - fat["M"] == pytest.approx(11, abs=3)
    given = model.generate(n=3, given={"age": 40, "sex": "F"}, seed=5)
    assert all(p.attributes["age"] == 40 and p.attributes["sex"] == "F" for p in given)
    with pytest.raises(RequestError, match="knows tables only"):
        _ = given[0].volume


def test_a_row_does_not_depend_on_how_many_are_asked_for(model: Model) -> None:
    many = model.generate(n=70, seed=3)
    assert model.generate(n=1, seed=3)[0].attributes == many[0].attributes
    assert model.generate(n=1, seed=72)[0].attributes == many[69].attributes


@pytest.mark.slow
def test_missing_cells_are_filled_from_those_present(people: Path, model: Model) -> None:
    """Present cells come back; fat is filled near its regression on sex and body mass; other draws differ."""
    rows = [dict(row) for row in TableCohort.open(people).rows[:200]]
    hidden = [{**row, "body_fat": None, "remark": "kept"} for row in rows]
    filled = [list(impute(model, hidden, seed=seed)) for seed in (0, 1000)]
    truth = np.array([row["body_fat"] or np.nan for row in rows], float)
    seen = ~np.isnan(truth)
    for row, full in zip(hidden, filled[0], strict=True):
        assert all(full[k] == row[k] for k in row if row[k] is not None)
    guess = np.mean([[float(str(row["body_fat"])) for row in part] for part in filled], axis=0)
    assert np.corrcoef(guess[seen], truth[seen])[0, 1] > 0.75
    assert filled[0][0]["body_fat"] != filled[1][0]["body_fat"]
    assert list(impute(model, hidden[:1], seed=0)) == filled[0][:1]


def test_what_cannot_be_imputed_is_refused(model: Model) -> None:
    with pytest.raises(AttributeValueError, match="row 1: age 300"):
        list(impute(model, [{"age": 300}]))
    with pytest.raises(RequestError, match="knows tables only"):
        list(impute(model, [{"age": 30}], [None]))


def test_missing_that_depends_on_a_value_is_said(people: Path, trained: Path) -> None:
    cohort = TableCohort.open(people)
    said = missing_cells(cohort.rows, cohort.schema.fitted(cohort.rows))
    assert list(said) == ["body_fat"]
    assert "SD in age" in said["body_fat"]
    assert "SD in age" in json.loads((trained / "model_card.json").read_text())["trained_on"]["missing"]["body_fat"]


def test_the_columns_covariance_is_in_the_closed_form(model: Model, people: Path) -> None:
    """The linear Gaussian part alone has the columns' correlations, from rows with missing cells."""
    net = model.checkpoint.model
    state, known = model.schema.encode(TableCohort.open(people).rows)
    full = known.all(1)
    flat = torch.from_numpy(state[full]).flatten(1)
    loadings = net.table_loadings.flatten(0, 1)
    fitted = loadings @ loadings.T + net.table_variance.flatten().diag()
    assert (fitted - flat.T.cov()).abs().max() < 0.15


def test_command_line_from_table_to_table(people: Path, trained: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "filled.csv"
    assert main(["impute", str(trained), str(people), "--draws", "2", "--steps", "2", "--out", str(out)]) == 0
    with out.open() as stream:
        rows = list(csv.DictReader(stream))
    assert len(rows) == 2 * PEOPLE
    assert {row["draw"] for row in rows} == {"1", "2"}
    assert all(row["body_fat"] not in ("", "n/a") for row in rows)
    assert main(["impute", str(trained), str(people), "--out", str(out)]) == 2
    assert "exists" in capsys.readouterr().err
    assert main(["generate", str(trained), "--n", "3", "--out", str(tmp_path / "drawn")]) == 0
    assert not list((tmp_path / "drawn").glob("sub-*"))
    assert len((tmp_path / "drawn" / "participants.tsv").read_text().splitlines()) == 4
    assert main(["infer", str(trained), str(people)]) == 2
    assert "knows tables only" in capsys.readouterr().err


def test_the_report_of_a_table(people: Path, trained: Path, tmp_path: Path, capsys) -> None:
    out = tmp_path / "report"
    assert main(["evaluate", str(trained), str(people), "--n", "150", "--out", str(out)]) == 0
    found = json.loads((out / "report.json").read_text())
    entries = {e["key"]: e for section in found["sections"] for e in section["entries"]}
    assert entries["violations"]["figure"]["value"] == 0
    assert 0.5 < entries["detection_boosting"]["figure"]["value"] < 1
    assert "Table fidelity" in (out / "report.html").read_text()
    assert main(["audit", str(trained), str(people), "--out", str(tmp_path / "audit")]) == 2
    assert "knows tables only" in capsys.readouterr().err


@pytest.mark.slow
def test_training_resumes_and_takes_a_seed(people: Path, tmp_path: Path) -> None:
    cohort = TableCohort.open(people)
    recipe = table(cohort.schema)
    recipe = replace(recipe, flow=replace(recipe.flow, steps=4, batch=16))
    for _ in train(recipe, cohort, tmp_path / "whole"):
        pass
    half = replace(recipe, flow=replace(recipe.flow, steps=2))
    for step in (half, recipe):
        for _ in train(step, cohort, tmp_path / "parts"):
            pass
    whole, parts = (load(tmp_path / name / "checkpoint", "cpu") for name in ("whole", "parts"))
    for name, value in whole.checkpoint.model.state_dict().items():
        assert torch.equal(value, parts.checkpoint.model.state_dict()[name]), name


def test_codes_with_levels_are_trained_and_filled_as_they_were_written(tmp_path: Path, capsys) -> None:
    """``{"Levels": {"1": "never"}}``, the usual dictionary: what comes back has the codes of the table."""
    rng = np.random.default_rng(0)
    people, open_cells = tmp_path / "people.csv", tmp_path / "open.csv"
    rows = [f"p{i},{rng.integers(20, 80)},{rng.integers(1, 4)}" for i in range(120)]
    people.write_text("participant_id,age,smoke\n" + "\n".join(rows) + "\n")
    people.with_suffix(".json").write_text(json.dumps({"smoke": {"Levels": {"1": "never", "2": "ex", "3": "now"}}}))
    cohort = TableCohort.open(people)
    recipe = table(cohort.schema)
    recipe = replace(recipe, flow=replace(recipe.flow, steps=5, batch=16, warmup=1))
    for _ in train(recipe, cohort, tmp_path / "run"):
        pass
    open_cells.write_text(
        "participant_id,age,smoke\n" + "".join(f"q{i},40,{c}\n" for i, c in enumerate(("1.0", "2.0", "03", "n/a", "")))
    )
    out = tmp_path / "filled.csv"
    assert main(["impute", str(tmp_path / "run/checkpoint"), str(open_cells), "--out", str(out)]) == 0, (
        capsys.readouterr()
    )
    with out.open() as stream:
        filled = [row["smoke"] for row in csv.DictReader(stream)]
    assert filled[:3] == ["1.0", "2.0", "03"]
    assert set(filled[3:]) <= {"1.0", "2.0", "03"}
    model = load(tmp_path / "run/checkpoint", "cpu")
    for code in ("1", 1, 1.0, "01"):
        (row,) = impute(model, [{"age": 40, "smoke": code}])
        assert row["smoke"] == code
    with pytest.raises(AttributeValueError, match="smoke 4 is unknown here: give one of 1, 2, 3"):
        list(impute(model, [{"smoke": 4}]))
