"""The closed-form oracle of a mixed model: an image of 8 x 8 x 8 voxels, two numbers and a category of three levels.

Law ("Laws to test" of the design): where image and numbers are jointly Gaussian within each category, E[e - z | z_t] is
a mixture of Gaussians known in closed form, every variable at its own noise level. With that velocity the sampler must
reproduce the conditional distribution of all 2^4 subsets, and a network trained on the same data must reach their means.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import product

import pytest
import torch
from scipy.stats import chi2
from torch import Tensor

from engine.attributes import AttributeSchema, Category, Number
from engine.flow import Joint, Levels, VelocityField
from engine.sample import Known, sample

SCHEMA = AttributeSchema(
    columns=(
        Number(name="first", unit="", low=-9, high=9),
        Number(name="second", unit="", low=-9, high=9),
        Category(name="group", levels=("a", "b", "c")),
    )
)
GROUP = SCHEMA.columns[2]
assert isinstance(GROUP, Category)
CODES = torch.from_numpy(GROUP.codes)
MASK = torch.from_numpy(SCHEMA.mask)
SIDE, VOXELS = 8, 8**3
#: which of image, first, second, group is given
SUBSETS = list(product((False, True), repeat=4))


@dataclass(frozen=True, eq=False, kw_only=True)
class Mixture:
    """Category c with probability ``weights``; numbers x ~ N(``mean``, ``covariance``) of c; image = ``image`` of c +
    ``loadings`` x + r, where r has covariance ``variance`` K (x) K (x) K + ``noise``, K = ``kernel`` along an axis."""

    weights: Tensor
    mean: Tensor
    covariance: Tensor
    image: Tensor
    loadings: Tensor
    kernel: Tensor
    variance: float = 0.5
    noise: float = 0.35

    def draw(self, n: int, seed: int) -> tuple[Tensor, Tensor, Tensor]:
        """Categories (n,), numbers (n, 2) and images (n, 512)."""
        rng = torch.Generator().manual_seed(seed)
        group = torch.multinomial(self.weights, n, replacement=True, generator=rng)
        root = torch.linalg.cholesky(self.covariance)[group]
        x = self.mean[group] + (root @ torch.randn(n, 2, 1, generator=rng, dtype=torch.float64))[..., 0]
        r = torch.randn(n, VOXELS, generator=rng, dtype=torch.float64) @ torch.linalg.cholesky(self.rest).T
        return group, x, self.image[group] + x @ self.loadings.T + r

    @property
    def rest(self) -> Tensor:
        """Covariance of the voxels given category and numbers."""
        k = self.kernel
        return self.variance * torch.kron(torch.kron(k, k), k) + self.noise * torch.eye(VOXELS, dtype=torch.float64)

    def dense(self, c: int) -> tuple[Tensor, Tensor]:
        """Mean and covariance of numbers and then voxels within category ``c``, written out."""
        slope = self.covariance[c] @ self.loadings.T
        voxels = self.rest + self.loadings @ slope
        covariance = torch.cat([torch.cat([self.covariance[c], slope], 1), torch.cat([slope.T, voxels], 1)])
        return torch.cat([self.mean[c], self.image[c] + self.loadings @ self.mean[c]]), covariance

    def field(self) -> VelocityField:
        """The analytic velocity, all rows of a batch at the same levels.

        In the eigenbasis of the voxels' covariance an image tells of x and c only through seven products with it.
        """
        values, axis = torch.linalg.eigh(self.kernel)
        spectrum = self.variance * torch.kron(torch.kron(values, values), values) + self.noise
        pair = torch.kron(axis, axis)

        def turn(image: Tensor, first: Tensor, rest: Tensor) -> Tensor:
            first, rest = first.to(image.dtype), rest.to(image.dtype)
            return (first @ (image.reshape(-1, SIDE**2) @ rest).reshape(-1, SIDE, SIDE**2)).flatten(1)

        basis = torch.cat([turn(self.image, axis.T, pair), turn(self.loadings.T, axis.T, pair)])
        inverse = torch.linalg.inv(self.covariance)
        pull = (inverse @ self.mean[..., None])[..., 0]
        prior = self.weights.log() - 0.5 * (torch.logdet(self.covariance) + (pull * self.mean).sum(1))

        def velocity(state: Joint, levels: Levels) -> Joint:
            kind = state.image.dtype
            t, t_x, t_c = levels.image[0].double(), levels.table[0, :2].double(), levels.table[0, 2].double()
            a, a_x = 1 - t, torch.diag(1 - t_x)
            columns, noisy = state.table.double(), a**2 * spectrum + t**2
            seen = (state.image[..., 0] @ turn(a * basis / noisy, axis, pair.T).T.to(kind)).double()
            overlap = a**2 * (basis / noisy) @ basis.T
            # x given c and the image alone: N(middle, spread)
            spread = torch.linalg.inv(inverse + overlap[3:, 3:])
            push = pull + (seen[:, None, 3:] - overlap[:3, 3:])
            middle = torch.einsum("cij,bcj->bci", spread, push)
            log = prior + seen[:, :3] - 0.5 * overlap.diagonal()[:3]
            log = log + 0.5 * (torch.logdet(spread) + (push * middle).sum(-1))
            # and given the noisy columns
            total = torch.linalg.inv(a_x @ spread @ a_x + torch.diag(t_x**2))
            rest = columns[:, None, :2, 0] - middle @ a_x
            told = torch.einsum("cij,bcj->bci", total, rest)
            log = log + 0.5 * (torch.logdet(total) - (told * rest).sum(-1))
            away = (columns[:, None, 2] - (1 - t_c) * CODES).square().sum(-1)
            share = (log - away / (2 * t_c.clamp(min=1e-3) ** 2)).softmax(1)
            x = (share[..., None] * (middle + torch.einsum("cij,bcj->bci", spread @ a_x, told))).sum(1)

            table = ((columns - encoded(x, share @ CODES)) / levels.table.clamp(min=1e-3)[..., None]).to(kind)
            if t == 0:
                return Joint(torch.zeros_like(state.image), table)
            k = (t - a * spectrum) / noisy
            image = turn(state.image[..., 0], axis.T, pair) * k.to(kind)
            image = image.addmm_(torch.cat([share, x], 1).to(kind), (basis * (-1 - a * k)).to(kind))
            return Joint(turn(image, axis, pair.T)[..., None], table)

        return velocity


def encoded(x: Tensor, code: Tensor) -> Tensor:
    """Numbers (b, 2) and codes of the category (b, 2) as columns (b, 3, 2)."""
    return torch.cat([torch.stack([x, torch.zeros_like(x)], -1), code[:, None]], 1)


def smooth(*frequencies: int) -> Tensor:
    """A product of cosines over the voxels, root mean square 1."""
    x = (torch.arange(SIDE, dtype=torch.float64) + 0.5) * math.pi / SIDE
    a, b, c = ((x * f).cos() for f in frequencies)
    wave = torch.einsum("a,b,c->abc", a, b, c).flatten()
    return wave / wave.square().mean().sqrt()


def tensor(*rows: object) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


TRUTH = Mixture(
    weights=tensor(0.5, 0.3, 0.2),
    mean=tensor([-0.5, 0.3], [0.4, -0.6], [0.65, 0.15]),
    covariance=tensor([[0.7, 0.2], [0.2, 0.8]], [[0.5, -0.2], [-0.2, 0.9]], [[0.9, 0.3], [0.3, 0.7]]),
    image=tensor([-0.12, 0.06], [0.06, -0.16], [0.21, 0.09]) @ torch.stack([smooth(0, 0, 0), smooth(0, 0, 1)]),
    loadings=0.3 * torch.stack([smooth(1, 0, 0), smooth(0, 1, 1)], 1),
    kernel=0.6 ** (torch.arange(SIDE)[:, None] - torch.arange(SIDE)).abs().double(),
)
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
