"""Registration: what is displaced is found again, and what is summed in the atlas is the adjoint of looking at it."""

from __future__ import annotations

import torch

from engine.model.nn.blur import convolved, gaussian
from engine.model.nn.warp import voxels, warped
from engine.training.stages.atlas.registration import Parts, Pass, registered, splatted

GRID = (32, 32, 24)
WHOLE = (slice(0, 32), slice(0, 32), slice(0, 24))


def smooth(seed: int, channels: int, grid: tuple[int, ...], sd: float) -> torch.Tensor:
    noise = torch.randn(channels, *grid, generator=torch.Generator().manual_seed(seed))
    found = convolved(noise, [gaussian(sd)] * 3)
    return found / found.abs().max()


def test_sums_in_the_atlas_are_the_adjoint_of_sampling() -> None:
    image = torch.zeros(1, *GRID)
    image[:, 8:24, 8:24, 6:18] = torch.rand(16, 16, 12, generator=torch.Generator().manual_seed(0))
    other = torch.rand(1, *GRID, generator=torch.Generator().manual_seed(1))
    field = 2 * smooth(2, 3, (16, 16, 12), 2.0)
    summed, weights = splatted(other, field)
    seen = (warped(image, field[None])[0] * other).sum()
    torch.testing.assert_close(seen, (image * summed).sum(), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(weights.sum(), torch.tensor(float(image[0].numel())), rtol=1e-4, atol=0.1)


def test_a_displaced_scan_is_found_again() -> None:
    scan = 0.5 + 0.5 * smooth(3, 1, GRID, 1.5)
    true = 3 * smooth(4, 3, (16, 16, 12), 3.0)
    person = warped(scan, true[None])[0]
    passes = [Pass(25, 1.5, 0.15, False), Pass(25, 1.0, 0.1, True)]
    none = scan[:0]
    found, error = registered(Parts(scan, none), Parts(person, none), torch.zeros_like(true), passes, WHOLE)
    inside = (slice(None), slice(3, -3), slice(3, -3), slice(3, -3))
    off = (found - true)[inside].square().mean() / true[inside].square().mean()
    assert float(off) < 0.1
    assert error < 0.1 * float((Parts(scan, none).features() - Parts(person, none).features()).square().mean())


def test_equal_scans_are_left_where_they_are() -> None:
    scan = 0.5 + 0.5 * smooth(5, 1, GRID, 1.5)
    parts = Parts(scan, (scan > 0.5).float())
    found, error = registered(parts, parts, torch.zeros(3, 16, 16, 12), [Pass(5, 1.0, 0.1, True)], WHOLE)
    # a step of Adam is as long however small the slope
    assert float(found.abs().max()) < 0.2
    assert error < 1e-3


def test_a_kernel_of_sum_one_keeps_a_constant_and_spreads_as_it_says() -> None:
    flat = convolved(torch.ones(1, *GRID), [gaussian(1.3)] * 3)
    torch.testing.assert_close(flat, torch.ones(1, *GRID))
    point = torch.zeros(1, *GRID)
    point[0, 16, 16, 12] = 1
    spread = convolved(point, [gaussian(1.5)] * 3)[0]
    variance = (spread * (voxels(GRID, spread.device)[0] - 16).square()).sum()
    torch.testing.assert_close(variance, torch.tensor(1.5**2), rtol=0.05, atol=0.0)
