"""``ingest --check``: what would be taken, left and why; a schema from the table that is edited and read back; doubts are asked."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import engine.cohort.ingest
from engine.__main__ import main
from engine.cohort.sources.delimited import TableError
from engine.cohort.sources.proposal import propose, read_plan, write_plan
from engine.cohort.store import CohortStore
from engine.vocabulary.catalogue import CATALOGUE
from engine.vocabulary.headings import named
from tests.cohort.heads import brain_of, made_up_head, write_dataset

HEAD = made_up_head()
TABLE = """participant_id\tAlter\tsex\theight\tweight\tsite\tscore\tname
sub-a\t40\tF\t1.75\t165\tA\t3\tDoe
sub-b\t50\tM\t1.80\t190\tB\t-9\tRoe
sub-c\t60\tM\t1.70\t150\tA\t4\tPoe
"""


@pytest.fixture
def cohort(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(engine.cohort.ingest, "deepbet_masker", lambda: brain_of)
    return write_dataset(tmp_path / "data", {"sub-a": HEAD, "sub-b": None, "sub-c": HEAD}, TABLE)


def test_check_says_who_what_and_why_and_writes_nothing(cohort: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = sorted(path for path in cohort.parent.rglob("*"))
    assert main(["ingest", str(cohort), "--recipe", "tiny", "--check"]) == 0
    words = capsys.readouterr().out
    assert "a BIDS data set; 2 of 3 persons would be taken" in words
    assert "sub-a: 52 x 64 x 68 voxels of 4 x 4 x 4 mm" in words
    assert "sub-b would be left out: sub-b has no T1w image" in words
    assert "name: would be left out (names never reach a store)" in words
    assert "175 cm if m" in words
    assert "75 kg if lb" in words
    assert main(["ingest", str(cohort), "--recipe", "tiny", "--check", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["taken"], found["left_out"], found["columns"]["age"]) == (2, 1, 2)
    assert found["schema"]["Alter"] == {"Name": "age", "Kind": "number", "Units": "years", "Minimum": 0, "Maximum": 120}
    assert [found["schema"][name]["Units"] for name in ("height", "weight")] == ["?", "?"]
    assert len(found["questions"]) == 2
    assert sorted(path for path in cohort.parent.rglob("*")) == before


def test_a_proposed_schema_is_edited_and_read_back(cohort: Path, tmp_path: Path) -> None:
    file, ingest = tmp_path / "schema.json", ["ingest", str(cohort), str(tmp_path / "store"), "--recipe", "tiny"]
    assert main([*ingest, "--check", "--schema", str(file)]) == 0
    assert main([*ingest, "--schema", str(file)]) == 2  # units are still open
    said = json.loads(file.read_text())
    said["height"] |= {"Units": "m"}
    said["weight"] |= {"Units": "lb"}
    said["score"] |= {"Missing": ["-9"]}
    said["age of nobody"] = {"Kind": "number"}
    file.write_text(json.dumps(said))
    assert main([*ingest, "--schema", str(file)]) == 2  # a column that the table has not
    del said["age of nobody"]
    file.write_text(json.dumps(said))
    assert main([*ingest, "--schema", str(file)]) == 0
    first, second = CohortStore.open(tmp_path / "store").rows
    assert "name" not in first
    assert (first["age"], first["height"], first["site"], second["score"]) == (40, 175, "A", 4)
    assert first["weight"] == pytest.approx(165 * 0.45359237)
    assert "Doe" not in (tmp_path / "store" / "participants.json").read_text()


def test_what_is_out_of_range_is_set_missing_and_what_is_derived_is_computed(tmp_path: Path) -> None:
    headings = ["participant_id", "height", "weight", "bmi"]
    rows = [dict(zip(headings, cells, strict=True)) for cells in (("a", "180", "81", "25"), ("b", "160", "64", ""))]
    found, _ = named(headings, CATALOGUE)
    plan = propose(found, rows, {})
    assert read_plan(write_plan(tmp_path / "schema.json", plan)) == plan
    typed = [
        {"participant_id": "b", "height": 160.0, "weight": 64.0, "bmi": None},
        {"participant_id": "c", "bmi": 300.0},
    ]
    flags = plan.checked(typed)
    assert typed[0]["bmi"] == pytest.approx(25)
    assert typed[1]["bmi"] is None
    assert "bmi 300 lies outside 8 to 100" in flags[0]["reason"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[]", "no schema"),
        ("{", "no JSON"),
        ('{"a": {"Kind": "odd"}}', "Kind of a is 'odd'"),
        ('{"a": {"Kind": "number", "Minimum": "x"}}', "Minimum of a is 'x'"),
        ('{"a": {"Kind": "number", "Minimum": 2, "Maximum": 1}}', "above its Maximum"),
        ('{"a": {"Kind": "number", "Unit": "m"}}', "says 'Unit' of a"),
        ('{"a": {"Kind": "category", "Levels": ["x"]}}', "Levels of a"),
        ('{"a": {"Kind": "number", "Missing": "-9"}}', "Missing of a"),
        ('{"a": {"Kind": "number", "Derived": {"powers": 1}}}', "Derived of a"),
        ('{"a": {"Kind": "number"}, "b": {"Kind": "number", "Name": "a"}}', "the name a to two"),
    ],
)
def test_a_schema_that_means_nothing_is_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "schema.json").write_text(text)
    with pytest.raises(TableError, match=words):
        read_plan(tmp_path / "schema.json")


@pytest.mark.parametrize(
    ("column", "cells", "asked"),
    [
        ("height", ["1.75", "1.6"], True),
        ("height", ["175", "160"], False),
        ("weight", ["165", "180"], True),
        ("weight", ["65", "80"], False),
        ("age", ["480", "500"], True),
    ],
)
def test_a_unit_in_doubt_is_asked_about(column: str, cells: list[str], asked: bool) -> None:
    found, _ = named([column], CATALOGUE)
    rows = [{column: cell} for cell in cells]
    assert bool(propose(found, rows, {}).questions) == asked
    assert not propose(found, rows, {column: {"Units": "ft"}}).questions
