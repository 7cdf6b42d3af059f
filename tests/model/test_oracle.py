"""The closed-form oracle of a mixed model (:mod:`tests.model.oracle`).

Law ("Laws to test" of the design): with the analytic velocity the sampler must reproduce the conditional distribution of
all 2^4 subsets, and a network trained on the same data must reach their means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from engine.model.flow import Joint, Levels
from engine.model.prior import fit_image_factors
from engine.model.sampler import Known, sample
from tests.model.oracle import CODES, GROUP, MASK, TRUTH, VOXELS, Mixture, encoded, tensor

#: which of image, first, second, group is given
SUBSETS = list(product((False, True), repeat=4))
#: draws of every conditional, and evaluations of Heun: its bias stays well under what so many draws resolve
N, EVALUATIONS = 3000, 72


@dataclass(frozen=True, eq=False)
class Conditional:
    """The closed form of what is free: ``weights`` of the categories, and within each the ``means`` and Cholesky
    ``roots`` of the free ones among (numbers, voxels)."""

    weights: Tensor
    means: Tensor
    roots: Tensor

    @classmethod
    def of(cls, model: Mixture, point: Tensor, group: int, given: tuple[bool, ...]) -> Conditional:
        """Given, of ``point`` (numbers, then voxels) and ``group``, what is so marked in ``given``: image, first, second,
        group."""
        image, first, second, category = given
        known = torch.tensor([first, second] + [image] * VOXELS)
        logs, means, roots = [], [], []
        for c in range(3):
            mean, covariance = model.dense(c)
            log = model.weights[c].log() if not category else torch.tensor(0.0 if c == group else -math.inf)
            root = torch.linalg.cholesky(covariance[known][:, known])
            off = torch.linalg.solve_triangular(root, (point - mean)[known, None], upper=False)[:, 0]
            slope = torch.linalg.solve_triangular(root, covariance[known][:, ~known], upper=False)
            logs.append(log - 0.5 * off.square().sum() - root.diagonal().log().sum())
            means.append(mean[~known] + slope.T @ off)
            roots.append(torch.linalg.cholesky(covariance[~known][:, ~known] - slope.T @ slope))
        return cls(torch.stack(logs).softmax(0), torch.stack(means), torch.stack(roots))

    def mean(self) -> Tensor:
        return self.weights @ self.means


def person(seed: int) -> tuple[int, Tensor]:
    """A category, and numbers and then voxels, that a single precision state holds exactly."""
    group, x, image = TRUTH.draw(1, seed)
    return int(group), torch.cat([x, image], 1)[0].float().double()


#: the person of whom things are given: one whose category nothing else decides
GROUP_GIVEN, POINT = person(8)


def state_of(group: Tensor, values: Tensor) -> Joint:
    """Categories (n,), and numbers and then voxels (n, 514), as the one state."""
    return Joint(values[:, 2:, None].float(), encoded(values[:, :2], CODES[group]).float())


def draw(model: Mixture, given: tuple[bool, ...], n: int = N) -> tuple[Tensor, Tensor]:
    """``n`` draws, by the sampler with the model's analytic field, of what is free: categories and values."""
    rng = torch.Generator().manual_seed(sum(2**i for i, g in enumerate(given) if g))
    clean = state_of(torch.tensor([GROUP_GIVEN]), POINT[None])
    clean = Joint(clean.image.repeat(n, 1, 1), clean.table.repeat(n, 1, 1))
    noise = Joint(torch.randn(n, VOXELS, 1, generator=rng), torch.randn(n, 3, 2, generator=rng) * MASK)
    known = Known(clean, torch.full((n,), given[0]), torch.tensor(given[1:]).repeat(n, 1))
    out = sample(model.field(), noise, known, evaluations=EVALUATIONS, solver="heun")
    assert torch.equal(out.table[known.table], clean.table[known.table])
    assert not given[0] or torch.equal(out.image, clean.image)
    levels = GROUP.decode(out.table[:, 2].numpy())
    group = torch.tensor([GROUP.levels.index(str(level)) for level in levels])
    away = (out.table[:, 2] - CODES[group]).norm(dim=1)
    assert float((away < 0.1).float().mean()) > 0.98
    return group, torch.cat([out.table[:, :2, 0], out.image[..., 0]], 1).double()


#: Bonferroni: ten statistics at most of each subset that leaves something free
BOUND = 0.01 / (10 * (len(SUBSETS) - 1))


def evidence(given: tuple[bool, ...], group: Tensor, values: Tensor) -> dict[str, float]:
    """p-values of the draws under the closed form: of the categories' frequencies; and, whitened within each drawn
    category, of means, of variances and correlations, and of the total chi-square, for numbers and image."""
    law = Conditional.of(TRUTH, POINT, GROUP_GIVEN, given)
    count = torch.bincount(group, minlength=3)
    n, found = len(group), {}

    def upper(name: str, statistic: Tensor, degrees: float) -> None:
        found[name] = float(chi2.sf(float(statistic), degrees))

    if not given[3]:
        expected = n * law.weights
        assert expected.min() > 50
        upper("group", ((count - expected) ** 2 / expected).sum(), 2)
    known = torch.tensor([given[1], given[2]] + [given[0]] * VOXELS)
    white = torch.zeros(n, int((~known).sum()), dtype=torch.float64)
    for c in range(3):
        centred = values[group == c][:, ~known] - law.means[c]
        white[group == c] = torch.linalg.solve_triangular(law.roots[c], centred.T, upper=False).T
    means = torch.stack([white[group == c].sum(0) / max(1, count[c]) for c in range(3)])
    moment = white.T @ white / n
    numbers = int((~known[:2]).sum())
    for name, part in (("numbers", slice(0, numbers)), ("image", slice(numbers, None))):
        block = moment[part, part]
        if not (d := len(block)):
            continue
        upper(f"{name}: means", (count[:, None] * means[:, part] ** 2).sum(), d * int((count > 0).sum()))
        # an entry of the second moment is N(1, 2 / n) on the diagonal and N(0, 1 / n) off it
        upper(f"{name}: variances", n * (block.diagonal() - 1).square().sum() / 2, d)
        if d > 1:
            upper(f"{name}: correlations", n * block.triu(1).square().sum(), d * (d - 1) / 2)
        total = float(chi2.cdf(n * float(block.trace()), n * d))
        found[f"{name}: total"] = 2 * min(total, 1 - total)
    if 0 < numbers < len(moment):
        upper("numbers and image", n * moment[:numbers, numbers:].square().sum(), moment[:numbers, numbers:].numel())
    return found


@pytest.mark.parametrize("given", SUBSETS)
def test_every_conditional_of_the_mixed_oracle(given: tuple[bool, ...]) -> None:
    group, values = draw(TRUTH, given)
    if not all(given):
        assert {k: p for k, p in evidence(given, group, values).items() if p < BOUND} == {}


NOTHING, IMAGE, FIRST = SUBSETS[0], SUBSETS[8], SUBSETS[4]
WRONG = {
    "numbers 5% short": (replace(TRUTH, covariance=0.95**2 * TRUTH.covariance), NOTHING, "numbers: total"),
    "image 1% short": (replace(TRUTH, variance=0.99**2 * 0.5, noise=0.99**2 * 0.35), NOTHING, "image: total"),
    "frequencies off by .06": (replace(TRUTH, weights=tensor(0.44, 0.34, 0.22)), NOTHING, "group"),
    "category hardly seen in the image": (replace(TRUTH, image=0.5 * TRUTH.image), IMAGE, "group"),
    "slope of the image 20% short": (replace(TRUTH, loadings=0.8 * TRUTH.loadings), FIRST, "numbers and image"),
    "slope between numbers 50% short": (
        replace(TRUTH, covariance=TRUTH.covariance * tensor([1, 0.5], [0.5, 1])),
        FIRST,
        "numbers: means",
    ),
}


@pytest.mark.parametrize("fault", WRONG)
def test_the_oracle_test_can_fail(fault: str) -> None:
    model, given, statistic = WRONG[fault]
    assert evidence(given, *draw(model, given))[statistic] < BOUND


def test_the_analytic_field_is_the_mixture_written_out() -> None:
    """Against Bayes' rule with full covariance matrices, every variable at its own level, given and unknown ones too."""
    rng = torch.Generator().manual_seed(0)
    for t_image, t_table in (
        (0.3, (0.5, 0.9, 0.6)),
        (0.01, (1.0, 0.2, 0.8)),
        (1.0, (0.0, 0.9, 0.9)),
        (0.6, (0.01, 1.0, 0.3)),
        (0.0, (0.7, 1.0, 1.0)),
    ):
        t = torch.tensor([*t_table[:2], *[t_image] * VOXELS], dtype=torch.float64)
        z = (1 - t) * POINT + t * torch.randn(5, len(t), generator=rng, dtype=torch.float64)
        code = torch.randn(5, 2, generator=rng, dtype=torch.float64)
        logs, means = [], []
        for c in range(3):
            mean, covariance = TRUTH.dense(c)
            noisy = (1 - t)[:, None] * covariance * (1 - t) + torch.diag(t**2)
            off = z - (1 - t) * mean
            solved = torch.linalg.solve(noisy, off.T).T
            away = (code - (1 - t_table[2]) * CODES[c]).square().sum(1) / t_table[2] ** 2
            logs.append(TRUTH.weights[c].log() - 0.5 * (torch.logdet(noisy) + (off * solved).sum(1) + away))
            means.append(mean + solved * (1 - t) @ covariance)
        share = torch.stack(logs, 1).softmax(1)
        levels = Levels(
            torch.full((5,), t_image, dtype=torch.float64), torch.tensor([t_table] * 5, dtype=torch.float64)
        )
        found = TRUTH.field()(Joint(z[:, 2:, None], encoded(z[:, :2], code)), levels)
        velocity = torch.cat([found.table[:, :2, 0], found.image[..., 0]], 1)
        expected = (z - torch.einsum("bc,cbi->bi", share, torch.stack(means))) / t
        assert torch.allclose(velocity[:, t > 0], expected[:, t > 0])
        assert torch.allclose(found.table[:, 2], (code - share @ CODES) / t_table[2])


@pytest.mark.parametrize("seed", range(6))
def test_the_order_of_persons_turns_no_component_round(seed: int):
    """A component is one with either sign; which is taken must not hang on rounding, or ranks would disagree."""
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randn(40, 1, 3, generator=generator) * torch.tensor([4.0, 2.0, 1.0])
    image = scores @ torch.randn(3, 24, generator=generator) + 0.1 * torch.randn(40, 1, 24, generator=generator)
    image = image.reshape(40, 1, 6, 4)
    order = torch.randperm(40, generator=generator)
    one, other = fit_image_factors(image, 3), fit_image_factors(image[order], 3)
    torch.testing.assert_close(other.loadings, one.loadings, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(other.scores, one.scores[order], rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("persons", [30, 60])
def test_what_components_leave_is_that_of_persons_they_were_not_fitted_to(persons: int):
    """Known answer: ten factors and noise of variance 1; fitted to few persons the components take a part of the noise with them."""
    generator = torch.Generator().manual_seed(0)
    loadings = 3 * torch.randn(10, 2000, generator=generator)
    scores = torch.randn(persons, 10, generator=generator)
    image = (scores @ loadings + torch.randn(persons, 2000, generator=generator)).reshape(persons, 1, 500, 4)
    assert fit_image_factors(image, 10).variance.mean() == pytest.approx(1, rel=0.02)
