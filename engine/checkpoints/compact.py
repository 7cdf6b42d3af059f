"""Large weights as integers of 8 bits with a scale a channel, symmetric about 0 (Jacob et al., arXiv 1712.05877, section 2).

Half the size of bfloat16, for what errors of a hundredth of a weight's SD do not matter to: the autoencoders, the local networks, the
linear part's slopes, and most of the networks of flow and rows (a head's voxels move by .0008 of 0 to 1, two heads differ by .11).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

#: whose tensors are compact, from how many numbers on
COMPACT = (
    *("autoencoder.", "mask_autoencoder.", "refiner.", "detail.net.", "tissues.net.", "mask_detail.net."),
    *("velocity_net.blocks.", "rows.velocity_net.blocks.", "image_loadings", "mask_loadings", "correction"),
    *("velocity_net.last.", "velocity_net.noise."),
)
LEAST = 2**14
#: ends the name of a scale
SCALE = ":scale"
#: the greatest integer
TOP = 127


def is_compact(name: str, value: Tensor) -> bool:
    return value.is_floating_point() and value.ndim > 1 and value.numel() >= LEAST and name.startswith(COMPACT)


def compacted(name: str, value: Tensor) -> dict[str, Tensor]:
    """A tensor as integers and, by :data:`SCALE`, what they are to be multiplied by: one number for each place of the first
    axis, of slopes the last, which counts factors. No value is off by more than half its scale, which is 1/127 of its channel's
    greatest."""
    axis = value.ndim - 1 if name.endswith("loadings") else 0
    others = [d for d in range(value.ndim) if d != axis]
    scale = (value.float().abs().amax(others, keepdim=True) / TOP).clamp(min=torch.finfo(torch.float32).tiny)
    return {name: (value.float() / scale).round().to(torch.int8), name + SCALE: scale}


def expanded(stored: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Tensors of single precision as they were before :func:`compacted`, to its rounding."""
    return {
        name: value.float() * stored[name + SCALE] if name + SCALE in stored else value.float()
        for name, value in stored.items()
        if not name.endswith(SCALE)
    }
