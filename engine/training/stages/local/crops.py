"""Crops of a few persons at a time, for networks that are local: a person is decoded once and serves many steps."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from engine.model.joint import JointModel
from engine.model.nn.detail import FOLD, Corner
from engine.training.loop import Limits, Objective, ReadAhead, optimise
from engine.training.run import Progress, Stage, compiled, step_generator
from engine.training.stages.autoencoder import lay_out

#: what is known of a person, each of its last three axes the grid's; of a store's row, at random
Made = Callable[[int, torch.Generator], tuple[Tensor, ...]]
#: a step's crops of every part of persons, where they begin, and its randomness
Read = tuple[list[Tensor], list[Corner], torch.Generator]


#: voxels of persons that are held at once
HELD = 2**24


@dataclass(frozen=True, kw_only=True)
class CropConfig:
    """``batch`` crops of ``size`` voxels a side are a step; ``persons`` made at once serve ``reuse`` steps. Of large scans fewer are
    made at once (:data:`HELD`), and serve more steps instead."""

    size: tuple[int, int, int] = (48, 48, 48)
    batch: int = 4
    persons: int = 6
    reuse: int = 12


class Crops:
    """The crops of each step: for each part of a person a batch of crops, where they begin, and the step's randomness.

    The persons of a round are made when its first step is asked for, so that any step is the same whenever it is asked for.
    """

    def __init__(
        self, make: Made, rows: Int[np.ndarray, " n"], grid: tuple[int, int, int], config: CropConfig, seed: int
    ) -> None:
        persons = max(1, min(config.persons, HELD // math.prod(grid)))
        config = replace(config, persons=persons, reuse=config.reuse * config.persons // persons)
        self.make, self.rows, self.grid, self.config, self.seed = make, rows, grid, config, seed
        self.kept: dict[int, list[tuple[Tensor, ...]]] = {}

    def __call__(self, step: int) -> Read:
        config = self.config
        persons = self._persons(step // config.reuse)
        generator = step_generator(self.seed + 1, step)
        crops, corners = [], []
        for _ in range(config.batch):
            person = persons[int(torch.randint(len(persons), (), generator=generator))]
            corner = self._corner(generator)
            place = tuple(slice(at, at + side) for at, side in zip(corner, self._size, strict=True))
            crops.append([part[(..., *place)] for part in person])
            corners.append(corner)
        return [torch.stack(parts) for parts in zip(*crops, strict=True)], corners, generator

    @property
    def _size(self) -> tuple[int, int, int]:
        x, y, z = (min(side, n) for side, n in zip(self.config.size, self.grid, strict=True))
        return x, y, z

    def _corner(self, generator: torch.Generator) -> Corner:
        room = [(n - side) // FOLD + 1 for n, side in zip(self.grid, self._size, strict=True)]
        x, y, z = (FOLD * int(torch.randint(n, (), generator=generator)) for n in room)
        return x, y, z

    def _persons(self, number: int) -> list[tuple[Tensor, ...]]:
        if number not in self.kept:
            self.kept.clear()
            generator = step_generator(self.seed, number)
            pick = torch.randint(len(self.rows), (self.config.persons,), generator=generator).tolist()
            self.kept[number] = [self.make(int(self.rows[i]), generator) for i in pick]
        return self.kept[number]


def begun(model: JointModel, net: nn.Module, name: str, run_dir: Path) -> tuple[Stage, dict[str, Tensor]]:
    """The stage of one local ``net`` of the ``model``, of which nothing else learns, where it was left, and its extra tensors."""
    model.requires_grad_(False)
    stage = Stage(name, run_dir, net.requires_grad_(True))
    return stage, stage.load()


def learn(
    stage: Stage,
    crops: Crops,
    objective: Callable[[ReadAhead[Read]], Objective],
    rate: Callable[[int], float],
    limits: Limits,
) -> Iterator[Progress]:
    """Train a stage's network on ``crops`` at the learning ``rate`` of each step; yields progress, ends with the averaged weights."""
    net = stage.modules
    lay_out(net, torch.channels_last_3d)
    compiled((net,), next(net.parameters()).device)
    with ReadAhead(crops) as read:
        yield from optimise(stage, objective(read), rate, limits)
    lay_out(net, torch.contiguous_format)


def cut(volume: Float[Tensor, "c x y z"], corners: Sequence[Corner], size: Sequence[int]) -> Float[Tensor, "b c i j k"]:
    """The crops of one volume that begin at the ``corners``."""
    places = [tuple(slice(at, at + n) for at, n in zip(corner, size, strict=True)) for corner in corners]
    return torch.stack([volume[(slice(None), *place)] for place in places])
