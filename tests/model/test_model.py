"""Laws of the joint model: nothing that is not given leaks into a latent or an inferred posterior."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

import engine
from engine.imaging.volume import Volume
from engine.inference.infer import infer
from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import (
    Autoencoder,
    AutoencoderConfig,
    decoder_flops,
    depth_to_space,
    patch_components,
    space_to_depth,
)
from engine.model.sampler import Known, person_noise, sample
from engine.training.recipes import head_t1, tiny
from engine.vocabulary.refusal import ConfigError
from tests.vocabulary.test_attributes import people


@pytest.fixture(scope="module")
def net() -> JointModel:
    """A tiny model whose every weight is random, so that nothing is zero by initialisation."""
    recipe = tiny()
    rng = torch.Generator().manual_seed(4)
    model = JointModel(recipe.model, recipe.schema.fitted(people(60)))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=rng) * 0.2)
    return model.requires_grad_(False)


def test_fusion_with_nothing_given_is_the_bare_latent_bit_for_bit(net: JointModel) -> None:
    bare, table = torch.randn(3, 8, 8), torch.randn(3, 5, 4)
    assert torch.equal(net.fuse(bare, table, torch.zeros(3, 5, dtype=torch.bool)), bare)
    assert not torch.allclose(net.fuse(bare, table, torch.ones(3, 5, dtype=torch.bool)), bare)


def test_shuffling_hidden_columns_changes_no_inferred_posterior(net: JointModel) -> None:
    volume = torch.rand(6, 1, 32, 32, 32)
    table, _ = net.schema.encode([{**r, "age": 50.0} for r in people(6, seed=8)])
    table = torch.from_numpy(table)
    given = torch.tensor([True, False, False, False, False]).expand(6, -1)
    shuffled = torch.cat([table[:, :1], table[torch.randperm(6, generator=torch.Generator().manual_seed(0))][:, 1:]], 1)
    assert not torch.equal(table, shuffled)
    noise = person_noise(list(range(6)), 8, 8, net.codes)
    out = []
    for columns in (table, shuffled):
        coded = net.encode(volume, columns, given)
        known = Known(Joint(coded, columns), torch.ones(6, dtype=torch.bool), given)
        out.append((coded, sample(net.velocity, noise, known, evaluations=4).table))
    assert torch.equal(out[0][0], out[1][0])
    assert torch.equal(out[0][1], out[1][1])


def test_a_given_column_does_change_the_posterior(net: JointModel) -> None:
    """The law above is not passed by a model that ignores its table."""
    state = Joint(torch.randn(1, 8, 8), torch.randn(1, 5, 4) * net.codes)
    other = Joint(state.image, state.table + net.codes * torch.tensor([1.0, 0, 0, 0, 0])[:, None])
    levels = Levels(torch.zeros(1), torch.tensor([[0.0, 1, 1, 1, 1]]))
    assert not torch.allclose(net.velocity(state, levels).table[:, 1:], net.velocity(other, levels).table[:, 1:])


def test_velocity_of_a_person_does_not_depend_on_the_batch(net: JointModel) -> None:
    state = Joint(torch.randn(4, 8, 8), torch.randn(4, 5, 4) * net.codes)
    levels = Levels(torch.rand(4), torch.rand(4, 5))
    alone = net.velocity(Joint(state.image[2:3], state.table[2:3]), Levels(levels.image[2:3], levels.table[2:3]))
    together = net.velocity(state, levels)
    assert torch.allclose(alone.image[0], together.image[2], atol=1e-5)
    assert torch.allclose(alone.table[0], together.table[2], atol=1e-5)


def test_standardisation_is_undone_and_has_unit_mean_variance(net: JointModel) -> None:
    latents = torch.randn(40, 8, 8) @ torch.randn(8, 8) + torch.randn(8, 8)
    net.fit_standardisation(latents, 0.5)
    state = net.standardise(latents)
    assert torch.allclose(net.restore(state), latents, atol=1e-3)
    assert float(state.square().mean()) == pytest.approx(1, rel=1e-3)
    by_channel = state.square().mean((0, 1))
    assert (by_channel.diff() <= 1e-4).all(), "channels come by decreasing variance"


def test_space_to_depth_is_undone_exactly() -> None:
    x = torch.rand(2, 3, 8, 16, 32)
    for factor in (2, 4, 8, (8, 2, 4)):
        assert torch.equal(depth_to_space(space_to_depth(x, factor), factor), x)


def test_patch_components_are_the_leading_eigenvectors() -> None:
    volumes = torch.rand(3, 1, 2, 2, 2).repeat_interleave(8, 2).repeat_interleave(8, 3).repeat_interleave(8, 4)
    volumes = (
        volumes + torch.linspace(0, 1, 16) ** 2 * torch.rand(3, 1, 16, 16, 1) + 0.01 * torch.rand(3, 1, 16, 16, 16)
    )
    components, mean = patch_components(volumes, 4, patch=4)
    cubes = torch.cat([space_to_depth(v[None], 4).flatten(2)[0].T for v in volumes])
    values = torch.linalg.svdvals(cubes - cubes.mean(0))
    assert torch.allclose(mean, cubes.mean(0))
    kept = ((cubes - mean) @ components.T).square().sum()
    assert float(kept) == pytest.approx(float(values[:4].square().sum()), rel=1e-3)
    assert torch.allclose(components @ components.T, torch.eye(4), atol=1e-4)


@pytest.mark.parametrize("size", ["cpu", "gpu"])
def test_shipped_recipe_keeps_its_budget(size: str) -> None:
    image = head_t1(size).model.image
    assert image.tokens <= 300
    assert decoder_flops(image) <= 0.03e6


def test_a_grid_that_does_not_divide_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 16"):
        AutoencoderConfig(grid=(90, 112, 112))


def test_infer_holds_given_columns_and_the_identity(tiny_checkpoint: Path) -> None:
    model = engine.load(tiny_checkpoint / "tiny", device="cpu")
    volume = model.generate(n=1, seed=1)[0].volume
    rows = infer(model, volume, {"height": 171}, samples=5)
    assert [row["height"] for row in rows] == [171] * 5
    assert len({row["age"] for row in rows}) == 5
    assert rows == infer(model, volume, {"height": 171}, samples=5)
    with pytest.raises(engine.RequestError, match="grid"):
        infer(model, Volume(volume.data[:16], volume.affine))


def linear_people(n: int, mask: torch.Tensor, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Images (n, 1, 8, 8) of six factors, and columns whose first number they explain by .95, whose second by .5."""
    draw = torch.Generator().manual_seed(seed)
    factors = torch.randn(n, 6, generator=draw)
    weights = torch.randn(6, 64, generator=torch.Generator().manual_seed(0)) * torch.linspace(3, 1, 6)[:, None]
    table = torch.randn(n, *mask.shape, generator=draw) * mask
    for column, share in ((0, 0.95), (1, 0.5)):
        seen = (factors.mean(1) * 6**0.5) * share**0.5
        table[:, column, 0] = seen + table[:, column, 0] * (1 - share) ** 0.5
    image = factors @ weights + 0.3 * torch.randn(n, 64, generator=draw)
    return image.reshape(n, 1, 8, 8), table


@pytest.mark.parametrize(("n", "close"), [(600, 0.02), (60, 0.1)])
def test_the_linear_part_explains_of_a_column_what_it_explains_of_new_persons(n: int, close: float) -> None:
    recipe = tiny()
    model = JointModel(recipe.model, recipe.schema.fitted(people(60))).requires_grad_(False)
    image, table = linear_people(n, model.codes, seed=1)
    model.fit_prior(image, table, torch.ones(n, len(model.codes), dtype=torch.bool))
    explained = model.table_loadings.square().sum(-1)
    claimed = (explained / (explained + model.table_variance))[model.codes]
    there, true = linear_people(2000, model.codes, seed=2)
    levels = Levels(torch.zeros(2000), torch.ones(2000, len(model.codes)))
    read = model._closed_form(Joint(there[:, 0], torch.zeros_like(true)), levels)[1].table + model.table_centre
    held = 1 - (read - true).square().mean(0)[model.codes] / true.var(0)[model.codes]
    first, second = (int(model.codes[:c].sum()) for c in (0, 1))
    assert float(claimed[first]) == pytest.approx(0.95, abs=close)
    assert float(held[first]) == pytest.approx(0.95, abs=close)
    assert float(held[second]) == pytest.approx(float(claimed[second]), abs=2 * close)
    unrelated = torch.ones_like(held, dtype=torch.bool)
    unrelated[[first, second]] = False
    assert float(held[unrelated].mean()) > -close, "what is due to chance reads worse than the mean"


@pytest.mark.parametrize("steps", [1, 3])
def test_columns_beside_a_scan_are_drawn_exactly_under_the_linear_part(steps: int) -> None:
    """z = m + C ** (1/2) e of the conditional Gaussian, by conditioning the joint covariance; in any number of steps."""
    recipe, rng = tiny(), torch.Generator().manual_seed(0)
    model = JointModel(recipe.model, recipe.schema.fitted(people(60))).requires_grad_(False).double()
    for name in ("image_loadings", "table_loadings", "table_centre"):
        part = getattr(model, name)
        part.copy_(torch.randn(part.shape, generator=rng, dtype=torch.float64))
    model.image_variance.copy_(20 + 20 * torch.rand(model.image_variance.shape, generator=rng, dtype=torch.float64))
    model.table_variance.mul_(0.05)
    model.table_loadings.mul_(model.codes[..., None])
    model.table_centre.mul_(model.codes)
    persons, (columns, code) = 7, model.codes.shape
    given = torch.zeros(persons, columns, dtype=torch.bool)
    given[3:, 1] = given[5:, 2] = True
    shapes = (model.centre.shape, model.codes.shape)
    value, noise = (
        Joint(*(torch.randn(persons, *s, generator=rng, dtype=torch.float64) for s in shapes)) for _ in range(2)
    )
    value, noise = (Joint(part.image, part.table * model.codes) for part in (value, noise))
    known = Known(value, torch.ones(persons, dtype=torch.bool), given)
    found = sample(model.velocity, noise, known, evaluations=steps, linear=model.linear(known)).table

    loadings = torch.cat([model.image_loadings.flatten(0, 1), model.table_loadings.flatten(0, 1)])
    own = torch.cat([model.image_variance.flatten(), model.table_variance.flatten()])
    joint, pixels = loadings @ loadings.T + own.diag(), model.image_variance.numel()
    for person in range(persons):
        codes = (given[person][:, None] & model.codes).flatten()
        seen = torch.cat([torch.ones(pixels, dtype=torch.bool), codes])
        asked = torch.cat([torch.zeros(pixels, dtype=torch.bool), ~codes & model.codes.flatten()])
        off = torch.cat([value.image[person].flatten(), (value.table[person] - model.table_centre).flatten()])
        slopes = torch.linalg.solve(joint[seen][:, seen], joint[seen][:, asked]).T
        covariance = joint[asked][:, asked] - slopes @ joint[seen][:, asked]
        values, vectors = torch.linalg.eigh(covariance)
        free = asked[pixels:]
        mean = model.table_centre.flatten()[free] + slopes @ off[seen]
        true = mean + vectors @ (values.sqrt() * (vectors.T @ noise.table[person].flatten()[free]))
        assert torch.allclose(found[person].flatten()[free], true, atol=1e-6)
        assert torch.equal(found[person][given[person]], value.table[person][given[person]])
    assert code > 1, "codes of categories too"


@pytest.mark.parametrize("patch", [(16, 16, 16), (16, 16, 4), (8, 16, 2)])
def test_a_token_stands_for_its_patch(patch: tuple[int, int, int]) -> None:
    config = AutoencoderConfig(grid=(32, 32, 16), channels=3, latent=8, widths=(8, 8, 8, 8), blocks=1, patch=patch)
    coder = Autoencoder(config)
    assert [math.prod(s) for s in zip(*config.strides, strict=True)] == list(patch)
    with torch.no_grad():
        tokens = coder.encode(torch.rand(1, 3, 32, 32, 16))
        assert tokens.shape == (1, math.prod(config.token_grid), 8)
        assert coder.decode(tokens).shape == (1, 3, 32, 32, 16)
        # of the linear part, a token's kernel is its own voxels and no others
        bump = torch.zeros(1, 3, 32, 32, 16)
        bump[0, 1, : patch[0], : patch[1], : patch[2]] = 1
        moved = coder.linear(bump).flatten(2)[0].abs().sum(0)
    assert moved[0] > 0
    assert not moved[1:].any()


def test_a_patch_that_is_no_power_of_two_is_refused() -> None:
    with pytest.raises(ConfigError, match="patch"):
        AutoencoderConfig(grid=(32, 32, 12), patch=(16, 16, 12))
    with pytest.raises(ConfigError, match="multiple"):
        AutoencoderConfig(grid=(32, 32, 6), patch=(16, 16, 4))
