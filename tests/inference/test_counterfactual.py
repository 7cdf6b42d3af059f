"""Laws of the what-if: the ODE runs back exactly, a null intervention is the autoencoder's reconstruction, one seed one
person; in closed form where the field is that of a linear Gaussian model."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import engine
from engine.cohort.store import CohortStore
from engine.inference.counterfactual import add_back, counterfactual, generated_counterfactual, intervened, invert
from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.model.linear import LinearFlow
from engine.model.prior import FactorPrior, factor_velocity
from engine.model.sampler import Known, integrate, schedule
from engine.model.sampler import invert as invert_flow
from engine.vocabulary.schema import AttributeSchema

ROW = {"age": 40.0, "sex": "F", "height": 165.0, "bmi": 24.0, "ethnicity": "White"}


def gaussian(tokens: int = 6, channels: int = 2, columns: int = 3, rank: int = 4) -> FactorPrior:
    rng = torch.Generator().manual_seed(0)

    def draw(*shape: int) -> torch.Tensor:
        return torch.randn(shape, generator=rng, dtype=torch.float64)

    return FactorPrior(
        draw(tokens, channels, rank),
        draw(columns, 1, rank),
        0.2 + draw(tokens, channels) ** 2,
        0.3 + draw(columns, 1) ** 2,
    )


def linear_of(prior: FactorPrior) -> LinearFlow:
    """Directions of the loadings and variances of each token: they do not commute, as in a fitted model."""
    directions, lengths, _ = torch.linalg.svd(prior.image.flatten(0, 1), full_matrices=False)
    return LinearFlow(directions=directions, spread=lengths**2 + 0.5, image=prior.image_variance)


def setting(prior: FactorPrior, given: torch.Tensor) -> tuple[Joint, Known]:
    rng = torch.Generator().manual_seed(1)
    clean = Joint(
        torch.randn((1, *prior.image.shape[:2]), generator=rng, dtype=torch.float64),
        torch.randn((1, *prior.table.shape[:2]), generator=rng, dtype=torch.float64),
    )
    return clean, Known(clean, torch.tensor([False]), given[None])


def conditional(prior: FactorPrior, given: torch.Tensor, table: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean and covariance of what is not given (image, then columns)."""
    loadings = torch.cat([prior.image.flatten(0, 1), prior.table.flatten(0, 1)])
    total = loadings @ loadings.T + torch.diag(
        torch.cat([prior.image_variance.flatten(), prior.table_variance.flatten()])
    )
    on = torch.cat([torch.zeros(prior.image_variance.numel(), dtype=torch.bool), given])
    gain = total[~on][:, on] @ torch.linalg.inv(total[on][:, on])
    return gain @ table.flatten()[given], total[~on][:, ~on] - gain @ total[on][:, ~on]


def unknown(state: Joint, given: torch.Tensor) -> torch.Tensor:
    return torch.cat([state.image.flatten(), state.table[0][~given].flatten()])


@pytest.mark.parametrize("given", [(True, True, True), (True, False, False)])
def test_noise_of_a_gaussian_is_its_whitened_residual(given: tuple[bool, ...]) -> None:
    """With one t for all that is unknown, A S A + B^2 commute at all t, so that e = S^-1/2 (z - m) exactly."""
    prior, on = gaussian(), torch.tensor(given)
    clean, known = setting(prior, on)
    mean, covariance = conditional(prior, on, clean.table)
    values, vectors = torch.linalg.eigh(covariance)
    expected = vectors @ ((vectors.T @ (unknown(clean, on) - mean)) / values.sqrt())
    errors = []
    for steps in (8, 32, 128):
        times = schedule(steps)
        noise = invert_flow(lambda s, t: factor_velocity(s, t, prior)[0], clean, known, times, rounds=5)
        errors.append(float((unknown(noise, on) - expected).norm() / expected.norm()))
    assert errors[2] < 0.5 * errors[1] < 0.25 * errors[0]
    assert errors[2] < 0.03


@pytest.mark.parametrize("given", [pytest.param((True, True, True), marks=pytest.mark.slow), (True, False, False)])
@pytest.mark.parametrize("exponential", [False, True])
def test_there_and_back_is_exact_and_more_so_with_steps_and_rounds(given: tuple[bool, ...], exponential: bool) -> None:
    prior, on = gaussian(), torch.tensor(given)
    clean, known = setting(prior, on)
    linear = linear_of(prior) if exponential else None

    def field(state: Joint, levels: Levels) -> Joint:
        return factor_velocity(state, levels, prior)[0]

    def error(steps: int, rounds: int) -> float:
        times, state = schedule(steps), clean
        noise = invert_flow(field, clean, known, times, shift=3.0, linear=linear, rounds=rounds)
        for state in integrate(field, noise, known, times, "euler", shift=3.0, linear=linear):
            pass
        assert torch.equal(state.table[0][on], clean.table[0][on])
        return float((unknown(state, on) - unknown(clean, on)).norm() / unknown(clean, on).norm())

    assert error(16, 3) < error(8, 3)
    assert error(16, 6) < 0.2 * error(16, 3) < 0.1 * error(16, 1)
    assert error(48, 6) < 1e-4


def test_a_counterfactual_of_a_gaussian_moves_by_the_conditional_mean() -> None:
    prior, on = gaussian(), torch.tensor([True, True, True])
    clean, known = setting(prior, on)
    times = schedule(128)
    noise = invert_flow(lambda s, t: factor_velocity(s, t, prior)[0], clean, known, times, rounds=5)
    changed = clean.table + torch.tensor([1.5, 0.0, -0.5], dtype=torch.float64)[:, None]
    there = Known(Joint(clean.image, changed), known.image, known.table)
    out = clean
    for out in integrate(lambda s, t: factor_velocity(s, t, prior)[0], noise, there, times, "euler"):
        pass
    expected = conditional(prior, on, changed)[0] - conditional(prior, on, clean.table)[0]
    assert torch.allclose((out.image - clean.image).flatten(), expected, atol=0.02 * float(expected.norm()))


def test_a_linear_step_of_no_length_is_the_identity_and_small_ones_do_not_drift() -> None:
    prior = gaussian()
    clean, known = setting(prior, torch.tensor([True, True, False]))
    linear = linear_of(prior)
    for t in (0.0, 0.1, 1.0):
        here = known.levels(t, 3.0)
        assert torch.allclose(linear.advance(clean, here, here).image, clean.image, atol=1e-12)
    fine = [1 - i / 512 for i in range(513)]
    ends = []
    for times in (fine, fine[::8], fine[::16]):
        state = clean
        for state in integrate(linear.velocity, clean, known, times, "euler", linear=linear):
            pass
        ends.append(state.image)
    near, far = (float((e - ends[0]).norm() / ends[0].norm()) for e in ends[1:])
    assert near < 0.6 * far
    assert far < 0.02


@pytest.fixture(scope="module")
def model(tiny_checkpoint: Path) -> engine.Model:
    return engine.load(tiny_checkpoint / "tiny", device="cpu")


@pytest.fixture(scope="module")
def scan(model: engine.Model, tiny_store: CohortStore) -> engine.Volume:
    return engine.Volume(np.asarray(tiny_store.volumes[0, 0], np.float32) / 255, model.checkpoint.affine)


@pytest.mark.parametrize("factual", [pytest.param(ROW, marks=pytest.mark.slow), {"age": 40.0, "sex": "F"}, {}])
def test_a_null_intervention_is_the_reconstruction(model: engine.Model, scan: engine.Volume, factual: dict) -> None:
    found = counterfactual(model, scan, factual=factual, intervention={}, steps=32)
    assert found.null_psnr > found.autoencoder_psnr - 0.2
    assert np.allclose(found.volume.data, found.null.data, atol=1e-5)
    assert np.allclose(found.restored.data, scan.data, atol=1e-4)
    assert {k: found.row[k] for k in factual} == factual
    assert set(found.row) == set(model.schema.names)
    assert found.row["age"] == pytest.approx(found.factual["age"], abs=1.0)


def test_strength_leaves_a_null_intervention_null(model: engine.Model, scan: engine.Volume) -> None:
    null = counterfactual(model, scan, factual=ROW, intervention={}, steps=8, strength=3.0)
    assert np.allclose(null.volume.data, null.null.data, atol=1e-5)
    change = [
        np.abs(
            counterfactual(model, scan, factual=ROW, intervention={"bmi": 34}, steps=8, strength=w).difference
        ).mean()
        for w in (0.0, 1.0, 2.0)
    ]
    assert change[0] < change[1] < change[2]


def test_what_is_held_stays_and_what_is_free_moves(model: engine.Model, scan: engine.Volume) -> None:
    held = counterfactual(model, scan, factual=ROW, intervention={"age": 70}, steps=8)
    assert {k: held.row[k] for k in ROW} == {**ROW, "age": 70}
    assert held.factual["age"] == 40.0
    assert np.abs(held.difference).max() > 0
    assert held.volume.data.shape == held.difference.shape == scan.data.shape
    free = counterfactual(model, scan, factual=ROW, intervention={"age": 70}, steps=8, free=("bmi",))
    assert free.row["bmi"] != ROW["bmi"]
    assert free.row["age"] == 70
    assert free.factual["bmi"] == 24.0


def test_a_scan_follows_the_whole_row(model: engine.Model, scan: engine.Volume) -> None:
    """What is free moves in the row first; then the scan is that of whoever sets all of it."""
    free = counterfactual(model, scan, factual=ROW, intervention={"age": 70}, steps=8, free=("bmi",))
    whole = counterfactual(model, scan, factual=ROW, intervention={"age": 70, "bmi": free.row["bmi"]}, steps=8)
    assert free.row == whole.row
    assert np.allclose(free.volume.data, whole.volume.data, atol=1e-5)
    assert np.array_equal(free.null.data, whole.null.data)


def test_derived_columns_follow_or_move_their_first_factor(model: engine.Model) -> None:
    schema: AttributeSchema = model.schema
    row = intervened(schema, {"height": 180.0, "weight": 81.0, "age": 50}, {"weight": 97.2})
    assert row["height"] == 180.0
    assert row["bmi"] == pytest.approx(30.0)
    assert "weight" not in intervened(schema, {"height": 180.0, "weight": 81.0}, {"height": 170.0})
    assert intervened(schema, {"height": 180.0, "weight": 81.0}, {"age": 50})["weight"] == 81.0


def test_inversion_gives_noise_of_the_state(model: engine.Model, scan: engine.Volume) -> None:
    noise, image = invert(model, scan, ROW, steps=8), model.checkpoint.model.config.image
    assert noise.image.shape == (1, image.tokens, image.latent)
    table, _ = model.schema.encode([ROW])
    assert np.array_equal(noise.table.numpy(), table)


@pytest.mark.parametrize("rows", [True, False], ids=["with rows", "without"])
def test_columns_are_fused_if_they_are_clean_in_the_flow(
    model: engine.Model, scan: engine.Volume, monkeypatch: pytest.MonkeyPatch, rows: bool
) -> None:
    """A free column is completed by the network of rows and then clean; without that network it is drawn beside the scan."""
    seen = []
    if not rows:
        monkeypatch.setitem(model.checkpoint.model._modules, "rows", None)
    original = JointModel.encode

    def watched(self: JointModel, volume: torch.Tensor, table: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
        seen.append(given[0].tolist())
        return original(self, volume, table, given)

    monkeypatch.setattr(JointModel, "encode", watched)
    counterfactual(model, scan, factual=ROW, intervention={"age": 70}, steps=1, free=("bmi",))
    assert seen == [[rows or c.name != "bmi" for c in model.schema.columns]]


def test_what_follows_moves_by_its_regression_there_and_back(model: engine.Model, scan: engine.Volume) -> None:
    """A free column's score moves by Cov(free, held) Cov(held)^-1 times the change; back again it is what it was."""
    net, schema = model.checkpoint.model.rows, model.schema
    assert net is not None
    there = counterfactual(model, scan, factual=ROW, intervention={"age": 70}, steps=1, free=("bmi",)).row
    back = counterfactual(model, scan, factual=there, intervention={"age": 40}, steps=1, free=("bmi",)).row
    assert back["bmi"] == pytest.approx(ROW["bmi"], rel=1e-4)

    codes, free = net.codes.bool(), schema.names.index("bmi")
    loadings = net.table_loadings[codes].double()
    covariance = loadings @ loadings.T + torch.diag(net.table_variance[codes].double())
    own = torch.arange(len(schema.columns))[:, None].expand_as(codes)[codes] == free
    slopes = covariance[own][:, ~own] @ torch.linalg.inv(covariance[~own][:, ~own])
    (before, after), _ = schema.encode([ROW, {**ROW, "age": 70}])
    moved = slopes @ torch.from_numpy(after - before)[codes][~own].double()
    (score,), _ = schema.encode([there])
    assert score[free][0] - before[free][0] == pytest.approx(moved.item(), abs=1e-4)
    assert abs(moved.item()) > 1e-3, "there is something to follow"


def test_the_same_seed_is_the_same_person(model: engine.Model) -> None:
    one, same = generated_counterfactual(model, 5, {"age": 30, "sex": "F"}, {}, steps=4)
    assert np.array_equal(one.volume.data, same.volume.data)
    assert one.attributes == same.attributes
    one, other = generated_counterfactual(model, 5, {"age": 30, "sex": "F"}, {"age": 70}, steps=4)
    assert (one.seed, one.attributes["age"]) == (5, 30)
    assert (other.seed, other.attributes["age"], other.attributes["sex"]) == (5, 70, "F")
    assert not np.array_equal(one.volume.data, other.volume.data)


def test_what_is_held_of_a_drawn_person_leaves_that_person_as_drawn(model: engine.Model) -> None:
    """Whoever is asked what if is the person who was drawn, and nothing set is nothing changed, to the last bit."""
    (drawn,) = model.generate(seed=5, given={"age": 30}, steps=4)
    one, same = generated_counterfactual(model, 5, {"age": 30}, {}, steps=4, hold=("sex", "height"))
    for person in (one, same):
        assert person.attributes == drawn.attributes
        assert np.array_equal(person.volume.data, drawn.volume.data)
    one, other = generated_counterfactual(model, 5, {"age": 30}, {"age": 70}, steps=4, hold=("sex", "height"))
    assert one.attributes == drawn.attributes
    assert {name: other.attributes[name] for name in ("sex", "height")} == {
        name: drawn.attributes[name] for name in ("sex", "height")
    }
    assert other.attributes["age"] == 70


def test_residual_comes_back_where_nothing_changed_only() -> None:
    rng = np.random.default_rng(0)
    scan = rng.uniform(0.3, 0.7, (1, 8, 8, 8)).astype(np.float32)
    null = np.full_like(scan, 0.5)
    changed = null.copy()
    changed[:, 4:] += 0.3
    restored = add_back(changed, null, scan)
    assert np.allclose(restored[:, :3], scan[:, :3])
    assert np.allclose(restored[:, 5:], changed[:, 5:])


@pytest.mark.parametrize(
    ("factual", "options", "words"),
    [
        ({"shoe": 4}, {"intervention": {}}, "'shoe'"),
        (ROW, {"intervention": {"age": -3}}, "age -3"),
        (ROW, {"intervention": {"shoe": 4}}, "'shoe'"),
        (ROW, {"intervention": {"age": 50}, "steps": 0}, "steps 0"),
        (ROW, {"intervention": {"age": 50}, "free": ("age",)}, "age cannot be free"),
        (ROW, {"intervention": {"age": 50}, "free": ("weight",)}, "weight cannot be free"),
        (ROW, {"intervention": {"age": 50}, "strength": 11.0}, "strength 11"),
    ],
)
def test_bad_requests_name_the_value(
    model: engine.Model, scan: engine.Volume, factual: dict, options: dict, words: str
) -> None:
    with pytest.raises((engine.AttributeValueError, engine.RequestError), match=words):
        counterfactual(model, scan, factual=factual, **options)


def test_a_scan_of_another_grid_is_refused(model: engine.Model, scan: engine.Volume) -> None:
    with pytest.raises(engine.RequestError, match="preprocess"):
        counterfactual(model, replace(scan, data=scan.data[:16]), factual=ROW, intervention={"age": 50})
    moved = scan.affine.copy()
    moved[0, 3] += 40
    with pytest.raises(engine.RequestError, match="preprocess"):
        invert(model, replace(scan, affine=moved), ROW)
