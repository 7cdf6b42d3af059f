"""Nobody is judged on whom the model was trained, whatever the split of the store says."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.participants import FILE, judged, read_participants
from engine.cohort.store import CohortStore
from engine.evaluation.metrics.checks import EvaluationError
from engine.evaluation.report.write import Options, report
from engine.evaluation.subjects.plan import audit_tasks, evaluation_tasks
from engine.inference.generate import load
from engine.training.pipeline import Recipe, train
from tests.conftest import ball_store


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> CohortStore:
    return ball_store(tmp_path_factory.mktemp("participants") / "balls", 60)


def exchanged(checkpoint: Path, folder: Path, parts: tuple[str, str] = ("train", "test")) -> Path:
    """A checkpoint whose record has two parts exchanged: persons of the store's test part trained it."""
    copy = Path(shutil.copytree(checkpoint, folder / "tiny"))
    record = json.loads((copy / FILE).read_text("utf-8"))
    (cohort,) = record["cohorts"]
    first, second = parts
    cohort[first], cohort[second] = cohort[second], cohort[first]
    (copy / FILE).write_text(json.dumps(record))
    return copy


def test_a_training_leaves_a_record_of_its_participants(tiny_checkpoint: Path, tiny_store: CohortStore):
    record = read_participants(tiny_checkpoint / "tiny")
    assert record is not None
    (cohort,) = record.cohorts
    assert cohort.source_name == "balls"
    assert {part: len(rows) for part, rows in tiny_store.split().items()} == {
        part: len(hashes) for part, hashes in cohort.parts.items()
    }


def test_a_training_person_in_the_test_part_is_caught(tiny_checkpoint: Path, store: CohortStore, tmp_path: Path):
    path = exchanged(tiny_checkpoint / "tiny", tmp_path)
    record = read_participants(path)
    assert record is not None
    model = load(path, "cpu")
    trained = {i for i, row in enumerate(store.rows) if record.cohorts[0].part_of(row["participant_id"]) == "train"}
    assert trained & set(store.split()["test"].tolist()), "the store would have them tested"
    known, _ = judged(store, record, model.name)
    tasks = [*evaluation_tasks(model, known, 12, 0), *audit_tasks(model, known, 12, 0)]
    real = {side: {t.index for t in tasks if t.side == side} for side in ("test", "holdout", "train")}
    assert not (real["test"] | real["holdout"]) & trained
    assert real["train"] == trained


@pytest.mark.parametrize("kind", ["evaluate", "audit"])
def test_too_few_persons_whom_the_model_has_not_seen_are_refused(
    kind, tiny_checkpoint: Path, store: CohortStore, tmp_path: Path
):
    """Of 60 persons all but a few would be training persons."""
    copy = Path(shutil.copytree(tiny_checkpoint / "tiny", tmp_path / "tiny"))
    record = read_participants(copy)
    assert record is not None
    cohort = record.cohorts[0]
    everybody = frozenset(cohort.hashed(row["participant_id"]) for row in store.rows)
    few = frozenset(sorted(everybody)[:5])
    changed = replace(cohort, parts={"train": everybody - few, "validation": frozenset(), "test": few})
    (copy / FILE).write_text(json.dumps(replace(record, cohorts=(changed,)).to_json()))
    with pytest.raises(
        EvaluationError, match=r"the store has 5 test persons of 60.*whom tiny has not seen in training"
    ):
        list(report(kind, copy, store.path, tmp_path / "out", Options(n=12, cost=False, workers=1)))


def test_a_training_that_goes_on_keeps_the_roles_of_its_source(
    tiny_recipe: Recipe, tiny_checkpoint: Path, store: CohortStore, tmp_path: Path
):
    source = exchanged(tiny_checkpoint / "tiny", tmp_path)
    assert tiny_recipe.rows is not None
    short = replace(
        tiny_recipe,
        autoencoder=replace(tiny_recipe.autoencoder, steps=1),
        flow=replace(tiny_recipe.flow, steps=1),
        rows=replace(tiny_recipe.rows, steps=1),
    )
    for _ in train(short, store, tmp_path / "run", source=source):
        pass
    before, after = read_participants(source), read_participants(tmp_path / "run/checkpoint")
    assert before is not None
    assert after is not None
    assert after.cohorts[0].salt == before.cohorts[0].salt
    for part, hashes in before.cohorts[0].parts.items():
        assert hashes <= after.cohorts[0].parts[part]
    held = load_checkpoint(tmp_path / "run/checkpoint").config.provenance["persons"]
    assert held == len(after.cohorts[0].parts["train"]) > 6
