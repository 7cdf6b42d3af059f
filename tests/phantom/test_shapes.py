"""Laws of the shapes: distances, joins, curves, thresholds that meet a volume, noise."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch

from engine.phantom.dixon import hashed_normals
from engine.phantom.shape.frame import GRID
from engine.phantom.shape.shapes import bump, curve, falling, level, ramp, smooth_min, spread, tube


def block(half: int = 40) -> SimpleNamespace:
    axis = torch.arange(-half, half + 1, dtype=torch.float32)
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    return SimpleNamespace(x=x[None], y=y[None], z=z[None])


def test_a_tube_is_a_capsule() -> None:
    distance = tube(block(), [(0.0, 0.0, -20.0), (0.0, 0.0, 20.0)], [9.0, 9.0])
    assert (distance < 0).sum().item() == pytest.approx(math.pi * 81 * 40 + 4 / 3 * math.pi * 729, rel=0.03)
    assert distance[0, 40 + 30, 40, 40].item() == pytest.approx(21.0, abs=1e-4)
    with pytest.raises(ValueError, match="two points"):
        tube(block(2), [(0.0, 0.0, 0.0)], [1.0])


def test_a_smooth_join_holds_both_shapes_and_is_the_minimum_far_from_the_seam() -> None:
    a, b = torch.linspace(-30, 30, 61), torch.linspace(30, -30, 61)
    joined = smooth_min(a, b, 8.0)
    assert bool((joined <= torch.minimum(a, b) + 1e-6).all())
    far = (a - b).abs() > 8
    assert torch.equal(joined[far], torch.minimum(a, b)[far])
    assert joined[30].item() == pytest.approx(-8 / 4)


def test_a_curve_goes_through_its_knots_and_never_beyond_them() -> None:
    knots = [(0.1, 2.0), (0.3, 5.0), (0.4, 5.0), (0.9, 1.0)]
    u = torch.linspace(0, 1, 501).reshape(1, 1, 1, -1)
    values = curve(u, knots)
    for place, value in knots:
        assert values[0, 0, 0, round(place * 500)].item() == pytest.approx(value, abs=1e-3)
    assert values.min() >= 1 - 1e-6
    assert values.max() <= 5 + 1e-6
    assert values[0, 0, 0, 0] == 2
    assert values[0, 0, 0, -1] == 1
    persons = curve(u.expand(2, 1, 1, -1), [(0.1, torch.tensor([2.0, 3.0]).reshape(2, 1, 1, 1)), (0.9, 1.0)])
    assert persons[:, 0, 0, 0].tolist() == [2, 3]


def test_a_threshold_meets_the_volume_to_the_voxel() -> None:
    field = torch.randn(3, 20, 20, 20, generator=torch.Generator().manual_seed(0))
    mask = torch.rand(3, 20, 20, 20, generator=torch.Generator().manual_seed(1)) < 0.5
    wanted = torch.tensor([100.0, 777.0, 2500.0])
    edge = level(field, mask, wanted, -6.0, 6.0)
    assert ((field < edge) & mask).sum((1, 2, 3)).tolist() == pytest.approx(wanted.tolist(), abs=1)


def test_a_threshold_is_that_of_a_bisection_on_counts() -> None:
    field = torch.randn(1, 12, 12, 12, generator=torch.Generator().manual_seed(2))
    mask = torch.rand(1, 12, 12, 12, generator=torch.Generator().manual_seed(3)) < 0.5
    for wanted in (-3.0, 0.0, 0.4, 1.0, 57.3, 500.0, float(mask.sum()), 5000.0):
        low, high = torch.tensor(-2.0), torch.tensor(2.0)
        for _ in range(18):
            middle = (low + high) / 2
            few = bool(((field < middle) & mask).sum() < wanted)
            low, high = (middle, high) if few else (low, middle)
        assert level(field, mask, torch.tensor([wanted]), -2.0, 2.0).item() == high.item()


def test_what_falls_off_never_becomes_denormal() -> None:
    value = torch.linspace(0, 300, 3001)
    found = falling(value)
    assert found.min() >= torch.finfo(torch.float32).tiny * 1e6
    assert torch.equal(found[:700], torch.exp(-value[:700]))


def test_ramps_and_bumps() -> None:
    assert ramp(torch.tensor([0.0, 1.5, 9.0]), 1.0, 2.0).tolist() == [0.0, 0.5, 1.0]
    assert bump(torch.tensor([2.0, 3.0]), 2.0, 1.0).tolist() == pytest.approx([1.0, math.exp(-1)])


def test_smooth_noise_has_unit_variance_everywhere() -> None:
    noise = torch.randn(600, 5, 6, 7, generator=torch.Generator().manual_seed(0))
    fine = spread(noise, (24, 20, 30))
    assert fine.shape == (600, 24, 20, 30)
    assert fine.var(0).mean().item() == pytest.approx(1.0, abs=0.03)
    assert fine.var(0).min() > 0.75
    assert fine.var(0).max() < 1.3
    assert (fine[:, 1:] - fine[:, :-1]).abs().mean() < 0.4, "neighbours are alike"


def test_hashed_noise_is_white_normal_and_a_person_s_own() -> None:
    a, b = hashed_normals((7, 8), 0, torch.device("cpu"), GRID)
    assert a.shape == (2, *GRID)
    n = a[0].numel()
    for values in (*a, *b):
        assert values.mean().abs().item() < 4 / n**0.5
        assert values.var().item() == pytest.approx(1, abs=0.006)
        assert (values**4).mean().item() == pytest.approx(3, abs=0.05)
    again = hashed_normals((8,), 0, torch.device("cpu"), GRID)[0]
    assert torch.equal(again[0], a[1])
    pairs = [
        (a[0], a[1]),
        (a[0], b[0]),
        (a[0, 1:], a[0, :-1]),
        (a[0], hashed_normals((7,), 1, torch.device("cpu"), GRID)[0][0]),
    ]
    for one, other in pairs:
        assert (one * other).mean().abs().item() < 5 / n**0.5
