"""The joint model: autoencoder, fusion and velocity network over one latent for a scan and its table."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from engine.attributes import AttributeSchema
from engine.flow import FactorPrior, Joint, Levels, factor_velocity
from engine.nn.autoencoder import Autoencoder, AutoencoderConfig
from engine.nn.embedding import Fusion
from engine.nn.transformer import JointTransformer, TransformerConfig
from engine.sample import LinearFlow


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the three networks, the ``rank`` of the linear Gaussian part (:class:`engine.flow.FactorPrior`), and the
    ``shift`` of the image's noise level against the columns' (:func:`engine.flow.shifted`)."""

    image: AutoencoderConfig
    flow: TransformerConfig
    rank: int = 32
    shift: float = 3.0


class JointModel(nn.Module):
    """p(scan, table): encode a person to the joint latent, the velocity field on it, decode it to a volume.

    The diffused image tokens are standardised: centred by place, rotated to the latent's principal axes, and divided by
    SD ** ``whitening`` so that large-scale channels keep more variance and are learned first.
    """

    centre: Tensor
    rotation: Tensor
    scale: Tensor
    image_loadings: Tensor
    table_loadings: Tensor
    image_variance: Tensor
    table_variance: Tensor
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
        self.register_buffer("image_loadings", torch.zeros(tokens, latent, config.rank))
        self.register_buffer("table_loadings", torch.zeros(columns, code, config.rank))
        self.register_buffer("image_variance", torch.ones(tokens, latent))
        self.register_buffer("table_variance", torch.ones(columns, code))
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

    @torch.no_grad()
    def fit_prior(
        self, image: Float[Tensor, "p v n c"], table: Float[Tensor, "p k d"], known: Bool[Tensor, "p k"]
    ) -> None:
        """Fit the linear Gaussian part to p persons: ``image`` their diffused states in v versions, and their columns.

        Loadings of the image are its principal components over persons and versions (Tipping and Bishop 1999), as many as
        the model's rank but at most a third of the persons; a column's are its correlations with them, each shrunk by the
        positive-part James-Stein rule, since few persons make large correlations by chance.
        """
        persons, versions = image.shape[:2]
        rank = min(self.config.rank, persons // 3)
        flat = image.flatten(0, 1).flatten(1)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            left, values, right = torch.svd_lowrank(flat, min(rank + 8, *flat.shape), niter=8)
        energy = values[:rank].square() / len(flat)
        floor = (flat.square().mean(0).sum() - energy.sum()) / flat.shape[1]
        loadings = right[:, :rank] * (energy - floor).clamp(min=0).sqrt()
        residual = (flat - left[:, :rank] * values[:rank] @ right[:, :rank].T).square().mean(0).reshape(image.shape[2:])
        self.image_loadings.zero_()[..., :rank] = loadings.reshape(*image.shape[2:], rank)
        # few persons: a token's own variance is shrunk towards its channel's
        self.image_variance.copy_(0.8 * residual + 0.2 * residual.mean(0, keepdim=True) + 1e-4)
        scores = (left[:, :rank] * len(flat) ** 0.5).reshape(persons, versions, rank).mean(1)
        count = known.sum(0).clamp(min=1)[:, None, None]
        slopes = torch.einsum("pkd,pr->kdr", table * known[..., None], scores) / count
        slopes = slopes * (1 - 1 / (count * slopes.square() + 1e-9)).clamp(min=0)
        share = slopes.square().sum(-1, keepdim=True)
        slopes = slopes * (0.8 / share.clamp(min=0.8)).sqrt()
        self.table_loadings.zero_()[..., :rank] = slopes
        self.table_variance.copy_(1 - slopes.square().sum(-1))

    def velocity(self, state: Joint, levels: Levels) -> Joint:
        """E[e - z | z_t]: the closed-form linear Gaussian part plus what the network has learned."""
        prior = FactorPrior(self.image_loadings, self.table_loadings, self.image_variance, self.table_variance)
        with torch.autocast(state.image.device.type, enabled=False):
            known, mean = factor_velocity(state, levels, prior)
        seen = torch.cat([state.image, mean.image], -1)
        image, table = self.velocity_net(seen, state.table * self.mask, levels.image, levels.table)
        return Joint(image + known.image, (table + known.table) * self.mask)

    @property
    def linear(self) -> LinearFlow:
        """What the sampler solves exactly: the prior's directions and variances, taken as independent."""
        loadings = self.image_loadings.flatten(0, 1)
        length = loadings.norm(dim=0)
        directions = loadings / length.clamp(min=1e-9)
        spread = length**2 + self.image_variance.flatten() @ directions**2
        return LinearFlow(directions=directions, spread=spread.clamp(min=1e-6), image=self.image_variance)

    def encode(
        self, volume: Float[Tensor, "b channel x y z"], table: Float[Tensor, "b k d"], given: Bool[Tensor, "b k"]
    ) -> Float[Tensor, "b n c"]:
        """Volumes (0..1) to the diffused image state, given columns fused in."""
        return self.standardise(self.fuse(self.autoencoder.encode(volume), table, given))

    def decode(self, image: Float[Tensor, "b n c"]) -> Float[Tensor, "b channel x y z"]:
        """The diffused image state to volumes in 0..1."""
        return self.autoencoder.decode(self.restore(image)).clamp(0, 1)
