"""The closed-form oracle: with the analytic velocity of jointly Gaussian data the sampler must reproduce the joint and
every conditional distribution. Source: E[z | z_t] of a linear Gaussian model, each variable at its own noise level."""

from __future__ import annotations

from itertools import pairwise, product

import numpy as np
import pytest
import torch
from scipy.stats import chi2

from engine.model.flow import Joint, Levels, NoiseMixture, interpolate
from engine.model.linear import LinearFlow
from engine.model.prior import FactorPrior, factor_velocity
from engine.model.sampler import Known, Solver, guided, integrate, person_noise, sample, schedule

MEAN = torch.tensor([0.4, -0.3, 0.8, 0.0, 0.5], dtype=torch.float64)
#: three columns, then an image of one token with two channels
_ROOT = torch.tensor(
    [[1, 0, 0, 0, 0], [0.7, 0.6, 0, 0, 0], [-0.4, 0.5, 0.8, 0, 0], [0.6, -0.5, 0.2, 0.5, 0], [0, 0.3, 0.9, 0.3, 0.4]],
    dtype=torch.float64,
)
COVARIANCE = _ROOT @ _ROOT.T
N = 4000


def oracle(state: Joint, levels: Levels) -> Joint:
    """E[e - z | z_t] = (B - S A) (A S A + B^2)^-1 (z_t - A m) - m, A = diag(1 - t), B = diag(t)."""
    return oracle_of(state, levels, MEAN)


def centred_oracle(state: Joint, levels: Levels) -> Joint:
    return oracle_of(state, levels, torch.zeros_like(MEAN))


def oracle_of(state: Joint, levels: Levels, middle: torch.Tensor) -> Joint:
    z = torch.cat([state.table[..., 0], state.image[:, 0]], 1)
    t = torch.cat([levels.table, levels.image[:, None].expand(-1, 2)], 1)[0]
    a, b = torch.diag(1 - t), torch.diag(t)
    gain = (b - COVARIANCE @ a) @ torch.linalg.pinv(a @ COVARIANCE @ a + b @ b, hermitian=True)
    v = (z - middle @ a) @ gain.T - middle
    return Joint(v[:, None, 3:], v[:, :3, None])


def draw(image: bool, table: tuple[bool, ...], values: torch.Tensor, seed: int = 0) -> torch.Tensor:
    rng = torch.Generator().manual_seed(seed)
    noise = Joint(
        torch.randn(N, 1, 2, generator=rng, dtype=torch.float64),
        torch.randn(N, 3, 1, generator=rng, dtype=torch.float64),
    )
    clean = Joint(values[None, None, 3:].expand(N, -1, -1), values[None, :3, None].expand(N, -1, -1))
    known = Known(clean, torch.full((N,), image), torch.tensor(table).expand(N, -1))
    out = sample(oracle, noise, known, evaluations=80, solver="heun")
    return torch.cat([out.table[..., 0], out.image[:, 0]], 1)


@pytest.mark.parametrize(("image", "table"), [(i, t) for i in (False, True) for t in product((False, True), repeat=3)])
def test_every_conditional_of_the_gaussian_oracle(image: bool, table: tuple[bool, ...]) -> None:
    values = MEAN + torch.tensor([1.0, -0.8, 0.5, 0.3, -0.6], dtype=torch.float64)
    out = draw(image, table, values)
    given = torch.tensor([*table, image, image])
    assert torch.equal(out[:, given], values[given].expand(N, -1))
    free = ~given
    if not free.any():
        return
    s_fg, s_gg = COVARIANCE[free][:, given], COVARIANCE[given][:, given]
    gain = s_fg @ torch.linalg.inv(s_gg)
    mean = MEAN[free] + gain @ (values - MEAN)[given]
    covariance = COVARIANCE[free][:, free] - gain @ s_fg.T
    white = torch.linalg.solve(torch.linalg.cholesky(covariance), (out[:, free] - mean).T).T
    d, tests = int(free.sum()), 3 * 15
    mean_statistic = float(N * (white.mean(0) ** 2).sum())
    assert mean_statistic < chi2.ppf(1 - 0.01 / tests, d)
    # each entry of the whitened second moment is N(0, 2 / N) on and N(0, 1 / N) off the diagonal
    moment = (white.T @ white / N - torch.eye(d, dtype=torch.float64)).numpy()
    spread = N * (np.diag(moment) ** 2 / 2).sum() + N * (moment[np.triu_indices(d, 1)] ** 2).sum()
    assert spread < chi2.ppf(1 - 0.01 / tests, d * (d + 1) // 2)
    total = (white**2).sum(1).mean() * N
    assert chi2.ppf(0.005 / tests, N * d) < total < chi2.ppf(1 - 0.005 / tests, N * d)


@pytest.mark.parametrize("given", [False, True])
def test_image_and_columns_may_follow_different_schedules(given: bool) -> None:
    """With its own level for the image along the way, the joint and a conditional are still the oracle's."""
    rng = torch.Generator().manual_seed(1)
    noise = Joint(
        torch.randn(N, 1, 2, generator=rng, dtype=torch.float64),
        torch.randn(N, 3, 1, generator=rng, dtype=torch.float64),
    )
    clean = Joint(torch.zeros_like(noise.image), torch.zeros_like(noise.table))
    known = Known(clean, torch.full((N,), False), torch.tensor([given, False, False]).expand(N, -1))
    out = sample(centred_oracle, noise, known, evaluations=160, solver="heun", shift=4.0)
    found = torch.cat([out.table[..., 0], out.image[:, 0]], 1)[:, int(given) :]
    first = COVARIANCE[1:, :1]
    expected = COVARIANCE[1:, 1:] - first @ first.T / COVARIANCE[0, 0] if given else COVARIANCE
    white = torch.linalg.solve(torch.linalg.cholesky(expected), found.T).T
    d = white.shape[1]
    moment = (white.T @ white / N - torch.eye(d, dtype=torch.float64)).numpy()
    spread = N * (np.diag(moment) ** 2 / 2).sum() + N * (moment[np.triu_indices(d, 1)] ** 2).sum()
    assert spread < chi2.ppf(1 - 0.01 / 2, d * (d + 1) // 2)


def test_the_linear_part_is_solved_exactly_where_euler_loses_variance() -> None:
    """A direction of variance 2000 across 600 values: one exact step against eight of Euler."""
    rng = torch.Generator().manual_seed(0)
    direction = torch.nn.functional.normalize(torch.randn(600, 1, generator=rng, dtype=torch.float64), dim=0)
    linear = LinearFlow(
        directions=direction,
        spread=torch.tensor([2000.0], dtype=torch.float64),
        image=torch.full((150, 4), 0.5, dtype=torch.float64),
    )
    noise = Joint(
        torch.randn(500, 150, 4, generator=rng, dtype=torch.float64),
        torch.randn(500, 2, 1, generator=rng, dtype=torch.float64),
    )
    known = Known(noise, torch.zeros(500, dtype=torch.bool), torch.zeros(500, 2, dtype=torch.bool))

    def variances(state: Joint) -> tuple[float, float]:
        flat = state.image.flatten(1)
        along = flat @ direction
        return float(along.var() / 2000), float((flat - along @ direction.T).var() / 0.5)

    for evaluations in (1, 8):
        out = sample(linear.velocity, noise, known, evaluations=evaluations, linear=linear)
        assert variances(out) == pytest.approx((1, 1), abs=0.15)
        assert torch.allclose(out.table, noise.table)
    assert variances(sample(linear.velocity, noise, known, evaluations=8))[0] < 0.1


def test_the_oracle_test_can_fail() -> None:
    """A sampler whose spread is 5% short is outside the bounds used above."""
    out = draw(False, (False, False, False), MEAN)
    white = torch.linalg.solve(torch.linalg.cholesky(COVARIANCE), (0.95 * (out - MEAN)).T).T
    assert float((white**2).sum()) < chi2.ppf(0.005 / 45, N * 5)


def test_known_values_survive_every_step_bit_for_bit() -> None:
    noise = Joint(torch.randn(2, 4, 3), torch.randn(2, 3, 2))
    value = Joint(torch.randn(2, 4, 3), torch.randn(2, 3, 2))
    table = torch.tensor([[True, False, True], [False, True, False]])
    known = Known(value, torch.tensor([False, True]), table)
    for state in integrate(lambda s, _: Joint(s.image * 3, s.table * 5), noise, known, schedule(7)):
        assert torch.equal(state.table[table], value.table[table])
        assert torch.equal(state.image[1], value.image[1])


def test_steps_count_network_evaluations() -> None:
    for solver in ("euler", "heun", "multistep"):
        calls = 0

        def counted(state: Joint, levels: Levels) -> Joint:
            nonlocal calls
            calls += 1
            return Joint(torch.zeros_like(state.image), torch.zeros_like(state.table))

        for budget in (1, 2, 4, 8, 13, 32):
            calls = 0
            noise = person_noise([0], 4, 3, torch.ones(3, 2, dtype=torch.bool))
            known = Known(noise, torch.zeros(1, dtype=torch.bool), torch.zeros(1, 3, dtype=torch.bool))
            sample(counted, noise, known, evaluations=budget, solver=solver)
            assert calls == (budget if solver != "heun" or budget % 2 else budget - 1)


def gaussian(variance: float, mean: float) -> LinearFlow:
    """Image values of that variance about that mean."""
    return LinearFlow(
        directions=torch.zeros(12, 1, dtype=torch.float64),
        spread=torch.ones(1, dtype=torch.float64),
        image=torch.full((4, 3), variance, dtype=torch.float64),
        centre=Joint(torch.full((4, 3), mean, dtype=torch.float64), torch.zeros((), dtype=torch.float64)),
    )


def test_guidance_is_the_classifier_free_one_of_gaussians() -> None:
    """v + (w - 1) (v - v_0), both Gaussians of one variance, and its sample lies about w times the mean."""
    rng, w = torch.Generator().manual_seed(2), 2.5
    noise = Joint(*(torch.randn(500, *s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 1))))
    known = Known(noise, torch.zeros(500, dtype=torch.bool), torch.zeros(500, 2, dtype=torch.bool))
    given, free = gaussian(0.4, 0.7), gaussian(0.4, 0.0)
    field, linear = guided(given.velocity, given, (w - 1) * given.centre.image)
    for t in (0.2, 0.6, 1.0):
        at = known.levels(t)
        one, other, found = given.velocity(noise, at), free.velocity(noise, at), field(noise, at)
        assert torch.allclose(found.image, other.image + w * (one.image - other.image))
        assert torch.equal(found.table, one.table)
    for out in (
        sample(field, noise, known, evaluations=1, linear=linear),
        sample(field, noise, known, evaluations=400),
    ):
        assert torch.allclose(out.image, w * 0.7 + 0.4**0.5 * noise.image, atol=2e-3)


def test_the_order_of_the_solvers() -> None:
    """A field whose linear part is known but for a push that changes with time: the error falls with the step's length,
    of the multistep rule with its square."""
    rng = torch.Generator().manual_seed(3)
    noise = Joint(*(torch.randn(4, *s, generator=rng, dtype=torch.float64) for s in ((4, 3), (2, 1))))
    known, linear = (
        Known(noise, torch.zeros(4, dtype=torch.bool), torch.zeros(4, 2, dtype=torch.bool)),
        gaussian(0.3, 0.5),
    )

    def field(state: Joint, levels: Levels) -> Joint:
        v = linear.velocity(state, levels)
        return Joint(v.image + torch.sin(2 * state.image + 3 * levels.image[:, None, None]), v.table)

    exact = sample(field, noise, known, evaluations=2000, solver="heun").image

    def error(solver: Solver, evaluations: int) -> float:
        found = sample(field, noise, known, evaluations=evaluations, solver=solver, linear=linear)
        return float((found.image - exact).abs().mean())

    assert error("multistep", 16) < 0.5 * error("euler", 16)
    assert error("euler", 32) / error("euler", 64) == pytest.approx(2, rel=0.2)
    assert error("multistep", 32) / error("multistep", 64) > 3


def test_noise_belongs_to_the_seed() -> None:
    mask = torch.tensor([[True, False], [True, True]])
    many, one = person_noise([5, 6, 7], 8, 4, mask), person_noise([6], 8, 4, mask)
    assert torch.equal(many.image[1], one.image[0])
    assert torch.equal(many.table[1], one.table[0])
    assert (many.table[:, ~mask] == 0).all()


def test_the_factor_prior_has_the_velocity_of_its_covariance() -> None:
    """W W' + D equal to the oracle's covariance must give the oracle's field, every variable at its own noise level."""
    values, vectors = torch.linalg.eigh(COVARIANCE)
    least = 0.5 * values[0]
    w = vectors * (values - least).sqrt()
    d = least.expand(5)
    prior = FactorPrior(w[3:].reshape(1, 2, 5), w[:3].reshape(3, 1, 5), d[3:].reshape(1, 2), d[:3].reshape(3, 1))
    rng = torch.Generator().manual_seed(0)
    for t_image, t_table in ((0.0, (0.3, 1.0, 0.7)), (0.6, (0.0, 0.0, 1.0)), (1.0, (0.2, 0.9, 0.5))):
        state = Joint(*(torch.randn(6, *s, generator=rng, dtype=torch.float64) for s in ((1, 2), (3, 1))))
        levels = Levels(
            torch.full((6,), t_image, dtype=torch.float64), torch.tensor([t_table] * 6, dtype=torch.float64)
        )
        expected = centred_oracle(state, levels)
        found, _ = factor_velocity(state, levels, prior)
        unknown = levels.table[0] > 0
        assert torch.allclose(found.table[:, unknown], expected.table[:, unknown])
        assert t_image == 0 or torch.allclose(found.image, expected.image)


def test_interpolation_ends() -> None:
    clean, noise = Joint(torch.randn(2, 4, 3), torch.randn(2, 3, 2)), Joint(torch.randn(2, 4, 3), torch.randn(2, 3, 2))
    levels = Levels(torch.tensor([0.0, 1.0]), torch.tensor([[0.0, 1.0, 0.0]] * 2))
    out = interpolate(clean, noise, levels)
    assert torch.equal(out.image, torch.stack([clean.image[0], noise.image[1]]))
    assert torch.equal(out.table[:, 1], noise.table[:, 1])
    assert torch.equal(out.table[:, 0], clean.table[:, 0])


def test_the_noise_mixture_has_its_shares() -> None:
    levels = NoiseMixture(reveal=0.0).draw(20_000, 4, torch.Generator().manual_seed(0))
    assert float((levels.image == 0).float().mean()) == pytest.approx(0.15, abs=0.02)
    assert float((levels.table == 0).all(1).float().mean()) == pytest.approx(0.25, abs=0.02)
    assert float((levels.table == 1).all(1).float().mean()) == pytest.approx(0.10, abs=0.02)
    with pytest.raises(ValueError, match="sum to 1"):
        NoiseMixture(equal=0.9)


@pytest.mark.parametrize("steps", [8, 32, 100])
@pytest.mark.parametrize(("shift", "power"), [(1.0, 1.0), (3.0, 1.0), (3.0, 0.7)])
def test_single_precision_carries_as_double_does(steps: int, shift: float, power: float) -> None:
    """Every factor of the linear flow over variances of 1e-4 to 1e5; the shipped models have some of 3,014."""
    variances = torch.logspace(-4, 5, 91)
    one = Joint(torch.ones(1, 1, len(variances)), torch.ones(1, len(variances), 1))
    known = Known(one, torch.tensor([False]), torch.zeros(1, len(variances), dtype=torch.bool))

    def factors(kind: torch.dtype, now: Levels, then: Levels) -> torch.Tensor:
        v = variances.to(kind)
        none = torch.zeros(len(v), 1, dtype=kind)
        flow = LinearFlow(directions=none, spread=torch.ones(1, dtype=kind), image=v[None], table=v[:, None])
        state = Joint(*(part.to(kind) for part in one))
        at, to = (Levels(*(part.to(kind) for part in levels)) for levels in (now, then))
        carried, advanced = flow.carry(state, at, to), flow.advance(state, at, to)
        return torch.cat([part.flatten() for part in (*carried, *advanced)]).double()

    for t, s in pairwise(schedule(steps, power=power)):
        now, then = known.levels(t, shift), known.levels(s, shift)
        found, exact = factors(torch.float32, now, then), factors(torch.float64, now, then)
        assert torch.allclose(found, exact, rtol=1e-5, atol=1e-6)
