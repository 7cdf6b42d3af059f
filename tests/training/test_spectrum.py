"""How much of a scan is noise: told by its finest band, class by class."""

from __future__ import annotations

import torch

from engine.training.stages.local.spectrum import finest

GRID = (32, 32, 32)


def test_noise_of_each_class_is_measured_whatever_smooth_lies_below() -> None:
    labels = torch.zeros(GRID, dtype=torch.uint8)
    labels[16:] = 1
    ramp = torch.linspace(0, 1, 32).view(1, 1, 32, 1).expand(2, *GRID)
    sd = torch.tensor([[0.02, 0.05], [0.0, 0.01]])
    noise = torch.randn(2, *GRID, generator=torch.Generator().manual_seed(0))
    scan = ramp + 0.3 * labels + sd[:, labels.long()] * noise
    band = finest(scan, labels, 3)
    found = (band.squares[:, :2] / band.cubes[:2]).sqrt()
    torch.testing.assert_close(found.float(), sd, rtol=0.05, atol=1e-3)
    assert band.cubes.tolist() == [2048, 2048, 0]


def test_cubes_across_a_border_do_not_count() -> None:
    labels = torch.zeros(GRID, dtype=torch.uint8)
    labels[15:] = 1
    scan = labels[None].float()
    band = finest(scan, labels, 2)
    assert float(band.squares.abs().max()) == 0
    assert band.cubes.sum() == 15 * 16 * 16
