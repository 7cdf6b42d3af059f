"""What a training would take: laws of ranks and persons, and counts against real tensors."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.evaluation.bench.cost import flop_of
from engine.evaluation.bench.planning import ACCELERATOR, StageCost, here, plan, stage_costs
from engine.model.joint import JointModel
from engine.training.recipes import RECIPES, Recipe, table, tiny
from engine.vocabulary.refusal import ConfigError, RequestError


@pytest.fixture(scope="module")
def recipe() -> Recipe:
    return tiny()


def test_a_step_is_counted_as_on_real_tensors(recipe: Recipe):
    image, _ = stage_costs(recipe)
    coder = JointModel(recipe.model, recipe.schema).autoencoder
    volume = torch.zeros(recipe.autoencoder.batch, 1, *recipe.model.image.grid)
    weights = list(coder.parameters())

    def step() -> None:
        torch.autograd.grad(coder.decode(coder.encode(volume)).sum(), weights, allow_unused=True)

    assert image.flop == flop_of(step)
    assert image.weights == sum(weight.numel() for weight in weights)
    # input and output of the finest map alone, single precision
    assert image.kept > 2 * 4 * volume[0].numel()


def test_ranks_share_the_work_and_add_what_they_tell_each_other():
    stage = StageCost(name="flow", steps=100, batch=8, flop=10**12, weights=10**6, kept=10**8)
    free = replace(ACCELERATOR, bytes_per_second=1e30, latency=0)
    alone = stage.seconds(1, ACCELERATOR)
    assert alone == pytest.approx(100 * 10**12 / ACCELERATOR.flop_per_second)
    for ranks in (2, 4, 8):
        assert stage.seconds(ranks, free) == pytest.approx(alone / ranks)
        assert stage.seconds(ranks, ACCELERATOR) > alone / ranks
        assert stage.bytes(ranks) == 20 * 10**6 + 8 // ranks * 10**8
    # of eight persons a step nobody is left for a ninth rank
    assert stage.seconds(16, ACCELERATOR) == stage.seconds(8, ACCELERATOR)
    # three ranks wait for the one that has three of eight
    assert stage.seconds(3, free) == pytest.approx(alone * 3 / 8)


def test_more_persons_take_proportionally_longer(recipe: Recipe):
    few, many = (plan(recipe, persons=n, ranks=(1, 4)) for n in (1000, 5000))
    for one, five in zip(few["stages"], many["stages"], strict=True):
        assert five["steps"] == 5 * one["steps"]
    assert many["training"][0]["memory_gib_a_rank"] == few["training"][0]["memory_gib_a_rank"]


@pytest.mark.parametrize("name", ["head_t1", "torso_dixon", "heart_cine"])
def test_a_recipe_of_a_gpu_fits_into_one(name: str):
    found = plan(RECIPES[name]("gpu"), persons=10000, ranks=(1,))
    assert 0.5 < found["training"][0]["memory_gib_a_rank"] < 80
    assert 0.1 < found["training"][0]["hours"] < 200


def test_this_machine_is_measured(recipe: Recipe):
    assert here(recipe, runs=1).flop_per_second > 1e6


def test_what_is_no_training_is_refused(recipe: Recipe):
    with pytest.raises(RequestError, match="give numbers from 1"):
        plan(recipe, persons=0)
    with pytest.raises(RequestError, match="no scans"):
        stage_costs(table(recipe.schema))
    with pytest.raises(ConfigError, match="state what it can do"):
        replace(ACCELERATOR, watts=0)
