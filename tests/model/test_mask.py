"""Laws of the mask as a part of the joint state, on tiny models."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor

from engine.inference.conditioning import given_rows, with_masks
from engine.model.config import MaskConfig, ModelConfig
from engine.model.extended import extended
from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.model.nn.mask_autoencoder import LEAST, MaskAutoencoder, log_shares
from engine.model.prior import covariance_beside_scans, factor_scores, factor_velocity, fit_slopes
from engine.model.sampler import person_noise, sample
from engine.training.recipes import tiny
from engine.training.stages.mask import class_of_code, initialise, mirrored_classes
from engine.vocabulary.refusal import ConfigError
from tests.vocabulary.test_attributes import people

CLASSES = ("background", "organ left", "organ right", "other")
MASK = MaskConfig(classes=CLASSES, codes=((0,), (7,), (8, 300), ()), latent=6, widths=(8, 8, 8, 16), blocks=1)
SIDE = 32


def with_mask(config: ModelConfig) -> ModelConfig:
    return replace(config, mask=MASK)


def random_weights(model: JointModel, seed: int) -> JointModel:
    """Every weight random, so that nothing is zero by initialisation."""
    rng = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.2)
        for name in ("image_loadings", "table_loadings", "mask_loadings"):
            loadings = getattr(model, name)
            loadings.copy_(0.3 * torch.randn(loadings.shape, generator=rng))
    return model.requires_grad_(False)


@pytest.fixture(scope="module")
def net() -> JointModel:
    recipe = tiny()
    return random_weights(JointModel(with_mask(recipe.model), recipe.schema.fitted(people(60))), 4)


def state_of(net: JointModel, seeds: list[int]) -> Joint:
    return net.noise(seeds)


def balls(n: int = 6) -> Tensor:
    """Segmentations of a ball on either side, of different sizes and places."""
    axis = torch.arange(SIDE) - (SIDE - 1) / 2
    x, y, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    masks = []
    for i in range(n):
        label = torch.zeros(SIDE, SIDE, SIDE, dtype=torch.uint8)
        for c, side in ((1, -1), (2, 1)):
            label[(x - 7 * side) ** 2 + (y - i) ** 2 + (z + i) ** 2 < (4 + i / 2) ** 2] = c
        masks.append(label)
    return torch.stack(masks)


def test_an_unknown_mask_influences_nothing_bit_for_bit(net: JointModel) -> None:
    state = state_of(net, [1, 2])
    other = state._replace(mask=torch.randn(state.mask.shape) * 9)
    levels = Levels(torch.tensor([0.3, 1.0]), torch.rand(2, 5), torch.ones(2))
    one, two = net.velocity(state, levels), net.velocity(other, levels)
    assert torch.equal(one.image, two.image)
    assert torch.equal(one.table, two.table)


def test_a_mask_that_is_not_given_influences_nothing_that_is_drawn(net: JointModel) -> None:
    known = given_rows(net, [{}, {}])
    other = known._replace(value=known.value._replace(mask=torch.randn(known.value.mask.shape)))
    drawn = [sample(net.velocity, net.noise([3, 4]), k, evaluations=4, linear=net.linear(k)) for k in (known, other)]
    assert torch.equal(drawn[0].image, drawn[1].image)
    assert torch.equal(drawn[0].table, drawn[1].table)


def test_a_given_mask_comes_back_exactly_and_is_not_ignored(net: JointModel) -> None:
    labels = balls(2)
    known = with_masks(net, given_rows(net, [{}, {}]), list(labels))
    out = sample(net.velocity, net.noise([3, 4]), known, evaluations=4, linear=net.linear(known))
    assert torch.equal(out.mask, known.value.mask)
    turned = with_masks(net, given_rows(net, [{}, {}]), list(labels.flip(0)))
    other = sample(net.velocity, net.noise([3, 4]), turned, evaluations=4, linear=net.linear(turned))
    assert not torch.allclose(out.image, other.image)


def test_image_and_row_of_a_seed_do_not_depend_on_the_mask(net: JointModel) -> None:
    bare = person_noise([5, 6], 8, 8, net.codes)
    assert torch.equal(bare.image, net.noise([5, 6]).image)
    assert torch.equal(bare.table, net.noise([5, 6]).table)


def test_a_model_that_gains_a_mask_is_as_it_was() -> None:
    """Its gate begins at nothing, whatever the mask and its level."""
    recipe = tiny()
    base = JointModel(recipe.model, recipe.schema.fitted(people(60)))
    rng = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in base.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.2)
    more = extended(base, with_mask(recipe.model), seed=0)
    state, t = more.noise([1, 2, 3]), torch.tensor([0.0, 0.4, 1.0])
    levels = Levels(torch.tensor([0.2, 0.5, 1.0]), torch.rand(3, 5), t)
    before = base.velocity(state._replace(mask=state.mask[..., :0]), levels)
    after = more.velocity(state, levels)
    assert torch.equal(before.image, after.image)
    assert torch.equal(before.table, after.table)


@pytest.mark.parametrize("given", ["image", "mask", "both"])
def test_the_closed_form_conditions_on_image_and_mask(net: JointModel, given: str) -> None:
    """E[z | given] of the linear Gaussian part against the dense formula (Bishop, 2.81)."""
    prior, z = net.prior, net.noise([11])
    loadings = torch.cat([part.flatten(0, 1) for part in (prior.image, prior.table, prior.mask)]).double()
    variances = (prior.image_variance, prior.table_variance, prior.mask_variance)
    dense = loadings @ loadings.T + torch.cat([v.flatten() for v in variances]).double().diag()
    sizes = [z.image.numel(), z.table.numel(), z.mask.numel()]
    which = {"image": [True, False, False], "mask": [False, False, True], "both": [True, False, True]}[given]
    on = torch.cat([torch.full((n,), w) for n, w in zip(sizes, which, strict=True)])
    flat = torch.cat([part.flatten() for part in z]).double()
    expected = dense[~on][:, on] @ torch.linalg.solve(dense[on][:, on], flat[on])
    level = [0.0 if w else 1.0 for w in which]
    levels = Levels(torch.tensor(level[:1]), torch.full((1, 5), level[1]), torch.tensor(level[2:]))
    found = factor_velocity(z, levels, prior)[1]
    got = torch.cat([part.flatten() for part in found]).double()[~on]
    assert torch.allclose(got, expected, atol=1e-4)


def test_a_mask_beside_the_scan_makes_columns_surer(net: JointModel) -> None:
    nothing = torch.zeros(1, 5, dtype=torch.bool)
    scan = covariance_beside_scans(net.prior, nothing, net.codes)[0].sum()
    both = covariance_beside_scans(net.prior, nothing, net.codes, mask=True)[0].sum()
    assert both < scan


def test_slopes_of_a_mask_on_the_images_factors_are_found() -> None:
    rng = torch.Generator().manual_seed(2)
    scores = torch.randn(4000, 3, generator=rng)
    slopes = torch.randn(8, 6, 3, generator=rng)
    masks = torch.einsum("nmr,pr->pnm", slopes, scores) + 0.5 * torch.randn(4000, 8, 6, generator=rng)
    found, variance = fit_slopes(masks, scores)
    assert torch.allclose(found, slopes, atol=0.05)
    assert torch.allclose(variance, torch.full_like(variance, 0.25), atol=0.03)


def test_scores_are_the_posterior_mean(net: JointModel) -> None:
    image = net.noise([1, 2]).image
    levels = Levels(torch.zeros(2), torch.ones(2, 5), torch.ones(2))
    state = net.noise([1, 2])
    mean = factor_velocity(state, levels, net.prior)[1].mask
    scores = factor_scores(net.prior, image)
    assert torch.allclose(torch.einsum("nmr,pr->pnm", net.mask_loadings, scores), mean, atol=1e-4)


# the mask autoencoder


def test_log_shares_of_a_cube() -> None:
    labels = torch.zeros(1, 8, 8, 8, dtype=torch.uint8)
    labels[0, :2, :4, :4] = 3
    found = log_shares(labels, 4).exp() - LEAST
    assert found.shape == (1, 4, 2, 2, 2)
    assert torch.allclose(found[0, :, 0, 0, 0], torch.tensor([0.5, 0, 0, 0.5]), atol=1e-6)
    assert torch.allclose(found[0, :, 1, 1, 1], torch.tensor([1.0, 0, 0, 0]), atol=1e-6)


def test_its_linear_part_alone_tells_one_person_from_another() -> None:
    coder, masks = MaskAutoencoder(replace(MASK, latent=24), (SIDE,) * 3), balls()
    initialise(coder, masks)
    with torch.no_grad():
        found = coder.decode(coder.encode(masks)).argmax(1)
        nobody = coder.decode(torch.zeros(1, coder.tokens, 24)).argmax(1)
    assert (found != masks).float().mean() < 0.6 * (nobody != masks).float().mean()


def test_codes_become_classes_and_a_mirror_exchanges_sides() -> None:
    assert class_of_code(MASK)[[0, 7, 8, 300, 9]].tolist() == [0, 1, 2, 2, 3]
    assert mirrored_classes(MASK).tolist() == [0, 2, 1, 3]


def test_impossible_classes_are_refused() -> None:
    with pytest.raises(ConfigError, match="code 7 is of two classes"):
        replace(MASK, codes=((0,), (7,), (7,), ()))
    with pytest.raises(ConfigError, match="2 lists of codes do not go with 4 classes"):
        replace(MASK, codes=((0,), ()))
    with pytest.raises(ConfigError, match="not 2 to 256 different names"):
        replace(MASK, classes=("a", "a", "b", "c"))
    with pytest.raises(ConfigError, match="leave it out of a model that knows tables only"):
        ModelConfig(image=replace(tiny().model.image, grid=(0, 0, 0), channels=0), flow=tiny().model.flow, mask=MASK)


def test_directions_of_the_mask_are_orthonormal_whatever_its_slopes(net: JointModel) -> None:
    """Or what the sampler solves exactly grows without bounds where a mask is drawn."""
    linear = net.linear(with_masks(net, given_rows(net, [{}]), [None], drawn=True))
    overlap = linear.mask_directions.T @ linear.mask_directions
    assert (overlap - overlap.diag().diag()).abs().max() < 1e-4
    loadings = net.mask_loadings.flatten(0, 1)
    assert linear.mask_spread.sum() >= loadings.square().sum() * 0.999


def test_scores_of_a_box_are_those_of_the_whole(net: JointModel) -> None:
    coder = net.mask_autoencoder
    tokens = torch.randn(2, coder.tokens, MASK.latent, generator=torch.Generator().manual_seed(9))
    box = [slice(0, 16), slice(8, 24), slice(12, SIDE)]
    assert torch.allclose(coder.decode(tokens, box), coder.decode(tokens)[(..., *box)], atol=1e-5)
