"""What the heart's segmenter minimises where of some voxels only some classes are excluded."""

from __future__ import annotations

from jaxtyping import Bool, Float
from torch import Tensor


def partial_loss(
    scores: Float[Tensor, "b k x y z"], allowed: Bool[Tensor, "b k x y z"], exact: Bool[Tensor, "b f"]
) -> tuple[Float[Tensor, ""], Float[Tensor, ""]]:
    """Cross-entropy of the allowed classes together, and one minus the mean soft Dice of the classes that are ``exact``.

    A voxel that may be anything counts in neither. Where every voxel has one class it is the usual sum of the two.
    """
    found = scores.float().softmax(1)
    known = ~allowed.all(1)
    entropy = -(found * allowed).sum(1).clamp(min=1e-6).log()[known].sum() / known.sum().clamp(min=1)
    target, seen = (allowed[:, 1:] & known[:, None]).float(), found[:, 1:] * known[:, None]
    axes = (2, 3, 4)
    dice = (2 * (seen * target).sum(axes) + 20) / (seen.sum(axes) + target.sum(axes) + 20)
    return entropy, ((1 - dice) * exact).sum() / exact.sum().clamp(min=1)
