"""The detail of scans and masks: what tokens cannot carry, told by small local networks.

Of a scan it is drawn by a network that sees the decoded scan and the mask.

A rectified flow from the decoder's posterior mean to the scan (posterior-mean rectified flow, arXiv 2410.00418). The state is
the residual u = (x - D) / s, where D is what the tokens decode to and s(x) the SD of the residual there; u_t = (1 - t) u + t n,
n ~ N(0, 1). The network tells E[u | u_t, D, mask], preconditioned as for data of variance 1 (EDM, arXiv 2206.00364, table 1):
at t = 1, where the state is noise alone, that is the posterior mean, which one evaluation draws; several draw a sample.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor, nn

from engine.model.config import FINEST, DetailConfig
from engine.model.nn.autoencoder import Down, Up, depth_to_space, space_to_depth
from engine.model.nn.blur import bands
from engine.model.nn.embedding import NoiseEmbedding

#: voxels of a side to which the network folds its grid, and which corner and size of a crop are multiples of
FOLD = FINEST
#: voxels a side of the cubes that share an SD of the residual, and the least of them, of intensities 0 to 1
CUBE, LEAST = 4, 0.004
#: SDs of the blurs, one on the other, between which the bands of a scan lie, voxels
BANDS = (0.7, 1.4)
#: numbers that stand for a class, and for an unknown mask, in the network's input
EMBEDDING = 8

#: where a crop begins, in voxels
Corner = tuple[int, int, int]


class VoxelNorm(nn.Module):
    """Each voxel's channels to a root mean square of 1 (arXiv 1910.07467): unlike the norm of a whole volume it is the same in a
    crop, so that what is learned on crops holds, and tiles have no seams."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        last = x.movedim(1, -1)
        return nn.functional.rms_norm(last, last.shape[-1:], self.weight.to(x.dtype), 1e-6).movedim(-1, 1)


class LevelledBlock(nn.Module):
    """A residual block (He et al., arXiv 1603.05027, figure 4e), scaled and shifted by the noise level."""

    def __init__(self, width: int, level: int) -> None:
        super().__init__()
        self.norm1 = VoxelNorm(width)
        self.conv1 = nn.Conv3d(width, width, 3, padding=1)
        self.norm2 = VoxelNorm(width)
        self.conv2 = nn.Conv3d(width, width, 3, padding=1)
        self.modulation = nn.Linear(level, 2 * width)
        for parameter in (*self.conv2.parameters(), *self.modulation.parameters()):
            nn.init.zeros_(parameter)

    def forward(self, x: Float[Tensor, "b c x y z"], level: Float[Tensor, "b w"]) -> Float[Tensor, "b c x y z"]:
        scale, shift = self.modulation(level)[..., None, None, None].chunk(2, 1)
        inner = self.conv1(nn.functional.silu(self.norm1(x)))
        return x + self.conv2(nn.functional.silu(self.norm2(inner) * (1 + scale) + shift))


class LocalNet(nn.Module):
    """From ``inputs`` to ``outputs`` channels of every voxel by what is near it and by its place: three levels, nothing wide at
    full resolution. Whole volumes, or crops that begin at multiples of :data:`FOLD`. ``coarse`` inputs are told at half the
    resolution. Its output, a convolution over ``reach`` cells there, starts at 0."""

    def __init__(
        self,
        widths: Sequence[int],
        blocks: int,
        inputs: int,
        outputs: int,
        grid: tuple[int, int, int],
        *,
        coarse: int = 0,
        reach: int = 3,
    ) -> None:
        super().__init__()
        w2, w4, w8 = widths
        self.place = nn.Parameter(torch.zeros(w8, *(n // FOLD for n in grid)))
        self.into = nn.Conv3d(8 * inputs + coarse, w2, 1)
        self.down = nn.ModuleList([Down(w2, w4), Down(w4, w8)])
        self.up = nn.ModuleList([Up(w8, w4), Up(w4, w2)])
        self.first = nn.ModuleList([LevelledBlock(w2, w8), LevelledBlock(w4, w8)])
        self.middle = nn.ModuleList([LevelledBlock(w8, w8) for _ in range(blocks)])
        self.last = nn.ModuleList([LevelledBlock(w4, w8), LevelledBlock(w2, w8)])
        self.out = nn.Conv3d(w2, 8 * outputs, reach, padding=reach // 2)
        nn.init.zeros_(self.out.weight)
        assert self.out.bias is not None
        nn.init.zeros_(self.out.bias)

    def forward(
        self,
        seen: Float[Tensor, "b i x y z"],
        level: Float[Tensor, "b w"],
        corners: Sequence[Corner],
        coarse: Float[Tensor, "b j x2 y2 z2"] | None = None,
    ) -> Float[Tensor, "b o x y z"]:
        """``level`` is what every voxel is told, each person's crop begins at its corner."""
        folded = space_to_depth(seen)
        x = self.into(folded if coarse is None else torch.cat([folded, coarse], 1))
        skips = []
        for block, down in zip(self.first, self.down, strict=True):
            x = block(x, level)
            skips.append(x)
            x = down(x)
        x = x + self._places(corners, x.shape[2:])
        for block in self.middle:
            x = block(x, level)
        for up, block in zip(self.up, self.last, strict=True):
            x = block(up(x) + skips.pop(), level)
        return depth_to_space(self.out(nn.functional.silu(x)))

    def _places(self, corners: Sequence[Corner], size: Sequence[int]) -> Float[Tensor, "b w x y z"]:
        cuts = [[slice(at // FOLD, at // FOLD + n) for at, n in zip(c, size, strict=True)] for c in corners]
        return torch.stack([self.place[:, x, y, z] for x, y, z in cuts])


class Detail(nn.Module):
    """The posterior mean of the residual; on whole volumes or, where trained, on crops. With an ``atlas`` it sees the atlas'
    mean scan too, as it lies in the person.

    One evaluation draws a mean, which is smoother than scans are: each band of it (:data:`BANDS`) is amplified by ``gain``, and
    the ``grain`` of scans is added, the SD of what is noise in each class and, last, in an unknown one
    (:mod:`engine.training.stages.local.spectrum`).
    """

    variance: Tensor
    gain: Tensor
    grain: Tensor

    def __init__(
        self, config: DetailConfig, channels: int, classes: int, grid: tuple[int, int, int], *, atlas: bool = False
    ) -> None:
        super().__init__()
        self.unknown = classes
        #: label maps of a person: one, or of what is told apart in every frame one each
        self.maps = channels if config.classes else 1
        self.atlas = channels if atlas else 0
        self.register_buffer("variance", torch.ones(channels, *(n // CUBE for n in grid)))
        self.register_buffer("gain", torch.ones(channels, len(BANDS)))
        self.register_buffer("grain", torch.zeros(channels, classes + 1))
        self.embedding = nn.Embedding(classes + 1, EMBEDDING)
        self.noise = NoiseEmbedding(config.widths[-1])
        self.net = LocalNet(
            config.widths, config.blocks, 2 * channels + self.atlas + EMBEDDING * self.maps, channels, grid
        )

    def residual_sd(self) -> Float[Tensor, "c x y z"]:
        """SD of the residual at every voxel, of intensities 0 to 1."""
        variance = nn.functional.interpolate(self.variance[None], scale_factor=CUBE, mode="trilinear")[0]
        return variance.clamp(min=LEAST**2).sqrt()

    def forward(
        self,
        state: Float[Tensor, "b c x y z"],
        t: Float[Tensor, " b"],
        base: Float[Tensor, "b c x y z"],
        labels: UInt8[Tensor, "b *m x y z"],
        corners: Sequence[Corner],
        template: Float[Tensor, "b c x y z"] | None = None,
    ) -> Float[Tensor, "b c x y z"]:
        """E[u | u_t, D, mask]: ``state`` u_t, ``base`` D in 0..1, ``labels`` of the mask (:attr:`unknown`: there is none), each
        person's crop beginning at its corner; ``template`` is the atlas' mean scan in the person, 0..1, of an unknown mask 0."""
        # side by side, map after map
        told = [self.embedding(one).movedim(-1, 1) for one in self._mapped(labels).unbind(1)]
        parts = [state, 2 * base - 1, *told]
        if self.atlas:
            parts.append(torch.zeros_like(base) if template is None else template)
        seen = torch.cat(parts, 1)
        learned = self.net(seen, nn.functional.silu(self.noise(t)), corners)
        t = t[:, None, None, None, None]
        total = (1 - t) ** 2 + t**2
        return (1 - t) / total * state + t / total.sqrt() * learned

    def draw(
        self,
        base: Float[Tensor, "b c x y z"],
        labels: UInt8[Tensor, "b *m x y z"],
        noise: Float[Tensor, "b c x y z"],
        evaluations: int = 1,
        template: Float[Tensor, "b c x y z"] | None = None,
    ) -> Float[Tensor, "b c x y z"]:
        """Whole scans for their decoded ``base`` and mask: with one evaluation the posterior mean and the :attr:`grain` of scans,
        with more a sample from ``noise`` by Euler's rule, t evenly spaced from 1 to 0."""
        state, times = noise, torch.linspace(1, 0, evaluations + 1, device=base.device)
        corners = [(0, 0, 0)] * len(base)
        for t, s in itertools.pairwise(times):
            mean = self(state, t.expand(len(base)), base, labels, corners, template)
            state = mean + s / t * (state - mean)
        drawn = base + self.residual_sd() * state
        if evaluations == 1:
            drawn = torch.stack([self.amplified(one) for one in drawn])
            drawn = drawn + self.grain_of(labels) * noise
        return drawn.clamp(0, 1)

    def grain_of(self, labels: UInt8[Tensor, "b *m x y z"]) -> Float[Tensor, "b c x y z"]:
        """SD of the grain at every voxel."""
        maps = self._mapped(labels)
        if self.maps == 1:
            return self.grain[:, maps[:, 0]].movedim(0, 1)
        return torch.stack([grain[maps[:, frame]] for frame, grain in enumerate(self.grain)], 1)

    def _mapped(self, labels: UInt8[Tensor, "b *m x y z"]) -> Int[Tensor, "b m x y z"]:
        """With the axis of label maps, also where there is one."""
        return labels.long().reshape(len(labels), self.maps, *labels.shape[-3:])

    def amplified(self, scan: Float[Tensor, "c x y z"]) -> Float[Tensor, "c x y z"]:
        """The scan with each of its bands amplified by :attr:`gain`."""
        for band, gain in zip(bands(scan, BANDS), self.gain.T, strict=True):
            scan = scan + (gain[:, None, None, None] - 1) * band
        return scan


class Tissues(nn.Module):
    """What is seen in every frame of a decoded scan, class by class: a border whose place is not sure is as crisp as any, where the
    scan, a mean over places, is fog. ``told`` are the numbers by which the person's row is told beside it."""

    def __init__(self, config: DetailConfig, frames: int, grid: tuple[int, int, int], told: int) -> None:
        super().__init__()
        self.classes = len(config.classes)
        self.walls = [[config.classes.index(name) for name in names] for names in config.walls]
        widths = config.class_widths or config.widths
        self.level = nn.Parameter(torch.zeros(widths[-1]))
        # not from 0: what it modulates begins there, and of two factors that are 0 neither learns
        self.told = nn.Linear(told, widths[-1], bias=False)
        # a convolution to so many scores would be most of a wide network
        reach = 1 if config.class_widths else 3
        self.net = LocalNet(widths, config.blocks, frames, frames * self.classes, grid, reach=reach)

    def forward(
        self, base: Float[Tensor, "b f x y z"], corners: Sequence[Corner], row: Float[Tensor, "b t"] | None = None
    ) -> Float[Tensor, "b k f x y z"]:
        """Class scores (logits) of decoded scans in 0..1, or of their crops, beside each person's ``row``
        (:func:`engine.model.prior.row_terms`; None, or zeros: it is not known)."""
        level = self.level.expand(len(base), -1)
        scores = self.net(2 * base - 1, level if row is None else level + self.told(row), corners)
        return scores.reshape(len(base), self.classes, base.shape[1], *base.shape[2:])

    def labels(
        self, base: Float[Tensor, "b f x y z"], row: Float[Tensor, "b t"] | None = None
    ) -> UInt8[Tensor, "b f x y z"]:
        """Of each voxel of whole scans the class it is taken for."""
        return classes_of(self(base, [(0, 0, 0)] * len(base), row).softmax(1), self.walls)


def classes_of(shares: Float[Tensor, "b k *m z"], walls: Sequence[Sequence[int]]) -> UInt8[Tensor, "b *m z"]:
    """The likeliest class by the posterior ``shares`` of each; the last of each of ``walls`` is a wall, the others are what it
    encloses.

    Where a thin wall's place is not sure no voxel is likely to be wall, and the likeliest classes have a hole there. So its inner and
    its outer border are each put where the posterior has its median, and the wall is as thick as its borders are apart.
    """
    found = shares.clone()
    for *enclosed, wall in walls:
        inside = shares[:, enclosed].sum(1, keepdim=True)
        found[:, wall] += inside[:, 0]
        found[:, enclosed] = torch.where(inside >= 0.5, 1 + shares[:, enclosed], 0)
    return found.argmax(1).to(torch.uint8)


class Refiner(nn.Module):
    """The class scores of a mask whose scan is known: those that its tokens decode to, and what is seen in the scan beside them.
    A skip from the scan to the mask, past the tokens that both share."""

    def __init__(self, config: DetailConfig, channels: int, classes: int, grid: tuple[int, int, int]) -> None:
        super().__init__()
        self.level = nn.Parameter(torch.zeros(config.widths[-1]))
        self.shares = nn.Conv3d(classes, EMBEDDING, 1)
        self.net = LocalNet(config.widths, config.blocks, channels + EMBEDDING, classes, grid)

    def forward(
        self, scan: Float[Tensor, "b c x y z"], scores: Float[Tensor, "b k x y z"], corners: Sequence[Corner]
    ) -> Float[Tensor, "b k x y z"]:
        """``scan`` in 0..1, ``scores`` of the tokens (logits)."""
        seen = torch.cat([2 * scan - 1, self.shares(scores.softmax(1))], 1)
        return scores + self.net(seen, self.level.expand(len(scan), -1), corners)
