"""The recipes of high resolution: their grids, and from a chunked store to a person by way of a few steps of every stage."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import zoom

import engine
from engine.cohort.builder import StoreBuilder
from engine.cohort.chunked import ChunkedArray
from engine.cohort.store import CohortStore
from engine.imaging.volume import centred_affine
from engine.model.nn.cascade import Cascade
from engine.model.nn.large import LARGE
from engine.phantom.anthropometry import PhantomError
from engine.phantom.cohort import person_seeds, write_cohort
from engine.phantom.shape.frame import HD, RASTER, SPACING
from engine.phantom.torsos import make
from engine.training.pipeline import train
from engine.training.recipes import RECIPES, Recipe, head_t1, head_t1_1mm, torso_dixon, torso_dixon_hd
from engine.training.stages.local.coarse import coarse_store, make_coarser


@pytest.mark.parametrize(("fine", "coarse"), [(head_t1_1mm, head_t1), (torso_dixon_hd, torso_dixon)])
@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_what_is_finer_is_a_cascade_on_the_other_model(fine, coarse, size: str) -> None:
    recipe, other = fine(size), coarse(size)
    assert RECIPES[recipe.name] is fine
    assert math.prod(recipe.model.image.grid) > LARGE >= math.prod(recipe.model.image.coded)
    image = replace(recipe.model.image, grid=other.model.image.grid, reduction=1)
    assert replace(recipe.model, image=image) == other.model
    assert recipe.schema == other.schema


def test_heads_at_1_mm_have_the_tokens_of_heads_at_2_mm() -> None:
    fine, coarse = head_t1_1mm().model.image, head_t1().model.image
    assert fine.coded == coarse.grid
    assert fine.token_grid == coarse.token_grid


def test_a_finer_raster_sees_the_same_field_of_view() -> None:
    for n, mm, m, finer in zip(RASTER.grid, SPACING, HD.grid, HD.spacing, strict=True):
        assert 0 <= m * finer - n * mm <= 16
    assert (RASTER.fine, HD.fine) == (1, 2)
    assert HD.spacing == (2.0, 2.0, 3.0)


def test_a_coarse_voxel_lies_in_the_middle_of_its_box(labelled_store: CohortStore, tmp_path: Path) -> None:
    way = Cascade(labelled_store.grid, 2, (0, 4, 0))
    rows = labelled_store.split()["train"]
    for _ in make_coarser(labelled_store, rows, way, tmp_path):
        pass
    coarse, row = coarse_store(labelled_store, way, tmp_path), rows[0]
    assert coarse.grid == way.coded == (16, 20, 16)
    corner = coarse.affine @ [0, 2, 0, 1]
    assert np.allclose(corner, labelled_store.affine @ [0.5, 0.5, 0.5, 1])
    fine = labelled_store.scan(row)
    assert np.allclose(coarse.scan(row)[0, 3, 5, 7], fine[0, 6:8, 6:8, 14:16].mean(), atol=1 / 255)
    assert coarse.rows is labelled_store.rows


def test_a_cascade_is_learned_whole(mask_recipe: Recipe, labelled_store: CohortStore, tmp_path: Path) -> None:
    model = mask_recipe.model
    recipe = replace(mask_recipe, model=replace(model, image=replace(model.image, reduction=2)))
    stages = list(dict.fromkeys(p.stage for p in train(recipe, labelled_store, tmp_path / "run")))
    assert stages[0] == "coarse"
    assert {"autoencoder", "mask", "flow", "refiner", "detail"} <= set(stages)
    again = {p.stage for p in train(recipe, labelled_store, tmp_path / "run")}
    assert "coarse" not in again
    learned = engine.load(tmp_path / "run" / "checkpoint", device="cpu")
    assert learned.checkpoint.model.autoencoder.template.shape == (1, 16, 16, 16)
    (person,) = learned.generate(seed=1, steps=2, with_mask=True)
    assert person.volume.data.shape == labelled_store.grid
    assert person.mask is not None
    assert person.mask.labels.shape == labelled_store.grid
    # balls: bright within, dark outside
    middle, rim = person.volume.data[12:20, 12:20, 12:20].mean(), person.volume.data[:4].mean()
    assert middle > rim + 0.2


def test_persons_are_computed_for_recipes_of_theirs_only(tmp_path: Path) -> None:
    with pytest.raises(PhantomError, match="head_t1 takes no computed persons"):
        next(write_cohort(tmp_path / "s", n=1, recipe="head_t1"))


@pytest.mark.slow
def test_a_person_at_2_mm_is_who_it_is_at_5_mm() -> None:
    seeds = person_seeds(7, 1)
    (coarse,), (fine,) = make(seeds), make(seeds, raster=HD)
    assert fine.images.shape == (2, *HD.grid)
    for name in ("age", "sex", "height", "bmi", "ethnicity", "smoking", "body_fat"):
        assert fine.row[name] == coarse.row[name]
    for name in ("sat", "muscle", "liver_volume"):
        assert fine.row[name] == pytest.approx(coarse.row[name], rel=0.06), name


def short(recipe: Recipe) -> Recipe:
    """Two steps of every stage, a person a step where whole persons are learned from."""
    stages = {"autoencoder": recipe.autoencoder, "flow": recipe.flow, "rows": recipe.rows, "texture": recipe.texture}
    stages |= {
        "mask_training": recipe.mask_training,
        "detail_training": recipe.detail_training,
        "refiner": recipe.refiner,
    }
    stages["mask_detail"] = recipe.mask_detail
    made = {name: replace(stage, steps=2) for name, stage in stages.items() if stage is not None}
    for name in ("autoencoder", "mask_training", "rows"):
        made[name] = replace(made[name], batch=1)
    made["flow"] = replace(made["flow"], batch=1, copies=1)
    return replace(recipe, **{**made, "texture": None}, texture_share=0.0)


def heads(path: Path, recipe: Recipe, n: int = 6) -> CohortStore:
    """Smooth random blobs as heads of the recipe's grid, some with labels of none."""
    assert recipe.preprocess is not None
    grid = recipe.preprocess.grid
    build = StoreBuilder(
        path,
        recipe=recipe.name,
        grid=grid,
        affine=centred_affine(grid, (1.0, 1.0, 1.0)),
        channels=("T1w",),
        plan={},
        info={"source_name": "blobs", "licence": "CC0-1.0"},
    )
    rng = np.random.default_rng(0)
    rows = []
    for i in range(n):
        blob = zoom(rng.random((12, 14, 14), np.float32), 16, order=1)
        build.add(f"sub-{i}", (blob * 255).astype(np.uint8)[None], blob > 0.5)
        row = {"participant_id": f"sub-{i}", "age": 30.0 + i, "sex": "FM"[i % 2], "height": 160.0 + i, "bmi": 22.0 + i}
        rows.append({**row, "ethnicity": ("White", "Chinese")[i % 2]})
    return build.finish(rows)


@pytest.mark.slow
def test_heads_at_1_mm_from_store_to_person(tmp_path: Path) -> None:
    recipe = short(head_t1_1mm())
    store = heads(tmp_path / "s", recipe)
    assert isinstance(store.volumes, ChunkedArray)
    whole(recipe, store, tmp_path)


@pytest.mark.slow
def test_torsos_at_2_mm_from_phantom_to_person(tmp_path: Path) -> None:
    recipe = short(torso_dixon_hd())
    made = write_cohort(tmp_path / "s", n=5, labels=True, recipe=recipe.name, workers=1)
    for _ in made:
        pass
    whole(recipe, CohortStore.open(tmp_path / "s"), tmp_path)


def whole(recipe: Recipe, store: CohortStore, folder: Path) -> None:
    for _ in train(recipe, store, folder / "run"):
        pass
    model = engine.load(folder / "run" / "checkpoint", device="cpu")
    (person,) = model.generate(steps=2)
    assert person.volume.data.shape[-3:] == recipe.model.image.grid
    assert np.isfinite(person.volume.data).all()
