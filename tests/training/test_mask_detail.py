"""A mask's detail is drawn of all voxels together: of a person who is one of two, half each, every draw is the one or the other."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.inference.generate import load
from engine.model.config import DetailConfig
from engine.model.nn.mask_detail import CELL, CODE, MaskDetail
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.stages.local.crops import CropConfig
from engine.training.stages.local.mask_detail import MaskDetailTraining, labels_error

SIDE = 16


def one_of_two(left: Tensor) -> Tensor:
    """Labels (b, 1, x, y, z) whose left half, or right half, is of class 1."""
    half = torch.arange(SIDE) < SIDE // 2
    labels = torch.where(left[:, None], half, ~half).to(torch.uint8)
    return labels[:, None, :, None, None].expand(-1, 1, SIDE, SIDE, SIDE)


def read(step: int) -> tuple[list[Tensor], list[tuple[int, int, int]], torch.Generator]:
    generator = torch.Generator().manual_seed(step)
    labels = one_of_two(torch.rand(4, generator=generator) < 0.5)
    base, scores = torch.full((4, 1, SIDE, SIDE, SIDE), 0.5), torch.zeros(4, 2, 1, SIDE, SIDE, SIDE)
    return [base, scores, labels], [(0, 0, 0)] * 4, generator


def test_draws_are_whole_and_of_both_kinds() -> None:
    torch.manual_seed(0)
    net = MaskDetail(DetailConfig(widths=(16, 16, 16), blocks=1, mask_steps=6), 1, 2, (SIDE, SIDE, SIDE))
    optimizer, objective = torch.optim.Adam(net.parameters(), lr=3e-3), labels_error(net, read, 0.0, False)

    def drawn() -> Tensor:
        """How much of the left half is of class 1, and of the right half, of 16 draws."""
        (base, scores, _), _, _ = read(0)
        with torch.no_grad():
            noise = torch.randn(16, CODE, 1, *[SIDE // CELL] * 3, generator=torch.Generator().manual_seed(1))
            labels = net.draw(base[:1].expand(16, -1, -1, -1, -1), scores[:1].expand(16, *scores.shape[1:]), noise, 8)
        return labels[:, 0].float().reshape(16, 2, -1).mean(-1)

    before = drawn()
    assert float((before - 0.5).abs().max()) < 0.2
    for step in range(300):
        optimizer.zero_grad()
        objective(step).total.backward()
        optimizer.step()
    after = drawn()
    left = after[:, 0] > after[:, 1]
    whole = (after[:, 0] - after[:, 1]).abs() > 0.9
    # an untrained network mixes both in every draw
    assert float(whole.float().mean()) >= 0.6
    assert 0 < int(left[whole].sum()) < int(whole.sum())


@pytest.fixture(scope="module")
def short(mask_recipe: Recipe) -> Recipe:
    crops = CropConfig(size=(16, 16, 16), batch=2, persons=2, reuse=4)
    return replace(
        mask_recipe,
        detail=DetailConfig(widths=(8, 8, 8), blocks=1, mask_steps=3, class_widths=(16, 16, 16)),
        mask_detail=MaskDetailTraining(steps=6, crops=crops, warmup=2, bfloat16=False),
        flow=replace(mask_recipe.flow, steps=2),
        refiner=replace(mask_recipe.refiner, steps=2),
        detail_training=replace(mask_recipe.detail_training, steps=2),
    )


def test_a_person_is_drawn_for_a_mask_of_the_same_seed(
    short: Recipe, labelled_store: CohortStore, tmp_path: Path
) -> None:
    stages = dict.fromkeys(p.stage for p in train(short, labelled_store, tmp_path / "run"))
    order = list(stages)
    assert order.index("refiner") < order.index("mask_detail") < order.index("detail")
    model = load(tmp_path / "run" / "checkpoint", "cpu")
    assert model.checkpoint.model.draws_masks
    assert model.card["training"]["mask_detail_steps"] == 6
    one, again, other = (model.generate(seed=seed, with_mask=True)[0] for seed in (3, 3, 4))
    assert one.mask is not None
    assert again.mask is not None
    assert other.mask is not None
    assert (one.mask.labels == again.mask.labels).all()
    assert (one.mask.labels != other.mask.labels).any()
    # two at once are what each is alone, and a scan is painted for the mask that is returned
    both = model.generate(n=2, seed=3, with_mask=True)
    assert (both[1].mask.labels == other.mask.labels).all()  # type: ignore[union-attr]
    given = model.generate(seed=3, mask=one.mask, given={})[0]
    assert given.mask is one.mask
    # a draft's mask is the likeliest, and costs no draw
    draft = model.generate(seed=3, with_mask=True, detail=False)[0]
    assert draft.mask is not None
