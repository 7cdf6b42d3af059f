"""The detail of masks of volumes too large for one piece: what :class:`engine.model.nn.mask_detail.MaskDetail` draws, in tiles."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.nn.autoencoder import space_to_depth
from engine.model.nn.mask_detail import CELL, MaskDetail
from engine.model.nn.tiles.boxes import SIDE, Box, Coarser
from engine.model.nn.tiles.scan import local


@runtime_checkable
class BoxScores(Protocol):
    """Class scores box by box."""

    def within(self, box: Box) -> Float[Tensor, "b k x y z"]:
        """The logits of the voxels in a ``box`` of voxels."""
        ...


def draw(
    detail: MaskDetail,
    base: Float[Tensor, "b c x y z"],
    scores: BoxScores,
    noise: Float[Tensor, "b d 1 x2 y2 z2"],
    evaluations: int,
    side: int = SIDE,
) -> UInt8[Tensor, "b 1 x y z"]:
    """:meth:`MaskDetail.draw`; class scores are made for a tile at a time, as is the input."""
    state = noise
    labels = torch.empty(len(base), 1, *base.shape[2:], dtype=torch.uint8, device=base.device)
    for t, s in detail.times(evaluations):
        state = _step(detail, base, scores, state, (t, s), labels if s == 0 else torch.empty_like(state), side)
    return labels


def _step(
    detail: MaskDetail,
    base: Float[Tensor, "b c x y z"],
    scores: BoxScores,
    state: Float[Tensor, "b d 1 x2 y2 z2"],
    between: tuple[float, float],
    out: Tensor,
    side: int,
) -> Tensor:
    """The state after one of Euler's steps, or, after the last, the segmentations."""
    t, s = between
    levels = torch.full((len(base),), t, device=base.device)

    def seen(box: Box) -> Tensor:
        folded = space_to_depth(detail.seen(base[(..., *box)], scores.within(box)[:, :, None]))
        return torch.cat([folded, detail.scaled(state[(..., *_cells(box))], levels)], 1)

    def moved(learned: Tensor, box: Box) -> Tensor:
        here = state[(..., *_cells(box))]
        found = detail.told(learned, here, levels, scores.within(box)[:, :, None])
        if s == 0:
            return found.argmax(1).to(torch.uint8)
        mean = detail.mean(found)
        return mean + s / t * (here - mean)

    level, then = nn.functional.silu(detail.noise(levels)), () if s == 0 else (Coarser(CELL),)
    return local(detail.net, level, seen, moved, out, side, then=then)


def _cells(box: Box) -> Box:
    """The cells of a box of voxels."""
    return tuple(slice(part.start // CELL, part.stop // CELL) for part in box)
