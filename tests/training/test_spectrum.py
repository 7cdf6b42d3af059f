"""How much of a scan is noise: told by its finest band, class by class."""

from __future__ import annotations

import pytest
import torch

from engine.imaging.spectrum import radial_power
from engine.model.nn.blur import bands, blurred
from engine.model.nn.detail import BANDS
from engine.training.stages.local.spectrum import (
    _quietest,
    finest,
    fitted_gain,
    noise_variance,
)

GRID = (32, 32, 32)


def power(scan: torch.Tensor) -> torch.Tensor:
    """Of a body that fills the grid, about a mean of .5."""
    return torch.from_numpy(radial_power((0.5 + 0.1 * scan).numpy())).float()


def test_noise_of_each_class_is_measured_whatever_smooth_lies_below() -> None:
    labels = torch.zeros(GRID, dtype=torch.uint8)
    labels[16:] = 1
    ramp = torch.linspace(0, 1, 32).view(1, 1, 32, 1).expand(2, *GRID)
    sd = torch.tensor([[0.02, 0.05], [0.0, 0.01]])
    noise = torch.randn(2, *GRID, generator=torch.Generator().manual_seed(0))
    scan = ramp + 0.3 * labels + sd[:, labels.long()] * noise
    # an edge in a few places is no noise
    scan[:, 8, ::5] += 0.5
    band = finest(scan, labels)
    found = noise_variance([band], 4).sqrt()
    torch.testing.assert_close(found[:, :2], sd, rtol=0.1, atol=1e-3)
    # nobody has the third class: that of all stands for it, as for what is unknown
    assert torch.equal(found[:, 2], found[:, 3])
    assert torch.bincount(band.label).tolist() == [2048, 2048]


def test_cubes_across_a_border_do_not_count() -> None:
    labels = torch.zeros(GRID, dtype=torch.uint8)
    labels[15:] = 1
    scan = labels[None].float()
    band = finest(scan, labels)
    assert float(band.size.max()) == 0
    assert band.size.shape == (1, 15 * 16 * 16)


def test_a_class_of_much_structure_is_not_taken_for_noise() -> None:
    excess = torch.tensor([[0.04, 0.09, 0.01, 0.0], [0.0, 0.0, 0.02, 0.0]])
    counts = torch.tensor([500.0, 500.0, 1.0, 300.0])
    assert _quietest(excess, counts).tolist() == [[pytest.approx(0.04)], [0.0]]


@pytest.mark.parametrize("gains", [(1.0, 1.0), (1.8, 0.85), (1.5, 1.4)])
def test_what_was_amplified_is_found(gains: tuple[float, float]) -> None:
    scan = blurred(torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(1)), 0.6)
    sharper = scan + sum((g - 1) * band for g, band in zip(gains, bands(scan, BANDS), strict=True))
    found = fitted_gain(power(sharper), power(scan), torch.ones(1, 2))
    torch.testing.assert_close(found, torch.tensor([gains]), rtol=0, atol=0.06)


def test_gains_are_found_from_what_other_gains_drew() -> None:
    scan = blurred(torch.randn(1, 64, 64, 64, generator=torch.Generator().manual_seed(2)), 0.6)
    wanted, tried = torch.tensor([[1.8, 0.85]]), torch.tensor([[1.3, 1.2]])
    one, other = (
        scan + sum((g - 1) * band for g, band in zip(gains[0], bands(scan, BANDS), strict=True))
        for gains in (wanted, tried)
    )
    found = fitted_gain(power(one), power(other), tried)
    torch.testing.assert_close(found, wanted, rtol=0, atol=0.08)
