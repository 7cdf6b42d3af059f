"""Attention in windows: that of all pairs where a window holds all, or where what is far is alike; work in proportion to tokens."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from engine.checkpoints.checkpoint import load_checkpoint
from engine.evaluation.bench.cost import flop_of
from engine.model.config import TransformerConfig
from engine.model.flow import Joint, Levels
from engine.model.nn.transformer import EXPLICIT, Block, JointTransformer
from engine.model.nn.windows import CELL, Windows, attended

COLUMNS = 3
GRIDS = [(8, 8, 8), (12, 16, 8), (13, 9, 18)]


def parts(grid: tuple[int, int, int], seed: int = 0) -> list[Tensor]:
    """Query, key and value of the tokens of a grid and of some columns."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(2, 2, math.prod(grid) + COLUMNS, 6, generator=generator, dtype=torch.float64) for _ in range(3)]


@pytest.mark.parametrize("grid", GRIDS)
def test_a_window_that_holds_all_sees_all_pairs(grid: tuple[int, int, int]) -> None:
    query, key, value = parts(grid)
    found = attended(query, key, value, Windows(grid, side=20))
    torch.testing.assert_close(found, scaled_dot_product_attention(query, key, value), rtol=0, atol=1e-7)


@pytest.mark.parametrize("grid", GRIDS)
@pytest.mark.parametrize("shift", [0, CELL])
def test_where_the_tokens_of_a_cell_are_alike_windows_see_all_pairs(grid: tuple[int, int, int], shift: int) -> None:
    query, key, value = parts(grid)
    for part in (key, value):
        cells = part[:, :, : math.prod(grid)].unflatten(2, grid)
        for axis in (2, 3, 4):
            first = torch.arange(cells.shape[axis]) // CELL * CELL
            cells = cells.index_select(axis, first)
        part[:, :, : math.prod(grid)] = cells.flatten(2, 4)
    found = attended(query, key, value, Windows(grid, shift=shift))
    torch.testing.assert_close(found, scaled_dot_product_attention(query, key, value), rtol=0, atol=1e-7)


@pytest.mark.parametrize("shift", [0, CELL])
def test_columns_see_all_and_a_token_all_of_its_window(shift: int) -> None:
    grid = (16, 8, 12)
    query, key, value = parts(grid)
    windows = Windows(grid, shift=shift)
    found, whole = attended(query, key, value, windows), scaled_dot_product_attention(query, key, value)
    torch.testing.assert_close(found[:, :, -COLUMNS:], whole[:, :, -COLUMNS:], rtol=0, atol=1e-7)
    covered = torch.zeros(grid)
    for box in windows.boxes():
        covered[box] += 1
    assert bool((covered == 1).all())
    # of two tokens of another window that change places only their mean is seen, of two of the own one each
    query[:], first = 1, next(windows.boxes())
    places = torch.arange(math.prod(grid)).view(grid)
    own = int(places[first][0, 0, 0])
    far = int(places[-1, -1, -1])
    for a, changes in ((own, True), (far - 1, False)):
        moved = value.clone()
        moved[:, :, [a, a + 1]] = value[:, :, [a + 1, a]]
        differs = (attended(query, key, moved, windows) - attended(query, key, value, windows))[:, :, own].abs().max()
        assert (float(differs) > 1e-6) is changes


def net(grid: tuple[int, int, int], width: int = 32) -> JointTransformer:
    torch.manual_seed(0)
    config = TransformerConfig(width=width, depth=2, heads=2)
    return JointTransformer(config, latent=4, token_grid=grid, columns=COLUMNS, code=2)


def state(grid: tuple[int, int, int]) -> tuple[Joint, Levels]:
    generator = torch.Generator().manual_seed(1)
    image, table = (torch.randn(1, n, c, generator=generator) for n, c in ((math.prod(grid), 4), (COLUMNS, 2)))
    return Joint(image, table), Levels(torch.full((1,), 0.5), torch.full((1, COLUMNS), 0.5))


def test_an_evaluation_costs_in_proportion_to_tokens() -> None:
    grids = [(16, 16, 8), (16, 16, 16), (32, 16, 16), (32, 32, 16)]
    flop = []
    for grid in grids:
        with torch.device("meta"):
            made, (at, levels) = net(grid, width=192), state_on_meta(grid)
        flop.append(flop_of(lambda made=made, at=at, levels=levels: made(at, at, levels)))
    for less, more in itertools.pairwise(flop):
        assert more / less < 2.2  # near 4 where each sees all


def state_on_meta(grid: tuple[int, int, int]) -> tuple[Joint, Levels]:
    image, table = torch.zeros(1, math.prod(grid), 4), torch.zeros(1, COLUMNS, 2)
    return Joint(image, table), Levels(torch.ones(1), torch.ones(1, COLUMNS))


def test_a_gradient_reaches_all_that_is_seen() -> None:
    grid = (12, 12, 12)
    made, (at, levels) = net(grid), state(grid)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    image = at.image.requires_grad_(True)
    made(at, at, levels).image[:, 0].square().sum().backward()
    assert image.grad is not None
    assert bool((image.grad.abs().sum(-1) > 0).all())


def test_windows_in_half_precision_are_near() -> None:
    query, key, value = (part.float() for part in parts((12, 16, 8)))
    half = [part.bfloat16().requires_grad_(True) for part in (query, key, value)]
    found = attended(half[0], half[1], half[2], Windows((12, 16, 8)))
    assert found.dtype == torch.bfloat16
    torch.testing.assert_close(found.float(), attended(query, key, value, Windows((12, 16, 8))), rtol=0, atol=0.05)
    found.float().sum().backward()
    assert all(part.grad is not None and bool(part.grad.isfinite().all()) for part in half)


def test_a_step_of_training_in_half_precision_has_a_gradient() -> None:
    grid = (12, 12, 12)
    made, (at, levels) = net(grid), state(grid)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(2)))
    with torch.autocast("cpu", torch.bfloat16):
        found = made(at, at, levels)
    (found.image.float().square().mean() + found.table.float().square().mean()).backward()
    assert all(bool(p.grad.isfinite().all()) for p in made.blocks.parameters() if p.grad is not None)
    gradient = made.get_parameter("blocks.0.qkv.weight").grad
    assert gradient is not None
    assert bool((gradient.abs().sum(1) > 0).all())


def test_few_tokens_see_all_pairs_as_ever() -> None:
    assert net((8, 8, 16)).windows == [None, None]
    assert [one and one.shift for one in net((8, 9, 16)).windows] == [0, CELL]
    block, x = Block(32, 4), torch.randn(1, 20, 32)
    assert torch.equal(block.attention(x), block.attention(x, None))


@pytest.mark.parametrize("name", ["head-t1", "torso-dixon", "heart-cine"])
def test_no_shipped_model_has_windows(name: str) -> None:
    assert load_checkpoint(name, "cpu").config.model.image.tokens <= EXPLICIT
