"""The heart's segmenter learns: first in-silico hearts, then these and patients in turn."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int

from engine.cohort.store import CohortStore
from engine.measure.segmenter import Segmenter
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import Progress, Schedule, Stage, bfloat16_is_fast, step_generator
from engine.training.stages.heart.examples import Example, HeartVariation, in_silico, lying, uniform
from engine.training.stages.heart.loss import partial_loss
from engine.training.stages.heart.patients import Taught, of_patient

#: how often an example is seen, and how many are seen in turn
AGAIN, POOL = 3, 16
#: examples of a step, each of which is seen alone: cines differ in their number of slices
ExamplesOf = Callable[[int], list[Example]]


@dataclass(frozen=True, kw_only=True)
class HeartTraining(Schedule):
    """How the heart's segmenter is trained: ``steps`` of one in-silico example each at the learning ``rate``, as varied as
    ``variation`` says; then ``plain_steps`` at ``plain_rate`` of ``plain`` ones, nearer to what is measured in the end: whole stacks in a
    scanner's own contrast; then ``tuning`` steps of one plain in-silico example and one of a patient, varied as ``variation`` says, at
    ``tuning_rate``. ``bfloat16`` as in the autoencoder's training."""

    steps: int = 5000
    rate: float = 2e-3
    warmup: int = 20
    constant: int = 500
    plain_steps: int = 2500
    plain_rate: float = 7e-4
    tuning: int = 600
    tuning_rate: float = 5e-4
    bfloat16: bool = True
    variation: HeartVariation = field(default_factory=HeartVariation)
    plain: HeartVariation = field(
        default_factory=lambda: HeartVariation(
            own=0.08,
            around=0.3,
            contrast=0.35,
            texture=0.2,
            shading=0.15,
            noise=0.03,
            blur=0.4,
            scale=(0.9, 1.1),
            still=0.5,
            few=0.2,
            slices=10,
            whole=0.4,
        )
    )


def hearts_of(
    store: CohortStore, rows: Int[np.ndarray, " n"], how: HeartVariation, seed: int
) -> Callable[[int], Example]:
    """Examples by step of the in-silico persons ``rows``, in an order of their own in every round.

    To make one takes as long as to learn from it, so each is seen :data:`AGAIN` times, lying otherwise, with others in between.
    """
    assert store.labels is not None

    held: dict[int, Example] = {}

    def made(number: int) -> Example:
        assert store.labels is not None
        order = np.random.default_rng([seed, number // len(rows)]).permutation(rows)
        row = int(order[number % len(rows)])
        images, labels = (torch.from_numpy(np.array(part[row])) for part in (store.volumes, store.labels))
        return in_silico(images, labels, how, step_generator(seed, number), store.spacing)

    def example(step: int) -> Example:
        oldest = step // (AGAIN * POOL) * POOL
        for gone in [number for number in held if number < oldest]:
            del held[gone]
        number = oldest + step % POOL
        if number not in held:
            held[number] = made(number)
        return lying(held[number], step_generator(seed + 1, step))

    return example


def learn_hearts(
    net: Segmenter,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: HeartTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
) -> Iterator[Progress]:
    """Train on the in-silico persons ``rows``, varied and then plain, until each has its steps or the ``deadline``
    (``time.monotonic``), of which the first may take two thirds; yields progress.

    Resumes from ``run_dir``; ends with the averaged weights in ``net``.
    """
    first = None if deadline is None else deadline - (deadline - time.monotonic()) / 3
    varied = Limits(steps=config.steps, deadline=first, closes=True)
    plain = Limits(steps=config.plain_steps, deadline=deadline, closes=True)
    example, nearer = (
        hearts_of(store, rows, how, at) for how, at in ((config.variation, seed), (config.plain, seed + 2))
    )
    yield from _learn("segmenter", net, lambda step: [example(step)], config, varied, run_dir)
    config = replace(config, rate=config.plain_rate)
    yield from _learn("plain", net, lambda step: [nearer(step)], config, plain, run_dir)


def _learn(
    name: str, net: Segmenter, examples: ExamplesOf, config: HeartTraining, limits: Limits, run_dir: Path
) -> Iterator[Progress]:
    """A stage, from where it was left."""
    stage = Stage(name, run_dir, net)
    stage.load()
    yield from optimise(stage, _objective(net, examples, config), config.learning_rate, limits)


def learn_patients(
    name: str,
    net: Segmenter,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    patients: Sequence[Taught],
    config: HeartTraining,
    *,
    run_dir: Path,
    seed: int,
) -> Iterator[Progress]:
    """Train ``net`` on the ``patients`` and in-silico persons in turn: a stage called ``name``, that resumes likewise."""
    example, how = hearts_of(store, rows, config.plain, seed + 1), config.variation
    window = net.config.window

    def examples(step: int) -> list[Example]:
        generator = step_generator(seed + 1, step)
        patient = patients[int(uniform(generator) * len(patients))]
        slices = window[2] if uniform(generator) < how.whole else how.slices
        real = of_patient(patient, how, window[:2], slices, generator, net.config.voxel)
        return [example(step), real]

    limits, tuning = Limits(steps=config.tuning, closes=True), replace(config, rate=config.tuning_rate)
    yield from _learn(name, net, examples, tuning, limits, run_dir)


def _objective(net: Segmenter, examples: ExamplesOf, config: HeartTraining) -> Objective:
    fast = config.bfloat16 and bfloat16_is_fast(torch.device("cpu"))

    def loss(step: int) -> Loss:
        found = [_loss_of(net, example, fast) for example in examples(step)]
        entropy, overlap = (torch.stack(part).mean() for part in zip(*found, strict=True))
        return Loss(entropy + overlap, {"entropy": entropy, "overlap": overlap})

    return loss


def _loss_of(net: Segmenter, example: Example, fast: bool) -> tuple[torch.Tensor, torch.Tensor]:
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        scores = net(example.images)
    return partial_loss(scores, example.allowed, example.exact)
