"""The detail of masks: a segmentation drawn for what its tokens decode to.

Of each voxel alone the likeliest class loses every structure that is thinner than the tokens are sure of: loops of bowel, fat
between muscles, discs. A draw from the joint posterior of all voxels has them, somewhere.

A rectified flow between noise and codes of the classes (continuous diffusion of categories: Dieleman et al., arXiv 2211.15089):
the state is c_t = (1 - t) c + t n, n ~ N(0, 1), where c is the mean code of the classes in a cell of 2 x 2 x 2 voxels: where they lie
in it is what the cells around it say. The network tells the class probabilities of every voxel, learned by cross-entropy, and
with them E[c | c_t]. What a cell's own state says of a cell of one class is Bayes' rule and is not learned: it stands beside what
the network adds, so that an untrained network draws such cells from their probabilities.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.config import DetailConfig
from engine.model.flow import shifted
from engine.model.nn.detail import EMBEDDING, FOLD, Corner, LocalNet
from engine.model.nn.embedding import NoiseEmbedding
from engine.model.nn.tiles.boxes import box_about

#: numbers of a class' code
CODE = 6
#: voxels a side of what shares a mean code, and about a person what is drawn too
CELL, MARGIN = 2, 4
#: shift of the noise level, of one map: neighbours of one class tell together what one of them does not, so that little noise
#: hides nothing; of m maps it is the root of m times as much (arXiv 2403.03206, equation 23)
SHIFT = 4.0
#: the least noise level that a cell's own evidence is computed for: what little noise says is not of cells of several classes
LEAST = 0.5
#: what is added to a person's seed
STREAM = 2**62
#: steps and rate of the repulsion that spreads codes
REPULSIONS, REPULSION = 300, 0.1


def class_codes(classes: int) -> Float[Tensor, "k d"]:
    """Codes of classes, of a mean square of 1, as far from each other as points on a sphere come by repulsion."""
    codes = nn.functional.normalize(torch.randn(classes, CODE, generator=torch.Generator().manual_seed(0)), dim=1)
    for _ in range(REPULSIONS):
        apart = codes[:, None] - codes[None]
        push = (apart / (apart.square().sum(-1, keepdim=True) + 1e-2).square()).sum(1)
        codes = nn.functional.normalize(codes + REPULSION * nn.functional.normalize(push, dim=1) / classes, dim=1)
    return codes * CODE**0.5


class MaskDetail(nn.Module):
    """Class scores of every voxel beside a noisy state of all, on whole volumes or on crops, and the draw by it. A person has one
    label map, or ``maps``, one of every frame, which are drawn together."""

    codes: Tensor

    def __init__(
        self, config: DetailConfig, channels: int, classes: int, grid: tuple[int, int, int], *, maps: int = 1
    ) -> None:
        super().__init__()
        widths = config.class_widths or config.widths
        self.classes, self.maps, self.shift = classes, maps, SHIFT * maps**0.5
        self.register_buffer("codes", class_codes(classes))
        self.shares = nn.Conv3d(classes, EMBEDDING, 1)
        self.noise = NoiseEmbedding(widths[-1])
        seen, told = EMBEDDING * maps + channels, classes * maps
        self.net = LocalNet(widths, config.blocks, seen, told, grid, coarse=CODE * maps, reach=1)

    def forward(
        self,
        state: Float[Tensor, "b d m x2 y2 z2"],
        t: Float[Tensor, " b"],
        base: Float[Tensor, "b c x y z"],
        scores: Float[Tensor, "b k m x y z"],
        corners: Sequence[Corner],
    ) -> Float[Tensor, "b k m x y z"]:
        """Class scores (logits) of each voxel given the whole ``state`` at the levels ``t``, what the image's tokens decode to
        (``base``, 0..1) and the ``scores`` known so far (logits), each person's crop beginning at its corner."""
        level = nn.functional.silu(self.noise(t))
        learned = self.net(self.seen(base, scores), level, corners, self.scaled(state, t))
        return self.told(learned, state, t, scores)

    def seen(
        self, base: Float[Tensor, "b c x y z"], scores: Float[Tensor, "b k m x y z"]
    ) -> Float[Tensor, "b i x y z"]:
        """What the network sees of every voxel."""
        return torch.cat([2 * base - 1, *(self.shares(one.softmax(1)) for one in scores.unbind(2))], 1)

    def scaled(self, state: Float[Tensor, "b d m x2 y2 z2"], t: Float[Tensor, " b"]) -> Float[Tensor, "b j x2 y2 z2"]:
        """What it sees of every cell: the state with a variance of about 1."""
        return (_each(((1 - t) ** 2 + t**2).rsqrt()) * state).flatten(1, 2)

    def told(
        self,
        learned: Float[Tensor, "b n x y z"],
        state: Float[Tensor, "b d m x2 y2 z2"],
        t: Float[Tensor, " b"],
        scores: Float[Tensor, "b k m x y z"],
    ) -> Float[Tensor, "b k m x y z"]:
        """What the network adds to the log posterior, but for a constant, of cells of one class: log p(class) + log N(state; (1 - t)
        code, t^2)."""
        evidence = torch.einsum("kd,bd...->bk...", self.codes, state)
        evidence = _each((1 - t) / t.clamp(min=LEAST) ** 2) * evidence
        for axis in (3, 4, 5):
            evidence = evidence.repeat_interleave(CELL, axis)
        return scores.log_softmax(1) + evidence + learned.unflatten(1, (self.classes, self.maps))

    def mean(self, scores: Float[Tensor, "b k m x y z"]) -> Float[Tensor, "b d m x2 y2 z2"]:
        """E[c] of class scores."""
        return in_cells(torch.einsum("kd,bk...->bd...", self.codes, scores.softmax(1)))

    def times(self, evaluations: int) -> list[tuple[float, float]]:
        """Noise levels of each evaluation and of what follows it, from 1 to 0."""
        levels = [shifted(1 - k / evaluations, self.shift) for k in range(evaluations + 1)]
        return list(itertools.pairwise(levels))

    def noise_of(self, seeds: Sequence[int], grid: Sequence[int]) -> Float[Tensor, "b d m x2 y2 z2"]:
        """The noise of each seed, of another stream than those of the tokens and of the scan's detail."""
        streams = [torch.Generator().manual_seed(seed + STREAM) for seed in seeds]
        sizes = (CODE, self.maps, *(n // CELL for n in grid))
        return torch.stack([torch.randn(sizes, generator=stream) for stream in streams])

    def draw(
        self,
        base: Float[Tensor, "b c x y z"],
        scores: Float[Tensor, "b k m x y z"],
        noise: Float[Tensor, "b d m x2 y2 z2"],
        evaluations: int,
        corners: Sequence[Corner] | None = None,
    ) -> UInt8[Tensor, "b m x y z"]:
        """Segmentations of persons, whole or in crops that begin at ``corners``, from ``noise`` by Euler's rule; of each voxel the
        likeliest class of the last evaluation."""
        state, found, corners = noise, scores, corners or [(0, 0, 0)] * len(base)
        for t, s in self.times(evaluations):
            found = self(state, torch.full((len(base),), t, device=base.device), base, scores, corners)
            if s > 0:
                mean = self.mean(found)
                state = mean + s / t * (state - mean)
        return found.argmax(1).to(torch.uint8)


def drawn_within(
    detail: MaskDetail,
    base: Float[Tensor, "1 c x y z"],
    scores: Float[Tensor, "1 k 1 x y z"],
    noise: Float[Tensor, "1 d 1 x2 y2 z2"],
    evaluations: int,
) -> UInt8[Tensor, "1 1 x y z"]:
    """:meth:`MaskDetail.draw` in the box about what is not the background (class 0), and :data:`MARGIN` voxels; the rest stays."""
    likeliest = scores.argmax(1).to(torch.uint8)
    about = box_about(likeliest[0, 0] > 0, MARGIN)
    box = [slice(side.start // FOLD * FOLD, -(-side.stop // FOLD) * FOLD) for side in about]
    cells = [slice(side.start // CELL, side.stop // CELL) for side in box]
    x, y, z = (side.start for side in box)
    parts = (base[(..., *box)], scores[(..., *box)], noise[(..., *cells)])
    likeliest[(..., *box)] = detail.draw(*parts, evaluations, [(x, y, z)])
    return likeliest


def in_cells(codes: Float[Tensor, "b d m x y z"]) -> Float[Tensor, "b d m x2 y2 z2"]:
    """The mean code of every cell."""
    return torch.stack([nn.functional.avg_pool3d(one, CELL) for one in codes.unbind(2)], 2)


def _each(factor: Float[Tensor, " b"]) -> Float[Tensor, "b 1 1 1 1 1"]:
    """A factor a person."""
    return factor.reshape(-1, 1, 1, 1, 1, 1)
