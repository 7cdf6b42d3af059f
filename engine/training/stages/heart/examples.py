"""Examples for the heart's segmenter: in-silico cines as other scanners, bodies and breath holds would have made them.

Brightness is drawn anew for every tissue (after SynthSeg, Billot et al., Med Image Anal 2023;86:102789), so that the network
learns shapes and not the phantom's contrast.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d, interpolate

from engine.measure.heart.classes import CLASSES, classes_of_codes
from engine.phantom.heart.tissue import CODES, LV_BLOOD, RV_BLOOD
from engine.training.augment import deformed

#: tissue of the heart, whose contrast varies less than that of what lies around it
HEART = (
    *LV_BLOOD,
    *RV_BLOOD,
    *(CODES[name] for name in ("lv_myocardium", "rv_myocardium", "left_atrium", "right_atrium")),
)


@dataclass(frozen=True, kw_only=True)
class HeartVariation:
    """How an example differs from the cine it is made of.

    ``own`` is the SD of the log brightness of each tissue of the heart, ``around`` that of each other; ``contrast`` the chance
    that they are drawn at all. ``texture`` is the SD of the log of smooth texture in what is not heart, ``shading`` that of the
    log bias field; ``gamma`` that of the log exponent. ``noise`` and ``blur`` are the largest SD of noise (1 is the brightest)
    and of the blur within slices (voxels). ``rotation`` (degrees), ``scale`` (least, most), ``shift`` and ``elastic`` (mm) lie
    within slices; ``still`` is the chance of none of them. ``few`` is the chance that only two phases are seen and not four, and
    ``slices`` the number of slices of an example, ``whole`` the chance of all. ``missing`` is the chance that slices at one end are empty.
    """

    own: float = 0.12
    around: float = 0.5
    contrast: float = 0.75
    texture: float = 0.35
    shading: float = 0.25
    gamma: float = 0.2
    noise: float = 0.06
    blur: float = 0.8
    rotation: float = 15.0
    scale: tuple[float, float] = (0.75, 1.25)
    shift: float = 8.0
    elastic: float = 2.0
    still: float = 0.25
    few: float = 0.5
    slices: int = 6
    whole: float = 0.05
    missing: float = 0.25


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """What is seen, and of every voxel the classes that it may be: one where that is known, all where nothing is.

    ``exact`` says of which classes (but the background) all voxels are known.
    """

    images: Float[Tensor, "b c x y z"]
    allowed: Bool[Tensor, "b k x y z"]
    exact: Bool[Tensor, "b f"]


def in_silico(
    images: UInt8[Tensor, "t x y z"],
    labels: UInt8[Tensor, "t x y z"],
    how: HeartVariation,
    generator: torch.Generator,
    spacing: tuple[float, float, float],
) -> Example:
    """A phase of an in-silico heart beside its mean and SD over some of the phases, varied."""
    images, labels = _slices(images, labels, how, generator)
    seen = phases(len(images), how.few, generator)
    frames = brightened(images[seen].float() / 255, labels[seen], how, generator)
    table = torch.from_numpy(classes_of_codes())
    masks = torch.stack([table[labels[seen[0]].long()] == c for c in range(1, len(CLASSES))]).float()

    volume = torch.cat([frames, masks])[None]
    if uniform(generator) >= how.still:
        volume = moved(volume, how, generator, spacing)
    frames, masks = volume[0, : len(seen)], volume[0, len(seen) :] > 0.5

    known = torch.ones(frames.shape[-1], dtype=torch.bool)
    if uniform(generator) < how.missing:
        gone = 1 + int(uniform(generator) * (len(known) // 3))
        known[slice(0, gone) if uniform(generator) < 0.5 else slice(len(known) - gone, None)] = False
    frames = scanned(frames, how, generator) * known
    allowed = torch.cat([~masks.any(0, keepdim=True), masks]) | ~known
    exact = torch.ones(1, len(masks), dtype=torch.bool)
    return Example(images=channels(frames)[None], allowed=allowed[None], exact=exact)


def lying(example: Example, generator: torch.Generator) -> Example:
    """The same example turned: see :func:`turned`."""
    inputs = example.images.shape[1]
    both = turned(torch.cat([example.images, example.allowed.float()], 1), generator)
    return replace(example, images=both[:, :inputs], allowed=both[:, inputs:] > 0.5)


def channels(frames: Float[Tensor, "t x y z"]) -> Float[Tensor, "3 x y z"]:
    """The first of some phases with the mean and SD over all."""
    return torch.stack([frames[0], frames.mean(0), frames.std(0, correction=0)])


def phases(total: int, few: float, generator: torch.Generator) -> list[int]:
    """A phase, then the others that are seen: those after each quarter of the cycle, or with the chance ``few`` that after half of it
    alone."""
    first = int(uniform(generator) * total)
    alone = uniform(generator) < few
    later = {total // 2} if alone else {total * quarter // 4 for quarter in (1, 2, 3)}
    return [first, *((first + step) % total for step in sorted(later) if step)]


def uniform(generator: torch.Generator) -> float:
    """A number from 0 to 1."""
    return float(torch.rand(1, generator=generator))


def _slices(
    images: UInt8[Tensor, "t x y z"], labels: UInt8[Tensor, "t x y z"], how: HeartVariation, generator: torch.Generator
) -> tuple[UInt8[Tensor, "t x y s"], UInt8[Tensor, "t x y s"]]:
    whole = uniform(generator) < how.whole
    place = uniform(generator)
    if whole or images.shape[-1] <= how.slices:
        return images, labels
    first = int(place * (images.shape[-1] - how.slices + 1))
    return images[..., first : first + how.slices], labels[..., first : first + how.slices]


def brightened(
    frames: Float[Tensor, "t x y z"], labels: UInt8[Tensor, "t x y z"], how: HeartVariation, generator: torch.Generator
) -> Float[Tensor, "t x y z"]:
    """The tissues in other brightness, what is not heart with texture."""
    if uniform(generator) >= how.contrast:
        return frames
    heart = torch.zeros(len(CODES), dtype=torch.bool)
    heart[list(HEART)] = True
    spread = torch.where(heart, how.own, how.around)
    factors = torch.exp(torch.randn(len(CODES), generator=generator) * spread)
    blood = [*LV_BLOOD[:1], *RV_BLOOD, CODES["left_atrium"], CODES["right_atrium"]]
    factors[blood] = factors[blood[0]] * torch.exp(torch.randn(len(blood), generator=generator) * 0.05)
    glow = torch.rand(len(CODES), generator=generator) * 0.08 * uniform(generator)

    codes = labels.long()
    gains, offsets = within_slices(factors[codes]), within_slices(torch.where(heart, 0.0, glow)[codes])
    around = within_slices((~heart)[codes].float())
    texture = smooth(frames.shape[1:], 2 ** (1 + int(uniform(generator) * 4)), generator)
    return frames * gains * torch.exp(texture * around * how.texture * uniform(generator)) + offsets


def within_slices(volumes: Float[Tensor, "t x y z"]) -> Float[Tensor, "t x y z"]:
    """Each voxel with those beside it in its slice averaged, so that tissues do not end in steps."""
    return avg_pool2d(volumes.movedim(-1, 1), 3, 1, 1, count_include_pad=False).movedim(1, -1)


def smooth(grid: torch.Size, side: int, generator: torch.Generator) -> Float[Tensor, "x y z"]:
    """Noise of SD about 1 that is smooth over ``side`` voxels of a slice and differs between slices."""
    x, y, z = grid
    coarse = torch.randn(1, z, max(2, x // side), max(2, y // side), generator=generator)
    return interpolate(coarse, (x, y), mode="bicubic")[0].movedim(0, -1)


def moved(
    volume: Float[Tensor, "1 c x y z"],
    how: HeartVariation,
    generator: torch.Generator,
    spacing: tuple[float, float, float],
) -> Float[Tensor, "1 c x y z"]:
    """Turned, scaled, shifted and deformed within slices."""
    angle = math.radians(how.rotation) * float(torch.randn(1, generator=generator))
    zoom = how.scale[0] + uniform(generator) * (how.scale[1] - how.scale[0])
    place = torch.eye(4)
    place[:2, :2] = zoom * torch.tensor([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    place[:2, 3] = torch.randn(2, generator=generator) * how.shift
    points = torch.randn(1, 3, 5, 5, 5, generator=generator) * how.elastic
    points[:, 2] = 0
    return deformed(volume, place[None], points, spacing)


def turned(volume: Float[Tensor, "1 c x y z"], generator: torch.Generator) -> Float[Tensor, "1 c x y z"]:
    """One of the 16 ways in which a square stack may lie: mirrored, turned by right angles, base or apex first."""
    along = [axis for axis in (2, 3, 4) if uniform(generator) < 0.5]
    volume = volume.flip(along) if along else volume
    return volume.transpose(2, 3) if uniform(generator) < 0.5 and volume.shape[2] == volume.shape[3] else volume


def scanned(
    frames: Float[Tensor, "t x y z"], how: HeartVariation, generator: torch.Generator
) -> Float[Tensor, "t x y z"]:
    """Blur within slices, the coils' shading, noise, and another exponent."""
    amounts = torch.rand(3, generator=generator).tolist()
    if amounts[0] > 0.4:
        reach = torch.arange(-2.0, 3.0)
        kernel = torch.exp(-0.5 * (reach / max(0.2, how.blur * amounts[0])) ** 2)
        kernel = (kernel / kernel.sum()).reshape(1, 1, 5, 1)
        t, x, y, z = frames.shape
        flat = frames.movedim(-1, 1).reshape(-1, 1, x, y)
        flat = conv2d(conv2d(flat, kernel, padding=(2, 0)), kernel.mT, padding=(0, 2))
        frames = flat.reshape(t, z, x, y).movedim(1, -1)
    bias = interpolate(
        torch.randn(1, 1, 4, 4, 3, generator=generator), frames.shape[1:], mode="trilinear", align_corners=True
    )
    frames = frames * torch.exp(bias[0] * how.shading * amounts[1])
    frames = frames + torch.randn(frames.shape, generator=generator) * how.noise * amounts[2] ** 2
    gamma = math.exp(how.gamma * float(torch.randn(1, generator=generator)))
    return frames.clamp(min=0) ** gamma
