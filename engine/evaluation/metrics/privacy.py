"""Whether synthetic persons lie closer to those trained on than to others: points in, shares and exact tests out.

A point is a row in the table encoding, an image's features, or both beside each other. Training stands against a holdout of
equal size, persons never trained on, so that 50% is ideal; a small distance to the closest record alone proves nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Num
from scipy.spatial.distance import cdist

from engine.evaluation.metrics.checks import EvaluationError, checked_features, checked_values
from engine.evaluation.metrics.classify import auc
from engine.evaluation.metrics.interval import Figure, bootstrap, p_above, p_permutation, p_preceding, proportion

#: nearest records kept of each synthetic person; two of one side are among them but for a chance of 66 / 2^32
POOL = 32
CHUNK = 1024


@dataclass(frozen=True, kw_only=True)
class Closeness:
    """Synthetic persons that lie closer to training than to the holdout.

    ``share``, 0.5 when nothing is remembered, has the exact binomial interval, which takes synthetic persons as
    independent and the records as given. ``p_binomial`` is the one-sided p of a share above 0.5 in that sense: it alarms
    too often, since honest persons share their neighbours. ``p`` is that of swapping records between training and
    holdout, exact for honest data: judge by this. ``ties`` are persons equally close to both, left out.
    """

    share: Figure
    p: float
    p_binomial: float
    ties: int


@dataclass(frozen=True, kw_only=True)
class Records:
    """Distance to closest record, and the ratio of the nearest to the second nearest; medians to both sides."""

    closest: Closeness
    ratio: Closeness
    median_distance: tuple[float, float]
    median_ratio: tuple[float, float]


def closest_distances(
    points: Num[np.ndarray, "n d"], records: Num[np.ndarray, "m d"], k: int = 1
) -> Float[np.ndarray, "n k"]:
    """Distances to the ``k`` nearest records, ascending."""
    return _nearest(checked_features("synthetic", points), checked_features("record", records), k)[0]


def _nearest(points: np.ndarray, records: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    distances, indices = [], []
    for start in range(0, len(points), CHUNK):
        block = cdist(points[start : start + CHUNK], records)
        which = np.argsort(block, axis=1, kind="stable")[:, :k]
        indices.append(which)
        distances.append(np.take_along_axis(block, which, axis=1))
    return np.concatenate(distances), np.concatenate(indices)


def _sides(
    near: Float[np.ndarray, "n k"], of_training: np.ndarray
) -> tuple[Float[np.ndarray, "n 2 2"], Float[np.ndarray, "n 2"]]:
    """Of each person the two nearest distances to training and holdout, and the ratios of those two."""
    pairs = np.empty((len(near), 2, 2))
    for side in (0, 1):
        member = of_training if side == 0 else ~of_training
        rank = np.cumsum(member, axis=1)
        for place in (0, 1):
            reached = rank[:, -1] > place
            at = (rank > place).argmax(1)
            pairs[:, side, place] = np.where(reached, near[np.arange(len(near)), at], near[:, -1])
    with np.errstate(invalid="ignore", divide="ignore"):
        ratio = np.where(pairs[..., 1] > 0, pairs[..., 0] / pairs[..., 1], 1.0)
    return pairs, ratio


def _closer(training: np.ndarray, holdout: np.ndarray) -> tuple[int, int]:
    """Persons closer to training, and persons closer to either."""
    return int((training < holdout).sum()), int((training != holdout).sum())


def closest_records(
    synthetic: Num[np.ndarray, "n d"],
    training: Num[np.ndarray, "m d"],
    holdout: Num[np.ndarray, "h d"],
    rng: np.random.Generator,
    *,
    permutations: int = 499,
) -> Records:
    """Distance to closest record and nearest-neighbour distance ratio, training beside an equal holdout.

    Share closer to training: Platzer & Reutterer 2021; ratio: Zhao et al. 2021 (CTAB-GAN). Put points in one normalised
    space first. Under the null that training persons are not special, the pooled records are exchangeable, so the
    permutation p is exact. Raises :class:`EvaluationError` when training and holdout differ in size.
    """
    points = checked_features("synthetic", synthetic)
    sides = checked_features("training", training), checked_features("holdout", holdout)
    n = len(sides[0])
    if n != len(sides[1]):
        fault = f"training and holdout hold {n} and {len(sides[1])} records, so 50% is not what honest data score"
        raise EvaluationError(f"{fault}: draw {min(n, len(sides[1]))} from each")
    near, which = _nearest(points, np.concatenate(sides), min(POOL, 2 * n))

    def shares(member: np.ndarray) -> tuple[np.ndarray, tuple[int, int], tuple[int, int], np.ndarray]:
        pairs, ratio = _sides(near, member[which])
        return pairs, _closer(pairs[:, 0, 0], pairs[:, 1, 0]), _closer(ratio[:, 0], ratio[:, 1]), ratio

    member = np.arange(2 * n) < n
    pairs, by_distance, by_ratio, ratio = shares(member)
    drawn = [shares(rng.permutation(member))[1:3] for _ in range(permutations)]

    def closeness(observed: tuple[int, int], others: list[tuple[int, int]]) -> Closeness:
        permuted = [a / b if b else 0.5 for a, b in others]
        return Closeness(
            share=proportion(*observed),
            p=p_permutation(observed[0] / observed[1] if observed[1] else 0.5, permuted),
            p_binomial=p_above(*observed, 0.5),
            ties=len(points) - observed[1],
        )

    distance, relative = np.median(pairs[..., 0], axis=0), np.median(ratio, axis=0)
    return Records(
        closest=closeness(by_distance, [d for d, _ in drawn]),
        ratio=closeness(by_ratio, [r for _, r in drawn]),
        median_distance=(float(distance[0]), float(distance[1])),
        median_ratio=(float(relative[0]), float(relative[1])),
    )


@dataclass(frozen=True, kw_only=True)
class Copies:
    """Share of synthetic persons within ``threshold`` of a training record, beside that of held-out real persons.

    ``p`` is one-sided: a small one says that synthetic persons are copies more often than persons who never were
    trained on can look it.
    """

    synthetic: Figure
    holdout: Figure
    threshold: float
    p: float

    @property
    def passes(self) -> bool:
        return self.p >= 0.05


def copy_rate(synthetic: Num[np.ndarray, " n"], holdout: Num[np.ndarray, " m"], *, share: float = 0.05) -> Copies:
    """Copies by nearest distances to training: of synthetic persons, and of held-out REAL ones.

    The threshold is the distance below which a ``share`` of held-out persons lie (at least the nearest one). The
    precedence test of synthetic distances against it is exact though the threshold comes of the same persons.
    Both sides take their distance to the same training records; the arrays may differ in length. Raises
    :class:`EvaluationError` when so many held-out persons repeat a training record that the threshold is 0.
    """
    mine, theirs = checked_values("synthetic distance", synthetic), checked_values("holdout distance", holdout)
    rank = max(1, round(share * len(theirs)))
    threshold = float(np.sort(theirs)[rank - 1])
    if threshold <= 0:
        fault = f"{int((theirs <= 0).sum())} of {len(theirs)} held-out persons repeat a training record exactly"
        raise EvaluationError(f"{fault}, so copies cannot be told: compare more columns")
    below = int((mine < threshold).sum())
    return Copies(
        synthetic=proportion(below, len(mine)),
        holdout=proportion(int((theirs < threshold).sum()), len(theirs)),
        threshold=threshold,
        p=p_preceding(below, len(mine), rank, len(theirs)),
    )


def replay_rate(
    synthetic: Num[np.ndarray, " n"], replays: Num[np.ndarray, " m"], *, share: float = 0.95
) -> tuple[Figure, float]:
    """Synthetic persons nearer to training than ``share`` of perturbed replays of training are, and that threshold.

    Reported beside :func:`copy_rate`: it depends on how replays were perturbed, so no test hangs on it.
    """
    mine = checked_values("synthetic distance", synthetic)
    threshold = float(np.quantile(checked_values("replay distance", replays), share))
    return proportion(int((mine <= threshold).sum()), len(mine)), threshold


@dataclass(frozen=True, kw_only=True)
class MembershipInference:
    """AUC of telling trained persons from others by a score, 0.5 when they cannot be told, and its permutation p."""

    auc: Figure
    p: float


def membership_inference(
    members: Num[np.ndarray, " n"], others: Num[np.ndarray, " m"], rng: np.random.Generator, *, resamples: int = 1000
) -> MembershipInference:
    """AUC of ``members``' scores above ``others``' (Yeom et al. 2018 threshold the loss): a HIGHER score says member, so
    give the negative of a loss. One score a person; the interval is a bootstrap, p is one-sided."""
    inside, outside = checked_values("member score", members), checked_values("other score", others)
    scores, labels = np.concatenate([inside, outside]), np.arange(len(inside) + len(outside)) < len(inside)
    rows: Int[np.ndarray, " k"] = np.arange(len(scores))
    figure = bootstrap(lambda i: auc(labels[i], scores[i]), rows, rng, resamples=resamples)
    permuted = [auc(rng.permutation(labels), scores) for _ in range(resamples - 1)]
    return MembershipInference(auc=figure, p=p_permutation(figure.value, permuted))
