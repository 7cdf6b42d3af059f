"""Examples for the torso's segmenter: in-silico persons drawn as they are needed, and what real scans would look like."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from engine.measure.torso import CLASSES, classes_of_codes
from engine.phantom.cohort import person_seeds
from engine.phantom.shape.frame import SPACING
from engine.phantom.torsos import PhantomPerson, make
from engine.training.augment import Augmentation, augment
from engine.training.stages.segmenter import BatchOf, SegmenterTraining, degrade

Maker = Callable[[Sequence[int]], list[PhantomPerson]]


@dataclass(frozen=True, kw_only=True)
class BodyTraining:
    """How the torso's segmenter is trained.

    ``pool`` persons are at hand at any time, and every ``refresh`` steps one is exchanged for a new one. ``still`` is the
    chance that a person is not deformed. ``contrast`` is the SD of the log ratio of the channels' scales; ``swap`` the
    chance that water and fat are exchanged somewhere, a fifth of the time everywhere; ``short`` the chance that the field
    of view is cut along the body, to no less than ``shortest`` voxels, and ``hidden`` that a part of it is empty.
    """

    pool: int = 40
    refresh: int = 6
    still: float = 0.4
    contrast: float = 0.15
    swap: float = 0.02
    short: float = 0.5
    shortest: int = 64
    hidden: float = 0.15
    segmenter: SegmenterTraining = field(
        default_factory=lambda: SegmenterTraining(
            steps=4000,
            constant=300,
            blur=1.0,
            coarse=1.8,
            noise=0.03,
            shading=0.1,
            cut=0.0,
            augmentation=Augmentation(
                mirror=0.0,
                rotation=2.29,
                scale=0.05,
                shift=(4.8, 4.0, 8.64),
                elastic=(0.96, 0.8, 1.73),
                gain=0.1,
                gamma=0.12,
            ),
        )
    )


def body_batches(config: BodyTraining, seed: int, maker: Maker = make) -> BatchOf:
    """One person a step, from the pool that this step has: the same for the same step, whenever it is asked for."""
    persons: dict[int, tuple[UInt8[np.ndarray, "2 x y z"], UInt8[np.ndarray, "x y z"]]] = {}
    table = classes_of_codes()

    def batch_of(step: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        oldest = step // config.refresh
        number = oldest + int(torch.randint(config.pool, (1,), generator=generator))
        for gone in [n for n in persons if n < oldest]:
            del persons[gone]
        if number not in persons:
            (person,) = maker(person_seeds(seed, number + 1)[-1:])
            persons[number] = person.images, table[person.labels]
        images, classes = (torch.from_numpy(part) for part in persons[number])
        masks = torch.stack([classes == c for c in range(1, len(CLASSES))])
        return varied(torch.cat([images.float() / 255, masks.float()])[None], config, generator)

    return batch_of


def varied(
    example: Float[Tensor, "1 c x y z"], config: BodyTraining, generator: torch.Generator
) -> tuple[Float[Tensor, "1 2 x y w"], Float[Tensor, "1 f x y w"]]:
    """Water, fat and masks of one person, as another scanner might have seen them; ``w`` is a multiple of 16."""

    def uniform() -> float:
        return float(torch.rand(1, generator=generator))

    if uniform() > config.still:
        example = augment(example, config.segmenter.augmentation, generator, intensity=2, spacing=SPACING)
    slices = example.shape[-1]
    if uniform() < config.short:
        fewest = min(config.shortest, slices)
        kept = fewest + int(uniform() * ((slices - fewest) // 16 + 1)) * 16
        example = example.narrow(-1, int(uniform() * (slices - kept + 1)), kept)
    images, masks = example[:, :2], example[:, 2:]
    if uniform() < config.swap:
        images = swapped(images, uniform() < 1 / 5, generator)
    images = degrade(images, config.segmenter, generator)
    images = images * torch.exp(torch.randn(1, 2, 1, 1, 1, generator=generator) * config.contrast)
    if uniform() < config.hidden:
        images, masks = images.clone(), masks.clone()
        end = 1 + int(uniform() * images.shape[-1] / 3)
        empty = slice(0, end) if uniform() < 0.5 else slice(-end, None)
        images[..., empty] = masks[..., empty] = 0
    return images, masks


def swapped(
    images: Float[Tensor, "1 2 x y z"], everywhere: bool, generator: torch.Generator
) -> Float[Tensor, "1 2 x y z"]:
    """Water and fat exchanged, in the whole volume or in a slab beyond some plane along x."""
    if everywhere:
        return images.flip(1)
    x, z = images.shape[2], images.shape[4]
    first, length, side = torch.rand(3, generator=generator).tolist()
    low = int(first * z)
    rows = slice(low, low + max(4, int(length * z / 3)))
    columns = slice(0, int(x * (0.2 + side))) if side < 0.5 else slice(int(x * (side - 0.3)), None)
    images = images.clone()
    images[:, :, columns, :, rows] = images[:, :, columns, :, rows].flip(1)
    return images
