"""Networks on volumes of any size: in one piece as they ever were, bit for bit, or in tiles where volumes are large.

Volumes, labels and scores are on the model's grid, tokens and fields on that of the autoencoders
(:mod:`engine.model.nn.cascade`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.model.nn.atlas_autoencoder import AtlasAutoencoder, laid
from engine.model.nn.autoencoder import Autoencoder
from engine.model.nn.cascade import Cascade, Scores
from engine.model.nn.detail import Detail
from engine.model.nn.mask_autoencoder import MaskAutoencoder
from engine.model.nn.mask_detail import MaskDetail, drawn_within
from engine.model.nn.tiles import atlas as tiled_atlas
from engine.model.nn.tiles import mask as tiled_mask
from engine.model.nn.tiles import scan as tiled

#: voxels above which a volume is computed in tiles
LARGE = 2**22


def pays(grid: Sequence[int]) -> bool:
    """Whether volumes of this grid are computed in tiles, which a gradient does not go through."""
    return math.prod(grid) > LARGE and not torch.is_grad_enabled()


def encoded(
    coder: Autoencoder, volume: Float[Tensor, "b c x y z"], cascade: Cascade | None = None
) -> Float[Tensor, "b n latent"]:
    """Token means of volumes; without a ``cascade`` they are on the autoencoder's grid."""
    volume = cascade.coarser(volume) if cascade else volume
    return tiled.encode(coder, volume) if pays(coder.config.coded) else coder.encode(volume)


def decoded(coder: Autoencoder, tokens: Float[Tensor, "b n latent"]) -> Float[Tensor, "b c x y z"]:
    """Volumes of tokens, clipped to 0..1."""
    made = tiled.decode(coder, tokens) if pays(coder.config.coded) else coder.decode(tokens)
    return Cascade.of(coder.config).finer(made.clamp(0, 1))


def encoded_mask(
    coder: MaskAutoencoder, labels: UInt8[Tensor, "b x y z"], cascade: Cascade | None = None
) -> Float[Tensor, "b n m"]:
    """Token means of segmentations; without a ``cascade`` they are on the autoencoder's grid."""
    labels = cascade.coarser_labels(labels) if cascade else labels
    return tiled.encode_mask(coder, labels) if pays(coder.grid) else coder.encode(labels)


def field(coder: AtlasAutoencoder, tokens: Float[Tensor, "b n m"]) -> Float[Tensor, "b 3 x2 y2 z2"]:
    """Displacements of tokens, in voxels."""
    return tiled_atlas.field(coder, tokens) if pays(coder.grid) else coder.field(tokens)


def decoded_mask(
    coder: MaskAutoencoder, tokens: Float[Tensor, "b n m"], cascade: Cascade
) -> tuple[UInt8[Tensor, "b x y z"], Float[Tensor, "b 3 x2 y2 z2"] | None]:
    """Segmentations of tokens, of each voxel the likeliest class, and the field through which an atlas was seen, if one was."""
    if isinstance(coder, AtlasAutoencoder):
        lies = field(coder, tokens)
        return seen(coder, lies, cascade), lies
    if cascade.by == 1 and pays(coder.grid):
        return tiled.MaskScores(coder, tokens).labels(), None
    return cascade.likeliest(coder.decode(tokens)), None


def seen(coder: AtlasAutoencoder, field: Float[Tensor, "b 3 x2 y2 z2"], cascade: Cascade) -> UInt8[Tensor, "b x y z"]:
    """Of each voxel the likeliest class of the atlas seen through the ``field``."""
    if cascade.by == 1 and pays(coder.grid):
        return tiled_atlas.labels(coder, field)
    return cascade.likeliest(coder.seen(field))


def drawn_mask(
    detail: MaskDetail,
    base: Float[Tensor, "b c x y z"],
    coder: MaskAutoencoder,
    tokens: Float[Tensor, "b n m"],
    noise: Float[Tensor, "b d 1 x2 y2 z2"],
    evaluations: int,
    cascade: Cascade,
) -> UInt8[Tensor, "b x y z"]:
    """Segmentations of tokens with their detail (:meth:`MaskDetail.draw`)."""
    if pays(base.shape[2:]):
        told = tiled.MaskScores(coder, tokens) if cascade.by == 1 else Scores(cascade, coder.decode(tokens))
        return tiled_mask.draw(detail, base, told, noise, evaluations)[:, 0]
    scores = cascade.finer(coder.decode(tokens))[:, :, None]
    each = zip(base.split(1), scores.split(1), noise.split(1), strict=True)
    return torch.cat([drawn_within(detail, b, s, n, evaluations) for b, s, n in each])[:, 0]


def on_atlas(
    coder: AtlasAutoencoder, field: Float[Tensor, "b 3 x2 y2 z2"], base: Float[Tensor, "b c x y z"], cascade: Cascade
) -> tuple[Float[Tensor, "b c x y z"], Float[Tensor, "b c x y z"]]:
    """Decoded scans with the atlas laid on them through the ``field``, and its mean scan as it lies in them."""
    template = cascade.finer(tiled_atlas.mean_scan(coder, field) if pays(coder.grid) else coder.mean_scan(field))
    if pays(base.shape[2:]):
        return tiled_atlas.lay(base, template, by=cascade.by), template
    return laid(base, template, cascade.by), template


def drawn(
    detail: Detail,
    base: Float[Tensor, "b c x y z"],
    labels: UInt8[Tensor, "b *m x y z"],
    noise: Float[Tensor, "b c x y z"],
    evaluations: int,
    template: Float[Tensor, "b c x y z"] | None,
) -> Float[Tensor, "b c x y z"]:
    """Scans with their detail (:meth:`Detail.draw`)."""
    if pays(base.shape[2:]) and detail.maps == 1:
        return tiled.draw(detail, base, labels, noise, evaluations, template)
    return detail.draw(base, labels, noise, evaluations, template)
