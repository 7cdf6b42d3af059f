"""Displacement fields and the atlas that is seen through them."""

from __future__ import annotations

import torch
from torch import Tensor

from engine.model.config import MaskConfig
from engine.model.nn.atlas_autoencoder import AtlasAutoencoder, as_probabilities
from engine.model.nn.warp import displacement, warped

GRID = (32, 16, 16)
CONFIG = MaskConfig(classes=("air", "left part", "right part"), codes=((0,), (1,), (2,)), latent=4, atlas=True)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def atlas_coder() -> AtlasAutoencoder:
    torch.manual_seed(0)
    coder = AtlasAutoencoder(CONFIG, GRID, 1).requires_grad_(False)
    coder.anatomy[4:16, 4:12, 4:12] = 1
    coder.anatomy[16:28, 4:12, 4:12] = 2
    coder.template.copy_(coder.anatomy[None] / 2)
    return coder


def test_no_displacement_is_the_image_and_a_constant_one_moves_it() -> None:
    image = torch.rand(2, *GRID, generator=generator(0))
    field = torch.zeros(3, 3, *(n // 2 for n in GRID))
    field[1, 0], field[2, 2] = 3.0, -1.5
    still, along, against = warped(image, field)
    torch.testing.assert_close(still, image)
    torch.testing.assert_close(along[:, :-3], image[:, 3:])
    torch.testing.assert_close(against[..., 2:], (image[..., 1:-1] + image[..., :-2]) / 2)


def test_a_linear_field_is_linear_between_its_cells() -> None:
    centres = torch.arange(16.0) * 2 + 0.5
    field = centres.view(1, 1, 16, 1, 1).expand(1, 3, 16, 8, 8)
    inside = displacement(field)[0, 0, 1:-1, 4, 4]
    torch.testing.assert_close(inside, torch.arange(1.0, 31.0))


def test_a_box_has_what_the_whole_has() -> None:
    coder = atlas_coder()
    field = torch.randn(1, 3, 16, 8, 8, generator=generator(1))
    box = [slice(8, 24), slice(0, 8), slice(4, 12)]
    torch.testing.assert_close(coder.seen(field, box), coder.seen(field)[(..., *box)])


def test_before_training_every_mask_is_the_atlas_itself() -> None:
    coder = atlas_coder()
    tokens = torch.randn(2, coder.tokens, 4, generator=generator(2))
    for found in coder.decode(tokens).argmax(1):
        assert torch.equal(found, coder.probabilities().argmax(0))
        # but for voxels at corners of its cuboids, which a blur takes away
        assert int((found != coder.anatomy).sum()) <= 12 * 8


def test_a_thin_sheet_stays_crisp_wherever_it_is_moved() -> None:
    coder = atlas_coder()
    coder.anatomy.zero_()
    coder.anatomy[10:12] = 1
    field = torch.zeros(1, 3, 16, 8, 8)
    field[:, 0] = -4.0
    found = coder.seen(field).argmax(1)[0]
    assert found[14:16].eq(1).all()
    assert int(found.sum()) == 2 * 16 * 16


def test_probabilities_sum_to_one_and_follow_the_atlas() -> None:
    coder = atlas_coder()
    before: Tensor = coder.probabilities()
    torch.testing.assert_close(before.sum(0), torch.ones(GRID))
    coder.anatomy.fill_(2)
    torch.testing.assert_close(coder.probabilities(), as_probabilities(coder.anatomy, 3))
    assert not torch.equal(before, coder.probabilities())


def test_what_inference_keeps_can_be_learned_by() -> None:
    coder = atlas_coder()
    with torch.inference_mode():
        coder.probabilities()
    field = torch.zeros(1, 3, 16, 8, 8, requires_grad=True)
    coder.seen(field).sum().backward()
    assert field.grad is not None
