"""Last: hearts are calibrated, so that what the ruler reads off drawn ones is on average what it reads off computed ones.

Persons who were not trained on are drawn for their rows y with random changes p of the measured columns, and read. By how much less
is read than off their own scans, l, is regressed on both: E[l] = L [y, 1] - M p. Of all changes after which as much is read, the
likeliest is taken, for changes that go together as the columns do in the cohort, covariance R (a Gaussian prior, and so a ridge):
p(y) = R M' (M R M' + (s + e tr R) I)^-1 L [y, 1], where M is known with variance e (a calibration experiment with a randomised design:
Box, Hunter and Hunter, Statistics for Experimenters, chapter 5; Tarantola, Inverse Problem Theory, section 3.2). As the prior takes
back a part of every change, what is left is found in the same way in a second round, in which hearts are drawn for calibrated rows
(iterated Tikhonov regularisation: Engl, Hanke and Neubauer, Regularization of Inverse Problems, section 5.1).
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from hashlib import sha256
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
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
from engine.training.run import Progress, load_tensors, save_tensors, step_generator
from engine.vocabulary.schema import Row

#: rounds, and hearts drawn in each; SD of the changes; penalty of the regression on what was asked, in hearts
ROUNDS, DRAWN, CHANGE, RIDGE = 2, 168, 0.5, 6.0
#: variance of what stays unread (SD squared), against which changes are likely or not
UNREAD = 0.03


def fit_calibration(
    model: JointModel,
    store: CohortStore,
    *,
    guidance: float,
    run_dir: Path,
    seed: int,
    deadline: float | None = None,
    save_every: float = 120.0,
) -> Iterator[Progress]:
    """Set ``model.calibration``, where there is one, from validation persons of the ``store`` without gaps (of too few, from training
    persons too), drawn in turn with the weight ``guidance`` and read by the region's ruler; yields progress. Resumes from
    ``run_dir``, where the model is as it was. After the ``deadline`` those of a round count who were drawn, and too few change
    nothing. Raises :class:`engine.checkpoints.files.CheckpointError` for a ruler that is missing."""
    found, region = model.calibration, region_of(store.channels)
    if found is None or region is None or not found.columns:
        return
    ruler = load_ruler(region)
    least = 2 * (2 * len(found.columns) + 1)
    persons = _persons(model, store, least)
    hearts = ROUNDS * DRAWN if len(persons) else 0
    cells, known = model.schema.encode([store.rows[i] for i in store.split()["train"]])
    together = torch.atleast_2d(found.asked(torch.from_numpy(cells[known.all(1)])).T.corrcoef())
    readings = _Readings(run_dir / "calibration.safetensors", f"{_digest(model)} {guidance} {seed} {ruler.digest}")
    truth: dict[int, Tensor | None] = {}

    def calibrate(readings: Sequence[Tensor]) -> None:
        found.slopes.zero_()
        for start in range(0, len(readings), DRAWN):
            read = torch.stack(list(readings[start : start + DRAWN])).to(found.slopes)
            read = read[read.isfinite().all((1, 2))]
            if len(read) >= least:
                found.precede(slopes_of(*read.unbind(1), together))

    began = saved = time.monotonic()
    for k in range(len(readings), hearts):
        calibrate(readings[: k - k % DRAWN])
        person = int(persons[k % len(persons)])
        row = store.rows[person]
        if person not in truth:
            truth[person] = _read(model, store, row, ruler, store.scan(person))
        change = CHANGE * torch.randn(len(found.columns), generator=step_generator(seed, k))
        values, real = _read(model, store, row, ruler, _drawn(model, row, change, guidance, seed + k)), truth[person]
        lacking = torch.full_like(change, torch.nan) if values is None or real is None else (real - values).cpu()
        readings.append(torch.stack([found.asked(_cells(model, row))[0].cpu(), change, lacking]))
        yield Progress("calibration", k + 1, hearts, time.monotonic() - began, {})
        ends = stop_asked() or (deadline is not None and time.monotonic() > deadline)
        if ends or k + 1 == hearts or time.monotonic() - saved > save_every:
            readings.save()
            saved = time.monotonic()
        if ends:
            break
    calibrate(readings)


class _Readings(list[Tensor]):
    """Of each heart that was drawn what was asked, changed and lacking, (3, r), NaN where nothing was read; those in the file, if
    they are ``of`` the same model."""

    def __init__(self, path: Path, of: str) -> None:
        tensors, meta = load_tensors(path) if path.exists() else ({}, {})
        super().__init__(tensors["readings"] if meta.get("of") == of else [])
        self.path, self.of = path, of

    def save(self) -> None:
        save_tensors(self.path, {"readings": torch.stack(list(self))}, {"of": self.of})


def _digest(model: JointModel) -> str:
    """What identifies all that the model has learned but for its calibration."""
    found = sha256()
    for name, tensor in model.state_dict().items():
        if not name.startswith("calibration."):
            found.update(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return found.hexdigest()


def _cells(model: JointModel, row: Row) -> Float[Tensor, "1 k d"]:
    return torch.from_numpy(model.schema.encode([row])[0]).to(model.centre)


def _persons(model: JointModel, store: CohortStore, least: int) -> Int[np.ndarray, " n"]:
    """Rows of the store that have all columns: those of validation, or of those and of training where they are fewer than ``least``."""
    split = store.split()
    known = model.schema.encode(store.rows)[1]
    few, more = (rows[known[rows].all(1)] for rows in (split["validation"], split["train"]))
    return few if len(few) >= least else np.concatenate([few, more])


@torch.inference_mode()
def _drawn(
    model: JointModel, row: Row, change: Float[Tensor, " r"], guidance: float, seed: int
) -> Float[np.ndarray, "f x y z"]:
    """A person drawn for a row, the measured columns of which are changed by so many SDs."""
    found = model.calibration
    assert found is not None
    known = given_rows(model, [row])
    asked = known.value.table
    known = known._replace(value=known.value._replace(table=found.moved(asked, change[None].to(asked))))
    *_, state = integrated(model, model.noise([seed]), known, guidance, schedule(IMAGE_STEPS, power=IMAGE_POWER))
    return model.detailed(model.decode(state.image), None, [seed], 1, table=asked)[0].float().cpu().numpy()


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
    return found.asked(_cells(model, {**row, **{name: float(values[name]) for name in names}}))[0]


def slopes_of(
    asked: Float[Tensor, "n r"],
    changes: Float[Tensor, "n r"],
    lacking: Float[Tensor, "n r"],
    together: Float[Tensor, "r r"],
) -> Float[Tensor, "r r1"]:
    """By how many SDs to change each column for what is asked, and 1, so that nothing is ``lacking``, of columns that go ``together``
    with these correlations."""
    r = asked.shape[1]
    x = torch.cat([asked, changes, torch.ones_like(asked[:, :1])], 1).double()
    # columns go together, so that of what is lacking a part is chance; changes are independent
    penalty = torch.tensor([RIDGE] * r + [0.0] * (r + 1)).to(x).diag()
    found = torch.linalg.solve(x.T @ x + penalty, x.T @ lacking.double())
    lack, follows = found[[*range(r), 2 * r]].T, -found[r : 2 * r].T
    error = (lacking - x @ found).square().mean() / changes.square().sum(0).mean()
    likely = together.to(x) @ follows.T
    unread = (UNREAD + error * together.trace()) * torch.eye(r).to(x)
    return (likely @ torch.linalg.solve(follows @ likely + unread, lack)).to(asked)
