"""After the flow: the mask of a known scan, told by its tokens' posterior mean and by what is seen in the scan itself."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from engine.cohort.store import CohortStore
from engine.model.joint import JointModel
from engine.model.nn.detail import Refiner
from engine.training.loop import Limits, Loss, Objective, ReadAhead
from engine.training.run import Progress, RunError, Schedule, bfloat16_is_fast
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.local.crops import CropConfig, Crops, Read, begun, learn
from engine.training.stages.mask import class_of_code, label_loss, load_masks


@dataclass(frozen=True, kw_only=True)
class RefinerTraining(Schedule):
    """How the refiner is learned, on ``crops``; ``dice`` weighs a soft Dice beside the cross-entropy."""

    steps: int = 3000
    crops: CropConfig = field(default_factory=CropConfig)
    constant: int = 1000
    dice: float = 0.3
    bfloat16: bool = True


def train_refiner(
    model: JointModel,
    store: CohortStore,
    rows: Int[np.ndarray, " n"],
    config: RefinerTraining,
    *,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Train ``model.refiner`` on those of the store's ``rows`` who have labels, until ``config.steps`` or the ``deadline``; yields
    progress. Resumes from ``run_dir``; ends with the averaged weights in ``model``."""
    rows = rows[store.labelled[rows]]
    if not len(rows) or model.config.mask is None:
        raise RunError(f"no training person of {store.path} has a label map; leave the mask out")
    table = class_of_code(model.config.mask)
    device = model.centre.device
    fast = config.bfloat16 and bfloat16_is_fast(device)
    net = model.refiner
    stage, _ = begun(model, net, "refiner", run_dir)

    @torch.no_grad()
    def make(row: int, generator: torch.Generator) -> tuple[Tensor, ...]:
        """Scan, scores of the tokens' posterior mean, classes."""
        del generator  # the posterior mean is what it is
        which = np.array([row])
        scan = load_batch(store, which, device)[:, :-1]
        with torch.autocast(device.type, torch.bfloat16, enabled=fast):
            scores = model.mask_scores(model.mask_mean(scan)).half()
        return scan[0], scores[0], load_masks(store, which, table).to(device)[0]

    def objective(read: ReadAhead[Read]) -> Objective:
        return _labels_error(net, config, read, fast)

    crops = Crops(make, rows, store.grid, config.crops, seed + 32)
    limits = Limits(steps=config.steps, deadline=deadline, save_every=save_every)
    yield from learn(stage, crops, objective, config.learning_rate, limits)


def _labels_error(net: Refiner, config: RefinerTraining, read: ReadAhead[Read], fast: bool) -> Objective:
    """Cross-entropy and soft Dice of the classes."""

    def loss(step: int) -> Loss:
        (scan, scores, labels), corners, _ = read(step)
        with torch.autocast(scan.device.type, torch.bfloat16, enabled=fast):
            found = net(scan, scores.float(), corners)
        entropy, overlap = label_loss(found, labels)
        return Loss(entropy + config.dice * overlap, {"entropy": entropy, "dice": overlap})

    return loss
