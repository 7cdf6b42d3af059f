"""The joint model: autoencoder, fusion and velocity network over one latent for a scan and its table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from engine.attributes import AttributeSchema
from engine.flow import Joint, Levels, independent_velocity
from engine.nn.autoencoder import Autoencoder, AutoencoderConfig
from engine.nn.embedding import Fusion
from engine.nn.transformer import JointTransformer, TransformerConfig


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the three networks."""

    image: AutoencoderConfig
    flow: TransformerConfig


class JointModel(nn.Module):
    """p(scan, table): encode a person to the joint latent, the velocity field on it, decode it to a volume.

    The diffused image tokens are standardised: centred by place, rotated to the latent's principal axes, and divided by
    SD ** ``whitening`` so that large-scale channels keep more variance and are learned first.
    """

    centre: Tensor
    rotation: Tensor
    scale: Tensor
    variance: Tensor
    mask: Tensor

    def __init__(self, config: ModelConfig, schema: AttributeSchema) -> None:
        super().__init__()
        self.config, self.schema = config, schema
        latent, tokens = config.image.latent, config.image.tokens
        mask = torch.from_numpy(schema.mask)
        columns, code = mask.shape
        self.autoencoder = Autoencoder(config.image)
        self.fusion = Fusion(latent, tokens, columns, code, 64) if config.flow.fusion else None
        self.velocity_net = JointTransformer(
            config.flow, latent=latent, token_grid=config.image.token_grid, columns=columns, code=code
        )
        self.register_buffer("centre", torch.zeros(tokens, latent))
        self.register_buffer("rotation", torch.eye(latent))
        self.register_buffer("scale", torch.ones(latent))
        self.register_buffer("variance", torch.ones(tokens, latent))
        self.register_buffer("mask", mask, persistent=False)

    def fuse(
        self, bare: Float[Tensor, "b n c"], table: Float[Tensor, "b k d"], given: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b n c"]:
        """Bare latents with the given columns fused in; what is not given has no influence (see :class:`Fusion`)."""
        return bare if self.fusion is None else self.fusion(bare, table, given)

    def standardise(self, tokens: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """Autoencoder latents to the diffused state."""
        return (tokens - self.centre) @ self.rotation * self.scale

    def restore(self, state: Float[Tensor, "b n c"]) -> Float[Tensor, "b n c"]:
        """The diffused state to autoencoder latents; inverse of :meth:`standardise`."""
        return (state / self.scale) @ self.rotation.T + self.centre

    @torch.no_grad()
    def fit_standardisation(self, tokens: Float[Tensor, "m n c"], whitening: float) -> None:
        """Set the standardisation to the moments of training latents; mean variance of the state becomes 1."""
        self.centre.copy_(tokens.mean(0))
        centred = tokens - self.centre
        flat = centred.flatten(0, 1)
        values, vectors = torch.linalg.eigh(flat.T @ flat / len(flat))
        values, vectors = values.flip(0).clamp(min=1e-8), vectors.flip(1)
        scale = values.sqrt() ** -whitening
        scale = scale / (values * scale**2).mean().sqrt()
        self.rotation.copy_(vectors)
        self.scale.copy_(scale)
        by_place = (centred @ vectors * scale).square().mean(0)
        by_channel = by_place.mean(0, keepdim=True)
        # few persons: a token's own variance is shrunk towards its channel's
        self.variance.copy_(0.8 * by_place + 0.2 * by_channel + 1e-4)

    def velocity(self, state: Joint, levels: Levels) -> Joint:
        """E[e - z | z_t]: the closed-form independent part plus what the network has learned."""
        t_image, t_table = levels.image[:, None, None], levels.table[..., None]
        image, table = self.velocity_net(state.image, state.table * self.mask, levels.image, levels.table)
        return Joint(
            image + independent_velocity(state.image, t_image, self.variance),
            (table + independent_velocity(state.table, t_table, 1.0)) * self.mask,
        )

    def encode(
        self, volume: Float[Tensor, "b channel x y z"], table: Float[Tensor, "b k d"], given: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b n c"]:
        """Volumes (0..1) to the diffused image state, given columns fused in."""
        return self.standardise(self.fuse(self.autoencoder.encode(volume), table, given))

    def decode(self, image: Float[Tensor, "b n c"]) -> Float[Tensor, "b channel x y z"]:
        """The diffused image state to volumes in 0..1."""
        return self.autoencoder.decode(self.restore(image)).clamp(0, 1)
