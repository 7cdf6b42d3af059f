"""What the image autoencoder begins as, and a model that began without the linear decoder."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import patch_components, space_to_depth
from engine.training.claim import fitted_schema
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.stages.autoencoder import initialise, load_batch


def skipping(recipe: Recipe) -> Recipe:
    image = replace(recipe.model.image, skip=True)
    return replace(recipe, model=replace(recipe.model, image=image))


def test_before_any_step_scans_come_back_as_by_their_principal_components(
    tiny_recipe: Recipe, tiny_store: CohortStore
) -> None:
    recipe = skipping(tiny_recipe)
    model = JointModel(recipe.model, fitted_schema(recipe, tiny_store))
    rows = tiny_store.split()["train"]
    initialise(model, tiny_store, rows, mirrored=False)
    coder, scans = model.autoencoder, load_batch(tiny_store, rows, torch.device("cpu"))[:, :-1]
    with torch.inference_mode():
        found = coder.decode(coder.encode(scans))
    components, _ = patch_components(scans - coder.template, coder.config.latent, coder.config.patch)
    cubes = space_to_depth(scans - coder.template, coder.config.patch)
    there = torch.einsum("of,bfxyz->boxyz", components, cubes)
    best = torch.einsum("of,boxyz->bfxyz", components, there)
    torch.testing.assert_close(space_to_depth(found - coder.template, coder.config.patch), best, atol=1e-5, rtol=1e-4)


def test_a_model_without_the_linear_decoder_learns_on_without_it(
    tiny_run: Path, tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path
) -> None:
    begun = tiny_run / "checkpoint"
    assert not load_checkpoint(begun).model.config.image.skip
    for _ in train(skipping(tiny_recipe), tiny_store, tmp_path / "on", source=begun):
        pass
    assert load_checkpoint(tmp_path / "on" / "checkpoint").model.autoencoder.back is None
