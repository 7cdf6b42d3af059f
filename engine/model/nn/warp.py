"""Volumes seen through a displacement field that is told on a grid of half the resolution."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

#: voxels a side of what shares one displacement
STRIDE = 2


def voxels(grid: Sequence[int], device: torch.device) -> Float[Tensor, "3 x y z"]:
    """Each voxel's place, in voxels."""
    axes = [torch.arange(n, device=device, dtype=torch.float32) for n in grid]
    return torch.stack(torch.meshgrid(*axes, indexing="ij"))


def centres(sides: Sequence[int], device: torch.device) -> Float[Tensor, "3 x2 y2 z2"]:
    """The place, in voxels, of the centre of each cell of a field of these ``sides``."""
    return STRIDE * (voxels(sides, device) + 0.5) - 0.5


def displacement(field: Float[Tensor, "b 3 x2 y2 z2"]) -> Float[Tensor, "b 3 x y z"]:
    """The field at every voxel, trilinear between the centres of its cells; in voxels, as the field itself."""
    return nn.functional.interpolate(field, scale_factor=STRIDE, mode="trilinear")


def sampled(image: Float[Tensor, "b c x y z"], places: Float[Tensor, "b 3 i j k"]) -> Float[Tensor, "b c i j k"]:
    """The ``image`` at ``places`` in its voxels, trilinear; beyond its border it goes on as there."""
    size = torch.tensor(image.shape[2:], device=places.device).view(1, 3, 1, 1, 1)
    # grid_sample counts from -1 to 1 between outer borders, and names the last axis first
    unit = (places + 0.5) / size * 2 - 1
    unit = unit.flip(1).movedim(1, -1).to(image.dtype)
    return nn.functional.grid_sample(image, unit, padding_mode="border", align_corners=False)


def warped(
    image: Float[Tensor, "c x y z"], field: Float[Tensor, "b 3 x2 y2 z2"], box: Sequence[slice] | None = None
) -> Float[Tensor, "b c i j k"]:
    """The ``image`` at each voxel's place moved by the field, I(x + u(x)): whole, or the voxels of a ``box``."""
    places = voxels(image.shape[1:], image.device) + displacement(field.float())
    if box is not None:
        places = places[(..., *box)]
    return sampled(image.expand(len(field), *image.shape), places)
