"""A mask autoencoder that tells a person's anatomy by where it lies in an atlas: a segmentation to tokens, and tokens to a
displacement field through which the atlas is seen.

Deformable autoencoders (Shu et al., arXiv 1806.06503) and learned templates (Dalca et al., arXiv 1908.02738): where the tokens
cannot tell how a gyrus folds, the field says what is likely and the atlas keeps its folds, while class probabilities of a
decoder of its own would lose every structure thinner than they are sure of.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn

from engine.model.config import FACTOR, MaskConfig
from engine.model.nn.blur import blurred, gaussian
from engine.model.nn.mask_autoencoder import COARSE, MaskAutoencoder
from engine.model.nn.warp import STRIDE, centres, sampled, warped

#: SD of the blur that turns the atlas' classes into probabilities, voxels, and the least of them
BLUR, LEAST = 0.7, 1e-3
#: SD of the scale on which a decoded scan tells how bright the atlas is in a person, voxels
SHADING = 2.0
#: voxels a side of what shares a mean and SD of the registration's residual; SD of the Gaussian that makes a draw of it as coherent
#: as residuals are (correlation .86 a cell away, .58 two), cells of a field; its stream of noise beside a seed's others
SHARED, COHERENCE, STREAM = 4, 1.35, 2**61


class AtlasAutoencoder(MaskAutoencoder):
    """Segmentations to token means, and tokens to a field of displacements from a person's voxels to the atlas': its classes
    (``anatomy``) and mean scan (``template``) are those of many registered persons (:mod:`engine.training.stages.atlas`).

    What tokens do not tell of a field is drawn: a Gaussian field whose mean (3) and SD (1) at each place of the atlas,
    in voxels, are the ``residual``'s, that of persons who were registered. Without it all persons would have the atlas' folds.
    """

    anatomy: Tensor
    template: Tensor
    residual: Tensor

    def __init__(self, config: MaskConfig, grid: tuple[int, int, int], channels: int) -> None:
        super().__init__(config, grid)
        sides, w2 = FACTOR // COARSE, config.widths[0]
        self.register_buffer("anatomy", torch.zeros(grid, dtype=torch.uint8))
        self.register_buffer("template", torch.zeros(channels, *grid))
        self.register_buffer("residual", torch.zeros(4, *(n // SHARED for n in grid)))
        #: of which state of ``anatomy``, and its probabilities
        self._blurred: tuple[tuple[int, int], Tensor] | None = None
        self.back = nn.ConvTranspose3d(config.latent, 3, sides, sides, bias=False)
        self.tail = nn.Conv3d(w2, 3, 3, padding=1)
        for parameter in (*self.back.parameters(), *self.tail.parameters()):
            nn.init.zeros_(parameter)

    def field(self, tokens: Float[Tensor, "b n m"]) -> Float[Tensor, "b 3 x2 y2 z2"]:
        """Displacements in voxels, on a grid of half the resolution."""
        sides = [n // FACTOR for n in self.grid]
        grid = tokens.transpose(1, 2).reshape(len(tokens), self.config.latent, *sides)
        coarse = nn.functional.interpolate(self.back(grid), scale_factor=COARSE // STRIDE, mode="trilinear")
        return coarse + self.tail(self.decoder(self.head(grid) + self.place))

    def noise_of(self, seeds: Sequence[int]) -> Float[Tensor, "b 3 x2 y2 z2"]:
        """Coherent noise of variance 1 for :meth:`drawn_field`, a stream of each seed's own."""
        kernel = gaussian(COHERENCE)
        reach = len(kernel) // 2
        # drawn beyond the grid, where a blur would repeat its border
        sides = [n // STRIDE + 2 * reach for n in self.grid]
        white = [torch.randn(3, *sides, generator=torch.Generator().manual_seed(seed + STREAM)) for seed in seeds]
        coherent = torch.stack([blurred(one, COHERENCE) for one in white]) / float(kernel.square().sum() ** 1.5)
        return coherent[..., reach:-reach, reach:-reach, reach:-reach]

    def drawn_field(
        self, field: Float[Tensor, "b 3 x2 y2 z2"], noise: Float[Tensor, "b 3 x2 y2 z2"]
    ) -> Float[Tensor, "b 3 x2 y2 z2"]:
        """The ``field`` of tokens with a draw of the registration's residual, from ``noise`` (:meth:`noise_of`)."""
        places = (centres(field.shape[2:], field.device) + field.float() + 0.5) / SHARED - 0.5
        told = sampled(self.residual.expand(len(field), *self.residual.shape), places)
        return field + told[:, :3] + told[:, 3:] * noise

    def decode(self, tokens: Float[Tensor, "b n m"], box: Sequence[slice] | None = None) -> Float[Tensor, "b k x y z"]:
        """Class scores (log probabilities, but for a constant) of every voxel, or of those in a ``box``."""
        return self.seen(self.field(tokens), box)

    def seen(
        self, field: Float[Tensor, "b 3 x2 y2 z2"], box: Sequence[slice] | None = None
    ) -> Float[Tensor, "b k x y z"]:
        """Class scores of the atlas seen through the ``field``."""
        return warped(self.probabilities(), field, box).clamp(min=LEAST).log()

    def mean_scan(self, field: Float[Tensor, "b 3 x2 y2 z2"]) -> Float[Tensor, "b c x y z"]:
        """The atlas' mean scan seen through the ``field``, 0 to 1."""
        return warped(self.template, field)

    def probabilities(self) -> Float[Tensor, "k x y z"]:
        """The atlas' classes, blurred by :data:`BLUR`."""
        version = (self.anatomy.data_ptr(), self.anatomy._version)
        if self._blurred is None or self._blurred[0] != version:
            # kept for whoever asks next, maybe to learn by it
            with torch.inference_mode(False), torch.no_grad():
                self._blurred = version, as_probabilities(self.anatomy, len(self.config.classes))
        return self._blurred[1]


def as_probabilities(labels: UInt8[Tensor, "x y z"], classes: int) -> Float[Tensor, "k x y z"]:
    """Classes of voxels as probabilities: each class under a Gaussian of SD :data:`BLUR` voxels."""
    return blurred(torch.stack([labels == c for c in range(classes)]).float(), BLUR)


def laid(
    base: Float[Tensor, "b c x y z"], template: Float[Tensor, "b c x y z"], by: int = 1
) -> Float[Tensor, "b c x y z"]:
    """The atlas' mean scan in a person, made as bright as the decoded ``base`` is on the scale of :data:`SHADING` of the atlas' voxels,
    which are ``by`` times as large: what the tokens tell is coarse, what is finer is the atlas'. A deformable template and its
    intensities, (T + dI) o phi."""
    return torch.stack([t + blurred(d - t, by * SHADING) for d, t in zip(base, template, strict=True)]).clamp(0, 1)


def mask_autoencoder(config: MaskConfig, grid: tuple[int, int, int], channels: int) -> MaskAutoencoder:
    """The mask autoencoder of a configuration, decoded through an atlas of scans of so many ``channels`` or by itself."""
    return AtlasAutoencoder(config, grid, channels) if config.atlas else MaskAutoencoder(config, grid)
