"""The last stage: the decoder's pictures get the texture of scans, and nothing but the decoder changes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.networks.nets.patchgan_discriminator import PatchDiscriminator

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.run import Progress
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.local.texture import TextureTraining, judgement, train_texture

CONFIG = TextureTraining(steps=60, crop=24, width=8, warmup=5, weight=8.0, rate=2e-3, bfloat16=False)


@pytest.fixture
def model(tiny_run: Path) -> JointModel:
    return load_checkpoint(tiny_run / "checkpoint").model


def run(model: JointModel, store: CohortStore, folder: Path, **changes: object) -> list[Progress]:
    table = model.schema.encode(store.rows)
    folder.mkdir(exist_ok=True)
    config = replace(CONFIG, **changes)  # pyright: ignore[reportArgumentType]
    return list(train_texture(model, store, store.split()["train"], table, config, run_dir=folder, seed=0))


def weights(model: JointModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def roughness(volumes: torch.Tensor) -> float:
    """Standard deviation of voxels about the mean of their neighbours."""
    return float((volumes - torch.nn.functional.avg_pool3d(volumes, 3, 1, 1))[..., 2:-2, 2:-2, 2:-2].std())


@pytest.mark.slow
def test_texture_comes_near_that_of_scans_and_only_the_decoder_changes(
    model: JointModel, tiny_store: CohortStore, tmp_path: Path
) -> None:
    before, coder = weights(model), model.autoencoder
    volumes = load_batch(tiny_store, tiny_store.split()["test"], torch.device("cpu"))[:, :-1]
    with torch.no_grad():
        smooth = roughness(coder.decode(coder.encode(volumes)))
    steps = run(model, tiny_store, tmp_path)
    with torch.no_grad():
        rough = roughness(coder.decode(coder.encode(volumes)))
    assert (steps[-1].step, set(steps[-1].losses)) == (60, {"reconstruction", "drawn", "critic"})
    real = roughness(volumes)
    assert smooth < rough < 1.5 * real
    assert abs(rough - real) < 0.8 * abs(smooth - real)
    changed = {name for name, value in weights(model).items() if not torch.equal(value, before[name])}
    assert changed
    assert all(name.startswith(("autoencoder.decoder.", "autoencoder.head.", "autoencoder.tail.")) for name in changed)


def test_a_run_that_was_stopped_ends_as_if_it_was_not(tiny_run: Path, tiny_store: CohortStore, tmp_path: Path) -> None:
    make: Callable[[], JointModel] = lambda: load_checkpoint(tiny_run / "checkpoint").model  # noqa: E731
    one, other = make(), make()
    run(one, tiny_store, tmp_path / "one", steps=6)
    run(make(), tiny_store, tmp_path / "other", steps=3)
    run(other, tiny_store, tmp_path / "other", steps=6)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name


def test_each_loss_moves_its_own_network_only() -> None:
    torch.manual_seed(0)
    critic = PatchDiscriminator(spatial_dims=3, channels=4, in_channels=1, norm="INSTANCE")
    drawn, real = torch.rand(1, 1, 24, 24, 24, requires_grad=True), torch.rand(1, 1, 24, 24, 24)
    found = judgement(critic, drawn, real)
    (to_drawn,) = torch.autograd.grad(found.critic, drawn, retain_graph=True, allow_unused=True)
    assert to_drawn is None
    found.drawn.backward()
    assert drawn.grad is not None
    assert float(drawn.grad.abs().sum()) > 0
    assert all(p.grad is None for p in critic.parameters())
    same = judgement(critic, real, real)
    np.testing.assert_allclose(float(same.drawn), -float(critic(real)[-1].detach().mean()), rtol=1e-5)


def test_a_recipe_with_texture_ends_with_it(tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path) -> None:
    texture = replace(CONFIG, steps=2)
    recipe = replace(
        tiny_recipe,
        texture=texture,
        autoencoder=replace(tiny_recipe.autoencoder, steps=2),
        flow=replace(tiny_recipe.flow, steps=2, copies=1),
    )
    stages = [progress.stage for progress in train(recipe, tiny_store, tmp_path / "run")]
    order = ["autoencoder", "latents", "rows", "flow", "correction", "texture", "fingerprint"]
    assert [stage for i, stage in enumerate(stages) if stage not in stages[:i]] == order
    found = load_checkpoint(tmp_path / "run" / "checkpoint")
    assert found.config.provenance["texture_steps"] == 2
    assert found.config.provenance["flow_steps"] == 2
    assert "plausible, not measured" in (tmp_path / "run" / "checkpoint" / "model_card.md").read_text("utf-8")
