"""A mixed model in closed form: an image of 8 x 8 x 8 voxels, two numbers and a category of three levels.

Where image and numbers are jointly Gaussian within each category, E[e - z | z_t] is a mixture of Gaussians known in
closed form, every variable at its own noise level.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.model.flow import Joint, Levels, VelocityField
from engine.vocabulary.schema import AttributeSchema, Category, Number

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
