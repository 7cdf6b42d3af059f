"""After the flow: by how much its mean image of a row is off, as a regression on the row.

A flow that has not learned for long draws scans that follow their row too little. At t = 1, where the image is noise alone,
its velocity is e - E[image | row], so its mean can be read off, person by person, and what training persons differ from it
is regressed on their rows (:func:`engine.model.prior.row_terms`) by ridge regression; its weight is the one with the least
leave-one-out error (Allen 1974), or none. By the normal equations nothing linear in the image is then left that goes with
a term of the row.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from engine.model.flow import Joint, Levels
from engine.model.joint import JointModel
from engine.model.prior import row_terms
from engine.training.run import Progress

#: persons at most, and at once
MOST, BATCH = 2000, 16
#: weights of the ridge that are tried
RIDGES = tuple(10 ** (k / 2) for k in range(9))
#: share of the error that is put right at t = 1: the rest the flow finds on its way down (engine/LOG.md 35)
SHARE = 0.75


def fit_correction(
    model: JointModel,
    latents: Float[Tensor, "n copies tokens latent"],
    rows: Sequence[Mapping[str, Any]],
    *,
    seed: int,
    deadline: float | None = None,
) -> Iterator[Progress]:
    """Set ``model.correction`` from bare latents and the ``rows`` of the same persons; yields progress.

    Persons with gaps are left out, and those who are not reached before the ``deadline``.
    """
    device, began = model.centre.device, time.monotonic()
    table, known = (torch.from_numpy(part).to(device) for part in model.schema.encode(rows))
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(rows), generator=generator)
    order = order[known.cpu().all(1)[order]][:MOST]
    terms, lacking = [], []
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH].to(device)
        bare, cells = latents[index.to(latents.device), 0].to(device).float(), table[index]
        noise = torch.randn(bare.shape, generator=generator).to(device)
        unknown = torch.ones(len(index), device=device)
        levels = Levels(unknown, torch.zeros(len(index), known.shape[1], device=device), unknown)
        with torch.no_grad():
            state = Joint(noise, cells, noise.new_zeros(*noise.shape[:2], model.mask_latent))
            mean = noise - model.velocity(state, levels).image
            lacking.append(model.standardise(model.fuse(bare, cells, known[index])) - mean)
        terms.append(row_terms(cells, model.codes))
        yield Progress("correction", start + len(index), len(order), time.monotonic() - began, {})
        if deadline is not None and time.monotonic() > deadline:
            break
    model.correction.zero_()
    if len(order):
        found = ridge(torch.cat(terms)[:, :-1], torch.cat(lacking).flatten(1))
        model.correction.copy_(SHARE * found.reshape(model.correction.shape))


def ridge(x: Float[Tensor, "n f"], y: Float[Tensor, "n m"]) -> Float[Tensor, "f1 m"]:
    """Coefficients of every column of ``y`` on ``x`` and, last, a constant, of the weight among :data:`RIDGES` with the
    least leave-one-out error; 0 where no weight is better than none."""
    about, level = x.mean(0), y.mean(0)
    left, values, right = torch.linalg.svd((x - about).double(), full_matrices=False)
    target = (y - level).double()
    along = left.T @ target
    least, best = float(y.double().square().sum()), y.new_zeros(x.shape[1] + 1, y.shape[1])
    for weight in (*RIDGES, math.inf):
        kept = values**2 / (values**2 + weight)
        own = left.square() @ kept + 1 / len(x)
        error = float(((target - left @ (kept[:, None] * along)) / (1 - own)[:, None].clamp(min=1e-6)).square().sum())
        if error < least:
            slopes = right.T @ ((kept / values.clamp(min=1e-9))[:, None] * along)
            least, best = error, torch.cat([slopes, (level - about.double() @ slopes)[None]]).to(y.dtype)
    return best
