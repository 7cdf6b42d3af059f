"""After the flow: what its network adds to the columns read off a scan, scaled to what validation persons support.

Few persons are learned by heart: their columns are told from their scans ever better, those of others worse, and draws of
the columns are then too sure. The remedy is that of clinical prediction models, shrinkage by the calibration slope
(van Houwelingen and Le Cessie, Statistics in Medicine 9:1303, 1990): for each column the least-squares slope, over persons
whom the flow never saw, of what the linear Gaussian part leaves on what the network adds; 1 if it generalises, 0 if not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from engine.flow import NoiseMixture, interpolate
from engine.model import JointModel
from engine.training.flow import FlowTraining, draw_examples, encode_rows
from engine.training.run import Progress

#: batches of examples
BATCHES = 60
#: the scan is known, and some of the columns
READING = NoiseMixture(equal=0, table_clean=0, image_clean=1, table_noise=0, independent=0)


@torch.no_grad()
def calibrate_columns(
    model: JointModel,
    latents: Float[Tensor, "n copies tokens latent"],
    rows: Sequence[Mapping[str, Any]],
    config: FlowTraining,
    *,
    seed: int,
    deadline: float | None = None,
) -> Iterator[Progress]:
    """Scale each column's output in ``model`` by its calibration slope, kept to 0..1; nothing else changes.

    Bare latents and the ``rows`` of the same validation persons; yields progress. Columns that none of them has stay.
    """
    began, net = time.monotonic(), model.velocity_net
    config = replace(config, mixture=READING)
    tables = encode_rows(model, rows, config.table_versions, seed, model.centre.device)
    both = torch.zeros(2, len(net.column_out), device=model.centre.device)
    for step in range(BATCHES):
        clean, noise, levels, here = draw_examples(model, latents, tables, config, seed, step)
        linear, learned = model.parts(interpolate(clean, noise, levels), levels)
        asked = (here & (levels.table > 0))[..., None] * model.mask
        left = noise.table - clean.table - (linear.table - model.table_centre)
        pairs = torch.stack([left * learned.table, learned.table.square()])
        both += (pairs * asked).sum((1, 3))
        yield Progress("calibration", step + 1, BATCHES, time.monotonic() - began, {})
        if deadline is not None and time.monotonic() > deadline:
            break
    across, own = both
    slopes = torch.where(own > 0, across / own.clamp(min=1e-12), 1.0).clamp(0, 1)
    net.column_out.mul_(slopes[:, None, None])
