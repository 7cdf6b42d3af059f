"""Last: drawn hearts are calibrated, so that what the ruler reads off them is on average what their row says.

Training persons' rows are drawn with random shifts d of their tokens, of so many SDs along what each measured column does to a
heart, and read. What is read is regressed on what was asked, y, and on the shift: E[read] = C y + J d + c. Then reading and
asking agree with the shift d(y) = J^-1 ((1 - C) y - c), which is the model's from then on (a calibration experiment with a
randomised design: Box, Hunter and Hunter, Statistics for Experimenters, chapter 5).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from engine.anatomy import region_of
from engine.cohort.store import CohortStore
from engine.imaging.grid import cycle_by
from engine.imaging.volume import Volume, VolumeError
from engine.inference.conditioning import given_rows
from engine.inference.generate import IMAGE_POWER, IMAGE_STEPS, integrated
from engine.measure.ruler import Ruler
from engine.measure.shipped import load_ruler
from engine.model.joint import JointModel
from engine.model.sampler import schedule
from engine.training.journal import stop_asked
from engine.training.run import Progress
from engine.vocabulary.schema import Row

#: persons drawn; SD of their shifts; penalty of the regressions on what was asked, in persons
PERSONS, SHIFT, RIDGE = 160, 0.7, 8.0
#: standard errors of a response below which it is taken for none: what drawn scans hardly show is not forced on them
SURE = 3.0


def fit_calibration(
    model: JointModel,
    store: CohortStore,
    latents: Float[Tensor, "n copies tokens latent"],
    rows: Sequence[Row],
    *,
    guidance: float,
    seed: int,
    deadline: float | None = None,
) -> Iterator[Progress]:
    """Set ``model.calibration``, where there is one, from bare latents of persons of the ``store`` and their ``rows``: those without
    gaps are drawn with the weight ``guidance`` and read by the region's ruler; yields progress. After the ``deadline`` those count
    who were drawn, and too few calibrate nothing. Raises :class:`engine.checkpoints.files.CheckpointError` for a ruler that is missing."""
    found, region = model.calibration, region_of(store.channels)
    if found is None or region is None:
        return
    ruler = load_ruler(region)
    found.slopes.zero_()
    table, known = (torch.from_numpy(part).to(found.slopes) for part in model.schema.encode(rows))
    whole = known.bool().all(1).nonzero()[:, 0]
    _fit_response(model, latents[whole.to(latents.device), 0].float(), table[whole], known[whole].bool())
    generator = torch.Generator().manual_seed(seed)
    order = whole.cpu()[torch.randperm(len(whole), generator=generator)][:PERSONS]
    asked, shifts, read, began = [], [], [], time.monotonic()
    for k, place in enumerate(order.tolist()):
        shift = SHIFT * torch.randn(len(found.columns), generator=generator)
        scan = _drawn(model, rows[place], shift, guidance, seed + k)
        values = _read(model, store, rows[place], ruler, scan)
        if values is not None:
            asked.append(found.asked(table[place : place + 1])[0])
            shifts.append(shift.to(table))
            read.append(values)
        yield Progress("calibration", k + 1, len(order), time.monotonic() - began, {})
        if stop_asked() or (deadline is not None and time.monotonic() > deadline):
            break
    if len(read) >= 2 * (2 * len(found.columns) + 1):
        found.slopes.copy_(slopes_of(torch.stack(asked), torch.stack(shifts), torch.stack(read)))


@torch.no_grad()
def _fit_response(model: JointModel, bare: Tensor, table: Tensor, known: Tensor) -> None:
    """By how much states differ with an SD of each column alone: their regression on all measured columns together."""
    found = model.calibration
    assert found is not None
    state = model.standardise(model.fuse(bare.to(table.device), table, known)).flatten(1)
    x = found.asked(table)
    x = x - x.mean(0)
    moments = x.T @ x + RIDGE * torch.eye(x.shape[1]).to(x)
    slopes = torch.linalg.solve(moments, x.T @ (state - state.mean(0)))
    found.response.copy_(slopes.reshape(found.response.shape))


@torch.inference_mode()
def _drawn(
    model: JointModel, row: Row, shift: Float[Tensor, " r"], guidance: float, seed: int
) -> Float[np.ndarray, "f x y z"]:
    """A person drawn for a row, with a ``shift`` in SDs of the measured columns."""
    found = model.calibration
    assert found is not None
    known = given_rows(model, [row])
    *_, state = integrated(model, model.noise([seed]), known, guidance, schedule(IMAGE_STEPS, power=IMAGE_POWER))
    moved = found.moved(shift[None].to(found.response))
    return model.detailed(model.decode(state.image + moved), None, [seed], 1)[0].float().cpu().numpy()


def _read(
    model: JointModel, store: CohortStore, row: Row, ruler: Ruler, scan: Float[np.ndarray, "f x y z"]
) -> Float[Tensor, " r"] | None:
    """What is read off a scan, in SDs of the measured columns; None where nothing can be."""
    found = model.calibration
    assert found is not None
    try:
        values = ruler.measure(Volume(scan, store.affine, store.channels, cycle_by(row.get("heart_rate"))))
    except VolumeError:
        return None
    names = [model.schema.columns[place].name for place in found.columns]
    if not all(np.isfinite(values.get(name, np.nan)) for name in names):
        return None
    seen = {**row, **{name: float(values[name]) for name in names}}
    cells = torch.from_numpy(model.schema.encode([seen])[0]).to(found.response)
    return found.asked(cells)[0]


def slopes_of(
    asked: Float[Tensor, "n r"], shifts: Float[Tensor, "n r"], read: Float[Tensor, "n r"]
) -> Float[Tensor, "r r1"]:
    """By how many SDs of each column to shift for what is asked, and 1, so that it is read."""
    r = asked.shape[1]
    x = torch.cat([asked, shifts, torch.ones_like(asked[:, :1])], 1).double()
    lacking = asked.double() - read.double()
    # columns go together, so that of what is lacking a part is chance; shifts are independent
    penalty = torch.tensor([RIDGE] * r + [0.0] * (r + 1)).to(x).diag()
    found = torch.linalg.solve(x.T @ x + penalty, x.T @ lacking)
    lack, response = found[[*range(r), 2 * r]].T, -found[r : 2 * r].T
    error = float((lacking - x @ found).square().mean().sqrt() / shifts.square().sum(0).mean().sqrt())
    left, values, right = torch.linalg.svd(response)
    # the positive-part James-Stein rule, as in the linear part (engine/model/prior.py)
    inverse = (1 - (SURE * error / values) ** 2).clamp(min=0) / values
    return (right.T @ (inverse[:, None] * left.T) @ lack).to(asked)
