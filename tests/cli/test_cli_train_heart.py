"""The command line's ``train`` of the heart's ruler: from a store of in-silico hearts and a folder of patients to a checkpoint."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from engine.__main__ import main
from engine.anatomy.heart import HEART
from engine.cohort.builder import StoreBuilder
from engine.cohort.store import CohortStore
from engine.imaging.volume import Volume
from engine.measure.heart.classes import CLASSES
from engine.measure.heart.ruler import HeartMeasure, HeartMeasureConfig
from engine.measure.segmenter import SegmenterConfig
from engine.phantom.heart.raster import RASTER
from engine.phantom.heart.tissue import CODES
from engine.training import recipes
from engine.training.stages.heart.measure import HeartRecipe, train_heart
from engine.training.stages.heart.training import HeartTraining
from tests.phantom.heart.hearts import heart
from tests.training.heart.test_examples import patient

SMALL = SegmenterConfig(
    classes=CLASSES,
    window=(96, 96, 16),
    spacing=RASTER.spacing,
    centre=(0.0,) * 3,
    widths=(8, 8, 8),
    inputs=3,
    flat=2,
    fold=4,
)
RECIPE = HeartRecipe(
    measure=HeartMeasureConfig(segmenter=SMALL, plausible=(0.0, 1e6)),
    training=HeartTraining(steps=2, plain_steps=1, tuning=1, bfloat16=False),
    test=6,
    folds=2,
)


def heart_store(path: Path, persons: int = 40, *, labels: bool = True) -> CohortStore:
    """One computed heart again and again, of other ages."""
    one = heart("healthy")
    builder = StoreBuilder(
        path,
        recipe=HEART.recipe,
        grid=RASTER.grid,
        affine=RASTER.affine,
        channels=HEART.frames,
        plan={},
        info={"source_name": "hearts", "label_names": {str(code): name for name, code in CODES.items()}},
    )
    rows = []
    for i in range(persons):
        name = f"sub-{i:03d}"
        builder.add(name, one.images, one.labels[0] > 0, one.labels if labels else None)
        rows.append({"participant_id": name, **one.row, "age": 20.0 + i, "sex": "FM"[i % 2], "seed": i})
    return builder.finish(rows)


@pytest.mark.slow
def test_a_heart_ruler_is_trained_by_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store, one = heart_store(tmp_path / "store"), patient()
    for number in range(4):
        folder = tmp_path / "patients" / f"sub-{number:02d}" / "cardiac"
        folder.mkdir(parents=True)
        for name, data in (("cine", one.cine.data), ("dseg", one.cavity.astype(np.uint8))):
            image = nib.Nifti1Image(np.moveaxis(data, 0, -1), one.cine.affine)
            nib.save(image, folder / f"sub-{number:02d}_phase-EDES_{name}.nii.gz")
    monkeypatch.setitem(recipes.PATIENTS, "measure_heart", partial(train_heart, RECIPE))
    run = tmp_path / "run"
    argv = ["train", "measure_heart", str(store.path), "--run-dir", str(run), "--patients", str(tmp_path / "patients")]
    assert main(argv) == 0
    said = capsys.readouterr()
    assert said.out == f"{run / 'checkpoint'}\n"
    for stage in ("segmenter 2 of 2", "plain 1 of 1", "fold-0 1 of 1", "fold-1 1 of 1", "patients 1 of 1"):
        assert stage in said.err
    ruler = HeartMeasure.load(run / "checkpoint")
    assert "Then 4 patients of the Sunnybrook Cardiac Data" in ruler.card["trained_on"]
    figures = json.loads((run / "checkpoint" / "config.json").read_text())["provenance"]["figures"]
    assert figures["patients"]["n"] == 4
    assert figures["n"] == len(store.split()["test"][:6])
    assert ruler.classes_on(Volume(store.scan(0), store.affine, store.channels)).phases == HEART.phases


def test_what_no_heart_can_be_learned_from_is_refused(
    refused: Callable[..., str], tiny_store: CohortStore, tmp_path: Path
) -> None:
    run = ("--run-dir", tmp_path / "run")
    assert "and no cines; give a store made by somatwin phantom" in refused(
        "train", "measure_heart", tiny_store.path, *run
    )
    bare = heart_store(tmp_path / "bare", 4, labels=False)
    assert "has no labels of hearts" in refused("train", "measure_heart", bare.path, *run)
    few = heart_store(tmp_path / "few", 4)
    assert "persons, 3 are needed" in refused("train", "measure_heart", few.path, *run)
    whole = heart_store(tmp_path / "whole")
    said = refused("train", "measure_heart", whole.path, *run, "--patients", tmp_path)
    assert "has no sub-*/cardiac/*_phase-EDES_cine.nii.gz" in said
    said = refused("train", "measure_head", tiny_store.path, *run, "--patients", tmp_path)
    assert f"measure_head learns from its store alone; leave --patients {tmp_path} out" in said
