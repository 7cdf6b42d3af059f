"""A whole training by several ranks: the same losses, the same model, and a state that any number of ranks goes on from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from engine.checkpoints.checkpoint import load_checkpoint
from engine.cohort.store import CohortStore
from engine.training.pipeline import train
from engine.training.recipes import Recipe
from engine.training.run import Progress, load_tensors
from engine.training.world import ALONE, World
from tests.training.crew import crew


def shortened(recipe: Recipe, *, fsdp: bool = False) -> Recipe:
    """Few steps; four examples a step of the autoencoder, so that four ranks have one each."""
    return replace(
        recipe,
        autoencoder=replace(recipe.autoencoder, steps=4, batch=4),
        flow=replace(recipe.flow, steps=6, fsdp=fsdp),
        rows=replace(recipe.rows, steps=3) if recipe.rows else None,
    )


def losses(recipe: Recipe, store: CohortStore, run: Path, world: World = ALONE, until: str = "") -> list[Any]:
    """Stage, step and losses of each report, up to the first of the stage ``until``."""
    found: list[Progress] = []
    for progress in train(recipe, store, run, world=world, save_every=0.0):
        found.append(progress)
        if progress.stage == until:
            break
    return [(p.stage, p.step, p.losses) for p in found if p.losses]


def alike(found: Sequence[Any], expected: Sequence[Any]) -> None:
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    for (_, _, one), (_, _, other) in zip(found, expected, strict=True):
        assert one == pytest.approx(other, rel=2e-3)


def same_model(run: Path, other: Path) -> None:
    one, two = (load_checkpoint(path / "checkpoint").model.state_dict() for path in (run, other))
    assert one.keys() == two.keys()
    for name, value in one.items():
        assert torch.allclose(value, two[name], rtol=2e-2, atol=2e-3), name


@pytest.mark.parametrize("n", [2, pytest.param(4, marks=pytest.mark.slow)])
def test_ranks_train_the_model_of_one_process(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path, n: int
) -> None:
    recipe = shortened(tiny_recipe)
    alone = losses(recipe, tiny_store, tmp_path / "alone")
    found = crew(n, tmp_path / "crew", lambda world: losses(recipe, tiny_store, tmp_path / "ranks", world))
    assert [kind for kind, _ in found] == ["done"] * n, found
    for _, of_rank in found:
        alike(of_rank, alone)
    same_model(tmp_path / "alone", tmp_path / "ranks")
    one, two = (load_tensors(tmp_path / run / "latents.safetensors")[0] for run in ("alone", "ranks"))
    assert torch.allclose(one["latents"].float(), two["latents"].float(), atol=1e-2)
    assert torch.equal(one["has_mask"], two["has_mask"])


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [False, True])
def test_ranks_train_a_model_with_masks_and_detail(
    mask_recipe: Recipe, labelled_store: CohortStore, tmp_path: Path, fsdp: bool
) -> None:
    """Not every person has a mask, and not every cell is known: means are over those that do. FSDP2 changes nothing."""
    recipe = shortened(mask_recipe, fsdp=fsdp)
    alone = losses(recipe, labelled_store, tmp_path / "alone")
    found = crew(2, tmp_path / "crew", lambda world: losses(recipe, labelled_store, tmp_path / "ranks", world))
    assert [kind for kind, _ in found] == ["done"] * 2, found
    for _, of_rank in found:
        alike(of_rank, alone)
    same_model(tmp_path / "alone", tmp_path / "ranks")


@pytest.mark.slow
@pytest.mark.parametrize("n", [1, 2])
def test_a_training_of_four_ranks_goes_on_on_one_and_on_two(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path, n: int
) -> None:
    recipe = shortened(tiny_recipe)
    losses(recipe, tiny_store, tmp_path / "alone")
    run = tmp_path / "ranks"
    for stage in ("autoencoder", "flow"):
        cut = crew(4, tmp_path / "four", lambda world, at=stage: losses(recipe, tiny_store, run, world, at))
        assert [kind for kind, _ in cut] == ["done"] * 4, cut
    assert (run / "flow.ranks").is_dir()
    if n == 1:
        losses(recipe, tiny_store, run)
    else:
        found = crew(n, tmp_path / "on", lambda world: losses(recipe, tiny_store, run, world))
        assert [kind for kind, _ in found] == ["done"] * n, found
    same_model(tmp_path / "alone", run)


def test_ranks_that_were_given_different_recipes_or_stores_are_refused(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path
) -> None:
    run = tmp_path / "run"

    def other_recipe(world: World) -> None:
        losses(replace(tiny_recipe, seed=world.rank), tiny_store, run, world)

    def other_store(world: World) -> None:
        meta = {**tiny_store.meta, "participants_sha256": str(world.rank)}
        losses(tiny_recipe, replace(tiny_store, meta=meta), run, world)

    for work, what in ((other_recipe, "recipe"), (other_store, "store")):
        zero, one = crew(2, tmp_path / "crew", work)
        assert zero == (
            "refused",
            f"the ranks disagree on the {what}: rank 1 has another than rank 0; start all with the same",
        )
        assert one == ("told", 2)
    assert not run.exists()


def test_a_run_directory_that_a_rank_does_not_see_is_refused(
    tiny_recipe: Recipe, tiny_store: CohortStore, tmp_path: Path
) -> None:
    zero, one = crew(
        2, tmp_path / "crew", lambda world: losses(tiny_recipe, tiny_store, tmp_path / f"run{world.rank}", world)
    )
    assert zero[0] == "refused"
    assert "run1 is not seen by this rank; name a --run-dir on a disk that all ranks share" in zero[1]
    assert one == ("told", 2)
