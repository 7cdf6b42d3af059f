"""A draw of what tokens do not tell of an atlas' field: of the stated mean and SD, coherent, each seed's own."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from engine.model.nn.atlas_autoencoder import COHERENCE, STREAM, AtlasAutoencoder
from engine.model.nn.warp import STRIDE
from tests.conftest import MASK

GRID = (48, 48, 48)


@pytest.fixture
def coder() -> AtlasAutoencoder:
    return AtlasAutoencoder(replace(MASK, atlas=True), GRID, 1).requires_grad_(False)


def test_noise_has_variance_one_and_the_coherence_of_its_blur(coder: AtlasAutoencoder) -> None:
    noise = coder.noise_of(range(12))
    assert float(noise.var()) == pytest.approx(1, abs=0.06)
    for lag in (1, 2):
        found = float((noise[..., lag:] * noise[..., :-lag]).mean())
        # two Gaussians of the same SD, one on the other
        assert found == pytest.approx(torch.exp(torch.tensor(-(lag**2) / (4 * COHERENCE**2))).item(), abs=0.06)


def test_a_seed_has_its_own_noise_whoever_is_drawn_beside(coder: AtlasAutoencoder) -> None:
    alone, beside = coder.noise_of([7]), coder.noise_of([3, 7])
    assert torch.equal(alone[0], beside[1])
    assert not torch.equal(beside[0], beside[1])
    # and none that the seed uses elsewhere
    stream = torch.Generator().manual_seed(7)
    assert stream.initial_seed() != torch.Generator().manual_seed(7 + STREAM).initial_seed()


def test_without_a_residual_the_field_is_that_of_the_tokens(coder: AtlasAutoencoder) -> None:
    field = torch.randn(1, 3, *(n // STRIDE for n in GRID))
    assert torch.equal(coder.drawn_field(field, coder.noise_of([0])), field)


def test_a_draw_has_the_mean_and_sd_of_its_place_in_the_atlas(coder: AtlasAutoencoder) -> None:
    # to the left of the atlas still, to the right one voxel off and as much spread
    coder.residual[:, GRID[0] // 8 :] = 1.0
    still = torch.zeros(1, 3, *(n // STRIDE for n in GRID))
    half, noise = GRID[0] // STRIDE // 2, coder.noise_of([1])
    drawn = coder.drawn_field(still, noise)
    assert not drawn[:, :, : half - 2].any()
    assert torch.allclose(drawn[:, :, half + 2 :], 1 + noise[:, :, half + 2 :])
    # a person whose left side lies in the atlas' right
    moved = torch.zeros_like(still)
    moved[:, 0] = GRID[0] / 2
    assert torch.allclose(coder.drawn_field(moved, noise)[:, :, 2:], (moved + 1 + noise)[:, :, 2:], atol=1e-4)
