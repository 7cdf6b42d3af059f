"""Persons that a model draws while it is trained, so that one sees it learn; the training is not changed by a bit."""

from __future__ import annotations

import logging
import math
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float

from engine.checkpoints.checkpoint import Checkpoint
from engine.checkpoints.config import CheckpointConfig
from engine.imaging.volume import Volume
from engine.inference.generate import Model
from engine.model.joint import JointModel
from engine.training.ema import PowerEMA
from engine.training.gallery import forget_samples, write_sample
from engine.vocabulary.schema import AttributeSchema, Category, Number, Row

#: network evaluations of a person: four serve (engine/LOG.md)
STEPS = 4
#: seconds before the first picture, pictures over the whole way, and the share of the time that they may take
FIRST, PARTS, SHARE = 60.0, 10, 0.03
#: how far inside the cohort's range an extreme value lies, as a share of it
INSIDE = 0.1


@dataclass(kw_only=True)
class Samples:
    """When to draw, and where it is kept (:mod:`engine.training.gallery`).

    ``affine`` (4, 4) and ``channels`` are the store's, ``guidance`` the finished model's. Seconds are the stage's own.
    """

    run_dir: Path
    affine: Float[np.ndarray, "4 4"]
    channels: tuple[str, ...]
    guidance: float
    first: float = FIRST
    next: float = field(default=math.inf, init=False)

    def begin(self, step: int, seconds: float) -> None:
        """A stage begins or goes on here; pictures of steps that are trained again go."""
        self.next = seconds + self.first
        try:
            forget_samples(self.run_dir, step)
        except OSError as error:
            self._give_up(error)

    def due(self, seconds: float) -> bool:
        return seconds >= self.next

    def draw(self, model: JointModel, ema: PowerEMA, step: int, seconds: float, left: float) -> None:
        """Draw with the averaged weights and keep the picture; ``left`` seconds are still to be trained.

        What the disk or the memory refuses ends the pictures, not the training.
        """
        began = time.monotonic()
        try:
            with ema.standing_in(model.velocity_net):
                persons = self._persons(model)
            write_sample(self.run_dir, step, persons)
        except (OSError, MemoryError, torch.OutOfMemoryError) as error:
            self._give_up(error)
            return
        self.next = next_time(seconds, left, time.monotonic() - began)

    @torch.inference_mode()
    def _persons(self, model: JointModel) -> list[tuple[str, Volume]]:
        """Words and scan of each person of :func:`asked`, by the code that draws for users."""
        config = CheckpointConfig(
            name="in-training",
            title="A model in training",
            model=model.config,
            schema=model.schema,
            affine=tuple(tuple(row) for row in self.affine.tolist()),
            channels=tuple(self.channels),
            preprocess={},
            provenance={},
            guidance=self.guidance,
            weights_sha256="",
        )
        drawn = Checkpoint(path=self.run_dir, model=model, config=config, card={}, card_markdown="", digest="")
        artist = Model(drawn, str(model.centre.device))
        return [
            (f"{words}, seed {seed}", artist.generate(given=given, seed=seed, steps=STEPS)[0].volume)
            for words, seed, given in asked(model.schema)
        ]

    def _give_up(self, error: Exception) -> None:
        self.next = math.inf
        logging.getLogger(__name__).warning("samples are left out, the training goes on: %s", error)


def next_time(seconds: float, left: float, cost: float) -> float:
    """When a picture follows on one drawn after ``seconds`` that took ``cost``, ``left`` seconds before the end: after as long
    again, or a tenth of the way if that is sooner, but never so soon that pictures take more than :data:`SHARE` of the time.

    >>> next_time(60, 1740, 1), next_time(600, 1200, 1), next_time(600, 1200, 9)
    (120, 780.0, 900.0)
    """
    return seconds + max(cost / SHARE, min(seconds, (seconds + left) / PARTS))


def asked(schema: AttributeSchema) -> list[tuple[str, int, Row]]:
    """Words, seed and given values of three persons: anyone, and two of the same noise, of opposite sex or else at the ends
    of what the cohort has of BMI or age."""
    anyone = ("nothing given", 0, Row())
    columns = {column.name: column for column in schema.columns}
    for name in ("sex", "bmi", "age"):
        column = columns.get(name)
        if isinstance(column, Category):
            ends = [(level, f"{name} {level}") for level in (column.levels[0], column.levels[-1])]
        elif isinstance(column, Number):
            low, high = column.seen
            values = [round(low + share * (high - low), 1) for share in (INSIDE, 1 - INSIDE)]
            ends = [(value, f"{name} {value:g}") for value in values]
        else:
            continue
        return [anyone, *((words, 1, {name: value}) for value, words in ends)]
    return [anyone, ("nothing given", 1, Row()), ("nothing given", 2, Row())]
