"""Sizes of the networks: no network is imported to read them."""

from __future__ import annotations

import math
from dataclasses import dataclass

from engine.vocabulary.refusal import ConfigError
from engine.vocabulary.schema import AttributeSchema

#: voxels along each side of the cube one token stands for
FACTOR = 16
#: and of a cube that local networks fold into a cell (:data:`engine.model.nn.detail.FOLD`)
FINEST = 8
#: voxels of a side after which it is halved no more, by the number of halvings
HALVINGS = (2, 4, 8, FACTOR)


def _whole(value: int, name: str, least: int) -> int:
    """The whole number itself, once it is sure that it is one and not too small."""
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise ConfigError(f"{name} {value!r} is not possible; give a whole number from {least}")
    return value


@dataclass(frozen=True, kw_only=True)
class AutoencoderConfig:
    """``widths`` are the channels at 1/2, 1/4, 1/8 and 1/16 of the resolution; ``patch`` the voxels along x, y and z that one
    token stands for, 2, 4, 8 or :data:`FACTOR`: an axis with fewer is halved as often, and first. ``channels`` counts frames.
    With ``skip`` tokens are decoded by a linear map too, beside the network, which starts as that of their principal
    components. With a ``reduction`` above 1 the autoencoders, and the atlas, stand on a grid so many times as coarse, ``coded``: tokens
    tell the scan at that resolution, and what is finer is the local networks' (a cascade: Ho et al., arXiv 2106.15282). The grid is
    then one of whole cubes of :data:`FINEST` voxels, padded to whole tokens (:mod:`engine.model.nn.cascade`). Raises
    :class:`ConfigError`."""

    grid: tuple[int, int, int]
    channels: int = 1
    latent: int = 64
    widths: tuple[int, int, int, int] = (16, 48, 128, 160)
    blocks: int = 2
    patch: tuple[int, int, int] = (FACTOR, FACTOR, FACTOR)
    skip: bool = False
    reduction: int = 1

    def __post_init__(self) -> None:
        if len(self.patch) != 3 or any(n not in HALVINGS for n in self.patch):
            raise ConfigError(f"patch {self.patch} is not three of {', '.join(map(str, HALVINGS))} voxels; change it")
        by = _whole(self.reduction, "reduction", 1)
        sides = self.patch if by == 1 else (math.lcm(FINEST, 2 * by),) * 3
        if len(self.grid) != 3 or any(_whole(n, "grid", 0) % side for n, side in zip(self.grid, sides, strict=False)):
            side = sides[0] if len(set(sides)) == 1 else sides
            raise ConfigError(
                f"grid {self.grid} is not a multiple of {side} along each of three axes; crop or pad the recipe's grid"
            )
        if len(self.widths) != 4:
            raise ConfigError(f"widths {self.widths} are not four; give one for each halving of the resolution")
        for width in self.widths:
            _whole(width, "widths", 1)
        _whole(self.channels, "channels", 0)
        _whole(self.latent, "latent", 1)
        _whole(self.blocks, "blocks", 1)

    @property
    def tokens(self) -> int:
        x, y, z = self.token_grid
        return x * y * z

    @property
    def coded(self) -> tuple[int, int, int]:
        """The grid that the autoencoders see: whole tokens, which reach as far beyond the model's grid at both ends."""
        x, y, z = (-(-n // (self.reduction * side)) * side for n, side in zip(self.grid, self.patch, strict=True))
        return x, y, z

    @property
    def token_grid(self) -> tuple[int, int, int]:
        (x, i), (y, j), (z, k) = zip(self.coded, self.patch, strict=True)
        return x // i, y // j, z // k

    @property
    def strides(self) -> tuple[tuple[int, int, int], ...]:
        """How often each axis is halved from one of the four resolutions to the next, 2 or 1."""
        return tuple(
            (2 if i >= HALVINGS[level] else 1, 2 if j >= HALVINGS[level] else 1, 2 if k >= HALVINGS[level] else 1)
            for level in range(len(HALVINGS))
            for i, j, k in [self.patch]
        )


@dataclass(frozen=True, kw_only=True)
class MaskConfig:
    """The mask autoencoder: the names of its ``classes``, the first the background; for each the ``codes`` that it has in the
    label maps of the cohort (what is in none is the last class); channels ``latent`` of a token, ``widths`` at 1/2, 1/4, 1/8
    and 1/16 of the resolution. Its grid is the image's. With ``atlas`` tokens are decoded to a displacement of an atlas of
    registered persons (:mod:`engine.model.nn.atlas_autoencoder`), else to class scores. Raises :class:`ConfigError`."""

    classes: tuple[str, ...]
    codes: tuple[tuple[int, ...], ...]
    latent: int = 64
    widths: tuple[int, int, int, int] = (32, 64, 96, 112)
    blocks: int = 2
    atlas: bool = False

    def __post_init__(self) -> None:
        if len(self.classes) < 2 or len(set(self.classes)) < len(self.classes) or len(self.classes) > 256:
            raise ConfigError(f"classes {', '.join(self.classes)} are not 2 to 256 different names; name each once")
        if len(self.codes) != len(self.classes):
            raise ConfigError(f"{len(self.codes)} lists of codes do not go with {len(self.classes)} classes")
        every = [code for codes in self.codes for code in codes]
        if twice := [code for code in every if every.count(code) > 1]:
            raise ConfigError(f"code {twice[0]} is of two classes; give it to one")
        if len(self.widths) != 4:
            raise ConfigError(f"widths {self.widths} are not four; give one for each halving of the resolution")
        for width in (*self.widths, self.latent, self.blocks):
            _whole(width, "a size of the mask autoencoder", 1)


@dataclass(frozen=True, kw_only=True)
class DetailConfig:
    """The network of detail: ``widths`` are its channels at 1/2, 1/4 and 1/8 of the resolution, multiples of 8, ``blocks`` how
    many it has at 1/8. In a model without a mask ``classes`` are told apart in every frame of the decoded scan first (none: they
    are not), with the ``codes`` of each in the label maps of the cohort; what is in none is the last. ``mask_steps``
    evaluations of a network of these sizes draw the detail of a mask, or of those classes in all frames (0: of each voxel the
    likeliest is taken). The last of each of ``walls`` is a class that encloses the others of it
    (:func:`engine.model.nn.detail.classes_of`). ``class_widths`` are those of the networks that tell or draw these classes (none:
    ``widths``). Raises :class:`ConfigError`."""

    widths: tuple[int, int, int] = (32, 64, 96)
    blocks: int = 2
    classes: tuple[str, ...] = ()
    codes: tuple[tuple[int, ...], ...] = ()
    walls: tuple[tuple[str, ...], ...] = ()
    mask_steps: int = 0
    class_widths: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if len(self.codes) != len(self.classes):
            raise ConfigError(f"{len(self.codes)} lists of codes do not go with {len(self.classes)} classes")
        for wall in self.walls:
            if len(wall) < 2 or not set(wall) <= set(self.classes):
                raise ConfigError(f"a wall of {wall} needs what it encloses, and classes of the model; change it")
        for widths in (self.widths, self.class_widths or self.widths):
            if len(widths) != 3 or any(_whole(width, "widths", 8) % 8 for width in widths):
                raise ConfigError(f"widths {widths} are not three multiples of 8; change them")
        _whole(self.blocks, "blocks", 1)
        _whole(self.mask_steps, "mask_steps", 0)


#: of a model that knows tables only
NO_IMAGE = AutoencoderConfig(grid=(0, 0, 0), channels=0, latent=1)


@dataclass(frozen=True, kw_only=True)
class TransformerConfig:
    """Size of the velocity network; ``width`` is a multiple of ``heads``. Raises :class:`ConfigError`."""

    width: int = 192
    depth: int = 6
    heads: int = 4
    fusion: bool = True

    def __post_init__(self) -> None:
        _whole(self.depth, "depth", 1)
        if _whole(self.width, "width", 1) % _whole(self.heads, "heads", 1):
            raise ConfigError(f"width {self.width} is not a multiple of {self.heads} heads; change one of them")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Sizes of the networks, the ``rank`` of the linear Gaussian part (:class:`engine.model.prior.FactorPrior`) with
    ``table_rank`` factors more that the columns share among themselves, and the ``shift`` of the image's noise level against
    the columns' (:func:`engine.model.flow.shifted`). ``calibrated`` are columns to which what is read off drawn scans is calibrated
    (:class:`engine.model.calibration.Calibration`). ``image`` is NO_IMAGE where there are tables only; ``rows`` is the
    network of :attr:`engine.model.joint.JointModel.rows` and ``mask`` what knows segmentations (None: there is
    none). Raises :class:`ConfigError`."""

    image: AutoencoderConfig
    flow: TransformerConfig
    rank: int = 32
    table_rank: int = 0
    shift: float = 3.0
    rows: TransformerConfig | None = None
    mask: MaskConfig | None = None
    detail: DetailConfig | None = None
    calibrated: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _whole(self.rank, "rank", 0)
        _whole(self.table_rank, "table_rank", 0)
        if not 0 < self.shift < float("inf"):
            raise ConfigError(f"shift {self.shift} is not possible; give a number above 0, such as 3")
        if self.mask and self.image.patch != (FACTOR, FACTOR, FACTOR):
            raise ConfigError(
                f"a mask's tokens are cubes of {FACTOR} voxels a side, the scan's are {self.image.patch}; leave it out"
            )
        if self.mask and self.mask.atlas and self.detail and self.detail.mask_steps:
            raise ConfigError("a mask that is an atlas' has its detail; leave mask_steps at 0")
        if self.mask and not self.image.tokens:
            raise ConfigError("a mask stands on the grid of a scan; leave it out of a model that knows tables only")


def table_config(flow: TransformerConfig, schema: AttributeSchema) -> ModelConfig:
    """A model of tables alone, whose linear Gaussian part can hold any covariance of the columns."""
    return ModelConfig(image=NO_IMAGE, flow=flow, rank=0, table_rank=int(schema.mask.sum()), shift=1.0)
