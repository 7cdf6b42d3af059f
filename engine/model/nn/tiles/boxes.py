"""Passes over a map in tiles: each is computed from what its layers can see of it, the halo, and only what that leaves exact
is kept.

A chain is a run of layers as tiles see them. Where a tile is cut in the middle of a map the layers' own padding is wrong as far
as they reach, and that is thrown away; where it ends at the map's border the padding is the border's own. So what is put
together is what the whole map gives, to rounding.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from engine.model.nn.autoencoder import Down, ResidualBlock, Up
from engine.model.nn.detail import LevelledBlock, VoxelNorm

#: cells a side of what a pass keeps of a tile, where its layers are finest
SIDE = 96
#: numbers of a tile's map, halo aside, up to which its memory is taken again from what was left of the last one: a larger map has
#: 32 MB and more with its halo, which the system gives anew each time, page by page, and convolutions of 16 channels took 1.7 times as long
KEPT = 2**22


class Near(NamedTuple):
    """A layer whose cell sees this many ``cells`` to either side."""

    cells: int


class Coarser(NamedTuple):
    """A layer that makes one cell of ``by`` cells a side."""

    by: int


class Finer(NamedTuple):
    """A layer that makes ``by`` cells a side of one."""

    by: int


Layer = Near | Coarser | Finer
Chain = tuple[Layer, ...]
#: a range of cells, the last not included
Range = tuple[int, int]
Box = tuple[slice, ...]


class Tile(NamedTuple):
    """``seen`` of the input, ``kept`` of the output, and where that lies in what the layers make of what is seen."""

    seen: Box
    kept: Box
    inside: Box


def chain_of(module: nn.Module) -> Chain:
    """The layers of a module as tiles see them, in the order in which they run. Norms over a whole map see nothing here: their
    statistics are known before a pass (:class:`GroupScale`). Raises TypeError for a layer whose reach is not known."""
    if isinstance(module, nn.Sequential):
        return tuple(itertools.chain.from_iterable(chain_of(part) for part in module))
    if isinstance(module, ResidualBlock | LevelledBlock):
        return (*chain_of(module.conv1), *chain_of(module.conv2))
    if isinstance(module, nn.Conv3d | nn.ConvTranspose3d):
        return _convolution(module)
    if isinstance(module, Down):
        return (Coarser(2), *chain_of(module.map))
    if isinstance(module, Up):
        return (*chain_of(module.map), Finer(2))
    if isinstance(module, nn.SiLU | nn.GroupNorm | VoxelNorm | nn.Identity):
        return ()
    raise TypeError(f"how far {type(module).__name__} sees is not known; say it in chain_of")


def _convolution(layer: nn.Conv3d | nn.ConvTranspose3d) -> Chain:
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    same = isinstance(layer, nn.Conv3d) and stride == 1 and kernel % 2 == 1 and layer.padding[0] == kernel // 2
    if same:
        return (Near(kernel // 2),) if kernel > 1 else ()
    if kernel == stride and not any(layer.padding):
        return (Coarser(stride),) if isinstance(layer, nn.Conv3d) else (Finer(stride),)
    raise TypeError(f"a convolution of kernel {kernel}, stride {stride} and padding {layer.padding} has no tiles")


def ahead(chain: Chain, cells: Range) -> Range:
    """The cells of the output that lie where ``cells`` of the input do.

    >>> ahead((Coarser(2), Near(1), Coarser(2)), (8, 24))
    (2, 6)
    """
    low, high = cells
    for layer in chain:
        if isinstance(layer, Coarser):
            low, high = low // layer.by, high // layer.by
        elif isinstance(layer, Finer):
            low, high = low * layer.by, high * layer.by
    return low, high


def needed(chain: Chain, cells: Range) -> Range:
    """The cells of the input that ``cells`` of the output depend on, borders aside.

    >>> needed((Coarser(2), Near(1), Coarser(2)), (2, 6))
    (6, 26)
    """
    low, high = cells
    for layer in reversed(chain):
        if isinstance(layer, Near):
            low, high = low - layer.cells, high + layer.cells
        elif isinstance(layer, Coarser):
            low, high = low * layer.by, high * layer.by
        else:
            low, high = low // layer.by, -(-high // layer.by)
    return low, high


def grain(chain: Chain) -> int:
    """What the borders of tiles of the input are multiples of, so that no layer has half a cell."""
    return math.ceil(max(_sizes(chain)))


def _sizes(chain: Chain) -> list[Fraction]:
    """The size of a cell between the layers, of the input's."""
    sizes = [Fraction(1)]
    for layer in chain:
        if isinstance(layer, Coarser):
            sizes.append(sizes[-1] * layer.by)
        elif isinstance(layer, Finer):
            sizes.append(sizes[-1] / layer.by)
    return sizes


def tiles(grid: Sequence[int], chain: Chain, side: int = SIDE) -> Iterator[Tile]:
    """The tiles of a pass of ``chain`` over a map of ``grid`` cells; what they keep covers the output once."""
    step = grain(chain) * max(1, round(side * min(_sizes(chain)) / grain(chain)))
    axes = [[_along(n, start, min(start + step, n), chain) for start in range(0, n, step)] for n in grid]
    for parts in itertools.product(*axes):
        seen, kept, inside = zip(*parts, strict=True)
        yield Tile(seen, kept, inside)


def _along(n: int, start: int, stop: int, chain: Chain) -> tuple[slice, slice, slice]:
    """One axis of a tile: what it sees, what is kept and where that lies in what is made."""
    kept = slice(*ahead(chain, (start, stop)))
    seen, inside = around(kept, n, chain)
    return seen, kept, inside


def around(kept: slice, n: int, chain: Chain) -> tuple[slice, slice]:
    """The part of an axis of ``n`` cells that the ``kept`` cells of the output depend on, and where these lie in what is made of it."""
    step = grain(chain)
    low, high = needed(chain, (kept.start, kept.stop))
    low, high = max(0, low // step * step), min(n, -(-high // step) * step)
    first = ahead(chain, (low, high))[0]
    return slice(low, high), slice(kept.start - first, kept.stop - first)


def box_about(there: Bool[Tensor, "x y z"], margin: int) -> tuple[slice, slice, slice]:
    """The box of what is ``there`` and of ``margin`` voxels about it, within the volume; of nothing that of its first voxel."""
    sides = []
    for axis, n in enumerate(there.shape):
        along = there.any(dim=tuple(a for a in range(3) if a != axis)).nonzero()[:, 0].tolist() or [0]
        sides.append(slice(max(0, along[0] - margin), min(n, along[-1] + 1 + margin)))
    x, y, z = sides
    return x, y, z


def scaled(box: Box, by: int) -> Box:
    """The same box in cells that are ``by`` times as fine."""
    return tuple(slice(part.start * by, part.stop * by) for part in box)


def in_tiles(
    work: Callable[[Box], Tensor],
    chain: Chain,
    grid: Sequence[int],
    out: Float[Tensor, "b c x y z"] | Tensor,
    *,
    side: int = SIDE,
    add: bool = False,
) -> Tensor:
    """Fill ``out`` (..., x, y, z), or ``add`` to it, by ``work`` on what each tile sees of a map of ``grid`` cells, whose
    layers are ``chain``."""
    for tile in tiles(grid, chain, side):
        made = work(tile.seen)[(..., *tile.inside)]
        part = out[(..., *tile.kept)]
        part.add_(made) if add else part.copy_(made)
    return out


def enlarged(coarse: Float[Tensor, "b c x y z"], box: Box, by: int) -> Float[Tensor, "b c i j k"]:
    """What trilinear interpolation to cells ``by`` times as fine has in a ``box`` of them: of the cells that lie in it and one
    more on each side."""
    cells = [
        slice(max(part.start // by - 1, 0), min(-(-part.stop // by) + 1, n))
        for part, n in zip(box, coarse.shape[2:], strict=True)
    ]
    whole = nn.functional.interpolate(coarse[(..., *cells)], scale_factor=by, mode="trilinear")
    within = [
        slice(part.start - cell.start * by, part.stop - cell.start * by) for part, cell in zip(box, cells, strict=True)
    ]
    return whole[(..., *within)]


class GroupScale(NamedTuple):
    """A group norm whose statistics are those of the whole map: a factor and an offset a channel, (b, c, 1, 1, 1)."""

    factor: Tensor
    offset: Tensor

    @classmethod
    def of(cls, norm: nn.GroupNorm, whole: Float[Tensor, "b c x y z"]) -> GroupScale:
        """Mean and variance of each group by sums in double precision, slice by slice."""
        b, c = whole.shape[:2]
        total = torch.zeros(2, b, norm.num_groups, dtype=torch.float64, device=whole.device)
        # about a value of the group, so that no digits are lost in the difference of the sums
        about = whole[:, :, 0, 0, 0].double().reshape(b, norm.num_groups, -1)[..., :1]
        for part in whole.split(8, 2):
            values = part.reshape(b, norm.num_groups, -1).double() - about
            total += torch.stack([values.sum(-1), values.square_().sum(-1)])
        count = whole[0].numel() // norm.num_groups
        mean, square = total / count
        scale = (square - mean**2 + norm.eps).rsqrt()
        mean, scale = ((v[..., None].expand(-1, -1, c // norm.num_groups)) for v in (mean + about[..., 0], scale))
        factor = norm.weight.double() * scale.reshape(b, c)
        offset = norm.bias.double() - mean.reshape(b, c) * factor
        return cls(*(v.to(whole.dtype)[..., None, None, None] for v in (factor, offset)))

    def __call__(self, part: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b c x y z"]:
        return torch.addcmul(self.offset, part, self.factor)


def passed(module: nn.Module, x: Float[Tensor, "b c x y z"], side: int = SIDE) -> Float[Tensor, "b d x2 y2 z2"]:
    """The module's output for a whole map ``x``, which may be overwritten, computed in tiles: residual blocks one convolution
    at a time, so that their norms see the whole map, other layers as many together as there are."""
    if isinstance(module, ResidualBlock):
        return _residual(module, x, side)
    if not isinstance(module, nn.Sequential):
        return _together(module, x, side)
    waiting: list[nn.Module] = []
    for part in [*module, None]:
        if part is not None and not isinstance(part, ResidualBlock | nn.Sequential):
            waiting.append(part)
            continue
        if waiting:
            x = _together(nn.Sequential(*waiting), x, side)
            waiting = []
        if part is not None:
            x = passed(part, x, side)
    return x


def _together(module: nn.Module, x: Float[Tensor, "b c x y z"], side: int) -> Float[Tensor, "b d x2 y2 z2"]:
    chain = chain_of(module)
    return in_tiles(lambda box: module(x[(..., *box)]), chain, x.shape[2:], _room(module, chain, x), side=side)


def _room(module: nn.Module, chain: Chain, x: Float[Tensor, "b c x y z"]) -> Float[Tensor, "b d x2 y2 z2"]:
    """Memory for the output, whose channels are those of a smallest tile's."""
    sides = [min(n, 2 * grain(chain)) for n in x.shape[2:]]
    channels = module(x[:1, :, : sides[0], : sides[1], : sides[2]]).shape[1]
    return x.new_empty(len(x), channels, *(ahead(chain, (0, n))[1] for n in x.shape[2:]))


def _residual(block: ResidualBlock, x: Float[Tensor, "b c x y z"], side: int) -> Float[Tensor, "b c x y z"]:
    inner = _convolved(block.norm1, block.conv1, x, torch.empty_like(x), side)
    # each voxel of x is read for the last time here
    return _convolved(block.norm2, block.conv2, inner, x, side, add=True)


def _convolved(
    norm: nn.GroupNorm, conv: nn.Module, x: Float[Tensor, "b c x y z"], out: Tensor, side: int, *, add: bool = False
) -> Float[Tensor, "b c x y z"]:
    scale = GroupScale.of(norm, x)
    return in_tiles(
        lambda box: conv(nn.functional.silu(scale(x[(..., *box)]), inplace=True)),
        chain_of(conv),
        x.shape[2:],
        out,
        side=min(side, round((KEPT / x.shape[1]) ** (1 / 3))),
        add=add,
    )
