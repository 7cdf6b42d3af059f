"""The closed-form oracle with a mask: a category of three levels, two numbers, an image of three values and a mask of three.

Within each category all eight numbers are jointly Gaussian, so that E[e - z | z_t] is a mixture known in closed form, image,
mask and each column at a noise level of its own. Law: with that field the sampler reproduces the conditional distribution of
every subset, with the mask given, drawn, or unknown all along; then it is the law of the rest.
"""

from __future__ import annotations

from itertools import product

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from engine.model.flow import Joint, Levels
from engine.model.sampler import Known, sample
from tests.model.oracle import CODES, GROUP, MASK, encoded

#: numbers, then image, then mask
NUMBERS, IMAGE, MASKS = slice(0, 2), slice(2, 5), slice(5, 8)
SIZE = 8
WEIGHTS = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
N, EVALUATIONS = 3000, 72
#: which of image, mask, first, second, group is given
SUBSETS = list(product((False, True), repeat=5))


def _laws() -> tuple[Tensor, Tensor]:
    """Means (3, 8) and covariances (3, 8, 8) of the categories."""
    rng = torch.Generator().manual_seed(19)
    means = 0.6 * torch.randn(3, SIZE, generator=rng, dtype=torch.float64)
    roots = torch.randn(3, SIZE, SIZE, generator=rng, dtype=torch.float64)
    return means, 0.12 * roots @ roots.mT + 0.3 * torch.eye(SIZE, dtype=torch.float64)


MEANS, COVARIANCES = _laws()
#: a person whose category nothing else decides, held exactly by a single precision state
POINT, GROUP_GIVEN = (WEIGHTS @ MEANS + 0.4).float().double(), 1


def field(state: Joint, levels: Levels) -> Joint:
    """The analytic velocity, all rows of a batch at the same levels."""
    t_mask = levels.mask[0].double()
    t = torch.cat([levels.table[0, :2].double(), levels.image[:1].double().expand(3), t_mask.expand(3)])
    t_c = levels.table[0, 2].double()
    z = torch.cat([state.table[..., :2, 0], state.image[..., 0], state.mask[..., 0]], 1).double()
    a, noise = torch.diag(1 - t), torch.diag(t.clamp(min=1e-4) ** 2)
    logs, expected = [], []
    for c in range(3):
        seen = a @ COVARIANCES[c] @ a + noise
        off = z - MEANS[c] @ a
        pull = torch.linalg.solve(seen, off.T).T
        logs.append(WEIGHTS[c].log() - 0.5 * (torch.logdet(seen) + (pull * off).sum(1)))
        expected.append(MEANS[c] + pull @ a @ COVARIANCES[c])
    away = (state.table[:, None, 2].double() - (1 - t_c) * CODES).square().sum(-1)
    share = (torch.stack(logs, 1) - away / (2 * t_c.clamp(min=1e-3) ** 2)).softmax(1)
    x = (share[..., None] * torch.stack(expected, 1)).sum(1)
    v = ((z - x) / t.clamp(min=1e-3)).float()
    code = ((state.table[:, 2].double() - share @ CODES) / t_c.clamp(min=1e-3)).float()
    return Joint(v[:, IMAGE, None], encoded(v[:, NUMBERS], code), v[:, MASKS, None])


def draw(given: tuple[bool, ...], draws_mask: bool) -> tuple[Tensor, Tensor]:
    """Categories (n,) and values (n, 8) of N draws, and that what is given comes back exactly."""
    rng = torch.Generator().manual_seed(sum(2**i for i, g in enumerate(given) if g))
    image, mask, *columns = given
    value = POINT.float()
    table = encoded(value[None, NUMBERS], CODES[[GROUP_GIVEN]].float())
    clean = Joint(*(part.expand(N, -1, -1) for part in (value[None, IMAGE, None], table, value[None, MASKS, None])))
    noise = Joint(*(torch.randn(part.shape, generator=rng) for part in clean))
    noise = noise._replace(table=noise.table * MASK)
    known = Known(
        clean, torch.full((N,), image), torch.tensor(columns).expand(N, -1), torch.full((N,), mask), draws_mask
    )
    out = sample(field, noise, known, evaluations=EVALUATIONS, solver="heun")
    assert not mask or torch.equal(out.mask, clean.mask)
    assert mask or draws_mask or torch.equal(out.mask, noise.mask), "an unknown mask is not moved"
    assert torch.equal(out.table[known.table], clean.table[known.table])
    group = torch.tensor([GROUP.levels.index(str(level)) for level in GROUP.decode(out.table[:, 2].numpy())])
    return group, torch.cat([out.table[:, :2, 0], out.image[..., 0], out.mask[..., 0]], 1).double()


def check(given: tuple[bool, ...], group: Tensor, values: Tensor, seen: list[int]) -> None:
    """The draws against the closed form of the coordinates ``seen``: frequencies, and the moments whitened by category."""
    image, mask, first, second, category = given
    known = torch.tensor([first, second, *[image] * 3, *[mask] * 3])[seen]
    logs, laws = [], []
    for c in range(3):
        mean, covariance = MEANS[c][seen], COVARIANCES[c][seen][:, seen]
        root = torch.linalg.cholesky(covariance[known][:, known])
        off = torch.linalg.solve_triangular(root, (POINT[seen] - mean)[known, None], upper=False)[:, 0]
        slope = torch.linalg.solve_triangular(root, covariance[known][:, ~known], upper=False)
        log = WEIGHTS[c].log() - 0.5 * off.square().sum() - root.diagonal().log().sum()
        logs.append(log if not category or c == GROUP_GIVEN else log - torch.inf)
        rest = covariance[~known][:, ~known] - slope.T @ slope
        laws.append((mean[~known] + slope.T @ off, torch.linalg.cholesky(rest)))
    shares = torch.stack(logs).softmax(0)
    count = torch.bincount(group, minlength=3)
    bound = 0.01 / (4 * 2 * len(SUBSETS))
    if not category:
        assert chi2.sf(float(((count - N * shares) ** 2 / (N * shares)).sum()), 2) > bound
    if bool(known.all()):
        return
    free = values[:, seen][:, ~known]
    white = torch.zeros_like(free)
    means = torch.zeros(3, free.shape[1], dtype=torch.float64)
    for c, (mean, root) in enumerate(laws):
        white[group == c] = torch.linalg.solve_triangular(root, (free[group == c] - mean).T, upper=False).T
        means[c] = white[group == c].mean(0) if count[c] else 0
    d = free.shape[1]
    moment = white.T @ white / N
    assert chi2.sf(float((count[:, None] * means**2).sum()), d * int((count > 0).sum())) > bound
    assert chi2.sf(float(N * (moment.diagonal() - 1).square().sum() / 2), d) > bound
    assert d == 1 or chi2.sf(float(N * moment.triu(1).square().sum()), d * (d - 1) / 2) > bound


@pytest.mark.parametrize("given", SUBSETS)
def test_every_conditional_with_a_mask(given: tuple[bool, ...]) -> None:
    check(given, *draw(given, draws_mask=True), list(range(SIZE)))


@pytest.mark.parametrize("given", [subset for subset in SUBSETS if not subset[1]])
def test_an_unknown_mask_leaves_the_law_of_the_rest(given: tuple[bool, ...]) -> None:
    check(given, *draw(given, draws_mask=False), list(range(5)))
