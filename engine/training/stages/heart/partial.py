"""Patients of whom end-diastole and end-systole alone were scanned, as persons of the joint model: what was not scanned stays unknown.

Their tokens are an expectation: the regression of a whole cycle's tokens on those of two phases in as many slices, fitted to in-silico
hearts of which both are known (conditional mean of a Gaussian: Little and Rubin, Statistical Analysis with Missing Data, 11.2).
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Generator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from engine.anatomy.heart import HEART, RIGHT
from engine.cohort.store import CohortStore
from engine.imaging.cine.phases import filled
from engine.imaging.cine.short_axis import LEFT_VENTRICLE, on_grid
from engine.imaging.grid import frames
from engine.imaging.volume import Volume, VolumeError
from engine.measure.heart.ruler import HeartMeasure
from engine.model.joint import JointModel
from engine.model.nn.autoencoder import Autoencoder
from engine.model.nn.large import encoded
from engine.phantom.heart.counts import ejection_fraction
from engine.phantom.heart.cycle import Beat
from engine.training.run import Progress, RunError, some_of
from engine.training.stages.autoencoder import load_batch
from engine.training.stages.flow_examples import Latents
from engine.training.stages.heart.patients import Patient, folds, read_patients
from engine.vocabulary.row import Row

#: the groups of the Sunnybrook patients (heart failure with and without infarct, hypertrophy, normal) among the columns' levels
GROUPS = {"HF-I": "infarcted", "HF-NI": "dilated", "HYP": "hypertrophic", "N": "healthy"}
#: degrees from x in which the right ventricle's middle lies seen from the left's, and mm at which the middle of the left ventricle
#: lies (means of in-silico hearts)
RIGHTWARDS, MIDDLE = 16.0, 6.0
#: beats a minute where nobody wrote them down; share of voxels that are brighter than white
USUAL_RATE, WHITE = 64.0, 0.002
#: in-silico hearts that the regression is fitted to, at most, and its penalty in mean squares of a token's numbers
FITTED, RIDGE = 256, 0.12


@dataclass(frozen=True, kw_only=True, eq=False)
class Partial:
    """A patient on the model's grid: end-diastole and end-systole, 0 to 1, which voxels were ``seen``, and what is known of the row."""

    name: str
    two: Float[np.ndarray, "2 x y z"]
    seen: Bool[np.ndarray, "x y z"]
    row: Row


def in_cycle(
    template: Float[Tensor, "t x y z"], two: Float[np.ndarray, "2 x y z"], seen: Bool[np.ndarray, "x y z"], row: Row
) -> Float[Tensor, "t x y z"]:
    """A cycle of two phases: end-systole where a heart of this rate has it, other phases between them, what was not seen as in the mean."""
    rate = row.get("heart_rate")
    beat = Beat(heart_rate=float(rate) if isinstance(rate, (int, float)) else USUAL_RATE, kick=0.3)
    whole = filled(two, _places(len(template), beat), len(template))
    return torch.where(torch.from_numpy(seen), torch.from_numpy(whole).float(), template.cpu().float())


def _places(phases: int, beat: Beat) -> list[int]:
    return [0, round(phases * beat.end_systole)]


class Expectation(NamedTuple):
    """What a whole cycle's tokens are expected to differ by from those of two phases: slopes and a constant, (n, latent + 1, latent)."""

    slopes: Float[Tensor, "n c1 c"]

    @classmethod
    def fit(cls, whole: Float[Tensor, "p n c"], part: Float[Tensor, "p n c"]) -> Expectation:
        """Ridge regression of what the ``part`` misses on the part, token by token, over p hearts."""
        x, missed = _with_constant(part.double()), (whole - part).double()
        penalty = RIDGE * float(x[..., :-1].square().sum(0).mean()) * torch.eye(x.shape[-1], dtype=x.dtype)
        moments, right = torch.einsum("pnd,pne->nde", x, x), torch.einsum("pnd,pnc->ndc", x, missed)
        return cls(torch.linalg.solve(moments + penalty, right).float())

    def __call__(self, tokens: Float[Tensor, "p n c"]) -> Float[Tensor, "p n c"]:
        """Tokens of whole cycles from those of two phases."""
        return tokens + torch.einsum("pnd,ndc->pnc", _with_constant(tokens), self.slopes)


@torch.inference_mode()
def fit_expectation(
    coder: Autoencoder, store: CohortStore, rows: Int[np.ndarray, " n"], patients: Sequence[Partial]
) -> Generator[Progress, None, Expectation]:
    """From the store's ``rows`` with a heart rate, each seen in as many slices as one of the ``patients``; yields progress."""
    rows = some_of(rows, FITTED)
    whole, part, began = [], [], time.monotonic()
    for k, row in enumerate(rows):
        cycle = load_batch(store, np.array([row]), coder.template.device)[0, :-1]
        beat = Beat(heart_rate=float(store.rows[row]["heart_rate"] or USUAL_RATE), kick=0.3)
        two = cycle[_places(len(cycle), beat)].cpu().numpy()
        less = in_cycle(coder.template, two, patients[k % len(patients)].seen, store.rows[row]).to(cycle)
        both = encoded(coder, torch.stack([cycle, less])).cpu()
        whole.append(both[0])
        part.append(both[1])
        yield Progress("phases", k + 1, len(rows), time.monotonic() - began, {})
    return Expectation.fit(torch.stack(whole), torch.stack(part))


def _with_constant(tokens: Float[Tensor, "p n c"]) -> Float[Tensor, "p n c1"]:
    return torch.cat([tokens, torch.ones_like(tokens[..., :1])], -1)


def laid(patient: Patient, grid: tuple[int, int, int], affine: Float[np.ndarray, "4 4"], known: Row) -> Partial | None:
    """A patient in the heart's frame, where in-silico hearts lie; None where no right ventricle is found to turn it by.

    The files tell no direction: the left ventricle's contours give its place and which end is the base, the ruler the right
    ventricle, and rows of the array turn the same way round as in the whole stacks of the same patients.
    """
    cavity, right = patient.cavity, _right_ventricle(patient)
    there = np.flatnonzero(cavity[0].any((0, 1)))
    middle = there[len(there) // 4 : len(there) - len(there) // 4]
    if right is None or not right[:, :, middle].any():
        return None
    left_at, right_at = (np.argwhere(part[:, :, middle])[:, :2].mean(0) for part in (cavity[0], right))
    spacing = np.array(patient.cine.spacing)

    turned = math.radians(RIGHTWARDS) - math.atan2(*((right_at - left_at) * -spacing[:2])[::-1])
    plane = -np.array([[math.cos(turned), -math.sin(turned)], [math.sin(turned), math.cos(turned)]]) * spacing[:2]
    areas = cavity[0].sum((0, 1))[there]
    first, second = np.array_split(areas, 2)
    step = -1 if first.mean() > second.mean() else 1  # base first: the apex has the small slices
    data = np.ascontiguousarray(patient.cine.data[..., ::step].astype(np.float32))
    place = there if step == 1 else data.shape[-1] - 1 - there
    heights = affine[2, 2] * np.arange(grid[2]) + affine[2, 3]
    lies = np.eye(4)
    lies[:2, :2], lies[2, 2] = plane, spacing[2]
    lies[:2, 3] = np.array(LEFT_VENTRICLE) - plane @ left_at
    lies[2, 3] = heights[np.abs(heights - MIDDLE).argmin()] - spacing[2] * round(float(place.mean()))

    stack = Volume(data, lies, frames(HEART.channels, len(data)))
    two = on_grid(stack, grid, affine).data
    ones = replace(stack, data=np.ones_like(data))
    inside = on_grid(ones, grid, affine).data[0] > 0.5
    white = float(np.quantile(two[:, inside], 1 - WHITE))
    counted = cavity.sum((1, 2, 3)) * abs(float(np.linalg.det(patient.cine.affine[:3, :3]))) / 1000
    measured = {"lv_edv": float(counted[0]), "lv_ef": ejection_fraction(counted)}
    lit = np.clip(two / max(white, 1e-6), 0, 1)
    return Partial(name=patient.name, two=lit, seen=inside, row={**known, **measured})


def _right_ventricle(patient: Patient) -> Bool[np.ndarray, "x y z"] | None:
    """At end-diastole, as the shipped ruler tells it; None where it finds no heart."""
    try:
        return HeartMeasure.load().classes_on(patient.cine).on(patient.cine, (RIGHT,))
    except VolumeError:
        return None


def known_of(folder: Path) -> dict[str, Row]:
    """Age, sex, heart rate and pathology of each patient, from ``participants.tsv``; what is not known is not there.

    Raises :class:`RunError` where there is no such table, and for a cell that is no number where one should be.
    """
    path = folder / "participants.tsv"
    if not path.is_file():
        raise RunError(f"{path} is not there; give a folder with the table of its patients")
    with path.open(encoding="utf-8", newline="") as lines:
        table = csv.DictReader(lines, delimiter="\t")
        if "participant_id" not in (table.fieldnames or ()):
            raise RunError(f"{path} has no column participant_id; name each patient there as the folders do")
        return {cells["participant_id"]: _row(cells, path) for cells in table}


def _row(cells: Mapping[str, str], path: Path) -> Row:
    row: Row = {}
    for name in ("age", "heart_rate"):
        if (cell := cells.get(name, "n/a")) == "n/a":
            continue
        try:
            row[name] = float(cell)
        except ValueError:
            raise RunError(f"{path}: {name} {cell!r} is no number; correct the cell or leave it n/a") from None
    if cells.get("sex") in ("F", "M"):
        row["sex"] = cells["sex"]
    if (group := GROUPS.get(cells.get("pathology", ""))) is not None:
        row["pathology"] = group
    return row


def check_patients(folder: Path) -> None:
    """Raises :class:`RunError` unless the folder has patients and their table: before a training that will need them begins."""
    known_of(folder)
    read_patients(folder)


def read_partial(
    folder: Path, grid: tuple[int, int, int], affine: Float[np.ndarray, "4 4"]
) -> tuple[list[Partial], list[Partial]]:
    """The patients of a folder that could be laid on a model's grid: to train on, and every fifth by name held out.

    Raises :class:`RunError` as :func:`known_of` and :func:`engine.training.stages.heart.patients.read_patients` do.
    """
    known, patients = known_of(folder), read_patients(folder)
    held = set(folds(patients)[0])
    found = [laid(one, grid, affine, known.get(one.name, {})) for one in patients]
    return (
        [one for k, one in enumerate(found) if one is not None and k not in held],
        [one for k, one in enumerate(found) if one is not None and k in held],
    )


@torch.inference_mode()
def tokens_of(coder: Autoencoder, expected: Expectation, patients: Sequence[Partial]) -> Float[Tensor, "p n c"]:
    """The tokens of each patient's whole cycle as they are expected."""
    cycles = [in_cycle(coder.template, one.two, one.seen, one.row).to(coder.template) for one in patients]
    return expected(torch.cat([encoded(coder, cycle[None]).cpu() for cycle in cycles]))


def joined(
    model: JointModel, store: CohortStore, rows: Int[np.ndarray, " n"], latents: Latents, folder: Path
) -> Generator[Progress, None, tuple[Latents, list[Row]]]:
    """The latents of the store's ``rows`` and after them those of a folder's patients, whose rows are returned; yields progress.

    Raises :class:`RunError` as :func:`read_partial` does, and where no patient could be laid on the grid.
    """
    taught, _ = read_partial(folder, store.grid, store.affine)
    if not taught:
        raise RunError(f"none of the patients of {folder} could be laid on the grid; give stacks with both ventricles")
    expected = yield from fit_expectation(model.autoencoder, store, rows, taught)
    tokens = tokens_of(model.autoencoder, expected, taught).to(latents.image)
    copies = tokens[:, None].expand(-1, latents.image.shape[1], -1, -1)
    return Latents.of_scans(torch.cat([latents.image, copies])), [one.row for one in taught]
