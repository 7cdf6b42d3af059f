"""The command line's ``train`` of rulers: from a labelled store to a checkpoint that measures; a store without is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from engine.__main__ import main
from engine.anatomy.torso import TORSO
from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume, centred_affine
from engine.measure.head import HeadMeasure
from engine.measure.segmenter import SegmenterConfig
from engine.measure.torso import CLASSES, TorsoMeasure, TorsoMeasureConfig
from engine.phantom.cohort import person_seeds
from engine.phantom.shape.frame import SPACING
from engine.phantom.tissue import TISSUES
from engine.phantom.torsos import make
from engine.training import recipes
from engine.training.run import RunError
from engine.training.stages.labelled_torsos import persons_of, train_body_on
from engine.training.stages.measure_head import train_measure
from engine.training.stages.measure_torso import BodyRecipe
from engine.training.stages.segmenter import SegmenterTraining
from engine.training.stages.torso_examples import BodyTraining
from tests.measure.balls import RECIPE, ball_store, labelled_balls  # noqa: F401

WINDOW = (48, 48, 48)
TORSOS = BodyRecipe(
    measure=TorsoMeasureConfig(
        segmenter=SegmenterConfig(
            classes=CLASSES, window=WINDOW, spacing=SPACING, centre=(0.0,) * 3, widths=(8, 8, 8), inputs=2
        ),
        plausible=(0.0, 1000.0),
    ),
    training=BodyTraining(
        pool=3, refresh=2, shortest=32, segmenter=SegmenterTraining(steps=3, bfloat16=False, cut=0.0, blur=0.5)
    ),
    seed=3,
)


def torso_store(path: Path, persons: int = 100, *, labels: bool = True, channels: tuple[str, ...] = TORSO.channels):
    """The middle of one computed torso, brightness by person."""
    one = make([990_005])[0]
    images, codes = one.images[:, 24:72, 8:56, 40:88], one.labels[24:72, 8:56, 40:88]
    builder = StoreBuilder(
        path,
        recipe="torso_dixon",
        grid=WINDOW,
        affine=centred_affine(WINDOW, SPACING),
        channels=channels,
        plan={},
        info={"source_name": "pieces", "label_names": {str(tissue.code): tissue.name for tissue in TISSUES}},
    )
    rows = []
    for i in range(persons):
        name = f"sub-{i:03d}"
        builder.add(name, images // (1 + i % 3), codes > 0, codes if labels else None)
        rows.append({"participant_id": name, **one.row, "age": 20.0 + i, "sex": "FM"[i % 2], "seed": i})
    return builder.finish(rows)


@pytest.fixture(scope="module")
def torsos(tmp_path_factory: pytest.TempPathFactory) -> CohortStore:
    return torso_store(tmp_path_factory.mktemp("torsos") / "store")


@pytest.mark.slow
def test_a_head_ruler_is_trained_by_the_command(
    ball_store: CohortStore,  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """It resumes, prints where the checkpoint lies, and the checkpoint measures and has its card."""
    brief = replace(
        RECIPE, training=replace(RECIPE.training, steps=4), measure=replace(RECIPE.measure, plausible=(0.0, 1e6))
    )
    monkeypatch.setitem(recipes.RULERS, "measure_head", partial(train_measure, brief))
    argv = ["train", "measure_head", str(ball_store.path), "--run-dir", str(tmp_path / "run")]
    assert main([*argv, "--minutes", "0.00001"]) == 0
    first = capsys.readouterr()
    assert first.out == f"{tmp_path / 'run' / 'checkpoint'}\n"
    assert "segmenter 1 of 4, entropy " in first.err
    assert main(argv) == 0
    second = capsys.readouterr()
    assert "segmenter 4 of 4, entropy " in second.err
    assert "cohort " in second.err

    ruler = HeadMeasure.load(tmp_path / "run" / "checkpoint")
    assert ruler.errors.keys() == {"ventricles_ml", "brain_ml", "intracranial_ml"}
    assert "energy of training" in ruler.card
    assert main(["info", str(tmp_path / "run" / "checkpoint")]) == 0
    assert capsys.readouterr().out.startswith("# Measures on a head")
    assert (tmp_path / "run" / "progress.jsonl").is_file()


@pytest.mark.slow
def test_a_torso_ruler_is_trained_by_the_command(
    torsos: CohortStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(recipes.RULERS, "measure_torso", partial(train_body_on, TORSOS))
    assert main(["train", "measure_torso", str(torsos.path), "--run-dir", str(tmp_path / "run")]) == 0
    said = capsys.readouterr()
    assert said.out == f"{tmp_path / 'run' / 'checkpoint'}\n"
    assert "segmenter 3 of 3, entropy " in said.err
    held = {part: len(rows) for part, rows in torsos.split().items()}
    assert f"test {held['test']} of {held['test']}" in said.err
    ruler = TorsoMeasure.load(tmp_path / "run" / "checkpoint")
    assert "About 4 in-silico persons" in ruler.card["trained_on"], "three in the pool, one exchanged"
    stored = json.loads((tmp_path / "run" / "checkpoint" / "config.json").read_text())
    assert stored["provenance"]["figures"]["n"] == held["test"]
    scan = Volume(torsos.scan(0), torsos.affine, torsos.channels)
    assert ruler.measure(scan).keys() == ruler.measures.keys()


def test_each_part_of_the_store_is_used_for_what_it_is(torsos: CohortStore) -> None:
    """Training persons are the split's, each of them; persons held out are never trained on."""
    maker, parts = persons_of(torsos, TORSOS), torsos.split()

    def rows(seeds: list[int]) -> list[int]:
        return [person.row["seed"] for person in maker(seeds)]

    n = len(parts["train"])
    assert rows(person_seeds(TORSOS.seed, 2 * n)) == 2 * [torsos.rows[i]["seed"] for i in parts["train"]]
    for part, seed in (("validation", TORSOS.seed + 1), ("test", TORSOS.seed + 2)):
        found = rows(person_seeds(seed, len(parts[part])))
        assert found == [torsos.rows[i]["seed"] for i in parts[part]]
    person = maker(person_seeds(TORSOS.seed, 1))[0]
    row = int(parts["train"][0])
    assert torsos.labels is not None
    np.testing.assert_array_equal(person.images, torsos.volumes[row])
    np.testing.assert_array_equal(person.labels, torsos.labels[row])


def test_a_store_without_labels_is_refused(
    refused: Callable[..., str], tiny_store: CohortStore, tmp_path_factory: pytest.TempPathFactory, tmp_path: Path
) -> None:
    run, folder = ("--run-dir", tmp_path / "run"), tmp_path_factory.mktemp("stores")
    (tmp_path / "run").mkdir()
    said = refused("train", "measure_head", tiny_store.path, *run)
    assert f"{tiny_store.path} has no labels, so there is nothing to learn from; ingest a labelled data set" in said
    bare = torso_store(folder / "bare", 4, labels=False)
    said = refused("train", "measure_torso", bare.path, *run)
    assert "has no labels, so there is nothing to learn from; make it with somatwin phantom --labels" in said
    said = refused("train", "measure_torso", tiny_store.path, *run)
    assert "holds T1w and no torsos; give a store made by somatwin phantom" in said
    few = torso_store(folder / "few", 4)
    assert "persons, 5 are needed; make one of more persons" in refused("train", "measure_torso", few.path, *run)
    small = labelled_balls(folder / "small", 4)
    with pytest.raises(RunError, match=r"has \d labelled \w+ persons, 3 are needed"):
        next(train_measure(RECIPE, small, tmp_path / "other"))


def test_what_belongs_to_models_is_refused(
    refused: Callable[..., str], tiny_store: CohortStore, tmp_path: Path
) -> None:
    run = ("--run-dir", tmp_path / "run")
    for recipe in ("measure_head", "measure_torso"):
        said = refused("train", recipe, tmp_path / "none", *run, "--persons", "3")
        assert f"{recipe} does not train on computed persons; leave --persons 3 out" in said
    said = refused("train", "measure_head", tiny_store.path, *run, "--from", "head-t1")
    assert "measure_head starts from nothing; leave --from head-t1 out" in said
    assert "features_torso, features_heart, measure_head, measure_torso, measure_heart" in refused(
        "train", "arm", tiny_store.path, *run
    )
