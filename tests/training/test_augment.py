"""Augmentation against known answers: in mm, about the centre, on grids that are neither cubic nor isotropic."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.training.augment import CONTROL_POINTS, Augmentation, augment, deformed, target_from_source
from engine.training.recipes import head_t1
from engine.training.stages.features import torso_features
from engine.training.stages.torso_examples import BodyTraining

GRID, SPACING = (25, 17, 33), (2.0, 3.0, 1.5)
STILL = Augmentation(mirror=0, rotation=0, scale=0, shift=0, elastic=0, gain=0, gamma=0)


def places() -> Tensor:
    """The mm of every voxel from the centre, (3, x, y, z)."""
    axes = [(torch.arange(n) - (n - 1) / 2) * mm for n, mm in zip(GRID, SPACING, strict=True)]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def looked_up(config: Augmentation, draws: int = 1, seed: int = 0) -> Tensor:
    """Where each voxel's content was, mm (draws, 3, x, y, z): a volume that holds its own coordinates says it."""
    volumes = places().repeat(draws, 1, 1, 1, 1)
    return augment(volumes, config, torch.Generator().manual_seed(seed), 0, spacing=SPACING)


def inner(field: Tensor) -> Tensor:
    """The voxels about the centre, which come from inside the grid: (n, 3, voxels)."""
    middle = [slice(n // 2 - 4, n // 2 + 5) for n in GRID]
    return field[(..., *middle)].flatten(-3)


def blob(place: tuple[float, float, float]) -> Tensor:
    offset = places() - torch.tensor(place)[:, None, None, None]
    return torch.exp(-offset.square().sum(0) / (2 * 3.0**2))[None, None]


def centre_of(volume: Tensor) -> Tensor:
    return (volume * places()).flatten(1).sum(1) / volume.sum()


def test_nothing_configured_is_the_identity() -> None:
    x = torch.rand(2, 3, *GRID, generator=torch.Generator().manual_seed(0))
    for n in (0, 1, 3):
        assert torch.equal(augment(x, STILL, torch.Generator().manual_seed(0), n, spacing=SPACING), x)
    still = target_from_source(torch.zeros(2, 3), torch.ones(2), torch.zeros(2, 3))
    through = deformed(x, still, torch.zeros(2, 3, 5, 5, 5), SPACING)
    assert torch.allclose(through, x, atol=1e-5), "resampled where it was"


@pytest.mark.parametrize(
    ("axis", "before", "after"),
    [(0, (0, 9, 0), (0, 0, 9)), (1, (0, 0, 9), (9, 0, 0)), (2, (9, 0, 0), (0, 9, 0)), (2, (0, 9, 6), (-9, 0, 6))],
)
def test_a_right_angle_takes_a_point_where_it_should_go(
    axis: int, before: tuple[float, float, float], after: tuple[float, float, float]
) -> None:
    """The right-hand rule in mm: about z, x goes to y."""
    angles = torch.zeros(1, 3)
    angles[0, axis] = math.pi / 2
    affine = target_from_source(angles, torch.ones(1), torch.zeros(1, 3))
    moved = deformed(blob(before), affine, torch.zeros(1, 3, 5, 5, 5), SPACING)
    assert torch.allclose(centre_of(moved[0, 0]), torch.tensor(after, dtype=torch.float32), atol=0.15)


def test_content_is_scaled_and_turned_about_the_centre_then_shifted() -> None:
    angle, zoom, shift = math.radians(30), 1.2, torch.tensor([[2.0, -3.0, 1.0]])
    affine = target_from_source(torch.tensor([[0.0, 0.0, angle]]), torch.tensor([zoom]), shift)
    moved = deformed(blob((8.0, 0.0, 4.0)), affine, torch.zeros(1, 3, 5, 5, 5), SPACING)
    expected = torch.tensor([8 * zoom * math.cos(angle) + 2, 8 * zoom * math.sin(angle) - 3, 4 * zoom + 1])
    assert torch.allclose(centre_of(moved[0, 0]), expected, atol=0.15)


def test_a_rotation_is_rigid_and_of_the_configured_spread() -> None:
    """Distances in mm are kept on a grid that is neither cubic nor isotropic, and the angles have their SD."""
    source, target = inner(looked_up(replace(STILL, rotation=6.0), draws=300)), inner(places()[None])[0]
    for one in source[:10]:
        for i, j in ((0, -1), (8, 650), (72, 400)):
            before, after = (one[:, i] - one[:, j]).norm(), (target[:, i] - target[:, j]).norm()
            assert float(before) == pytest.approx(float(after), rel=1e-4)
    linear = source @ torch.linalg.pinv(target)
    angles = torch.stack([linear[:, 1, 2], linear[:, 2, 0], linear[:, 0, 1]], 1)  # to first order, of the inverse
    assert torch.rad2deg(angles).std(0).tolist() == pytest.approx([6.0] * 3, rel=0.1)


@pytest.mark.parametrize("shift", [(1.0, 2.0, 1.5), (0.5, 0.5, 0.5)])
def test_a_shift_has_its_spread_in_mm(shift: tuple[float, float, float]) -> None:
    moved = (looked_up(replace(STILL, shift=shift), draws=600) - places())[..., 12, 8, 16]
    assert moved.std(0).tolist() == pytest.approx(list(shift), rel=0.09)
    assert moved.mean(0).abs().max() < 4 * max(shift) / 600**0.5
    alike = inner(looked_up(replace(STILL, shift=shift)) - places())
    assert torch.allclose(alike, alike[..., :1].expand_as(alike), atol=1e-4), "every voxel alike"


def test_a_scale_has_its_spread() -> None:
    source, target = inner(looked_up(replace(STILL, scale=0.05), draws=500)), inner(places()[None])[0]
    zoom = (source @ torch.linalg.pinv(target)).diagonal(dim1=1, dim2=2)
    assert torch.allclose(zoom, zoom[:, :1].expand_as(zoom), atol=1e-4), "the same along every axis"
    assert float((1 / zoom[:, 0]).std()) == pytest.approx(0.05, rel=0.09)


def test_elastic_deformation_has_its_spread_at_the_control_points() -> None:
    elastic = (0.8, 1.2, 0.5)
    field = looked_up(replace(STILL, elastic=elastic), draws=600) - places()
    step = [(n - 1) // (CONTROL_POINTS - 1) for n in GRID]
    at = field[..., 1 * step[0], 2 * step[1], 3 * step[2]]
    assert at.std(0).tolist() == pytest.approx(list(elastic), rel=0.09)
    between = field[..., 1 * step[0], 2 * step[1], 2 * step[2] + step[2] // 2]
    assert torch.all(between.std(0) < 0.85 * at.std(0)), "trilinear in between"


def test_mirror_flips_left_and_right_exactly() -> None:
    x = torch.rand(40, 2, 8, 6, 5, generator=torch.Generator().manual_seed(0))
    always = augment(x, replace(STILL, mirror=1), torch.Generator().manual_seed(0), spacing=SPACING)
    assert torch.equal(always, x.flip(2))
    some = augment(x, replace(STILL, mirror=0.5), torch.Generator().manual_seed(0), spacing=SPACING)
    flipped = [torch.equal(one, before.flip(1)) for one, before in zip(some, x, strict=True)]
    kept = [torch.equal(one, before) for one, before in zip(some, x, strict=True)]
    assert all(a != b for a, b in zip(flipped, kept, strict=True))
    assert 10 < sum(flipped) < 30


def test_masks_and_labels_move_with_the_image() -> None:
    x = (torch.rand(3, 1, *GRID, generator=torch.Generator().manual_seed(0)) > 0.5).float().repeat(1, 3, 1, 1, 1)
    out = augment(x, Augmentation(gain=0, gamma=0), torch.Generator().manual_seed(1), spacing=SPACING)
    assert torch.allclose(out[:, 0], out[:, 1], atol=1e-6)
    assert torch.equal(out[:, 1], out[:, 2])
    assert not torch.allclose(out, x)
    brighter = augment(x, Augmentation(gain=0.2, gamma=0.2), torch.Generator().manual_seed(1), spacing=SPACING)
    assert torch.equal(brighter[:, 1:], out[:, 1:]), "masks keep their brightness"


def test_the_same_generator_gives_the_same() -> None:
    x = torch.rand(2, 2, *GRID, generator=torch.Generator().manual_seed(0))
    one, again, other = (
        augment(x, Augmentation(), torch.Generator().manual_seed(s), spacing=SPACING) for s in (1, 1, 2)
    )
    assert torch.equal(one, again)
    assert not torch.equal(one, other)


@pytest.mark.parametrize(
    ("config", "size", "shift", "elastic"),
    [
        (head_t1().autoencoder.augmentation, (192, 224, 224), 0.005, 0.002),
        (torso_features().views.augmentation, (360, 300, 648), 0.01, 0.0015),
        (BodyTraining().segmenter.augmentation, (480, 400, 864), 0.01, 0.002),
    ],
)
def test_the_recipes_move_what_the_shipped_weights_saw(
    config: Augmentation, size: tuple[float, ...], shift: float, elastic: float
) -> None:
    """Their shares of the field of view (mm) meant half of themselves."""
    assert config.rotation == pytest.approx(math.degrees(0.04), abs=0.01)
    assert config.shift == pytest.approx([mm * shift for mm in size], rel=0.01)
    assert config.elastic == pytest.approx([mm * elastic for mm in size], rel=0.02)


def test_a_negative_spread_is_a_bug() -> None:
    for wrong in ({"shift": (1.0, -1.0, 1.0)}, {"mirror": 1.5}, {"rotation": -1.0}):
        with pytest.raises(ValueError, match="standard deviations"):
            Augmentation(**wrong)  # type: ignore[arg-type]
