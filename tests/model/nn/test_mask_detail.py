"""The detail of masks: an untrained network draws every cell from its probabilities, a seed is a segmentation, tiles are exact."""

from __future__ import annotations

import itertools

import pytest
import torch

from engine.model.config import DetailConfig, MaskConfig
from engine.model.nn.mask_autoencoder import MaskAutoencoder
from engine.model.nn.mask_detail import CELL, CODE, MaskDetail, class_codes, drawn_within
from engine.model.nn.tiles import mask as tiled_mask
from engine.model.nn.tiles import scan as tiled
from tests.model.nn.test_tiled import CLASSES, SHAPES, numbers, shaken

GRID = (32, 32, 32)
CELLS = (16, 16, 16)


def detail_of(classes: int, grid: tuple[int, int, int] = GRID) -> MaskDetail:
    return MaskDetail(DetailConfig(widths=(8, 16, 16), blocks=1, mask_steps=4), 2, classes, grid).eval()


@pytest.mark.parametrize("classes", [2, 10, 30])
def test_codes_are_of_one_length_and_apart(classes: int) -> None:
    codes = class_codes(classes)
    torch.testing.assert_close(codes.square().mean(1), torch.ones(classes))
    apart = torch.cdist(codes, codes) + 10 * torch.eye(classes)
    assert float(apart.min()) > 1.2
    assert torch.equal(codes, class_codes(classes))


@pytest.mark.parametrize("shares", [(0.5, 0.5), (0.7, 0.2, 0.1), (0.05, 0.9, 0.02, 0.03)])
def test_untrained_it_draws_cells_from_their_probabilities(shares: tuple[float, ...]) -> None:
    net = detail_of(len(shares))
    scores = torch.tensor(shares).log()[None, :, None, None, None, None].expand(1, -1, 1, *GRID) + 3.0
    noise = torch.randn(1, CODE, 1, *CELLS, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        drawn = net.draw(numbers(1, 2, *GRID), scores, noise, 48)
    found = torch.bincount(drawn.flatten().long(), minlength=len(shares)) / drawn.numel()
    # 4,096 cells: sampling alone is off by .008
    torch.testing.assert_close(found, torch.tensor(shares), rtol=0, atol=0.025)


def test_what_is_certain_stays() -> None:
    net = detail_of(3)
    labels = (numbers(1, 1, *GRID) * 3).long()
    scores = 40.0 * torch.nn.functional.one_hot(labels, 3).movedim(-1, 1).float()
    with torch.inference_mode():
        drawn = net.draw(numbers(1, 2, *GRID), scores, torch.randn(1, CODE, 1, *CELLS), 4)
    assert torch.equal(drawn.long(), labels)


def test_nothing_is_drawn_far_from_a_person() -> None:
    """What is drawn in the box about a person is what a crop of that box gives; all else is background."""
    net = detail_of(3, (48, 48, 32))
    shaken(net)
    scores = torch.zeros(1, 3, 1, 48, 48, 32)
    scores[:, 0] = 6.0
    scores[:, 1:, :, 20:30, 18:22, 12:20] = 8.0
    base, noise = numbers(1, 2, 48, 48, 32), torch.randn(1, CODE, 1, 24, 24, 16)
    with torch.inference_mode():
        drawn = drawn_within(net, base, scores, noise, 3)
        box = (..., slice(16, 40), slice(8, 32), slice(8, 24))
        cells = (..., slice(8, 20), slice(4, 16), slice(4, 12))
        crop = net.draw(base[box], scores[box], noise[cells], 3, [(16, 8, 8)])
    assert torch.equal(drawn[box], crop)
    assert int((drawn > 0).sum()) == int((crop > 0).sum()) > 0


def test_the_levels_fall_from_noise_to_none() -> None:
    levels = detail_of(3).times(5)
    assert levels[0][0] == 1
    assert levels[-1][1] == 0
    assert all(t > s for t, s in levels)
    assert all(s == t for (_, s), (t, _) in itertools.pairwise(levels))


@pytest.mark.parametrize(("grid", "side"), SHAPES)
def test_it_is_the_same_in_tiles(grid: tuple[int, int, int], side: int) -> None:
    config = MaskConfig(classes=CLASSES, codes=((0,), (1,), (2,)), latent=5, widths=(8, 12, 16, 16))
    coder = MaskAutoencoder(config, grid)
    shaken(coder)
    net = detail_of(len(CLASSES), grid)
    shaken(net)
    base, noise = numbers(1, 2, *grid), torch.randn(1, CODE, 1, *(n // CELL for n in grid))
    tokens = numbers(1, coder.tokens, 5)
    with torch.inference_mode():
        whole = net.draw(base, coder.decode(tokens)[:, :, None], noise, 3)
        cut = tiled_mask.draw(net, base, tiled.MaskScores(coder, tokens, side), noise, 3, side)
    # where two classes are as likely either may be taken
    assert float((whole == cut).float().mean()) > 0.9999
