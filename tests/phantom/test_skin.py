"""Laws of the skin's sections: known shapes, symmetry, bounds, girth, calibration; and of their learning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from engine.phantom.dimensions import waist_girth
from engine.phantom.girth import girth
from engine.phantom.interior.template import shipped
from engine.phantom.shape.section import Section, extents
from engine.phantom.skin.basis import (
    ANGLES,
    BOUNDS,
    LEVELS,
    LOWEST,
    THIGH_ROWS,
    TRUNK_ROWS,
    SkinBasis,
    SkinError,
    at_rows,
    radius,
    skin_sections,
    thigh_row,
    trunk_row,
)
from engine.phantom.skin.bodies import Phenotype, SkinBodies, segments
from engine.phantom.skin.cuts import diamond_directions, radii, thigh_sections, trunk_sections

FOLDER = Path(__file__).parents[2] / "../shared/data/anatomy/skin_basis"
needs_bodies = pytest.mark.skipif(not FOLDER.is_dir(), reason="no phenotype basis here")


def superellipse(exponent: float) -> torch.Tensor:
    """Radii (1, angles, 1) of a superellipse."""
    p, q = np.abs(diamond_directions())
    return torch.from_numpy((p**exponent + q**exponent) ** (-1 / exponent)).float()[None, :, None]


def ring(half: float, front: float, back: float, exponent: float, n: int = 720) -> np.ndarray:
    """Segments (n, 2, 2) of a superellipse with two depths."""
    turn = np.linspace(0, 2 * np.pi, n + 1)
    x = half * np.sign(np.cos(turn)) * np.abs(np.cos(turn)) ** (2 / exponent)
    y = np.sign(np.sin(turn)) * np.abs(np.sin(turn)) ** (2 / exponent)
    points = np.stack([x, np.where(y > 0, front, back) * y], 1)
    return np.stack([points[:-1], points[1:]], 1)


def plane() -> tuple[torch.Tensor, torch.Tensor]:
    x, y = torch.meshgrid(torch.arange(-240.0, 241, 2), torch.arange(-240.0, 241, 2), indexing="ij")
    return x[None, :, :, None], y[None, :, :, None]


def rows(
    half: float, front: float, back: float, n: int = 1, z: int = 1
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    a, b, c = (torch.full((n, 1, 1, z), value) for value in (half, front, back))
    return a, b, c


@pytest.fixture(scope="module")
def skin() -> SkinBasis:
    return shipped().skin


@pytest.mark.parametrize("exponent", [2.0, 2.5, 4.0])
def test_the_radius_of_a_known_section(exponent: float) -> None:
    found = radii(ring(1, 1, 1, exponent))
    assert found == pytest.approx(superellipse(exponent)[0, :, 0].numpy(), abs=4e-3)


def test_a_gap_is_bridged_by_a_straight_line() -> None:
    parts = ring(1, 1, 1, 2.0)
    open_side = parts[(np.abs(parts[..., 1]) > 0.5).all(1) | (parts[..., 0] < 0).all(1)]
    p, q = diamond_directions() * radii(open_side)
    gap = np.abs(q) < 0.45
    assert p[gap] == pytest.approx(np.full(gap.sum(), np.sqrt(0.75)), abs=0.03)


@pytest.mark.parametrize("exponent", [2.0, 2.6])
def test_the_distance_is_zero_on_the_section_and_true_beside_it(exponent: float) -> None:
    section = Section(superellipse(exponent))
    x, y = plane()
    distance = section.distance(x, y, *rows(170, 120, 90), slice(None))
    half, depth = (distance[0, :, :, 0].min(axis).values < 0 for axis in (1, 0))
    assert half.sum().item() * 2 == pytest.approx(340, abs=3)
    assert depth.sum().item() * 2 == pytest.approx(210, abs=3)
    steep = torch.gradient(distance[0, :, :, 0], spacing=2.0)
    near = distance[0, :, :, 0].abs() < 4
    assert torch.hypot(*steep)[near].mean().item() == pytest.approx(1, abs=0.03)
    assert torch.equal(distance, distance.flip(1)), "left is as right"


def test_a_person_alone_is_as_in_company() -> None:
    both = torch.cat([superellipse(2.0), superellipse(3.0)]).expand(2, ANGLES, 4)
    x, y = plane()
    together = Section(both).distance(x, y, *rows(150, 90, 80, 2, 4), slice(None))
    alone = Section(both[1:]).distance(x, y, *rows(150, 90, 80, 1, 4), slice(None))
    assert torch.equal(together[1:], alone)
    every = Section(both).distance(x, y, *rows(150, 90, 80, 2, 2), slice(None, None, 2))
    assert torch.equal(every, together[..., ::2])


def test_breadth_and_depths_are_met_whatever_the_radii() -> None:
    section = Section(1.1 * superellipse(2.4) ** 0.7)
    x, y = plane()
    inside = section.distance(x, y, *rows(150, 100, 80), slice(None))[0, :, :, 0] < 0
    assert inside.any(1).sum().item() * 2 == pytest.approx(300, abs=3)
    assert inside.any(0).sum().item() * 2 == pytest.approx(180, abs=3)


def test_the_two_sides_of_a_thigh_are_drawn_apart() -> None:
    both = torch.cat([superellipse(2.0), superellipse(4.0)], 1)
    x, y = plane()
    inside = Section(both, sides=2).distance(x, y, *rows(90, 90, 90), slice(None))[0, :, :, 0] < 0
    inner, outer = inside[:120].sum().item() * 4, inside[121:].sum().item() * 4
    assert inner == pytest.approx(np.pi * 90**2 / 2, rel=0.03)
    assert outer == pytest.approx(0.927 * 180**2 / 2, rel=0.03)


def test_the_look_up_meets_its_nodes_and_the_middle_between_them() -> None:
    table = torch.randn(5, 4, generator=torch.Generator().manual_seed(0))
    t, row = torch.tensor([-1.0, 0.5, 1.0, 0.25]), torch.tensor([0.0, 1 / 3, 1.0, 1.0])
    assert radius(table, t, row).tolist() == pytest.approx(
        [float(v) for v in (table[0, 0], table[3, 1], table[4, 3], (table[2, 3] + table[3, 3]) / 2)], abs=1e-6
    )
    assert at_rows(table[None], torch.tensor([[0.0, 0.5, 2.0]]))[0, :, 1].tolist() == pytest.approx(
        ((table[:, 1] + table[:, 2]) / 2).tolist()
    )


def test_rows_follow_the_landmarks() -> None:
    crotch, navel = torch.tensor([0.46, 0.49]), torch.tensor([0.58, 0.62])
    at = trunk_row(torch.stack([navel, torch.full_like(navel, 0.87), crotch]).T, crotch, navel)
    level = (LEVELS[1] - LOWEST) / (LEVELS[3] - LOWEST)
    assert at.flatten().tolist() == pytest.approx([level, 1, 0, level, 1, 0], abs=1e-5)
    assert thigh_row(torch.tensor([[0.47, 0.30]]), torch.tensor([0.47])).tolist() == [[0, 1]]


def test_sections_of_persons_are_bounded_smooth_and_their_own(skin: SkinBasis) -> None:
    n = 40
    male, age, bmi = torch.arange(n) % 2.0, torch.linspace(18, 90, n), torch.linspace(14, 60, n)
    noise = torch.randn(n, len(skin.spread), generator=torch.Generator().manual_seed(1))
    shape = skin_sections(skin, male, age, bmi, noise)
    assert shape.trunk.shape == (n, ANGLES, TRUNK_ROWS)
    assert shape.thigh.shape == (n, 2, ANGLES, THIGH_ROWS)
    for part in (shape.trunk, shape.thigh):
        assert part.min() >= BOUNDS[0]
        assert part.max() <= BOUNDS[1]
    assert (shape.trunk[..., 1:] - shape.trunk[..., :-1]).abs().max() < 0.25
    for half in extents(shape.trunk[:, :, 5:]):
        assert (half - 1).abs().max() < 0.2
    plain = skin_sections(skin, male, age, bmi)
    assert 0.005 < (shape.trunk - plain.trunk).std() < 0.08


def test_a_tape_round_the_waist_reads_what_its_breadth_and_depth_say(skin: SkinBasis) -> None:
    x, y = plane()
    for male, bmi in ((0.0, 20.0), (1.0, 25.0), (0.0, 33.0), (1.0, 42.0)):
        shape = skin_sections(skin, torch.tensor([male]), torch.tensor([45.0]), torch.tensor([bmi]))
        row = (LEVELS[1] - LOWEST) / (LEVELS[3] - LOWEST)
        section = Section(at_rows(shape.trunk, torch.tensor([[row]])))
        field = section.distance(x, y, *rows(165, 140, 100), slice(None))[0, :, :, 0].double().numpy()
        expected = float(waist_girth(np.array([330.0]), np.array([240.0]))[0])
        assert girth(field, (2.0, 2.0)) == pytest.approx(expected, rel=0.03)


def test_what_is_absent_is_named() -> None:
    with pytest.raises(SkinError, match="law, spread"):
        SkinBasis.of({"mean": torch.zeros(1), "components": torch.zeros(1, 1)})


@needs_bodies
def test_bodies_have_their_landmarks_and_sections_that_close() -> None:
    bodies = SkinBodies(FOLDER)
    man = Phenotype(male=1, age=40, muscle=0.15, weight=0.5, height=0.45, proportions=0.5)
    shape = bodies.body(man)
    height = shape.vertices[bodies.main, 2].max()
    assert 22 < shape.bmi < 28
    assert shape.crotch / height == pytest.approx(0.485, abs=0.02)
    assert shape.notch / height == pytest.approx(0.82, abs=0.01)
    waist = segments(shape.vertices, bodies.trunk_faces, 0.6 * height)
    ends = np.sort(waist.reshape(-1, 2).round(6).view([("x", float), ("y", float)]).ravel(), order=["x", "y"])
    assert (ends[::2] == ends[1::2]).all(), "each end is two segments'"
    bmi, trunk = trunk_sections(bodies, man)
    assert bmi == shape.bmi
    assert trunk.shape == (ANGLES, TRUNK_ROWS)
    assert thigh_sections(bodies, man).shape == (2, ANGLES, THIGH_ROWS)
    assert 0.6 < trunk[:, 10:].min() < trunk.max() < 1.3
