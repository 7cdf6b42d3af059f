"""The axes of latents: how tokens are standardised, and the directions of the linear Gaussian part."""

from __future__ import annotations

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor


class Axes(NamedTuple):
    """The standardisation of tokens: ``centre`` (n, c) by place, ``rotation`` (c, c) to the principal axes, ``scale`` (c,)."""

    centre: Tensor
    rotation: Tensor
    scale: Tensor

    def standardise(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        return (tokens - self.centre) @ self.rotation * self.scale

    def restore(self, state: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        return (state / self.scale) @ self.rotation.T + self.centre

    def fit(self, tokens: Float[Tensor, "m n c"], whitening: float) -> None:
        """Set it, in place, to the moments of ``tokens``; mean variance of the standardised tokens becomes 1."""
        self.centre.copy_(tokens.mean(0))
        centred = tokens - self.centre
        flat = centred.flatten(0, 1)
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        values, vectors = values.flip(0).clamp(min=1e-8), vectors.flip(1)
        scale = values.sqrt() ** -whitening
        scale = scale / (values * scale**2).mean().sqrt()
        self.rotation.copy_(vectors)
        self.scale.copy_(scale)


def principal(loadings: Float[Tensor, "n c r"]) -> Float[Tensor, "n c r"]:
    """The same covariance by orthogonal loadings, as the image's are of themselves and slopes on its factors are not."""
    flat = loadings.flatten(0, 1).double()
    turned = flat @ torch.linalg.eigh(flat.T @ flat).eigenvectors
    length = turned.norm(dim=0)
    # what is next to nothing has no direction of its own
    turned = turned * (length > 1e-5 * length.max())
    return turned.to(loadings.dtype).reshape(loadings.shape)


def directions_of(
    loadings: Float[Tensor, "n c r"], variance: Float[Tensor, "n c"]
) -> tuple[Float[Tensor, "nc r"], Float[Tensor, " r"]]:
    """The unit directions of the factors in the tokens, and the variance along each."""
    flat = loadings.flatten(0, 1)
    length = flat.norm(dim=0)
    directions = flat / length.clamp(min=1e-9)
    spread = length**2 + variance.flatten() @ directions**2
    return directions, spread.clamp(min=1e-6)
