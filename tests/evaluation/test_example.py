"""The example of a checkpoint: made by a command from whatever weights are there, read without them, small, and marked."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import engine
from engine.checkpoints.example import NOTICE, Example, example_file, example_text, read_example
from engine.cli.main import main
from engine.evaluation.example import Sizes, values_over
from tests.measure.balls import ball_measure, ball_store  # noqa: F401


@pytest.fixture(scope="module")
def copy(tiny_checkpoint: Path, ball_measure: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:  # noqa: F811
    """A checkpoint of one's own that has an example, made by the command, beside what measures its scans."""
    folder = tmp_path_factory.mktemp("example") / "tiny"
    shutil.copytree(tiny_checkpoint / "tiny", folder)
    (folder.parent / "measure-head").symlink_to(ball_measure)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SOMATWIN_CHECKPOINTS", str(folder.parent))
        assert main(["example", "tiny", "--n", "12", "--training", "4"]) == 0
    return folder


@pytest.mark.slow
def test_the_command_makes_it_and_it_says_whose_it_is(copy: Path):
    found = read_example(copy)
    model = engine.load(copy, "cpu")
    assert isinstance(found, Example)
    assert (found.name, found.digest, found.steps) == ("tiny", model.digest, model.steps)
    assert [person.seed for person in found.people] == list(range(12))
    (again,) = model.generate(seed=3)
    assert found.people[3].row["age"] == pytest.approx(again.attributes["age"], rel=1e-4)
    assert all(person.picture[8:12] == b"WEBP" for person in found.people)
    assert sum(bool(person.planes) for person in found.people) == 4
    assert len(found.asked) == 16
    ages = [one.row[found.attribute] for one in found.asked]
    assert ages == [pytest.approx(age, abs=0.51) for age in values_over(found.low, found.high, 16)]
    assert found.people[3].values["brain_ml"] > 0
    assert [one.row["age"] for one in found.whatif] == sorted(one.row["age"] for one in found.whatif)
    assert [*found.losses] == ["flow"]
    raw = example_file(copy).read_bytes()
    assert len(raw) < 300_000
    assert json.loads(raw)["notice"] == NOTICE


def test_it_comes_back_as_it_was_and_anything_else_is_none(copy: Path, tmp_path: Path):
    found = read_example(copy)
    assert found is not None
    file = example_file(tmp_path)
    file.write_text(example_text(found), "utf-8")
    again = read_example(tmp_path)
    assert again is not None
    assert example_text(again) == example_text(found), "by its text: what is not seen is NaN"
    for wrong in ("", "{}", '{"format": "somatwin-example", "version": 2}', example_text(found)[:-9], "[1]"):
        file.write_text(wrong, "utf-8")
        assert read_example(tmp_path) is None
    content = json.loads(example_text(found))
    content["people"][0]["picture"] = "no base64"
    file.write_text(json.dumps(content), "utf-8")
    assert read_example(tmp_path) is None
    file.unlink()
    assert read_example(tmp_path) is None


def test_a_checkpoint_with_an_example_has_the_digest_it_had(copy: Path, tiny_checkpoint: Path):
    assert engine.load(copy, "cpu").digest == engine.load(tiny_checkpoint / "tiny", "cpu").digest


def test_few_values_cover_the_range_already():
    values = values_over(20.0, 84.0, 9)
    assert sorted(values) == [20.0 + 8 * k for k in range(9)]
    assert values[:3] == [20.0, 84.0, 52.0]


def test_an_example_of_nobody_is_refused():
    with pytest.raises(ValueError, match="3 people"):
        Sizes(people=3)
