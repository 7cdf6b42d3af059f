"""From label volumes to ``anatomy-torso``: implicit fields fitted by cross-entropy on random points, then judged as stored."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn.functional import cross_entropy

from engine.phantom.atlas.checkpoint import save_anatomy
from engine.phantom.atlas.config import FieldConfig, GridConfig
from engine.phantom.atlas.field import LabelField
from engine.phantom.atlas.storing import as_stored
from engine.phantom.atlas.volume import LabelVolume
from engine.training.loop import Limits, Loss, Objective, optimise
from engine.training.run import OptimizerConfig, Progress, RunError, Schedule, Stage
from engine.training.run import step_generator as generator_of
from engine.training.stages.anatomy.figures import FieldFigures, field_figures, model_card
from engine.training.stages.anatomy.points import Sampler, Sampling


@dataclass(frozen=True, kw_only=True)
class FieldTraining(Schedule):
    """Sizes of a field and how it is fitted: ``batch`` points a step."""

    grids: tuple[GridConfig, ...] = (GridConfig(5.0, 6, 2.5), GridConfig(20.0, 12))
    width: int = 48
    depth: int = 1
    cell: float = 40.0
    steps: int = 4000
    batch: int = 32768
    rate: float = 1e-2
    warmup: int = 20
    constant: int = 500
    sampling: Sampling = field(default_factory=Sampling)

    def config(self, volume: LabelVolume) -> FieldConfig:
        """The sizes of the field of a volume."""
        x, y, z = volume.labels.shape
        return FieldConfig(
            origin=volume.origin,
            spacing=volume.spacing,
            shape=(x, y, z),
            classes=volume.classes,
            grids=self.grids,
            width=self.width,
            depth=self.depth,
            cell=self.cell,
        )


def small_box() -> FieldTraining:
    """For a box of a few classes, such as a bowel."""
    return FieldTraining(
        grids=(GridConfig(4.0, 6, 2.5), GridConfig(16.0, 8)), width=32, steps=1000, batch=16384, constant=300
    )


@dataclass(frozen=True, kw_only=True)
class AnatomyRecipe:
    """All that makes an ``anatomy-torso`` besides its volumes: how the field ``body`` is fitted and how every other one is."""

    body: FieldTraining = field(default_factory=FieldTraining)
    others: FieldTraining = field(default_factory=small_box)
    seed: int = 0

    def training_of(self, name: str) -> FieldTraining:
        return self.body if name == "body" else self.others


def train_anatomy(
    recipe: AnatomyRecipe,
    volumes: Mapping[str, LabelVolume],
    run_dir: Path,
    *,
    minutes: float | None = None,
    extras: Mapping[str, Tensor] | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Fit a field to each volume, judge it as it is stored; yields progress and leaves ``run_dir/checkpoint``.

    The same call again resumes; ``minutes`` limits the fitting of this call, shared by the points that are still to be seen.
    ``extras`` are stored as they are. Raises :class:`RunError` where there is no volume.
    """
    if not volumes:
        raise RunError("there is no label volume to learn; give a folder that some can be made from")
    deadline = None if minutes is None else time.monotonic() + 60 * minutes
    run_dir.mkdir(parents=True, exist_ok=True)
    stages = {name: _new_stage(recipe, name, volume, run_dir) for name, volume in volumes.items()}
    fields: dict[str, LabelField] = {}
    figures: dict[str, FieldFigures] = {}
    for name, volume in volumes.items():
        training, stage = recipe.training_of(name), stages[name]
        limits = Limits(
            steps=training.steps,
            deadline=_share(deadline, recipe, list(stages)[len(fields) :], stages),
            save_every=save_every,
        )
        yield from optimise(stage, _entropy(recipe, name, volume, stage), training.learning_rate, limits)
        assert isinstance(stage.modules, LabelField)
        began = time.monotonic()
        fields[name] = as_stored(stage.modules)
        figures[name] = field_figures(fields[name], volume, stage.step)
        yield Progress(f"judge {name}", 1, 1, time.monotonic() - began, figures[name].summary)
    about = {"recipe": asdict(recipe), "figures": {name: asdict(found) for name, found in figures.items()}}
    save_anatomy(run_dir / "checkpoint", fields, extras or {}, model_card(volumes, figures, extras or {}), about)


def _new_stage(recipe: AnatomyRecipe, name: str, volume: LabelVolume, run_dir: Path) -> Stage:
    """The stage of a field, restored where it was begun."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(recipe.seed)
        fresh = LabelField.for_volume(recipe.training_of(name).config(volume), volume)
    stage = Stage(f"anatomy_{name}", run_dir, fresh, OptimizerConfig(clip=None))
    stage.load()
    return stage


def _share(
    deadline: float | None, recipe: AnatomyRecipe, names: list[str], stages: Mapping[str, Stage]
) -> float | None:
    """When the first of ``names`` is to stop, so that each of them sees the same share of the points that it lacks."""
    if deadline is None:
        return None
    lacking = [recipe.training_of(n).batch * (recipe.training_of(n).steps - stages[n].step) for n in names]
    now = time.monotonic()
    return now + (deadline - now) * lacking[0] / max(1, sum(lacking))


def _entropy(recipe: AnatomyRecipe, name: str, volume: LabelVolume, stage: Stage) -> Objective:
    """Cross-entropy of points where the network is asked at all, in nats; also the share of them told rightly."""
    net = stage.modules
    assert isinstance(net, LabelField)
    training = recipe.training_of(name)
    sampler = Sampler(volume, asked_voxels(net), training.sampling)

    def loss(step: int) -> Loss:
        points, classes = sampler.draw(training.batch, generator_of(recipe.seed, step))
        logits = net(points)
        entropy = cross_entropy(logits, classes)
        right = (logits.detach().argmax(1) == classes).float().mean()
        return Loss(entropy, {"entropy": entropy, "right": right})

    return loss


def asked_voxels(net: LabelField) -> Bool[np.ndarray, "x y z"]:
    """The voxels in cells of more than one class; every voxel where there is no such cell."""
    config = net.config
    several = net.get_buffer("allowed").numpy().sum(-1) > 1
    of_voxel = [
        np.minimum(((np.arange(n) + 0.5) * mm / config.cell).astype(int), cells - 1)
        for n, mm, cells in zip(config.shape, config.spacing, config.cells, strict=True)
    ]
    found = several[np.ix_(*of_voxel)]
    return found if found.any() else np.ones_like(found)
