"""The atlas of a cohort of balls: of all persons and of nobody, the same however often its making was stopped."""

from __future__ import annotations

import itertools
from collections.abc import Generator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.inference.generate import Model
from engine.model.nn.atlas_autoencoder import SHARED, AtlasAutoencoder
from engine.model.nn.warp import STRIDE
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.run import RunError
from engine.training.stages.atlas import fit
from engine.training.stages.atlas.fit import AtlasTraining, Cohort, fields_of, fit_atlas
from engine.training.stages.atlas.registration import Pass
from engine.training.stages.atlas.residual import fit_residual
from tests.conftest import MASK

ATLAS = replace(MASK, atlas=True)
OUTLINES = ((MASK.classes[1], MASK.classes[2]), (MASK.classes[2],))
CONFIG = AtlasTraining(
    rounds=((Pass(12, 1.5, 0.2, False),), (Pass(6, 1.0, 0.1, True),)),
    below=(),
    persons=6,
    outlines=OUTLINES,
    outer=(),
)


def coder_of(store: CohortStore) -> AtlasAutoencoder:
    return AtlasAutoencoder(ATLAS, store.grid, len(store.channels)).requires_grad_(False)


def test_persons_agree_with_the_atlas_that_they_make(labelled_store: CohortStore, tmp_path: Path) -> None:
    coder, rows = coder_of(labelled_store), labelled_store.split()["train"]
    for _ in fit_atlas(coder, labelled_store, rows, CONFIG, run_dir=tmp_path):
        pass
    cohort = Cohort.of(labelled_store, rows, ATLAS, CONFIG)
    fields = fields_of(tmp_path)
    assert len(fields) == len(cohort.rows) <= CONFIG.persons
    assert labelled_store.labelled[cohort.rows].all()
    still = torch.zeros_like(fields[:1]).float()
    wrong = [
        [float((coder.seen(field)[0].argmax(0) != cohort.labels(k)).float().mean()) for field in (still, own[None])]
        for k, own in enumerate(fields.float())
    ]
    unmoved, moved = np.mean(wrong, 0)
    assert moved < 0.5 * unmoved


def test_an_atlas_that_was_stopped_ends_as_if_it_was_not(labelled_store: CohortStore, tmp_path: Path) -> None:
    rows, small = labelled_store.split()["train"], replace(CONFIG, persons=2)
    whole, other = coder_of(labelled_store), coder_of(labelled_store)
    total = sum(1 for _ in fit_atlas(whole, labelled_store, rows, small, run_dir=tmp_path / "whole"))
    started = fit_atlas(other, labelled_store, rows, small, run_dir=tmp_path / "stopped")
    list(itertools.islice(started, total - 1))
    assert isinstance(started, Generator)
    started.close()
    again = list(fit_atlas(other, labelled_store, rows, small, run_dir=tmp_path / "stopped"))
    assert 0 < len(again) < total
    assert torch.equal(whole.template, other.template)
    assert torch.equal(whole.anatomy, other.anatomy)


def test_after_the_deadline_no_round_begins_on_any_call(labelled_store: CohortStore, tmp_path: Path) -> None:
    coder, rows, small = coder_of(labelled_store), labelled_store.split()["train"], replace(CONFIG, persons=2)
    (*_, last) = fit_atlas(coder, labelled_store, rows, small, run_dir=tmp_path, deadline=-1.0)
    assert (last.step, last.total) == (2, 4), "one round of two"
    assert len(coder.anatomy.unique()) > 1
    assert list(fit_atlas(coder, labelled_store, rows, small, run_dir=tmp_path)) == []


def test_a_signal_ends_a_round(labelled_store: CohortStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    going = fit_atlas(coder_of(labelled_store), labelled_store, np.array([0, 1]), CONFIG, run_dir=tmp_path)
    next(going)
    monkeypatch.setattr(fit, "stop_asked", lambda: True)
    with pytest.raises(KeyboardInterrupt):
        next(going)


def test_nobody_labelled_is_refused(tiny_store: CohortStore, tmp_path: Path) -> None:
    with pytest.raises(RunError, match=r"no training person of .* has a label map; leave the mask out"):
        next(iter(fit_atlas(coder_of(tiny_store), tiny_store, np.array([0, 1]), CONFIG, run_dir=tmp_path)))


@pytest.mark.slow
def test_a_recipe_with_an_atlas_draws_masks_through_it(
    mask_recipe: Recipe, labelled_store: CohortStore, tmp_path: Path
) -> None:
    recipe = replace(
        mask_recipe,
        mask=ATLAS,
        atlas=replace(CONFIG, persons=2),
        autoencoder=replace(mask_recipe.autoencoder, steps=2),
        mask_training=replace(mask_recipe.mask_training, steps=3),
        detail_training=replace(mask_recipe.detail_training, steps=2),
        refiner=replace(mask_recipe.refiner, steps=2),
        flow=replace(mask_recipe.flow, steps=2, copies=1),
    )
    seen = {progress.stage: progress.losses for progress in train(recipe, labelled_store, tmp_path)}
    assert list(seen)[1:3] == ["atlas", "mask"]
    model = load_checkpoint(tmp_path / "checkpoint").model
    coder = model.mask_autoencoder
    assert isinstance(coder, AtlasAutoencoder)
    assert len(coder.anatomy.unique()) > 1
    assert model.detail.grain.max() > 0
    (person,) = Model(load_checkpoint(tmp_path / "checkpoint")).generate(seed=2, steps=2, with_mask=True)
    assert person.mask is not None
    assert person.mask.labels.any()
    (again,) = Model(load_checkpoint(tmp_path / "checkpoint")).generate(seed=2, steps=2, mask=person.mask)
    assert again.volume is not None


def test_what_tokens_do_not_tell_is_measured_where_it_is_compared(labelled_store: CohortStore, tmp_path: Path) -> None:
    coder, rows = coder_of(labelled_store), labelled_store.split()["train"]
    for _ in fit_atlas(coder, labelled_store, rows, CONFIG, run_dir=tmp_path):
        pass
    cohort = Cohort.of(labelled_store, rows, ATLAS, CONFIG)
    # tokens that tell nothing, persons who lie one voxel to either side of a shift of half a voxel
    half = [n // STRIDE for n in coder.grid]
    sides = torch.tensor([1.0 if k % 2 else -1.0 for k in range(len(cohort.rows))])
    fields = {int(row): torch.full((3, *half), 0.5 + float(side)) for row, side in zip(cohort.rows, sides, strict=True)}
    fit_residual(coder, cohort, fields, CONFIG)
    inside = torch.isin(coder.anatomy, torch.tensor([1, 2], dtype=torch.uint8)).float()
    share = torch.nn.functional.avg_pool3d(inside[None], SHARED)[0]
    whole = share == 1
    assert whole.any()
    mean = 0.5 + float(sides.mean())
    assert coder.residual[:3][:, whole] == pytest.approx(torch.full((3, int(whole.sum())), mean).numpy(), abs=0.12)
    assert coder.residual[3][whole] == pytest.approx(
        np.full(int(whole.sum()), float(sides.std(correction=0))), abs=0.12
    )
    assert not coder.residual[:, share == 0].any()
