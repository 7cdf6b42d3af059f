"""What the detail is trained on: tokens as the flow draws them for a person's mask and row."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.inference.conditioning import given_rows, with_masks
from engine.inference.generate import IMAGE_POWER
from engine.model.joint import JointModel
from engine.model.sampler import Known, sample
from engine.training.run import step_generator
from engine.training.stages.local import detail
from engine.training.stages.local.crops import CropConfig, Crops
from engine.training.stages.local.detail import DetailTraining, decoded, redrawn
from engine.training.stages.mask import class_of_code, load_masks


@pytest.fixture
def model(mask_run: Path) -> JointModel:
    return load_checkpoint(mask_run / "checkpoint").model.requires_grad_(False)


def known_of(model: JointModel, store: CohortStore, row: int) -> Known:
    assert model.config.mask is not None
    masks = load_masks(store, np.array([row]), class_of_code(model.config.mask))
    return with_masks(model, given_rows(model, [store.rows[row]]), [masks[0]])


def from_level(monkeypatch: pytest.MonkeyPatch, level: int) -> torch.Generator:
    monkeypatch.setattr(detail.torch, "randint", lambda *_, **__: torch.tensor(level))
    return torch.Generator()


@pytest.mark.slow
def test_from_the_first_level_on_it_is_a_draw_for_mask_and_row(
    model: JointModel, labelled_store: CohortStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, noise = known_of(model, labelled_store, 0), model.noise([3])
    generator = from_level(monkeypatch, 0)
    image = torch.randn(noise.image.shape, generator=step_generator(0, 0))
    drawn = redrawn(model, known, image, noise.image, generator)
    assert torch.equal(drawn, redrawn(model, known, -image, noise.image, generator))
    start = known.value._replace(image=noise.image)
    times = {"evaluations": detail.REDRAWN_STEPS, "shift": model.config.shift, "linear": model.linear(known)}
    monkeypatch.setattr("engine.model.sampler.schedule", lambda n, _: detail.schedule(n, power=IMAGE_POWER))
    torch.testing.assert_close(drawn, sample(model.velocity, start, known, **times).image)
    other = known_of(model, labelled_store, 1)._replace(table=known.table)
    other = other._replace(value=other.value._replace(table=known.value.table))
    assert not torch.allclose(drawn, redrawn(model, other, image, noise.image, generator), atol=1e-3)


def test_the_later_it_begins_the_more_it_stays(
    model: JointModel, labelled_store: CohortStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    known, noise = known_of(model, labelled_store, 0), model.noise([3]).image
    image = redrawn(model, known, noise, model.noise([4]).image, from_level(monkeypatch, 0))
    away = [
        float((redrawn(model, known, image, noise, from_level(monkeypatch, level)) - image).square().mean())
        for level in range(detail.REDRAWN_STEPS)
    ]
    assert sorted(away, reverse=True) == away


def test_scan_and_mask_of_an_example_are_the_persons_own(model: JointModel, labelled_store: CohortStore) -> None:
    assert model.config.mask is not None
    mine, anew = (
        decoded(model, labelled_store, 2, DetailTraining(redrawn=share), step_generator(1, 2)) for share in (0.0, 1.0)
    )
    masks = load_masks(labelled_store, np.array([2]), class_of_code(model.config.mask))
    for person in (mine, anew):
        assert torch.equal(person.mask, masks[0])
    assert torch.equal(mine.scan, anew.scan)
    assert not torch.allclose(mine.base, anew.base, atol=1e-4)


@pytest.mark.parametrize(("grid", "persons"), [((48, 48, 48), 36), ((240, 208, 288), 1)])
def test_large_scans_are_made_fewer_at_once_and_serve_more_steps(grid: tuple[int, int, int], persons: int):
    made: list[int] = []

    def make(row: int, generator: torch.Generator) -> tuple[torch.Tensor, ...]:
        made.append(row)
        return (torch.zeros(()).expand(1, *grid),)

    crops = Crops(make, np.arange(9), grid, CropConfig(persons=6, reuse=12, batch=1), seed=0)
    for step in range(72):
        crops(step)
    assert len(made) == persons
