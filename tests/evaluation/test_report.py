"""A tiny checkpoint and a store of balls to a report: whole, resumable, and refused where it would mislead."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from engine.__main__ import main
from engine.checkpoints.files import CheckpointError
from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.report.write import Options, figures_by_key, into_card, report
from engine.evaluation.subjects import plan
from engine.training.recipes import tiny
from tests.conftest import ball_store

SMALL = Options(n=12, cost=False, workers=1)


@pytest.fixture(scope="module")
def balls(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Sixty other balls than those of the training."""
    return ball_store(tmp_path_factory.mktemp("judges") / "balls", 60).path


@pytest.fixture(autouse=True)
def _few(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("ASKED", 5), ("WHATIFS", 4), ("READ", 8), ("SMALL", 4), ("TRAINING", 24)):
        monkeypatch.setattr(plan, name, value)


@pytest.fixture
def checkpoint(tiny_checkpoint: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(tiny_checkpoint / "tiny", tmp_path / "tiny"))


def run(kind: str, checkpoint: Path, store: Path, out: Path, options: Options = SMALL) -> dict:
    for _ in report(kind, checkpoint, store, out, options):
        pass
    return json.loads((out / "report.json").read_text("utf-8"))


def interrupted(kind: str, checkpoint: Path, store: Path, out: Path, done: int) -> dict:
    """A report that was stopped after ``done`` persons and taken up again."""
    steps = report(kind, checkpoint, store, out, SMALL)
    for step in steps:
        if step.done == done:
            break
    steps.close()
    assert not (out / "report.json").exists()
    return run(kind, checkpoint, store, out)


def test_a_report_is_whole(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    whole = run("evaluate", checkpoint, balls, tmp_path / "whole")
    assert [s["key"] for s in whole["sections"]] == ["image", "table", "coherence", "whatif", "subgroups"]
    found = figures_by_key(whole)
    assert {
        "frechet_radiomics",
        "recall_radiomics",
        "sinkhorn",
        "read_age",
        "asked_bmi",
        "match",
        "composition_age",
    } <= found.keys()
    assert all(e["figure"]["value"] is not None for e in found.values())
    assert found["recall_radiomics"]["floor"]["value"] > found["recall_radiomics"]["ceiling"]["value"] - 1


@pytest.mark.slow
def test_an_interrupted_evaluation_equals_a_whole_one(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    whole = run("evaluate", checkpoint, balls, tmp_path / "whole")
    assert interrupted("evaluate", checkpoint, balls, tmp_path / "cut", 40)["sections"] == whole["sections"]


@pytest.mark.slow
def test_an_interrupted_audit_equals_a_whole_one(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    found = run("audit", checkpoint, balls, tmp_path / "audit")
    assert interrupted("audit", checkpoint, balls, tmp_path / "cut", 10)["sections"] == found["sections"]


def test_the_audit_and_the_card(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    found = run("audit", checkpoint, balls, tmp_path / "audit")
    keys = figures_by_key(found)
    assert {"dcr_rows", "dcr_scans", "membership_image_loss", "membership_inside_mse"} <= keys.keys()
    assert any("encoder" in m for m in found["sections"][0]["missing"])
    assert [row[3] for row in found["sections"][0]["sheets"][0]["rows"]].count("yes") >= 5
    card = into_card(checkpoint, tmp_path / "audit").read_text("utf-8")
    assert "Privacy audit" in card
    assert "membership by velocity loss of the scan" in card
    assert main(["info", str(checkpoint)]) == 0


def test_from_the_command_line(
    checkpoint: Path, balls: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["audit", str(checkpoint), str(balls), "--out", str(tmp_path / "out"), "--n", "8"]
    assert main(command) == 0
    out, err = capsys.readouterr()
    assert out.strip() == str(tmp_path / "out" / "report.html")
    assert "persons: " in err
    assert main([*command[:-1], "3"]) == 2
    assert "n 3 is too few" in capsys.readouterr().err


def test_a_changed_checkpoint_is_refused(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    weights = checkpoint / "weights.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(CheckpointError, match="not those it was saved with"):
        run("evaluate", checkpoint, balls, tmp_path / "out")


def test_changed_extractors_and_other_work_are_refused(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    (checkpoint / "evaluation.json").write_text(json.dumps({"extractors": {"radiomics": "0123456789abcdef"}}))
    with pytest.raises(EvaluationError, match="was evaluated with radiomics 0123456789abcdef and here is"):
        run("evaluate", checkpoint, balls, tmp_path / "out")
    (checkpoint / "evaluation.json").write_text("{")
    with pytest.raises(EvaluationError, match="is damaged"):
        run("evaluate", checkpoint, balls, tmp_path / "out")
    (checkpoint / "evaluation.json").unlink()
    (tmp_path / "out" / "work").mkdir(parents=True)
    (tmp_path / "out" / "work" / "plan.json").write_text(json.dumps({"kind": "audit"}))
    with pytest.raises(EvaluationError, match="work of another evaluation"):
        run("evaluate", checkpoint, balls, tmp_path / "out")


def changed_store(balls: Path, path: Path, change, rows=None, grid=None) -> Path:
    """A store like ``balls`` with volumes put through ``change`` and rows through ``rows``."""
    store, recipe = CohortStore.open(balls), tiny()
    builder = StoreBuilder(
        path,
        recipe="tiny",
        grid=grid or store.grid,
        affine=recipe.preprocess.affine,
        channels=("T1w",),
        plan={},
        info={"source_name": "balls"},
    )
    for i, row in enumerate(store.rows):
        builder.add(row["participant_id"], *change(np.array(store.volumes[i]), np.array(store.mask[i])))
    return builder.finish([(rows or dict)(row) for row in store.rows]).path


def test_a_column_that_is_all_missing_is_said(checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    store = changed_store(balls, tmp_path / "s", lambda v, m: (v, m), lambda row: {**row, "ethnicity": None})
    found = run("audit", checkpoint, store, tmp_path / "out")
    assert "Column ethnicity is empty" in found["sections"][0]["missing"][0]


@pytest.mark.parametrize(
    ("change", "grid", "sentence"),
    [
        (lambda v, m: (np.zeros_like(v), m), None, "has no body"),
        (lambda v, m: (v[:, :24], m[:24]), (24, 32, 32), r"grid \(24, 32, 32\) is not tiny's"),
    ],
)
def test_unusable_stores_are_refused(change, grid, sentence, checkpoint: Path, balls: Path, tmp_path: Path) -> None:
    store = changed_store(balls, tmp_path / "s", change, grid=grid)
    with pytest.raises(EvaluationError, match=sentence):
        run("evaluate", checkpoint, store, tmp_path / "out")


def test_too_few_persons_are_refused(checkpoint: Path, tiny_store: CohortStore, tmp_path: Path) -> None:
    with pytest.raises(EvaluationError, match="test persons of 24: an evaluation needs 8"):
        run("evaluate", checkpoint, tiny_store.path, tmp_path / "out")
