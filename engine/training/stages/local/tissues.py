"""Before the detail: what is seen in every frame of a decoded scan, class by class, where there is no mask to go by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.inference.conditioning import given_rows
from engine.model.joint import JointModel
from engine.model.nn.detail import Tissues
from engine.model.prior import row_terms
from engine.training.loop import Limits, Loss, Objective, ReadAhead
from engine.training.run import Progress, RunError, bfloat16_is_fast
from engine.training.stages.local.crops import Crops, Read, begun, learn
from engine.training.stages.local.detail import DetailTraining, decoded
from engine.training.stages.local.refiner import RefinerTraining
from engine.training.stages.mask import label_loss

#: frames of a step whose error is taken
FRAMES = 3
#: the share of examples whose row is told
TOLD = 0.8


def train_tissues(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: RefinerTraining,
    detail: DetailTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train ``model.tissues`` on those of the store's ``rows`` who have labels, on scans as the ``detail`` sees them, until
    ``config.steps`` or the ``deadline``; yields progress. Resumes from ``run_dir``; ends with the averaged weights in ``model``.
    Raises :class:`RunError` where nobody has labels."""
    rows = rows[store.labelled[rows]]
    if not len(rows):
        raise RunError(f"no training person of {store.path} has a label map; make the store with --labels")
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    net = model.tissues
    stage, _ = begun(model, net, "tissues", run_dir)

    def make(row: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        person = decoded(model, store, row, detail, generator)
        known = given_rows(model, [store.rows[row]])
        told = row_terms(known.value.table, model.codes)[0] * known.table.all()
        # a crop of it is what it is
        return person.base, person.mask, told[:, None, None, None].expand(-1, *store.grid)

    def objective(read: ReadAhead[Read]) -> Objective:
        return _labels_error(net, config, read, fast)

    crops = Crops(make, rows, store.grid, config.crops, seed + 42)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)
    yield from learn(stage, crops, objective, config.learning_rate, limits)


def _labels_error(net: Tissues, config: RefinerTraining, read: ReadAhead[Read], fast: bool) -> Objective:
    """Cross-entropy and soft Dice of the classes, of :data:`FRAMES` at random: neighbours say much the same, and scores of every
    class at every voxel are most of a step's cost."""

    def loss(step: int) -> Loss:
        (base, labels, told), corners, generator = read(step)
        row = told[..., 0, 0, 0] * (torch.rand(len(told), 1, generator=generator) < TOLD).to(told)
        some = torch.randperm(base.shape[1], generator=generator)[:FRAMES]
        with torch.autocast(base.device.type, torch.bfloat16, enabled=fast):
            found = net(base, corners, row)[:, :, some]
        labels = labels[:, some]
        entropy, overlap = label_loss(found, labels)
        return Loss(entropy + config.dice * overlap, {"entropy": entropy, "dice": overlap})

    return loss
