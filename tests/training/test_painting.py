"""The last stage of a model with detail: what it paints gets the texture of scans, and nothing but the painter changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.run import step_generator
from engine.training.stages.local.detail import DetailTraining, decoded
from engine.training.stages.local.painting import train_painting
from engine.training.stages.local.texture import TextureTraining
from tests.training.test_texture import roughness, weights

CONFIG = TextureTraining(
    steps=40, batch=2, crop=24, width=8, warmup=5, weight=4.0, rate=1e-3, mirror=0.0, bfloat16=False
)

#: tokens as they are encoded: the flow of a tiny model draws nobody
HOW = DetailTraining(redrawn=0.0)


def run(model: JointModel, store: CohortStore, folder: Path, steps: int = CONFIG.steps) -> list[int]:
    folder.mkdir(exist_ok=True)
    rows, config = store.split()["train"], replace(CONFIG, steps=steps)
    stage = train_painting(model, store, rows, config, HOW, run_dir=folder, seed=0)
    return [progress.step for progress in stage]


def test_paintings_come_near_the_texture_of_scans(mask_run: Path, labelled_store: CohortStore, tmp_path: Path) -> None:
    model = load_checkpoint(mask_run / "checkpoint").model
    # fitted to whom the flow draws
    model.detail.gain.fill_(1)
    before = weights(model)
    people = [decoded(model, labelled_store, int(row), HOW, step_generator(1, int(row))) for row in range(4)]
    base, mask = torch.stack([one.base for one in people]), torch.stack([one.mask for one in people])

    def painted() -> torch.Tensor:
        noise = torch.randn(base.shape, generator=step_generator(2, 0))
        with torch.no_grad():
            return model.detail.draw(base, mask, noise, 1)

    smooth = roughness(painted())
    real = roughness(torch.stack([person.scan for person in people]))
    # how soon the critic is heard hangs on rounding, and then texture grows in a few steps
    for steps in range(20, 261, 20):
        assert run(model, labelled_store, tmp_path, steps)[-1] == steps
        rough = roughness(painted())
        if rough > (smooth + real) / 2:
            break
    assert abs(rough - real) < 0.8 * abs(smooth - real)
    changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("detail.net.", "detail.noise.")) for name in changed)


def test_a_painting_that_was_stopped_ends_as_if_it_was_not(
    mask_run: Path, labelled_store: CohortStore, tmp_path: Path
) -> None:
    one, part, other = (load_checkpoint(mask_run / "checkpoint").model for _ in range(3))
    run(one, labelled_store, tmp_path / "one", 4)
    run(part, labelled_store, tmp_path / "other", 2)
    run(other, labelled_store, tmp_path / "other", 4)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


@pytest.mark.slow
def test_a_recipe_with_texture_paints_at_the_end(
    mask_recipe: Recipe, labelled_store: CohortStore, tmp_path: Path
) -> None:
    short = replace(mask_recipe.autoencoder, steps=2)
    recipe = replace(
        mask_recipe,
        texture=replace(CONFIG, steps=2),
        autoencoder=short,
        mask_training=replace(mask_recipe.mask_training, steps=2),
        detail_training=replace(mask_recipe.detail_training, steps=2),
        refiner=replace(mask_recipe.refiner, steps=2),
        flow=replace(mask_recipe.flow, steps=2, copies=1),
    )
    stages = [progress.stage for progress in train(recipe, labelled_store, tmp_path / "run")]
    order = [stage for i, stage in enumerate(stages) if stage not in stages[:i]]
    assert order[-4:] == ["refiner", "detail", "texture", "fingerprint"]
    found = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert found.config.provenance["texture_steps"] == 2
