"""Laws of a cascade: between a model's grid and the coarse one of its autoencoders."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from engine.model.config import AutoencoderConfig, DetailConfig, MaskConfig, ModelConfig, TransformerConfig
from engine.model.extended import extended
from engine.model.joint import JointModel
from engine.model.nn import cascade, large
from engine.model.nn.cascade import Cascade, Scores
from engine.training.recipes import tiny
from engine.vocabulary.refusal import ConfigError


def random(*shape: int) -> torch.Tensor:
    return torch.rand(shape, generator=torch.Generator().manual_seed(sum(shape)))


@pytest.mark.parametrize(("side", "margin"), [(32, 0), (56, 4)])
def test_slopes_come_back_and_means_stay(side: int, margin: int) -> None:
    way = Cascade.of(AutoencoderConfig(grid=(side, side, side), reduction=2))
    assert way.margin == (margin,) * 3
    x = torch.arange(float(side))
    slope = (x[:, None, None] + 2 * x[:, None] - 3 * x).expand(1, 1, side, side, side)
    there = way.coarser(slope)
    assert there.shape[2:] == way.coded
    assert there.sum() * 8 == pytest.approx(float(slope.sum()), abs=1)
    inside = (..., slice(2, -2), slice(2, -2), slice(2, -2))
    assert torch.allclose(way.finer(there)[inside], slope[inside], atol=1e-3)


def test_without_a_reduction_nothing_is_touched() -> None:
    way = Cascade.of(AutoencoderConfig(grid=(16, 16, 16)))
    x, labels = random(1, 2, 16, 16, 16), torch.randint(9, (1, 16, 16, 16), dtype=torch.uint8)
    assert way.coarser(x) is x
    assert way.finer(x) is x
    assert way.coarser_labels(labels) is labels


def test_a_box_is_of_its_commonest_class() -> None:
    labels = torch.randint(4, (2, 8, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    found = Cascade((8, 8, 8), 2, (0, 0, 0)).coarser_labels(labels)
    for person in range(2):
        for i, j, k in np.ndindex(4, 4, 4):
            box = labels[person, 2 * i : 2 * i + 2, 2 * j : 2 * j + 2, 2 * k : 2 * k + 2]
            counts = np.bincount(box.flatten().numpy(), minlength=4)
            assert counts[int(found[person, i, j, k])] == counts.max()


def test_box_by_box_and_in_tiles_scores_are_those_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    way, scores = Cascade((22, 20, 12), 2, (1, 0, 2)), random(1, 5, 12, 10, 8)
    whole = way.finer(scores)
    box = (slice(4, 14), slice(0, 8), slice(6, 12))
    assert torch.allclose(Scores(way, scores).within(box), whole[(..., *box)], atol=1e-6)
    plain = way.likeliest(scores)
    monkeypatch.setattr(cascade, "WHOLE", 0)
    assert torch.equal(way.likeliest(scores), plain)


def config(by: int, *, atlas: bool = False) -> ModelConfig:
    side = 32 * by - 8 * (by - 1)
    return ModelConfig(
        image=AutoencoderConfig(grid=(side, side, side), latent=8, widths=(4, 8, 8, 16), blocks=1, reduction=by),
        flow=TransformerConfig(width=48, depth=2, heads=4),
        mask=MaskConfig(
            classes=("air", "a", "b"), codes=((0,), (1,), (2,)), latent=8, widths=(8, 8, 8, 16), atlas=atlas
        ),
        detail=DetailConfig(widths=(8, 8, 16), blocks=1, mask_steps=0 if atlas else 1),
    )


def model(by: int, *, atlas: bool = False) -> JointModel:
    torch.manual_seed(0)
    made = JointModel(config(by, atlas=atlas), tiny().schema)
    with torch.no_grad():
        for name, value in made.named_parameters():
            if name.startswith(("autoencoder.", "mask_autoencoder.")):
                value.add_(0.05 * torch.randn(value.shape, generator=torch.Generator().manual_seed(len(name))))
    return made.eval()


@pytest.mark.parametrize("atlas", [False, True])
@torch.no_grad()
def test_a_cascade_sees_and_decodes_what_the_coarse_model_does(atlas: bool) -> None:
    coarse = model(1, atlas=atlas)
    fine = extended(coarse, config(2, atlas=atlas), 0).eval()
    assert fine.cascade.by == 2
    scan, labels = random(1, 1, 56, 56, 56), torch.randint(3, (1, 56, 56, 56)).to(torch.uint8)
    columns = torch.zeros(1, *fine.codes.shape), torch.zeros(1, len(fine.codes), dtype=torch.bool)
    tokens = fine.encode(scan, *columns)
    assert torch.allclose(tokens, coarse.encode(fine.cascade.coarser(scan), *columns), atol=1e-5)
    assert torch.allclose(fine.decode(tokens), fine.cascade.finer(coarse.decode(tokens)), atol=1e-5)
    mask = fine.encode_mask(labels)
    assert torch.equal(mask, coarse.encode_mask(fine.cascade.coarser_labels(labels)))
    assert torch.allclose(fine.mask_scores(mask), fine.cascade.finer(coarse.mask_scores(mask)), atol=1e-4)
    seen, field = fine.seen_mask(mask)
    assert seen.shape == labels.shape
    assert (field is None) == (not atlas)
    drawn, field = fine.drawn_mask(mask, fine.decode(tokens), [3])
    assert drawn.shape == labels.shape
    assert fine.detailed(fine.decode(tokens), drawn, [3], 1, field=field).shape == scan.shape


@pytest.mark.parametrize("atlas", [False, True])
@torch.no_grad()
def test_in_tiles_a_cascade_draws_the_same(atlas: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    made = model(2, atlas=atlas)
    image, mask = random(1, 8, 8), random(1, 8, 8)

    def drawn() -> list[torch.Tensor]:
        base = made.decode(image)
        labels, field = made.drawn_mask(mask, base, [5])
        return [base, made.detailed(base, labels, [5], 1, field=field), labels.float()]

    whole = drawn()
    monkeypatch.setattr(large, "LARGE", 16**3)
    monkeypatch.setattr(cascade, "WHOLE", 0)
    tiled = drawn()
    assert torch.allclose(tiled[0], whole[0], atol=1e-5)
    assert (tiled[2] != whole[2]).float().mean() < 1e-4
    assert (tiled[1] - whole[1]).abs().mean() < 1e-4


def test_what_local_networks_know_of_places_is_interpolated() -> None:
    coarse = model(1)
    with torch.no_grad():
        coarse.detail.variance.copy_(random(*coarse.detail.variance.shape))
    fine = extended(coarse, config(2), 0)
    assert torch.allclose(fine.detail.variance.mean(), coarse.detail.variance.mean(), atol=1e-3)
    assert torch.equal(fine.autoencoder.template, coarse.autoencoder.template)


def test_a_grid_that_is_no_multiple_is_refused() -> None:
    with pytest.raises(ConfigError, match="not a multiple of 8 along each"):
        AutoencoderConfig(grid=(50, 32, 32), reduction=2)
    with pytest.raises(ConfigError, match="reduction 0 is not possible"):
        replace(AutoencoderConfig(grid=(32, 32, 32)), reduction=0)
