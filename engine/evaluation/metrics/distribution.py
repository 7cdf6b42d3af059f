"""How far the distribution of synthetic features lies from that of real ones.

Everything is a function of feature matrices (n, d), one row per subject. Distances whose bias depends on N refuse
unequal N, and each stands beside :func:`real_floor`, what two disjoint halves of real data score. Small N lies: with
d near N the Frechet distance rates a generator of 0.7 of the SD above an honest one, so it is refused below
``SUBJECTS_PER_FEATURE`` subjects a feature; project first (:class:`Projection`, eight components for 28 heads).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

from engine.evaluation.metrics.checks import EvaluationError, checked_features, checked_pair, require_equal_n
from engine.evaluation.metrics.interval import Figure, half_sampling, p_permutation

Features = Float[np.ndarray, "n d"]
TwoSample = Callable[[np.ndarray, np.ndarray], float]
#: principal components where there are fewer than a few hundred subjects
SMALL_N_COMPONENTS = 8
#: subjects that the covariance behind a Frechet distance needs per feature
SUBJECTS_PER_FEATURE = 3


@dataclass(frozen=True, kw_only=True)
class Projection:
    """Standardise each feature, then take principal components; all fitted on training features only.

    ``mean`` and ``scale`` are (d,), ``components`` (d, k). Scores keep their variances: they are not whitened.
    """

    mean: np.ndarray
    scale: np.ndarray
    components: np.ndarray

    @classmethod
    def fitted(cls, training: Num[np.ndarray, "n d"], components: int = SMALL_N_COMPONENTS) -> Projection:
        """Features constant in training carry no information and weigh nothing.

        Raises :class:`EvaluationError` when training spans fewer than ``components`` dimensions.
        """
        features = checked_features("training", training)
        mean, sd = features.mean(0), features.std(0)
        varies = sd > 1e-9 * np.maximum(1, np.abs(mean))
        scale = np.where(varies, sd, np.inf)
        _, singular, basis = np.linalg.svd((features - mean) / scale, full_matrices=False)
        rank = int((singular > 1e-9 * max(singular[0], 1e-300)).sum()) if varies.any() else 0
        if rank < components:
            raise EvaluationError(f"training features span {rank} dimensions: ask for {rank} components or fewer")
        chosen = basis[:components]
        signs = np.sign(chosen[np.arange(components), np.abs(chosen).argmax(1)])
        return cls(mean=mean, scale=scale, components=(chosen * signs[:, None]).T)

    def __call__(self, features: Num[np.ndarray, "n d"]) -> Float[np.ndarray, "n k"]:
        """Scores of ``features``."""
        return (checked_features("projected", features) - self.mean) / self.scale @ self.components


def equal_n(
    real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"], rng: np.random.Generator
) -> tuple[Num[np.ndarray, "l d"], Num[np.ndarray, "l d"]]:
    """As many subjects of each side as the smaller has, drawn without replacement."""
    count = min(len(real), len(synthetic))
    return real[np.sort(rng.permutation(len(real))[:count])], synthetic[
        np.sort(rng.permutation(len(synthetic))[:count])
    ]


def _frechet(real: np.ndarray, synthetic: np.ndarray) -> float:
    gap = real.mean(0) - synthetic.mean(0)
    a, b = (np.atleast_2d(np.cov(x, rowvar=False)) for x in (real, synthetic))
    values, vectors = np.linalg.eigh(a)
    root = vectors * np.sqrt(np.clip(values, 0, None)) @ vectors.T
    cross = np.sqrt(np.clip(np.linalg.eigvalsh(root @ b @ root), 0, None)).sum()
    return max(float(gap @ gap + np.trace(a) + np.trace(b) - 2 * cross), 0.0)


def frechet_distance(real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"]) -> float:
    """Squared Frechet distance of the two normals fitted to the features (Heusel et al. 2017, eq. 6).

    |m - m'|^2 + tr(C + C' - 2 (C C')^1/2), the last trace as the sum of roots of the eigenvalues of
    C^1/2 C' C^1/2, which is symmetric. In squared units of the features. Raises :class:`EvaluationError` on unequal N
    and below three subjects a feature.
    """
    one, two = checked_pair(real, synthetic)
    require_equal_n(len(one), len(two), "the Frechet distance")
    n, d = one.shape
    if n < SUBJECTS_PER_FEATURE * d:
        raise EvaluationError(
            f"{n} subjects cannot carry a covariance of {d} features: project to {n // SUBJECTS_PER_FEATURE} or fewer"
        )
    return _frechet(one, two)


def _cubic_kernel(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    return (x @ y.T / x.shape[1] + 1) ** 3


def _mmd(kernel: np.ndarray, first: np.ndarray, second: np.ndarray) -> float:
    n, m = len(first), len(second)
    a, b, cross = kernel[np.ix_(first, first)], kernel[np.ix_(second, second)], kernel[np.ix_(first, second)]
    own = (a.sum() - np.trace(a)) / (n * (n - 1)) + (b.sum() - np.trace(b)) / (m * (m - 1))
    return float(own - 2 * cross.mean())


def _mmd_of_splits(kernel: np.ndarray, first: np.ndarray) -> np.ndarray:
    """The same of many splits at once; ``first`` (p, n + m) is 1 for members of the first side."""

    def within(members: np.ndarray) -> np.ndarray:
        n = members.sum(1)
        return ((members @ kernel * members).sum(1) - members @ np.diag(kernel)) / (n * (n - 1))

    second = 1 - first
    cross = (first @ kernel * second).sum(1) / (first.sum(1) * second.sum(1))
    return within(first) + within(second) - 2 * cross


def kernel_distance(real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"]) -> float:
    """Unbiased squared maximum mean discrepancy with the kernel (x.y / d + 1)^3 (KID, Binkowski et al. 2018).

    0 in expectation for equal distributions at any N, so N may differ, and a value may be negative.
    """
    one, two = checked_pair(real, synthetic)
    pooled = np.concatenate([one, two])
    return _mmd(_cubic_kernel(pooled, pooled), np.arange(len(one)), np.arange(len(one), len(pooled)))


@dataclass(frozen=True, kw_only=True)
class Tested:
    """A distance with its interval and the permutation p of no difference."""

    distance: Figure
    p: float


def kernel_test(
    real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"], rng: np.random.Generator, permutations: int = 499
) -> Tested:
    """:func:`kernel_distance` with a half-sampling interval and a permutation p (Gretton et al. 2012, section 5)."""
    one, two = checked_pair(real, synthetic)
    n, pooled = len(one), np.concatenate([one, two])
    kernel = _cubic_kernel(pooled, pooled)
    figure = half_sampling(lambda i, j: _mmd(kernel, i, n + j), n, len(two), rng)
    first = np.zeros((permutations, len(pooled)))
    for row in first:
        row[rng.permutation(len(pooled))[:n]] = 1
    return Tested(distance=figure, p=p_permutation(figure.value, _mmd_of_splits(kernel, first)))


def frechet_test(
    real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"], rng: np.random.Generator, permutations: int = 199
) -> Tested:
    """:func:`frechet_distance` with a half-sampling interval (its lower end at least 0) and a permutation p."""
    value = frechet_distance(real, synthetic)
    n, pooled = len(real), np.concatenate([real, synthetic]).astype(float)
    figure = half_sampling(lambda i, j: _frechet(pooled[i], pooled[n + j]), n, n, rng, within=(0, np.inf))
    shuffles = [rng.permutation(len(pooled)) for _ in range(permutations)]
    return Tested(distance=figure, p=p_permutation(value, [_frechet(pooled[s[:n]], pooled[s[n:]]) for s in shuffles]))


def real_floor(
    statistic: TwoSample,
    real: Num[np.ndarray, "n d"],
    rng: np.random.Generator,
    *,
    size: int | None = None,
    splits: int = 100,
    level: float = 0.95,
) -> Figure:
    """What real data score against real data: ``statistic`` over random disjoint halves of ``size`` subjects each.

    ``size`` is half of ``real`` unless told; give the synthetic side the same N. ``value`` is the median split, low and
    high enclose ``level`` of the splits.
    """
    features = checked_features("real", real)
    count = size or len(features) // 2
    if 2 * count > len(features):
        raise EvaluationError(f"two halves of {count} need {2 * count} real subjects and there are {len(features)}")
    scores = []
    for _ in range(splits):
        order = rng.permutation(len(features))
        scores.append(statistic(features[order[:count]], features[order[count : 2 * count]]))
    low, value, high = np.quantile(scores, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return Figure(value=float(value), low=float(low), high=float(high), n=count)


@dataclass(frozen=True, kw_only=True)
class Standing:
    """A figure between what real data score and what broken data score, all at one N."""

    figure: Figure
    floor: Figure
    ceiling: Figure

    @property
    def above_floor(self) -> bool:
        """Whether the figure is beyond the floor's interval: worse than real against real, for a distance."""
        return self.figure.value > self.floor.high


def standing(
    statistic: TwoSample,
    real: Num[np.ndarray, "n d"],
    synthetic: Num[np.ndarray, "m d"],
    rng: np.random.Generator,
    *,
    splits: int = 100,
) -> Standing:
    """A distance beside its floor and ceiling, each the median (and 95%) over ``splits`` random draws of equal N.

    N is half of ``real``, or all of ``synthetic`` where that is less. Floor: two disjoint halves of real. Figure: a
    half of real against N synthetic. Ceiling: a half of real against N draws of independent normal noise of the real
    means and twice the real standard deviations.
    """
    one, two = checked_pair(real, synthetic)
    size = min(len(one) // 2, len(two))
    floor = real_floor(statistic, one, rng, size=size, splits=splits)

    def against(broken: bool) -> Figure:
        scores = []
        for _ in range(splits):
            mine, theirs = one[rng.permutation(len(one))[:size]], two[rng.permutation(len(two))[:size]]
            if broken:
                theirs = one.mean(0) + 2 * one.std(0) * rng.standard_normal(theirs.shape)
            scores.append(statistic(mine, theirs))
        low, value, high = np.quantile(scores, [0.025, 0.5, 0.975])
        return Figure(value=float(value), low=float(low), high=float(high), n=size)

    return Standing(figure=against(broken=False), floor=floor, ceiling=against(broken=True))
