"""Whether synthetic subjects fall where real ones are, and whether real ones are all reached: by nearest neighbours.

Precision alone is satisfied by one good sample repeated; recall and coverage are mandatory beside it. k is 3 for tens of
subjects, 5 for a thousand and more.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Num
from scipy.spatial.distance import cdist

from engine.evaluation.metrics.checks import EvaluationError, checked_pair, require_equal_n
from engine.evaluation.metrics.interval import Figure, half_sampling

#: rows of a distance matrix held at once
CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Manifold:
    """Precision and recall (Kynkaanniemi et al. 2019), density and coverage (Naeem et al. 2020)."""

    precision: Figure
    recall: Figure
    density: Figure
    coverage: Figure


def kth_neighbour(features: Float[np.ndarray, "n d"], k: int) -> Float[np.ndarray, " n"]:
    """Distance of each subject to its ``k``-th nearest other."""
    if not 1 <= k < len(features):
        raise EvaluationError(
            f"{len(features)} subjects have no {k}-th neighbour: choose k from 1 to {len(features) - 1}"
        )
    chunks = (cdist(features[i : i + CHUNK], features) for i in range(0, len(features), CHUNK))
    return np.concatenate([np.partition(chunk, k, axis=1)[:, k] for chunk in chunks])


def _prdc(distance: np.ndarray, real_radii: np.ndarray, synthetic_radii: np.ndarray, k: int) -> np.ndarray:
    in_real: Bool[np.ndarray, "n m"] = distance < real_radii[:, None]
    precision, recall = in_real.any(0).mean(), (distance < synthetic_radii[None]).any(1).mean()
    density, coverage = in_real.sum(0).mean() / k, (distance.min(1) < real_radii).mean()
    return np.array([precision, recall, density, coverage])


def prdc(real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"], k: int) -> tuple[float, float, float, float]:
    """Precision, recall, density and coverage at ``k`` neighbours.

    With B_k(x) the open ball about x up to its k-th nearest neighbour of the same side:
    precision, the share of synthetic in any real ball (Kynkaanniemi 2019, section 2); recall, the share of real in any
    synthetic ball; density, the mean number of real balls about a synthetic subject over k (Naeem 2020, section 3), which
    may exceed 1; coverage, the share of real whose ball holds a synthetic subject (likewise).
    Raises :class:`EvaluationError` on unequal N.
    """
    one, two = checked_pair(real, synthetic)
    require_equal_n(len(one), len(two), "precision and recall")
    found = _prdc(cdist(one, two), kth_neighbour(one, k), kth_neighbour(two, k), k)
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


def manifold(
    real: Num[np.ndarray, "n d"],
    synthetic: Num[np.ndarray, "m d"],
    k: int,
    rng: np.random.Generator,
    *,
    repeats: int = 100,
) -> Manifold:
    """:func:`prdc` with half-sampling intervals."""
    prdc(real, synthetic, k)
    one, two = checked_pair(real, synthetic)
    cross, own, other = cdist(one, two), cdist(one, one), cdist(two, two)
    seed = int(rng.integers(2**63))

    def radii(square: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return np.partition(square[np.ix_(rows, rows)], k, axis=1)[:, k]

    def figure(which: int) -> Figure:
        def statistic(i: np.ndarray, j: np.ndarray) -> float:
            return float(_prdc(cross[np.ix_(i, j)], radii(own, i), radii(other, j), k)[which])

        top = np.inf if which == 2 else 1.0
        same = np.random.default_rng(seed)
        return half_sampling(statistic, len(one), len(two), same, repeats=repeats, within=(0, top))

    return Manifold(precision=figure(0), recall=figure(1), density=figure(2), coverage=figure(3))


@dataclass(frozen=True, kw_only=True)
class Supports:
    """Alpha-precision and beta-recall as curves over ``levels``, and their integrals, 1 when a curve is its level.

    ``precision`` is 1 - 2 times the area between the curve and the diagonal (Alaa et al. 2022, section 4), likewise
    ``recall``. ``authenticity`` is the share of synthetic rows that are no closer to a real one than that one's
    nearest real neighbour is (likewise).
    """

    levels: tuple[float, ...]
    precision_curve: tuple[float, ...]
    recall_curve: tuple[float, ...]
    precision: float
    recall: float
    authenticity: float


def supports(
    real: Num[np.ndarray, "n d"], synthetic: Num[np.ndarray, "m d"], *, k: int = 5, steps: int = 30
) -> Supports:
    """Alpha-precision and beta-recall (Alaa et al. 2022, section 4) in the space given, balls about the mean.

    The alpha-support of real is the ball about its mean that holds the share alpha of it; P(alpha) is the share of
    synthetic in it. A real subject is reached when its nearest synthetic one lies within its ``k``-th nearest real
    neighbour; R(beta) is the share of real that are reached by one among the share beta of those nearest ones that
    lie innermost about the synthetic mean. So the authors compute it, at k = 1, where honest data end at 1/2; here they
    end at 1 - 2^-k. (Their text searches the beta-support anew at each beta; in several dimensions the few innermost
    then reach most of real, and honest curves leave the diagonal.)
    The space is the normalised one (:class:`engine.evaluation.metrics.table_encoding.TableEncoding`), not a trained one-class
    embedding. Raises :class:`EvaluationError` on unequal N.
    """
    one, two = checked_pair(real, synthetic)
    require_equal_n(len(one), len(two), "beta-recall")
    levels = np.linspace(0, 1, steps)
    radii = np.quantile(np.linalg.norm(one - one.mean(0), axis=1), levels)
    reach = np.linalg.norm(two - one.mean(0), axis=1)
    precise = (reach[None] <= radii[:, None] * (1 + 1e-12)).mean(1)
    ball, reached, inward = kth_neighbour(one, k), [], []
    for start in range(0, len(one), CHUNK):
        distance = cdist(one[start : start + CHUNK], two)
        nearest = distance.argmin(1)
        reached.append(distance.min(1) <= ball[start : start + CHUNK])
        inward.append(np.linalg.norm(two[nearest] - two.mean(0), axis=1))
    depth = np.concatenate(inward)
    recalled = (np.concatenate(reached) & (depth <= np.quantile(depth, levels)[:, None])).mean(1)
    return Supports(
        levels=tuple(levels.tolist()),
        precision_curve=tuple(precise.tolist()),
        recall_curve=tuple(recalled.tolist()),
        precision=float(1 - 2 * np.trapezoid(np.abs(precise - levels), levels)),
        recall=float(1 - 2 * np.trapezoid(np.abs(recalled - levels), levels)),
        authenticity=_authenticity(one, two),
    )


def _authenticity(real: np.ndarray, synthetic: np.ndarray) -> float:
    spacing, authentic = kth_neighbour(real, 1), 0
    for start in range(0, len(synthetic), CHUNK):
        distance = cdist(synthetic[start : start + CHUNK], real)
        nearest = distance.argmin(1)
        authentic += int((distance[np.arange(len(nearest)), nearest] > spacing[nearest]).sum())
    return authentic / len(synthetic)
