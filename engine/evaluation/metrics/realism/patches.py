"""Whether patches of made scans repeat those of training persons: nearest neighbours of small cubes at matching places.

A person is a set of patches, one at each place of a lattice that is the same for everybody, kept with a margin. A patch is
compared with every training person's patches at its place and within the margin of it, contrast-normalised (mean 0, norm 1),
so that brightness says nothing. Whole scans may differ from everybody and yet be sewn together of other people's patches.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, UInt8
from numpy.lib.stride_tricks import sliding_window_view

from engine.evaluation.metrics.checks import MINIMUM_SUBJECTS, EvaluationError
from engine.evaluation.metrics.interval import Figure, bootstrap_two, p_permutation, proportion

#: voxels of a patch's side, and by how many a training person's patch may be shifted along each axis
SIDE, MARGIN = 8, 1
BLOCK = SIDE + 2 * MARGIN
#: places along each axis
PLACES = 4
#: SD of intensities (of 0 to 1) below which a patch shows nothing
FLAT = 0.02

#: of so many persons, at each place
Blocks = UInt8[np.ndarray, "_ p c b b b"]


def lattice(grid: tuple[int, ...]) -> Int[np.ndarray, "p 3"]:
    """Where the blocks begin: :data:`PLACES` along each axis, the outermost a twelfth of the side away from the border."""
    if min(grid) < BLOCK + PLACES:
        raise EvaluationError(f"a grid of {grid} is too small for patches: each side needs {BLOCK + PLACES} voxels")
    along = [np.rint(np.linspace(n // 12, n - BLOCK - n // 12, PLACES)).astype(int) for n in grid]
    return np.stack(np.meshgrid(*along, indexing="ij"), -1).reshape(-1, 3)


def blocks_of(volume: Float[np.ndarray, "c x y z"]) -> UInt8[np.ndarray, "p c b b b"]:
    """The blocks of a volume of range 0 to 1 at every place of the :func:`lattice`."""
    places = [tuple(slice(at, at + BLOCK) for at in corner) for corner in lattice(volume.shape[1:])]
    return np.stack([np.rint(255 * volume[(slice(None), *place)].clip(0, 1)).astype(np.uint8) for place in places])


def _normalised(patches: Float[np.ndarray, "... d"]) -> Float[np.ndarray, "... d"]:
    """Mean 0 and norm 1; a flat patch is NaN."""
    centred = patches - patches.mean(-1, keepdims=True)
    norm = np.linalg.norm(centred, axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(norm > 255 * FLAT * np.sqrt(patches.shape[-1]), centred / norm, np.nan)


def _middle(blocks: UInt8[np.ndarray, "n c b b b"]) -> Float[np.ndarray, "n d"]:
    inner = slice(MARGIN, MARGIN + SIDE)
    return _normalised(blocks[..., inner, inner, inner].reshape(len(blocks), -1).astype(np.float32))


def _shifted(blocks: UInt8[np.ndarray, "n c b b b"]) -> Float[np.ndarray, "n s d"]:
    """The patches of each person at a place, in all shifts."""
    windows = sliding_window_view(blocks, (SIDE, SIDE, SIDE), axis=(2, 3, 4))
    apart = np.moveaxis(windows, 1, 4).reshape(len(blocks), (2 * MARGIN + 1) ** 3, -1)
    return _normalised(apart.astype(np.float32))


def patch_distances(points: Blocks, records: Blocks) -> Iterator[Float[np.ndarray, "n m"]]:
    """Place by place, the distance of each point's patch to each record's nearest shift: 0 the same, 1.41 unrelated.

    NaN where the point's patch is flat, infinite where all of the record's are.
    """
    for place in range(points.shape[1]):
        mine = _middle(points[:, place])
        theirs = _shifted(records[:, place])
        likeness = np.nan_to_num(mine, nan=0.0) @ np.nan_to_num(theirs, nan=-1.0).reshape(-1, mine.shape[1]).T
        likeness = likeness.reshape(len(mine), *theirs.shape[:2])
        likeness = np.where(np.isnan(theirs).any(-1), -np.inf, likeness).max(-1)
        distance = np.sqrt(np.clip(2 - 2 * likeness, 0, None))
        distance[np.isnan(mine).any(-1)] = np.nan
        yield distance


@dataclass(frozen=True, kw_only=True)
class PatchCopies:
    """Patches of made persons beside those of held-out persons.

    ``nearer`` is the mean distance of made patches to the nearest training person's over that of held-out persons' patches,
    with ``p_nearer`` (one-sided, persons permuted) of its being below 1 by chance: fog is near to everything, so a low ratio
    may be blur. ``share`` of the made patches have their nearest neighbour among training rather than held-out persons, which
    blur leaves at ``expected``, the share of training among these persons; ``p_share`` is of swapping the two.
    """

    nearer: Figure
    p_nearer: float
    share: Figure
    expected: float
    p_share: float


def patch_copies(
    made: Blocks, training: Blocks, holdout: Blocks, rng: np.random.Generator, *, permutations: int = 999
) -> PatchCopies:
    """Both tests are exact for a generator that owes nothing to the training persons in particular.

    Raises :class:`EvaluationError` where fewer than four persons are on a side, or no patch shows anything.
    """
    if min(len(made), len(training), len(holdout)) < MINIMUM_SUBJECTS:
        raise EvaluationError(f"patches of fewer than {MINIMUM_SUBJECTS} persons a side tell nothing: give more")
    total = len(training) + len(holdout)
    mine, theirs, counts = [], [], np.zeros(total)
    records = np.concatenate([training, holdout])
    for distances in patch_distances(np.concatenate([made, holdout]), records):
        of_made, of_holdout = distances[: len(made)], distances[len(made) :]
        mine.append(of_made[:, : len(training)].min(1))
        theirs.append(of_holdout[:, : len(training)].min(1))
        seen = of_made[np.isfinite(of_made.min(1))]
        counts += np.bincount(seen.argmin(1), minlength=total)
    one, two = _mean_by_person(mine), _mean_by_person(theirs)
    if min(len(one), len(two)) < MINIMUM_SUBJECTS:
        raise EvaluationError("hardly any person has patches that show something: there is nothing to compare")

    near, p_near = _nearer(one, two, rng, permutations)
    member = np.arange(total) < len(training)
    of_training = [counts[rng.permutation(member)].sum() for _ in range(permutations)]
    return PatchCopies(
        nearer=near,
        p_nearer=p_near,
        share=proportion(int(counts[member].sum()), int(counts.sum())),
        expected=len(training) / total,
        p_share=p_permutation(float(counts[member].sum()), of_training),
    )


def _mean_by_person(distances: list[Float[np.ndarray, " n"]]) -> Float[np.ndarray, " m"]:
    """The mean over places of each person who has any patch that shows something."""
    found = np.stack(distances, 1)
    seen = np.isfinite(found)
    total = np.where(seen, found, 0).sum(1)
    return (total / np.maximum(seen.sum(1), 1))[seen.any(1)]


def _nearer(
    made: Float[np.ndarray, " n"], held: Float[np.ndarray, " m"], rng: np.random.Generator, permutations: int
) -> tuple[Figure, float]:
    def gap(values: np.ndarray) -> float:
        return float(values[len(made) :].mean() - values[: len(made)].mean())

    pooled = np.concatenate([made, held])
    permuted = [gap(rng.permutation(pooled)) for _ in range(permutations)]
    ratio = bootstrap_two(lambda i, j: float(made[i].mean() / held[j].mean()), len(made), len(held), rng)
    return ratio, p_permutation(gap(pooled), permuted)
