"""The networks on volumes too large for one piece: what they give for the whole, in tiles.

A volume of 512 x 512 x 256 voxels has 2 GB at 32 channels of half its resolution, and a network has many such maps at a time. Here
only few are ever whole: those that a norm takes its statistics of and those that come back later, as in a U. All else is made
tile by tile (:mod:`engine.model.nn.tiles.boxes`).

Law: equal to the untiled networks within 1e-5, whatever the tiles.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.nn.autoencoder import FACTOR, Autoencoder, Down, depth_to_space, space_to_depth
from engine.model.nn.blur import gaussian
from engine.model.nn.detail import BANDS, CUBE, FOLD, LEAST, Detail, LocalNet
from engine.model.nn.mask_autoencoder import COARSE, MaskAutoencoder, log_shares
from engine.model.nn.tiles.boxes import (
    SIDE,
    Box,
    Chain,
    Coarser,
    Finer,
    Near,
    around,
    chain_of,
    enlarged,
    in_tiles,
    passed,
    scaled,
)


def encode(coder: Autoencoder, volume: Float[Tensor, "b c x y z"], side: int = SIDE) -> Float[Tensor, "b n latent"]:
    """:meth:`Autoencoder.encode`."""
    first, *rest = coder.encoder
    assert isinstance(first, nn.Sequential)
    into, down, blocks = first

    def difference(box: Box) -> Tensor:
        return volume[(..., *box)] - coder.template[(..., *box)]

    sides = volume.shape[2:]
    coarse = volume.new_empty(len(volume), coder.config.latent, *(n // FACTOR for n in sides))
    in_tiles(lambda box: coder.linear(difference(box)), chain_of(coder.linear), sides, coarse, side=side)

    chain = (Coarser(2), *chain_of(into), *chain_of(down))
    x = volume.new_empty(len(volume), coder.config.widths[1], *(n // 4 for n in sides))
    in_tiles(lambda box: down(into(space_to_depth(difference(box)))), chain, sides, x, side=side)
    means = coarse + passed(nn.Sequential(blocks, *rest), x, side)
    return means.flatten(2).transpose(1, 2)


def decode(coder: Autoencoder, tokens: Float[Tensor, "b n latent"], side: int = SIDE) -> Float[Tensor, "b c x y z"]:
    """:meth:`Autoencoder.decode`."""
    grid = tokens.transpose(1, 2).reshape(len(tokens), coder.config.latent, *coder.config.token_grid)
    x = passed(coder.decoder, coder.head(grid) + coder.place, side)
    out = coder.linear_part(grid).clone()
    chain = (*chain_of(coder.tail), Finer(2))
    return in_tiles(
        lambda box: depth_to_space(coder.tail(x[(..., *box)])), chain, x.shape[2:], out, side=side, add=True
    )


def encode_mask(coder: MaskAutoencoder, labels: UInt8[Tensor, "b x y z"], side: int = SIDE) -> Float[Tensor, "b n m"]:
    """:meth:`MaskAutoencoder.encode`."""
    first, *rest = coder.encoder
    assert isinstance(first, nn.Sequential)
    into, down, blocks = first
    classes, sides = len(coder.config.classes), labels.shape[1:]

    def shares(box: Box) -> Tensor:
        cells = tuple(slice(part.start // COARSE, part.stop // COARSE) for part in box)
        return coder.into(log_shares(labels[(..., *box)], classes) - coder.atlas[(..., *cells)])

    def seen(box: Box) -> Tensor:
        return space_to_depth(coder.embedding(labels[(..., *box)].long()).movedim(-1, 1))

    coarse = coder.atlas.new_empty(len(labels), coder.config.latent, *(n // FACTOR for n in sides))
    in_tiles(shares, (Coarser(COARSE), *chain_of(coder.into)), sides, coarse, side=side)
    chain = (Coarser(2), *chain_of(into), *chain_of(down))
    x = coder.atlas.new_empty(len(labels), coder.config.widths[1], *(n // 4 for n in sides))
    in_tiles(lambda box: down(into(seen(box))), chain, sides, x, side=side)
    means = coarse + passed(nn.Sequential(blocks, *rest), x, side)
    return means.flatten(2).transpose(1, 2)


class MaskScores:
    """The class scores of a mask, box by box: of the whole volume only what is at a quarter of its resolution is kept."""

    def __init__(self, coder: MaskAutoencoder, tokens: Float[Tensor, "b n m"], side: int = SIDE) -> None:
        grid = tokens.transpose(1, 2).reshape(len(tokens), coder.config.latent, *(n // FACTOR for n in coder.grid))
        *most, last = coder.decoder
        self.coder, self.side = coder, side
        self.coarse = coder.atlas + coder.back(grid)
        self.quarter = passed(nn.Sequential(*most), coder.head(grid) + coder.place, side)
        self.last = nn.Sequential(last, coder.tail)
        self.chain = (*chain_of(self.last), Finer(2))

    def at(self, box: Box) -> Float[Tensor, "b k x y z"]:
        """The logits of the voxels that lie in a ``box`` of cells of :data:`COARSE` voxels; what lies within the reach of the
        chain from where the box is cut is not exact."""
        made = depth_to_space(self.last(self.quarter[(..., *box)]))
        return made + enlarged(self.coarse, scaled(box, COARSE), COARSE)

    def within(self, box: Box) -> Float[Tensor, "b k x y z"]:
        """The logits of the voxels in a ``box`` of voxels, exactly."""
        cuts = [around(part, n, self.chain) for part, n in zip(box, self.quarter.shape[2:], strict=True)]
        return self.at(tuple(seen for seen, _ in cuts))[(..., *(inside for _, inside in cuts))]

    def labels(self) -> UInt8[Tensor, "b x y z"]:
        """Of each voxel the likeliest class."""
        cells = self.quarter.shape[2:]
        out = torch.empty(len(self.quarter), *(n * COARSE for n in cells), dtype=torch.uint8, device=self.coarse.device)
        return in_tiles(lambda box: self.at(box).argmax(1).to(torch.uint8), self.chain, cells, out, side=self.side)


def local(
    net: LocalNet,
    level: Float[Tensor, "b w"],
    seen: Callable[[Box], Float[Tensor, "b i x y z"]],
    put: Callable[[Float[Tensor, "b o x y z"], Box], Tensor],
    out: Tensor,
    side: int = SIDE,
    *,
    then: Chain = (),
) -> Tensor:
    """:meth:`LocalNet.forward` on whole volumes: ``seen`` gives the folded input of a box, ``put`` what goes into ``out`` (..., x, y, z)
    of the net's output in a box, by the layers ``then``. Whole are the maps that come back in the U."""
    finest, x = _risen(net, level, seen, [FOLD * n for n in net.place.shape[1:]], side)
    up, block = net.up[1], net.last[1]

    def work(box: Box) -> Tensor:
        inner = block(up(x[(..., *box)]) + finest[(..., *scaled(box, 2))], level)
        return put(depth_to_space(net.out(nn.functional.silu(inner))), scaled(box, 4))

    chain = (*chain_of(up), *chain_of(block), *chain_of(net.out), Finer(2), *then)
    return in_tiles(work, chain, x.shape[2:], out, side=side)


def _risen(
    net: LocalNet,
    level: Float[Tensor, "b w"],
    seen: Callable[[Box], Float[Tensor, "b i x y z"]],
    sides: Sequence[int],
    side: int,
) -> tuple[Float[Tensor, "b c x2 y2 z2"], Float[Tensor, "b d x4 y4 z4"]]:
    """The map at half the resolution on the way down, and that at a quarter on the way up."""
    (first, second), persons = net.first, len(level)
    finest = level.new_empty(persons, net.into.out_channels, *(n // 2 for n in sides))
    chain = (Coarser(2), *chain_of(net.into), *chain_of(first))
    in_tiles(lambda box: first(net.into(seen(box)), level), chain, sides, finest, side=side)

    down = net.down[0]
    assert isinstance(down, Down)
    middle = level.new_empty(persons, down.map.out_channels, *(n // 4 for n in sides))
    chain = (*chain_of(down), *chain_of(second))
    in_tiles(lambda box: second(down(finest[(..., *box)]), level), chain, finest.shape[2:], middle, side=side)

    x = passed(net.down[1], middle, side) + net.place
    for block in net.middle:
        x = _levelled(block, x, level, side)

    up, block, risen = net.up[0], net.last[0], torch.empty_like(middle)

    def work(box: Box) -> Tensor:
        return block(up(x[(..., *box)]) + middle[(..., *scaled(box, 2))], level)

    in_tiles(work, (*chain_of(up), *chain_of(block)), x.shape[2:], risen, side=side)
    return finest, risen


def _levelled(
    block: nn.Module, x: Float[Tensor, "b c x y z"], level: Float[Tensor, "b w"], side: int
) -> Float[Tensor, "b c x y z"]:
    chain = chain_of(block)
    return in_tiles(lambda box: block(x[(..., *box)], level), chain, x.shape[2:], torch.empty_like(x), side=side)


def draw(
    detail: Detail,
    base: Float[Tensor, "b c x y z"],
    labels: UInt8[Tensor, "b x y z"],
    noise: Float[Tensor, "b c x y z"],
    evaluations: int = 1,
    template: Float[Tensor, "b c x y z"] | None = None,
    side: int = SIDE,
) -> Float[Tensor, "b c x y z"]:
    """:meth:`Detail.draw`; its input is made for a tile at a time."""
    if detail.atlas and template is None:
        template = torch.zeros((), device=base.device).expand_as(base)
    fixed = (base, template if detail.atlas else None)
    state = noise
    for t, s in itertools.pairwise(torch.linspace(1, 0, evaluations + 1, device=base.device)):
        state = _step(detail, fixed, labels, state, (t, s), side)
    variance = detail.variance[None]

    def detailed(box: Box) -> Tensor:
        sd = enlarged(variance, box, CUBE).clamp(min=LEAST**2).sqrt()
        drawn = base[(..., *box)] + sd * state[(..., *box)]
        if evaluations == 1:
            drawn = torch.stack([detail.amplified(one) for one in drawn])
            drawn = drawn + detail.grain[:, labels[(..., *box)].long()].movedim(0, 1) * noise[(..., *box)]
        return drawn.clamp(0, 1)

    chain = tuple(Near(len(gaussian(sd)) // 2) for sd in BANDS) if evaluations == 1 else ()
    return in_tiles(detailed, chain, base.shape[2:], torch.empty_like(state), side=side)


def _step(
    detail: Detail,
    fixed: tuple[Float[Tensor, "b c x y z"], Float[Tensor, "b c x y z"] | None],
    labels: UInt8[Tensor, "b x y z"],
    state: Float[Tensor, "b c x y z"],
    times: tuple[Tensor, Tensor],
    side: int,
) -> Float[Tensor, "b c x y z"]:
    """The state after one of Euler's steps; ``fixed`` are the decoded scan and the atlas' mean scan, where there is one."""
    (base, template), (t, s) = fixed, times
    total = (1 - t) ** 2 + t**2
    level = nn.functional.silu(detail.noise(t.expand(len(base))))

    def seen(box: Box) -> Tensor:
        kinds = detail.embedding(labels[(..., *box)].long()).movedim(-1, 1)
        parts = [state[(..., *box)], 2 * base[(..., *box)] - 1, kinds]
        return space_to_depth(torch.cat(parts if template is None else [*parts, template[(..., *box)]], 1))

    def moved(learned: Tensor, box: Box) -> Tensor:
        here = state[(..., *box)]
        mean = (1 - t) / total * here + t / total.sqrt() * learned
        return mean + s / t * (here - mean)

    return local(detail.net, level, seen, moved, torch.empty_like(state), side)
