"""An atlas seen through a field, in tiles: of its probabilities, a volume a class, only what a tile's field leads to is made.

Law: equal to :class:`engine.model.nn.atlas_autoencoder.AtlasAutoencoder` on the whole, whatever the tiles.
"""

from __future__ import annotations

import math

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.config import FACTOR
from engine.model.nn.atlas_autoencoder import BLUR, LEAST, SHADING, AtlasAutoencoder, as_probabilities, laid
from engine.model.nn.blur import gaussian
from engine.model.nn.mask_autoencoder import COARSE
from engine.model.nn.tiles.boxes import SIDE, Box, Near, chain_of, enlarged, in_tiles, passed, scaled
from engine.model.nn.warp import STRIDE, sampled


def field(coder: AtlasAutoencoder, tokens: Float[Tensor, "b n m"], side: int = SIDE) -> Float[Tensor, "b 3 x2 y2 z2"]:
    """:meth:`AtlasAutoencoder.field`."""
    grid = tokens.transpose(1, 2).reshape(len(tokens), coder.config.latent, *(n // FACTOR for n in coder.grid))
    *most, last = coder.decoder
    x, coarse = passed(nn.Sequential(*most), coder.head(grid) + coder.place, side), coder.back(grid)
    finer = COARSE // STRIDE

    def work(box: Box) -> Tensor:
        return enlarged(coarse, scaled(box, finer), finer) + coder.tail(last(x[(..., *box)]))

    out = x.new_empty(len(x), 3, *(n // STRIDE for n in coder.grid))
    return in_tiles(work, (*chain_of(last), *chain_of(coder.tail)), x.shape[2:], out, side=side)


def labels(coder: AtlasAutoencoder, moved: Float[Tensor, "b 3 x2 y2 z2"], side: int = SIDE) -> UInt8[Tensor, "b x y z"]:
    """Of each voxel the likeliest class of the atlas seen through the field."""

    def work(box: Box) -> Tensor:
        return torch.stack([_likeliest(coder, person) for person in _places(moved, box)])

    out = torch.empty(len(moved), *coder.grid, dtype=torch.uint8, device=moved.device)
    return in_tiles(work, (), coder.grid, out, side=side)


def mean_scan(
    coder: AtlasAutoencoder, moved: Float[Tensor, "b 3 x2 y2 z2"], side: int = SIDE
) -> Float[Tensor, "b c x y z"]:
    """:meth:`AtlasAutoencoder.mean_scan`."""
    template = coder.template
    out = template.new_empty(len(moved), *template.shape)

    def work(box: Box) -> Tensor:
        return sampled(template.expand(len(moved), *template.shape), _places(moved, box))

    return in_tiles(work, (), coder.grid, out, side=side)


def lay(
    base: Float[Tensor, "b c x y z"], template: Float[Tensor, "b c x y z"], side: int = SIDE, *, by: int = 1
) -> Float[Tensor, "b c x y z"]:
    """:func:`engine.model.nn.atlas_autoencoder.laid`."""
    chain = (Near(len(gaussian(by * SHADING)) // 2),)
    return in_tiles(
        lambda box: laid(base[(..., *box)], template[(..., *box)], by),
        chain,
        base.shape[2:],
        torch.empty_like(base),
        side=side,
    )


def _places(moved: Float[Tensor, "b 3 x2 y2 z2"], box: Box) -> Float[Tensor, "b 3 i j k"]:
    """Where the voxels of a box lie in the atlas, in its voxels."""
    axes = [torch.arange(part.start, part.stop, device=moved.device, dtype=torch.float32) for part in box]
    return torch.stack(torch.meshgrid(*axes, indexing="ij")) + enlarged(moved.float(), box, STRIDE)


def _likeliest(coder: AtlasAutoencoder, places: Float[Tensor, "3 i j k"]) -> UInt8[Tensor, "i j k"]:
    """The class at each place: of the atlas what the places span is blurred, and what its blur sees beside that."""
    margin = len(gaussian(BLUR)) // 2 + 1
    crop = []
    for along, n in zip(places, coder.grid, strict=True):
        low, high = (float(v.clamp(0, n - 1)) for v in along.aminmax())
        crop.append(slice(max(0, math.floor(low) - margin), min(n, math.ceil(high) + margin + 1)))
    shares = as_probabilities(coder.anatomy[tuple(crop)], len(coder.config.classes))
    first = torch.tensor([part.start for part in crop], device=places.device).view(3, 1, 1, 1)
    seen = sampled(shares[None], (places - first)[None])[0]
    return seen.clamp(min=LEAST).argmax(0).to(torch.uint8)
