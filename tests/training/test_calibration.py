"""Calibration: a shift of the tokens with which what is read is what was asked."""

from __future__ import annotations

import torch

from engine.model.calibration import MOST, Calibration
from engine.training.recipes import heart_cine
from engine.training.stages.heart.calibration import slopes_of

COLUMNS = ("lv_edv", "lv_ef", "lv_mass")


def normal(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(sum(shape)))


def test_a_linear_reading_becomes_what_was_asked() -> None:
    follows = torch.tensor([[0.6, 0.1, 0.0], [0.0, 0.8, -0.2], [0.1, 0.0, 0.5]])
    response = torch.tensor([[0.9, 0.0, 0.1], [0.2, 0.6, 0.0], [0.0, 0.1, 0.4]])
    constant, noise = torch.tensor([0.3, -0.2, 0.5]), 0.02 * normal(4002, 3)[:4000]

    def read(asked: torch.Tensor, shift: torch.Tensor) -> torch.Tensor:
        return asked @ follows.T + shift @ response.T + constant

    asked, shifts = normal(4000, 3), 0.7 * normal(4001, 3)[:4000]
    slopes = slopes_of(asked, shifts, read(asked, shifts) + noise)
    more = 2 * normal(50, 3)
    shift = torch.cat([more, torch.ones(50, 1)], 1) @ slopes.T
    before, after = (read(more, s) - more for s in (torch.zeros(50, 3), shift))
    assert after.square().mean() < 0.02 * before.square().mean()


def test_what_drawn_scans_do_not_show_is_not_forced_on_them() -> None:
    asked, shifts = normal(400, 2), normal(402, 2)[:400]
    read = torch.stack([asked[:, 0] + shifts[:, 0], normal(401)[:400]], 1)
    slopes = slopes_of(asked, shifts, read)
    assert slopes.abs().max() < 0.2


def test_the_shift_ends_at_three_standard_deviations() -> None:
    schema = heart_cine().schema
    made = Calibration(COLUMNS, schema, 4, 2)
    made.response.copy_(normal(3, 4, 2))
    made.slopes.copy_(normal(3, 4))
    table = torch.zeros(3, *schema.mask.shape)
    table[1, made.columns] = MOST
    table[2, made.columns] = 2 * MOST
    moved = made(table)
    assert torch.equal(moved[1], moved[2])
    assert torch.allclose(moved[0], torch.einsum("r,rnc->nc", made.slopes[:, -1], made.response), atol=1e-6)
