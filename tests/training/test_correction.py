"""Laws of the mean image's regression: known slopes are found, noise is left alone, training persons come nearer."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

import engine.training.stages.correction as module
from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.model.flow import Joint, Levels
from engine.model.sampler import Known
from engine.training.recipes import Recipe
from engine.training.run import load_tensors
from engine.training.stages.correction import SHARE, fit_correction, ridge


def _leave_one_out(x: torch.Tensor, y: torch.Tensor, weight: float) -> float:
    """By doing it: every person told by a fit without that person."""
    lost = 0.0
    for i in range(len(x)):
        kept = torch.arange(len(x)) != i
        about, level = x[kept].mean(0), y[kept].mean(0)
        centred = x[kept] - about
        slopes = torch.linalg.solve(centred.T @ centred + weight * torch.eye(x.shape[1]), centred.T @ (y[kept] - level))
        lost += float((y[i] - level - (x[i] - about) @ slopes).square().sum())
    return lost


def test_known_slopes_are_found() -> None:
    generator = torch.Generator().manual_seed(0)
    x, slopes = torch.randn(4000, 3, generator=generator), torch.tensor([[1.0, 0.0], [0.0, -2.0], [0.5, 0.0]])
    found = ridge(x, x @ slopes + torch.tensor([3.0, -1.0]))
    assert torch.allclose(found, torch.cat([slopes, torch.tensor([[3.0, -1.0]])]), atol=2e-3)


def test_the_weight_has_the_least_leave_one_out_error() -> None:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(30, 6, generator=generator)
    y = 0.8 * x[:, :2] + torch.randn(30, 2, generator=generator)
    by_doing = {weight: _leave_one_out(x, y, weight) for weight in module.RIDGES}
    best = min(by_doing, key=lambda weight: by_doing[weight])
    assert module.RIDGES[0] < best < module.RIDGES[-1], "a case in which the choice matters"
    centred = x - x.mean(0)
    slopes = torch.linalg.solve(centred.T @ centred + best * torch.eye(6), centred.T @ (y - y.mean(0)))
    assert torch.allclose(ridge(x, y)[:-1], slopes, atol=0.02)


def test_noise_is_left_alone() -> None:
    generator = torch.Generator().manual_seed(2)
    x, y = torch.randn(12, 10, generator=generator), torch.randn(12, 500, generator=generator)
    assert ridge(x, y).norm() < 0.1 * torch.linalg.lstsq(x, y).solution.norm()


def test_training_persons_come_nearer(tiny_run: Path, tiny_store: CohortStore, tiny_recipe: Recipe) -> None:
    """The mean image of a training person's row, corrected, is nearer to the person's image; no gap is ever guessed."""
    model = load_checkpoint(tiny_run / "checkpoint").model
    rows = [tiny_store.rows[i] for i in tiny_store.split()["train"]]
    latents = load_tensors(tiny_run / "latents.safetensors")[0]["latents"]
    shipped = model.correction.clone()
    *_, last = fit_correction(model, latents, rows, seed=tiny_recipe.seed)
    assert torch.allclose(model.correction, shipped, atol=0.02), "what the training itself left, rounded"
    table, known = (torch.from_numpy(part) for part in model.schema.encode(rows))
    whole = known.all(1)
    assert last.step == last.total == int(whole.sum()) > 0
    table, known, bare = table[whole], known[whole], latents[whole][:, 0].float()
    with torch.inference_mode():
        image = model.standardise(model.fuse(bare, table, known))
        noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(3))
        clean = Levels(torch.ones(len(image)), torch.zeros(known.shape))
        mean = noise - model.velocity(Joint(noise, table), clean).image
        nobody = torch.zeros(len(image), dtype=torch.bool)
        moved = model.corrected(Known(Joint(noise, table), nobody, known)) / SHARE
        assert (image - mean - moved).square().mean() <= (image - mean).square().mean()
        known[:, 1] = False
        assert not model.corrected(Known(Joint(noise, table), nobody, known)).any()


def test_no_whole_row_is_no_correction(tiny_run: Path, tiny_store: CohortStore) -> None:
    model = load_checkpoint(tiny_run / "checkpoint").model
    rows = [{**tiny_store.rows[i], "age": None} for i in tiny_store.split()["train"]]
    latents = load_tensors(tiny_run / "latents.safetensors")[0]["latents"]
    assert list(fit_correction(model, latents, rows, seed=0)) == []
    assert not model.correction.any()


@pytest.mark.parametrize("reached", [1, 2])
def test_a_deadline_ends_it(
    tiny_run: Path, tiny_store: CohortStore, monkeypatch: pytest.MonkeyPatch, reached: int
) -> None:
    monkeypatch.setattr(module, "BATCH", 2)
    monkeypatch.setattr(module.time, "monotonic", iter([0.0, *(float(k // 2) for k in range(1, 99))]).__next__)
    model = load_checkpoint(tiny_run / "checkpoint").model
    rows = [tiny_store.rows[i] for i in tiny_store.split()["train"]]
    latents = load_tensors(tiny_run / "latents.safetensors")[0]["latents"]
    steps = [p.step for p in fit_correction(model, latents, rows, seed=0, deadline=reached - 0.5)]
    assert len(steps) == reached
